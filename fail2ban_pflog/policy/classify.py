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

    a new kind of packet          a ``Kind`` and the line of ``reason`` that returns it
    another port that is known    ``TCP_SERVICES``, ``UDP_SERVICES``
"""

from __future__ import annotations

from ..pflog.header import DIRECTIONS
from ..pflog.packet import BROKEN, CHAINED, FIRST, ICMP, ICMP6, LATER, SCTP, TCP, UDP, Packet
from . import kinds
from .kinds import Kind
from .ports import (
    DOMAIN,
    FIRST_RPC_CLIENT,
    FIRST_UNRESERVED,
    IS_SERVED,
    IS_TCP_SERVICE,
    IS_UDP_SERVICE,
    RPC,
    SIP_PORT,
    TRACED,
)

__all__ = ["INBOUND", "LOW_TTL", "at_any_ttl", "classify", "directions"]

INBOUND = frozenset({DIRECTIONS["in"]})


def directions(text: str) -> frozenset[int]:
    """Return the header's numbers of ``in``, ``out`` or ``in|out``, as the filter has them.

    Raises ValueError for anything else.
    """
    names = text.split("|")
    if not DIRECTIONS.keys() >= set(names):
        raise ValueError(f"direction={text}: must be of {', '.join(DIRECTIONS)}, with | between")
    return frozenset(DIRECTIONS[name] for name in names)


LOW_TTL, OWN_TTL = 30, 64
"""What comes with no more hops to go may be a traceroute's, which begins at 1 and ends at 30;
systems begin at 64, 128 or 255, nmap at 37 and up."""

RAW_SYN, OWN_SYN = 24, 28
"""Bytes of a TCP header: nmap's SYN has 24, with MSS alone, that of most scanners 20; the shortest
that a system's own stack sends has 28."""

OPENINGS = frozenset({RAW_SYN, OWN_SYN, 40})
"""What SYNs have and late packets have not: these carry data, or no options but time stamps."""

_OPENS = frozenset({0x02, 0xC2})
"""Flags of a SYN, without and with ECN."""

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_TCP_SIZE, _SCTP_SIZE, _FLAGS_AT = 20, 12, 13
_SCTP_REASONS = {1: kinds.SCTP_INIT, 10: kinds.SCTP_COOKIE}
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


def classify(  # noqa: C901 - one pass: a call for each layer would cost a tenth of it
    packet: Packet, frame: bytes, wanted: frozenset[int] = INBOUND
) -> Kind:
    """Tell what a packet looks like.

    frame: what ``packet`` was decoded from.  wanted: the directions that count.
    Never raises.
    """
    (
        head, source, destination, protocol, ttl, length, _, _, sport, dport, kind, header, traits,
    ) = packet  # fmt: skip
    if head.direction not in wanted:
        return kinds.QUESTION if _is_question(packet) else kinds.OTHER_DIRECTION
    if not head.dropped:
        return kinds.QUESTION if _is_question(packet) else kinds.PASSED
    if traits & BROKEN:
        return kinds.UNREADABLE
    first = source[0]
    if head.version == 4:
        # Nobody can ban 0/8, loopback, multicast and reserved sources, nor the host itself.
        if first == 0 or first == 127 or first >= 224 or source == destination:
            return kinds.NOBODY
        if destination[0] >= 224 or (destination[3] == 255 and _is_broadcast(packet)):
            return kinds.BROADCAST
    else:
        # Nor ::, ::1, embedded IPv4, link-local and multicast.
        if (
            not (first or source[1])
            or (first == 0xFE and source[1] & 0xC0 == 0x80)
            or first == 0xFF
            or source == destination
        ):
            return kinds.NOBODY
        if destination[0] == 0xFF:
            return kinds.BROADCAST
    if protocol == TCP:
        if kind < 0:
            return _cut_tcp(sport, dport, ttl, length, traits)
        return _tcp(sport, dport, ttl, length, kind, header)
    if protocol == UDP:
        return _udp(sport, dport, ttl, traits)
    if protocol == SCTP:
        return _sctp(packet, frame)
    return _other(packet)


def _is_question(packet: Packet) -> bool:
    """Return whether a packet that pf passed opens a connection to outside."""
    head, protocol = packet.head, packet.protocol
    if head.direction != DIRECTIONS["out"] or head.header.action or head.dropped:
        return False
    return protocol == UDP or (
        protocol == TCP and packet.dport >= 0 and (packet.kind < 0 or packet.kind in _OPENS)
    )


def _is_broadcast(packet: Packet) -> bool:
    """Return whether what goes to an address that ends with 255 comes from a neighbour.

    Networks are smaller than half of the address without its 255s: 10.1.2.255 may be a /18's.
    """
    source, destination = packet.source, packet.destination
    shared = 2 if destination[2] != 255 else 1
    return packet.protocol not in (TCP, SCTP) and source[:shared] == destination[:shared]


def at_any_ttl(packet: Packet) -> Kind:
    """Return the kind of a packet with few hops to go as if it had more.

    Args:
        packet: one that ``classify`` found to be NEAR_END or TRACEROUTE.
    """
    protocol, dport = packet.protocol, packet.dport
    if protocol == UDP:
        return _udp(packet.sport, dport, OWN_TTL, packet.traits)
    if protocol == TCP:
        if packet.kind < 0:
            return _cut_tcp(packet.sport, dport, OWN_TTL, packet.length, packet.traits)
        return _syn(dport, OWN_TTL, packet.header)
    if protocol == SCTP:
        return kinds.SCTP_INIT
    return kinds.ECHO_REQUEST if protocol in (ICMP, ICMP6) else kinds.PROTOCOL


