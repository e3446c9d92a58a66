# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG packets of Linux as pflog frames, and what hostile bytes make of them."""

from __future__ import annotations

import random
import struct

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog import nflog as conversion
from fail2ban_pflog.pflog.header import Header
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.pflog.pcapng import decoder_of
from fail2ban_pflog.pflog.resync import find_record
from fail2ban_pflog.pflog.savefile import Batch, FileHeader
from tests.support.nflog import (
    AF_INET6,
    BRIDGE,
    CAPTURE,
    FORWARD,
    NETDEV,
    OUTPUT,
    PACKET,
    PACKET6,
    POSTROUTING,
    attribute,
    nflog,
)
from tests.support.promises import check_frame


def names(index: int) -> str:
    return {2: "eth0", 3: "br-0123456789abcdef"}.get(index, conversion.number(index))


def text(**options: object) -> str:
    frame = conversion.convert(nflog(**options), "<", names)  # type: ignore[arg-type]
    return Header.parse(frame, "<").text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "rule 0.drop-in.0/0(match): block in on eth0"),
        ({"hook": FORWARD}, "rule 0.drop-in.0/0(match): block in on eth0"),
        ({"hook": 0}, "rule 0.drop-in.0/0(match): block in on eth0"),
        ({"hook": OUTPUT}, "rule 0.drop-in.0/0(match): block out on eth0"),
        ({"hook": OUTPUT, "prefix": b"out"}, "rule 0.out.0/0(match): pass out on eth0"),
        ({"hook": POSTROUTING, "prefix": b"OUT: "}, "rule 0.OUT.0/0(match): pass out on eth0"),
        ({"prefix": b"outside"}, "rule 0.outside.0/0(match): block in on eth0"),
        ({"prefix": b"net-fw ACCEPT "}, "rule 0.net-fw_ACCEPT.0/0(match): pass in on eth0"),
        ({"prefix": b"bypass"}, "rule 0.bypass.0/0(match): block in on eth0"),
        ({"prefix": b""}, "rule 0/0(match): block in on eth0"),
        ({"prefix": b" : "}, "rule 0/0(match): block in on eth0"),
        ({"prefix": b"a b\x1b]\xff01234567"}, "rule 0.a_b_01234567.0/0(match): block in on eth0"),
        ({"prefix": b"x" * 64}, f"rule 0.{'x' * 15}.0/0(match): block in on eth0"),
        ({"index": 3}, "rule 0.drop-in.0/0(match): block in on br-0123456789ab"),
        ({"index": 9}, "rule 0.drop-in.0/0(match): block in on if9"),
        ({"index": 0}, "rule 0.drop-in.0/0(match): block in on ?"),
        ({"family": BRIDGE}, "rule 0.drop-in.0/0(match): block in on eth0"),
        ({"family": NETDEV, "hook": 1}, "rule 0.drop-in.0/0(match): block out on eth0"),
    ],
)  # fmt: skip
def test_header(options: dict[str, object], expected: str) -> None:
    """Direction by hook, interface by index, ruleset and verdict by the rule's prefix."""
    assert text(**options) == expected


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("packet", "family", "protocol", "version"),
    [(PACKET, 2, 0x0800, 4), (PACKET6, AF_INET6, 0x86DD, 6), (PACKET6, BRIDGE, 0x86DD, 6)],
)
def test_packet(order: str, packet: bytes, family: int, protocol: int, version: int) -> None:
    """The IP packet stands behind the header as it was, in both byte orders."""
    raw = nflog(packet, family=family, protocol=protocol, order=order)
    frame = conversion.convert(raw, order)
    found = Decoder(order).packet(frame)
    assert (found.head.version, frame[found.head.start :]) == (version, packet)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "needs 4 bytes"),
        (b"\2\1\0\5" + bytes(20), "version 1"),
        (nflog()[:4], "no payload"),
        (nflog()[:4] + attribute(9, PACKET), "no packet header"),
        (nflog()[:4] + attribute(1, b"\x08") + attribute(9, PACKET), "no packet header"),
        (nflog()[:4] + b"\3\0\1\0", "an attribute is 3 bytes long"),
        (nflog()[:4] + b"\0\0\1\0", "an attribute is 0 bytes long"),
        (nflog()[:4] + b"\xff\xff\1\0", "needs 65539 bytes"),
        (nflog(family=BRIDGE, protocol=0x0806), "family 7, protocol 0x0806: no IP packet"),
    ],
)
def test_refused(raw: bytes, reason: str) -> None:
    """What is no NFLOG packet, or carries no IP, is refused in words."""
    with pytest.raises(PflogError, match=reason):
        conversion.convert(raw, "<")


