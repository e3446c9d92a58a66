# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4 and IPv6 with its extension headers, and who prints what they carry."""

from __future__ import annotations

from collections.abc import Generator
from typing import Callable, NamedTuple, Optional

from . import others
from .icmp import icmp
from .icmp6 import icmp6
from .sctp import SCTP, sctp
from .tcp import TCP, Conversations, tcp
from .udp import UDP, udp
from .view import Endpoints, Text, Truncated, View

__all__ = ["ip4", "ip6"]

IP4_HEADER, IP6_HEADER = 20, 40
ICMP, IGMP, GRE, ESP, AH, ICMP6 = 1, 2, 47, 50, 51, 58
NONE, ND, OSPF, IPCOMP, VRRP, ETHERNET, DCCP = 59, 77, 89, 108, 112, 143, 33
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60

_ADDRESSES_WITH_PORTS = (TCP, UDP, SCTP, DCCP)
"""Their own printers write the addresses, with the ports; DCCP has the generic form."""


def ip4(view: View, at: int, length: Optional[int], conversations: Conversations) -> Text:
    """Print an IPv4 packet.

    length: bytes from ``at`` to the end of the frame on the wire; None where that is
    not known, then the packet's own total length is believed.
    """
    view.layer = "ip"
    fault = _fault(view, at, length, 4, IP4_HEADER)
    if fault:
        yield fault
        return
    header = (view.u8(at) & 0xF) * 4
    if header < IP4_HEADER:
        yield f" [header length {header} < {IP4_HEADER}] (invalid)"
        return
    total = view.u16(at + 2)
    if length is None:
        length = max(total, view.end - at)
    if total > length:
        yield f"[total length {total} > length {length}] (invalid) "
    total = total or length  # 0: TCP segmentation offload, not yet told its length
    if total < header:
        yield f"[total length {total} < header length {header}] (invalid)"
        return
    view.need(at, IP4_HEADER)
    view.end = min(view.end, at + min(length, total))
    fragment = view.u16(at + 6)
    protocol = view.u8(at + 9)
    ip = Endpoints(
        4,
        view.ip4(at + 12),
        view.ip4(at + 16),
        protocol,
        view.u8(at + 8),
        (view.raw(at + 12, 4), view.raw(at + 16, 4)),
    )
    if fragment & 0x1FFF:
        yield f"{ip.source} > {ip.destination}: ip-proto-{protocol}"
        return
    if protocol not in _ADDRESSES_WITH_PORTS or protocol == DCCP:
        yield f"{ip.source} > {ip.destination}: "
    if not view.has(at, header):
        yield f" [remaining caplen({view.end - at}) < header length({header})]"
        raise Truncated
    inside = Payload(at + header, total - header, protocol, bool(fragment & 0x2000))
    yield from _payload(view, inside, ip, conversations)


def _fault(view: View, at: int, length: Optional[int], version: int, size: int) -> str:
    """Return what is wrong with the first byte of a header of ``size`` bytes, or ''."""
    if length is not None and length < size:
        return f" [length {length} < {size}] (invalid)"
    found = view.u8(at) >> 4
    return f" [version {found} != {version}] (invalid)" if found != version else ""


class Payload(NamedTuple):
    """What an IP header carries: where, how many bytes, of which protocol."""

    at: int
    length: int
    protocol: int
    fragmented: bool


def _payload(view: View, inside: Payload, ip: Endpoints, conversations: Conversations) -> Text:
    """Print what an IP packet of either version carries."""
    at, length, protocol, fragmented = inside
    while protocol == AH:
        if not view.has(at, 1):
            view.layer = "ah"
            raise Truncated
        yield from others.ah(view, at)
        size = (view.u8(at + 1) + 2) * 4
        protocol, at, length = view.u8(at), at + size, length - size
    name, version = _ONE_VERSION.get(protocol, ("", ip.version))
    if version != ip.version:
        yield f"[{name} requires IPv{version}] (invalid)"
    elif protocol == TCP:
        yield from tcp(view, at, length, ip, conversations)
    elif protocol == UDP:
        yield from udp(view, at, length, ip, fragmented)
    elif protocol in _PRINTERS:
        yield from _PRINTERS[protocol](view, at, length, ip)
    else:
        yield f" ip-proto-{protocol} {length}"