def _other(packet: Packet) -> Kind:
    """Classify what has no ports."""
    protocol, version, kind = packet.protocol, packet.head.version, packet.kind
    if packet.traits & LATER:
        return kinds.FRAGMENT
    if (protocol, version) in _ICMP_OF:
        if kind == (_ECHO if protocol == ICMP else _ECHO_6):
            return kinds.TRACEROUTE if packet.ttl <= LOW_TTL else kinds.ECHO_REQUEST
        return kinds.ICMP_QUESTION if protocol == ICMP and kind in _QUESTIONS else kinds.ICMP_OTHER
    if protocol in _SPOKEN or (packet.traits & CHAINED and not packet.start):
        return kinds.OTHER
    return kinds.TRACEROUTE if packet.ttl <= LOW_TTL else kinds.PROTOCOL


def _tcp(sport: int, dport: int, ttl: int, length: int, kind: int, header: int) -> Kind:
    flags = kind & 0x3F  # without ECN's, which an honest SYN may carry
    if not flags & (_ACK | _RST):
        return _syn(dport, ttl, header) if flags == _SYN else kinds.ODD_FLAGS
    if flags & _SYN and flags & (_FIN | _RST):
        return kinds.IMPOSSIBLE_FLAGS
    if flags & _RST:
        return kinds.RESET
    if flags & _SYN:
        return kinds.SYN_ACK_PROBE if IS_TCP_SERVICE[dport] else kinds.LATE_PLAIN
    # ACK, window, Maimon: no data and no options, which late packets mostly have.
    if header != _TCP_SIZE or length != _TCP_SIZE or IS_SERVED[dport]:
        return kinds.LATE_PACKET
    if sport in RPC and FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
        return kinds.LATE_PACKET
    return kinds.ACK_PROBE if IS_TCP_SERVICE[dport] else kinds.LATE_PLAIN


def _syn(dport: int, ttl: int, header: int) -> Kind:
    if header < OWN_SYN:
        # FreeBSD's `traceroute -P tcp` counts ports up as that over UDP does.
        if ttl <= LOW_TTL and dport in TRACED:
            return kinds.TRACEROUTE
    elif not IS_TCP_SERVICE[dport]:
        return kinds.TRACEROUTE if ttl <= LOW_TTL else kinds.CALL_BACK
    return kinds.SYN if ttl > LOW_TTL else kinds.NEAR_END


def _cut_tcp(sport: int, dport: int, ttl: int, length: int, traits: int) -> Kind:
    """Classify a segment without flags by its length: it may be a late one, or backscatter.

    Either the savefile was cut (FreeBSD's pflogd leaves of IPv6 TCP only the ports) or
    the packet is a tiny first fragment (`nmap -f`).
    """
    if dport < 0:
        return kinds.FRAGMENT if traits & LATER else kinds.OTHER
    if traits & FIRST:
        if length <= _FLAGS_AT:
            return kinds.TINY_FRAGMENT
        return kinds.TCP_SERVICE if IS_TCP_SERVICE[dport] else kinds.LATE_SEGMENT
    if IS_TCP_SERVICE[dport]:
        if ttl <= LOW_TTL:
            return kinds.NEAR_END
        if length in OPENINGS:
            return kinds.TCP_OPENING
        if sport in RPC and FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
            return kinds.RPC_ANSWER
        return kinds.LATE_PACKET if IS_SERVED[dport] else kinds.TCP_SERVICE
    if ttl <= LOW_TTL:
        return kinds.TRACEROUTE
    if length == RAW_SYN:
        return kinds.RAW_OPENING if IS_TCP_SERVICE[sport] else kinds.TCP_BARE_OPENING
    return kinds.CALL_BACK if length in OPENINGS else kinds.LATE_SEGMENT


def _udp(sport: int, dport: int, ttl: int, traits: int) -> Kind:
    if dport < 0:
        return kinds.FRAGMENT if traits & LATER else kinds.OTHER
    if sport == dport:
        # Time servers, relays, NetBIOS, IKE, tunnels; but svmap asks from 5060.
        if dport == SIP_PORT:
            return kinds.SIP
        return kinds.UDP_SERVICE if dport == DOMAIN else kinds.PEER
    if IS_UDP_SERVICE[dport]:
        if sport in RPC and FIRST_RPC_CLIENT <= dport < FIRST_UNRESERVED:
            return kinds.RPC_ANSWER
        return kinds.UDP_SERVICE if ttl > LOW_TTL else kinds.NEAR_END
    if ttl <= LOW_TTL or dport in TRACED:
        return kinds.TRACEROUTE
    return kinds.LATE_ANSWER if IS_UDP_SERVICE[sport] else kinds.STRAY_UDP


def _sctp(packet: Packet, frame: bytes) -> Kind:
    """Classify by the first chunk."""
    at = packet.start + _SCTP_SIZE
    if packet.traits & LATER or packet.dport < 0:
        return kinds.FRAGMENT if packet.traits & LATER else kinds.OTHER
    if packet.dport in TRACED and packet.ttl <= LOW_TTL:
        return kinds.TRACEROUTE
    if at < packet.end:
        return _SCTP_REASONS.get(frame[at], kinds.OTHER)
    return kinds.TCP_SERVICE if IS_TCP_SERVICE[packet.dport] else kinds.LATE_SEGMENT
