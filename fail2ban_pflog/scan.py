"""Which packets only a scan sends: a frame's raw bytes -> the lowest mode that counts it.

Three things tell a scan from honest packets that pf drops, too: TCP flags (who opens a
connection sends SYN alone; what is late has ACK or RST), the port it comes from (answers
come from a service's port) and the port it goes to (answers go to the ports that this
host's system picks for its own connections; late packets of clients go to a few ports
that are served).  ``config/filter.d/pflog.conf`` says the same in regular expressions, for
those who only have the text; the tests hold the two together: for every packet the
filter's expressions of a mode match the formatter's line if, and only if, the mode is not
below the packet's rank.

Ephemeral ports are FreeBSD 10000-65535, OpenBSD 1024-49151, Linux 32768-60999 (their
kernels' defaults); traceroute's UDP goes to 33434 and up, mtr's to 33000 and up,
tracepath's to 44444 and up.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple, Optional

from .header import AF_INET, AF_INET6, MIN_LENGTH

__all__ = [
    "DIRECTIONS",
    "INBOUND",
    "KERNEL_FILTER",
    "MODES",
    "NOTHING",
    "Packet",
    "Rank",
    "directions",
    "read",
]


class Rank(IntEnum):
    """The lowest mode that counts a packet; NEVER: none does."""

    NORMAL = 0
    AGGRESSIVE = 1
    ANY = 2
    NEVER = 3


MODES = {"normal": Rank.NORMAL, "aggressive": Rank.AGGRESSIVE, "any": Rank.ANY}

_NORMAL, _AGGRESSIVE, _ANY, _NEVER = Rank

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


# What the kernel can leave out before anybody looks: whatever was not dropped or did not
# come in, and for `normal` the plain TCP segments with ACK or RST.  IPv4 without options
# only (0x45, tcp[13] needs 34 bytes and reading behind the end refuses a packet); of IPv6
# pcap-filter knows nothing on Linux.  `inbound` reads the direction where headers of 61
# bytes and more have it.
_DROPPED = "inbound and (action block or action scrub or (action pass and not reason match))"
KERNEL_FILTER = {
    "normal": f"{_DROPPED} and not (ip[0] = 0x45 and ip[9] = 6 and ip[6:2] & 0x1fff = 0"
    " and ip[2:2] >= 40 and tcp[13] & 0x14 != 0)",
    "aggressive": _DROPPED,
    "any": _DROPPED,
}
"""Mode -> pcap-filter expression that drops only what the mode never counts."""

# -- Ports ------------------------------------------------------------------------------

FIRST_UNRESERVED = 1024
"""Below it only root listens; what comes from there answers, what goes there asks."""

FIRST_EPHEMERAL = 10000
"""Below it FreeBSD and Linux do not pick ports for their own connections."""

SERVICES = (
    1080, 1194, 1433, 1521, 1701, 1723, 1812, 1813, 1883, 1900, 1935, 2049, 2083, 2087, 2096, 2222,
    3000, 3128, 3306, 3389, 3478, 3479, 3480, 3481, 3544, 4444, 4500, 5000, 5060, 5061, 5222, 5228,
    5269, 5349, 5353, 5355, 5432, 5671, 5672, 5683, 5900, 6379, 6443, 6667, 6697, 6881, 6969, 7000,
    8000, 8008, 8080, 8081, 8333, 8443, 8444, 8853, 8883, 8888, 9000, 9001, 9090, 9100, 9200, 9418,
    9443, 9987, 9993, 10000, 11211, 19132, 19302, 22000, 25565, 27005, 27015, 27016, 27017, 27036,
    30303, 32400, 41641, 47808, 51413, 51820, 64738,
)  # fmt: skip
"""Ports from 1024 up that answers come from: VPN, STUN, games, peers, data bases, proxies."""

TARGETS = (
    1025, 1080, 1433, 1434, 1521, 1720, 1723, 1883, 1900, 2000, 2049, 2121, 2222, 2375, 3000,
    3128, 3268, 3306, 3389, 4444, 4899, 5000, 5060, 5061, 5432, 5555, 5631, 5800, 5900, 5985,
    6000, 6001, 6379, 6667, 7001, 8000, 8008, 8009, 8080, 8081, 8443, 8888, 9000, 9090, 9100,
    9200, 9999,
)  # fmt: skip
"""Ports from 1024 up that scans ask for: few enough that the spread of a backscatter over
all ports hits none of them often."""

UDP_TARGETS = (1434, 1900, 4500, 5060, 5353, 11211, 49152)
"""The same for UDP, also from a service's port (`nmap -g 53`).  Fewer than any of the
jails' thresholds but that of pflog-strict, which must see five of them in a minute:
however many late answers a resolver sends to ports at random, these alone ban nobody."""

SERVED = (80, 443, 465, 587, 993)
"""Where late packets of clients go that carry no TCP options (Windows sets none)."""

_RPC = (111, 2049)  # answers go to the reserved ports that bindresvport picks
_FIRST_RPC_CLIENT = 512
_FTP_DATA = 20
_DOMAIN = 53

FEIGNED = (20, 53, 67, 88)
"""Ports that scans like to send from (`nmap -g`), where answers over TCP are few."""

TRACED = range(33434, 33700)
"""Where traceroute counts its probes up from, with the BSDs' `-P tcp` and `-P sctp` as well;
nmap's SYNs carry options there, these do not."""


