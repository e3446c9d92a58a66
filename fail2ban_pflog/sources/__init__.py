# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading: files and interfaces to records; it may import pflog, and nothing of fail2ban.

    reader   one open savefile, plain or compressed, read from an offset
    rotation the savefile's rotated companions, oldest first
    follow   a savefile that grows, shrinks and is rotated
    live     the interface pflog0, through pcapy-ng
    shared   what several jails read in common, read once
    overlap  a savefile and the interface together, each packet once
    look     what a savefile is, and whether an interface is there: one look, for checks
    bpf      packet filter expressions, checked with libpcap's own words

A source never raises for what happens outside of it: ``read()`` gives records or
nothing, ``state`` says in words what it is doing, and what an administrator should
know goes once to ``report(level, message)``.
"""

from __future__ import annotations

from typing import Callable

__all__ = ["AHEAD", "NOTICE", "Report", "Tell"]

Report = Callable[[int, str], None]
"""report(level, message): a level of the logging module, a message for administrators."""

Tell = Report

AHEAD = 60
"""Seconds by which a packet's time may be ahead of the clock and still be believed."""

NOTICE = 25
"""fail2ban's level between INFO and WARNING."""
