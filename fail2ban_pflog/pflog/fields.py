# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet as typed fields with names: what ``print --json`` and ``export`` write.

Every field is either known or None; nothing is guessed, and no payload is read.  The
names and types of the fields are stable, see docs/lines.md.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from .address import address
from .extensions import FRAGMENT, size_of
from .packet import BROKEN, FIRST, ICMP, ICMP6, LATER, NONE, TCP, UDP, Packet

__all__ = ["PROTOCOLS", "TCP_FLAGS", "Fields", "Measures", "fields", "measures"]

PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6",
    89: "ospf", 112: "vrrp", 132: "sctp", 240: "pfsync",
}  # fmt: skip
"""Names of protocols; the others have their number as text."""

TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
"""From the lowest bit on."""


class Fields(NamedTuple):
    """The fields of a frame, in the order in which they are written; see docs/lines.md."""

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


def fields(packet: Packet, frame: bytes) -> Fields:
    """Return the fields of a packet; those that were not captured are None.  Never raises.

    Args:
        packet: what ``frame`` was decoded to.
        frame: the bytes as captured.
    """
    header = packet.head.header
    found = Fields(
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
    if packet.traits & BROKEN:
        return found
    sport, dport, kind = packet.sport, packet.dport, packet.kind
    icmp_code, fragment_offset, length, payload_length = measures(packet, frame)
    return found._replace(
        ip_version=packet.head.version,
        source=address(packet.source),
        destination=address(packet.destination),
        protocol=PROTOCOLS.get(packet.protocol, str(packet.protocol)),
        source_port=None if sport == NONE else sport,
        destination_port=None if dport == NONE else dport,
        tcp_flags=_flags(kind) if packet.protocol == TCP and kind != NONE else None,
        icmp_type=kind if packet.protocol in (ICMP, ICMP6) and kind != NONE else None,
        icmp_code=icmp_code,
        ttl=packet.ttl,
        fragment_offset=fragment_offset,
        length=length,
        payload_length=payload_length,
    )


def _flags(kind: int) -> list[str]:
    return [name for bit, name in enumerate(TCP_FLAGS) if kind >> bit & 1]


Measures = tuple[Optional[int], Optional[int], Optional[int], Optional[int]]
"""icmp_code, fragment_offset, length, payload_length, as in ``Fields``."""


def measures(packet: Packet, frame: bytes) -> Measures:
    """Return those fields that ``Packet`` does not hold already.  Never raises."""
    head, _, _, protocol, _, length, start, end, _, _, kind, header, traits = packet
    if traits & BROKEN:
        return None, None, None, None
    at = head.start
    if head.version == 4:
        total = frame[at + 2] << 8 | frame[at + 3]
    else:
        total = 40 + (frame[at + 4] << 8 | frame[at + 5])
    code = payload = None
    if protocol == TCP:
        if kind != NONE:
            payload = length - header if length > header else 0
    elif protocol == UDP:
        if start and start + 6 <= end:
            payload = max((frame[start + 4] << 8 | frame[start + 5]) - 8, 0)
    elif protocol in (ICMP, ICMP6) and kind != NONE and start + 1 < end:
        code = frame[start + 1]
    return code, _offset(packet, frame) if traits else None, total, payload


def _offset(packet: Packet, frame: bytes) -> Optional[int]:
    """Return where in the whole packet a fragment belongs, in bytes."""
    if not packet.traits & (FIRST | LATER):
        return None
    at = packet.head.start
    if packet.head.version == 4:
        return ((frame[at + 6] << 8 | frame[at + 7]) & 0x1FFF) * 8
    if not packet.traits & LATER:
        return 0
    offset, following, at = 0, frame[at + 6], at + 40
    while not offset:  # the decoder came to a fragment header that has one
        if following == FRAGMENT:
            offset = (frame[at + 2] << 8 | frame[at + 3]) & 0xFFF8
        following, at = frame[at], at + size_of(following, frame, at)
    return offset
