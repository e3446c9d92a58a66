# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that leave nothing out: every option, flag, type, extension header and contradiction.

All are made by hand, so that the wrong ones can be as wrong as an attacker's.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from tests.support.oracle import Packet
from tests.support.packets import HOST6, SOURCE, ip4, ip6, segment
from tests.support.packets import SOURCE6 as FROM6

SOURCE4 = ip_address(SOURCE).packed
SOURCE6, TARGET6 = ip_address(FROM6).packed, ip_address(HOST6).packed


def tcp(flags: int = 2, options: bytes = b"", data: bytes = b"", **changes: int) -> bytes:
    """Build a segment; changes: sport, port, seq, ack, offset in words."""
    changes = {"sport": 40000, "port": 6379, "seq": 1_000_000, "ack": 2_000_000, **changes}
    return segment(
        changes["sport"],
        changes["port"],
        flags,
        data,
        options + bytes(-len(options) % 4),
        seq=changes["seq"],
        ack=changes["ack"],
        words=changes.get("offset", -1),
        urgent=77,
    )


def udp(port: int = 5632, data: bytes = b"abc", length: int = -1) -> bytes:
    """Build a datagram, with any length."""
    return struct.pack("!HHHH", 40000, port, 8 + len(data) if length < 0 else length, 0) + data


def option(kind: int, data: bytes) -> bytes:
    """Build a TCP option."""
    return bytes((kind, len(data) + 2)) + data


def tcp_options() -> Iterator[bytes]:
    """Every kind in its right length, a shorter and a longer one; then usual lists."""
    filler = bytes(range(0x31, 0x31 + 38))
    for kind in range(256):
        for size in (0, 1, 2, 4, 8, 10, 16, 18, 24, 38) if kind in KNOWN_OPTIONS else (0, 3):
            yield option(kind, filler[:size])
    yield option(30, b"\x00\x81" + filler[:8])
    yield b"\x02\x04\x05\xb4" + option(30, b"\x10\x02" + filler[:8]) + b"\x01\x01"
    yield b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + filler[:8] + b"\x01\x03\x03\x07"
    yield b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02"
    yield b"\x01\x01\x08\x0a" + filler[:8]
    yield b"\x08\x0a" * 8  # time stamps inside of time stamps
    yield b"\xfd\x0c\x08\x0a" + filler[:8]  # no time stamp, though it looks like one
    yield b"\x08\x0a" + filler[:8] + b"\x08\x0a" + filler[:8]
    yield b"\x02\x04\x05\xb4\x00\x02\x04\x05"
    yield b"\x02\x00\x05\xb4"
    yield b"\x02\x01\x05\xb4"
    yield b"\x05\x0a" + filler[:8] + b"\x05\x12" + filler[:16]
    yield b"\xfe\x08\xf9\x89" + filler[:4]
    yield b"\x01\x02"


KNOWN_OPTIONS = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 19, 20, 28, 29, 30, 34, 254})


def segments() -> Iterator[bytes]:
    """TCP: every flag byte, every option, data, invalid offsets."""
    for flags in range(256):
        yield tcp(flags)
        yield tcp(flags, data=b"abc", seq=flags)
    for flags in (0x02, 0x12, 0x10):
        for block in tcp_options():
            yield tcp(flags, block[:40])
    for offset in range(16):
        yield tcp(offset=offset)
        yield tcp(0x14, bytes(8), b"reset", offset=offset)
    for port in (21, 22, 25, 53, 80, 139, 179, 445, 554, 646, 1723, 2049, 6379, 6653, 8080):
        yield tcp(0x18, data=b"GET / HTTP/1.0\r\n\r\n", port=port)
    for data in (b"", b"\0", b"\2", b"\3", b"\xff"):  # the last option's length is in the data
        yield tcp(0x18, b"\1" * 11 + b"\x08", data)
        yield tcp(0x18, b"\x08\x0a" + bytes(9) + b"\x03", data)
    # A conversation both ways: numbers become relative.
    for _ in range(2):
        yield tcp(0x10, seq=5, ack=9)
        yield tcp(0x10, b"\x05\x0a" + bytes(8), b"x", seq=6, ack=8, sport=6379, port=40000)
        yield tcp(0x12, seq=77, ack=88)


