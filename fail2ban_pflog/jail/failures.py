# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's failure counters, by the packets' own times.

A server looks every five seconds, by its clock, whose last failure is older than findtime, and
forgets him.  Packets may be counted long after they came: pflogd flushed them late, they waited
for others of their source, or they stood in a file when the server began.  So at each failure
it is made up for: who would have been forgotten by its time is forgotten.
"""

from __future__ import annotations

from typing import Any

from fail2ban.server.failmanager import FailManager

from ..policy.dedup import CLEAN_EVERY

__all__ = ["Failures"]


class Failures(FailManager):  # type: ignore[misc] # fail2ban has no types
    """The failures of one jail."""

    def addFailure(self, ticket: Any, count: int = 1, observed: bool = False) -> int:  # noqa: N802
        """Count a failure; returns how many its source has."""
        known = self._FailManager__failList.get(ticket.getID())
        if known is not None and known.getTime() <= _clean_up(ticket.getTime()) - self.getMaxTime():
            self.delFailure(ticket.getID())
        attempts: int = super().addFailure(ticket, count, observed)
        return attempts

    def cleanup(self, time: float) -> None:
        """Forget whose last failure was findtime before a time or longer ago."""
        super().cleanup(_clean_up(time))


def _clean_up(time: float) -> float:
    """When the last clean-up was: here they are at multiples of CLEAN_EVERY."""
    return time - time % CLEAN_EVERY
