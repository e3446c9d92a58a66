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
from contextlib import suppress
from itertools import islice
from typing import Callable, Generic, Optional, Protocol, TypeVar

__all__ = ["Entry", "TieredLRU", "TwoQueueLRU"]


class Entry(Protocol):
    """What a ``TieredLRU`` keeps: its tier, and its estimated size in bytes."""

    tier: int
    size: int


_Value = TypeVar("_Value", bound=Entry)

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


class TieredLRU(Generic[_Value]):
    """A table of bounded size whose entries climb tiers; the largest tier forgets its oldest.

    Forged sources are many, and each does little: they fill the tier of what they do and push
    out one another there.  An entry of any other tier stays.

    Args:
        tiers: how many there are.
        max_bytes: estimated size of all entries at most.
        forgotten: called with each entry that was forgotten and whether that was for want of room.
    """

    def __init__(
        self, tiers: int, max_bytes: int, forgotten: Callable[[_Value, bool], None]
    ) -> None:
        self.max_bytes = max_bytes
        self._tiers: tuple[OrderedDict[bytes, _Value], ...] = tuple(
            OrderedDict() for _ in range(tiers)
        )
        self._bytes = [0] * tiers
        self._total = 0
        self._forgotten = forgotten

    def __len__(self) -> int:
        """Return how many entries there are."""
        return sum(map(len, self._tiers))

    def get(self, key: bytes) -> Optional[_Value]:
        """Return an entry, which is then its tier's newest; None where there is none."""
        for entries in self._tiers:
            entry = entries.get(key)
            if entry is not None:
                entries.move_to_end(key)
                return entry
        return None

    def add(self, key: bytes, entry: _Value) -> None:
        """Add an entry that is not there yet."""
        self._tiers[entry.tier][key] = entry
        self._grow(entry.tier, entry.size)

    def resize(self, key: bytes, entry: _Value, tier: int, size: int) -> None:
        """Note that an entry belongs to another tier, or has another size in bytes."""
        if tier != entry.tier:
            del self._tiers[entry.tier][key]
            self._tiers[tier][key] = entry
        self._bytes[entry.tier] -= entry.size
        self._total -= entry.size
        entry.tier, entry.size = tier, size
        self._grow(tier, size)

    def discard(self, key: bytes) -> None:
        """Forget an entry, if it is there."""
        for tier, entries in enumerate(self._tiers):
            if key in entries:
                self._forget(tier, entries.pop(key), for_room=False)
                return

    def expire(self, is_old: Callable[[_Value], bool]) -> None:
        """Forget the entries for which this holds, from each tier's oldest on."""
        for tier, entries in enumerate(self._tiers):
            while entries and is_old(next(iter(entries.values()))):
                self._forget(tier, entries.popitem(last=False)[1], for_room=False)

    def highest(self, most: int) -> list[tuple[bytes, _Value]]:
        """Return the newest entries of the highest tiers; may be called from any thread."""
        found: list[tuple[bytes, _Value]] = []
        for entries in reversed(self._tiers):
            with suppress(RuntimeError):  # it changes at this moment
                found += islice(reversed(entries.items()), most - len(found))
        return found

    def _grow(self, tier: int, size: int) -> None:
        self._bytes[tier] += size
        self._total += size
        while self._total > self.max_bytes:
            fullest = self._bytes.index(max(self._bytes))
            entries = self._tiers[fullest]
            if len(entries) < 2:  # it is the one in use
                return
            self._forget(fullest, entries.popitem(last=False)[1], for_room=True)

    def _forget(self, tier: int, entry: _Value, for_room: bool) -> None:
        self._bytes[tier] -= entry.size
        self._total -= entry.size
        self._forgotten(entry, for_room)
