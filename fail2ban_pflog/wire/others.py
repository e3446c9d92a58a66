# SPDX-License-Identifier: GPL-2.0-or-later
"""The remaining protocols: what their own header says, nothing of what is inside.

Where tcpdump would go on into another protocol (GRE, IP in IP) or into a routing
protocol's data, the line ends, or has the generic form `` ip-proto-N LENGTH`` that
tcpdump itself uses for protocols it does not know.
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


_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_ACK = (
    0x8000,
    0x4000,
    0x2000,
    0x1000,
    0x80,
)
_GRE_PROTOCOLS = {
    0x00FE: "GRE-OSI",
    0x0200: "PUP",
    0x0500: "Sprite",
    0x0600: "NS",
    0x0707: "GeoNet (old)",
    0x0800: "IPv4",
    0x0806: "ARP",
    0x1000: "Trail",
    0x1111: "CALM FAST",
    0x6001: "MOP DL",
    0x6002: "MOP RC",
    0x6003: "DN",
    0x6004: "LAT",
    0x6007: "SCA",
    0x6558: "TEB",
    0x8035: "Reverse ARP",
    0x8038: "Lanbridge",
    0x803C: "DEC DNS",
    0x803E: "DEC DTS",
    0x805B: "VEXP",
    0x805C: "VPROD",
    0x809B: "Appletalk",
    0x80F3: "Appletalk ARP",
    0x8100: "802.1Q",
    0x8137: "IPX",
    0x86DD: "IPv6",
    0x8808: "MPCP",
    0x8809: "Slow Protocols",
    0x880B: "PPP",
    0x8847: "MPLS unicast",
    0x8848: "MPLS multicast",
    0x8863: "PPPoE D",
    0x8864: "PPPoE S",
    0x886F: "MS NLB heartbeat",
    0x8870: "Jumbo",
    0x888E: "EAPOL",
    0x8899: "Realtek protocols",
    0x88A2: "AoE",
    0x88A8: "802.1Q-QinQ",
    0x88CA: "TIPC",
    0x88CC: "LLDP",
    0x88E5: "802.1AE MACsec",
    0x88F7: "PTP",
    0x8902: "CFM",
    0x893A: "IEEE1905.1",
    0x8947: "GeoNet",
    0x894F: "NSH",
    0x9000: "Loopback",
    0x9100: "802.1Q-9100",
    0x9200: "802.1Q-9200",
    0xABCD: "CFM (old)",
    0xD28B: "Arista Vendor Specific Protocol",
    0xFEFE: "OSI",
}


class _Gre:
    """The fields of a GRE header, one after the other; both ends are checked."""

    def __init__(self, view: View, at: int, length: int) -> None:
        self._view = view
        self._at = at
        self._end = at + length

    def number(self, size: int) -> int:
        """Read the next field of ``size`` bytes."""
        raw = self._view.raw(self._at, size)
        self._at += size
        if self._at > self._end:
            raise Truncated
        return int.from_bytes(raw, "big")


def gre(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print GRE (RFC 2784, 2890) and PPTP's (RFC 2637), without what they carry."""
    view.layer = "gre"
    header = _Gre(view, at, length)
    flags = header.number(2)
    version = flags & 7
    yield f"GREv{version}"
    if version > 1:
        yield " ERROR: unknown-version"
        return
    protocol = header.number(2)
    yield from _gre_fields(header, flags) if version == 0 else _pptp_fields(header, flags)
    if version == 0 and flags & _GRE_ROUTING:
        return  # source routes follow (RFC 1701), which nobody has used in decades
    name = _GRE_PROTOCOLS.get(protocol, "unknown")
    yield f", proto {name} (0x{protocol:04x}), length {length}"


def _gre_fields(header: _Gre, flags: int) -> Text:
    if flags & (_GRE_CHECKSUM | _GRE_ROUTING):
        header.number(2)
        yield f", off 0x{header.number(2):x}"
    if flags & _GRE_KEY:
        yield f", key=0x{header.number(4):x}"
    if flags & _GRE_SEQUENCE:
        yield f", seq {header.number(4)}"


def _pptp_fields(header: _Gre, flags: int) -> Text:
    if flags & _GRE_KEY:
        yield f", call {header.number(4) & 0xFFFF}"
    if flags & _GRE_SEQUENCE:
        yield f", seq {header.number(4)}"
    if flags & _GRE_ACK:
        yield f", ack {header.number(4)}"
    if not flags & _GRE_SEQUENCE:
        yield ", no-payload"


_IGMP_REPORTS = {0x12: "v1 report", 0x16: "v2 report", 0x17: "leave"}
_IGMP_TRACES = {0x1E: "mresp", 0x1F: "mtrace"}


def igmp(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print IGMP of all versions (RFC 2236, 3376); of DVMRP and PIMv1 only the name."""
    view.layer = "igmp"
    kind = view.u8(at)
    if kind == 0x11:
        yield "igmp query"
        yield from (
            _igmp_query_3(view, at, length) if length >= 12 else _igmp_query(view, at, length)
        )
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
    elif kind == 0x13:
        yield "igmp dvmrp"
        if length < 8:
            yield f" [len {length}]"
    elif kind == 0x14:
        yield "igmp pimv1"
    elif kind in _IGMP_TRACES:
        yield from _igmp_trace(view, at, length, _IGMP_TRACES[kind])
    else:
        yield f"igmp-{kind}"


def _igmp_query(view: View, at: int, length: int) -> Text:
    response = view.u8(at + 1)
    yield " v2" if response else " v1"
    if response not in (0, 100):
        yield f" [max resp time {response}]"
    if view.u32(at + 4):
        yield f" [gaddr {view.ip4(at + 4)}]"
    if length != 8:
        yield f" [len {length}]"


def _igmp_query_3(view: View, at: int, length: int) -> Text:
    yield " v3"
    if length & 3:
        yield f" [invalid len {length}]"
        return
    code = view.u8(at + 1)
    tenths = code if code < 128 else (code & 0x0F | 0x10) << ((code >> 4 & 7) + 3)
    if code != 100:
        lasts = f"{tenths * 0.1:.1f}s" if tenths < 600 else _period(tenths // 10)
        yield " [max resp time "
        yield f"{lasts}]"
    if not view.u32(at + 4):
        return
    yield f" [gaddr {view.ip4(at + 4)}"
    sources = view.u16(at + 10)
    if sources:
        if length < 12 + sources * 4:
            yield " [invalid number of sources]"
        else:
            yield f", {sources} source(s)"
    yield "]"


def _igmp_trace(view: View, at: int, length: int, name: str) -> Text:
    if length < 24:
        yield f" [invalid len {length}]"
        return
    source, destination, reply_to = view.ip4(at + 8), view.ip4(at + 12), view.ip4(at + 16)
    query = view.u32(at + 20) & 0xFFFFFF
    yield f"{name} {query}: {source} to {destination} reply-to {reply_to}"
    if view.u8(at + 16) >> 4 == 0xE:
        yield f" with-ttl {view.u8(at + 20)}"


def _period(seconds: int) -> str:
    """Return seconds (at most an hour) as ``1h2m3s``."""
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


_OSPF_TYPES = {
    1: "Hello",
    2: "Database Description",
    3: "LS-Request",
    4: "LS-Update",
    5: "LS-Ack",
}
_OSPF_MD5, _OSPF_MD5_SIZE = 2, 16


def ospf(view: View, at: int, length: int, ip: Endpoints) -> Text:
    """Print the first words of OSPF."""
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
