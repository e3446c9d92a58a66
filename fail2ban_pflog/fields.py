# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet as typed fields with names: what ``fail2ban-pflog print --json`` writes.

Every field is either known or None; nothing is guessed, and no payload is read.  The
names and types of the fields are a promise, see docs/lines.md.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from .packet import BROKEN, FIRST, ICMP, ICMP6, LATER, NONE, TCP, UDP, Packet
from .wire.view import address

__all__ = ["Fields", "fields"]

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
_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


class Fields(NamedTuple):
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


def fields(packet: Packet, frame: bytes) -> Fields:
    """Return what a packet tells; fields that were not captured are None.  Never raises.

    frame: what it was decoded from.
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
    at, version = header.start, packet.head.version
    total = frame[at + 2] << 8 | frame[at + 3]
    if version == 6:
        total = 40 + (frame[at + 4] << 8 | frame[at + 5])
    sport, dport, kind = packet.sport, packet.dport, packet.kind
    is_icmp = packet.protocol in (ICMP, ICMP6) and kind != NONE
    return found._replace(
        ip_version=version,
        source=address(packet.source),
        destination=address(packet.destination),
        protocol=_PROTOCOLS.get(packet.protocol, str(packet.protocol)),
        source_port=None if sport == NONE else sport,
        destination_port=None if dport == NONE else dport,
        tcp_flags=_flags(kind) if packet.protocol == TCP and kind != NONE else None,
        icmp_type=kind if is_icmp else None,
        icmp_code=frame[packet.start + 1] if is_icmp and packet.start + 1 < packet.end else None,
        ttl=packet.ttl,
        fragment_offset=_offset(packet, frame),
        length=total,
        payload_length=_payload_length(packet, frame),
    )


def _flags(kind: int) -> list[str]:
    return [name for bit, name in enumerate(_FLAGS) if kind >> bit & 1]


def _offset(packet: Packet, frame: bytes) -> Optional[int]:
    """Where in the whole packet a fragment belongs, in bytes."""
    if not packet.traits & (FIRST | LATER):
        return None
    if packet.head.version == 4:
        at = packet.head.start + 6
        return ((frame[at] << 8 | frame[at + 1]) & 0x1FFF) * 8
    return packet.length if packet.traits & LATER else 0


def _payload_length(packet: Packet, frame: bytes) -> Optional[int]:
    start = packet.start
    if packet.protocol == UDP and start and start + 6 <= packet.end:
        return max((frame[start + 4] << 8 | frame[start + 5]) - 8, 0)
    if packet.protocol == TCP and packet.kind != NONE:
        return max(packet.length - packet.header, 0)
    return None
