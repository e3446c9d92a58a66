# SPDX-License-Identifier: GPL-2.0-or-later
"""What a source does as a whole, where one packet alone does not tell.

Late answers come to ports that lie spread over the whole range that a system picks its
own ports from; which of them are known services is chance.  A scan aims, or walks.  So:

* A stray packet counts when it *walks*, its port standing beside two others that the
  source tried, or *sweeps*, its port having been tried on another host.  Who sweeps tries
  few ports (``MOST_SWEPT``); answers to many hosts whose systems hand out the same ports
  in order come to many.
* A stray that opens a connection counts when its source opens others to services, more
  than anybody may ask for (``MOST_ASKED``): with ``MOST_OPENED`` strays for each, or to so
  many reserved ports, which no client names to be called back.
* What is aimed at a known service, and may be a late packet, counts until the source's
  strays outnumber all that is aimed, walks or sweeps by ``MOST_STRAYS`` to one: answers
  that are spread over the range hit a known service once in some fifty times.
* What may be a late packet of TCP is one when its source sends data as well.  Where flags
  are unknown, data has more than ``MOST_LENGTHS`` lengths; a scan's segments are alike.
* What has few hops to go is a *traceroute* where its source began with hardly one
  (``FIRST_HOPS``), and tries a few ports (``MOST_PROBES``) with each TTL.

Only sources with strays, few hops to go or segments that may be late are remembered, for
``HORIZON`` seconds.  All times are the packets' own.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Optional

from ..pflog.packet import Packet
from .kinds import (
    ACK_PROBE,
    CHANCE,
    CLIENT,
    LATE_PACKET,
    LATE_SEGMENT,
    NEAR_END,
    OPENS_ALL,
    RAW_OPENING,
    SWEEP,
    SYN,
    TCP_BARE_OPENING,
    TCP_SERVICE,
    TRACEROUTE,
    WALK,
    Kind,
    Rank,
)
from .lru import TwoQueueLRU
from .ports import FIRST_UNRESERVED

__all__ = ["History"]

HORIZON = 3600.0
"""Seconds that a source's strays are remembered after the last of them.  Longer, and the late
answers of a busy server would come to lie side by side."""

MOST_STRAYS = 8
"""Strays for each packet that is aimed.  Of the ports in nmap's longest lists one in six is
reserved or known, of all ports one in fifty-five."""

MOST_SWEPT = 4
"""Unknown ports that a source sweeps over hosts."""

MOST_ASKED = 4
"""Closed services that an honest host asks for: those of a mail client, web ports, ident."""

MOST_OPENED = 2
"""Strays for each service that a scan of known ports tries; who calls back hits one by chance in
two hundred times."""

MOST_LENGTHS = 2
"""Lengths of the segments that a scan sends: one, and another of a ping before."""

FIRST_HOPS = 4
"""Hops to go of a traceroute's first probes that arrive here; nmap's begin at 37."""

MOST_PROBES = 16
"""Ports that a traceroute tries with one TTL: three as a rule, ten by -q, sixteen by Atlas."""

MAX_SOURCES = 8_192
"""Of those seen once and those seen more often, each: 20 MB when all of them scan."""

MAX_PORTS = 512
"""Ports remembered of a source; the one tried first is forgotten."""

_MAYBE_LATE = frozenset({ACK_PROBE, TCP_SERVICE, LATE_PACKET, LATE_SEGMENT})
"""Reasons of TCP segments with ACK, or of which that is not known."""

_TELLING = frozenset({NEAR_END, TCP_SERVICE})
"""Reasons of packets that are no strays, and of whose source more is to be known."""

_FOUND = frozenset({WALK, SWEEP, OPENS_ALL})
"""Reasons that are found here, and hold for all that goes to that port."""


class _Source:
    """What a source did.

    ports: protocol and port -> (the last host, the reason that was found).
    aimed, strays: how many different ports were.  opened: those of the aimed that a SYN
    went to; reserved: and that are reserved.
    swept: those of the aimed that were tried on several hosts.
    ttls: with which few hops to go it came.
    lengths: of its segments, where flags are unknown.  data: whether it sent some.
    last: seconds since the epoch.
    """

    __slots__ = (
        "aimed", "data", "last", "lengths", "opened", "ports", "reserved", "strays", "swept",
        "ttls",
    )  # fmt: skip

    def __init__(self, last: float) -> None:
        self.ports: dict[int, tuple[bytes, Kind]] = {}
        self.aimed = self.opened = self.reserved = self.strays = self.swept = 0
        self.data = False
        self.ttls: set[int] = set()
        self.lengths: set[int] = set()
        self.last = last

    def note(self, packet: Packet) -> None:
        """Look whether a segment carries data."""
        if packet.kind >= 0:
            self.data |= packet.length > packet.header
        elif not self.data:
            self.lengths.add(packet.length)
            self.data = len(self.lengths) > MOST_LENGTHS

    @property
    def scattered(self) -> bool:
        """Whether its answers, if such they are, hit services by chance."""
        return self.strays > MOST_STRAYS * self.aimed

    @property
    def tries_few(self) -> bool:
        """Whether it sweeps, if it does, few ports."""
        return self.strays + self.swept <= MOST_SWEPT

    @property
    def traces(self) -> bool:
        """Whether it sends a traceroute."""
        ttls = self.ttls
        return min(ttls) <= FIRST_HOPS and self.aimed <= MOST_PROBES * len(ttls)

    @property
    def opens_all(self) -> bool:
        """Whether it opens connections to services as well, and more often than by chance."""
        known = self.opened > MOST_ASKED and self.strays <= MOST_OPENED * self.opened
        return known or self.reserved > MOST_ASKED


class History:
    """Judges the packets whose reason ``asks`` for it; one per jail."""

    def __init__(self) -> None:
        self._sources: TwoQueueLRU[_Source, _Source] = TwoQueueLRU(
            MAX_SOURCES, MAX_SOURCES, lambda source: source
        )

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

    def judge(self, time: float, source: bytes, packet: Packet, reason: Kind) -> Kind:
        """Return the reason, or a better one.

        time: of the packet, seconds since the epoch.  source: whom it counts against.
        reason: from ``scan.reason``.
        """
        known = self._known(time, source, reason)
        if known is None:
            return reason
        found = reason
        port = packet.protocol << 16 | packet.dport
        if reason.stray:
            found = _stray(known, port, packet, reason)
        elif port not in known.ports:
            _aim(known, port, packet, reason)
        if reason in _MAYBE_LATE:
            known.note(packet)
        elif reason is NEAR_END:
            known.ttls.add(packet.ttl)
            return TRACEROUTE if known.traces else found
        if reason is SYN or found.rank >= Rank.ANY or found is OPENS_ALL:
            return found
        if known.data and reason in _MAYBE_LATE:
            return CLIENT
        if reason is TCP_BARE_OPENING and known.lengths:
            return RAW_OPENING
        if known.scattered:
            return reason if reason.stray else CHANCE
        return found

    def _known(self, time: float, source: bytes, reason: Kind) -> Optional[_Source]:
        """What is remembered of a source, if anything is to be."""
        known = self._sources.get(source)
        if known is not None and abs(time - known.last) > HORIZON:
            self._sources.discard(source)
            known = None
        if known is None:
            if not reason.stray and reason not in _TELLING:
                return None
            known = _Source(time)
            self._sources.add(source, known)
        known.last = max(time, known.last)
        return known


def _aim(known: _Source, port: int, packet: Packet, reason: Kind) -> None:
    known.aimed += 1
    if reason.opens:
        known.opened += 1
        known.reserved += reason is SYN and packet.dport < FIRST_UNRESERVED
    _remember(known, port, packet.destination, reason)


def _stray(known: _Source, port: int, packet: Packet, reason: Kind) -> Kind:
    """Find a better reason for a stray, if there is one, and keep it."""
    ports = known.ports
    host, before = ports.get(port, (packet.destination, None))
    if before is None:
        known.strays += 1
    elif before is not reason:
        return before if before in _FOUND else reason
    found = reason
    if before is None and packet.dport < reason.walks and _stands_beside(ports, port):
        found = WALK
    elif reason.opens and known.opens_all:
        found = OPENS_ALL
    elif host != packet.destination and reason.sweeps and known.tries_few:
        found = SWEEP
        known.swept += 1
    if found is WALK or found is SWEEP:
        known.strays -= 1
        known.aimed += 1
    if found is not before:
        _remember(known, port, packet.destination, found)
    return found


def _stands_beside(ports: Container[int], port: int) -> bool:
    """Whether two others are beside a port."""
    if port - 1 in ports:
        return port - 2 in ports or port + 1 in ports
    return port + 1 in ports and port + 2 in ports


def _remember(known: _Source, port: int, host: bytes, reason: Kind) -> None:
    if len(known.ports) >= MAX_PORTS and port not in known.ports:
        del known.ports[next(iter(known.ports))]
    known.ports[port] = (host, reason)
