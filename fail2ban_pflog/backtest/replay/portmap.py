# SPDX-License-Identifier: GPL-2.0-or-later
"""Who asked for which port when, as finely as a picture can show it.

A picture has so many columns of time and so many rows of ports.  What falls into one cell is
one dot.  There are dots of all sources together, and those of each source, which are bounded
in number: sources with few targets are forgotten first, a flood of forged ones has one each;
then columns are made wider.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest

__all__ = ["COLUMNS", "ROWS", "Dots", "Seen", "height"]

COLUMNS, ROWS = 512, 512

FINEST = 1 / 16
"""Seconds of a column before it is widened: a scanner asks for hundreds of ports a second."""

MAX_SOURCES = 32_768
"""Sources of which dots and targets are kept: some 20 MB with one of each."""

MAX_KEPT = 262_144
"""Dots and targets of all sources: another 20 MB."""

FEW_SOURCES = 64
"""No fewer are kept: then columns are made wider."""

MAX_TARGETS = 1024
"""Targets counted of one source."""


def height(port: int) -> float:
    """Where a port stands on the axis, 0 to 1; -1, no port, at its foot.

    The fourth root gives the reserved ports a third of it, known services the next, and what
    systems pick for themselves the rest.
    """
    return float(((port + 1) / 65_536) ** 0.25)


_ROW = [int(height(port) * (ROWS - 1)) for port in range(65_536)]
_ROW.append(0)  # index -1: no port


class Seen:
    """What was seen of one source.

    dots: (column * ROWS + row) * 2, and 1 more where a ban would have prevented it.
    targets: hashes of what the jail would count, bans aside.
    """

    __slots__ = ("dots", "targets")

    def __init__(self) -> None:
        self.dots: set[int] = set()
        self.targets: set[int] = set()


class Dots:
    """Collects dots.

    width: seconds of a column, doubled as often as needed.
    columns: column (its begin divided by width) -> the rows in it, as bits; of all sources.
    sources: source -> what was seen of it.
    forgotten: number of targets -> how many sources with so many were forgotten.
    """

    def __init__(self) -> None:
        self.width = FINEST
        self.columns: dict[int, int] = {}
        self.sources: dict[bytes, Seen] = {}
        self.forgotten: Counter[int] = Counter()
        self._kept = 0

    def add(self, time: float, source: bytes, port: int, prevented: bool) -> Seen:
        """Take one packet; returns what is kept of its source.

        time: seconds since the epoch.  port: -1 where there is none.
        """
        column, row = int(time // self.width), _ROW[port]
        self.columns[column] = self.columns.get(column, 0) | 1 << row
        if len(self.columns) > COLUMNS:
            self._widen()
            column = int(time // self.width)
        seen = self.sources.get(source)
        if seen is None:
            if len(self.sources) >= MAX_SOURCES:
                self._forget()
            seen = self.sources[source] = Seen()
        dot = (column * ROWS + row) << 1 | prevented
        if dot not in seen.dots:
            seen.dots.add(dot)
            self._keep()
        return seen

    def target(self, seen: Seen, target: int) -> None:
        """Note a target of a source, by a hash of it."""
        if target not in seen.targets and len(seen.targets) < MAX_TARGETS:
            seen.targets.add(target)
            self._keep()

    def _keep(self) -> None:
        self._kept += 1
        while self._kept > MAX_KEPT:
            if len(self.sources) > FEW_SOURCES:
                self._forget()
            else:
                self._widen()

    def _forget(self) -> None:
        """Forget the half of the sources that has the fewest targets."""
        kept = dict(nlargest(len(self.sources) // 2, self.sources.items(), _size))
        for source, seen in self.sources.items():
            if source not in kept:
                self.forgotten[len(seen.targets)] += 1
        self.sources = kept
        self._count()

    def _widen(self) -> None:
        self.width *= 2
        columns: dict[int, int] = {}
        for column, rows in self.columns.items():
            columns[column >> 1] = columns.get(column >> 1, 0) | rows
        self.columns = columns
        for seen in self.sources.values():
            seen.dots = {_wider(dot) for dot in seen.dots}
        self._count()

    def _count(self) -> None:
        self._kept = sum(len(seen.dots) + len(seen.targets) for seen in self.sources.values())


def _size(item: tuple[bytes, Seen]) -> tuple[int, int]:
    return len(item[1].targets), len(item[1].dots)


def _wider(dot: int) -> int:
    column, rest = divmod(dot, 2 * ROWS)
    return (column >> 1) * 2 * ROWS + rest
