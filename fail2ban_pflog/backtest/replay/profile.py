# SPDX-License-Identifier: GPL-2.0-or-later
"""What sources do by themselves, as the policy names it, whatever a jail's settings are.

A sweep compares settings by whom they ban; so it has to know of a source whether it plainly
scans.  It does when, with no pause of an hour, the policy counts

* ``PLAIN_PORTS`` different ports or protocols of it, as many as the shipped jail asks for, or
* one of its ports on ``PLAIN_HOSTS`` hosts, and it hardly ever came back to one: monitoring and
  balancers do.

All other sources are for a person to judge; a ``Profile`` tells how they differ.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple, Optional

from ...pflog.packet import Packet
from ...policy.classify import classify
from ...policy.history import HORIZON, History
from ...policy.kinds import Count, Kind, Rank
from ...policy.lru import TwoQueueLRU
from .evidence import asked

__all__ = ["Profile", "Profiles", "networks", "with_networks"]

PLAIN_PORTS = 15
"""Zeek's number, and the shipped jail's."""

PLAIN_HOSTS = 25
"""Zeek's number."""

MOST_REPEATS = 2
"""Packets to each target of who sweeps: a scanner sends a probe once more at most."""

MAX_NEW = 65_536
"""Sources that came once: 26 MB when full."""

MAX_KNOWN = 16_384
"""Sources that came more often, of which the targets are kept."""

MAX_TARGETS = 400_000
"""Targets kept of all sources: 80 MB when full."""

MAX_TARGETS_EACH = 100
"""Different targets kept of a source: more tell nothing new."""

MAX_PROFILES = 65_536
"""Sources that made a pause or were pushed out: 40 MB when full."""


class Profile(NamedTuple):
    """What a source did without a pause of an hour, the time that it did most.

    packets: how many.  asked: what for, see ``evidence.asked``, of how many hosts; full:
    whether there were more of these than are kept.
    reasons: the policy's name of each packet -> how many.
    sport: the port that all came from; 0: from several, or none.
    targets: how many different ones it asked for; counted: those that the policy counts.
    plain: whether it plainly scans.
    """

    packets: int
    asked: array[int]
    hosts: int
    full: bool
    reasons: dict[Kind, int]
    sport: int
    targets: int
    counted: int
    plain: bool

    @property
    def rank(self) -> tuple[bool, int, int]:
        """By what one that did more stands higher."""
        return self.plain, self.counted, self.targets

    @property
    def honest_reasons(self) -> dict[Kind, int]:
        """Those of its packets that are such as honest hosts send."""
        return {why: count for why, count in self.reasons.items() if why.rank > Rank.AGGRESSIVE}

    @property
    def honest(self) -> int:
        """How many these are."""
        return sum(self.honest_reasons.values())


class _Known:
    """What is kept of a source that came more than once.

    targets: (what it asked for, host) -> whether the policy counts it.
    counted: packets that the policy counts, as long as targets had room.
    """

    __slots__ = ("counted", "last", "packets", "reasons", "source", "sport", "targets")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.targets: dict[tuple[int, bytes], bool] = {}
        self.reasons: dict[Kind, int] = {}
        self.packets = self.counted = 0
        self.sport: Optional[int] = None
        self.last = 0.0

    def add(self, time: float, packet: Packet, why: Kind) -> None:
        if time > self.last:
            self.last = time
        self.packets += 1
        self.reasons[why] = self.reasons.get(why, 0) + 1
        if packet.sport != self.sport:
            self.sport = packet.sport if self.sport is None else 0
        counts = why.rank <= Rank.AGGRESSIVE
        host = b"" if why.count is Count.PORT else packet.destination
        target = asked(packet), host
        if (
            target not in self.targets
            and len(self.targets) >= MAX_TARGETS_EACH
            and not (counts and self._forget_one())
        ):
            return
        self.targets[target] = self.targets.get(target, False) or counts
        self.counted += counts

    def _forget_one(self) -> bool:
        """Forget a target that does not count, for one that does; False where there is none."""
        for target, counts in self.targets.items():
            if not counts:
                del self.targets[target]
                return True
        return False

    @property
    def profile(self) -> Profile:
        counted = [target for target, counts in self.targets.items() if counts]
        hosts: dict[int, int] = {}
        for number, _ in counted:
            hosts[number] = hosts.get(number, 0) + 1
        sweeps = max(hosts.values(), default=0) >= PLAIN_HOSTS
        return Profile(
            self.packets,
            array("I", sorted({number for number, _ in self.targets})),
            len({host for _, host in self.targets}),
            len(self.targets) >= MAX_TARGETS_EACH,
            self.reasons,
            max(self.sport or 0, 0),
            len(self.targets),
            len(counted),
            len(hosts) >= PLAIN_PORTS or (sweeps and self.counted <= MOST_REPEATS * len(counted)),
        )


_New = tuple[float, Packet, Kind]


class Profiles:
    """Profiles of all sources that came more than once, without packets that no mode counts."""

    def __init__(self) -> None:
        self._conduct = History()
        self._sources: TwoQueueLRU[_New, _Known] = TwoQueueLRU(
            MAX_NEW, MAX_KNOWN, self._grow, self._gone
        )
        self._profiles: dict[bytes, Profile] = {}
        self._targets = 0

    def packet(self, time: float, frame: bytes, packet: Packet) -> None:
        """Take one packet; time: seconds since the epoch."""
        source = packet.source
        why = classify(packet, frame)
        if why.rank is Rank.NEVER:
            return
        if why.asks <= Rank.AGGRESSIVE:
            why = self._conduct.judge(time, source, packet, why)
        known = self._sources.get(source)
        if known is not None and abs(time - known.last) > HORIZON:
            self._sources.discard(source)
            known = None
        if known is None:
            self._sources.add(source, (time, packet, why))
            return
        before = len(known.targets)
        known.add(time, packet, why)
        self._targets += len(known.targets) - before
        while self._targets > MAX_TARGETS:
            self._sources.push_out()

    def all(self) -> dict[str, Profile]:
        """Source -> its profile, so far."""
        for known in self._sources.known():
            self._keep(known)
        return {str(ip_address(source)): each for source, each in self._profiles.items()}

    def _grow(self, new: _New) -> _Known:
        known = _Known(new[1].source)
        known.add(*new)
        self._targets += 1
        return known

    def _gone(self, _: Optional[_New], known: Optional[_Known]) -> None:
        if known is not None:
            self._targets -= len(known.targets)
            self._keep(known)

    def _keep(self, known: _Known) -> None:
        """Keep what a source did, or what it did before if that was more."""
        now, before = known.profile, self._profiles.pop(known.source, None)
        if before is not None and before.rank > now.rank:
            now = before
        self._profiles[known.source] = now
        if len(self._profiles) > MAX_PROFILES:
            del self._profiles[next(iter(self._profiles))]


def with_networks(profiles: Mapping[str, Profile], lengths: Iterable[str]) -> dict[str, Profile]:
    """The same, with the IPv6 networks of these lengths: of each, who does most in it."""
    found = dict(profiles)
    for source, profile in profiles.items():
        for network in networks(source, lengths):
            if network not in found or found[network].rank < profile.rank:
                found[network] = profile
    return found


def networks(source: str, lengths: Iterable[str]) -> list[str]:
    """The networks of these lengths that an IPv6 source is in, as fail2ban names them."""
    if ":" not in source:
        return []
    return [str(ip_network(f"{source}/{length}", strict=False)) for length in lengths]
