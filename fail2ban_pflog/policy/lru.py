# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of bounded size, in which forged sources push out one another.

A flood of forged sources brings each of them a few times.  So sources that did as much share a
tier, and a full table forgets the oldest of its largest tier.  (An idea of 2Q and S3-FIFO, with
more than two queues.)  The tables of a process share a number of bytes equally.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from itertools import islice
from typing import Any, Callable, Generic, Optional, Protocol, TypeVar
from weakref import WeakSet

__all__ = ["Entry", "Memory", "TieredLRU"]


class Entry(Protocol):
    """What a ``TieredLRU`` keeps: its tier, and its estimated size in bytes."""

    tier: int
    size: int


_Value = TypeVar("_Value", bound=Entry)


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
        self,
        tiers: int,
        max_bytes: int,
        forgotten: Callable[[_Value, bool], None] = lambda _entry, _for_room: None,
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


class Memory:
    """A number of bytes, by estimate, that the tables of a process share equally.

    Args:
        size: the bytes.
        least: bytes that each table has however many there are: a sweep has hundreds.
    """

    def __init__(self, size: int, least: int = 0) -> None:
        self.size = size
        self.least = least
        self._tables: WeakSet[Any] = WeakSet()

    def share(self, table: Any) -> None:
        """Give a table its part: its ``max_bytes``, and that of all others, is set."""
        self._tables.add(table)
        self._divide()

    def leave(self, table: Any) -> None:
        """Share a table's part among the others; one that is merely forgotten may stay for long."""
        self._tables.discard(table)
        self._divide()

    def _divide(self) -> None:
        tables = list(self._tables)
        for each in tables:
            each.max_bytes = max(self.least, self.size // len(tables))
