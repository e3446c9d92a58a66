# SPDX-License-Identifier: GPL-2.0-or-later
"""Stories of made-up honest hosts: late answers, late packets, tunnels, traceroutes, victims.

Each function is one story: it adds the sources of one behaviour to a scene, with ports,
counts and systems turned through.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .frames import (
    ACK,
    FIN,
    FREEBSD,
    LINUX,
    MACOS,
    OPENBSD,
    PSH,
    RST,
    SYN,
    SYSTEMS,
    WINDOWS,
    icmp,
    ip,
    tcp,
    udp,
)
from .scene import EPHEMERAL, ESP, GRE, HOSTS, ICMP, ICMP6, TCP, UDP, Scene, Source, to

__all__ = ["STORIES"]

COUNTS = (15, 25, 40, 70, 150)
OPEN = "OpenBSD's ports"

ANSWERING = {
    53: "resolver", 853: "resolver (DNS over QUIC)", 5353: "resolver", 5335: "resolver (unbound)",
    1053: "resolver", 8053: "resolver", 443: "DNSCrypt, QUIC", 5443: "DNSCrypt", 8443: "DNSCrypt",
    784: "DNS over QUIC", 123: "time server", 161: "SNMP agent", 1812: "RADIUS server",
    514: "log server", 3478: "STUN server", 5349: "TURN server", 19302: "STUN server",
    27015: "game server", 2302: "game server", 7777: "game server", 19132: "game server",
    30120: "game server", 9987: "TeamSpeak", 64738: "Mumble", 1194: "OpenVPN server",
    51820: "WireGuard server", 41641: "Tailscale", 9993: "ZeroTier", 4500: "IPsec gateway",
    6881: "BitTorrent peer", 51413: "BitTorrent peer", 5683: "CoAP server", 11211: "memcached",
    5060: "SIP registrar", 1234: "own service", 5000: "own service", 7000: "own service",
    8125: "own service", 3000: "own service", 40123: "own service", 60001: "mosh server",
    2049: "NFS server", 111: "port mapper", 88: "KDC", 389: "LDAP server", 4789: "own service",
}  # fmt: skip
RESOLVERS = (53, 853, 5353, 5335)

MEDIA = (range(10000, 20000), range(16384, 32768), range(6000, 9000), range(2326, 2486))

PORT_TO_PORT = {
    "IKE": 500, "IPsec NAT-T": 4500, "WireGuard": 51820, "time server, symmetric": 123,
    "OpenVPN": 1194, "VXLAN": 4789, "L2TP": 1701, "tinc": 655, "RIP": 520, "BFD": 3784,
}  # fmt: skip
HUBS = {"WireGuard": 51820, "OpenVPN": 1194, "IPsec NAT-T": 4500, "Tailscale": 41641}
PROTOCOLS = {"GRE": GRE, "ESP": ESP, "IP in IP": 4, "6in4": 41, "OSPF": 89, "VRRP": 112,
             "AH": 51, "PIM": 103}  # fmt: skip

GROUPS = {
    "10.99.0.255": (137, 138, 1900, 3702, 5678, 8612, 17500, 27036, 32412, 57621),
    "255.255.255.255": (67, 68, 1900, 10001, 17500, 9999, 5246, 2190),
    "224.0.0.251": (5353,), "224.0.0.252": (5355,), "239.255.255.250": (1900, 3702),
}  # fmt: skip
GROUPS_6 = {"ff02::fb": 5353, "ff02::1:3": 5355, "ff02::c": 1900, "ff02::1:2": 547}

SERVED = (22, 25, 80, 443)
SERVED_TOO = (53, 110, 143, 445, 465, 587, 853, 993, 995, 1433, 3306, 3389, 5222, 5432, 5900, 6379,
              6667, 8080, 8443, 9090, 9443, 25565, 40123)  # fmt: skip
MAIL = (25, 110, 143, 465, 587, 993, 995, 2525, 4190)

ASKED_BY_ANYONE = 4
"""Closed targets that an honest host may ask for before it looks like a scan to somebody."""

EVERYWHERE, UNRESERVED = range(1, 65536), range(1024, 65536)


def asks(targets: int) -> str:
    """Return the kind of an honest host that asks for closed targets: no flag tells it."""
    return "bystander" if targets <= ASKED_BY_ANYONE else "debatable"


# -- UDP ------------------------------------------------------------------------------------


def late_answers(scene: Scene) -> None:
    """Servers whose answers come when the state is gone; some come twice."""
    rnd = scene.random
    for port, who in ANSWERING.items():
        for count in COUNTS:
            # The widest range is the hardest: a third of all, and unbound's of resolvers.
            name, ports = (OPEN, EPHEMERAL[OPEN]) if rnd.random() < 0.34 else rnd.choice(
                [*EPHEMERAL.items(), *[("ports from 1024 up", UNRESERVED)] * (port in RESOLVERS)]
            )  # fmt: skip
            hosts, pace = rnd.choice((1, 1, HOSTS)), rnd.choice((0.02, 0.5, 200 / count))
            what = f"{who}: {count} late answers from port {port} to {name}{to(hosts)}"
            source = scene.add("bystander", what, rnd.choice(SYSTEMS), rnd.random() < 0.25)
            for _ in range(count):
                answer = port, rnd.choice(ports), rnd.randrange(12, 512), rnd.randrange(hosts)
                for _ in range(2 if rnd.random() < 0.2 else 1):
                    source.udp(*answer)
                    source.pause(pace)


def bursts_of_answers(scene: Scene) -> None:
    """Many answers within a second."""
    for port in (53, 443, 5443, 27015, 1234):
        for name, ports in EPHEMERAL.items():
            what = f"150 late answers within a second from port {port} to {name}"
            source = scene.add("bystander", what)
            for _ in range(150):
                source.udp(port, scene.random.choice(ports), 90)
                source.pause(0.005)


def ports_in_turn(scene: Scene) -> None:
    """Late packets to ports that their system picked one after the other, as Windows does."""
    rnd = scene.random
    for port in (53, 443, 5443, 27015, 9443):
        for protocol in (UDP, TCP):
            for six in (False, True):
                name = "UDP" if protocol == UDP else "TCP"
                what = f"{name} from port {port}: late packets to 40 Windows ports in turn"
                source = scene.add("bystander", what, rnd.choice((LINUX, WINDOWS)), six)
                dport = rnd.randrange(50000, 60000)
                for _ in range(40):
                    dport += rnd.choice((1, 1, 2, 3, 7))
                    if protocol == UDP:
                        source.udp(port, dport, 200)
                    else:
                        source.late(PSH, dport, port, 0, 300)
                        source.late(FIN, dport, port)
                    source.pause(2)


def ports_picked_for_a_client(scene: Scene) -> None:
    """TFTP: the server answers from a port that it picked for this transfer."""
    for count, six in ((15, False), (40, False), (40, True)):
        what = f"TFTP server: {count} transfers from ports of its own to {OPEN}"
        source = scene.add("bystander", what, LINUX, six)
        for _ in range(count):
            sport, dport = source.own_port(), scene.random.choice(OPENBSD.ports)
            for _ in range(3):
                source.udp(sport, dport, 516)
                source.pause(1)


def media(scene: Scene) -> None:
    """RTP and RTCP of calls whose state is gone: pairs of ports, each many packets."""
    rnd = scene.random
    for ports in MEDIA:
        for calls in (1, 4, 20):
            kind = "bystander" if ports[0] >= 10000 or calls < 5 else "debatable"
            what = f"RTP and RTCP of {calls} calls to ports {ports[0]}-{ports[-1]}"
            source = scene.add(kind, what)
            for _ in range(calls):
                theirs, ours = rnd.randrange(16384, 32768, 2), rnd.choice(ports[::2])
                for index in range(12):
                    source.udp(theirs, ours, 172)
                    source.pause(0.02)
                    if index % 6 == 0:
                        source.udp(theirs + 1, ours + 1, 64)
                source.pause(5)


def peers(scene: Scene) -> None:
    """Hosts that talk from one port to a few: BitTorrent, hole punching."""
    rnd = scene.random
    for _ in range(8):
        port = rnd.choice((6881, 51413, rnd.randrange(10000, 65535)))
        ours = [rnd.choice(UNRESERVED) for _ in range(rnd.choice((1, 3, 5)))]
        source = scene.add("bystander", f"BitTorrent peer to {len(ours)} ports", WINDOWS)
        for _ in range(30):
            source.udp(port, rnd.choice(ours), 100)
            source.pause(4)
    for count in (4, 12, 25, 60):
        source = scene.add(asks(count), f"hole punching: from one port to {count} ports", MACOS)
        sport, begin = source.own_port(), rnd.randrange(30000, 60000)
        for index in range(count):
            source.udp(sport, begin + index, 100)
            source.pause(0.1)


def tunnels(scene: Scene) -> None:
    """Tunnels, routers and time servers, from port to port and without ports."""
    for hosts in (1, HOSTS):
        for who, port in PORT_TO_PORT.items():
            source = scene.add("bystander", f"{who}, {port} to {port}{to(hosts)}", OPENBSD)
            for host in [*range(hosts)] * 4:
                source.udp(port, port, 120, host)
                source.pause(0.2)
        for who, protocol in PROTOCOLS.items():
            source = scene.add("bystander", f"{who}{to(hosts)}", OPENBSD)
            for host in [*range(hosts)] * 3:
                source.send(protocol, bytes(68), host)
                source.pause(0.2)
    for who, port in HUBS.items():
        for name in (OPEN, "Linux's ports"):
            source = scene.add("bystander", f"{who} hub, keepalives to 30 peers on {name}")
            ours = [scene.random.choice(EPHEMERAL[name]) for _ in range(HOSTS)]
            for _ in range(5):
                for host, dport in enumerate(ours):
                    source.udp(port, dport, 32, host)
                source.pause(25)


def neighbours(scene: Scene) -> None:
    """Broadcasts and multicasts, and what this host itself sends."""
    for last in (60, 61, 62):
        source = scene.add("bystander", "neighbour: broadcasts", address=f"10.99.0.{last}")
        for _ in range(3):
            for group, ports in GROUPS.items():
                for port in ports:
                    source.send(UDP, udp(port, port, 80), ttl=1, target=group)
            source.pause(30)
    source = scene.add("bystander", "neighbour: multicasts", address="fd99::60")
    for _ in range(3):
        for group, port in GROUPS_6.items():
            source.send(UDP, udp(port, port, 80), ttl=1, target=group)
        for kind in (133, 134, 135, 136, 143):
            source.send(ICMP6, icmp(kind), ttl=255, target="ff02::1")
        source.pause(30)
    source = scene.add("bystander", "this host's own packets, outbound", address="10.99.0.2")
    for _ in range(120):
        segment = tcp(443, scene.random.choice(UNRESERVED), ACK | FIN)
        target = f"198.51.100.{scene.random.randrange(1, 250)}"
        source.send(TCP, segment, target=target, inbound=False)
        source.pause(1)


def pings(scene: Scene) -> None:
    """Monitors; of 30 hosts they are what a sweep is."""
    for hosts in (1, 4, HOSTS):
        for six in (False, True):
            source = scene.add(asks(hosts), f"monitor that pings{to(hosts)}", LINUX, six)
            for _ in range(20):
                for host in range(hosts):
                    source.echo(host)
                source.pause(10)


# -- TCP ------------------------------------------------------------------------------------


def late_clients(scene: Scene) -> None:
    """Clients whose state is gone: data, FIN, keepalives, RST."""
    rnd = scene.random
    for system in SYSTEMS:
        for port in (*SERVED, *rnd.sample(SERVED_TOO, 8)):
            for hosts, six in ((1, False), (HOSTS, False), (HOSTS, True)):
                what = f"{system.name} client of port {port}{to(hosts)}: late data, FIN, keepalives"
                source = scene.add("bystander", what, system, six)
                for host in range(hosts) if hosts > 1 else [0] * 5:
                    sport = source.own_port()
                    source.late(PSH, port, sport, host, rnd.randrange(1, 200))
                    source.pause(0.3)
                    source.late(FIN, port, sport, host)
                    source.pause(0.6)
                    source.late(FIN, port, sport, host)
                    source.pause(1)
                    source.late(0, port, sport, host, rnd.choice((0, 1)))  # a keepalive
                    if rnd.random() < 0.5:
                        source.send(TCP, tcp(sport, port, RST | ACK, b"", 0, 0), host)


def late_clients_behind_nat(scene: Scene) -> None:
    """Many clients of few services behind one address."""
    rnd = scene.random
    for ports in ((80, 443), SERVED, (25, 110, 143, 465, 587, 993, 995)):
        for six in (False, True):
            what = f"NAT: 30 clients, late packets to {len(ports)} ports of 3 hosts"
            source = scene.add("bystander", what, rnd.choice(SYSTEMS), six)
            for _ in range(30):
                sport, port, host = source.own_port(), rnd.choice(ports), rnd.randrange(3)
                source.late(PSH, port, sport, host, 100)
                source.late(FIN, port, sport, host)
                source.pause(4)


def late_servers(scene: Scene) -> None:
    """Servers that this network's hosts are clients of: late data and FIN to their own ports."""
    rnd = scene.random
    for port in (22, 25, 80, 443, 993, 3306, 5222, 6667, 8080, 8443, 9443, 21000, 40123):
        for system in (LINUX, WINDOWS):
            for name in (OPEN, *rnd.sample(list(EPHEMERAL), 2)):
                hosts, count = rnd.choice((1, HOSTS)), rnd.choice((20, 40, 100))
                what = (f"{system.name} server, port {port}: {count} connections, late data and FIN"
                        f" to {name}{to(hosts)}")  # fmt: skip
                source = scene.add("bystander", what, system, rnd.random() < 0.5)
                for _ in range(count):
                    dport, host = rnd.choice(EPHEMERAL[name]), rnd.randrange(hosts)
                    source.late(PSH, dport, port, host, 500)
                    source.pause(0.4)
                    source.late(FIN, dport, port, host)
                    source.pause(60 / count)
                    if rnd.random() < 0.3:
                        source.late(0, dport, port, host)


