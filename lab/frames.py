# SPDX-License-Identifier: GPL-2.0-or-later
"""IP packets as systems send them: their TTLs, TCP options and own ports.

For sources that are made up (synthetic.py); checksums are left 0, pf drops before them.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

__all__ = [
    "ACK",
    "FIN",
    "FREEBSD",
    "LINUX",
    "MACOS",
    "MASSCAN",
    "NMAP",
    "OPENBSD",
    "PSH",
    "RST",
    "SYN",
    "SYSTEMS",
    "URG",
    "WINDOWS",
    "System",
    "icmp",
    "ip",
    "sctp",
    "tcp",
    "udp",
]

FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))

_STAMPS = b"\x08\x0a" + bytes.fromhex("1f2e3d4c00000000")
_LATE_STAMPS = b"\x01\x01\x08\x0a" + bytes.fromhex("1f2e3d4c5b6a7988")
_MSS = b"\x02\x04\x05\xb4"


class System(NamedTuple):
    """How a system's packets look.

    ttl: with which they begin.  ports: which it picks for its own connections.
    syn, late: TCP options of a SYN, and of all later segments.
    """

    name: str
    ttl: int
    ports: range
    syn: bytes
    late: bytes
    window: int


LINUX = System("Linux", 64, range(32768, 61000),
               _MSS + b"\x04\x02" + _STAMPS + b"\x01\x03\x03\x07", _LATE_STAMPS, 64240)  # fmt: skip
WINDOWS = System("Windows", 128, range(49152, 65536),
                 _MSS + b"\x01\x03\x03\x08\x01\x01\x04\x02", b"", 64240)  # fmt: skip
FREEBSD = System("FreeBSD", 64, range(10000, 65536),
                 _MSS + b"\x01\x03\x03\x06\x04\x02" + _STAMPS, _LATE_STAMPS, 65535)  # fmt: skip
OPENBSD = System("OpenBSD", 64, range(1024, 49152),
                 _MSS + b"\x01\x01\x04\x02\x01\x03\x03\x06\x01\x01" + _STAMPS,
                 _LATE_STAMPS, 16384)  # fmt: skip
MACOS = System("macOS", 64, range(49152, 65536),
               _MSS + b"\x01\x03\x03\x06\x01\x01" + _STAMPS + b"\x04\x02\x00\x00",
               _LATE_STAMPS, 65535)  # fmt: skip
SYSTEMS = (LINUX, WINDOWS, FREEBSD, OPENBSD, MACOS)

NMAP = System("nmap", 50, range(33000, 65536), _MSS, b"", 1024)
MASSCAN = System("masscan", 255, range(40000, 60000), b"", b"", 1024)


def ip(source: str, target: str, protocol: int, payload: bytes, ttl: int) -> bytes:
    """Put an IPv4 or IPv6 header before a payload, as the addresses are."""
    one, two = ip_address(source), ip_address(target)
    if one.version == 6:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, ttl)
    else:
        head = struct.pack(
            ">BBHHHBBH", 0x45, 0, 20 + len(payload), 0x1234, 0x4000, ttl, protocol, 0
        )
    return head + one.packed + two.packed + payload


def tcp(sport: int, dport: int, flags: int, options: bytes = b"", data: int = 0,
        window: int = 501) -> bytes:  # fmt: skip
    """Build a segment; data: how many bytes of it."""
    number = 0x10000000 + sport * 7919 + dport
    words = 5 + len(options) // 4
    acknowledged = 0x20000000 + dport if flags & ACK else 0
    head = struct.pack(
        ">HHIIBBHHH", sport, dport, number, acknowledged, words << 4, flags, window, 0, 0
    )
    return head + options + bytes(data)


def udp(sport: int, dport: int, data: int) -> bytes:
    """Build a datagram; data: how many bytes of it."""
    return struct.pack(">HHHH", sport, dport, 8 + data, 0) + bytes(data)


def sctp(sport: int, dport: int, chunk: int) -> bytes:
    """Build an SCTP packet of one chunk: 1 is INIT, 10 COOKIE ECHO."""
    return struct.pack(">HHII", sport, dport, 0, 0) + struct.pack(">BBH", chunk, 0, 20) + bytes(16)


def icmp(kind: int, code: int = 0, data: bytes = bytes(16)) -> bytes:
    """Build an ICMP or ICMPv6 message; data: behind the checksum."""
    return struct.pack(">BBH", kind, code, 0) + data
