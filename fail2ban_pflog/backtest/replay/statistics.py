# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted beside the verdicts, in bounded memory: sources; and for pictures packets
over time, and who asked for what (``dots``)."""

from __future__ import annotations

import itertools
import math
from datetime import datetime
from hashlib import blake2b
from typing import Optional

from ...options import Options
from ...pflog.packet import Packet
from ...policy.classifier import Classifier
from ...policy.dedup import Dedup
from ...policy.kinds import OTHER_DIRECTION
from .portmap import PortMap

__all__ = ["MAX_COUNTED_EXACTLY", "SourceCounter", "Statistics", "Timeline"]

MAX_COUNTED_EXACTLY = 65_536
"""Different sources counted exactly, some 7 MB; how many more there were is estimated."""

MAX_BINS = 512
"""Bars of a time line that are kept; when there are more, they are put together."""

WIDTHS = (1, 10, 60, 600, 3600, 86_400, 864_000, 8_640_000, 86_400_000)
"""Seconds of a bar: what people count in, each a multiple of the one before."""

STRAY_SHARE = 0.001
STRAY_GAP = 30 * 86_400
STRAY_STRETCH = 10
"""So few packets, so many seconds before or after all others, are of a clock that was wrong where
they stretch a time line to so many times its length."""

_BITS = 1 << 20


class SourceCounter:
    """How many different sources there were: exact up to MAX_COUNTED_EXACTLY, then estimated.

    The estimate, by linear counting, is within one percent up to some five million.
    """

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._bits = bytearray(_BITS // 8)  # which of the others' hashes were seen

    def add(self, source: bytes) -> None:
        """Count a source that may have been counted before."""
        exact = self._exact
        if source in exact:
            return
        if len(exact) < MAX_COUNTED_EXACTLY:
            exact.add(source)
        else:
            digest = blake2b(source, digest_size=4).digest()
            bit = int.from_bytes(digest, "big") % _BITS
            self._bits[bit >> 3] |= 1 << (bit & 7)

    @property
    def count(self) -> int:
        """How many there were; more than MAX_COUNTED_EXACTLY is an estimate."""
        seen = bin(int.from_bytes(self._bits, "big")).count("1")
        others = math.ceil(_BITS * math.log(_BITS / max(1, _BITS - seen)))
        return len(self._exact) + others


class Timeline:
    """How many packets came when, in at most MAX_BINS bars of equal width.

    width: seconds of a bar, of WIDTHS.
    offset: seconds by which the local time of the first packet was ahead of UTC.  Bars begin
    when that clock shows a multiple of their width.
    bins: number of a bar -> [logged, prevented].
    """

    def __init__(self) -> None:
        self.width = WIDTHS[0]
        self.offset: Optional[float] = None
        self.bins: dict[int, list[int]] = {}

    def add(self, time: float, prevented: bool = False) -> None:
        """Count a packet of ``time``, seconds since the epoch."""
        if self.offset is None:
            ahead = datetime.fromtimestamp(time).astimezone().utcoffset()
            self.offset = ahead.total_seconds() if ahead else 0.0
        number = int((time + self.offset) // self.width)
        counts = self.bins.get(number)
        if counts is None:
            counts = self.bins[number] = [0, 0]
            if len(self.bins) > MAX_BINS and self.width < WIDTHS[-1]:
                counts[prevented] += 1
                self._widen()
                return
        counts[prevented] += 1

    def _widen(self) -> None:
        width = WIDTHS[WIDTHS.index(self.width) + 1]
        self.bins = self._folded(width)
        self.width = width

    def _folded(self, width: int) -> dict[int, list[int]]:
        folded: dict[int, list[int]] = {}
        for number, (logged, prevented) in self.bins.items():
            counts = folded.setdefault(number * self.width // width, [0, 0])
            counts[0] += logged
            counts[1] += prevented
        return folded

    def bars(self, most: int) -> tuple[int, list[tuple[float, int, int]], int]:
        """As a picture has them: at most ``most`` bars, without gaps.

        Returns seconds of a bar; for each its begin since the epoch, packets logged and
        prevented; and how many packets of a clock that was wrong lie outside of them.
        """
        bins, outside = self._plausible()
        if not bins:
            return self.width, [], 0
        widths = WIDTHS[WIDTHS.index(self.width) :]
        span = (bins[-1] - bins[0] + 1) * self.width
        width = next((each for each in widths if span / each <= most), widths[-1])
        inside = set(bins)
        part = Timeline()
        part.width = self.width
        part.bins = {number: self.bins[number] for number in inside}
        folded = part._folded(width)
        offset = self.offset or 0.0
        bars = [
            (number * width - offset, *folded.get(number, (0, 0)))
            for number in range(min(folded), max(folded) + 1)
        ]
        return width, bars, outside

    def _plausible(self) -> tuple[list[int], int]:
        """Numbers of the bins in order, and how many packets those that were left out held."""
        numbers = sorted(self.bins)
        counts = [sum(self.bins[number]) for number in numbers]
        allowed = sum(counts) * STRAY_SHARE
        before = list(itertools.accumulate(counts, initial=0))
        first, last = 0, len(numbers)
        for at in range(1, len(numbers)):
            if (numbers[at] - numbers[at - 1]) * self.width < STRAY_GAP:
                continue
            if before[at] <= allowed:
                first = at
            elif before[-1] - before[at] <= allowed:
                last = min(last, at)
        inside = numbers[first:last]
        if not inside or numbers[-1] - numbers[0] < STRAY_STRETCH * (inside[-1] - inside[0] + 1):
            return numbers, 0
        return inside, sum(counts) - (before[last] - before[first])


class Statistics:
    """What the pictures need beside the bans.

    options: of the jail's backend.  Packets are judged by them once more here, for what a ban
    prevents comes to no jail.
    """

    def __init__(self, options: Options) -> None:
        self.timeline = Timeline()
        self.portmap = PortMap()
        self._classifier = Classifier(
            options.mode, options.direction, options.prefix4, options.prefix6
        )
        self._dedup: Dedup[None] = Dedup(options.distinct)
        self._packets = 0

    def packet(self, time: float, frame: bytes, packet: Packet, prevented: bool) -> None:
        """Take one packet; prevented: by a ban."""
        self._packets += 1
        self.timeline.add(time, prevented)
        source, dedup = packet.source, self._dedup
        found = self._classifier.kind(time, packet, frame)
        if not source or found is OTHER_DIRECTION:
            return
        seen = self.portmap.add(time, source, packet.dport, prevented)
        if self._classifier.counts(found):
            every = dedup.what == "none"
            self.portmap.add_target(seen, self._packets if every else dedup.target(packet, found))
