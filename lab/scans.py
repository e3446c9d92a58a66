# SPDX-License-Identifier: GPL-2.0-or-later
"""Stories of made-up scanners: of ports, of hosts, from ports of all kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .frames import (
    ACK,
    FIN,
    LINUX,
    MASSCAN,
    NMAP,
    PSH,
    RST,
    SYN,
    SYSTEMS,
    URG,
    WINDOWS,
    icmp,
    sctp,
    tcp,
)
from .scene import HOSTS, ICMP, NOT_FOUND, SCTP, TCP, Scene, to

__all__ = ["STORIES"]

TCP_SERVICES = (
    21, 22, 23, 25, 53, 80, 81, 110, 111, 135, 139, 143, 389, 443, 445, 465, 513, 514, 548, 554,
    587, 631, 636, 873, 990, 993, 995, 1025, 1080, 1433, 1521, 1723, 2049, 2222, 2375, 3000, 3128,
    3306, 3389, 5000, 5060, 5432, 5555, 5900, 5985, 6379, 7001, 8000, 8008, 8080, 8081, 8443, 8888,
    9000, 9090, 9200, 9443, 10000, 11211, 27017,
)  # fmt: skip
UDP_SERVICES = (
    7, 19, 53, 67, 69, 111, 123, 137, 138, 161, 389, 427, 500, 514, 520, 623, 626, 1194, 1434, 1604,
    1645, 1701, 1812, 1900, 2049, 3283, 3478, 3702, 4500, 5060, 5353, 5355, 5683, 10001, 11211,
    17185, 19132, 27015, 30120, 32414,
)  # fmt: skip
HIGH_UDP_SERVICES = (
    1194, 1434, 1604, 1701, 1812, 1900, 2049, 2152, 2302, 3283, 3389, 3478, 3702, 4500, 5004, 5060,
    5061, 5093, 5351, 5353, 5355, 5683, 6881, 7547, 8125, 9200, 9987, 10001, 11211, 17185, 19132,
    20000, 27015, 30120, 30718, 32414, 32771, 37810, 41794, 47808,
)  # fmt: skip
SWEPT_UDP = (53, 123, 137, 161, 389, 500, 1900, 5060, 5353, 5683, 11211, 19132, 27015, 37810, 47808,
             52869)  # fmt: skip
FASHIONABLE = (
    2375, 2376, 2379, 3000, 3001, 3306, 3389, 4200, 4443, 4848, 5000, 5173, 5432, 5601, 5900, 5984,
    5985, 6379, 6443, 7001, 7077, 7474, 8000, 8009, 8080, 8081, 8086, 8088, 8090, 8161, 8180, 8200,
    8443, 8500, 8880, 8888, 8983, 9000, 9001, 9042, 9090, 9091, 9092, 9100, 9200, 9443, 9999, 10000,
    10250, 11211, 15672, 27017, 50070,
)  # fmt: skip
SCTP_PORTS = (*range(7, 60), 2905, 3868, 36412, 38412)

ODD = {
    "FIN": FIN, "NULL": 0, "Xmas": FIN | PSH | URG, "SYN-FIN": SYN | FIN, "PSH": PSH,
}  # fmt: skip
ACK_TYPE = {
    "ACK": ACK, "Maimon": ACK | FIN, "SYN-ACK": SYN | ACK, "SYN-RST": SYN | RST,
    "all flags": SYN | FIN | RST | PSH | ACK | URG,
}  # fmt: skip

OWN, MANY = 0, -1
"""Source ports: one that its system picked, and another one for each probe."""


def _name(sport: int) -> str:
    return {OWN: "one port of its own", MANY: "many ports"}.get(sport, f"port {sport}")


def _some(scene: Scene, ports: Sequence[int], count: int) -> list[int]:
    return scene.random.sample(ports, min(count, len(ports)))


def _tcp_choices(scene: Scene) -> Iterator[tuple[str, Sequence[int]]]:
    rnd = scene.random
    walk = rnd.randrange(12000, 30000)
    neighbours = range(walk, walk + 41)
    yield "20 services", _some(scene, TCP_SERVICES, 20)
    yield "60 services", _some(scene, TCP_SERVICES, 60)
    yield "ports 1-100", range(1, 101)
    yield "ports 8000-8040, one after the other", range(8000, 8041)
    yield f"ports {walk}-{walk + 40}, one after the other", neighbours
    yield f"ports {walk}-{walk + 40} in any order", _some(scene, neighbours, 41)
    yield "60 of the ports 1024-10000", _some(scene, range(1024, 10000), 60)
    yield "100 of all ports", _some(scene, range(1, 65536), 100)
    yield _LIKE_CALLS, _some(scene, range(20000, 65536), 60)


_LIKE_CALLS = "60 of the ports 20000-65535"
"""What active FTP asks for as well; a connect() scan of these, or any that was cut, is the same."""


def syn_scans(scene: Scene) -> None:
    """Half-open and connect() scans, of known services, of any ports, of neighbours."""
    for system in (NMAP, MASSCAN, *SYSTEMS):
        how = "SYN" if system in (NMAP, MASSCAN) else "connect()"
        for six in (False, True):
            for what, ports in _tcp_choices(scene):
                same = what == _LIKE_CALLS and (six or how == "connect()")
                kind = "debatable" if same else "scanner"
                source = scene.add(kind, f"{system.name} {how} scan: {what}", system, six)
                one = source.own_port() if system is NMAP else 0
                for port in ports:
                    source.syn(port, 0, one, () if system is MASSCAN else (1,))
                    source.pause(scene.random.choice((0.01, 0.2)))


def syn_scans_from_services(scene: Scene) -> None:
    """Scans that hope to be let through as a service's answers; and short ones."""
    for sport in (20, 53, 80, 88, 443, 67, 5060, 25565):
        for ports in (TCP_SERVICES, range(8000, 8060)):
            what = f"SYN scan from port {sport}: ports {ports[0]}-{ports[-1]}"
            source = scene.add("scanner", what, NMAP, scene.random.random() < 0.3)
            for port in _some(scene, ports, 40):
                source.syn(port, 0, sport)
                source.pause(0.1)
    for count in (15, 16, 18):
        source = scene.add("scanner", f"SYN scan of {count} services", NMAP)
        for port in _some(scene, TCP_SERVICES, count):
            source.syn(port)
            source.pause(2)