def _table(*ports: Iterable[int]) -> bytes:
    """65536 bytes, 1 where a port is among those given: the fastest look-up there is."""
    table = bytearray(65536)
    for some in ports:
        for port in some:
            table[port] = 1
    return bytes(table)


_RESERVED = range(FIRST_UNRESERVED)
_SERVICE = _table(_RESERVED, SERVICES)
_TARGET = _table(_RESERVED, TARGETS)
_UDP_TARGET = _table(UDP_TARGETS)
_SERVED = _table(SERVED)

# -- Packets ----------------------------------------------------------------------------


class Packet(NamedTuple):
    """What of a packet matters for counting it.

    rank: the lowest mode that counts it.  source, destination: 4 or 16 bytes.
    protocol: of IP, behind extension headers.  port: the destination port as 2 bytes,
    empty where the packet has none or it was not captured.
    """

    rank: Rank
    source: bytes
    destination: bytes
    protocol: int
    port: bytes


NOTHING = Packet(_NEVER, b"", b"", 0, b"")
"""A packet that no mode counts, whoever sent it."""

_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132
_ECHO_REQUEST, _ECHO_REQUEST_6 = 8, 128
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_SCTP_RANKS = {1: _NORMAL, 10: _AGGRESSIVE}  # INIT, COOKIE ECHO

# Protocols that the text has a name for; an IP protocol scan asks for all the others.
_NAMED_6 = frozenset({1, 2, 6, 17, 47, 50, 51, 58, 59, 77, 89, 108, 112, 132})
_NAMED = {6: _NAMED_6, 4: _NAMED_6 | {143}}

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS})
_KNOWN_ROUTING = frozenset({0, 2, 4})

_BLOCK, _SCRUB, _PASS = 1, 2, 0
_MATCH = 0


def read(frame: bytes, wanted: frozenset[int] = INBOUND) -> Optional[Packet]:
    """Tell of a frame as captured, pflog header included, who counts it and what it is.

    wanted: the directions that count.  Returns None where there is no pflog header
    that could be read; the formatter tells what is wrong with it.  Never raises.
    """
    size = len(frame)
    if not size:
        return None
    length = frame[0]
    at = (length + 3) & ~3
    if length < MIN_LENGTH or size < at:
        return None
    if frame[60 if length >= 61 else 44] not in wanted:
        return NOTHING
    action = frame[2]
    # Dropped: block, scrub, and what FreeBSD drops as pass for a reason other than match.
    if action != _BLOCK and action != _SCRUB and (action != _PASS or frame[3] == _MATCH):
        return NOTHING
    family = frame[1]
    if family == AF_INET:
        return _ip4(frame, at, size)
    if family in AF_INET6:
        return _ip6(frame, at, size)
    return NOTHING


