# SPDX-License-Identifier: GPL-2.0-or-later
"""Remember what a source did, where one packet alone does not show what it is.

Late answers come to ports spread over the whole range from which a system picks its own; which
of them are known services is chance.  A scan aims at services, walks from port to port, or
sweeps a port over hosts.  So a *stray*, a packet that alone shows nothing, gets a better kind:

* ``WALK`` when its port stands beside two others that the source tried.
* ``SWEEP`` when the source tried its port on other hosts and tries few ports in all.  Answers
  to many hosts whose systems hand out the same ports in order go to many ports.
* ``OPENS_ALL`` when it opens a connection and its source opens more connections to services
  than a client does.
* ``EXCESS`` beyond the number of targets that honest hosts have.  Every excuse that the packets
  themselves make (equal ports, an RPC port, an ordinary system's SYN) ends there, for a scanner
  can send the same at no cost.

And what is aimed at a service gets a lesser one:

* ``CHANCE`` while the source's strays outnumber what it aims at services by what chance gives.
* ``CLIENT`` when it may be a late packet of TCP and its source sends data as well.
* ``TRACEROUTE`` when it has few hops to go and its source behaves as a traceroute (``_Trace``).

Only sources with strays, few hops to go or segments that may be late are remembered, for
``HORIZON`` seconds.  All times are the packets' own.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Optional

from ..pflog.packet import TCP, Packet
from . import kinds
from .classify import LOW_TTL, at_any_ttl
from .kinds import Kind, Rank
from .lru import Memory, TieredLRU
from .ports import FIRST_UNRESERVED, FTP_DATA, weight

__all__ = ["MEMORY", "History"]

HORIZON = 3600.0
"""Seconds that a source's strays are remembered after the last of them.  Longer, and the late
answers of a busy server would come to be neighbours."""

MOST_STRAYS, MANY_AIMED = 8, 8
"""Strays for each of the first packets that are aimed, beyond which those are chance; from so many
packets on ``ports.weight`` says how many: chance has less play then."""

MOST_SWEPT = 4
"""Unknown ports that a source sweeps over hosts."""

MOST_BESIDE = 2
"""Unknown ports for each host of the one that is swept."""

MOST_EQUAL = 4
"""Ports from which a peer talks to the port of the same number."""

MOST_CALLS = 100
"""As ``MOST_HOSTS``, for what comes from the port of active FTP."""

MOST_LOW, LOW_BLOCKS = 20, 6
"""Strays below ``FIRST_EPHEMERAL``, and blocks of 1024 ports in which they are, that no answers
have unless as many come above: old systems and address translation use up to four blocks there."""

MOST_ASKED = 4
"""Closed services that an honest host asks for: those of a mail client, web ports, ident."""

MOST_OPENED = 2
"""Strays for each service that a scan of known ports tries; a call back hits one by chance in
two hundred times."""

MOST_LENGTHS = 2
"""Lengths of the segments that a scan sends: one, and another of a ping before."""

MAX_PORTS = 4_096
"""Ports remembered of a source; half are forgotten then, those that cannot be a walk's first."""

MAX_HOSTS = 512
"""Hosts remembered of a port; then it begins anew."""

MAX_BYTES = 20 << 20
"""Estimated size of the histories of three jails or fewer."""

LEAST_BYTES = 6 << 20
"""Of each jail's: with less a thousand busy hosts at once push out one another, and what is not
remembered of an honest host is not excused."""

MEMORY = Memory(MAX_BYTES, LEAST_BYTES)

_SOURCE, _ENTRY, _TRACE = 700, 100, 1_200
"""Bytes of a source, of each of its ports and hosts, and of its traceroute, as measured with Python
3.11."""

_TIERS = 6
"""Sources with no or one port or host, 2 and 3, 4 to 7, 8 to 15, 16 to 31, and more."""

FEW_TARGETS = 1
"""Targets of a network that count for nothing: a file-sharing host has as many in many networks."""

MAX_NETWORKS = 64
"""Networks of which a source's targets are counted."""

