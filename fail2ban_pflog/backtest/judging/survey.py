# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted beside the verdicts, in bounded memory: sources, time lines, ports."""

from __future__ import annotations

import math
from hashlib import blake2b
from ipaddress import ip_address

from ...packet import NONE, Packet
from ...scan import MODES, reason

__all__ = ["MAX_TOLD_APART", "Census", "Survey", "Timeline"]

MAX_TOLD_APART = 65_536
"""Different sources counted exactly, some 7 MB; how many more there were is estimated."""

MAX_BINS = 512
"""Bars of a time line; when there are more, two become one."""

MAX_SURVEYED = 65_536
"""Sources whose ports are counted for the plots."""

MAX_PORTS = 1024
"""Different ports counted of one source for the plots."""

_BITS = 1 << 20


class Census:
    """How many different sources there were: exact up to MAX_TOLD_APART, then estimated.

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
        if len(exact) < MAX_TOLD_APART:
            exact.add(source)
        else:
            digest = blake2b(source, digest_size=4).digest()
            bit = int.from_bytes(digest, "big") % _BITS
            self._bits[bit >> 3] |= 1 << (bit & 7)

    @property
    def count(self) -> int:
        """How many there were; more than MAX_TOLD_APART is an estimate."""
        seen = bin(int.from_bytes(self._bits, "big")).count("1")
        others = math.ceil(_BITS * math.log(_BITS / max(1, _BITS - seen)))
        return len(self._exact) + others


class Timeline:
    """How much of something happened when, in at most MAX_BINS bars of equal width.

    width: seconds, doubled as often as needed.
    bins: number of a bar (its begin divided by width) -> count.
    """

    def __init__(self, width: float = 1.0) -> None:
        self.width = width
        self.bins: dict[int, int] = {}

    def add(self, time: float, count: int = 1) -> None:
        """Count what happened at ``time``, seconds since the epoch."""
        number = int(time // self.width)
        bins = self.bins
        bins[number] = bins.get(number, 0) + count
        while len(self.bins) > MAX_BINS:
            self.bins = self.folded(2 * self.width)
            self.width *= 2

    def folded(self, width: float) -> dict[int, int]:
        """The bars at a greater width, a power of two times this one."""
        times = round(width / self.width)
        folded: dict[int, int] = {}
        for number, count in self.bins.items():
            folded[number // times] = folded.get(number // times, 0) + count
        return folded


class Survey:
    """What the plots need beside the bans: time lines, and how many ports who asked for.

    mode: the filter's, only packets that it counts tell ports.
    packets, prevented: time lines.  ports: source -> different ports, for as many
    sources as MAX_SURVEYED, counted with no regard to bans.
    """

    def __init__(self, mode: str) -> None:
        self._highest = MODES[mode]
        self.packets = Timeline()
        self.prevented = Timeline()
        self._ports: dict[bytes, set[int]] = {}

    def packet(self, time: float, frame: bytes, packet: Packet, prevented: bool) -> None:
        """Take one packet."""
        (self.prevented if prevented else self.packets).add(time)
        if packet.dport == NONE or reason(packet, frame).rank > self._highest:
            return
        source = packet.source
        ports = self._ports.get(source)
        if ports is None:
            if len(self._ports) >= MAX_SURVEYED:
                return
            ports = self._ports[source] = set()
        if len(ports) < MAX_PORTS:
            ports.add(packet.dport)

    @property
    def ports(self) -> dict[str, int]:
        """Source -> how many different ports it asked for."""
        return {str(ip_address(source)): len(ports) for source, ports in self._ports.items()}
