# SPDX-License-Identifier: GPL-2.0-or-later
"""Deduplicate: pass the first packet to each target of a source, and hold back the first few.

fail2ban counts lines; a scan is many targets, a client that tries again is many packets to
one.  So a source's packet passes when its target is new, and repeats pass again only after
the target was quiet for a while: ``maxretry`` means "this many different targets".

Most sources come a few times and are in no ban list, whatever fail2ban thinks of them.  With
``hold`` a source's packets are kept here until they are enough to matter, and then passed at
once, each with its own time; so fail2ban's counters and its log stay small, and what a flood
of forged sources fills is the table here, which is bounded.

All times are the packets' own, but for muting and for forgetting sources that came long ago,
which go by ``clock``: no packet's time makes another source be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_network
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from ..pflog.packet import Packet
from .kinds import Count, Kind
from .lru import Memory, TieredLRU

__all__ = ["CLEAN_EVERY", "LATEST_FLUSH", "MAX_BYTES", "MEMORY", "SPAN", "WHATS", "Dedup"]

_Item = TypeVar("_Item")

WHATS = ("port", "host", "none")

_PORT = Count.PORT

SPAN = 1
"""Seconds that a group of alike packets spans at most, so that no jail forgets within it what it
has seen.  (Jails with a findtime of less look at each packet.)"""

CLOCK_STEP = 600.0
"""Seconds by which packets' times may step back without a source being forgotten early."""

CLEAN_EVERY = 5.0
"""Seconds between two clean-ups of fail2ban's failure counters."""

LATEST_FLUSH = 3600.0
"""Seconds for which pflogd holds packets back at most (-d)."""

MAX_BYTES = 44 << 20
"""Estimated size of the sources of all jails of a server."""

MEMORY = Memory(MAX_BYTES)

_SOURCE, _TARGET, _HELD = 500, 125, 95
"""Bytes of a source, of each target where there are several, and of a held packet besides its
item, as measured with Python 3.11."""

_TIERS = (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 10, 10, 10, 11)
"""Targets -> tier; the last one is of all sources with more."""


class _Source(Generic[_Item]):
    """What is kept of a source.

    Attributes:
        targets: hash of what was counted -> when it was last seen; None while it is ``first``
            alone, last seen at ``last``.
        held: the packets that wait; None: its packets wait no more.
        held_bytes: size of these.
        counted: when the last packet came that is no repeat.
        last: when it last came, by the packets' times; ``seen``: by the clock.
        tier, size: see ``TieredLRU``.
    """

    __slots__ = (
        "counted", "first", "held", "held_bytes", "last", "seen", "size", "targets", "tier",
    )  # fmt: skip

    def __init__(self, time: float, target: int, held: Optional[list[_Item]], seen: float) -> None:
        self.first = target
        self.targets: Optional[dict[int, float]] = None
        self.held = held
        self.held_bytes = 0
        self.counted = self.last = time
        self.seen = seen
        self.tier = 0
        self.size = _SOURCE

    def last_seen(self, target: int) -> Optional[float]:
        """Return when a target was last seen, None where it is new."""
        if self.targets is None:
            return self.last if target == self.first else None
        return self.targets.get(target)

    def see(self, target: int, time: float) -> None:
        """Remember when a target was seen."""
        if self.targets is None:
            if target == self.first and time >= self.last:
                return
            self.targets = {self.first: self.last}
        self.targets[target] = time


