# SPDX-License-Identifier: GPL-2.0-or-later
"""A bounded table in which newcomers push out newcomers, never those who came twice.

A flood of forged sources brings each of them once.  So what is kept of a source waits in
a queue of its own until the source comes again, and only then gets a place among those
that are known; both queues forget who did not come for longest, for want of room or
because that is long ago.  (The idea of 2Q and of S3-FIFO.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Callable, Generic, Optional, Protocol, TypeVar

__all__ = ["CLOCK_STEP", "TwoQueues"]

CLOCK_STEP = 600.0
"""Seconds by which packets' times may step back without a source's being forgotten early."""

LOOK_EVERY = 10.0
"""Seconds between two looks at who came too long ago."""


class _Came(Protocol):
    """What is kept of a known source.  last: when it last came, seconds since the epoch."""

    last: float


_New = TypeVar("_New")
_Known = TypeVar("_Known", bound=_Came)


class TwoQueues(Generic[_New, _Known]):
    """What is kept by source.

    max_new, max_known: how many of each are kept.
    keep: seconds after which what is kept of a source tells nothing any more; may be set at
    any time.  Times are the packets' own.
    came: when a newcomer came.
    grow: makes of what was kept of a newcomer what is kept of a known source.
    gone: called with what was forgotten of a newcomer, or else of a known source.

    evicted: how many were pushed out for want of room.
    """

    def __init__(
        self,
        max_new: int,
        max_known: int,
        keep: float,
        came: Callable[[_New], float],
        grow: Callable[[_New], _Known],
        gone: Callable[[Optional[_New], Optional[_Known]], None] = lambda _new, _known: None,
    ) -> None:
        self.max_new = max_new
        self.max_known = max_known
        self.keep = keep
        self.evicted = 0
        self._came = came
        self._grow = grow
        self._gone = gone
        self._next_look = 0.0
        self._new: OrderedDict[bytes, _New] = OrderedDict()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._new) + len(self._known)

    def get(self, source: bytes) -> Optional[_Known]:
        """Return what is kept of a source that came before; now it is known."""
        known = self._known.get(source)
        if known is not None:
            self._known.move_to_end(source)
            return known
        new = self._new.pop(source, None)
        if new is None:
            return None
        known = self._known[source] = self._grow(new)
        if len(self._known) > self.max_known:
            self.push_out()
        return known

    def known(self) -> Iterable[_Known]:
        """Return what is kept of all known sources, who did not come for longest first."""
        return self._known.values()

    def add(self, source: bytes, new: _New, time: float) -> None:
        """Keep something of a newcomer; time: when it came."""
        if not 0 <= self._next_look - time <= LOOK_EVERY:  # clocks step back as well
            self._next_look = time + LOOK_EVERY
            self._forget_old(time)
        self._new[source] = new
        if len(self._new) > self.max_new:
            self.evicted += 1
            self._gone(self._new.popitem(last=False)[1], None)

    def _forget_old(self, time: float) -> None:
        """Forget who came so long ago that no step of the clock makes it count."""
        keep, new, known = self.keep + CLOCK_STEP, self._new, self._known
        while new and abs(time - self._came(next(iter(new.values())))) >= keep:
            self._gone(new.popitem(last=False)[1], None)
        while known and abs(time - next(iter(known.values())).last) >= keep:
            self._gone(None, known.popitem(last=False)[1])

    def discard(self, source: bytes) -> None:
        """Forget a source."""
        if (new := self._new.pop(source, None)) is not None:
            self._gone(new, None)
        elif (known := self._known.pop(source, None)) is not None:
            self._gone(None, known)

    def push_out(self) -> None:
        """Forget the known source that did not come for longest."""
        self.evicted += 1
        self._gone(None, self._known.popitem(last=False)[1])
