# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails as fail2ban runs them, on a clock that the packets turn.

configuration, options  fail2ban's configuration, with some options of a jail replaced
jail, patches           fail2ban's jails without threads; its functions that are replaced
replay, evidence        one jail, fed packet by packet; what was counted of a source
run                     captures through several jails in one pass
groups, caches          what jails have in common is done once
sweep                   many settings on all cores
statistics, portmap     what is counted beside the verdicts
"""
