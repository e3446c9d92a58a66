# SPDX-License-Identifier: GPL-2.0-or-later
"""What one dropped packet looks like: ``Packet`` -> a named reason, and the lowest mode for it.

A scan asks; honest packets that pf drops are mostly answers, or late.  TCP tells them
apart by its flags: who opens a connection sends SYN alone, what is late has ACK or RST.
Where nothing tells them apart (UDP, TCP of which the snaplen left only the ports, plain
ACKs, SYNs of an ordinary system to no known service) the port it goes to does: answers
go to ports that this host's system picked at random from ``FIRST_UNRESERVED`` up, scans
to reserved ports and known services.  What goes to neither is a *stray*.  One stray says
nothing; what a source's strays say together is for ``conduct``.

Each reason stands here once, with its mode, what is counted of it and its words; the
table in docs/jails.md is made from them (a test holds that).

    a new kind of packet          a ``Reason`` and the line of ``reason`` that returns it
    another port that is known    ``TCP_SERVICES``, ``UDP_SERVICES``
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from .packet import BROKEN, CHAINED, FIRST, ICMP, ICMP6, LATER, SCTP, TCP, UDP, Packet

__all__ = [
    "DIRECTIONS",
    "INBOUND",
    "KERNEL_FILTERS",
    "MODES",
    "REASONS",
    "Count",
    "Rank",
    "Reason",
    "directions",
    "reason",
]


class Rank(IntEnum):
    """The lowest mode that counts a packet; NEVER: none does."""

    NORMAL = 0
    AGGRESSIVE = 1
    ANY = 2
    NEVER = 3


MODES = {"normal": Rank.NORMAL, "aggressive": Rank.AGGRESSIVE, "any": Rank.ANY}

NORMAL, AGGRESSIVE, ANY, NEVER = Rank


class Count(IntEnum):
    """What makes two packets of a source count as two."""

    TARGET = 0
    """Another port, protocol or host."""
    PORT = 1
    """Another port or protocol: it may be late, and late packets go to few ports of many hosts."""


class Reason:
    """Why a packet counts, or does not.

    name: in capitals, for programs.  rank: the lowest mode that counts it.
    words: for people; they follow "counts:" or "let be:".
    count: what is counted of it.
    asks: from which mode on ``conduct`` has to look at its source.
    stray: whether alone it says nothing; ``conduct`` may find a better reason:
    walks: below which port its source may be walking.  sweeps: whether it may be sweeping.
    opens: whether it opens a TCP connection, which answers do not.
    """

    __slots__ = ("asks", "count", "name", "opens", "rank", "stray", "sweeps", "walks", "words")

    def __init__(
        self,
        name: str,
        rank: Rank,
        words: str,
        count: Count = Count.TARGET,
        asks: Rank = Rank.NEVER,
        walks: int = 0,
        sweeps: bool = False,
        opens: bool = False,
    ) -> None:
        self.name = name
        self.rank = rank
        self.words = words
        self.count = count
        self.asks = asks
        self.stray = asks < rank
        self.walks = walks
        self.sweeps = sweeps
        self.opens = opens
        REASONS[name] = self

    def __repr__(self) -> str:
        """Its name."""
        return self.name

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """There is one of each, in every process."""
        return _named, (self.name,)


REASONS: dict[str, Reason] = {}
"""All reasons by name, in the order of the documents' table."""


def _named(name: str) -> Reason:
    return REASONS[name]


FIRST_EPHEMERAL = 10_000
"""From here on FreeBSD, Linux and Windows pick ports for their own connections, often one after
the other, and telephones ports for their media in pairs: a walk up there may be theirs."""

ALL = 65_536

# -- normal: what only a scan sends
SYN = Reason("SYN", NORMAL, "TCP SYN: opens a connection", asks=NORMAL, opens=True)
ODD_FLAGS = Reason("ODD_FLAGS", NORMAL, "TCP FIN, NULL, Xmas: no flags that a connection has")
SCTP_INIT = Reason("SCTP_INIT", NORMAL, "SCTP INIT: opens an association")
UDP_SERVICE = Reason(
    "UDP_SERVICE", NORMAL, "UDP to a reserved port or a known service", asks=NORMAL
)
SIP = Reason("SIP", NORMAL, "UDP from port 5060 to 5060: asks for a telephone")
TCP_OPENING = Reason(
    "TCP_OPENING",
    NORMAL,
    "TCP with flags unknown and a SYN's length, to a reserved port or a known service",
    asks=NORMAL,
    opens=True,
)
TCP_BARE_OPENING = Reason(
    "TCP_BARE_OPENING",
    NORMAL,
    "TCP with flags unknown and a plain SYN's length, from no service, and nothing else came",
    asks=NORMAL,
)
TCP_SERVICE = Reason(
    "TCP_SERVICE",
    NORMAL,
    "TCP with flags unknown, to a reserved port or a known service",
    Count.PORT,
    asks=NORMAL,
)
NEAR_END = Reason(
    "NEAR_END",
    NORMAL,
    "TCP SYN or UDP to a service, with few hops to go but no traceroute",
    asks=NORMAL,
)
WALK = Reason("WALK", NORMAL, "to a port beside two others that the source tried", Count.PORT)
SWEEP = Reason("SWEEP", NORMAL, "to a port that the source tried on another host, too")
OPENS_ALL = Reason(
    "OPENS_ALL", NORMAL, "opens a connection to no known service, and others to services"
)

