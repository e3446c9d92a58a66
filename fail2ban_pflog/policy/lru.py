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
from typing import Callable, Generic, Optional, TypeVar

__all__ = ["TwoQueueLRU"]

_New = TypeVar("_New")
_Known = TypeVar("_Known")


class TwoQueueLRU(Generic[_New, _Known]):
    """What is kept by source.

    max_new, max_known: how many of each are kept.
    grow: makes of what was kept of a newcomer what is kept of a known source.
    gone: called with what was forgotten of a newcomer, or else of a known source.

    evicted: how many were pushed out for want of room.
    """

    def __init__(
        self,
        max_new: int,
        max_known: int,
        grow: Callable[[_New], _Known],
        gone: Callable[[Optional[_New], Optional[_Known]], None] = lambda _new, _known: None,
    ) -> None:
        self.max_new = max_new
        self.max_known = max_known
        self.evicted = 0
        self._grow = grow
        self._gone = gone
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

    @property
    def newcomers(self) -> int:
        """How many came once."""
        return len(self._new)

    def add(self, source: bytes, new: _New) -> None:
        """Keep something of a newcomer."""
        self._new[source] = new
        if len(self._new) > self.max_new:
            self.evicted += 1
            self._gone(self._new.popitem(last=False)[1], None)

    def forget(self, new: Callable[[_New], bool], known: Callable[[_Known], bool]) -> None:
        """Forget those for whom this holds, as far as all who came before them are forgotten."""
        while self._new and new(next(iter(self._new.values()))):
            self._gone(self._new.popitem(last=False)[1], None)
        while self._known and known(next(iter(self._known.values()))):
            self._gone(None, self._known.popitem(last=False)[1])

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