def data_without_options(scene: Scene) -> None:
    """Late data between high ports, without time stamps: passive FTP, peers."""
    rnd = scene.random
    for six in (False, True):
        for count in (15, 40):
            for who, ports in (("peer", FREEBSD.ports), ("passive FTP", OPENBSD.ports)):
                what = f"Windows {who}: late data and FIN to {count} ports from {ports[0]} up"
                source = scene.add("bystander", what, WINDOWS, six)
                for _ in range(count):
                    sport, dport = source.own_port(), rnd.choice(ports)
                    source.late(PSH, dport, sport, 0, 1400)
                    source.pause(0.5)
                    source.late(FIN, dport, sport)


def ftp(scene: Scene) -> None:
    """Active FTP: a server's SYN to ports that a client named; and the passive kind."""
    rnd = scene.random
    for system in SYSTEMS:
        for sport in (20, 0):
            for name in (OPEN, "FreeBSD's ports", "Windows' ports"):
                hosts, count = rnd.choice((1, HOSTS)), rnd.choice((15, 25, 40))
                what = (f"{system.name} FTP server: active data from port {sport or 'any'} to"
                        f" {count} of {name}{to(hosts)}")  # fmt: skip
                source = scene.add("bystander", what, system, rnd.random() < 0.3)
                for _ in range(count):
                    source.syn(rnd.choice(EPHEMERAL[name]), rnd.randrange(hosts), sport, (1, 3, 7))
                    source.pause(5)
    for name in (OPEN, "FreeBSD's ports"):
        what = f"FTP client: passive data, SYN to 30 of {name} that pf blocks"
        source = scene.add("debatable", what)
        for _ in range(30):
            source.syn(rnd.choice(EPHEMERAL[name]), tries=(1, 3))
            source.pause(5)


