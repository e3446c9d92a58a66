# SPDX-License-Identifier: GPL-2.0-or-later
"""scan.py: what each kind of packet looks like; conduct.py: what a source does as a whole."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.pflog.savefile import FILE_HEADER_SIZE, FileHeader
from fail2ban_pflog.policy import kinds
from fail2ban_pflog.policy import ports as known_ports
from fail2ban_pflog.policy.classify import classify, directions
from fail2ban_pflog.policy.history import HORIZON, MAX_PORTS, History
from fail2ban_pflog.policy.kernel_filters import KERNEL_FILTERS
from fail2ban_pflog.policy.kinds import KINDS, MODES, Kind, Rank

from ..support.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    HOST,
    PSH,
    RST,
    SOURCE,
    SOURCE6,
    SYN,
    URG,
    echo,
    frame,
    sctp,
    segment,
    tcp,
    udp,
)

CAPTURES = sorted((Path(__file__).parents[1] / "data").glob("*/*.pcap"))

TIMESTAMP = bytes.fromhex("0101080a0000000100000002")
MSS = bytes.fromhex("020405b4")
LINUX = bytes.fromhex("020405b40402080a000000010000000001030307")
WINDOWS = bytes.fromhex("020405b40103030801010402")


def kind_of(packet: bytes, *wanted: frozenset[int]) -> Kind:
    return classify(Decoder("<").packet(packet), packet, *wanted)


def own_syn(sport: int, dport: int, *addresses: str, **header: int) -> bytes:
    """A SYN as Linux sends it."""
    return frame(6, segment(sport, dport, SYN, b"", LINUX), *addresses, **header)


def cut(sport: int, dport: int, length: int, *addresses: str, **header: int) -> bytes:
    """IPv6 TCP of which pflogd's 116 bytes leave only the ports."""
    addresses = addresses or (SOURCE6,)
    return frame(6, segment(sport, dport, SYN)[:4], *addresses, length=length, **header)


