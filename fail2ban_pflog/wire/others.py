# SPDX-License-Identifier: GPL-2.0-or-later
"""The remaining protocols: what their own header says, nothing of what is inside.

Where tcpdump would decode another protocol (GRE, IP in IP) or a routing protocol's data,
the line ends, or has the generic form `` ip-proto-N LENGTH`` that tcpdump itself uses for
protocols it does not know.
"""

from __future__ import annotations

from .view import Endpoints, Text, Truncated, View

__all__ = ["ah", "esp", "gre", "igmp", "ipcomp", "nd", "no_next_header", "ospf", "vrrp"]

_MASK = 0xFFFF_FFFF


def no_next_header(_: View, __: int, ___: int, ____: Endpoints) -> Text:
    """Print the absence of a payload (RFC 8200)."""
    yield "no next header"


def nd(_: View, __: int, length: int, ___: Endpoints) -> Text:
    """Print Sun's network disk, for which tcpdump has a form of its own."""
    yield f" nd {length}"


def esp(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print ESP (RFC 4303)."""
    view.layer = "esp"
    if at + 8 >= view.end:
        raise Truncated
    yield f"ESP(spi=0x{view.u32(at):08x},seq=0x{view.u32(at + 4):x}), length {length}"


def ah(view: View, at: int) -> Text:
    """Print AH (RFC 4302)."""
    view.layer = "ah"
    yield "AH"
    size = (view.u8(at + 1) + 2) * 4
    yield "("
    reserved = view.u16(at + 2)
    if reserved:
        yield f"reserved=0x{reserved:x}[MustBeZero],"
    yield f"spi=0x{view.u32(at + 4):08x},"
    yield f"seq=0x{view.u32(at + 8):x},"
    yield "icv=0x"
    for offset in range(at + 12, at + size):
        yield f"{view.u8(offset):02x}"
    yield "): "


def ipcomp(view: View, at: int, _: int, __: Endpoints) -> Text:
    """Print IPComp (RFC 3173)."""
    view.layer = "ipcomp"
    yield f"IPComp(cpi=0x{view.u16(at + 2):04x})"


_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE = 0x8000, 0x4000, 0x2000, 0x1000
_GRE_PROTOCOLS = {
    0x0800: "IPv4",
    0x0806: "ARP",
    0x6558: "TEB",
    0x8100: "802.1Q",
    0x86DD: "IPv6",
    0x880B: "PPP",
    0x8847: "MPLS unicast",
    0x8848: "MPLS multicast",
    0x894F: "NSH",
}
"""Others have a number, as those that tcpdump does not know."""


def gre(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print GRE (RFC 2784, 2890) without what it carries; of PPTP's (RFC 2637) the version."""
    view.layer = "gre"
    end = at + length

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > end:
            raise Truncated
        return int.from_bytes(view.raw(at - size, size), "big")

    flags = number(2)
    version = flags & 7
    yield f"GREv{version}"
    if version:
        if version > 1:
            yield " ERROR: unknown-version"
        return
    protocol = number(2)
    if flags & (_GRE_CHECKSUM | _GRE_ROUTING):
        number(2)
        yield f", off 0x{number(2):x}"
    if flags & _GRE_KEY:
        yield f", key=0x{number(4):x}"
    if flags & _GRE_SEQUENCE:
        yield f", seq {number(4)}"
    if flags & _GRE_ROUTING:
        return  # source routes follow (RFC 1701)
    name = _GRE_PROTOCOLS.get(protocol, "unknown")
    yield f", proto {name} (0x{protocol:04x}), length {length}"


_IGMP_NAMES = {0x13: "igmp dvmrp", 0x14: "igmp pimv1"}
_IGMP_REPORTS = {0x12: "v1 report", 0x16: "v2 report", 0x17: "leave"}


def igmp(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print IGMP (RFC 2236, 3376): type and group."""
    view.layer = "igmp"
    kind = view.u8(at)
    if kind == 0x11:
        yield "igmp query"
        yield from _igmp_query(view, at, length)
    elif kind in _IGMP_REPORTS:
        yield f"igmp {_IGMP_REPORTS[kind]} {view.ip4(at + 4)}"
        if kind == 0x12 and length != 8:
            yield f" [len {length}]"
    elif kind == 0x22:
        yield "igmp v3 report"
        if length < 16 or length & 3:
            yield f" [invalid len {length}]"
        else:
            yield f", {view.u16(at + 6)} group record(s)"
    else:
        yield _IGMP_NAMES.get(kind, f"igmp-{kind}")


def _igmp_query(view: View, at: int, length: int) -> Text:
    if length >= 12:
        yield " v3"
        return
    response = view.u8(at + 1)
    yield " v2" if response else " v1"
    if response not in (0, 100):
        yield f" [max resp time {response}]"
    if view.u32(at + 4):
        yield f" [gaddr {view.ip4(at + 4)}]"
    if length != 8:
        yield f" [len {length}]"


_OSPF_TYPES = {
    1: "Hello",
    2: "Database Description",
    3: "LS-Request",
    4: "LS-Update",
    5: "LS-Ack",
}
_OSPF_MD5, _OSPF_MD5_SIZE = 2, 16


def ospf(view: View, at: int, length: int, ip: Endpoints) -> Text:
    """Print version, type and length of OSPF."""
    view.layer = "ospf3" if ip.version == 6 else "ospf2"
    unknown = "packet type ({})" if ip.version == 6 else "LS-type {}"
    if ip.version == 4 and view.u16(at + 14) == _OSPF_MD5:
        length = (length - _OSPF_MD5_SIZE) & _MASK
        view.end -= _OSPF_MD5_SIZE
    kind = view.u8(at + 1)
    name = _OSPF_TYPES.get(kind, "unknown " + unknown.format(kind))
    yield f"OSPFv{view.u8(at)}, {name}, length {length}"


_VRRP_AUTHENTICATION = {0: "none", 1: "simple", 2: "ah"}


def vrrp(view: View, at: int, length: int, ip: Endpoints) -> Text:
    """Print VRRP (RFC 3768, 5798); CARP has its number and looks much the same."""
    view.layer = "vrrp"
    yield "VRRP"
    first = view.u8(at)
    version, kind = first >> 4, first & 0xF
    name = "Advertisement" if kind == 1 else f"unknown type ({kind})"
    yield f"v{version}, {name}"
    if ip.ttl != 255:
        yield f", (ttl {ip.ttl})"
    if version not in (2, 3) or kind != 1:
        return
    yield f", vrid {view.u8(at + 1)}, prio {view.u8(at + 2)}"
    if version == 2:
        authentication = view.u8(at + 4)
        yield f", authtype {_VRRP_AUTHENTICATION.get(authentication, f'#{authentication}')}"
        yield f", intvl {view.u8(at + 5)}s, length {length}"
    else:
        yield f", intvl {view.u16(at + 4) & 0xFFF}cs, length {length}"
