# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG packets made by hand, as Linux hands them to a listener."""

from __future__ import annotations

import struct

from tests.support.pflogs import DATA

CAPTURE = DATA / "linux/block-all.nflog.pcap"
"""`tcpdump -i nflog:5 -w` of 40 dropped SYNs over IPv4 and IPv6 and 2 questions sent."""

INPUT, FORWARD, OUTPUT, POSTROUTING = 1, 2, 3, 4
AF_INET, NETDEV, BRIDGE, AF_INET6 = 2, 5, 7, 10
PACKET = bytes.fromhex("4500001400000000401100000a0900010a090002")
PACKET6 = bytes.fromhex("6000000000003b40") + bytes(15) + b"\1" + bytes(15) + b"\2"


def attribute(kind: int, value: bytes, order: str = "<") -> bytes:
    """Return an attribute, padded to 4."""
    text = struct.pack(order + "HH", 4 + len(value), kind) + value
    return text.ljust((len(text) + 3) & ~3, b"\0")


def nflog(
    packet: bytes = PACKET,
    prefix: bytes = b"drop-in",
    *,
    hook: int = INPUT,
    index: int = 2,
    family: int = AF_INET,
    protocol: int = 0x0800,
    order: str = "<",
) -> bytes:
    """Return an NFLOG packet with the attributes that the kernel writes, in its order."""
    device = 5 if hook in (OUTPUT, POSTROUTING) or (family == NETDEV and hook) else 4
    values = [(1, struct.pack("!HBx", protocol, hook))]
    values += [(10, prefix + b"\0")] if prefix else []
    values += [(device, struct.pack("!I", index)), (8, bytes(12)), (15, b"\0\1"), (3, bytes(16))]
    values += [(9, packet)]
    return struct.pack("!BBH", family, 0, 5) + b"".join(
        attribute(kind, value, order) for kind, value in values
    )
