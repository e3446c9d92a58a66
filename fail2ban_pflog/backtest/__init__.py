# SPDX-License-Identifier: GPL-2.0-or-later
"""Replay old captures through jails: which sources would have been banned, and when.

    replay    what fail2ban itself makes of the captures' packets, with many settings at once
    report    what came of it: text, JSON, CSV, HTML, pictures, every step of one source
    command   the command lines ``backtest`` and ``explain``

Captures are read by ``sources.captures``.  ``report`` imports ``replay``, never the other way
round.  fail2ban is imported by ``replay`` alone, and only once one of the two commands runs.
"""