def frames(capture: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (byte order, frame) of a capture."""
    data = capture.read_bytes()
    header = FileHeader.parse(data)
    for _, _, packet in header.records(data, FILE_HEADER_SIZE).records:
        yield header.byteorder, packet


# -- What each kind of packet looks like ----------------------------------------------------

EXAMPLES = {
    "SYN": {
        "SYN": tcp(40000, 22, SYN),
        "SYN to a high port": tcp(40000, 50000, SYN),
        "SYN with ECN": tcp(40000, 22, SYN | ECE | CWR),
        "SYN from port 20": tcp(20, 40000, SYN),
        "SYN from port 53": tcp(53, 8000, SYN),
        "SYN of Linux to a service": own_syn(40000, 3389),
        "SYN over IPv6": tcp(40000, 22, SYN, SOURCE6),
        "SYN behind destination options": frame(
            60, b"\6\0\1\4" + bytes(4) + segment(40000, 22, SYN), SOURCE6
        ),
        "SYN in an IPv6 fragment": frame(
            44, b"\6\0\0\1" + bytes(4) + segment(40000, 22, SYN), SOURCE6
        ),
        "SYN dropped as scrub": tcp(40000, 22, SYN, action=2, reason=4),
        "SYN dropped as pass, ip-option": tcp(40000, 22, SYN, action=0, reason=8),
        "SYN with options where traceroute goes": frame(6, segment(40000, 33440, SYN, b"", MSS)),
        "SYN where traceroute goes, from far away": tcp(40000, 33440, SYN),
        "SYN with a header length of 0": frame(
            6, struct.pack(">HHIIBBHHH", 1, 22, 0, 0, 0, 2, 0, 0, 0)
        ),
    },
    "ODD_FLAGS": {
        "SYN-FIN": tcp(40000, 22, SYN | FIN),
        "FIN": tcp(40000, 22, FIN),
        "NULL": tcp(40000, 22, 0),
        "Xmas": tcp(40000, 22, FIN | PSH | URG),
    },
    "TINY_FRAGMENT": {
        "8 bytes to a service": frame(6, segment(40000, 22, SYN)[:8], offset=0x2000),
        "8 bytes to no service": frame(6, segment(40000, 30000, SYN)[:8], offset=0x2000),
    },
    "SCTP_INIT": {"SCTP INIT": sctp(40000, 80, 1)},
    "UDP_SERVICE": {
        "UDP to a reserved port": udp(40000, 161),
        "UDP from 53 to a reserved port": udp(53, 161),
        "UDP from 53 to a service": udp(53, 1434),
        "UDP to a registered port": udp(40000, 5683),
        "UDP from 53 to 53": udp(53, 53),
        "UDP to a host of another network whose address ends with 255": udp(
            40000, 137, SOURCE, "10.99.0.255"
        ),
        "UDP over IPv6": udp(40000, 161, SOURCE6),
        "SIP to a telephone's own port": udp(5060, 5065),
    },
    "SIP": {"SIP": udp(5060, 5060)},
    "TCP_OPENING": {
        "nmap's SYN, cut": cut(40000, 22, 24),
        "nmap's SYN from port 443, cut": cut(443, 3389, 24),
        "a SYN of Linux, cut": cut(40000, 80, 40),
    },
    "TCP_SERVICE": {
        "first fragment, cut": frame(6, segment(40000, 22, SYN)[:8], offset=0x2000, length=24),
        "a segment without options, cut": cut(40000, 22, 20),
        "a segment with data, cut": cut(40000, 25, 500),
    },
    "NEAR_END": {
        "SYN with hardly a hop to go": tcp(40000, 80, SYN, ttl=3),
        "SYN of Linux with hardly a hop to go": own_syn(40000, 80, ttl=1),
        "UDP to a service with hardly a hop to go": udp(40000, 53, ttl=16),
        "SYN with 30 hops to go": tcp(40000, 80, SYN, ttl=30),
        "SYN over IPv6 with hardly a hop to go, cut": cut(40000, 80, 24, ttl=2),
    },
    "ACK_PROBE": {
        "ACK": tcp(40000, 22, ACK),
        "ACK from port 53": tcp(53, 22, ACK),
        "Maimon": tcp(40000, 22, FIN | ACK),
    },
    "SYN_ACK_PROBE": {"SYN-ACK to a service": tcp(40000, 22, SYN | ACK)},
    "IMPOSSIBLE_FLAGS": {
        "all flags": tcp(40000, 50000, 0x3F),
        "SYN-RST": tcp(40000, 50000, SYN | RST),
    },
    "SCTP_COOKIE": {"SCTP COOKIE ECHO": sctp(40000, 80, 10)},
    "ECHO_REQUEST": {
        "echo request": echo(),
        "echo request over IPv6": echo(SOURCE6),
    },
    "ICMP_QUESTION": {
        "time stamp request": frame(1, b"\x0d" + bytes(19)),
        "mask request": frame(1, b"\x11" + bytes(11)),
    },
    "PROTOCOL": {
        "unknown protocol": frame(99, b""),
        "unknown protocol over IPv6": frame(99, b"", SOURCE6),
    },
    "LATE_PACKET": {
        "late answer of NFS": tcp(2049, 800, ACK),
        "late data": frame(6, segment(40000, 22, PSH | ACK, b"ls\n", TIMESTAMP)),
        "late FIN with options": frame(6, segment(40000, 22, FIN | ACK, b"", TIMESTAMP)),
        "late FIN of Windows": tcp(50000, 443, FIN | ACK),
        "cut TCP to 443": cut(40000, 443, 32),
    },
    "LATE_PLAIN": {
        "late answer of a web server": tcp(443, 30000, FIN | ACK),
        "late answer to OpenBSD": tcp(443, 3010, ACK),
        "SYN-ACK backscatter": frame(6, segment(443, 3010, SYN | ACK, b"", MSS)),
        "SYN-ACK of a game server": tcp(25600, 30000, SYN | ACK),
    },
    "RESET": {
        "RST": tcp(40000, 22, RST),
        "RST-ACK": tcp(40000, 22, RST | ACK),
    },
    "LATE_ANSWER": {
        "late answer of a resolver": udp(53, 30000),
        "late answer of a resolver, OpenBSD": udp(53, 3010),
        "late QUIC": udp(443, 55555, SOURCE6),
        "media from a known port": udp(20000, 16384),
        "late CoAP to OpenBSD": udp(5683, 3010),
    },
    "STRAY_UDP": {
        "mtr": udp(4711, 33001),
        "tracepath": udp(40000, 44450),
        "peer to peer": udp(6881, 51413),
        "media": udp(20002, 16384),
        "late answer from a port on no list": udp(5443, 3010),
    },
    "LATE_SEGMENT": {"late answer over IPv6, cut": cut(443, 30000, 32)},
    "TCP_BARE_OPENING": {"nmap's SYN to no service, cut": cut(40000, 20005, 24)},
    "RAW_OPENING": {"nmap's SYN from a service to no service, cut": cut(443, 20005, 24)},
    "CALL_BACK": {
        "active FTP": own_syn(20, 40000),
        "active FTP from another port": own_syn(41234, 40000),
        "active FTP of Windows": frame(6, segment(41234, 40000, SYN, b"", WINDOWS)),
        "active FTP over IPv6, cut": cut(41234, 40000, 40),
    },
    "TRACEROUTE": {
        "traceroute": udp(34061, 33434),
        "traceroute6": udp(57308, 33478, SOURCE6),
        "traceroute -p 5010": udp(57308, 5010, ttl=30),
        "FreeBSD's traceroute -P tcp": tcp(40000, 33440, SYN, ttl=4),
        "FreeBSD's traceroute -P sctp": sctp(40000, 33440, 1, ttl=4),
        "traceroute -I": echo(ttl=7),
        "traceroute -P 99": frame(99, b"", ttl=7),
    },
    "PEER": {"NTP peer": udp(123, 123), "IKE": udp(4500, 4500)},
    "RPC_ANSWER": {
        "late answer of NFS over UDP": udp(2049, 800),
        "late answer of NFS, cut": cut(2049, 800, 152),
    },
    "FRAGMENT": {
        "later fragment": frame(6, bytes(8), offset=1),
        "later IPv6 fragment": frame(44, b"\6\0\0\x08" + bytes(12), SOURCE6),
    },
    "BROADCAST": {
        "NetBIOS broadcast": udp(40000, 137, "10.99.0.30", "10.99.0.255"),
        "NetBIOS broadcast in a /18": udp(40000, 137, "10.99.40.30", "10.99.63.255"),
        "NetBIOS broadcast in 10/8": udp(40000, 137, "10.7.0.30", "10.255.255.255"),
        "mDNS": udp(40000, 5353, SOURCE, "224.0.0.251"),
        "SSDP over IPv6": udp(40000, 1900, SOURCE6, "ff02::c"),
        "echo request to all": echo(SOURCE, "224.0.0.1"),
        "neighbour solicitation": frame(58, b"\x87" + bytes(23), SOURCE6, "ff02::1:ff00:2"),
        "IGMP": frame(2, b"\x11" + bytes(7), SOURCE, "224.0.0.1"),
    },
    "ICMP_OTHER": {
        "echo reply": frame(1, bytes(8)),
        "ICMP unreachable": frame(1, b"\3\3" + bytes(34)),
    },
    "OTHER": {
        "ESP": frame(50, bytes(40)),
        "GRE": frame(47, bytes(8)),
        "IPv6 in IPv4": frame(41, bytes(40)),
        "SCTP ABORT": sctp(40000, 80, 6),
    },
    "PASSED": {
        "passed": tcp(40000, 22, SYN, action=0),
        "matched": tcp(40000, 22, SYN, action=12),
    },
    "QUESTION": {
        "asked over UDP": udp(40000, 53, HOST, SOURCE, direction=2, action=0),
        "asked over TCP": tcp(40000, 25, SYN, HOST, SOURCE, direction=2, action=0),
    },
    "OTHER_DIRECTION": {"outbound": tcp(40000, 22, SYN, direction=2)},
    "NOBODY": {
        "DHCP discover": udp(68, 67, "0.0.0.0", "255.255.255.255"),
        "loopback": tcp(40000, 22, SYN, "127.0.0.1"),
        "multicast source": tcp(40000, 22, SYN, "224.0.0.1"),
        "link-local": tcp(40000, 22, SYN, "fe80::42"),
        "unspecified": frame(58, b"\x87" + bytes(23), "::", "ff02::1:ff00:2"),
        "IPv4 embedded in IPv6": tcp(40000, 22, SYN, "::ffff:198.51.100.7"),
        "the host itself": tcp(22, 22, SYN, HOST, HOST),
        "the host itself, without ports": frame(99, b"", HOST, HOST),
    },
    "UNREADABLE": {
        "IP version 7": tcp(40000, 22, SYN)[:72] + b"\x75" + tcp(40000, 22, SYN)[73:],
        "no IP header": tcp(40000, 22, SYN)[:80],
    },
}
"""Kind -> kind of packet -> a frame of it."""

FOUND_BY_CONDUCT = {"WALK", "SWEEP", "OPENS_ALL", "EXCESS", "CHANCE", "CLIENT", "ANSWER"}
PACKETS = [packet for each in EXAMPLES.values() for packet in each.values()]


@pytest.mark.parametrize(
    ("name", "packet"),
    [
        pytest.param(name, packet, id=f"{name} {kind}")
        for name, kinds in EXAMPLES.items()
        for kind, packet in kinds.items()
    ],
)
def test_each_kind_of_packet_has_its_reason(name: str, packet: bytes) -> None:
    """The reason of each kind of packet, by name."""
    assert kind_of(packet).name == name


def test_every_reason_has_an_example() -> None:
    """No reason that no packet has; those that only a source's conduct gives are below."""
    assert set(EXAMPLES) | FOUND_BY_CONDUCT == set(KINDS)


def test_modes_count_more_and_more() -> None:
    """normal counts what only scans send, never what answers or comes late."""
    by_rank = {rank: {name for name, each in KINDS.items() if each.rank == rank} for rank in Rank}
    assert {"SYN", "UDP_SERVICE", "WALK", "SWEEP"} < by_rank[Rank.NORMAL]
    assert {"ACK_PROBE", "ECHO_REQUEST", "PROTOCOL"} < by_rank[Rank.AGGRESSIVE]
    assert {"LATE_PACKET", "LATE_ANSWER", "CALL_BACK", "TRACEROUTE"} < by_rank[Rank.ANY]
    assert by_rank[Rank.NEVER] == {
        "PASSED", "OTHER_DIRECTION", "NOBODY", "UNREADABLE", "QUESTION", "ANSWER",
    }  # fmt: skip


def test_known_ports_are_no_ports_that_systems_pick_in_order() -> None:
    """Late answers to a system that picks its ports in order, from 32768 up, hit no list."""
    assert max(known_ports.TCP_SERVICES) < 32768
    assert len([port for port in known_ports.UDP_SERVICES if port >= 32768]) < 10
    for ports in (known_ports.TCP_SERVICES, known_ports.UDP_SERVICES):
        assert list(ports) == sorted(set(ports))


def test_directions_are_selected_as_the_filter_does() -> None:
    """`direction=out` counts outbound packets and no others; `in|out` both."""
    outbound, inbound = tcp(40000, 22, SYN, direction=2), tcp(40000, 22, SYN)
    out, both = directions("out"), directions("in|out")
    assert kind_of(inbound, out) is kinds.OTHER_DIRECTION
    assert kind_of(outbound, out) is kinds.SYN
    assert kind_of(outbound, both) is kind_of(inbound, both) is kinds.SYN


# -- Frames that are none --------------------------------------------------------------------


def test_no_frame_of_whatever_length_raises() -> None:
    """Every frame cut at every byte, and noise: a reason or PflogError, nothing else."""
    chance = random.Random(7)
    pieces = [packet[:end] for packet in PACKETS for end in range(len(packet))]
    pieces += [chance.randbytes(chance.randrange(160)) for _ in range(2000)]
    for packet in PACKETS:
        for _ in range(20):
            noisy = bytearray(packet)
            for _ in range(3):
                noisy[chance.randrange(72, len(noisy))] = chance.choice((0, 1, 6, 17, 44, 60, 255))
            pieces.append(bytes(noisy))
    conduct = History()
    for piece in pieces:
        try:
            packet = Decoder("<").packet(piece)
        except PflogError:
            continue
        found = classify(packet, piece)
        assert found.name in KINDS
        if found.asks < Rank.NEVER:
            conduct.refine(0, packet.source, packet, found)


# -- What a source does as a whole -----------------------------------------------------------


def conduct_of(packets: Iterable[bytes], gap: float = 1.0, mode: Rank = Rank.NORMAL) -> list[str]:
    """The reasons' names for packets that come one after the other."""
    conduct, names = History(), []
    for number, each in enumerate(packets):
        packet = Decoder("<").packet(each)
        found = classify(packet, each)
        if found.asks <= mode:
            found = conduct.refine(number * gap, packet.source, packet, found)
        names.append(found.name)
    return names


def test_late_answers_lie_spread() -> None:
    """150 answers to ports all over OpenBSD's range: hardly one looks like anything else."""
    chance = random.Random(3)
    ports = chance.sample(range(1024, 49152), 150)
    names = conduct_of([udp(5335, port) for port in ports])
    assert sum(name in ("WALK", "SWEEP", "UDP_SERVICE") for name in names) <= 3


def test_answers_to_ports_in_order_do_not_walk() -> None:
    """FreeBSD picks ports one after the other when it is busy; answers to them are answers."""
    for packets in (
        [udp(5335, port) for port in range(21179, 21229)],
        [cut(443, port, 32) for port in range(21179, 21229)],
        [own_syn(41000 + port, port) for port in range(21179, 21229)],
    ):
        assert not {"WALK", "SWEEP"} & set(conduct_of(packets))


def test_a_scan_walks() -> None:
    """A port beside two others that the source tried counts, in whatever order they come."""
    ports = list(range(2600, 2640))
    assert conduct_of([udp(40000, port) for port in ports if port != 2601])[3:6] == ["WALK"] * 3
    random.Random(1).shuffle(ports)
    for packets in (
        [udp(40000, port) for port in ports],
        [own_syn(41000 + port, port) for port in ports],
        [cut(443, 20000 + port, 24) for port in ports],
    ):
        assert conduct_of(packets).count("WALK") >= 15


def test_a_sweep_is_one_port_of_many_hosts() -> None:
    """UDP to one unknown port counts from the second host on."""
    hosts = [f"10.99.0.{last}" for last in range(2, 32)]
    names = conduct_of([udp(40000, 33333, SOURCE, host) for host in hosts])
    assert names == ["STRAY_UDP"] + ["SWEEP"] * 29


def test_answers_to_many_hosts_do_not_sweep() -> None:
    """A service answers one port of all hosts; any server those that hosts pick in order."""
    hosts = [f"10.99.0.{last}" for last in range(2, 32)]
    names = conduct_of(udp(27015, 27005, SOURCE, host) for host in hosts)
    assert set(names) == {"LATE_ANSWER"}
    chance = random.Random(2)
    ports = [(chance.choice(hosts), chance.randrange(50000, 50040)) for _ in range(150)]
    for packets in (
        [udp(5443, port, SOURCE, host) for host, port in ports],
        [own_syn(20, port, SOURCE, host) for host, port in ports],
    ):
        assert conduct_of(packets).count("SWEEP") < 5


def test_a_client_of_many_hosts_does_not_sweep() -> None:
    """Late packets of which only the ports are known go to one port of many hosts."""
    hosts = [f"fd99::{last}" for last in range(2, 32)]
    names = conduct_of([cut(40000, 12345, 32, SOURCE6, host) for host in hosts])
    assert set(names) == {"LATE_SEGMENT"}


def test_who_opens_connections_to_services_scans_the_other_ports_too() -> None:
    """connect() to ports on no list counts, of a source that tries five services as well."""
    fashion = (3000, 5173, 8080, 8443, 9000, 9090, 9200, 27017, 7474, 4200, 8180, 4848)
    names = conduct_of([own_syn(41000, port) for port in fashion * 2])
    assert names[:2] == ["SYN", "CALL_BACK"]
    assert names[7:12] == ["SYN"] + ["OPENS_ALL"] * 4
    assert names[12:].count("OPENS_ALL") == 5
    everything = [11000 + 7 * number for number in range(100)] + [22, 23, 25, 110, 143] + [60000]
    assert conduct_of([own_syn(40000, port) for port in everything])[-1] == "OPENS_ALL"


def test_a_server_that_calls_back_may_ask_for_a_few_services() -> None:
    """Active FTP, of a server that asks for ident, web and mail as well."""
    chance = random.Random(9)
    ports = [113, 443, 80, 25, *chance.sample(range(1024, 49152), 40)]
    chance.shuffle(ports)
    assert "OPENS_ALL" not in conduct_of([own_syn(41000, port) for port in ports])


def test_what_is_as_short_as_a_bare_syn_may_be_data() -> None:
    """Four bytes of data have its length; whose segments have others as well sends data."""
    syns = [cut(40000, port, 24) for port in range(20010, 20410, 20)]
    assert set(conduct_of(syns)) == {"TCP_BARE_OPENING"}
    assert set(conduct_of([cut(40000, 30000, 20), *syns])[1:]) == {"RAW_OPENING"}


def test_peers_do_not_walk() -> None:
    """From a port to its own number is a peer's way; from sixty to theirs is a scan's."""
    assert set(conduct_of([udp(port, port) for port in (123, 500, 4500)])) == {"PEER"}
    names = conduct_of([udp(port, port) for port in range(1000, 1060)])
    assert names == ["PEER"] * 2 + ["WALK"] * 58


def test_who_sends_data_is_a_client() -> None:
    """ACKs without data count until data came; where flags are unknown, lengths tell data."""
    ports = (22, 25, 110, 143, 389, 587, 993, 995, 3306, 3389)
    bare = [tcp(50000, port, FIN | ACK) for port in ports if port not in known_ports.SERVED]
    data = frame(6, segment(50000, 443, PSH | ACK, b"x"))
    assert set(conduct_of(bare, mode=Rank.AGGRESSIVE)) == {"ACK_PROBE"}
    assert set(conduct_of([data, *bare], mode=Rank.AGGRESSIVE)) == {"LATE_PACKET", "CLIENT"}
    alike = [cut(50000, port, 20) for port in ports if port not in known_ports.SERVED]
    assert set(conduct_of(alike)) == {"TCP_SERVICE"}
    unlike = [cut(50000, port, 31 + port % 89) for port in ports if port not in known_ports.SERVED]
    assert conduct_of(unlike)[2:] == ["CLIENT"] * (len(unlike) - 2)


def test_backscatter_hits_services_by_chance() -> None:
    """Answers of a server to forged packets reach all ports; the services among them are chance."""
    chance = random.Random(5)
    names = conduct_of([udp(53, port) for port in chance.sample(range(1, 65536), 5000)], 0.01)
    assert names.count("CHANCE") > 50
    assert names.count("UDP_SERVICE") + names.count("WALK") + names.count("SWEEP") < 15


def test_a_scan_of_nmaps_ports_is_no_chance() -> None:
    """Of 1000 ports that nmap asks for, known services are enough to count, from any port."""
    chance = random.Random(5)
    ports = [*range(1, 120), *known_ports.UDP_SERVICES, *chance.sample(range(32768, 65536), 700)]
    chance.shuffle(ports)
    names = conduct_of([udp(53, port) for port in ports], 0.1)
    assert names.count("UDP_SERVICE") > 150


def test_a_traceroute_goes_up_in_ttl() -> None:
    """Whatever port it counts up from; a scan that keeps a small TTL is found."""
    trace = [udp(40000, 53 + probe, ttl=1 + probe // 3) for probe in range(60) if probe < 48]
    assert set(conduct_of(trace)) == {"TRACEROUTE"}
    scanned = conduct_of([tcp(40000, port, SYN, ttl=2) for port in range(1, 60)])
    assert scanned == ["TRACEROUTE"] * 16 + ["NEAR_END"] * 43


def test_a_traceroute_begins_with_hardly_a_hop_to_go() -> None:
    """It is one for 30 hops, to however many hosts; nmap's TTLs are as low, but do not begin so."""
    hosts = [f"10.99.0.{last}" for last in range(2, 22)]
    trace = [
        own_syn(40000 + ttl, 443, SOURCE, host, ttl=ttl) for ttl in range(1, 31) for host in hosts
    ]
    assert set(conduct_of(trace)) == {"TRACEROUTE"}
    chance = random.Random(1)
    far = [tcp(40000, port, SYN, ttl=chance.randrange(7, 30)) for port in range(1, 60)]
    assert set(conduct_of(far)) == {"NEAR_END"}
    scan_behind = [tcp(40000, port, SYN, ttl=50) for port in range(1, 60)]
    assert set(conduct_of([*trace, *scan_behind])[len(trace) :]) == {"SYN"}


def test_conduct_is_forgotten_after_an_hour() -> None:
    """What a source did long ago says nothing of its strays of today."""
    packets = [udp(40000, port) for port in (2600, 2601, 2602)]
    assert conduct_of(packets, HORIZON - 1)[2] == "WALK"
    assert conduct_of(packets, HORIZON + 1)[2] == "STRAY_UDP"


def test_history_is_bounded() -> None:
    """Sources, ports and hosts beyond the limits push out others; a source that goes on stays."""
    history = History()
    history.max_bytes = 1 << 20
    for number in range(2 * MAX_PORTS):
        for source in (SOURCE, f"10.0.{number >> 8}.{number & 255}"):
            each = udp(40000, 10000 + number, source, f"10.99.{number & 255}.2")
            packet = Decoder("<").packet(each)
            history.refine(0, packet.source, packet, classify(packet, each))
    assert len(history) < 2000
    known = history._sources.get(bytes((198, 51, 100, 7)))
    assert known is not None
    assert MAX_PORTS // 2 <= len(known.ports) <= MAX_PORTS
    for last in range(20):
        for number in range(MAX_PORTS // 2):
            packet = packet._replace(source=bytes((10, 1, 1, last)), dport=10000 + number)
            history.refine(0, packet.source, packet, classify(packet, each))
    assert history._sources._total <= history.max_bytes
    assert history._sources.get(bytes((10, 1, 1, 19))) is not None


# -- The kernel's filters ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_kernel_filters_drop_nothing_that_counts(mode: str, capture: Path) -> None:
    """Compiled for pflog, a mode's expressions let every packet pass that the mode counts."""
    pcapy = pytest.importorskip("pcapy")
    dropped = 0
    for expression in KERNEL_FILTERS[mode]:
        try:
            program = pcapy.BPFProgram(expression, 117)
        except pcapy.PcapError as error:  # pcapy-ng's wheels carry a libpcap without pf
            pytest.skip(f"pcap-filter has no pf primitives here: {error}")
        for order, each in frames(capture):
            passes = bool(program.filter(each))
            kind = classify(Decoder(order).packet(each), each)
            assert passes or kind.rank > MODES[mode] < kind.asks
            dropped += not passes
    assert dropped or "bystanders" not in capture.name


@pytest.mark.parametrize("mode", MODES)
def test_kernel_filters_keep_questions(mode: str) -> None:
    """What goes out and opens a connection is kept, what goes on with one is not."""
    pcapy = pytest.importorskip("pcapy")
    for expression in KERNEL_FILTERS[mode]:
        try:
            program = pcapy.BPFProgram(expression, 117)
        except pcapy.PcapError as error:
            pytest.skip(f"pcap-filter has no pf primitives here: {error}")
        for packet in EXAMPLES["QUESTION"].values():
            assert program.filter(packet)
        for flags in (ACK, PSH | ACK, SYN | ACK, RST):
            assert not program.filter(tcp(22, 40000, flags, HOST, SOURCE, direction=2, action=0))


def test_kernel_filters_use_old_libpcaps_words() -> None:
    """FreeBSD's libpcap 1.9.1 knows no `action scrub` and no `dir`; OpenBSD's no `&` for long."""
    for expressions in KERNEL_FILTERS.values():
        for expression in expressions:
            assert "scrub" not in expression
            assert "dir " not in expression
            assert "&" not in expression


def test_a_reason_stays_itself_in_another_process() -> None:
    """What is sent from one process to another names a reason, and is no copy of it."""
    assert pickle.loads(pickle.dumps(list(KINDS.values()))) == list(KINDS.values())
