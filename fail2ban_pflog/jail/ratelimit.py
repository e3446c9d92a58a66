# SPDX-License-Identifier: GPL-2.0-or-later
"""At most so many bans a minute: who forges sources must not make the firewall's tables explode.

Counting goes on; a ban that is too many waits and comes when there is room, in order.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Generic, Optional, TypeVar

__all__ = ["RateLimiter"]

_Ticket = TypeVar("_Ticket")

MINUTE = 60.0

MAX_WAITING = 10_000
"""Bans that wait; each keeps its lines.  When there are more, the one that waits for longest is
dropped: its source is banned when it goes on."""


class RateLimiter(Generic[_Ticket]):
    """Lets bans through.

    most: bans a minute.  clock: seconds that only go forward.

    dropped: how many were dropped for want of room.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._passed: deque[float] = deque(maxlen=most)  # when the last ones did
        self._waiting: dict[str, _Ticket] = {}
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many bans wait."""
        return len(self._waiting)

    def put(self, source: str, ticket: _Ticket) -> bool:
        """Whether a source may be banned now; else it waits.

        Who waits and goes on keeps his turn, with the ticket of what he did last.
        """
        if not self._waiting and self._has_room():
            self.banned()
            return True
        if len(self._waiting) >= MAX_WAITING and source not in self._waiting:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._waiting[source] = ticket
        return False

    def take(self) -> Optional[_Ticket]:
        """Who has waited for longest, if there is room for a ban; ``banned`` uses it up."""
        if not self._waiting or not self._has_room():
            return None
        return self._waiting.pop(next(iter(self._waiting)))

    def banned(self) -> None:
        """Note a ban."""
        self._passed.append(self._clock())

    def forget(self, whom: Callable[[str], bool]) -> int:
        """Ban those not who wait and for whom this holds; returns how many they were."""
        gone = [source for source in self._waiting if whom(source)]
        for source in gone:
            del self._waiting[source]
        return len(gone)

    def _has_room(self) -> bool:
        full = len(self._passed) == self._passed.maxlen
        return not full or self._clock() - self._passed[0] >= MINUTE