def odd_scans(scene: Scene) -> None:
    """FIN, NULL, Xmas, ACK types."""
    for six in (False, True):
        for kind, scans in (("scanner", ODD), ("scanner of ACK type", ACK_TYPE)):
            for name, flags in scans.items():
                for ports in (TCP_SERVICES, range(1, 101)):
                    what = f"{name} scan: ports {ports[0]}-{ports[-1]}"
                    source = scene.add(kind, what, NMAP, six)
                    sport = source.own_port()
                    for port in _some(scene, ports, 50):
                        for _ in range(2):
                            source.send(TCP, tcp(sport, port, flags, b"", 0, 1024))
                            source.pause(0.1)


def other_protocols(scene: Scene) -> None:
    """SCTP, and scans of IP protocols."""
    for six in (False, True):
        for chunk, name, kind in (
            (1, "SCTP INIT", "scanner"),
            (10, "SCTP COOKIE ECHO", "scanner of ACK type"),
        ):
            source = scene.add(kind, f"{name} scan", NMAP, six)
            for port in _some(scene, SCTP_PORTS, 40):
                source.send(SCTP, sctp(source.own_port(), port, chunk))
                source.pause(0.1)
        source = scene.add("scanner of ACK type", "IP protocol scan", NMAP, six)
        headers = {0, 43, 44, 50, 51, 60}  # IPv6 extension headers must be whole
        for protocol in _some(scene, [n for n in range(256) if n not in headers], 150):
            source.send(protocol, b"")
            source.pause(0.1)


