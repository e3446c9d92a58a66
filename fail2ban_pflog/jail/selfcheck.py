# SPDX-License-Identifier: GPL-2.0-or-later
"""What a jail that looks healthy may lack: packets, lines, failures.  Each is told once.

A jail whose filter never matches, whose expression takes nothing or whose ignoreip takes
all bans nobody, and nothing else would say so.
"""

from __future__ import annotations

import logging
from typing import Callable

from ..pipeline import Pipeline
from ..sources import NOTICE, Tell

__all__ = ["SelfCheck"]

MANY_PACKETS = 1000
"""Packets of which none counts: a firewall without a single probe among so many is rare."""

MANY_LINES = 100
"""Pipeline of which none is a failure; a filter that selects drops most of them, not all."""


class SelfCheck:
    """Watches one jail.

    tell: takes what an administrator should know.  silence: seconds; 0 never warns.
    clock: seconds that only go forward.

    lines, found, counted: how many lines the filter was given, how many failures it found in
    them, and how many of these fail2ban counted; the caller adds to them.
    warnings: what is wrong, in words, by kind; what is over is removed.
    """

    def __init__(self, tell: Tell, silence: float, clock: Callable[[], float]) -> None:
        self._tell = tell
        self._silence = silence
        self._clock = clock
        self._heard = clock()
        self.lines = self.found = self.counted = 0
        self.warnings: dict[str, str] = {}

    def heard(self, packets: bool) -> None:
        """Note whether packets came."""
        now = self._clock()
        if packets:
            self._heard = now
            if self.warnings.pop("silence", ""):
                self._tell(NOTICE, "packets are coming again")
        elif self._silence and now - self._heard >= self._silence:
            self.warn(
                "silence",
                f"no packet for {int(self._silence)} s: does pf log (`log` in its rules), does "
                "pflogd run?",
            )

    def excuse(self) -> None:
        """Note that nobody listens: that is no silence."""
        self._heard = self._clock()

    def look(self, lines: Pipeline, left_out: int) -> None:
        """Look whether anything can ever be banned.

        left_out: how many packets the expression ``bpf`` did not take.
        """
        distinct = lines.distinct
        counts = distinct.passed + distinct.repeats + distinct.muted + distinct.waiting
        if lines.read >= MANY_PACKETS and not counts:
            most = max(distinct.reasons.items(), key=lambda each: each[1], default=None)
            why = f", most of them {most[0].words}" if most else ""
            self.warn(
                "packets",
                f"of {lines.read} packets none counts{why}: is mode={distinct.mode} or direction= "
                "of the backend what is meant?",
            )
        else:
            self.warnings.pop("packets", None)
        if left_out >= MANY_PACKETS and not lines.read:
            self.warn("bpf", f"the expression bpf= took none of {left_out} packets")
        else:
            self.warnings.pop("bpf", None)
        if self.lines >= MANY_LINES and not self.found:
            self.warn(
                "lines",
                f"in {self.lines} lines the filter found no failure: do its options (interface, "
                "rule, direction ...) agree with the backend's and with pf's log?",
            )
        else:
            self.warnings.pop("lines", None)
        if self.found >= MANY_LINES and not self.counted:
            self.warn(
                "ignored",
                f"ignoreip, ignorecommand or ignoreself took all {self.found} failures",
            )
        else:
            self.warnings.pop("ignored", None)

    def warn(self, kind: str, message: str) -> None:
        """Warn of something; once, until it is removed from ``warnings``."""
        if kind not in self.warnings:
            self._tell(logging.WARNING, message)
            self.warnings[kind] = message
