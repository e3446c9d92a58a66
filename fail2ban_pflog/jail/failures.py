# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's failure counters, by the packets' own times.

A server forgets every five seconds, by its clock, the sources whose last failure is older than
findtime.  Packets may be counted long after they came: pflogd flushed them late, they were held
for others of their source, or they stood in a file when the server began.  So each failure first
forgets what would have been forgotten by its own time.
"""

from __future__ import annotations

from typing import Any

from fail2ban.server.failmanager import FailManager, FailManagerEmpty
from fail2ban.server.ipdns import IPAddr

from ..policy.dedup import CLEAN_EVERY

__all__ = ["Failures"]


class Failures(FailManager):  # type: ignore[misc] # fail2ban has no types
    """The failures of one jail.

    Attributes:
        is_waiting: whether a ban may be waiting (``RateLimit``).
    """

    is_waiting = False

    def addFailure(self, ticket: Any, *args: Any, **kwargs: Any) -> int:  # noqa: N802
        """Count a failure; returns how many its source has."""
        known = self._FailManager__failList.get(ticket.getID())
        if known is not None and known.getTime() <= _clean_up(ticket.getTime()) - self.getMaxTime():
            self.delFailure(ticket.getID())
        attempts: int = super().addFailure(ticket, *args, **kwargs)
        return attempts

    def cleanup(self, time: float) -> None:
        """Forget the sources whose last failure was findtime before a time, or longer ago.

        Sources whose ban waits stay.
        """
        time = _clean_up(time)
        for ticket in self._waiting() if self.is_waiting else ():
            ticket.setTime(max(ticket.getTime(), time))
        super().cleanup(time)

    def toBan(self, fid: Any = None) -> Any:  # noqa: N802
        """Take a source that reached maxretry; fail2ban's takes another where ``fid`` is gone."""
        if fid is not None and fid not in self._FailManager__failList:
            raise FailManagerEmpty
        return super().toBan(fid)

    @property
    def waiting(self) -> int:
        """How many sources have reached maxretry and are not banned yet."""
        return len(self._waiting())

    def forget_waiting(self, ip: Any) -> int:
        """Forget the waiting sources that are, hold or are in what is given; returns how many.

        Args:
            ip: an address or a network, as ``unbanip`` takes it; None: all.
        """
        found = [
            ticket.getID()
            for ticket in self._waiting()
            if ip is None or _is_in(str(ticket.getID()), ip)
        ]
        for each in found:
            self.delFailure(each)
        return len(found)

    def _waiting(self) -> list[Any]:
        most = self.getMaxRetry()
        tickets = list(self._FailManager__failList.values())
        return [ticket for ticket in tickets if ticket.getRetry() >= most]


def _clean_up(time: float) -> float:
    """Return when the last clean-up was: here they are at multiples of CLEAN_EVERY."""
    return time - time % CLEAN_EVERY


def _is_in(source: str, ip: Any) -> bool:
    """Return whether a source is an address, in a network, or a network that holds it."""
    if source == str(ip):
        return True
    address, network = IPAddr(source), IPAddr(str(ip))
    if not (address.isValid and network.isValid):
        return False
    return bool(address.isInNet(network) or network.isInNet(address))