def udp_scans(scene: Scene) -> None:
    """Scans of services, from ports of all kinds."""
    rnd = scene.random
    for sport in (OWN, MANY, 53, 80, 123, 161, 443, 500, 4500, 5060):
        for known, what in (
            (UDP_SERVICES, "services"),
            (HIGH_UDP_SERVICES, "services above 1024"),
        ):
            for count in (16, 30, 40):
                words = f"UDP scan from {_name(sport)}: {count} {what}"
                source = scene.add("scanner", words, rnd.choice((NMAP, LINUX)), rnd.random() < 0.25)
                one, times = source.own_port() if sport == OWN else sport, rnd.choice((1, 2))
                for port in _some(scene, known, count):
                    for _ in range(times):
                        own = source.own_port() if sport == MANY else one
                        source.udp(own, port, rnd.choice((0, 0, 20, 40)))
                        source.pause(0.2)


def udp_walks(scene: Scene) -> None:
    """Scans of neighbouring ports, in order and not; SIP's among them."""
    rnd = scene.random
    for begin in (1, 1000, 1024, 5060, 8000, 20000, 49152):
        for sport in (OWN, MANY, 53):
            # Windows picks ports in turn, and a resolver's late answers go there.
            kind = "debatable" if sport == 53 and begin >= 20000 else "scanner"
            order = rnd.choice(("one after the other", "in any order"))
            what = f"UDP scan from {_name(sport)}: ports {begin}-{begin + 40}, {order}"
            source = scene.add(kind, what, NMAP)
            one = source.own_port() if sport == OWN else sport
            ports = range(begin, begin + 41)
            for port in _some(scene, ports, 41) if order == "in any order" else ports:
                source.udp(source.own_port() if sport == MANY else one, port, 0)
                source.pause(0.2)
    for hosts, ports in ((1, range(5060, 5091)), (HOSTS, range(5060, 5061))):
        kind = "scanner" if hosts == 1 else "sweep"
        source = scene.add(kind, f"svmap: SIP from 5060 to {len(ports)} ports{to(hosts)}")
        for host in range(hosts):
            for port in ports:
                source.udp(5060, port, 400, host)
                source.pause(0.2)


def tcp_sweeps(scene: Scene) -> None:
    """One or two ports of many hosts."""
    for system in (NMAP, MASSCAN, LINUX):
        for ports in ((22,), (23, 2323), (3389,), (445,), (8728,), (5555,), (37777,)):
            six = scene.random.random() < 0.3
            what = f"{system.name} SYN sweep of {', '.join(map(str, ports))}"
            source = scene.add("sweep", what, system, six)
            for host in _some(scene, range(HOSTS), HOSTS):
                for port in ports:
                    source.syn(port, host)
                    source.pause(0.1)
    for port in (22, 80, 3389, 8291):
        source = scene.add(NOT_FOUND, f"ACK sweep of {port}", NMAP)
        for host in range(HOSTS):
            source.send(TCP, tcp(source.own_port(), port, ACK, b"", 0, 1024), host)
            source.pause(0.1)


def udp_sweeps(scene: Scene) -> None:
    """One port of many hosts."""
    for port in SWEPT_UDP:
        for sport in (OWN, MANY):
            what = f"UDP sweep of {port} from {_name(sport)}"
            source = scene.add("sweep", what, NMAP, scene.random.random() < 0.2)
            one = source.own_port()
            for host in _some(scene, range(HOSTS), HOSTS):
                source.udp(one if sport == OWN else source.own_port(), port, 30, host)
                source.pause(0.1)


def icmp_sweeps(scene: Scene) -> None:
    """Echo, time stamp, information and mask requests to many hosts."""
    for kind, name in ((8, "echo"), (13, "time stamp"), (15, "information"), (17, "mask")):
        for times in (1, 2):
            what = f"ICMP {name} request sweep, {times} each"
            source = scene.add("sweep of ACK type", what, NMAP)
            for host in range(HOSTS):
                for _ in range(times):
                    source.send(ICMP, icmp(kind), host)
                    source.pause(0.1)
    source = scene.add("sweep of ACK type", "echo request sweep", NMAP, six=True)
    for host in range(HOSTS):
        source.echo(host)
        source.pause(0.1)


