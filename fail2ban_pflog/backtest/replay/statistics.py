# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted beside the verdicts, in bounded memory.

Which sources, ports and networks sent most (``Top``); and for pictures packets over time, and
which source asked for which port (``portmap``).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from datetime import datetime
from hashlib import blake2b
from heapq import nlargest
from ipaddress import ip_address
from typing import Optional

from ...options import Options
from ...pflog.packet import NONE, SCTP, TCP, UDP, Packet
from ...policy.classifier import Classifier
from ...policy.dedup import Dedup
from ...policy.kinds import OTHER_DIRECTION
from .portmap import PortMap

__all__ = ["MAX_COUNTED_EXACTLY", "Statistics", "Timeline", "Top"]

MAX_COUNTED_EXACTLY = 65_536
"""Different sources counted exactly, some 7 MB; how many more there were is estimated."""

OUTBOUND = 2
"""pf's number for that direction."""

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


class Top:
    """Which sources, ports and networks sent most, and how many sources there were.

    Sources are exact up to MAX_COUNTED_EXACTLY; how many more there were is estimated by linear
    counting, within one percent up to some five million.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}  # source -> inbound packets
        self._ports: dict[int, int] = {}  # protocol << 16 | port -> inbound packets
        self._bits = bytearray(_BITS // 8)  # which of the other sources' hashes were seen

    def add(self, source: bytes, packet: Optional[Packet]) -> None:
        """Count a packet of a source; None where it cannot be decoded."""
        counts, ports, inbound = self._counts, self._ports, 0
        if packet is not None and packet.head.direction != OUTBOUND:
            inbound = 1
            if packet.dport != NONE:
                port = packet.protocol << 16 | packet.dport
                ports[port] = ports.get(port, 0) + 1
        if source in counts:
            counts[source] += inbound
        elif len(counts) < MAX_COUNTED_EXACTLY:
            counts[source] = inbound
        else:
            digest = blake2b(source, digest_size=4).digest()
            bit = int.from_bytes(digest, "big") % _BITS
            self._bits[bit >> 3] |= 1 << (bit & 7)

    @property
    def sources(self) -> int:
        """How many sources there were; more than MAX_COUNTED_EXACTLY is an estimate."""
        seen = bin(int.from_bytes(self._bits, "big")).count("1")
        others = math.ceil(_BITS * math.log(_BITS / max(1, _BITS - seen)))
        return len(self._counts) + others

    def most(self, number: int) -> dict[str, list[tuple[str, int]]]:
        """Return what sent or was asked for most: ``sources``, ``networks`` and ``ports``.

        Args:
            number: how many of each, with their packets.
        """
        networks: Counter[bytes] = Counter()
        for source, packets in self._counts.items():
            networks[source[: 3 if len(source) == 4 else 8]] += packets
        networks.pop(b"", None)
        sources = nlargest(number, self._counts.items(), key=lambda item: item[1])
        ports = nlargest(number, self._ports.items(), key=lambda item: item[1])
        return {
            "sources": [(str(ip_address(each)), packets) for each, packets in sources
                        if each and packets],
            "networks": [(_network(each), packets) for each, packets
                         in networks.most_common(number) if packets],
            "ports": [(_port_name(each), packets) for each, packets in ports],
        }  # fmt: skip


def _port_name(number: int) -> str:
    protocol, port = divmod(number, 1 << 16)
    return f"{port}/{ {TCP: 'tcp', UDP: 'udp', SCTP: 'sctp'}.get(protocol, protocol) }"


def _network(begin: bytes) -> str:
    whole = begin + bytes((4 if len(begin) == 3 else 16) - len(begin))
    return f"{ip_address(whole)}/{8 * len(begin)}"


class Timeline:
    """How many packets came when, in at most MAX_BINS bars of equal width.

    Attributes:
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
        """Return at most ``most`` bars, without gaps.

        Returns:
            Seconds of a bar; for each its begin since the epoch, packets logged and prevented; and
            how many packets of a clock that was wrong are outside of them.
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

    Packets are classified once more here, for what a ban prevents comes to no jail, and pictures
    show what would have counted without bans.

    Args:
        options: of the jail's backend.
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
        kind = self._classifier.kind(time, packet, frame)
        if not source or kind is OTHER_DIRECTION:
            return
        seen = self.portmap.add(time, source, packet.dport, prevented)
        if self._classifier.counts(kind):
            every = dedup.what == "none"
            self.portmap.add_target(seen, self._packets if every else dedup.target(packet, kind))