_MAYBE_LATE = frozenset(
    {kinds.ACK_PROBE, kinds.TCP_SERVICE, kinds.LATE_PACKET, kinds.LATE_SEGMENT, kinds.LATE_PLAIN}
)
"""Kinds of TCP segments with ACK, or of which that is not known."""

_FOUND = frozenset({kinds.WALK, kinds.SWEEP, kinds.OPENS_ALL, kinds.EXCESS})
"""Kinds that are found here, and hold for all that goes to that port."""

_CERTAIN = frozenset({kinds.OPENS_ALL, kinds.EXCESS})
"""Of those, the ones that are never chance."""

_ANSWERS = frozenset({kinds.LATE_ANSWER, kinds.STRAY_UDP, kinds.CALL_BACK})

_SYN_ACK = 0x12


_NONE: tuple[int, ...] = ()


class _Trace:
    """What a source sent with few hops to go.

    A traceroute begins with hardly a hop to go, and sends several hop counts to each host; its
    ports are few, or count up as the hops do.
    """

    FIRST_HOPS = 6
    """Hops to go of its first probes that arrive here; nmap's begin at 37."""
    FLOWS = 16
    """Ports that it tries at once at most, as Atlas does."""
    FREE = 32
    """Targets before it must have sent several hop counts to a host."""
    TTLS = 3
    """Hop counts that it sends to a host, on average: it goes on for 30 hops, as nobody answers."""
    PROBES = 6
    """Ports of a host that it tries with one hop count, where they count up: three as a rule."""
    MAX = 1_024
    """Targets remembered; then it begins anew."""

    __slots__ = (
        "disorder",
        "highest",
        "hosts",
        "last",
        "least",
        "lowest",
        "pairs",
        "ports",
        "targets",
    )

    def __init__(self) -> None:
        self.least = LOW_TTL
        self._clear()

    def _clear(self) -> None:
        self.hosts: set[bytes] = set()
        self.pairs: set[int] = set()
        self.ports: set[int] = set()
        self.targets: set[int] = set()
        self.last = self.lowest = self.highest = _NONE
        self.disorder = 0

    def note(self, packet: Packet) -> None:
        if len(self.targets) >= self.MAX or len(self.pairs) >= self.MAX:
            self._clear()
        port, ttl, host = _port_of(packet), packet.ttl, packet.destination
        self.least = min(self.least, ttl)
        if port not in self.ports:
            self.ports.add(port)
            self._note_order(port, ttl)
        self.hosts.add(host)
        self.targets.add(hash((host, port)))
        self.pairs.add(hash((host, ttl)))

    def _note_order(self, port: int, ttl: int) -> None:
        """Note whether a new port goes up or down as the hop count does, by few ports a hop."""
        low, hops_of_low = self.lowest or (port, ttl)
        high, hops_of_high = self.highest or (port, ttl)
        before, hops = self.last or (port, ttl)
        step, up = port - before, ttl - hops
        self.disorder += (
            step * up < 0
            or abs(step) > self.FLOWS * (1 + abs(up))
            or (port > high and ttl < hops_of_high)
            or (port < low and ttl > hops_of_low)
        )
        self.last = port, ttl
        if port >= high:
            self.highest = port, max(ttl, hops_of_high)
        if port <= low:
            self.lowest = port, min(ttl, hops_of_low)

    def is_traceroute(self, excused: int) -> bool:
        """Return whether all this may be a traceroute's.

        Args:
            excused: number of the source's targets that are excused otherwise.
        """
        few = self.least <= self.FIRST_HOPS and len(self.ports) <= self.FLOWS
        return (few and len(self.targets) <= self.FREE - excused) or self.is_proven

    @property
    def is_proven(self) -> bool:
        """Whether it sent several hop counts to each host."""
        ports, pairs = len(self.ports), len(self.pairs)
        near = self.least <= self.FIRST_HOPS
        few = ports <= (self.FLOWS if near else 1)
        in_order = near and self.disorder * 8 <= ports
        return (
            (few or in_order)
            and pairs >= self.TTLS * len(self.hosts)
            and len(self.targets) <= self.PROBES * pairs
        )