def _ip4(frame: bytes, at: int, size: int) -> Packet:
    if size < at + 20 or not 0x45 <= frame[at] <= 0x4F:
        return NOTHING
    header = (frame[at] & 0xF) * 4
    total = frame[at + 2] << 8 | frame[at + 3] or size - at
    if total < header:
        return NOTHING
    source, destination = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    first = source[0]
    # Nobody can ban 0/8, loopback, multicast and reserved sources, nor the host itself.
    if first == 0 or first == 127 or first >= 224 or source == destination:
        return NOTHING
    protocol = frame[at + 9]
    if (frame[at + 6] & 0x1F) or frame[at + 7]:
        return Packet(_ANY, source, destination, protocol, b"")
    end = min(size, at + total)
    inside = at + header
    if inside > end:
        if protocol in (_TCP, _UDP, _SCTP):
            return NOTHING
        return Packet(_ANY, source, destination, protocol, b"")
    rank, port = _payload(frame, inside, end, protocol, total - header, 4, True)
    if rank == _NEVER:
        return NOTHING
    if rank < _ANY and (
        destination[0] >= 224 or (destination[3] == 255 and protocol not in (_TCP, _SCTP))
    ):
        rank = _ANY
    return Packet(rank, source, destination, protocol, port)


def _ip6(frame: bytes, at: int, size: int) -> Packet:
    if size < at + 40 or frame[at] >> 4 != 6:
        return NOTHING
    source, destination = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    # Nobody can ban ::, ::1, embedded IPv4, link-local and multicast, nor the host itself.
    if (
        not (source[0] or source[1])
        or (source[0] == 0xFE and source[1] & 0xC0 == 0x80)
        or source[0] == 0xFF
        or source == destination
    ):
        return NOTHING
    remaining = frame[at + 4] << 8 | frame[at + 5]
    end = min(size, at + 40 + remaining)
    protocol = frame[at + 6]
    plain = protocol not in _EXTENSIONS
    inside = at + 40
    if not plain:
        protocol, inside = _walk(frame, protocol, inside, end)
        if not inside:
            return Packet(_ANY, source, destination, protocol, b"")
        remaining -= inside - at - 40
    rank, port = _payload(frame, inside, end, protocol, remaining, 6, plain)
    if rank == _NEVER:
        return NOTHING
    if destination[0] == 0xFF:
        rank = _ANY
    return Packet(rank, source, destination, protocol, port)


def _walk(frame: bytes, protocol: int, at: int, end: int) -> tuple[int, int]:
    """Walk over IPv6 extension headers: (protocol behind them, where it starts).

    The start is 0 where there is no such place: a later fragment, or cut off.
    """
    while protocol in _EXTENSIONS:
        if at + 8 > end:
            return protocol, 0
        if protocol == _FRAGMENT:
            if frame[at + 2] or frame[at + 3] & 0xF8:
                return frame[at], 0
            size = 8
        elif protocol == _ROUTING and (frame[at + 2] not in _KNOWN_ROUTING or frame[at + 1] & 1):
            return protocol, 0
        else:
            size = (frame[at + 1] + 1) * 8
        protocol = frame[at]
        at += size
    return (protocol, at) if at <= end else (protocol, 0)


