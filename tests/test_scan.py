"""scan.py and filter.d/pflog.conf: the same judgement on raw bytes and on text."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fail2ban_pflog import scan
from fail2ban_pflog.formatter import Formatter
from fail2ban_pflog.savefile import FILE_HEADER_SIZE, FileHeader
from fail2ban_pflog.scan import KERNEL_FILTER, MODES, NOTHING, Rank

from .filters import CONFIG, Ranker
from .packets import (
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

CAPTURES = sorted((Path(__file__).parent / "data").glob("*/*.pcap"))

TIMESTAMP = bytes.fromhex("0101080a0000000100000002")
MSS = bytes.fromhex("020405b4")


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker()


def rank(packet: bytes) -> Rank:
    read = scan.read(packet)
    return Rank.NEVER if read is None else read.rank


def assert_agree(ranker: Ranker, packet: bytes, line: str) -> None:
    assert rank(packet) == ranker.rank(line), line


def frames(capture: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (byte order, frame) of a capture."""
    data = capture.read_bytes()
    header = FileHeader.parse(data)
    for _, _, packet in header.records(data, FILE_HEADER_SIZE).records:
        yield header.byteorder, packet


# -- What each mode counts ---------------------------------------------------------------

NORMAL = {
    "SYN": tcp(40000, 22, SYN),
    "SYN to a high port": tcp(40000, 50000, SYN),
    "SYN with ECN": tcp(40000, 22, SYN | ECE | CWR),
    "SYN from port 20 to a reserved port": tcp(20, 22, SYN),
    "SYN from port 53": tcp(53, 8000, SYN),
    "SYN-FIN": tcp(40000, 22, SYN | FIN),
    "FIN": tcp(40000, 22, FIN),
    "NULL": tcp(40000, 22, 0),
    "Xmas": tcp(40000, 22, FIN | PSH | URG),
    "SYN over IPv6": tcp(40000, 22, SYN, SOURCE6),
    "SYN behind destination options": frame(
        60, b"\6\0\1\4" + bytes(4) + segment(40000, 22, SYN), SOURCE6
    ),
    "SYN in an IPv6 fragment": frame(44, b"\6\0\0\1" + bytes(4) + segment(40000, 22, SYN), SOURCE6),
    "SYN dropped as scrub": tcp(40000, 22, SYN, action=2, reason=4),
    "SYN dropped as pass, ip-option": tcp(40000, 22, SYN, action=0, reason=8),
    "tiny first fragment": frame(6, segment(40000, 22, SYN)[:8], offset=0x2000),
    "TCP cut behind the ports": frame(6, segment(40000, 22, SYN)[:4], SOURCE6, length=24),
    "SCTP INIT": sctp(40000, 80, 1),
    "UDP to a reserved port": udp(40000, 161),
    "UDP from 53 to a reserved port": udp(53, 161),
    "UDP from 53 to a service": udp(53, 1434),
    "UDP to a registered port": udp(40000, 5684),
    "UDP from 53 to 53": udp(53, 53),
    "SYN from port 20 to a service": tcp(20, 3389, SYN),
    "SYN with options where traceroute goes": frame(6, segment(40000, 33440, SYN, b"", MSS)),
    "cut TCP from 53 to a service": frame(6, segment(53, 22, SYN)[:4], SOURCE6, length=20),
    "UDP over IPv6": udp(40000, 161, SOURCE6),
}  # fmt: skip

AGGRESSIVE = {
    "ACK": tcp(40000, 22, ACK),
    "ACK from port 53": tcp(53, 22, ACK),
    "Maimon": tcp(40000, 22, FIN | ACK),
    "SYN-ACK to a service": tcp(40000, 22, SYN | ACK),
    "all flags": tcp(40000, 50000, 0x3F),
    "SYN-RST": tcp(40000, 50000, SYN | RST),
    "echo request": echo(),
    "echo request over IPv6": echo(SOURCE6),
    "unknown protocol": frame(99, b""),
    "unknown protocol over IPv6": frame(99, b"", SOURCE6),
    "SCTP COOKIE ECHO": sctp(40000, 80, 10),
}