_ONE_VERSION = {
    ICMP: ("ICMP", 4),
    IGMP: ("IGMP", 4),
    ICMP6: ("ICMPv6", 6),
    ETHERNET: ("Ethernet", 6),
}
_PRINTERS: dict[int, Callable[[View, int, int, Endpoints], Text]] = {
    ICMP: icmp,
    IGMP: others.igmp,
    GRE: others.gre,
    ESP: others.esp,
    ICMP6: icmp6,
    NONE: others.no_next_header,
    ND: others.nd,
    OSPF: others.ospf,
    IPCOMP: others.ipcomp,
    VRRP: others.vrrp,
    SCTP: sctp,
}


class _Chain:
    """The state of a walk over IPv6 extension headers.

    jumbo: the length that a jumbo payload option told; 0 where there is none.
    """

    __slots__ = ("fragmented", "hop_by_hop", "jumbo", "payload_length")

    def __init__(self, payload_length: int) -> None:
        self.payload_length = payload_length
        self.fragmented = self.hop_by_hop = False
        self.jumbo = 0


_Advance = Generator[str, None, int]
"""Pieces of text; returns how long the extension header is, 0 where the line ends."""


def ip6(view: View, at: int, length: Optional[int], conversations: Conversations) -> Text:
    """Print an IPv6 packet.

    length: bytes from ``at`` to the end of the frame on the wire; None where that is
    not known, then the packet's own payload length is believed.
    """
    view.layer = "ip6"
    fault = _fault(view, at, length, 6, IP6_HEADER)
    if fault:
        yield fault
        return
    payload_length = view.u16(at + 4)
    if length is None:
        length = max(IP6_HEADER + payload_length, view.end - at)
    # A payload length of 0 may be explained by a jumbo payload option further on.
    remaining = (payload_length or length) + IP6_HEADER
    if payload_length and remaining > length:
        yield f"[header+payload length {remaining} > length {length}] (invalid) "
    view.need(at, IP6_HEADER)
    captured = view.end
    view.end = min(view.end, at + min(length, remaining))
    following = view.u8(at + 6)
    ip = Endpoints(
        6,
        view.ip6(at + 8),
        view.ip6(at + 24),
        following,
        view.u8(at + 7),
        (view.raw(at + 8, 16), view.raw(at + 24, 16)),
    )
    if following not in _ADDRESSES_WITH_PORTS or following == DCCP:
        yield f"{ip.source} > {ip.destination}: "
    chain = _Chain(payload_length)
    cursor, size = at, IP6_HEADER
    while cursor < view.end and size > 0:
        if remaining < size:
            raise Truncated
        cursor, remaining = cursor + size, remaining - size
        if following not in _EXTENSIONS:
            if not payload_length:
                total = yield from _jumbo_total(chain, cursor - at, length)
                view.end = min(captured, at + total)
                remaining = total - (cursor - at)
            inside = Payload(cursor, remaining, following, chain.fragmented)
            yield from _payload(view, inside, ip, conversations)
            return
        first = cursor == at + IP6_HEADER
        size = yield from _EXTENSIONS[following](view, cursor, at, chain, first)
        if size:
            following = view.u8(cursor)
        view.layer = "ip6"


def _jumbo_total(chain: _Chain, consumed: int, length: int) -> _Advance:
    """Return the length of a packet whose header tells 0, headers included."""
    total = IP6_HEADER + chain.jumbo
    # Without a jumbo payload there is nothing that could hold an extension header.
    if total < consumed:
        raise Truncated
    if chain.jumbo and total > length:
        yield f"[header+payload length {total} > length {length}] (invalid) "
    return total