# -- aggressive: what a late packet may look like, and what asks for hosts
ACK_PROBE = Reason(
    "ACK_PROBE",
    AGGRESSIVE,
    "TCP ACK or FIN-ACK without data and options, to a reserved port or a known service",
    Count.PORT,
    asks=AGGRESSIVE,
)
SYN_ACK_PROBE = Reason(
    "SYN_ACK_PROBE",
    AGGRESSIVE,
    "TCP SYN-ACK to a reserved port or a known service",
    Count.PORT,
    asks=AGGRESSIVE,
)
IMPOSSIBLE_FLAGS = Reason("IMPOSSIBLE_FLAGS", AGGRESSIVE, "TCP flags that never go together")
SCTP_COOKIE = Reason("SCTP_COOKIE", AGGRESSIVE, "SCTP COOKIE ECHO")
ECHO_REQUEST = Reason("ECHO_REQUEST", AGGRESSIVE, "echo request")
ICMP_QUESTION = Reason("ICMP_QUESTION", AGGRESSIVE, "ICMP time stamp, mask or information request")
PROTOCOL = Reason("PROTOCOL", AGGRESSIVE, "an IP protocol that nobody speaks")

# -- any: what honest hosts send, or may have sent
LATE_PACKET = Reason("LATE_PACKET", ANY, "a late packet of a TCP connection", asks=AGGRESSIVE)
LATE_PLAIN = Reason(
    "LATE_PLAIN",
    ANY,
    "a TCP SYN-ACK, or ACK without data and options, to a port of this host's own",
    asks=AGGRESSIVE,
)
RESET = Reason("RESET", ANY, "TCP RST: a late packet or backscatter")
LATE_ANSWER = Reason(
    "LATE_ANSWER",
    ANY,
    "UDP from a service to a port of this host's own: an answer",
    asks=NORMAL,
    walks=FIRST_EPHEMERAL,
)
STRAY_UDP = Reason(
    "STRAY_UDP",
    ANY,
    "UDP from a port of its own to one of this host's own: media, peers, an answer",
    asks=NORMAL,
    walks=FIRST_EPHEMERAL,
    sweeps=True,
)
LATE_SEGMENT = Reason(
    "LATE_SEGMENT",
    ANY,
    "TCP with flags unknown, to a port of this host's own",
    asks=NORMAL,
    walks=FIRST_EPHEMERAL,
)
RAW_OPENING = Reason(
    "RAW_OPENING",
    ANY,
    "TCP with flags unknown and a plain SYN's length, to no known service",
    asks=NORMAL,
    walks=ALL,
    sweeps=True,
    opens=True,
)
CLIENT = Reason("CLIENT", ANY, "may be a late packet, and its source sends data as well")
CHANCE = Reason(
    "CHANCE", ANY, "to a known port, but the source's packets go to ports all over the range"
)
CALL_BACK = Reason(
    "CALL_BACK",
    ANY,
    "an ordinary system's TCP SYN to no known service: active FTP, calls back",
    asks=NORMAL,
    walks=FIRST_EPHEMERAL,
    sweeps=True,
    opens=True,
)
TRACEROUTE = Reason("TRACEROUTE", ANY, "traceroute, mtr, tracepath")
PEER = Reason(
    "PEER",
    ANY,
    "UDP between equal ports: time servers, tunnels, routers",
    asks=NORMAL,
    walks=FIRST_EPHEMERAL,
)
RPC_ANSWER = Reason("RPC_ANSWER", ANY, "an answer of NFS or the port mapper")
FRAGMENT = Reason("FRAGMENT", ANY, "a later fragment, which tells no port")
BROADCAST = Reason("BROADCAST", ANY, "broadcast or multicast")
ICMP_OTHER = Reason("ICMP_OTHER", ANY, "ICMP errors and answers")
OTHER = Reason("OTHER", ANY, "another protocol, or ports that were not captured")

