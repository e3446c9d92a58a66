# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: fail2ban's own code on a clock that the packets turn.

options   options of a jail and of its backend, by name
jails     fail2ban's own reading of its configuration; jails without actions
evidence  what was counted of a source
replay     one jail
profile   what a source does by itself, whatever the settings: whether it plainly scans
survey    what is counted beside the verdicts: sources, and for pictures packets over time
dots      who asked for which port when, in bounded memory
run       captures through replays, in one pass
settings  the settings of a sweep, and what each came to
family    replays that differ in maxretry alone, as one
share     what replays have in common, done once
workers   a sweep on all cores
"""
