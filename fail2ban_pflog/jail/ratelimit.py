# SPDX-License-Identifier: GPL-2.0-or-later
"""At most so many bans a minute: forged sources must not make the firewall's tables explode.

The queue is fail2ban's own counters: a source over the limit stays there with its failures,
and is banned when there is room.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Any, Callable

from fail2ban.server.failmanager import FailManagerEmpty

from .failures import Failures

__all__ = ["MAX_WAITING", "RateLimit"]

MINUTE = 60.0

MAX_WAITING = 10_000
"""Sources in fail2ban's counters while bans wait; each keeps its lines.  What is more is forgotten,
and banned when it goes on."""


class RateLimit:
    """Limits the bans of one jail.

    Args:
        most: bans a minute; 0: any number.
        failures: of the jail.
        clock: seconds that only go forward.

    Attributes:
        dropped: how many bans were dropped because too many waited.
    """

    def __init__(self, most: int, failures: Failures, clock: Callable[[], float]) -> None:
        self.most = most
        self.dropped = 0
        self._failures = failures
        self._clock = clock
        self._begun: deque[float] = deque(maxlen=most or 1)  # when the last bans began

    @property
    def is_waiting(self) -> bool:
        """Whether a ban may be waiting."""
        return self._failures.is_waiting

    @property
    def has_room(self) -> bool:
        """Whether a source may be banned now."""
        full = len(self._begun) == self.most
        return not self.most or not full or self._clock() - self._begun[0] >= MINUTE

    def ban(self, ip: Any, put: Callable[[Any], None]) -> None:
        """Ban the source ``ip``, or leave it in the counters.

        Args:
            ip: as fail2ban names it; None: all that wait.
            put: bans a ticket.
        """
        while self.has_room:
            try:
                ticket = self._failures.toBan(ip)
            except FailManagerEmpty:
                self._failures.is_waiting = self.is_waiting and ip is not None
                return
            self._begun.append(self._clock())
            put(ticket)
            if ip is not None:
                return
        self._failures.is_waiting = ip is not None or self._failures.waiting > 0
        if ip is not None and self._failures.size() > MAX_WAITING:
            self._failures.delFailure(ip)
            self.dropped += 1

    def release(self, filter_: Any, now: float) -> None:
        """Ban the sources that waited, as far as there is room.

        Args:
            filter_: fail2ban's filter of the jail.
            now: seconds since the epoch, from when on they are banned.
        """

        def put(ticket: Any) -> None:
            if filter_.ignores(ticket):  # the list may have changed meanwhile
                self._begun.pop()
                return
            ticket.setTime(max(ticket.getTime(), now))
            filter_.jail.putFailTicket(ticket)

        if self.has_room:
            self.ban(None, put)

    def counts(self) -> list[str]:
        """Return what became of bans, in words, for the status."""
        waiting = self._failures.waiting if self.is_waiting else 0
        counts = [(waiting, "bans wait"), (self.dropped, "bans dropped")]
        return [f"{count} {what}" for count, what in counts if count]

    def forget_unbanned(self, actions: Any) -> None:
        """Make an unban hold for sources that wait as well.

        Args:
            actions: fail2ban's, of the jail.
        """
        unban = actions.removeBannedIP
        if hasattr(unban, "is_limited"):
            return

        @functools.wraps(unban)
        def remove(ip: Any = None, db: bool = True, ifexists: bool = False, **more: Any) -> Any:
            forgotten = 0 if isinstance(ip, (list, tuple)) else self._failures.forget_waiting(ip)
            return forgotten + unban(ip, db, ifexists or forgotten > 0, **more)

        remove.is_limited = True  # type: ignore[attr-defined]
        actions.removeBannedIP = remove