class _Spread:
    """How the ports of one protocol that a source tried are spread.

    Attributes:
        aimed: number of ports that were aimed at.
        weight: of those, see ``ports.weight``.
        strays: number of the others.
        low: of the strays, those below ``FIRST_EPHEMERAL``.
        blocks: in which blocks of 1024 ports those are, a bit for each.
    """

    __slots__ = ("aimed", "blocks", "low", "strays", "weight")

    def __init__(self) -> None:
        self.aimed = self.weight = self.strays = self.low = self.blocks = 0

    def stray(self, dport: int) -> None:
        self.strays += 1
        if 0 <= dport < kinds.FIRST_EPHEMERAL:
            self.low += 1
            self.blocks |= 1 << (dport >> 10)

    @property
    def scattered(self) -> bool:
        """Whether its answers, if such they are, hit services by chance."""
        few = self.aimed < MANY_AIMED
        return self.strays > (MOST_STRAYS * self.aimed if few else self.weight)

    @property
    def aims_low(self) -> bool:
        """Whether they keep to the ports below those that systems pick."""
        return (
            self.low > MOST_LOW
            and self.low * 2 > self.strays
            and bin(self.blocks).count("1") >= LOW_BLOCKS
        )


class _Source:
    """What a source did.

    Attributes:
        ports: protocol and port -> (the first host, the kind that was found).
        tcp, other: how its ports are spread, by protocol.
        opened, reserved: how many services a SYN went to, and how many of them are reserved.
        swept: how many ports were swept over hosts.
        equal: how many ports were equal to their source's.
        hosts: the hosts of each port that was tried on several; further: their number, at least.
        targets: network -> how many targets were excused there; excused: all but the first few.
        trace: what came with few hops to go.
        lengths: of its segments, where flags are unknown.
        data: whether it sent some.
        last: seconds since the epoch.
        tier, size: see ``TieredLRU``.
    """

    __slots__ = (
        "data", "equal", "excused", "further", "hosts", "last", "lengths", "opened", "other",
        "ports", "reserved", "size", "swept", "targets", "tcp", "tier",
        "trace",
    )  # fmt: skip

    def __init__(self, last: float) -> None:
        self.ports: dict[int, tuple[bytes, Kind]] = {}
        self.hosts: dict[int, set[bytes]] = {}
        self.tcp = _Spread()
        self.other: Optional[_Spread] = None
        self.opened = self.reserved = self.swept = self.equal = 0
        self.tier = self.further = 0
        self.size = _SOURCE
        self.targets: dict[bytes, int] = {}
        self.excused = 0
        self.trace: Optional[_Trace] = None
        self.data = False
        self.lengths: tuple[int, ...] = ()
        self.last = last

    def spread(self, protocol: int) -> _Spread:
        """Return how the ports are spread that it tried of TCP, or of other protocols."""
        if protocol == TCP:
            return self.tcp
        if self.other is None:
            self.other = _Spread()
        return self.other

    def note_data(self, packet: Packet) -> None:
        """Note whether a segment carries data."""
        if packet.kind >= 0:
            self.data |= packet.length > packet.header
        elif not self.data:
            if packet.length not in self.lengths:
                self.lengths += (packet.length,)
            self.data = len(self.lengths) > MOST_LENGTHS

    def remember(self, port: int, host: bytes, kind: Kind) -> None:
        """Note what a port is; forget half of them where there are too many."""
        ports = self.ports
        if len(ports) >= MAX_PORTS and port not in ports:
            for old in sorted(ports, key=_is_low)[: MAX_PORTS // 2]:
                del ports[old]
                self.further -= len(self.hosts.pop(old, ()))
        ports[port] = host, kind

    def add_host(self, port: int, host: bytes) -> int:
        """Add a host on which a port was tried.

        Returns:
            The number of hosts in its network on which it was; 0 where it was on this one.
        """
        first, _ = self.ports[port]
        hosts = self.hosts.get(port)
        if host == first or (hosts and host in hosts):
            return 0
        if hosts is None or len(hosts) >= MAX_HOSTS:
            self.further -= len(hosts or ())
            hosts = self.hosts[port] = {first}
        hosts.add(host)
        self.further += 1
        network = _network(host)
        return sum(_network(each) == network for each in hosts)

    def exceeds(self, packet: Packet) -> bool:
        """Count a target that is excused; return whether an honest host has fewer."""
        network = _network(packet.destination)
        if network not in self.targets and len(self.targets) >= MAX_NETWORKS:
            self.targets.clear()
        in_network = self.targets[network] = self.targets.get(network, 0) + 1
        self.excused += in_network > FEW_TARGETS
        count = self.excused + FEW_TARGETS
        if self.trace and not self.trace.is_proven:
            count += len(self.trace.targets)
        # Where TCP's flags are unknown it may be a late segment.
        most = MOST_CALLS if packet.sport == FTP_DATA else kinds.MOST_HOSTS
        return count > most and (packet.protocol != TCP or packet.kind >= 0)

    @property
    def opens_all(self) -> bool:
        """Whether it opens connections to services as well, and more often than by chance."""
        known = self.opened > MOST_ASKED and self.tcp.strays <= MOST_OPENED * self.opened
        return known or self.reserved > MOST_ASKED


class History:
    """What the sources of one jail did; gives packets whose kind ``asks`` for it a better one."""

    def __init__(self) -> None:
        self._sources: TieredLRU[_Source] = TieredLRU(_TIERS, MAX_BYTES)

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def max_bytes(self) -> int:
        """Estimated size of all sources at most; may be set at any time."""
        return self._sources.max_bytes

    @max_bytes.setter
    def max_bytes(self, size: int) -> None:
        self._sources.max_bytes = size

    def refine(self, time: float, source: bytes, packet: Packet, kind: Kind) -> Kind:
        """Note a packet, and return its kind or a better one.

        Args:
            time: of the packet, seconds since the epoch.
            source: what it is counted as.
            packet: the packet.
            kind: what ``classify`` returned for it.
        """
        near = kind is kinds.NEAR_END or kind is kinds.TRACEROUTE
        plain = at_any_ttl(packet) if near else kind
        if plain is kinds.TRACEROUTE:
            return plain
        known = self._known(time, source, near or plain.stray or plain is kinds.TCP_SERVICE)
        if known is None:
            return kind
        found = self._found(known, packet, plain)
        if near:
            if known.trace is None:
                known.trace = _Trace()
            known.trace.note(packet)
            if found.rank >= Rank.ANY or known.trace.is_traceroute(known.excused):
                found = kinds.TRACEROUTE
            elif found is plain:
                found = kinds.NEAR_END if kind is kinds.NEAR_END else plain
        self._resize(source, known)
        return found

    def _known(self, time: float, source: bytes, add: bool) -> Optional[_Source]:
        """Return what is remembered of a source, if anything is to be."""
        known = self._sources.get(source)
        if known is not None and abs(time - known.last) > HORIZON:
            self._sources.discard(source)
            known = None
        if known is None:
            if not add:
                return None
            known = _Source(time)
            self._sources.add(source, known)
        known.last = max(time, known.last)
        return known

    def _resize(self, source: bytes, known: _Source) -> None:
        trace = known.trace
        entries = len(known.ports) + known.further
        if trace:
            entries += len(trace.targets) + len(trace.pairs)
        tier = min(max(1, entries).bit_length(), _TIERS) - 1
        size = _SOURCE + _ENTRY * entries + (_TRACE if trace else 0)
        self._sources.resize(source, known, tier, size)

    def _found(self, known: _Source, packet: Packet, kind: Kind) -> Kind:
        port = _port_of(packet)
        spread = known.spread(packet.protocol)
        found = kind
        if kind.stray:
            found = _stray(known, port, packet, kind)
        elif port not in known.ports:
            spread.aimed += 1
            spread.weight += weight(packet.protocol, packet.dport)
            if kind.opens:
                known.opened += 1
                known.reserved += kind is kinds.SYN and packet.dport < FIRST_UNRESERVED
            known.remember(port, packet.destination, kind)
        if kind in _MAYBE_LATE:
            known.note_data(packet)
        if kind is kinds.SYN or found.rank >= Rank.ANY or found in _CERTAIN:
            return found
        if known.data and kind in _MAYBE_LATE and spread.aimed <= kinds.MOST_HOSTS:
            return kinds.CLIENT
        if kind is kinds.TCP_BARE_OPENING and known.lengths:
            return kinds.RAW_OPENING
        if spread.scattered:
            return kind if kind.stray else kinds.CHANCE
        return found


def _is_low(port: int) -> bool:
    return port & 0xFFFF < kinds.FIRST_EPHEMERAL


def _port_of(packet: Packet) -> int:
    return packet.protocol << 16 | packet.dport & 0xFFFF


def _stray(known: _Source, port: int, packet: Packet, kind: Kind) -> Kind:
    """Return a better kind for a stray, if there is one, and remember it."""
    host = packet.destination
    first, before = known.ports.get(port, (host, None))
    if before in _FOUND and before is not kinds.SWEEP:
        return before
    spread = known.spread(packet.protocol)
    if before is None:
        spread.stray(packet.dport)
        known.equal += kind is kinds.PEER
    # Another segment may have come there before a SYN.
    is_new = before is None or (kind.opens and not before.opens and before is not kinds.SWEEP)
    hosts = 0 if is_new or not (kind.sweeps or kind.limited) else known.add_host(port, host)
    found = _better(known, spread, port, packet, kind, is_new, hosts)
    if before is kinds.SWEEP and found is kind:
        found = kinds.SWEEP
    elif before is not kinds.SWEEP and found is not kind and found is not kinds.OPENS_ALL:
        known.swept += found is kinds.SWEEP
        spread.strays -= 1
        spread.aimed += 1
        spread.weight += weight(packet.protocol, packet.dport)
    known.remember(port, first, found)
    return found


def _better(
    known: _Source, spread: _Spread, port: int, packet: Packet, kind: Kind, is_new: bool, hosts: int
) -> Kind:
    """Return what a stray is in the light of its source's other ports.

    Args:
        is_new: whether the source did not try its port before.
        hosts: if it did, on how many hosts of this network; 0: on this one already.
    """
    cut = packet.protocol == TCP and packet.kind < 0
    # The ports of a flood may count up, and so do those of its victim's SYN-ACKs.
    walks = 0 if packet.kind >= 0 and packet.kind & _SYN_ACK == _SYN_ACK else kind.walks
    if is_new and packet.dport < walks and _stands_beside(known.ports, port):
        return kinds.WALK
    if kind.opens and known.opens_all:
        return kinds.OPENS_ALL
    if hosts and kind.sweeps:
        if kind.sweeps == kinds.SWEPT_HOSTS and spread.strays + known.swept <= MOST_SWEPT:
            return kinds.SWEEP
        most = kind.sweeps
        if most == kinds.SWEPT_HOSTS and spread.strays > MOST_BESIDE * hosts:
            most = kinds.MOST_HOSTS
        if hosts > most:
            return kinds.EXCESS
    if kind is kinds.PEER:
        return kinds.EXCESS if known.equal > MOST_EQUAL else kind
    if kind.limited and (is_new or hosts) and known.exceeds(packet):
        return kinds.EXCESS
    return kinds.EXCESS if is_new and kind in _ANSWERS and spread.aims_low and not cut else kind


def _network(host: bytes) -> bytes:
    return host[:3] if len(host) == 4 else host[:8]


def _stands_beside(ports: Container[int], port: int) -> bool:
    """Return whether two others are beside a port."""
    if port - 1 in ports:
        return port - 2 in ports or port + 1 in ports
    return port + 1 in ports and port + 2 in ports