def _hop_by_hop(view: View, at: int, _: int, chain: _Chain, first: bool) -> _Advance:
    if chain.hop_by_hop:
        yield "[The Hop-by-Hop Options header was already found] (invalid)"
        return 0
    if not first:
        yield "[The Hop-by-Hop Options header don't follow the IPv6 header] (invalid)"
        return 0
    view.layer = "hbh"
    size = (view.u8(at + 1) + 1) * 8
    view.need(at, size)
    yield "HBH "
    wrong = _wrong_option(view, at + 2, size - 2, chain)
    if wrong:
        yield f"{wrong} (invalid)"
    if not chain.payload_length and not chain.jumbo:
        yield "[No valid Jumbo Payload Hop-by-Hop option found] (invalid)"
        return 0
    chain.hop_by_hop = True
    return 0 if wrong else size


_PAD1, _ROUTER_ALERT, _JUMBO, _HOME_ADDRESS = 0x00, 0x05, 0xC2, 0xC9
_MIN_JUMBO = 65_536


def _wrong_option(view: View, at: int, length: int, chain: _Chain) -> str:
    """Look at hop-by-hop options, note a jumbo payload; return what is wrong, or ''."""
    end = at + length
    seen_jumbo = False
    while at < end:
        kind = view.u8(at)
        room = end - at
        size = 1
        if kind != _PAD1:
            if room < 2:
                return f" [remaining length {room} < 2]"
            size = view.u8(at + 1) + 2
        if room < size:
            return f" [remaining length {room} < {size}]"
        if kind in _FIXED_OPTIONS:
            name, fixed, exact = _FIXED_OPTIONS[kind]
            if room < fixed:
                return f" [({name}) remaining length {room} < {fixed}]"
            if size < fixed or (exact and size != fixed):
                return f" [({name}) length {size - 2} {'!=' if exact else '<'} {fixed - 2}]"
        if kind == _JUMBO:
            jumbo = view.u32(at + 2)
            if not seen_jumbo and not chain.payload_length and jumbo >= _MIN_JUMBO:
                chain.jumbo = jumbo
            seen_jumbo = True
        at += size
    return ""


_FIXED_OPTIONS = {
    _ROUTER_ALERT: ("rtalert", 4, True),
    _JUMBO: ("jumbo", 6, True),
    _HOME_ADDRESS: ("homeaddr", 18, False),
}


def _destination(view: View, at: int, _: int, __: _Chain, ___: bool) -> _Advance:
    view.layer = "dstopt"
    size = (view.u8(at + 1) + 1) * 8
    view.need(at, size)
    yield "DSTOPT "
    return size


def _fragment(view: View, at: int, start: int, chain: _Chain, _: bool) -> _Advance:
    view.layer = "frag6"
    yield "frag ("
    view.need(at + 4, 4)
    offset = view.u16(at + 2) & 0xFFF8
    yield f"{offset}|"
    length = IP6_HEADER + view.u16(start + 4) - (at - start) - 8
    yield "[length < 0] (invalid))" if length < 0 else f"{length})"
    if offset:
        return 0
    yield " "
    chain.fragmented = True
    return 8 if at + 8 < view.end else 0


def _routing(view: View, at: int, _: int, __: _Chain, ___: bool) -> _Advance:
    view.layer = "ip6"
    view.need(at, 1)
    view.layer = "rt6"
    yield "RT6"
    words = view.u8(at + 1)
    yield f" (len={words}"
    kind = view.u8(at + 2)
    yield f", type={kind}"
    if kind == 0:
        yield " [Deprecated]"
    yield f", segleft={view.u8(at + 3)}"
    if kind in (0, 2):
        reserved = view.u32(at + 4)
        if reserved:
            yield f", rsv=0x{reserved:x}"
    elif kind == 4:
        yield f", last-entry={view.u8(at + 4)}"
        flags = view.u8(at + 5)
        if flags:
            yield f", flags=0x{flags:x}"
        yield f", tag={view.u16(at + 6):x}"
    else:
        yield " (unknown type) (invalid)"
        return 0
    if words % 2:
        yield (
            f" (invalid length {words}) (invalid)" if kind == 4 else f" [length {words}] (invalid)"
        )
        return 0
    for index in range(words // 2):
        yield f", [{index}]{view.ip6(at + 8 + 16 * index)}"
    yield ") "
    return (words + 1) * 8


_EXTENSIONS = {
    HOP_BY_HOP: _hop_by_hop,
    ROUTING: _routing,
    FRAGMENT: _fragment,
    DESTINATION: _destination,
}