ANY = {
    "RST": tcp(40000, 22, RST),
    "RST-ACK": tcp(40000, 22, RST | ACK),
    "late data": frame(6, segment(40000, 22, PSH | ACK, b"ls\n", TIMESTAMP)),
    "late FIN with options": frame(6, segment(40000, 22, FIN | ACK, b"", TIMESTAMP)),
    "late FIN of Windows": tcp(50000, 443, FIN | ACK),
    "late answer of a web server": tcp(443, 30000, FIN | ACK),
    "late answer to OpenBSD": tcp(443, 3000, ACK),
    "late answer of NFS": tcp(2049, 800, ACK),
    "SYN-ACK backscatter": frame(6, segment(443, 3000, SYN | ACK, b"", MSS)),
    "SYN-ACK of a game server": tcp(25600, 30000, SYN | ACK),
    "cut TCP from 443": frame(6, segment(443, 800, ACK)[:4], SOURCE6, length=20),
    "cut TCP to 443": frame(6, segment(40000, 443, ACK)[:4], SOURCE6, length=20),
    "active FTP": tcp(20, 40000, SYN),
    "late answer of a resolver": udp(53, 30000),
    "late answer of a resolver, OpenBSD": udp(53, 3000),
    "late QUIC": udp(443, 55555, SOURCE6),
    "NTP peer": udp(123, 123),
    "late answer of NFS over UDP": udp(2049, 800),
    "traceroute": udp(34061, 33434),
    "traceroute6": udp(57308, 33478, SOURCE6),
    "mtr": udp(4711, 33001),
    "tracepath": udp(40000, 44450),
    "peer to peer": udp(6881, 51413),
    "media": udp(20000, 16384),
    "IKE": udp(4500, 4500),
    "NetBIOS broadcast": udp(40000, 137, SOURCE, "10.99.0.255"),
    "mDNS": udp(40000, 5353, SOURCE, "224.0.0.251"),
    "SSDP over IPv6": udp(40000, 1900, SOURCE6, "ff02::c"),
    "echo request to all": echo(SOURCE, "224.0.0.1"),
    "echo reply": frame(1, bytes(8)),
    "ICMP unreachable": frame(1, b"\3\3" + bytes(34)),
    "neighbour solicitation": frame(58, b"\x87" + bytes(23), SOURCE6, "ff02::1:ff00:2"),
    "later fragment": frame(6, bytes(8), offset=1),
    "later IPv6 fragment": frame(44, b"\6\0\0\x08" + bytes(12), SOURCE6),
    "IGMP": frame(2, b"\x11" + bytes(7), SOURCE, "224.0.0.1"),
    "ESP": frame(50, bytes(40)),
    "GRE": frame(47, bytes(8)),
    "SCTP ABORT": sctp(40000, 80, 6),
    "FreeBSD's traceroute -P tcp": tcp(40000, 33440, SYN),
    "FreeBSD's traceroute -P sctp": sctp(40000, 33440, 1),
    "late CoAP to OpenBSD": udp(5683, 3000),
}

NEVER = {
    "passed": tcp(40000, 22, SYN, action=0),
    "matched": tcp(40000, 22, SYN, action=12),
    "outbound": tcp(40000, 22, SYN, direction=2),
    "DHCP discover": udp(68, 67, "0.0.0.0", "255.255.255.255"),
    "loopback": tcp(40000, 22, SYN, "127.0.0.1"),
    "multicast source": tcp(40000, 22, SYN, "224.0.0.1"),
    "link-local": tcp(40000, 22, SYN, "fe80::42"),
    "unspecified": frame(58, b"\x87" + bytes(23), "::", "ff02::1:ff00:2"),
    "IPv4 embedded in IPv6": tcp(40000, 22, SYN, "::ffff:198.51.100.7"),
    "the host itself": tcp(22, 22, SYN, HOST, HOST),
    "the host itself, without ports": frame(99, b"", HOST, HOST),
    "IP version 7": tcp(40000, 22, SYN)[:72] + b"\x75" + tcp(40000, 22, SYN)[73:],
}


@pytest.mark.parametrize(
    ("expected", "packet"),
    [
        pytest.param(expected, packet, id=f"{expected.name} {name}")
        for expected, table in zip(Rank, (NORMAL, AGGRESSIVE, ANY, NEVER))
        for name, packet in table.items()
    ],
)
def test_each_kind_of_packet_has_its_rank(ranker: Ranker, expected: Rank, packet: bytes) -> None:
    """The lowest mode that counts each kind of packet, on raw bytes and on text."""
    assert rank(packet) == expected
    assert ranker.rank(Formatter("<").line(packet)) == expected


# -- Both say the same -------------------------------------------------------------------


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_filter_and_rank_agree_on_every_captured_packet(ranker: Ranker, capture: Path) -> None:
    """For real packets, whole and cut: a mode's expressions match if the rank says so."""
    for order, packet in frames(capture):
        assert_agree(ranker, packet, Formatter(order).line(packet))


def test_filter_and_rank_agree_on_every_flag(ranker: Ranker) -> None:
    """All 256 combinations of flags, from and to a few telling ports."""
    for flags in range(256):
        for sport, dport in ((40000, 22), (80, 22), (80, 40000), (20, 2000), (40000, 443)):
            packet = tcp(sport, dport, flags)
            assert_agree(ranker, packet, Formatter("<").line(packet))


