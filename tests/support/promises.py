# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for any bytes at all; property tests and the fuzzer check it."""

from __future__ import annotations

import re
from typing import Optional

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.formatter import MAX_LINE, Formatter
from fail2ban_pflog.pflog.fields import fields
from fail2ban_pflog.pflog.header import Header
from fail2ban_pflog.pflog.packet import Decoder as FrameDecoder
from fail2ban_pflog.pflog.savefile import Decoder
from fail2ban_pflog.policy.classify import classify
from fail2ban_pflog.policy.kinds import Kind

LINE = re.compile(r"rule \d+(\.[\w.()/@+*?-]*\.\d+)?/[^:\n]+: \S+ \S+ on [\w.()/@+*?-]*: [ -~]*")
"""Printable ASCII, one line, a header that hostile names cannot shape."""


def check_frame(frame: bytes, length: Optional[int]) -> None:
    """Raise AssertionError unless a frame becomes a line or PflogError, both ways alike."""
    line = outcome(Formatter("<"), frame, length)
    if line is None:
        return
    long_way = Formatter("<")
    long = long_way._long(long_way.decode(frame), frame, length)
    assert line == long, "the short and the long way differ"
    assert len(line) <= MAX_LINE
    assert LINE.fullmatch(line), repr(line)
    packet = FrameDecoder("<").packet(frame)
    assert isinstance(classify(packet, frame), Kind)
    assert fields(packet, frame).action in line
    assert Header.parse(frame, "<").text + ": " == line[: len(Header.parse(frame, "<").text) + 2]


def outcome(formatter: Formatter, frame: bytes, length: Optional[int]) -> Optional[str]:
    """The line, or None where there was PflogError."""
    try:
        return formatter.line(frame, length)
    except PflogError:
        return None


def check_savefile(data: bytes) -> None:
    """Raise AssertionError unless a stream gives records or PflogError, whole or in bytes."""
    assert records(data, max(len(data), 1)) == records(data, 7)


def records(data: bytes, piece: int) -> list[tuple[int, int, bytes]]:
    """What a decoder gives before the stream's end or a damage."""
    decoder = Decoder()
    found = []
    try:
        for at in range(0, len(data), piece):
            found += decoder.feed(data[at : at + piece])
    except PflogError:
        pass
    return found