def datagrams() -> Iterator[bytes]:
    """UDP: invalid lengths, and ports that tcpdump decodes."""
    for length in (0, 1, 7, 8, 9, 11, 12, 65535):
        yield udp(length=length)
    for port in (53, 67, 69, 88, 123, 137, 161, 514, 520, 1194, 1900, 4500, 5060, 5353, 33434):
        yield udp(port, b"public\x00\x01version\x04bind")
    yield udp(data=b"")


def quoted4(protocol: int = 17) -> bytes:
    """The packet that an ICMP error quotes."""
    return ip4(protocol, struct.pack("!HHHH", 53, 33434, 8, 0))


def icmp_messages() -> Iterator[bytes]:
    """ICMP: every type and code that says something, with and without what it quotes."""
    for kind in range(45):
        for code in range(18) if kind in (3, 5, 11, 12) else (0, 1):
            for protocol in (6, 17, 1) if kind == 3 else (17,):
                yield bytes((kind, code, 0, 0, 0, 9, 5, 220)) + quoted4(protocol)
        yield bytes((kind, 0, 0, 0)) + struct.pack("!HH", 1, 2) + struct.pack("!III", 1, 2**31, 3)
        yield bytes((kind, 3, 0, 0))
        yield bytes((kind,))
    for count, size, lifetime in ((1, 2, 59), (2, 2, 3599), (3, 2, 36000), (1, 1, 60), (20, 2, 1)):
        header = struct.pack("!BBHBBH", 9, 0, 0, count, size, lifetime)
        yield header + b"".join(SOURCE4 + struct.pack("!I", index) for index in range(count))


def quoted6(following: int = 17, extension: bytes = b"") -> bytes:
    """The packet that an ICMPv6 error quotes."""
    return ip6(following, extension + struct.pack("!HHHH", 53, 33434, 8, 0))


def icmp6_messages() -> Iterator[bytes]:
    """ICMPv6: every type, codes, MLD of all versions, node information."""
    chains = (
        quoted6(),
        quoted6(6),
        quoted6(58),
        quoted6(0, b"\x11\x00" + bytes(6)),
        quoted6(44, b"\x11\x00\x00\x00" + bytes(4)),
        quoted6(44, b"\x11\x00\x00\x08" + bytes(4)),
        quoted6(51, b"\x06\x01" + bytes(10)),
        quoted6(60, b"\x2b\xff" + bytes(6)),
    )
    for kind in range(256):
        yield struct.pack("!BBHHH", kind, 0, 0, 1, 2) + SOURCE6 + TARGET6
        if 1 <= kind <= 4 or kind in (138, 139, 140, 155):
            for code in (0, 1, 2, 3, 4, 5, 9, 0x81, 255):
                for quoted in chains if (kind, code) == (1, 4) else chains[:1]:
                    yield struct.pack("!BBHI", kind, code, 0, 1280) + quoted
    for size in (0, 1, 4, 8, 20, 23, 24, 25, 27, 28, 44, 60):
        for kind in (130, 131, 132, 143):
            yield (
                struct.pack("!BBHHH", kind, 0, 0, 0x8001, 1) + SOURCE6 + b"\x0f\xff\x00\x02"
            ).ljust(size, b"\0")[:size]


