# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4 and IPv6 with its extension headers, and the printer of what they carry."""

from __future__ import annotations

from collections.abc import Generator
from typing import Callable, NamedTuple, Optional

from ..pflog.extensions import DESTINATION, FRAGMENT, HOP_BY_HOP, KNOWN_ROUTING, ROUTING, size_of
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

_ADDRESSES_WITH_PORTS = (TCP, UDP, SCTP, DCCP)
"""Their own printers write the addresses, with the ports; DCCP has the generic form."""


def ip4(view: View, at: int, length: Optional[int], conversations: Conversations) -> Text:
    """Print an IPv4 packet.

    Args:
        view: the frame.
        at: where the packet starts.
        length: bytes from there to the end of the frame on the wire; without it the
            packet's own total length is believed.
        conversations: for relative TCP numbers.
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
    total = total or length  # 0: TCP segmentation offload
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


_Advance = Generator[str, None, int]
"""Pieces of text; returns the size of the extension header, 0 where the line ends."""


def ip6(view: View, at: int, length: Optional[int], conversations: Conversations) -> Text:
    """Print an IPv6 packet; jumbograms have no length here, as packets of length 0.

    Args:
        view: the frame.
        at: where the packet starts.
        length: bytes from there to the end of the frame on the wire; without it the
            packet's own payload length is believed.
        conversations: for relative TCP numbers.
    """
    view.layer = "ip6"
    fault = _fault(view, at, length, 6, IP6_HEADER)
    if fault:
        yield fault
        return
    total = IP6_HEADER + view.u16(at + 4)
    if length is None:
        length = max(total, view.end - at)
    if total > length:
        yield f"[header+payload length {total} > length {length}] (invalid) "
    view.need(at, IP6_HEADER)
    view.end = min(view.end, at + min(length, total))
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
    start, fragmented = at, False
    at += IP6_HEADER
    while following in _EXTENSIONS:
        fragmented = fragmented or following == FRAGMENT
        size = yield from _EXTENSIONS[following](view, at, start)
        if not size:
            return
        following, at = view.u8(at), at + size
        if at > start + total:
            raise Truncated
        view.layer = "ip6"
    inside = Payload(at, total - (at - start), following, fragmented)
    yield from _payload(view, inside, ip, conversations)


def _options(view: View, at: int, layer: str, name: str) -> _Advance:
    view.layer = layer
    size = size_of(DESTINATION, view.raw(at, 2), 0)
    view.need(at, size)
    yield name
    return size


def _hop_by_hop(view: View, at: int, start: int) -> _Advance:
    if at != start + IP6_HEADER:
        yield "[The Hop-by-Hop Options header don't follow the IPv6 header] (invalid)"
        return 0
    return (yield from _options(view, at, "hbh", "HBH "))


def _destination(view: View, at: int, _: int) -> _Advance:
    return (yield from _options(view, at, "dstopt", "DSTOPT "))


def _fragment(view: View, at: int, start: int) -> _Advance:
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
    return 8 if at + 8 < view.end else 0


def _routing(view: View, at: int, _: int) -> _Advance:
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
    if kind not in KNOWN_ROUTING:
        yield " (unknown type) (invalid)"
        return 0
    if kind == 4:
        yield f", last-entry={view.u8(at + 4)}"
        flags = view.u8(at + 5)
        if flags:
            yield f", flags=0x{flags:x}"
        yield f", tag={view.u16(at + 6):x}"
    elif view.u32(at + 4):
        yield f", rsv=0x{view.u32(at + 4):x}"
    size = size_of(ROUTING, view.data, at)
    if not size:
        yield f" [length {words}] (invalid)"
        return 0
    for index in range(words // 2):
        yield f", [{index}]{view.ip6(at + 8 + 16 * index)}"
    yield ") "
    return size


_EXTENSIONS = {
    HOP_BY_HOP: _hop_by_hop,
    ROUTING: _routing,
    FRAGMENT: _fragment,
    DESTINATION: _destination,
}