def ports_of_fashion(scene: Scene) -> None:
    """connect() to web, data base and console ports, some of which are on no list; and to all."""
    for system in SYSTEMS:
        for count in (20, 40):
            what = f"{system.name} connect() to {count} web and data base ports"
            source = scene.add("scanner", what, system)
            for port in _some(scene, FASHIONABLE, count):
                source.syn(port, tries=(1, 3, 7))
                source.pause(0.4)
        source = scene.add("scanner", f"{system.name} connect() to 1000 of all ports", system)
        for port in _some(scene, range(1, 65536), 1000):
            source.syn(port)
            source.pause(0.05)


def from_far_away(scene: Scene) -> None:
    """Nmap's TTLs, 37 to 59, after many hops; scans with a small TTL; one after a traceroute."""
    rnd = scene.random
    for hops in (20, 30):
        for six in (False, True):
            source = scene.add("scanner", f"SYN scan from {hops} hops away", NMAP, six)
            sport = source.own_port()
            for port in _some(scene, TCP_SERVICES, 40):
                probe = tcp(sport, port, SYN, NMAP.syn)
                source.send(TCP, probe, ttl=rnd.randrange(37, 60) - hops)
                source.pause(0.1)
            source = scene.add("scanner", f"UDP scan from {hops} hops away", NMAP, six)
            for port in _some(scene, UDP_SERVICES, 40):
                source.ttl = rnd.randrange(37, 60) - hops
                source.udp(sport, port, 20)
                source.pause(0.1)
            source = scene.add("sweep", f"SYN sweep of 445 from {hops} hops away", NMAP, six)
            for host in range(HOSTS):
                source.ttl = rnd.randrange(37, 60) - hops
                source.syn(445, host)
                source.pause(0.1)


def with_small_ttls(scene: Scene) -> None:
    """Scans with a small TTL, and one after a traceroute."""
    for ttl in (2, 6, 12, 25):
        source = scene.add("scanner", f"SYN scan that arrives with a TTL of {ttl}", NMAP)
        source.ttl = ttl
        for port in _some(scene, TCP_SERVICES, 40):
            source.syn(port)
            source.pause(0.1)
    for six in (False, True):
        source = scene.add("scanner", "traceroute, then a SYN scan", NMAP, six)
        for ttl in range(1, 15):
            source.send(TCP, tcp(source.own_port(), 80, SYN, NMAP.syn), ttl=ttl)
        for port in _some(scene, TCP_SERVICES, 40):
            source.syn(port)
            source.pause(0.1)


def to_the_same_port(scene: Scene) -> None:
    """From each port to the port of its own number: hping3 -2 -s 1000 -p ++1000."""
    for first in (1, 100, 1000, 5000):
        source = scene.add("scanner", f"UDP from equal ports, {first} and up", NMAP)
        for port in range(first, first + 60):
            source.udp(port, port, 0)
            source.pause(0.1)


def few_ports_of_few_hosts(scene: Scene) -> None:
    """Services of some hosts, of each host another one, and SIP's ports of three."""
    for system in (NMAP, MASSCAN, LINUX, WINDOWS):
        for hosts, count in ((2, 10), (5, 4), (10, 2), (25, 2)):
            source = scene.add("sweep", f"{system.name}: {count} services{to(hosts)}", system)
            ports = _some(scene, TCP_SERVICES, count)
            for host in range(hosts):
                for port in ports:
                    source.syn(port, host)
                    source.pause(0.1)
        source = scene.add("sweep", f"{system.name}: of each host another service", system)
        for host, port in enumerate(_some(scene, TCP_SERVICES, HOSTS)):
            source.syn(port, host)
            source.pause(0.1)
    for sport in (5060, 5061, 45000):
        source = scene.add("sweep", f"SIP from port {sport} to 10 ports of 3 hosts", LINUX)
        for host in range(3):
            for port in range(5060, 5070):
                source.udp(sport, port, 420, host)
                source.pause(0.1)


STORIES = (
    syn_scans, syn_scans_from_services, odd_scans, other_protocols, udp_scans, udp_walks,
    tcp_sweeps, udp_sweeps, icmp_sweeps, ports_of_fashion, from_far_away, with_small_ttls,
    to_the_same_port, few_ports_of_few_hosts,
)  # fmt: skip