# -- never: nobody is to blame, or nobody can be
PASSED = Reason("PASSED", NEVER, "pf did not drop it")
OTHER_DIRECTION = Reason("OTHER_DIRECTION", NEVER, "went the other way")
NOBODY = Reason(
    "NOBODY", NEVER, "from an address that nobody can ban: 0/8, loopback, link-local, this host"
)
UNREADABLE = Reason("UNREADABLE", NEVER, "no IP packet that makes sense")

# -- Directions ---------------------------------------------------------------------------

DIRECTIONS = {"in": 1, "out": 2, "in/out": 0, "fwd": 3}
INBOUND = frozenset({DIRECTIONS["in"]})


def directions(text: str) -> frozenset[int]:
    """Return the header's numbers of ``in``, ``out`` or ``in|out``, as the filter has them.

    Raises ValueError for anything else.
    """
    names = text.split("|")
    if not DIRECTIONS.keys() >= set(names):
        raise ValueError(f"direction={text}: must be of {', '.join(DIRECTIONS)}, with | between")
    return frozenset(DIRECTIONS[name] for name in names)


# -- The kernel's share -------------------------------------------------------------------

# What the kernel can leave out before anybody looks: whatever was not dropped or did not
# come in, and for `normal` the plain TCP segments with ACK or RST.  IPv4 without options
# only (0x45, tcp[13] needs 34 bytes and reading behind the end refuses a packet); of IPv6
# pcap-filter knows nothing on Linux.  `inbound` reads the direction where headers of 61
# bytes and more have it.  Old libpcaps (1.9.1) have no `action scrub`.
_DROPPED = "inbound and (not action pass or not reason match)"
_LATE = (
    "(ip[0] = 0x45 and ip[9] = 6 and ip[6:2] & 0x1fff = 0 and ip[2:2] >= 40"
    " and tcp[13] & 0x14 != 0)"
)
KERNEL_FILTERS = {
    "normal": (f"{_DROPPED} and not {_LATE}", _DROPPED, "inbound"),
    "aggressive": (_DROPPED, "inbound"),
    "any": (_DROPPED, "inbound"),
}
"""Mode -> pcap-filter expressions that drop only what the mode never counts, best first."""

# -- Ports ---------------------------------------------------------------------------------

FIRST_UNRESERVED = 1024
"""Below it only root listens, and no system picks ports for its own connections."""

TCP_SERVICES = (
    1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1038, 1039, 1041, 1044, 1048, 1049, 1053, 1054,
    1056, 1064, 1065, 1066, 1069, 1071, 1080, 1099, 1110, 1433, 1434, 1521, 1720, 1723, 1755, 1801,
    1883, 1900, 2000, 2001, 2049, 2103, 2105, 2107, 2121, 2222, 2375, 2376, 2379, 2380, 2601, 2717,
    2869, 2967, 3000, 3001, 3128, 3268, 3306, 3389, 3689, 3703, 3986, 4001, 4443, 4444, 4786, 4899,
    5000, 5001, 5009, 5050, 5051, 5060, 5061, 5101, 5120, 5190, 5357, 5432, 5555, 5601, 5631, 5666,
    5672, 5800, 5900, 5901, 5984, 5985, 5986, 6000, 6001, 6004, 6379, 6443, 6646, 6667, 7000, 7001,
    7070, 7547, 8000, 8001, 8002, 8008, 8009, 8010, 8031, 8080, 8081, 8082, 8083, 8086, 8089, 8090,
    8161, 8181, 8291, 8443, 8500, 8545, 8728, 8880, 8888, 8983, 9000, 9001, 9042, 9090, 9092, 9100,
    9102, 9200, 9300, 9443, 9600, 9999, 10000, 10010, 10250, 11211, 15672, 20000, 27017, 27018,
    28017,
)  # fmt: skip
"""What scans ask for from 1024 up: the ports below 32768 among nmap-services' 150 most often
open ones (nmap 7.93), and what came into fashion since: data bases, containers, consoles."""

UDP_SERVICES = (
    1025, 1026, 1027, 1028, 1029, 1030, 1194, 1433, 1434, 1604, 1645, 1646, 1701, 1718, 1719, 1812,
    1813, 1900, 2000, 2048, 2049, 2123, 2152, 2222, 2223, 2302, 3283, 3389, 3456, 3478, 3544, 3702,
    3703, 4444, 4500, 5000, 5004, 5060, 5061, 5093, 5351, 5353, 5355, 5632, 5683, 7547, 8125, 9200,
    9987, 10000, 10001, 11211, 17185, 17500, 19132, 20000, 20031, 27015, 27960, 30120, 30718, 31337,
    32414, 32771, 34964, 37810, 41794, 44818, 47808, 48899, 64738,
)  # fmt: skip
"""The same for UDP: those below 32768 among nmap-services' 100 most often open ones, and what
amplifies, controls machines or plays games."""

