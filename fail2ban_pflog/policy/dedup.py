# SPDX-License-Identifier: GPL-2.0-or-later
"""Which packets tell fail2ban something new, and which of them may wait.

fail2ban counts lines; a scan is many targets, a client that tries again is many packets
to one.  So of each source's packets only the first to each target becomes a line, until
that target was quiet for a while, and ``maxretry`` reads "this many different targets".
What the mode does not count makes no line at all, nor do the packets of a source that was
banned, until the firewall has caught up.

A source that came a few times is in no ban list, whatever fail2ban thinks of it, and most
sources never come more often.  So its packets are *held* until they are enough to matter,
and then told at their own times.  A flood of forged sources holds one packet each, and
pushes out one another (``twoqueues``).

All times are the packets' own, but for muting and for forgetting who came long ago, which
go by ``clock``: no packet's time makes another source's be forgotten.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import ip_network
from typing import Generic, Optional, TypeVar, Union

from ..pflog.packet import Packet
from .classify import classify, directions
from .history import History
from .kinds import MODES, Count, Kind
from .lru import TwoQueueLRU

__all__ = ["CLEAN_EVERY", "LATEST_FLUSH", "SPAN", "WHATS", "Dedup", "Verdict"]

_Item = TypeVar("_Item")


class Verdict(IntEnum):
    """What is to happen with a packet; only PASS becomes a line."""

    PASS = 0
    REPEAT = 1
    MUTED = 2
    LET_BE = 3
    HELD = 4


WHATS = ("port", "host", "none")

PASS, REPEAT, MUTED, LET_BE, HELD = Verdict

_PORT = Count.PORT

SPAN = 1
"""Seconds that a run spans at the most, so that no jail forgets within it what it has seen.
(Jails with a findtime of less look at each packet.)"""

CLOCK_STEP = 600.0
"""Seconds by which packets' times may step back without a source's being forgotten early."""

CLEAN_EVERY = 5.0
"""Seconds between two looks of fail2ban at whose last failure is too old."""

LATEST_FLUSH = 3600.0
"""Seconds for which pflogd holds packets back at the most (-d)."""


class _Source(Generic[_Item]):
    """What is kept of a source that came more than once.

    targets: hash of what was counted -> when it was last seen.
    held: the packets that wait; None: its packets wait no more.
    counted: when the last packet came that is no repeat.
    last: when it last came, by the packets' times; seen: by the clock.
    """

    __slots__ = ("counted", "held", "last", "seen", "targets")

    def __init__(self, time: float, target: int, held: Optional[list[_Item]], seen: float) -> None:
        self.targets = {target: time}
        self.held = held
        self.counted = self.last = time
        self.seen = seen


_New = tuple[float, int, Optional[_Item], float]
"""A newcomer: when it came, to what, its packet if that waits, and when it came by the clock.  No
object of its own: a flood of forged ones must not fill the memory."""


class Dedup(Generic[_Item]):
    """Judges packets; one per jail.

    what: ``port``: one packet passes per source, destination, protocol and port; ``host``:
    one per source and destination (sweeps); ``none``: all that the mode counts.
    mode: ``normal``, ``aggressive`` or ``any``.
    window: seconds, the jail's findtime; may be set at any time.
    direction: ``in``, ``out`` or ``in|out``, as the filter's option.
    prefix6: how many bits of an IPv6 source are one source, a multiple of 8; a scanner
    commonly owns all addresses of a /64.
    hold: packets of a source that wait until there are so many of them; 1: none.  May be
    set at any time.

    clock: seconds that only go forward, set by the caller before packets are judged; who came
    too long before to matter is forgotten then.
    directions: the header's numbers of them.  prefix6_bytes: prefix6 in bytes.
    passed, repeats, muted: how many packets were judged so.  reasons: reason -> how many
    had it, of those that are let be.  waiting: how many packets are held.
    released: the items that were held for the packet that just passed; the caller takes them.

    Raises ValueError for options that do not exist.
    """

    MAX_NEW = 65_536
    """Sources that came once: at a flood of 20,000 forged ones a second, who comes again within
    three seconds is found.  40 MB when full."""

    MAX_KNOWN = 16_384
    """Sources that came more than once."""

    MAX_TARGETS = 131_072
    """Targets of known sources: 30 MB when full.  When there are more, the source that was not
    seen for longest is forgotten."""

    MAX_TARGETS_EACH = 1024
    """Targets of one source; the one that it tried first is forgotten."""

    MAX_BANNED = 16_384
    """Banned sources remembered, until as many others were banned."""

    REMEMBER = 3
    """A target is remembered for this many windows after it was last seen.  With one, a
    monitor that tries the same ten ports once per findtime would count twenty: fail2ban
    estimates what lies beyond the edge of its own window from the rate before."""

    def __init__(
        self,
        what: str = "port",
        mode: str = "normal",
        window: float = 300.0,
        direction: str = "in",
        prefix6: int = 128,
        hold: int = 1,
    ) -> None:
        if what not in WHATS:
            raise ValueError(f"distinct={what}: must be one of {', '.join(WHATS)}")
        if mode not in MODES:
            raise ValueError(f"mode={mode}: must be one of {', '.join(MODES)}")
        if prefix6 % 8 or not 8 <= prefix6 <= 128:
            raise ValueError(f"prefix6={prefix6}: must be a multiple of 8, 8 to 128")
        self.what = what
        self.mode = mode
        self._highest = MODES[mode]
        self._keep = 0.0
        self.window = window
        self.hold = hold
        self._clock = 0.0
        self.passed = self.repeats = self.muted = self.waiting = 0
        self.reasons: dict[Kind, int] = {}
        self.released: list[_Item] = []
        self.directions = directions(direction)
        self.prefix6_bytes = prefix6 // 8
        self._conduct = History()
        self._sources: TwoQueueLRU[_New[_Item], _Source[_Item]] = TwoQueueLRU(
            self.MAX_NEW, self.MAX_KNOWN, self._grow, self._gone
        )
        self._targets = 0
        self._banned: dict[bytes, float] = {}  # source -> until when it is muted, by the clock

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

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
        """Seconds that only go forward."""
        return self._clock

    @clock.setter
    def clock(self, now: float) -> None:
        self._clock = now
        # Packets come LATEST_FLUSH and findtime late at the most, and a step of the clock.
        latest = LATEST_FLUSH + self._window + CLOCK_STEP
        before = now - self._keep - CLOCK_STEP - latest
        self._sources.forget(lambda new: new[3] < before, lambda known: known.seen < before)

    @property
    def merges(self) -> bool:
        """Whether of alike packets within a second the second one cannot be new."""
        return self.what != "none" and self._keep > 2 * SPAN

    @property
    def let_be(self) -> int:
        """How many packets the mode does not count."""
        return sum(self.reasons.values())

    @property
    def evicted(self) -> int:
        """How many sources were forgotten early, for want of room."""
        return self._sources.evicted

    def judge(  # noqa: C901 - one pass: a call for each step would double it
        self,
        time: float,
        packet: Packet,
        frame: bytes,
        item: _Item,
        told: Optional[Kind] = None,
        count: int = 1,
    ) -> Verdict:
        """Tell what is to happen with a packet.

        time: when it was captured, seconds since the epoch.  frame: what it was decoded
        from.  item: what ``released`` will hold when the packet has waited for enough others.
        told: what ``scan.reason`` says of it, where that was asked.  count: how many packets
        it stands for, of which at most one is new (see ``merges``).
        Never raises.
        """
        source = packet.source
        if len(source) == _IP6:
            source = source[: self.prefix6_bytes]
        found = self.why(time, source, packet, frame, told)
        if found.rank > self._highest:
            self.reasons[found] = self.reasons.get(found, 0) + count
            return LET_BE
        if self._banned and self._is_muted(source):
            self.muted += count
            return MUTED
        target = self.target(packet, found)
        known = self._sources.get(source)
        if known is not None and time - known.last >= self._keep + CLOCK_STEP:
            self._sources.discard(source)
            known = None
        if known is None:
            waits = self.hold > 1
            self._sources.add(source, (time, target, item if waits else None, self._clock))
            if waits:
                self.waiting += 1
                return HELD
            self.passed += 1
            return PASS
        known.seen = self._clock
        if time > known.last:
            known.last = time
        if self.what != "none":
            last = known.targets.get(target)
            # A packet much older than the last one is as new as one much younger: clocks jump.
            if last is not None and -self._keep < time - last < self._keep:
                if time > last:
                    known.targets[target] = time
                self.repeats += count
                return REPEAT
            self._note(known, target, time)
        if known.held is not None:
            if time - known.counted >= self._window + CLEAN_EVERY:  # fail2ban has forgotten them
                self.waiting -= len(known.held)
                known.held.clear()
            if time > known.counted:
                known.counted = time
            if len(known.held) + 1 < self.hold:
                known.held.append(item)
                self.waiting += 1
                while self.waiting - self._sources.newcomers > self.MAX_TARGETS:
                    self._sources.push_out()
                return HELD
            self.waiting -= len(known.held)
            self.released, known.held = known.held, None
        self.passed += 1
        return PASS

    def why(
        self,
        time: float,
        source: bytes,
        packet: Packet,
        frame: bytes,
        told: Optional[Kind] = None,
    ) -> Kind:
        """Tell why a packet counts or does not, and note its source's conduct.

        told: what ``scan.reason`` says of it, where that was asked.
        """
        found = told or classify(packet, frame, self.directions)
        if found.asks <= self._highest:
            found = self._conduct.judge(time, source, packet, found)
        return found

    def target(self, packet: Packet, found: Kind) -> int:
        """Return a hash of what is counted; it is keyed, so nobody can forge another's."""
        port = packet.protocol << 17 | (packet.dport + 1)  # 0: none
        if found.count is _PORT:
            return hash((packet.head.selectors, port))
        if self.what == "host":
            return hash((packet.head.selectors, packet.destination))
        return hash((packet.head.selectors, packet.destination, port))

    def _note(self, known: _Source[_Item], target: int, time: float) -> None:
        """Keep a target; look at another whether it is still to be remembered."""
        targets = known.targets
        self._targets += target not in targets
        targets[target] = time
        oldest = next(iter(targets))
        last = targets.pop(oldest)
        if -self._keep < time - last < self._keep and len(targets) < self.MAX_TARGETS_EACH:
            targets[oldest] = last  # behind all others
        else:
            self._targets -= 1
        while self._targets > self.MAX_TARGETS:
            self._sources.push_out()

    def _grow(self, new: _New[_Item]) -> _Source[_Item]:
        time, target, item, seen = new
        self._targets += 1
        return _Source(time, target, None if item is None else [item], seen)

    def _gone(self, new: Optional[_New[_Item]], known: Optional[_Source[_Item]]) -> None:
        if known is not None:
            self._targets -= len(known.targets)
            self.waiting -= len(known.held or ())
        elif new is not None and new[2] is not None:
            self.waiting -= 1

    def banned(self, source: Union[bytes, str], until: float = 0.0) -> None:
        """Note that a source was banned: what was seen of it is forgotten.

        source: 4 or 16 bytes, or text, IPv6 also with its prefix length as in
        ``2001:db8:1:2::/64``.  until: its packets are muted until ``clock`` shows this.
        Raises ValueError when the text is no address.
        """
        source = self._packed(source)
        self._sources.discard(source)
        self._banned.pop(source, None)
        if until > self._clock:
            if len(self._banned) >= self.MAX_BANNED:
                self._banned.pop(next(iter(list(self._banned))), None)
            self._banned[source] = until

    def unbanned(self, source: Union[bytes, str]) -> None:
        """Note that a source's ban was lifted: it is heard at once.  As ``banned``."""
        self._banned.pop(self._packed(source), None)

    def _packed(self, source: Union[bytes, str]) -> bytes:
        if isinstance(source, str):
            source = ip_network(source, strict=False).network_address.packed
        return source[: self.prefix6_bytes] if len(source) == _IP6 else source

    def _is_muted(self, source: bytes) -> bool:
        until = self._banned.get(source)
        if until is None:
            return False
        if self._clock >= until:
            self._banned.pop(source, None)  # another thread may have done it
            return False
        return True


_IP6 = 16
