# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails over old captures: who would have been banned, when, and what that prevents.

    judging   what fail2ban itself makes of the captures' packets, with many settings at once
    telling   what came of it: text, JSON, CSV, pictures, advice, every step of one source
    command   the command lines ``backtest`` and ``explain``

Captures of all kinds are read by ``sources.captures``.  ``telling`` imports ``judging``, never
the other way round.  fail2ban is imported by ``judging.configuration``, ``judging.jails`` and
``judging.options`` alone, and that only once one of the two commands runs.
"""
