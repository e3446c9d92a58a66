"""A pflog frame as typed fields: what ``fail2ban-pflog print --json`` writes.

Every field is either known or None; nothing is guessed, and no payload is read.  The
names and types of the fields are a promise, see docs/lines.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from .formatter import NATIVE
from .header import AF_INET, AF_INET6, Header
from .wire.view import Truncated, View

__all__ = ["Packet", "decode"]

_PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmp6",
    89: "ospf",
    112: "vrrp",
    132: "sctp",
    240: "pfsync",
}
_TCP, _UDP, _SCTP, _ICMP, _ICMP6 = 6, 17, 132, 1, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


class Packet(NamedTuple):
    """The fields of a frame, in the order in which they are written.

    rule, subrule, ruleset, ridentifier, uid: of the pflog header.  protocol: by name
    where it has one here, else its number as text.  length: bytes of the IP packet as
    its header tells.  payload_length: bytes behind the TCP or UDP header.
    captured_length: bytes of the packet in the frame.
    """

    action: str
    direction: str
    reason: str
    interface: str
    rule: int
    subrule: Optional[int]
    ruleset: Optional[str]
    ridentifier: Optional[int]
    uid: Optional[int]
    ip_version: Optional[int] = None
    source: Optional[str] = None
    destination: Optional[str] = None
    protocol: Optional[str] = None
    source_port: Optional[int] = None
    destination_port: Optional[int] = None
    tcp_flags: Optional[list[str]] = None
    icmp_type: Optional[int] = None
    icmp_code: Optional[int] = None
    ttl: Optional[int] = None
    fragment_offset: Optional[int] = None
    length: Optional[int] = None
    payload_length: Optional[int] = None
    captured_length: int = 0


def decode(frame: bytes, byteorder: str = NATIVE) -> Packet:
    """Return what a frame tells; fields that were not captured are None.

    byteorder: of the header's fields in host order, ``<`` or ``>``.
    Raises PflogError when there is no pflog header, and for no bytes anything else.
    """
    header = Header.parse(frame, byteorder)
    fields: dict[str, Any] = {}
    view = View(frame, len(frame), "pflog")
    try:
        if header.af == AF_INET:
            _ip4(view, header.start, fields)
        elif header.af in AF_INET6:
            _ip6(view, header.start, fields)
    except Truncated:
        pass  # what was read before stays
    packet = Packet(
        header.action_name,
        header.direction_name,
        header.reason_name,
        header.interface,
        header.rule,
        header.subrule,
        header.ruleset or None,
        header.ridentifier or None,
        header.uid,
        captured_length=len(frame) - header.start,
    )
    return packet._replace(**fields)


def _ip4(view: View, at: int, fields: dict[str, Any]) -> None:
    version, size = view.u8(at) >> 4, (view.u8(at) & 0xF) * 4
    if version != 4 or size < 20:
        return
    view.need(at, 20)
    total, fragment, protocol = view.u16(at + 2), view.u16(at + 6), view.u8(at + 9)
    fields.update(
        ip_version=4,
        source=view.ip4(at + 12),
        destination=view.ip4(at + 16),
        ttl=view.u8(at + 8),
        fragment_offset=(fragment & 0x1FFF) * 8 if fragment & 0x3FFF else None,
        length=total,
    )
    _transport(view, at + size, protocol, total - size, fields)


def _ip6(view: View, at: int, fields: dict[str, Any]) -> None:
    if view.u8(at) >> 4 != 6:
        return
    view.need(at, 40)
    payload, protocol = view.u16(at + 4), view.u8(at + 6)
    fields.update(
        ip_version=6,
        source=view.ip6(at + 8),
        destination=view.ip6(at + 24),
        ttl=view.u8(at + 7),
        length=40 + payload,
    )
    end = at + 40 + payload
    at += 40
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION):
        following, size = view.u8(at), 8
        if protocol == _FRAGMENT:
            fields["fragment_offset"] = view.u16(at + 2) & 0xFFF8
        else:
            size = (view.u8(at + 1) + 1) * 8
        if fields.get("fragment_offset"):
            protocol = following
            break
        protocol, at = following, at + size
    _transport(view, at, protocol, end - at, fields)


def _transport(view: View, at: int, protocol: int, length: int, fields: dict[str, Any]) -> None:
    fields["protocol"] = _PROTOCOLS.get(protocol, str(protocol))
    if fields.get("fragment_offset"):
        return  # the transport's header is in the first fragment
    if protocol in (_ICMP, _ICMP6):
        fields["icmp_type"] = view.u8(at)
        fields["icmp_code"] = view.u8(at + 1)
    if protocol not in (_TCP, _UDP, _SCTP):
        return
    fields["source_port"] = view.u16(at)
    fields["destination_port"] = view.u16(at + 2)
    if protocol == _UDP:
        fields["payload_length"] = max(view.u16(at + 4) - 8, 0)
    elif protocol == _TCP:
        size, flags = (view.u8(at + 12) >> 4) * 4, view.u8(at + 13)
        fields["tcp_flags"] = [name for bit, name in enumerate(_FLAGS) if flags >> bit & 1]
        fields["payload_length"] = max(length - size, 0)