def retries(scene: Scene) -> None:
    """Clients that ask for what is closed."""
    for system in SYSTEMS:
        for ports, rounds in (((8443,), 30), (MAIL[:4], 10), ((*MAIL, 3306), 1)):
            what = f"{system.name} client that asks for {len(ports)} closed ports"
            source = scene.add(asks(len(ports)), what, system)
            for port in [*ports] * rounds:
                source.syn(port, tries=(1, 3, 7))
                source.pause(2)
    for system in (LINUX, WINDOWS):
        source = scene.add("debatable", "NAT: 30 people, each another closed port", system)
        for port in scene.random.sample(range(20, 10000), 30):
            source.syn(port, tries=(1, 3))
            source.pause(5)


def checks(scene: Scene) -> None:
    """Load balancers and relays; of 30 hosts they are what a sweep is."""
    for hosts in (1, 3, HOSTS):
        for ports in ((80,), (80, 443), (80, 443, 8080, 8443)):
            for six in (False, True):
                what = f"load balancer: checks of {len(ports)} closed ports{to(hosts)}"
                source = scene.add(asks(hosts * len(ports)), what, LINUX, six)
                for _ in range(8):
                    for host in range(hosts):
                        for port in ports:
                            source.syn(port, host)
                    source.pause(10)
        source = scene.add(asks(hosts), f"mail relay: SYN to port 25{to(hosts)}", FREEBSD)
        for host in [*range(hosts)] * 3:
            source.syn(25, host, tries=(3, 6))
            source.pause(1)


