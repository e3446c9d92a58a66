# SPDX-License-Identifier: GPL-2.0-or-later
"""The savefile: both byte orders, both units, pieces of any size, damage."""

from __future__ import annotations

import struct

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog.savefile import MAX_CAPLEN, Decoder, FileHeader, check_link_type

VARIANTS = [("<", False), (">", False), ("<", True), (">", True)]


def savefile_header(order: str = "<", nanoseconds: bool = False, link: int = 117) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 160, link)


def record(order: str, fraction: int, frame: bytes, length: int = 0) -> bytes:
    return struct.pack(order + "IIII", 7, fraction, len(frame), length or len(frame)) + frame


@pytest.mark.parametrize(("order", "nanoseconds"), VARIANTS)
def test_variants(order: str, nanoseconds: bool) -> None:
    """Byte order and unit come from the magic number; times come in microseconds."""
    data = savefile_header(order, nanoseconds) + record(
        order, 5_000_999 if nanoseconds else 5_000, b"frame", 99
    )
    header = FileHeader.parse(data)
    assert header == (order, nanoseconds, 160, 117)
    batch = header.records(data, 24)
    assert (batch.records, batch.lengths) == ([(7, 5_000, b"frame")], [99])
    assert (batch.end, batch.damage) == (len(data), None)


@pytest.mark.parametrize("piece", [1, 7, 24, 1000])
def test_pieces(piece: int) -> None:
    """A stream in pieces of any size gives the same records, each as soon as it is whole."""
    frames = [bytes((number,)) * number for number in range(1, 20)]
    data = savefile_header() + b"".join(record("<", 0, frame) for frame in frames)
    decoder = Decoder()
    found = []
    for at in range(0, len(data), piece):
        found += decoder.feed(data[at : at + piece])
    assert [frame for _, _, frame in found] == frames
    assert (decoder.offset, decoder.pending) == (len(data), 0)


def test_upper_bits_of_link_type() -> None:
    """The link type's upper bits are flags."""
    assert FileHeader.parse(savefile_header(link=0x9000_0075)).linktype == 117


@pytest.mark.parametrize(("link", "words"), [(17, "OpenBSD 3.3"), (1, "pflog0")])
def test_foreign_link_types(link: int, words: str) -> None:
    """Another link type is refused, with what to do."""
    with pytest.raises(PflogError, match=words):
        check_link_type(link)
    with pytest.raises(PflogError, match=words):
        Decoder().feed(savefile_header(link=link))


@pytest.mark.parametrize("start", [b"\x0a\x0d\x0d\x0a" + bytes(20), b"logfile turned over", b"\0"])
def test_no_savefile(start: bytes) -> None:
    """What begins as no savefile does is refused at once."""
    with pytest.raises(PflogError):
        Decoder().feed(start)


@pytest.mark.parametrize(
    "damaged",
    [
        struct.pack("<IIII", 7, 0, MAX_CAPLEN + 1, 9),
        struct.pack("<IIII", 7, 1_000_000, 9, 9),
        bytes(16),
    ],
)
def test_damage(damaged: bytes) -> None:
    """Records before a damage are given, then the damage is raised."""
    good = savefile_header() + record("<", 0, b"frame")
    decoder = Decoder()
    assert decoder.feed(good + damaged + bytes(100)) == [(7, 0, b"frame")]
    with pytest.raises(PflogError) as caught:
        decoder.feed(b"")
    assert caught.value.layer == "record"
    assert decoder.offset == len(good)


def test_limit() -> None:
    """A caller can take as many records as it has room for."""
    data = record("<", 0, b"a") + record("<", 0, b"b")
    batch = FileHeader("<", False, 160, 117).records(data, 0, limit=1)
    assert [frame for _, _, frame in batch.records] == [b"a"]
    assert batch.end == 17
