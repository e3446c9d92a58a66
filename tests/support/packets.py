# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets in a pflog frame, for tests that care about ports and flags and nothing else."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from .pflogs import pflog_header

SOURCE, HOST = "198.51.100.7", "10.99.0.2"
SOURCE6, HOST6 = "2001:db8::7", "fd99::2"

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


def frame(
    protocol: int,
    payload: bytes,
    source: str = SOURCE,
    destination: str = "",
    *,
    length: int = -1,
    offset: int = 0,
    ttl: int = 64,
    **header: int,
) -> bytes:
    """One frame: FreeBSD's header, IPv4 or IPv6, payload.

    length: the payload's length as IP tells it.  offset: IPv4's fragment field.
    ttl: or IPv6's hop limit.
    """
    one = ip_address(source)
    two = ip_address(destination or (HOST if one.version == 4 else HOST6))
    length = len(payload) if length < 0 else length
    if one.version == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, offset, ttl, protocol, 0)
    else:
        ip = struct.pack(">IHBB", 6 << 28, length, protocol, ttl)
        header = {"family": 28, **header}
    return pflog_header(**header) + ip + one.packed + two.packed + payload


def segment(sport: int, dport: int, flags: int, data: bytes = b"", options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    start = struct.pack(">HHIIBBHHH", sport, dport, 1, 2, words << 4, flags, 1024, 0, 0)
    return start + options + data


def tcp(sport: int, dport: int, flags: int, *addresses: str, **header: int) -> bytes:
    return frame(6, segment(sport, dport, flags), *addresses, **header)


def udp(sport: int, dport: int, *addresses: str, **header: int) -> bytes:
    return frame(17, struct.pack(">HHHH", sport, dport, 12, 0) + b"data", *addresses, **header)


def sctp(sport: int, dport: int, kind: int, *addresses: str, **header: int) -> bytes:
    chunk = struct.pack(">BBH", kind, 0, 20) + bytes(16)
    return frame(132, struct.pack(">HHII", sport, dport, 0, 0) + chunk, *addresses, **header)


def echo(*addresses: str, **header: int) -> bytes:
    six = bool(addresses) and ":" in addresses[0]
    payload = struct.pack(">BBHHH", 128 if six else 8, 0, 0, 1, 1)
    return frame(58 if six else 1, payload, *addresses, **header)
