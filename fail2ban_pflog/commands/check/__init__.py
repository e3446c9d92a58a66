# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog check``: why does it not ban?

    command      the command line: a line for each check, JSON, the exit status
    result       one check's outcome: mark, what was found, what to do
    subject      the host that is examined, and what fail2ban's configuration says
    examine      all checks, in the order in which a packet becomes a ban
    fail2ban     its Python, the package there, the loader, the jails' options
    server       the running server and its jails
    captures     pflog0, pflogd and its file
    ruleset      the rules that pfctl prints
    evaluate     pf's evaluation of a packet from a banned source
    blocks       whether pf blocks the sources in a table; the command ``pf-blocks``
    pf           pf's rules, anchors and tables
    network      which addresses must not be banned, and the clock

Each check yields results.  What cannot be looked at here gets a mark of its own: nothing
is reported as ok that was not seen to be ok.
"""
