# SPDX-License-Identifier: GPL-2.0-or-later
"""What a jail that looks healthy may lack: packets, lines, failures.  Each is logged once.

A jail whose filter never matches, whose expression takes nothing or whose ignoreip takes
all bans nobody, and nothing else would say so.
"""

from __future__ import annotations

import logging
from typing import Any, Callable

from ..pipeline import Pipeline
from ..sources import NOTICE, Tell

__all__ = ["SelfCheck"]

MANY_PACKETS = 1000
"""Packets of which none counts: a firewall without a single probe among so many is rare."""

CALM = 600.0
"""Seconds for which a table that was too small is warned about."""

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
        self._evicted = 0
        self._evicted_at = 0.0
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

    def look(self, pipeline: Pipeline, left_out: int) -> None:
        """Look whether anything can ever be banned, and whether the tables are large enough.

        Args:
            pipeline: of the jail.
            left_out: how many packets the expression ``bpf`` did not take.
        """
        dedup = pipeline.dedup
        counts = pipeline.read - pipeline.undecodable - sum(pipeline.ignored.values())
        most = max(pipeline.ignored.items(), key=lambda each: each[1], default=None)
        why = f", most of them {most[0].words}" if most else ""
        self._warn_if(
            pipeline.read >= MANY_PACKETS and not counts,
            "packets",
            f"of {pipeline.read} packets none counts{why}: is mode={pipeline.classifier.mode} or "
            "direction= of the backend what is meant?",
        )
        self._warn_if(
            left_out >= MANY_PACKETS and not pipeline.read,
            "bpf",
            f"the expression bpf= took none of {left_out} packets",
        )
        self._warn_if(
            self.lines >= MANY_LINES and not self.found,
            "lines",
            f"in {self.lines} lines the filter found no failure: do its options (interface, "
            "rule, direction ...) agree with the backend's and with pf's log?",
        )
        self._warn_if(
            self.found >= MANY_LINES and not self.counted,
            "ignored",
            f"ignoreip, ignorecommand or ignoreself took all {self.found} failures",
        )
        if dedup.evicted_early > self._evicted:
            self._evicted, self._evicted_at = dedup.evicted_early, self._clock()
        self._warn_if(
            self._evicted > 0 and self._clock() - self._evicted_at < CALM,
            "table",
            f"more sources send packets than hold={dedup.hold} has room for, and some that had "
            "sent several were forgotten: slow scanners may be missed; are sources forged?",
        )

    def look_at_jail(self, filter_: Any) -> bool:
        """Look whether a jail can ban at all; False where it has no action."""
        has_action = getattr(filter_.jail.actions, "_reload_actions", list(filter_.jail.actions))
        self.warnings.pop("options", None)
        if not has_action:
            self.warn("options", "the jail has no action: no source is blocked")
        elif not filter_.getFailRegex():
            self.warn("options", "the filter has no failregex: nothing is a failure")
        elif filter_.getFindTime() < 1:
            self.warn("options", "findtime is 0: packets are too old before they are read")
        return bool(has_action)

    def limited(self, most: int, is_waiting: bool) -> None:
        """Warn while bans wait.  most: bans a minute."""
        self._warn_if(
            is_waiting,
            "brake",
            f"more than {most} sources a minute are to be banned; the others wait (brake=): are "
            "sources forged?",
        )

    def _warn_if(self, condition: bool, kind: str, message: str) -> None:
        if condition:
            self.warn(kind, message)
        else:
            self.warnings.pop(kind, None)

    def warn(self, kind: str, message: str) -> None:
        """Warn of something; once, until it is removed from ``warnings``."""
        if kind not in self.warnings:
            self._tell(logging.WARNING, message)
            self.warnings[kind] = message
