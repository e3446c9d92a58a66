# SPDX-License-Identifier: GPL-2.0-or-later
"""Stories of made-up scanners that know the rules: each hides behind what honest hosts send.

They vary what costs them nothing: hop counts, source ports, the order and choice of ports, what
comes between.  ``[pflog]`` must ban each of them within ``WITHIN`` targets, or docs/jails.md
names it with what it costs (``PRICED``).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Callable

from .frames import ACK, LINUX, NMAP, SYN, SYSTEMS, WINDOWS, System, ip, tcp, udp
from .scans import TCP_SERVICES, UDP_SERVICES
from .scene import TCP, UDP, Scene, Source

__all__ = ["PRICED", "STORIES", "WITHIN"]

WITHIN = 60
"""Targets within which an evader is banned."""

PRICED = "evader, priced"
"""Banned as well, but at a price: after more targets, see docs/jails.md."""

NOT_FOUND = "evader, documented as not found"

RESERVED, UNLISTED = range(1, 1024), range(1024, 65536)
NETWORK = 150
"""Hosts that are swept; they are in one network with the others."""


def _scanner(
    scene: Scene, what: str, system: System = LINUX, kind: str = "evader", four: bool = False
) -> Source:
    source = scene.add(kind, what, system, not four and scene.random.random() < 0.3)
    source.pause(1)
    return source


def _ports(scene: Scene, ports: Sequence[int], count: int = 150) -> list[int]:
    return scene.random.sample(ports, min(count, len(ports)))


def few_hops_to_go(scene: Scene) -> None:
    """connect(), SYN and UDP scans whose packets look as a traceroute's."""
    rnd = scene.random
    hops: dict[str, Callable[[int], int]] = {
        "1": lambda _: 1,
        "1 to 30": lambda _: rnd.randrange(1, 31),
        "1 to 4": lambda _: rnd.randrange(1, 5),
        "1 to 30, turning": lambda number: 1 + number % 30,
        "30 to 1": lambda number: max(1, 30 - number // 4),
        "1 to 30, counting up": lambda number: min(30, 1 + number // 4),
    }
    for name, ttl in hops.items():
        for system in (LINUX, NMAP):
            for ports in (RESERVED, UNLISTED, TCP_SERVICES, range(1, 151)):
                what = f"{system.name} SYN to ports {ports[0]}-{ports[-1]}, {name} hops to go"
                in_order = len(ports) == 150
                imitated = in_order and "counting up" in name
                source = _scanner(scene, what, system, NOT_FOUND if imitated else "evader")
                for number, port in enumerate(ports if in_order else _ports(scene, ports)):
                    source.ttl = ttl(number)
                    source.syn(port)
                    source.pause(0.05)
        source = _scanner(scene, f"UDP to services, {name} hops to go")
        for number, port in enumerate(_ports(scene, RESERVED)):
            source.ttl = ttl(number)
            source.udp(source.own_port(), port, 0)
            source.pause(0.05)
        for port in (22, 8728, 62078):
            source = _scanner(scene, f"sweep of {port}, {name} hops to go")
            for host in range(NETWORK):
                source.ttl = ttl(host)
                source.syn(port, host)
                source.pause(0.05)


def equal_ports(scene: Scene) -> None:
    """UDP from the port of the same number, to many ports and to many hosts."""
    for ports in (RESERVED, UDP_SERVICES, range(20000, 20900)):
        source = _scanner(scene, f"UDP from equal ports {ports[0]}-{ports[-1]}")
        for port in _ports(scene, ports):
            source.udp(port, port, 0)
            source.pause(0.05)
    for port in (123, 161, 500, 1900, 20000):
        source = _scanner(scene, f"UDP sweep of {port} from {port}")
        for host in range(NETWORK):
            source.udp(port, port, 300, host)
            source.pause(0.05)


def as_rpc(scene: Scene) -> None:
    """UDP from NFS's port and the port mapper's to the ports of RPC clients, and to others."""
    for sport, ports in itertools.product((111, 2049), (range(512, 1024), RESERVED)):
        source = _scanner(scene, f"UDP from {sport} to {ports[0]}-{ports[-1]}")
        for port in _ports(scene, ports):
            source.udp(sport, port, 20)
            source.pause(0.05)


def chaff(scene: Scene) -> None:
    """Services between random other ports."""
    rnd = scene.random
    for strays, sport in itertools.product((2, 10, 14), (0, 53)):
        source = _scanner(scene, f"UDP services behind {strays} strays each", kind=PRICED)
        for port in _ports(scene, UDP_SERVICES, 40):
            for dport in (*rnd.sample(UNLISTED, strays), port):
                source.udp(sport or source.own_port(), dport, 8)
                source.pause(0.02)
    for strays in (1, 10):
        source = _scanner(scene, f"connect() to services behind {strays} UDP strays each",
                          kind=PRICED)  # fmt: skip
        for port in _ports(scene, TCP_SERVICES, 60):
            for dport in rnd.sample(UNLISTED, strays):
                source.udp(40000, dport, 8)
            source.syn(port)
            source.pause(0.02)


def scattered(scene: Scene) -> None:
    """connect() to ports on no list, one here and one there, and UDP below 10000."""
    rnd = scene.random
    for system in SYSTEMS:
        for what, ports in {
            "every 16th port": UNLISTED[::16],
            "every 16th port, down": UNLISTED[::-16],
            "any ports": rnd.sample(UNLISTED, 200),
            "ports from 20000 up": rnd.sample(range(20000, 65536), 200),
            "ports 1024-9999": rnd.sample(range(1024, 10000), 200),
        }.items():
            source = _scanner(scene, f"{system.name} connect() to {what}", system)
            for port in ports[:200]:
                source.syn(port, tries=(1, 3))
                source.pause(0.1)
    source = _scanner(scene, "connect() from port 20 to any ports", kind=PRICED)
    for port in rnd.sample(UNLISTED, 200):
        source.syn(port, sport=20)
        source.pause(0.1)
    for sport in (0, 53, 40000):
        for ports in (rnd.sample(range(1024, 10000), 200), range(1024, 10000, 16)):
            in_order = isinstance(ports, range)
            what = f"UDP from {sport or 'any'}: {'every 16th' if in_order else 'any'} of 1024-9999"
            source = _scanner(scene, what, kind=PRICED if in_order else "evader")
            for port in ports[:400]:
                source.udp(sport or source.own_port(), port, 0)
                source.pause(0.1)

    for begin, sport in itertools.product((2048, 7000), (0, 53)):
        what = f"UDP from {sport or 'any'}: {begin}-{begin + 999} in any order"
        source = _scanner(scene, what, kind=PRICED)
        for port in _ports(scene, range(begin, begin + 1000), 500):
            source.udp(sport or source.own_port(), port, 0)
            source.pause(0.1)


def sweeps_behind_strays(scene: Scene) -> None:
    """Sweeps of a port on no list after some strays, or among them."""
    rnd = scene.random
    for protocol, sport in ((TCP, 0), (UDP, 0), (UDP, 53), (UDP, 62078)):
        for strays in (5, 40):
            name = "connect()" if protocol == TCP else f"UDP from {sport or 'any'}"
            what = f"{name}: sweep of 62078 after {strays} strays"
            source = _scanner(scene, what, kind=PRICED if strays > 5 else "evader")
            for port in rnd.sample(range(20000, 60000), strays):
                _probe(source, protocol, sport, port, 0)
            for host in range(NETWORK):
                _probe(source, protocol, sport, 62078, host)
    source = _scanner(scene, "UDP sweep of 62078 from 53 and others in turn")
    for host in range(NETWORK):
        _probe(source, UDP, (53, 40000)[host % 2], 62078, host)


def _probe(source: Source, protocol: int, sport: int, port: int, host: int) -> None:
    if protocol == TCP:
        source.syn(port, host, sport)
    else:
        source.udp(sport or source.own_port(), port, 8, host)
    source.pause(0.05)


def sweeps_of_several_ports(scene: Scene) -> None:
    """Sweeps of some ports on no list, and of hosts in several networks."""
    source = _scanner(scene, "UDP sweep of 5 unknown ports")
    for host in range(NETWORK):
        for port in (20001, 30002, 40003, 50004, 60005):
            _probe(source, UDP, 0, port, host)
    source = _scanner(
        scene, "connect() to unknown ports of hosts in 20 networks", kind=PRICED, four=True
    )
    for number, port in enumerate(_ports(scene, UNLISTED, 600)):
        target = f"10.{number % 20}.0.2"
        source.send(TCP, tcp(source.own_port(), port, SYN, LINUX.syn), target=target)
        source.pause(0.05)


def last_address(scene: Scene) -> None:
    """UDP services of a host whose address ends with 255."""
    source = _scanner(scene, "UDP services of 10.99.0.255", four=True)
    for port in _ports(scene, RESERVED):
        source.send(UDP, udp(40000, port, 8), target="10.99.0.255")
        source.pause(0.05)


def tiny_fragments(scene: Scene) -> None:
    """Fragments of 8 bytes to ports on no list: the first one has no flags."""
    source = _scanner(scene, "SYN in fragments of 8 bytes, any ports", NMAP, four=True)
    for port in _ports(scene, UNLISTED):
        segment = tcp(40000, port, 2)
        for offset, more in ((0, 0x20), (1, 0x20), (2, 0)):
            packet = bytearray(
                ip(source.address, source.host(0), TCP, segment[offset * 8 :][:8], 50)
            )
            packet[6:8] = bytes((more, offset))
            source.raw(bytes(packet))
        source.pause(0.05)


def everything(scene: Scene) -> None:
    """Each probe by another way, in turn."""
    rnd = scene.random
    for _ in range(3):
        source = _scanner(scene, "each probe by another way", WINDOWS)
        own = source.ttl
        unlisted = iter(rnd.sample(UNLISTED, 400))
        services = iter(rnd.sample(range(512, 1024), 400))
        for number in range(300):
            source.ttl = 1 if number % 5 == 0 else own
            way = rnd.randrange(4)
            if way == 0:
                source.syn(next(unlisted))
            elif way == 1:
                source.udp(2049, next(services), 8)
            elif way == 2:
                port = next(services)
                source.udp(port, port, 8)
            else:
                source.ttl = rnd.randrange(1, 31)
                source.syn(next(services))
            source.pause(0.05)


def windows_of_ports(scene: Scene) -> None:
    """ACK probes (`nmap -sW`) of ports in a row, which are on no list."""
    for begin in (2600, 8000, 9300):
        source = scene.add("evader of ACK type", f"nmap -sW {begin}-{begin + 100}", NMAP)
        for port in _ports(scene, range(begin, begin + 101)):
            source.send(TCP, tcp(40000, port, ACK, b"", 0, 1024))
            source.pause(0.05)


STORIES = (
    few_hops_to_go, equal_ports, as_rpc, chaff, scattered, sweeps_behind_strays, last_address,
    sweeps_of_several_ports, tiny_fragments, everything, windows_of_ports,
)  # fmt: skip
