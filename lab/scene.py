# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up sources: what each sends, where to, and when.

All asks HOSTS hosts behind one firewall, or one of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .frames import ACK, FREEBSD, LINUX, OPENBSD, SYN, WINDOWS, System, ip, tcp, udp
from .labels import Dropped, Label

__all__ = ["EPHEMERAL", "ESP", "GRE", "HOSTS", "ICMP", "ICMP6", "KINDS", "NOT_FOUND", "SCTP", "TCP",
           "UDP", "Scene", "Source", "to"]  # fmt: skip

NOT_FOUND = "sweep of ACK type, documented as not found"

KINDS = {
    NOT_FOUND: "looks like late packets of a client of many hosts",
    "bystander": "must not be banned",
    "traceroute": "must not be banned",
    "backscatter": "must not be banned: somebody forged this firewall's addresses",
    "debatable": "may be banned, by pflog-strict from 5 targets on: nothing tells it from a scan",
    "scanner": "must be found, many ports",
    "sweep": "must be found, many hosts",
    "scanner of ACK type": "must be found in aggressive",
    "sweep of ACK type": "must be found in aggressive",
    "evader": "must be found within evaders.WITHIN targets",
    "evader, priced": "must be found",
    "evader, documented as not found": "imitates what is honest, see docs/jails.md",
    "evader of ACK type": "must be found in aggressive",
}

BEGIN = 1_790_000_000.0
HOSTS = 30
ICMP, TCP, UDP, GRE, ESP, ICMP6, SCTP = 1, 6, 17, 47, 50, 58, 132

EPHEMERAL = {
    "OpenBSD's ports": OPENBSD.ports,
    "FreeBSD's ports": FREEBSD.ports,
    "Linux's ports": LINUX.ports,
    "Windows' ports": WINDOWS.ports,
}
"""Which ports a system picks for its own connections."""


def to(hosts: int) -> str:
    """Tell to how many hosts, where there are several."""
    return f" to {hosts} hosts" if hosts > 1 else ""


class Source:
    """One address that sends to the hosts.

    clock: seconds since the epoch of its next packet.
    """

    def __init__(self, dropped: list[Dropped], rnd: random.Random, address: str, system: System):
        self._dropped = dropped
        self.random = rnd
        self.address = address
        self.six = ":" in address
        self.system = system
        self.ttl = system.ttl - rnd.randrange(5, 18)
        self.clock = BEGIN + rnd.uniform(0, 30)

    def host(self, number: int) -> str:
        """Return the address of a host, 0 to HOSTS - 1."""
        return f"fd99::{number + 2:x}" if self.six else f"10.99.0.{number + 2}"

    def pause(self, mean: float) -> None:
        """Let time go by."""
        self.clock += self.random.uniform(0.5, 1.5) * mean

    def send(
        self,
        protocol: int,
        payload: bytes,
        host: int = 0,
        ttl: int = 0,
        target: str = "",
        inbound: bool = True,
    ) -> None:
        """Send a packet now, to a host or to another target."""
        packet = ip(self.address, target or self.host(host), protocol, payload, ttl or self.ttl)
        self._dropped.append(Dropped(self.clock, inbound, packet))

    def raw(self, packet: bytes) -> None:
        """Send a packet as it is."""
        self._dropped.append(Dropped(self.clock, True, packet))

    def asked(self, packet: bytes) -> None:
        """Let a host ask this source, in a packet that the firewall passes and logs."""
        self._dropped.append(Dropped(self.clock, False, packet, passed=True))

    def own_port(self) -> int:
        """Return a port that this source's system picks for a connection."""
        return self.random.choice(self.system.ports)

    def udp(self, sport: int, dport: int, data: int, host: int = 0) -> None:
        """Send a datagram of this much data."""
        self.send(UDP, udp(sport, dport, data), host)

    def syn(self, dport: int, host: int = 0, sport: int = 0, tries: Sequence[float] = ()) -> None:
        """Ask for a connection; tries: seconds after which it asks again, without waiting."""
        system = self.system
        segment = tcp(sport or self.own_port(), dport, SYN, system.syn, 0, system.window)
        begin = self.clock
        for after in (0.0, *tries):
            self.clock = begin + after
            self.send(TCP, segment, host)
        self.clock = begin

    def late(self, flags: int, dport: int, sport: int, host: int = 0, data: int = 0) -> None:
        """Send a segment of a connection that was open."""
        self.send(TCP, tcp(sport, dport, flags | ACK, self.system.late, data), host)

    def echo(self, host: int = 0, ttl: int = 0) -> None:
        """Send an echo request."""
        payload = (b"\x80" if self.six else b"\x08") + bytes(19)
        self.send(ICMP6 if self.six else ICMP, payload, host, ttl)


class Scene:
    """All sources of a capture, drawn from a seed; dropped and labels are for ``write``."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.dropped: list[Dropped] = []
        self.labels: dict[str, Label] = {}

    def add(
        self, kind: str, what: str, system: System = LINUX, six: bool = False, address: str = ""
    ) -> Source:
        """Make a source, of one of the ``KINDS``."""
        if kind not in KINDS:
            raise ValueError(f"{kind}: no kind")
        number = len(self.labels) + 1
        if not address:
            address = f"2001:db8:{number:x}::1" if six else f"198.18.{number >> 8}.{number & 255}"
        self.labels[address] = Label(kind, f"{what}, IPv6" if six else what)
        return Source(self.dropped, self.random, address, system)
