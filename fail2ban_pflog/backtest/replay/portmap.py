# SPDX-License-Identifier: GPL-2.0-or-later
"""Which source asked for which port when, as finely as a picture can show it.

Time is cut into columns, the ports into rows.  All sources together have a bit per cell, and
each source has its own cells and targets, which are bounded in number: sources with few targets
are forgotten first (a flood of forged ones has one each), then columns are made wider.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest

__all__ = ["COLUMNS", "ROWS", "PortMap", "Seen", "height"]

COLUMNS, ROWS = 2048, 512
"""Columns in which something was seen, so that a short busy part is shown finely."""

FINEST = 1 / 16
"""Seconds of a column before it is widened: a scanner asks for hundreds of ports a second."""

MAX_SOURCES = 32_768
"""Sources of which cells and targets are kept: some 20 MB with one of each."""

MAX_KEPT = 262_144
"""Cells and targets of all sources: another 20 MB."""

FEW_SOURCES = 64
"""No fewer are kept: then columns are made wider."""

MAX_TARGETS = 1024
"""Targets counted of one source."""


def height(port: int) -> float:
    """Return where a port stands on the axis, 0 to 1; -1, no port, at its foot.

    The fourth root gives the reserved ports a third of it, known services the next, and what
    systems pick for themselves the rest.
    """
    return float(((port + 1) / 65_536) ** 0.25)


_ROW = [int(height(port) * (ROWS - 1)) for port in range(65_536)]
_ROW.append(0)  # index -1: no port


class Seen:
    """What was seen of one source.

    Attributes:
        cells: (column * ROWS + row) * 2, and 1 more where a ban would have prevented it.
        targets: hashes of what the jail would count, bans aside.
    """

    __slots__ = ("cells", "targets")

    def __init__(self) -> None:
        self.cells: set[int] = set()
        self.targets: set[int] = set()

    @property
    def size(self) -> tuple[int, int]:
        """How many targets and cells there are."""
        return len(self.targets), len(self.cells)


class PortMap:
    """Collects cells.

    Attributes:
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

        Args:
            time: seconds since the epoch.
            source: 4 or 16 bytes.
            port: -1 where there is none.
            prevented: whether a ban would have prevented it.
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
        self._keep(seen.cells, (column * ROWS + row) << 1 | prevented)
        return seen

    def add_target(self, seen: Seen, target: int) -> None:
        """Note a target of a source, by a hash of it."""
        if len(seen.targets) < MAX_TARGETS:
            self._keep(seen.targets, target)

    def _keep(self, those: set[int], value: int) -> None:
        if value in those:
            return
        those.add(value)
        self._kept += 1
        while self._kept > MAX_KEPT:
            if len(self.sources) > FEW_SOURCES:
                self._forget()
            else:
                self._widen()

    def _forget(self) -> None:
        """Forget the half of the sources that has the fewest targets."""
        half = len(self.sources) // 2
        kept = dict(nlargest(half, self.sources.items(), key=lambda item: item[1].size))
        self.forgotten.update(
            len(seen.targets) for source, seen in self.sources.items() if source not in kept
        )
        self.sources = kept
        self._count()

    def _widen(self) -> None:
        self.width *= 2
        columns: dict[int, int] = {}
        for column, rows in self.columns.items():
            columns[column >> 1] = columns.get(column >> 1, 0) | rows
        self.columns = columns
        whole = 2 * ROWS
        for seen in self.sources.values():
            seen.cells = {(cell // whole >> 1) * whole + cell % whole for cell in seen.cells}
        self._count()

    def _count(self) -> None:
        self._kept = sum(sum(seen.size) for seen in self.sources.values())