# -- Traceroutes and victims ----------------------------------------------------------------


def traceroutes(scene: Scene) -> None:
    """Probes whose TTL counts up, or turns."""
    for hosts in (1, 5, 20, HOSTS):
        for six in (False, True):
            for who, ttls in (("traceroute -I", range(1, 13)), ("mtr", (2, 3, 4) * 4)):
                source = scene.add("traceroute", f"{who}{to(hosts)}", LINUX, six)
                for host, ttl in itertools.product(range(hosts), ttls):
                    source.echo(host, ttl)
                    source.pause(0.05)
            source = scene.add("traceroute", f"traceroute (UDP){to(hosts)}", LINUX, six)
            for host, index in itertools.product(range(hosts), range(24)):
                probe = udp(source.own_port(), 33464 + index, 32)
                source.send(UDP, probe, host, 1 + index // 3)
                source.pause(0.05)
            for port in (80, 443, 8443):
                source = scene.add("traceroute", f"traceroute -T -p {port}{to(hosts)}", LINUX, six)
                for host, index in itertools.product(range(hosts), range(24)):
                    probe = tcp(source.own_port(), port, SYN, LINUX.syn)
                    source.send(TCP, probe, host, 1 + index // 3)
                    source.pause(0.05)


def traceroutes_that_count_ports(scene: Scene) -> None:
    """TCP probes whose ports count up: from 33434 a traceroute's, from elsewhere a scan's, too."""
    for base in (33434, 8443, 80, 53):
        for name, options in (("FreeBSD's traceroute -P tcp", b""), ("Linux's options", LINUX.syn)):
            kind = "traceroute" if base == 33434 else "debatable"
            source = scene.add(kind, f"TCP traceroute, ports count up from {base}, {name}")
            for index in range(60):
                probe = tcp(40000, base + index, SYN, options)
                source.send(TCP, probe, 0, 1 + index // 3)
                source.pause(0.2)


def backscatter(scene: Scene) -> None:
    """Victims of a flood that was sent with this firewall's addresses as its source."""
    rnd = scene.random
    for port in (80, 443, 22, 25, 53, 3389, 8080, 6667, 25565):
        for flags, name in ((SYN | ACK, "SYN-ACK"), (RST | ACK, "RST-ACK"), (RST, "RST")):
            ports, hosts = rnd.choice((EVERYWHERE, UNRESERVED)), rnd.choice((1, HOSTS))
            what = f"{name} from port {port} to ports from {ports[0]} up{to(hosts)}"
            source = scene.add("backscatter", what, LINUX, rnd.random() < 0.3)
            for _ in range(120):
                segment = tcp(port, rnd.choice(ports), flags, LINUX.syn if flags & SYN else b"")
                source.send(TCP, segment, rnd.randrange(hosts))
                source.pause(0.3)
    for port in (53, 123, 443, 80, 161, 389, 1900, 11211, 3702, 27015):
        for ports in (EVERYWHERE, UNRESERVED):
            hosts = rnd.choice((1, HOSTS))
            what = f"UDP answers from port {port} to ports from {ports[0]} up{to(hosts)}"
            source = scene.add("backscatter", what, LINUX, rnd.random() < 0.2)
            for _ in range(120):
                source.udp(port, rnd.choice(ports), 400, rnd.randrange(hosts))
                source.pause(0.3)
    for kind, code in ((3, 1), (3, 3), (3, 10), (3, 13), (11, 0)):
        source = scene.add("backscatter", f"ICMP errors, type {kind}, code {code}")
        for _ in range(120):
            asked = udp(rnd.choice(EVERYWHERE), 80, 0)
            quoted = ip("10.99.0.2", source.address, UDP, asked, 50)
            source.send(ICMP, icmp(kind, code, bytes(4) + quoted), rnd.randrange(HOSTS))
            source.pause(0.3)


# -- Hosts that pick the same ports, sets of ports, several parts at once --------------------


def ports_of_many_hosts(scene: Scene) -> None:
    """Thirty hosts that have one fixed port, or hand out ports in order from the same one on."""
    rnd = scene.random
    for port, theirs in ((53, 32768), (27015, 27005), (3478, 41641), (1194, 50000)):
        what = f"UDP from port {port}: late answers to port {theirs} of {HOSTS} hosts"
        source = scene.add("bystander", what)
        for host in [*range(HOSTS)] * 3:
            source.udp(port, theirs, 100, host)
            source.pause(0.2)
    for port in (53, 389, 443, 5443, 9443):
        for protocol in (UDP, TCP):
            name = "UDP" if protocol == UDP else "TCP"
            what = f"{name} from port {port}: late packets to the Windows ports of {HOSTS} hosts"
            source = scene.add("bystander", what, WINDOWS, rnd.random() < 0.5)
            dports = [49664 + rnd.randrange(40) for _ in range(HOSTS)]
            for _ in range(150):
                host = rnd.randrange(HOSTS)
                dports[host] += rnd.choice((1, 1, 2))
                if protocol == UDP:
                    source.udp(port, dports[host], 120, host)
                else:
                    source.late(PSH, dports[host], port, host, 200)
                    source.late(FIN, dports[host], port, host)
                source.pause(0.5)


def sets_of_ports(scene: Scene) -> None:
    """Hosts behind a carrier's NAT that gives each customer a set of ports, as MAP-E does."""
    rnd = scene.random
    for port in (53, 123, 443, 5443, 1234):
        for count in (20, 60, 150):
            customer = rnd.randrange(256) << 4
            what = f"UDP from port {port}: {count} late answers to a set of 15 times 16 ports"
            source = scene.add("bystander", what)
            for _ in range(count):
                dport = rnd.randrange(1, 16) << 12 | customer | rnd.randrange(16)
                source.udp(port, dport, 200)
                source.pause(0.5)
        first = rnd.randrange(2, 60) * 1024
        what = f"UDP from port {port}: late answers to the 1024 ports from {first} up"
        source = scene.add("bystander", what)
        for _ in range(60):
            source.udp(port, rnd.randrange(first, first + 1024), 200)
            source.pause(0.5)


def several_parts(scene: Scene) -> None:
    """Hosts that are servers of several kinds to this network, and its clients too."""
    rnd = scene.random
    for system in SYSTEMS:
        for name in (OPEN, "FreeBSD's ports", "Windows' ports"):
            for who, answers, serves, asked, calls in (
                ("resolver, time and web server", (53, 123, 443), (80, 443), (), 0),
                ("mail relay", (53,), (25,), (25, 113), 0),
                ("domain controller", (53, 88, 123, 389, 464), (88, 135, 389, 445), (), 0),
                ("FTP server", (), (21, 80), (113, 443), 25),
            ):
                source = scene.add("bystander", f"{system.name} {who}, to {name}", system)
                _play_parts(source, EPHEMERAL[name], answers, serves, asked, calls)
    for system in SYSTEMS:
        for six in (False, True):
            what = f"{system.name} client of 14 services: late data and FIN"
            source = scene.add("bystander", what, system, six)
            for port in (*SERVED, *MAIL[1:8], 53, 389, 3389):
                sport = source.own_port()
                for _ in range(3):
                    source.late(PSH, port, sport, 0, rnd.randrange(1, 1200))
                    source.pause(0.5)
                source.late(FIN, port, sport)


def _play_parts(
    source: Source,
    ports: range,
    answers: Sequence[int],
    serves: Sequence[int],
    asked: Sequence[int],
    calls: int,
) -> None:
    rnd = source.random
    for number in range(60):
        dport = rnd.choice(ports)
        if answers:
            source.udp(rnd.choice(answers), rnd.choice(ports), rnd.randrange(50, 400))
        source.late(PSH, dport, rnd.choice(serves), 0, rnd.randrange(1, 1400))
        source.late(FIN, dport, rnd.choice(serves))
        if asked and number % 10 == 0:
            source.syn(asked[number // 10 % len(asked)], tries=(1, 3))
        if number < calls:
            source.syn(rnd.choice(ports), tries=(1, 3))
        source.pause(2)


def reserved_ports(scene: Scene) -> None:
    """NFS over TCP, whose clients have reserved ports."""
    for six in (False, True):
        source = scene.add("bystander", "NFS server: late data to 20 reserved ports", LINUX, six)
        for dport in scene.random.sample(range(665, 1024), 20):
            source.late(PSH, dport, 2049, 0, 120)
            source.pause(1)
            source.late(FIN, dport, 2049)


def traceroutes_to_the_end(scene: Scene) -> None:
    """Traceroutes to services that nobody answers, so that they go on for 30 hops."""
    for hosts in (1, 20, HOSTS):
        for six in (False, True):
            for port in (80, 443, 22, 8443):
                what = f"traceroute -T -p {port}, 30 hops{to(hosts)}"
                source = scene.add("traceroute", what, LINUX, six)
                for ttl, host in itertools.product(range(1, 31), range(hosts)):
                    probe = tcp(source.own_port(), port, SYN, LINUX.syn)
                    source.send(TCP, probe, host, ttl)
                    source.pause(0.02)
            for port in (53, 161, 4500):
                what = f"traceroute -U -p {port}, 30 hops{to(hosts)}"
                source = scene.add("traceroute", what, LINUX, six)
                for ttl, host in itertools.product(range(1, 31), range(hosts)):
                    source.send(UDP, udp(source.own_port(), port, 32), host, ttl)
                    source.pause(0.02)
    for flows in (6, 16):
        for base in (33434, 53):
            source = scene.add("traceroute", f"{flows} paths at a time, ports from {base} up")
            for ttl, flow in itertools.product(range(1, 16), range(flows)):
                source.send(UDP, udp(40000, base + flow, 32), 0, ttl)
                source.pause(0.02)


def heavy_backscatter(scene: Scene) -> None:
    """Thousands of answers to packets that were forged, to ports all over the range."""
    rnd = scene.random
    for ports in (EVERYWHERE, UNRESERVED):
        for port, flags, name in ((80, SYN | ACK, "SYN-ACK"), (22, ACK, "ACK"), (53, 0, "UDP")):
            what = f"1500 {name} answers from port {port} to ports from {ports[0]} up"
            source = scene.add("backscatter", what)
            for _ in range(1500):
                dport, host = rnd.choice(ports), rnd.randrange(HOSTS)
                if flags:
                    options = LINUX.syn if flags & SYN else b""
                    source.send(TCP, tcp(port, dport, flags, options), host)
                else:
                    source.udp(port, dport, 400, host)
                source.pause(0.1)


STORIES = (
    late_answers, bursts_of_answers, ports_in_turn, ports_picked_for_a_client, media, peers,
    tunnels, neighbours, pings, late_clients, late_clients_behind_nat, late_servers,
    data_without_options, ftp, retries, checks, traceroutes, traceroutes_that_count_ports,
    backscatter, ports_of_many_hosts, sets_of_ports, several_parts, reserved_ports,
    traceroutes_to_the_end, heavy_backscatter,
)  # fmt: skip