def test_any_bytes_give_a_frame_or_our_error() -> None:
    """Cut at every byte or changed at random: a line that keeps its promises, or our error."""
    dice = random.Random(1)
    samples = [nflog(), nflog(PACKET6, family=AF_INET6), nflog(hook=OUTPUT, prefix=b"out")]
    for sample in samples:
        trials = [sample[:end] for end in range(len(sample))]
        for _ in range(3000):
            trial = bytearray(sample)
            for _ in range(dice.randint(1, 4)):
                trial[dice.randrange(len(trial))] = dice.choice((0, 1, 255, dice.randrange(256)))
            trials.append(bytes(trial))
        for trial in trials:
            for order in "<>":
                try:
                    frame = conversion.convert(trial, order)
                except PflogError:
                    continue
                check_frame(frame, None)


def lines(records: list[tuple[int, int, bytes]]) -> list[tuple[str, int]]:
    packets = [Decoder("<").packet(record[2]) for record in records]
    return [(packet.head.text, packet.dport) for packet in packets]


def test_capture() -> None:
    """A real capture holds what was sent, cut into pieces of any size, as pcap and as pcapng."""
    data = CAPTURE.read_bytes()
    whole = decoder_of(data).feed(data)
    found = lines(whole)
    assert len(found) == 42
    assert {head for head, _ in found[:40]} == {"rule 0.drop-in.0/0(match): block in on if2: "}
    assert sorted(port for _, port in found[:40]) == sorted([*range(1, 21)] * 2)
    assert found[40:] == [("rule 0.out.0/0(match): pass out on if2: ", 53)] * 2
    decoder = decoder_of(data)
    assert [record for byte in data for record in decoder.feed(bytes([byte]))] == whole


def batch(data: bytes) -> Batch:
    return FileHeader.parse(data).records(data, 24)


def test_lengths_are_those_of_the_converted_frames() -> None:
    """What the snaplen cut off the packet is still counted in its length on the wire."""
    record = nflog()
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 239)
    data = head + struct.pack("<IIII", 1, 2, len(record) - 8, len(record)) + record[:-8]
    found = batch(data)
    assert found.lengths == [64 + len(PACKET)]
    assert len(found.records[0][2]) == 64 + len(PACKET) - 8


def test_unreadable_packet_keeps_its_place() -> None:
    """A record that cannot be converted stays one, of which a decoder says that it is none."""
    data = CAPTURE.read_bytes()
    damaged = data[:41] + b"\x07" + data[42:]  # the first packet's version
    found = batch(damaged)
    assert len(found.records) == 42
    with pytest.raises(PflogError):
        Decoder("<").packet(found.records[0][2])
    assert found.records[1:] == batch(data).records[1:]


def test_a_record_is_found_behind_a_damage() -> None:
    """In the middle of a file the next record is found, and no place that is none."""
    data = CAPTURE.read_bytes()
    header = FileHeader.parse(data)
    starts = [24]
    while starts[-1] < len(data):
        starts.append(starts[-1] + 16 + struct.unpack_from("<I", data, starts[-1] + 8)[0])
    for start, following in zip(starts, starts[1:-1]):
        assert find_record(header, data, start + 1) == following
