"""What a jail that looks healthy may lack: packets, lines, failures.  Each is told once.

A jail whose filter never matches, whose expression takes nothing or whose ignoreip takes
all bans nobody, and nothing else would say so.
"""

from __future__ import annotations

import logging
from typing import Callable

from .lines import Lines
from .sources import NOTICE, Tell

__all__ = ["Health"]

MANY_PACKETS = 10_000
"""Packets of which none counts: a firewall without a single probe among so many is rare."""

MANY_LINES = 100
"""Lines of which none is a failure; a filter that selects drops most of them, not all."""


class Health:
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
            self._warn(
                "silence",
                f"no packet for {int(self._silence)} s: does pf log (`log` in its rules), does "
                "pflogd run?",
            )

    def excuse(self) -> None:
        """Note that nobody listens: that is no silence."""
        self._heard = self._clock()

    def look(self, lines: Lines, matches: int) -> None:
        """Look whether anything can ever be banned.

        matches: how many packets the expression ``bpf`` took.
        """
        distinct = lines.distinct
        counts = distinct.passed + distinct.repeats + distinct.muted + distinct.waiting
        self._judge(
            "packets",
            lines.read >= MANY_PACKETS and not counts,
            f"of {lines.read} packets none counts: is mode={distinct.mode} or direction= of the "
            "backend what is meant?",
        )
        self._judge(
            "bpf",
            matches == 0 and lines.read == 0,
            "the expression bpf= has taken none of the packets so far",
        )
        self._judge(
            "lines",
            self.lines >= MANY_LINES and not self.found,
            f"in {self.lines} lines the filter found no failure: do its options (interface, rule, "
            "direction ...) agree with the backend's and with pf's log?",
        )
        self._judge(
            "ignored",
            self.found >= MANY_LINES and not self.counted,
            f"ignoreip, ignorecommand or ignoreself took all {self.found} failures",
        )

    def _judge(self, kind: str, wrong: bool, message: str) -> None:
        if wrong:
            self._warn(kind, message)
        else:
            self.warnings.pop(kind, None)

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.warnings:
            self._tell(logging.WARNING, message)
            self.warnings[kind] = message