def other_payloads() -> Iterator[tuple[int, bytes]]:
    """(protocol, payload) of all others: IGMP, ESP, AH, GRE, SCTP, OSPF, VRRP, pfsync, ..."""
    for kind in (0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x1E, 0x1F, 0x22, 0x99):
        for code in (0, 7, 100, 200, 255):
            for size in (1, 7, 8, 11, 12, 16, 18, 24):
                body = bytes((kind, code, 0, 0)) + bytes((224, 0, 0, 1, 0, 5, 0, 1)) + SOURCE4 * 3
                yield 2, body[:size]
    yield from tunnels()
    yield from sctp_chunks()
    for version in (2, 3):
        for kind in range(7):
            yield 89, bytes((version, kind, 0, 44)) + bytes(10) + bytes((0, kind & 3)) + bytes(28)
    for first in (0x21, 0x31, 0x41, 0x22, 0x11):
        for authentication in range(4):
            yield 112, bytes((first, 1, 100, 1, authentication, 1, 0, 0)) + SOURCE4
    for protocol in (4, 8, 9, 33, 41, 46, 55, 59, 77, 88, 103, 108, 113, 135, 143, 240, 253, 255):
        yield protocol, bytes((protocol, 0, 0, 9)) + bytes(16)


def tunnels() -> Iterator[tuple[int, bytes]]:
    """ESP, AH and GRE, right and wrong."""
    yield 50, struct.pack("!II", 0x1234, 7) + bytes(20)
    yield 50, bytes(8)
    for inside in (6, 17, 1, 58, 51, 99):
        for words in (1, 4, 255):
            header = struct.pack("!BBHIII", inside, words, words & 1, 0x1234, 7, 8)
            yield 51, header + bytes(12) + tcp()
    for flags in (0, 0x8000, 0x2000, 0x1000, 0x3000, 0xB000, 0x4000, 1, 0x3001, 0x3081, 0x2001, 2):
        for protocol in (0x0800, 0x86DD, 0x880B, 0x6558, 0x0600, 0x1234):
            yield 47, struct.pack("!HH", flags, protocol) + bytes(12) + quoted4()


def sctp_chunks() -> Iterator[tuple[int, bytes]]:
    """SCTP: every kind of chunk, in invalid lengths."""
    for kind in (*range(0x10), 0xC0, 0xC1, 0xC2, 0x77):
        for size in (0, 3, 4, 8, 15, 16, 17, 20, 21):
            chunk = bytes((kind, 7)) + struct.pack("!H", size) + bytes(range(17))
            yield 132, struct.pack("!HHII", 40000, 38412, 1, 2) + chunk + bytes((kind, 0, 0, 4))
    yield 132, bytes(11)


def extension_chains() -> Iterator[bytes]:
    """IPv6 packets with extension headers, right and wrong."""
    pad = b"\x01\x04" + bytes(4)
    bodies = (
        pad,
        bytes(6),
        b"\x05\x02\x00\x00\x01\x00",
        b"\x05\x03\x00\x00\x00\x00",
        b"\xc2\x04\x00\x01\x00\x00",
        b"\xc2\x04\x00\x00\x00\x09",
        b"\xc2\x05\x00\x01\x00\x00",
        b"\xc9\x04\x00\x00\x00\x00",
        b"\x01\x09\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x01",
        b"\x3e\x04\x01\x02\x03\x04",
    )
    for body in bodies:
        for kind in (0, 60):
            extension = b"\x06\x00" + body
            yield ip6(kind, extension + tcp())
            yield ip6(kind, extension + tcp(), payload=0)
    for following, inside in (
        (6, tcp()),
        (17, udp()),
        (58, b"\x80\0\0\0\0\1\0\2"),
        (59, b""),
        (99, b"x"),
    ):
        head = bytes((following, 0))
        yield ip6(0, head + pad + inside)
        yield ip6(0, b"\0\0" + pad + head + pad + inside)
        yield ip6(60, b"\0\0" + pad + head + pad + inside)
        yield ip6(0, b"\x3c\x00" + pad + b"\x2c\x00" + pad + head + b"\0\0\0\0\0\7" + inside)
        for offset in (0, 1, 8, 9, 0xFFF8):
            yield ip6(44, head + struct.pack("!HI", offset, 7) + inside)
            yield ip6(44, head + struct.pack("!HI", offset, 7) + inside, payload=4)
        for kind in range(6):
            for words in (0, 1, 2, 4, 5):
                routing = bytes((following, words, kind, 1, 0, kind, 0, 9)) + SOURCE6 * 2
                yield ip6(43, routing[: 8 + words * 8] + inside)
        yield ip6(51, struct.pack("!BBHIII", following, 4, 0, 1, 2, 3) + bytes(12) + inside)
        yield ip6(following, inside, payload=0)


