# SPDX-License-Identifier: GPL-2.0-or-later
"""What a source does as a whole, where one packet alone does not tell.

Late answers come to ports that lie spread over the whole range that a system picks its
own ports from; which of them are known services is chance.  A scan aims, or walks.  So:

* A stray packet counts when it *walks*, its port standing beside two others that the
  source tried, or *sweeps*, its port having been tried on another host.
* What is aimed at a known service, and may be a late packet, counts until the source's
  strays outnumber all that is aimed, walks or sweeps by ``MOST_STRAYS`` to one: answers
  that are spread over the range hit a known service once in some fifty times.
* What has hardly a hop to go is a *traceroute*, which tries a few ports (``MOST_PROBES``)
  with each TTL.  A scan with a small TTL keeps it.

Only sources with strays are remembered, for ``HORIZON`` seconds.  All times are the
packets' own.
"""

from __future__ import annotations

from .packet import Packet
from .scan import CHANCE, NEAR_END, SWEEP, TRACEROUTE, WALK, Rank, Reason
from .twoqueues import TwoQueues

__all__ = ["Conduct"]

HORIZON = 3600.0
"""Seconds that a source's strays are remembered after the last of them.  Longer, and the late
answers of a busy server would come to lie side by side."""

MOST_STRAYS = 8
"""Strays for each packet that is aimed.  Of the ports in nmap's longest lists one in six is
reserved or known, of all ports one in fifty-five."""

MOST_PROBES = 16
"""Ports that a traceroute tries with one TTL: three as a rule, ten by -q, sixteen by Atlas."""

MAX_SOURCES = 8_192
"""Of those seen once and those seen more often, each: 20 MB when all of them scan."""

MAX_PORTS = 512
"""Ports remembered of a source; the one tried first is forgotten."""


class _Source:
    """A source with strays.

    ports: protocol and port -> (the last host, the reason that was found).
    aimed, strays: how many different ports were.  last: seconds since the epoch.
    near: different ports tried with hardly a hop to go; ttls: and with which TTLs.
    """

    __slots__ = ("aimed", "last", "near", "ports", "strays", "ttls")

    def __init__(self, last: float) -> None:
        self.ports: dict[int, tuple[bytes, Reason]] = {}
        self.aimed = self.near = self.strays = 0
        self.ttls: set[int] = set()
        self.last = last


class Conduct:
    """Judges the packets whose reason ``asks`` for it; one per jail."""

    def __init__(self) -> None:
        self._sources: TwoQueues[_Source, _Source] = TwoQueues(
            MAX_SOURCES, MAX_SOURCES, lambda source: source
        )

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

    def judge(self, time: float, source: bytes, packet: Packet, reason: Reason) -> Reason:
        """Return the reason, or a better one.

        time: of the packet, seconds since the epoch.  source: whom it counts against.
        reason: from ``scan.reason``.
        """
        known = self._sources.get(source)
        if known is not None and abs(time - known.last) > HORIZON:
            self._sources.discard(source)
            known = None
        if known is None:
            if not reason.stray and reason is not NEAR_END:
                return reason
            known = _Source(time)
            self._sources.add(source, known)
        known.last = max(time, known.last)
        port = packet.protocol << 16 | packet.dport
        found = self._stray(known, port, packet, reason) if reason.stray else reason
        if not reason.stray and port not in known.ports:
            known.aimed += 1
            _remember(known, port, packet.destination, reason)
            known.near += reason is NEAR_END
        if reason is NEAR_END:
            known.ttls.add(packet.ttl)
            if known.near <= MOST_PROBES * len(known.ttls):
                return TRACEROUTE
        if known.strays > MOST_STRAYS * known.aimed and found.rank == Rank.NORMAL:
            return reason if reason.stray else CHANCE
        return found

    @staticmethod
    def _stray(known: _Source, port: int, packet: Packet, reason: Reason) -> Reason:
        ports = known.ports
        before = ports.get(port)
        if before is None:
            found = reason
            if packet.dport < reason.walks and (
                (port - 1 in ports and (port - 2 in ports or port + 1 in ports))
                or (port + 1 in ports and port + 2 in ports)
            ):
                found = WALK
                known.aimed += 1
            else:
                known.strays += 1
            _remember(known, port, packet.destination, found)
            return found
        host, found = before
        if host != packet.destination and found is reason and reason.sweeps:
            known.strays -= 1
            known.aimed += 1
            ports[port] = (packet.destination, SWEEP)
            return SWEEP
        return found


def _remember(known: _Source, port: int, host: bytes, reason: Reason) -> None:
    if len(known.ports) >= MAX_PORTS:
        del known.ports[next(iter(known.ports))]
    known.ports[port] = (host, reason)
