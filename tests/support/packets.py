# SPDX-License-Identifier: GPL-2.0-or-later
"""The one builder of frames: pf's header of every dialect, IPv4 and IPv6, TCP, UDP, SCTP, ICMP.

Every field can be given an invalid value.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

SOURCE, HOST = "198.51.100.7", "10.99.0.2"
SOURCE6, HOST6 = "2001:db8::7", "fd99::2"

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))

NO_SUBRULE = 0xFFFFFFFF
NO_UID = 0xFFFFFFFF


def pflog_header(
    length: int = 69,
    order: str = "<",
    *,
    action: int = 1,
    reason: int = 0,
    ifname: Any = "vtnet0",
    ruleset: bytes = b"",
    rule: int = 1,
    subrule: int = NO_SUBRULE,
    direction: int = 1,
    family: int = 2,
    uid: int = NO_UID,
    ridentifier: int = 0,
) -> bytes:
    """pf's header, padded up to the packet; FreeBSD's since 13.1 by default.

    Args:
        length: byte 0, which makes the dialect.
        order: byte order of the host that wrote it.
    """
    name = ifname.encode() if isinstance(ifname, str) else ifname
    start = struct.pack(
        "!BBBB16s16sII", length, family, action, reason, name, ruleset, rule, subrule
    )
    if length < 61:
        rest = struct.pack("!B", direction)
    else:
        rest = struct.pack(order + "IiIiB3x", uid, -1, 0, 7, direction)
        if 69 <= length < 100:
            rest += struct.pack("!I", ridentifier)
    return (start + rest).ljust((length + 3) & ~3, b"\0")


def ip4(
    protocol: int, inside: bytes, source: str = SOURCE, target: str = HOST, **changes: int
) -> bytes:
    """An IPv4 packet; changes: first, total, fragment, ttl."""
    fields = {"first": 0x45, "total": 20 + len(inside), "fragment": 0, "ttl": 64, **changes}
    first, total, fragment, ttl = fields.values()
    head = struct.pack("!BBHHHBBH", first, 0, total, 4711, fragment, ttl, protocol, 0)
    return head + ip_address(source).packed + ip_address(target).packed + inside


def ip6(
    following: int, inside: bytes, source: str = SOURCE6, target: str = HOST6, **changes: int
) -> bytes:
    """An IPv6 packet; changes: first (the version), payload, ttl."""
    fields = {"first": 6, "payload": len(inside), "ttl": 64, **changes}
    first, payload, ttl = fields.values()
    head = struct.pack("!IHBB", first << 28, payload, following, ttl)
    return head + ip_address(source).packed + ip_address(target).packed + inside


def frame(
    protocol: int,
    payload: bytes,
    source: str = SOURCE,
    destination: str = "",
    *,
    length: int = -1,
    offset: int = 0,
    ttl: int = 64,
    **header: Any,
) -> bytes:
    """One frame: FreeBSD's header, IPv4 or IPv6, payload.

    Args:
        length: the payload's length according to IP.
        offset: IPv4's fragment field.
        ttl: or IPv6's hop limit.
    """
    length = len(payload) if length < 0 else length
    if ":" in source:
        packet = ip6(protocol, payload, source, destination or HOST6, payload=length, ttl=ttl)
        return pflog_header(**{"family": 28, **header}) + packet
    changes = {"total": 20 + length, "fragment": offset, "ttl": ttl}
    return pflog_header(**header) + ip4(protocol, payload, source, destination or HOST, **changes)


def segment(
    sport: int,
    dport: int,
    flags: int,
    data: bytes = b"",
    options: bytes = b"",
    *,
    seq: int = 1,
    ack: int = 2,
    words: int = -1,
    urgent: int = 0,
) -> bytes:
    """A TCP segment; words: the length of its header, which need not be true."""
    words = 5 + len(options) // 4 if words < 0 else words
    start = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, 1024, 0, urgent)
    return start + options + data


def tcp(sport: int, dport: int, flags: int, *addresses: str, **header: Any) -> bytes:
    return frame(6, segment(sport, dport, flags), *addresses, **header)


def udp(sport: int, dport: int, *addresses: str, **header: Any) -> bytes:
    return frame(17, struct.pack("!HHHH", sport, dport, 12, 0) + b"data", *addresses, **header)


def sctp(sport: int, dport: int, kind: int, *addresses: str, **header: Any) -> bytes:
    chunk = struct.pack("!BBH", kind, 0, 20) + bytes(16)
    return frame(132, struct.pack("!HHII", sport, dport, 0, 0) + chunk, *addresses, **header)


def echo(*addresses: str, **header: Any) -> bytes:
    six = bool(addresses) and ":" in addresses[0]
    payload = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 1, 1)
    return frame(58 if six else 1, payload, *addresses, **header)
