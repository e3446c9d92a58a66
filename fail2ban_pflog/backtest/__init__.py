"""Jails over old captures: who would have been banned, when, and what that prevents.

    captures  savefiles of all kinds, merged by their packets' times
    pcapng    the other savefile format
    jails     fail2ban's own reading of its configuration; jails without actions
    judge     one jail, on a clock that the packets turn
    survey    what is counted beside the verdicts: sources, time lines, ports
    run       captures through judges, in one pass
    family    judges that differ in maxretry alone, as one
    share     what judges have in common, done once
    sweep     many settings at once, and which is the best
    workers   a sweep on all cores
    explain   every step of the way of one source's packets
    report    results as text, JSON and CSV
    plot      results as pictures and as a page
    terminal  colour and progress, where rich is installed
    command   the command lines ``backtest`` and ``explain``

fail2ban is imported by ``jails`` alone, and that only once one of the two commands runs.
"""