class Dedup(Generic[_Item]):
    """Passes what tells fail2ban something new; one per jail.

    Args:
        what: ``port``: one packet passes per source, destination, protocol and port; ``host``:
            one per source and destination (sweeps); ``none``: every packet.
        window: seconds, the jail's findtime; may be set at any time.
        hold: packets of a source that are held back until there are so many of them; 1: none.
            May be set at any time.
        source_of: makes the text or address given to ``banned`` what ``take`` is given.
        lock: held while sources are read or changed, where other threads call ``banned`` or
            ``near``.

    Attributes:
        passed, repeats, muted: how many packets were passed, left out as repeats, or left out
            because their source had just been banned.
        waiting: how many packets are held.
        evicted, evicted_early: how many sources were forgotten for want of room, and how many of
            these had asked for several targets.

    Raises:
        ValueError: ``what`` does not exist.
    """

    MAX_TARGETS_EACH = 1024
    """Targets of one source; the one that it tried first is forgotten."""

    MAX_BANNED = 16_384
    """Banned sources remembered, until as many others were banned."""

    REMEMBER = 3
    """A target is remembered for this many windows after it was last seen.  With one, a
    monitor that tries the same ten ports once per findtime would count twenty: fail2ban
    estimates what is beyond the edge of its own window from the rate before."""

    def __init__(
        self,
        what: str = "port",
        window: float = 300.0,
        hold: int = 1,
        source_of: Callable[[bytes], bytes] = lambda address: address,
        lock: Optional[AbstractContextManager[Any]] = None,
    ) -> None:
        if what not in WHATS:
            raise ValueError(f"distinct={what}: must be one of {', '.join(WHATS)}")
        self.what = what
        self._keep = 0.0
        self.window = window
        self.hold = hold
        self._clock = 0.0
        self._source_of = source_of
        self.passed = self.repeats = self.muted = self.waiting = 0
        self.evicted = self.evicted_early = 0
        self._sources: TieredLRU[_Source[_Item]] = TieredLRU(
            _TIERS[-1] + 1, MAX_BYTES, self._forgotten
        )
        self._lock: AbstractContextManager[Any] = lock or nullcontext()
        self._banned: dict[bytes, float] = {}  # source -> until when it is muted, by the clock

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._sources)

    @property
    def max_bytes(self) -> int:
        """Estimated size of all sources at most; may be set at any time."""
        return self._sources.max_bytes

    @max_bytes.setter
    def max_bytes(self, size: int) -> None:
        self._sources.max_bytes = size

    @property
    def window(self) -> float:
        """Seconds, the jail's findtime."""
        return self._window

    @window.setter
    def window(self, seconds: float) -> None:
        self._window = seconds
        self._keep = seconds * self.REMEMBER

    @property
    def clock(self) -> float:
        """Seconds that only go forward, set before packets are taken.

        Sources that came too long before to matter are forgotten then.
        """
        return self._clock

    @clock.setter
    def clock(self, now: float) -> None:
        self._clock = now
        # Packets come LATEST_FLUSH and findtime late at most, and a step of the clock.
        latest = LATEST_FLUSH + self._window + CLOCK_STEP
        before = now - self._keep - CLOCK_STEP - latest
        with self._lock:
            self._sources.expire(lambda source: source.seen < before)

    @property
    def merges(self) -> bool:
        """Whether the second of two alike packets within a second is always a repeat."""
        return self.what != "none" and self._keep > 2 * SPAN

    def target(self, packet: Packet, kind: Kind) -> int:
        """Return a hash of what is counted; it is keyed, so nobody can forge another's."""
        port = packet.protocol << 17 | (packet.dport + 1)  # 0: none
        if kind.count is _PORT:
            return hash((packet.head.selectors, port))
        if self.what == "host":
            return hash((packet.head.selectors, packet.destination))
        return hash((packet.head.selectors, packet.destination, port))

    def take(
        self, time: float, source: bytes, target: int, item: _Item, size: int = 0, count: int = 1
    ) -> Sequence[_Item]:
        """Take a packet that the mode counts, and return those that pass now, oldest first.

        Args:
            time: when it was captured, seconds since the epoch.
            source: 4 or 16 bytes.
            target: from ``target``.
            item: what is returned when the packet passes, now or with a later one.
            size: of the item, in bytes.
            count: how many packets it stands for, of which at most one is new (``merges``).

        Returns:
            Nothing for a repeat, a packet that is held, or one of a muted source.
        """
        if self._banned and self._is_muted(source):
            self.muted += count
            return ()
        with self._lock:
            return self._take(time, source, target, item, size, count)

    def _take(
        self, time: float, source: bytes, target: int, item: _Item, size: int, count: int
    ) -> Sequence[_Item]:
        known = self._sources.get(source)
        if known is not None and time - known.last >= self._keep + CLOCK_STEP:
            self._sources.discard(source)
            known = None
        if known is None:
            return self._add(time, source, target, item, size)
        known.seen = self._clock
        is_new = self.what == "none" or self._is_new(known, target, time)
        known.last = max(known.last, time)
        if not is_new:
            self.repeats += count
            return ()
        return self._pass(known, source, time, item, size)

    def _add(
        self, time: float, source: bytes, target: int, item: _Item, size: int
    ) -> Sequence[_Item]:
        waits = self.hold > 1
        known = _Source(time, target, [item] if waits else None, self._clock)
        if waits:
            self.waiting += 1
            known.held_bytes = _HELD + size
            known.size += known.held_bytes
        self._sources.add(source, known)
        if waits:
            return ()
        self.passed += 1
        return (item,)

    def _is_new(self, known: _Source[_Item], target: int, time: float) -> bool:
        """Return whether a target is new, and remember it."""
        last = known.last_seen(target)
        # A packet much older than the last one is as new as one much younger: clocks jump.
        is_new = last is None or not -self._keep < time - last < self._keep
        if is_new or (last is not None and time > last):
            known.see(target, time)
        if is_new and known.targets is not None:
            self._forget_target(known.targets, time)
        return is_new

    def _forget_target(self, targets: dict[int, float], time: float) -> None:
        """Look at the first target whether it is still to be remembered."""
        oldest = next(iter(targets))
        last = targets.pop(oldest)
        if -self._keep < time - last < self._keep and len(targets) < self.MAX_TARGETS_EACH:
            targets[oldest] = last  # behind all others

    def _pass(
        self, known: _Source[_Item], source: bytes, time: float, item: _Item, size: int
    ) -> Sequence[_Item]:
        """Pass a packet, with those that were held for it; or hold it."""
        passed: Sequence[_Item] = (item,)
        if known.held is not None:
            if time - known.counted >= self._window + CLEAN_EVERY:  # fail2ban has forgotten them
                self.waiting -= len(known.held)
                known.held.clear()
                known.held_bytes = 0
            known.counted = max(known.counted, time)
            if len(known.held) + 1 < self.hold:
                known.held.append(item)
                known.held_bytes += _HELD + size
                self.waiting += 1
                passed = ()
            else:
                self.waiting -= len(known.held)
                passed, known.held, known.held_bytes = (*known.held, item), None, 0
        self.passed += bool(passed)
        targets, held = len(known.targets or ()), len(known.held or ())
        tier = _TIERS[min(max(targets, held), len(_TIERS) - 1)]
        self._sources.resize(source, known, tier, _SOURCE + _TARGET * targets + known.held_bytes)
        return passed

    def near(self, most: int) -> list[tuple[bytes, int]]:
        """Return the sources with the most held packets that still count, and how many.

        May be called from any thread.
        """
        with self._lock:
            newest = self._sources.highest(most * 64)
            since = self._clock - self._window - CLEAN_EVERY
            counts = [
                (source, len(known.held or ())) for source, known in newest if known.seen > since
            ]
        held = [each for each in counts if each[1] > 1]
        return sorted(held, key=lambda each: -each[1])[:most]

    def banned(self, source: Union[bytes, str], until: float = 0.0) -> None:
        """Note that a source was banned: forget its targets, and mute it.

        Args:
            source: 4 or 16 bytes, or text, also with a prefix length as ``2001:db8:1:2::/64``.
            until: its packets are left out until ``clock`` shows this.

        Raises:
            ValueError: the text is no address.
        """
        source = self._packed(source)
        with self._lock:
            self._sources.discard(source)
        self._banned.pop(source, None)
        if until > self._clock:
            if len(self._banned) >= self.MAX_BANNED:
                self._banned.pop(next(iter(list(self._banned))), None)
            self._banned[source] = until

    def unbanned(self, source: Union[bytes, str]) -> None:
        """Note that a source's ban was lifted, and mute it no more.  As ``banned``."""
        self._banned.pop(self._packed(source), None)

    def _packed(self, source: Union[bytes, str]) -> bytes:
        if isinstance(source, str):
            source = ip_network(source, strict=False).network_address.packed
        return self._source_of(source)

    def _is_muted(self, source: bytes) -> bool:
        until = self._banned.get(source)
        if until is None:
            return False
        if self._clock >= until:
            self._banned.pop(source, None)  # another thread may have done it
            return False
        return True

    def _forgotten(self, known: _Source[_Item], for_room: bool) -> None:
        self.waiting -= len(known.held or ())
        self.evicted += for_room
        self.evicted_early += for_room and known.tier > 0
