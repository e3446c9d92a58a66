# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets in tcpdump's words: a module per protocol, all on one ``View``.

Each decoder is a generator of pieces of text.  It reads through a ``View``, whose
reads fail with ``Truncated`` behind the captured bytes; whoever runs the generators
catches that and closes the line as tcpdump does: `` [|tcp]``.  So no decoder checks a
length before it reads, and none can read past the end.
"""