SERVED = (80, 443, 465, 587, 993)
"""Where most late packets of honest clients go."""

_RPC = (111, 2049)  # answers go to the reserved ports that bindresvport picks
_FIRST_RPC_CLIENT = 512
_DOMAIN, _SIP = 53, 5060

TRACED = range(33434, 33700)
"""Where traceroute counts its probes up from, over UDP, with the BSDs' -P also TCP and SCTP."""

SIP_PORTS = range(5060, 5091)
"""Where telephones listen that share an address."""

LOW_TTL = 30
"""What comes with no more hops to go may be a traceroute's, which begins at 1 and ends at 30;
systems begin at 64, 128 or 255, nmap at 37 and up."""

RAW_SYN, OWN_SYN = 24, 28
"""Bytes of a TCP header: nmap's SYN has 24, with MSS alone, that of most scanners 20; the shortest
that a system's own stack sends has 28."""

OPENINGS = frozenset({RAW_SYN, OWN_SYN, 40})
"""What SYNs have and late packets have not: these carry data, or no options but time stamps."""


def _table(*ports: Iterable[int]) -> bytes:
    """65536 bytes, 1 where a port is among those given: the fastest look-up there is."""
    table = bytearray(65536)
    for some in ports:
        for port in some:
            table[port] = 1
    return bytes(table)


_RESERVED = range(FIRST_UNRESERVED)
_TCP_SERVICE = _table(_RESERVED, TCP_SERVICES)
_UDP_SERVICE = _table(_RESERVED, UDP_SERVICES, SIP_PORTS)
_SERVED = _table(SERVED)

# -- Packets -------------------------------------------------------------------------------

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_TCP_SIZE, _SCTP_SIZE = 20, 12
_SCTP_REASONS = {1: SCTP_INIT, 10: SCTP_COOKIE}
_ICMP_OF = frozenset({(ICMP, 4), (ICMP6, 6)})
_ECHO, _ECHO_6 = 8, 128
_QUESTIONS = frozenset({13, 15, 17})  # time stamp, information, mask

# Protocols that are spoken between hosts and routers: tunnels (4, 41, 47, 94, 97, 115, 137, 143),
# routing (2, 3, 46, 88, 89, 103, 112, 113, 124), security and transport.  An IP protocol scan
# asks for all the others as well.
_SPOKEN = frozenset(
    {1, 2, 3, 4, 6, 17, 33, 41, 46, 47, 50, 51, 58, 59, 88, 89, 94, 97, 103, 108, 112, 113, 115}
    | {124, 132, 136, 137, 143}
)


def reason(  # noqa: C901 - one pass: a call for each layer would cost a tenth of it
    packet: Packet, frame: bytes, wanted: frozenset[int] = INBOUND
) -> Reason:
    """Tell what a packet looks like.

    frame: what ``packet`` was decoded from.  wanted: the directions that count.
    Never raises.
    """
    (
        head, source, destination, protocol, ttl, length, _, _, sport, dport, kind, header, traits,
    ) = packet  # fmt: skip
    if head.direction not in wanted:
        return OTHER_DIRECTION
    if not head.dropped:
        return PASSED
    if traits & BROKEN:
        return UNREADABLE
    first = source[0]
    if head.version == 4:
        # Nobody can ban 0/8, loopback, multicast and reserved sources, nor the host itself.
        if first == 0 or first == 127 or first >= 224 or source == destination:
            return NOBODY
        if destination[0] >= 224 or (destination[3] == 255 and protocol not in (TCP, SCTP)):
            return BROADCAST
    else:
        # Nor ::, ::1, embedded IPv4, link-local and multicast.
        if (
            not (first or source[1])
            or (first == 0xFE and source[1] & 0xC0 == 0x80)
            or first == 0xFF
            or source == destination
        ):
            return NOBODY
        if destination[0] == 0xFF:
            return BROADCAST
    if protocol == TCP:
        if kind < 0:
            return _cut_tcp(sport, dport, ttl, length, traits)
        return _tcp(sport, dport, ttl, length, kind, header)
    if protocol == UDP:
        return _udp(sport, dport, ttl, traits)
    if protocol == SCTP:
        return _sctp(packet, frame)
    return _other(packet)


