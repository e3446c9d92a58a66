# SPDX-License-Identifier: GPL-2.0-or-later
"""A jail's bans behind a brake: what the jail is to ban comes here first, from any thread.

An unban holds for who waits as well, who is ignored by then is not banned, and a ban that
waited is as long as any other.  A restart forgets who waits.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

from fail2ban.server.ipdns import IPAddr

from .ratelimit import RateLimiter

__all__ = ["RateLimited"]


class RateLimited:
    """Takes the place of a jail's own ``putFailTicket`` and of its actions' ``removeBannedIP``.

    filter_: of the jail.  most: bans a minute.  waits: called when a ban has to wait.
    """

    def __init__(self, filter_: Any, most: int, waits: Callable[[], None]) -> None:
        self._filter = filter_
        self._waits = waits
        self._brake = RateLimiter[Any](most, time.monotonic)
        self._lock = threading.Lock()
        jail = filter_.jail
        self._ban, self._unban = jail.putFailTicket, jail.actions.removeBannedIP
        jail.putFailTicket, jail.actions.removeBannedIP = self.put, self.remove

    @property
    def waiting(self) -> int:
        """How many bans wait."""
        return self._brake.waiting

    def counts(self) -> list[str]:
        """What became of bans, in words, for the status."""
        told = [(self._brake.waiting, "bans wait"), (self._brake.dropped, "bans dropped")]
        return [f"{count} {what}" for count, what in told if count]

    def put(self, ticket: Any) -> None:
        """Ban, now or when there is room; after a restart the firewall has its bans, or had."""
        if not ticket.restored:
            with self._lock:
                may_pass = self._brake.put(str(ticket.getID()), ticket)
            if not may_pass:
                self._waits()
                return
        self._ban(ticket)

    def release(self, now: float) -> None:
        """Ban those who waited, as far as there is room.

        now: seconds since the epoch, from when on they are banned.
        """
        while (ticket := self._take()) is not None:
            if not self._filter.inIgnoreIPList(ticket):  # which may run a command
                ticket.setTime(max(ticket.getTime(), now))
                self._ban(ticket)
                with self._lock:
                    self._brake.banned()

    def _take(self) -> Any:
        with self._lock:
            return self._brake.take()

    def remove(self, ip: Any = None, db: bool = True, ifexists: bool = False) -> Any:
        """Unban, also who waits: an address, a network, all; fail2ban asks one by one for more."""
        forgotten = 0
        if not isinstance(ip, (list, tuple)):
            with self._lock:
                forgotten = self._brake.forget(lambda source: ip is None or _is_in(source, ip))
        return forgotten + self._unban(ip, db, ifexists or forgotten > 0)


def _is_in(source: str, ip: Any) -> bool:
    """Whether a source is an address, or in a network."""
    if source == str(ip):
        return True
    address, network = IPAddr(source), IPAddr(str(ip))
    return bool(address.isValid and network.isValid and address.isInNet(network))
