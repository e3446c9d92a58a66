"""Jails over old captures: who would have been banned, when, and what that prevents.

    captures  savefiles of all kinds, merged by their packets' times
    pcapng    the other savefile format
    jails     fail2ban's own reading of its configuration; jails without actions
    judge     one jail, on a clock that the packets turn
    run       captures through judges, with what is counted beside them
    sweep     many settings at once, on all cores
    explain   every step of the way of one source's packets
    report    results as text, JSON and CSV
    plot      results as pictures and as a page
    terminal  colour and progress, where rich is installed
    command   the command lines ``backtest`` and ``explain``

fail2ban is imported by ``jails`` alone, and that only once one of the two commands runs.
"""
