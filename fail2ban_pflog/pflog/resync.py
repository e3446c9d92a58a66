# SPDX-License-Identifier: GPL-2.0-or-later
"""Find where a record starts in the middle of a savefile.

A follower needs it after a damaged record, and to find the first packet of the last
minutes in a file of a gigabyte without reading it all.

A position counts as a record when its 16 bytes are plausible, a pflog header of the same
length as the file's other frames follows, and the records that it chains to are
plausible as well.  A packet's payload is the attacker's: ``can_be_forged`` is true where
a frame is long enough to hold a whole forged record; behind a damage ``find_certain`` then
finds where reading may go on.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Optional

from .nflog import DLT_NFLOG
from .savefile import MAX_CAPLEN, RECORD_HEADER_SIZE, FileHeader

__all__ = ["can_be_forged", "find_certain", "find_record"]

CHAIN = 8
"""How many records in a row must be plausible (fewer where the buffer ends)."""

IP_HEADER = 20
"""Bytes of a packet that no sender can shape freely."""

_SHORTEST_FRAME = 48  # the oldest pflog header, padded
_LENGTHS = rb"\x2d\x3d-\x40\x45\x64"  # of the pflog headers that systems write
_FAMILIES = b"\x02\x18\x1c\x1e"  # AF_INET and the three systems' AF_INET6
# Family, version 0, group, and the packet header's length and type in both byte orders.
_NFLOG_START = re.compile(
    rb"(?=[\x02\x05\x07\x0a]\x00..(?:\x08\x00\x01\x00|\x00\x08\x00\x01))", re.DOTALL
)
_NFLOG_SHORTEST = 36  # with a payload of an IP header


def can_be_forged(snaplen: int, header_length: int) -> bool:
    """Return whether a frame has room for a record inside its payload.

    Args:
        snaplen: bytes kept of a frame.
        header_length: byte 0 of the file's frames.
    """
    padded = (header_length + 3) & ~3
    return snaplen >= padded + IP_HEADER + RECORD_HEADER_SIZE + padded


def find_record(
    file_header: FileHeader, buffer: bytes, start: int = 0, header_length: Optional[int] = None
) -> Optional[int]:
    """Return the index of the first place at or behind ``start`` where a record begins, or None.

    Args:
        file_header: The file's.
        buffer: Bytes of the file.
        start: Where to begin.
        header_length: Byte 0 of the file's other frames, where one is known.
    """
    for at, end in _candidates(file_header, buffer, start, header_length):
        following: Optional[int] = end
        for _ in range(CHAIN - 1):
            if following is None or following + RECORD_HEADER_SIZE + 2 > len(buffer):
                break
            following = _end(file_header, buffer, following)
        if following is not None:
            return at
    return None


def find_certain(
    file_header: FileHeader, buffer: bytes, least: int, header_length: Optional[int] = None
) -> Optional[int]:
    """Return the index of the first record at or behind ``least`` that cannot be a forged one.

    It is where all lines of records meet that begin before it: those of forged records end with
    the payload that they are in, or go on with the real ones.

    Args:
        file_header: The file's.
        buffer: Bytes of the file, from the damage on.
        least: Where the record that was damaged has ended, however long it was.
        header_length: Byte 0 of the file's other frames, where one is known.
    """
    expected: set[int] = set()
    for at, end in _candidates(file_header, buffer, 0, header_length):
        leads_here = at in expected
        expected = {place for place in expected if place > at}
        if leads_here and at >= least and not expected:
            return at
        expected.add(end)
    return None


def _candidates(
    file_header: FileHeader, buffer: bytes, start: int, header_length: Optional[int]
) -> Iterator[tuple[int, int]]:
    """Yield begin and end of what looks like a record."""
    lengths = _LENGTHS if header_length is None else re.escape(bytes((header_length,)))
    frame_start = re.compile(
        b"(?=[" + lengths + b"][" + _FAMILIES + rb"][\x00-\x1f][\x00-\x1f][!-~])", re.DOTALL
    )
    if file_header.linktype == DLT_NFLOG:
        frame_start = _NFLOG_START
    for match in frame_start.finditer(buffer, start + RECORD_HEADER_SIZE):
        at = match.start() - RECORD_HEADER_SIZE
        if (end := _end(file_header, buffer, at)) is not None:
            yield at, end


def _end(file_header: FileHeader, buffer: bytes, at: int) -> Optional[int]:
    """Return where the record ends that begins at ``at``; None where it makes no sense."""
    shortest, second = _SHORTEST_FRAME, _FAMILIES
    if file_header.linktype == DLT_NFLOG:
        shortest, second = _NFLOG_SHORTEST, b"\0"
    units = 1_000_000_000 if file_header.nanoseconds else 1_000_000
    most = min(MAX_CAPLEN, file_header.snaplen) or MAX_CAPLEN
    _, fraction, caplen, length = struct.unpack_from(file_header.byteorder + "IIII", buffer, at)
    if fraction >= units or not shortest <= caplen <= most or length < caplen:
        return None
    if buffer[at + RECORD_HEADER_SIZE + 1] not in second:
        return None
    return int(at + RECORD_HEADER_SIZE + caplen)