def _payload(
    frame: bytes, at: int, end: int, protocol: int, length: int, version: int, plain: bool
) -> tuple[Rank, bytes]:
    """Return rank and destination port of what IP carries from ``at`` to ``end``.

    length: how long it was before it was cut, as IP tells.
    plain: whether it stands directly behind the IP header.
    """
    if protocol in (_TCP, _UDP, _SCTP):
        if protocol == _SCTP and (length < 12 or at + 12 > end):
            return _NEVER, b""  # tcpdump prints no addresses then
        if at + 4 > end:
            return _ANY, b""
        sport, dport = frame[at] << 8 | frame[at + 1], frame[at + 2] << 8 | frame[at + 3]
        if protocol == _UDP:
            rank = _udp(sport, dport)
        elif protocol == _SCTP:
            rank = _sctp(frame, at + 12, end, length - 12, sport, dport) if plain else _ANY
        elif at + 20 > end:
            rank = _cut_tcp(sport, dport)
        else:
            rank = _tcp(frame, at, length, sport, dport)
        return rank, frame[at + 2 : at + 4]
    if protocol == _ICMP:
        counts = version == 4 and at + 8 <= end and frame[at] == _ECHO_REQUEST
    elif protocol == _ICMP6:
        counts = version == 6 and at < end and length > 0 and frame[at] == _ECHO_REQUEST_6
    else:
        counts = protocol not in _NAMED[version]
    return (_AGGRESSIVE if counts else _ANY), b""


def _tcp(frame: bytes, at: int, length: int, sport: int, dport: int) -> Rank:
    header = (frame[at + 12] >> 4) * 4
    if header < 20:
        return _ANY
    flags = frame[at + 13] & 0x3F  # without ECN's, which an honest SYN may carry
    if not flags & (_ACK | _RST):
        # SYN, FIN, NULL, Xmas; a server's active FTP data connection is none of them.
        data = flags == _SYN and sport == _FTP_DATA and not _TARGET[dport]
        # FreeBSD's `traceroute -P tcp` counts ports up as that over UDP does.
        trace = frame[at + 13] == _SYN and header == 20 and dport in TRACED
        return _ANY if data or trace else _NORMAL
    if flags & _SYN:
        # SYN-ACK: a scan goes where services are, an answer or backscatter comes from there.
        counts = flags & (_FIN | _RST) or (_TARGET[dport] and not _SERVICE[sport])
    else:
        # ACK, window, Maimon: no data and no options, which late packets mostly have.
        counts = (
            not flags & _RST
            and header == length == 20
            and dport < FIRST_EPHEMERAL
            and not _SERVED[dport]
            and (dport < _FIRST_RPC_CLIENT or not _SERVICE[sport])
        )
    return _AGGRESSIVE if counts else _ANY


def _cut_tcp(sport: int, dport: int) -> Rank:
    """Rank a segment whose flags are unknown: it may be a late one, or backscatter.

    Either the savefile was cut (FreeBSD's pflogd leaves of IPv6 TCP only the ports) or
    the packet is a tiny first fragment (`nmap -f`).
    """
    asking = not _SERVICE[sport] or sport in FEIGNED
    return _NORMAL if _TARGET[dport] and not _SERVED[dport] and asking else _ANY


def _udp(sport: int, dport: int) -> Rank:
    """Rank a datagram: ports from FIRST_EPHEMERAL up get late answers, media, traceroutes."""
    if sport == dport != _DOMAIN:
        counts = False  # peers: NTP, DHCP relays, NetBIOS, IKE, routing
    elif dport < FIRST_UNRESERVED:
        counts = dport < _FIRST_RPC_CLIENT or sport not in _RPC
    else:
        counts = bool(_UDP_TARGET[dport]) or (dport < FIRST_EPHEMERAL and not _SERVICE[sport])
    return _NORMAL if counts else _ANY


def _sctp(frame: bytes, at: int, end: int, length: int, sport: int, dport: int) -> Rank:
    """Rank by the first chunk, which starts at ``at``."""
    if length < 4 or dport in TRACED:
        return _ANY
    cut = at + 4 > end
    if not cut:
        kind, size = frame[at], frame[at + 2] << 8 | frame[at + 3]
        if size < 4:
            return _ANY
        cut = at + size > end
    if cut:  # tcpdump does not name a chunk that is not there as a whole
        return _NORMAL if dport < FIRST_EPHEMERAL and not _SERVICE[sport] else _ANY
    return _SCTP_RANKS.get(kind, _ANY)
