# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets in tcpdump's words: a module per protocol, all on one ``View``.

Each decoder is a generator of pieces of text.  It reads through a ``View``, whose reads
raise ``Truncated`` behind the captured bytes; the caller closes the line as tcpdump does:
`` [|tcp]``.  So no decoder checks a length before it reads, and none can read past the end.
What no real capture has shown is printed in a generic form (docs/lines.md).

May import: pflog.
"""