def _other(packet: Packet) -> Reason:
    """Judge what has no ports."""
    protocol, version, kind = packet.protocol, packet.head.version, packet.kind
    if packet.traits & LATER:
        return FRAGMENT
    if (protocol, version) in _ICMP_OF:
        if kind == (_ECHO if protocol == ICMP else _ECHO_6):
            return TRACEROUTE if packet.ttl <= LOW_TTL else ECHO_REQUEST
        return ICMP_QUESTION if protocol == ICMP and kind in _QUESTIONS else ICMP_OTHER
    if protocol in _SPOKEN or (packet.traits & CHAINED and not packet.start):
        return OTHER
    return TRACEROUTE if packet.ttl <= LOW_TTL else PROTOCOL


def _tcp(sport: int, dport: int, ttl: int, length: int, kind: int, header: int) -> Reason:
    flags = kind & 0x3F  # without ECN's, which an honest SYN may carry
    if not flags & (_ACK | _RST):
        return _syn(dport, ttl, header) if flags == _SYN else ODD_FLAGS
    if flags & _SYN and flags & (_FIN | _RST):
        return IMPOSSIBLE_FLAGS
    if flags & _RST:
        return RESET
    if flags & _SYN:
        return SYN_ACK_PROBE if _TCP_SERVICE[dport] else LATE_PLAIN
    # ACK, window, Maimon: no data and no options, which late packets mostly have.
    if header != _TCP_SIZE or length != _TCP_SIZE or _SERVED[dport]:
        return LATE_PACKET
    if sport in _RPC and _FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
        return RPC_ANSWER
    return ACK_PROBE if _TCP_SERVICE[dport] else LATE_PLAIN


def _syn(dport: int, ttl: int, header: int) -> Reason:
    if header < OWN_SYN:
        # FreeBSD's `traceroute -P tcp` counts ports up as that over UDP does.
        if ttl <= LOW_TTL and dport in TRACED:
            return TRACEROUTE
    elif not _TCP_SERVICE[dport]:
        return TRACEROUTE if ttl <= LOW_TTL else CALL_BACK
    return SYN if ttl > LOW_TTL else NEAR_END


def _cut_tcp(sport: int, dport: int, ttl: int, length: int, traits: int) -> Reason:
    """Judge a segment whose flags are unknown by its length: it may be a late one, or backscatter.

    Either the savefile was cut (FreeBSD's pflogd leaves of IPv6 TCP only the ports) or
    the packet is a tiny first fragment (`nmap -f`).
    """
    if dport < 0:
        return FRAGMENT if traits & LATER else OTHER
    if traits & FIRST:
        return TCP_SERVICE if _TCP_SERVICE[dport] else LATE_SEGMENT
    if _TCP_SERVICE[dport]:
        if ttl <= LOW_TTL:
            return NEAR_END
        if length in OPENINGS:
            return TCP_OPENING
        if sport in _RPC and _FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
            return RPC_ANSWER
        return LATE_PACKET if _SERVED[dport] else TCP_SERVICE
    if ttl <= LOW_TTL:
        return TRACEROUTE
    if length == RAW_SYN:
        return RAW_OPENING if _TCP_SERVICE[sport] else TCP_BARE_OPENING
    return CALL_BACK if length in OPENINGS else LATE_SEGMENT


def _udp(sport: int, dport: int, ttl: int, traits: int) -> Reason:
    if dport < 0:
        return FRAGMENT if traits & LATER else OTHER
    if sport == dport:
        # Time servers, relays, NetBIOS, IKE, tunnels; but svmap asks from 5060.
        if dport == _SIP:
            return SIP
        return UDP_SERVICE if dport == _DOMAIN else PEER
    if _UDP_SERVICE[dport]:
        if sport in _RPC and _FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
            return RPC_ANSWER
        return UDP_SERVICE if ttl > LOW_TTL else NEAR_END
    if ttl <= LOW_TTL or dport in TRACED:
        return TRACEROUTE
    return LATE_ANSWER if _UDP_SERVICE[sport] else STRAY_UDP


def _sctp(packet: Packet, frame: bytes) -> Reason:
    """Judge by the first chunk."""
    at = packet.start + _SCTP_SIZE
    if packet.traits & LATER or packet.dport < 0:
        return FRAGMENT if packet.traits & LATER else OTHER
    if packet.dport in TRACED and packet.ttl <= LOW_TTL:
        return TRACEROUTE
    if at < packet.end:
        return _SCTP_REASONS.get(frame[at], OTHER)
    return TCP_SERVICE if _TCP_SERVICE[packet.dport] else LATE_SEGMENT