def test_filter_and_rank_agree_on_every_port(ranker: Ranker) -> None:
    """Each port that a table names, its neighbours and the edges, as source and as target."""
    tables = (scan.SERVICES, scan.TARGETS, scan.UDP_TARGETS, scan.SERVED)
    named = {port + step for table in tables for port in table for step in (-1, 0, 1)}
    edges = (0, 1, 20, 21, 111, 511, 512, 599, 999, 1000, 1022, 1023, 1024, 9999, 10000, 65535)
    for port in sorted(named.union(edges)):
        for packet in (
            udp(port, 600),
            udp(port, 9000),
            udp(port, 1434),
            udp(53, port),
            udp(40000, port),
            tcp(port, 500, ACK),
            tcp(40000, port, ACK),
            tcp(port, 25, SYN | ACK),
            tcp(40000, port, SYN | ACK),
            frame(6, segment(40000, port, 0)[:4], SOURCE6, length=20),
            frame(6, segment(port, 25, 0)[:4], SOURCE6, length=20),
            frame(132, struct.pack(">HHQ", 40000, port, 0), length=32),
        ):
            assert_agree(ranker, packet, Formatter("<").line(packet))


def test_filter_and_rank_agree_on_damaged_packets(ranker: Ranker) -> None:
    """Bytes changed at random and frames cut anywhere: what the text tells, the rank tells.

    But for IPv6 hop-by-hop options: where these are broken the text ends, and the rank,
    which does not look into them, may only be lower (one line more, that nobody counts).
    """
    chance = random.Random(7)
    formatter = Formatter("<")
    originals = [packet for table in (NORMAL, AGGRESSIVE, ANY) for packet in table.values()]
    for _ in range(4000):
        packet = bytearray(chance.choice(originals))
        for _ in range(chance.randrange(3)):
            packet[chance.randrange(72, len(packet))] = chance.choice((0, 1, 6, 17, 44, 60, 255))
        if chance.random() < 0.5:
            del packet[chance.randrange(72, len(packet)) :]
        line = formatter.line(bytes(packet))
        if "HBH" in line:
            assert rank(bytes(packet)) <= ranker.rank(line)
        else:
            assert_agree(ranker, bytes(packet), line)


def test_tables_of_ports_are_those_of_the_filter() -> None:
    """scan.py's tables stand in the filter's expressions, port by port."""
    text = (CONFIG / "filter.d" / "pflog.conf").read_text()
    for name in ("SERVICES", "TARGETS", "UDP_TARGETS", "SERVED", "FEIGNED"):
        ports = "|".join(map(str, getattr(scan, name)))
        assert f"_{name.lower()} = (?:{ports})\n" in text
    traced = re.search(r"^_traced = (.*)$", text, re.MULTILINE)
    assert traced is not None
    matched = [port for port in range(65536) if re.fullmatch(traced[1], str(port))]
    assert matched == list(scan.TRACED)


# -- Frames that are none ----------------------------------------------------------------


def test_no_frame_of_whatever_length_raises() -> None:
    """Every frame cut at every byte, and noise, is read or refused, and never raises."""
    chance = random.Random(7)
    for table in (NORMAL, AGGRESSIVE, ANY, NEVER):
        for packet in table.values():
            for end in range(len(packet)):
                scan.read(packet[:end])
    for _ in range(2000):
        scan.read(chance.randbytes(chance.randrange(160)))


def test_without_a_pflog_header_there_is_nothing_to_read() -> None:
    """Too short a frame, and a header length that pf never wrote, are told as unreadable."""
    assert scan.read(b"") is None
    assert scan.read(bytes(200)) is None
    assert scan.read(tcp(40000, 22, SYN)[:71]) is None


def test_directions_are_selected_as_the_filter_does() -> None:
    """`direction=out` counts outbound packets and no others; `in|out` both."""
    outbound, inbound = tcp(40000, 22, SYN, direction=2), tcp(40000, 22, SYN)
    out, both = scan.directions("out"), scan.directions("in|out")
    assert scan.read(inbound, out) is NOTHING
    assert scan.read(outbound, out) == scan.read(inbound)
    assert scan.read(outbound, both) == scan.read(inbound, both)


# -- The kernel's filter -----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_kernel_filter_drops_nothing_that_counts(mode: str, capture: Path) -> None:
    """Compiled for pflog, the mode's expression lets every packet pass that the mode counts."""
    pcapy = pytest.importorskip("pcapy")
    try:
        program = pcapy.BPFProgram(KERNEL_FILTER[mode], 117)
    except pcapy.PcapError as error:  # pcapy-ng's wheels carry a libpcap without pf
        pytest.skip(f"pcap-filter has no pf primitives here: {error}")
    dropped = 0
    for _, packet in frames(capture):
        passes = bool(program.filter(packet))
        assert passes or rank(packet) > MODES[mode]
        dropped += not passes
    assert dropped or "bystanders" not in capture.name