def contradictions() -> Iterator[Packet]:
    """IP headers that contradict themselves or the frame around them."""
    for version, build, inside in ((4, ip4, 6), (6, ip6, 6), (4, ip4, 17), (6, ip6, 58)):
        payload = {6: tcp(options=b"\x02\x04\x05\xb4"), 17: udp(), 58: b"\x80\0\0\0\0\1\0\2"}[
            inside
        ]
        good = build(inside, payload)
        for claimed in (0, 1, 5, 19, 20, 21, 28, 39, 40, 41, 60, 1500, 65535):
            name = "total" if version == 4 else "payload"
            bad = build(inside, payload, **{name: claimed})
            yield Packet(version, bad, len(bad))
            yield Packet(version, bad, len(bad) + 30)
        for first in range(16):
            bad = build(inside, payload, first=first << 4 | 5 if version == 4 else first)
            yield Packet(version, bad, len(bad))
        for header in range(16):
            if version == 4:
                bad = build(inside, payload, first=0x40 | header)
                yield Packet(version, bad, len(bad))
        for cut in range(len(good)):
            yield Packet(version, good[:cut], len(good))
            yield Packet(version, good[:cut], cut)
    for fragment in (0x2000, 0x4000, 0x8000, 0x2001, 1, 0x1FFF):
        for protocol in (6, 17, 1, 132, 99):
            data = ip4(protocol, tcp(), fragment=fragment)
            yield Packet(4, data, len(data))
    for total in (20, 24, 40):  # as long as the TCP header says, and too short for one
        short = ip4(6, tcp(offset=(total - 20) // 4), total=total)
        yield Packet(4, short, len(short))
    with_options = ip4(6, bytes(40) + tcp(), first=0x4F)
    yield Packet(4, with_options, len(with_options))


def packets() -> list[Packet]:
    """All of the above."""
    found: list[Packet] = []
    for protocol, payloads in ((6, segments), (17, datagrams)):
        for payload in payloads():
            found.append(Packet(4, ip4(protocol, payload), 20 + len(payload)))
            found.append(Packet(6, ip6(protocol, payload), 40 + len(payload)))
    found += [Packet(4, ip4(1, payload), 20 + len(payload)) for payload in icmp_messages()]
    found += [Packet(6, ip6(58, payload), 40 + len(payload)) for payload in icmp6_messages()]
    for protocol, payload in (*other_payloads(), (1, b""), (58, b""), (2, b"")):
        found.append(Packet(4, ip4(protocol, payload), 20 + len(payload)))
        found.append(Packet(6, ip6(protocol, payload), 40 + len(payload)))
    found += [Packet(6, data, len(data)) for data in extension_chains()]
    found += contradictions()
    return found


def mutated(seed: int, count: int) -> list[Packet]:
    """Packets of the corpus with a few bytes changed, cut, or with another length."""
    rnd = random.Random(seed)
    source = packets()
    found = []
    for _ in range(count):
        version, data, length = rnd.choice(source)
        changed = bytearray(data)
        for _ in range(rnd.choice((1, 1, 2, 4)) if changed else 0):
            changed[rnd.randrange(len(changed))] = rnd.choice(
                (0, 1, 6, 17, 58, 255, rnd.randrange(256))
            )
        if rnd.random() < 0.3:
            del changed[rnd.randrange(len(changed) + 1) :]
        wire = rnd.choice((length, len(changed), rnd.randrange(70_000)))
        found.append(Packet(version, bytes(changed), max(wire, len(changed))))
    return found
