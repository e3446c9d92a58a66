# SPDX-License-Identifier: GPL-2.0-or-later
"""One capture's parts: Parquet files of one day each, under temporary names.

Packets come in the order of their times, or nearly so: a few days are open at once, and
the one that got no packet for longest is closed when there are more.  A packet of a day
that was closed begins another part of it.  Packets become columns when they are enough for
a piece, and these are written when they are enough for a row group; so memory is bounded by
``OPEN_DAYS`` row groups however long the capture is.  ``store`` removes unfinished parts.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from ...errors import PflogError
from .columns import SCHEMA, Row, table
from .store import Part

__all__ = ["Parts"]

PIECE = 1 << 13
"""Packets that become columns at once: some 5 MB as Python's objects."""

ROW_GROUP = 1 << 17
"""Packets of a row group: what DuckDB gives to one thread; 15 MB as columns."""

OPEN_DAYS = 4
"""Days that are open at once: one, two around midnight, and some for clocks that jump."""

MAX_PARTS = 10_000
"""Parts of one capture: 27 years, or a clock that jumps about."""

DAY = 86_400
DICTIONARIES = [field.name for field in SCHEMA if pa.types.is_dictionary(field.type)]


class Parts:
    """Takes a capture's packets and writes its parts below the host's directory; may raise OSError.

    Attributes:
        done: The parts that are whole, each flushed to the disk.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self.done: list[Part] = []
        self._root = root
        self._identity = identity
        self._open: OrderedDict[int, _Day] = OrderedDict()
        self._opened = 0

    def day(self, seconds: int) -> tuple[int, int, list[Row]]:
        """Return the day of a time: its begin, its end, and the list that its packets go to.

        Raises:
            PflogError: There are too many parts.
        """
        number = seconds // DAY
        if number not in self._open:
            if self._opened == MAX_PARTS:
                reason = f"the packets' times jump from day to day {MAX_PARTS:,} times"
                raise PflogError("export", 0, 0, reason)
            self.close(OPEN_DAYS - 1)
            date = datetime.fromtimestamp(number * DAY, timezone.utc).date().isoformat()
            directory = self._root / f"day={date}"
            directory.mkdir(parents=True, exist_ok=True)
            self._open[number] = _Day(Part.of(directory, self._identity, self._opened))
            self._opened += 1
        self._open.move_to_end(number)
        return number * DAY, (number + 1) * DAY, self._open[number].rows

    def settle(self) -> None:
        """Make columns where packets are enough; called now and then."""
        for day in self._open.values():
            if len(day.rows) >= PIECE:
                day.flush(ROW_GROUP)

    def close(self, left: int = 0) -> None:
        """Make parts whole until so many are open."""
        while len(self._open) > left:
            day = self._open.popitem(last=False)[1]
            day.close()
            self.done.append(day.part)


class _Day:
    """A part that is being written.

    Attributes:
        rows: Packets that are no columns yet.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.rows: list[Row] = []
        self._tables: list[pa.Table] = []
        self._file = self.part.written.open("wb")
        # No schema of Arrow's own: plain strings, whatever reads them.
        self._writer = parquet.ParquetWriter(
            self._file, SCHEMA, compression="zstd", use_dictionary=DICTIONARIES,
            column_encoding={"time": "DELTA_BINARY_PACKED"}, store_schema=False,
        )  # fmt: skip

    def flush(self, enough: int) -> None:
        """Make columns of the rows; write these when they are enough."""
        if self.rows:
            self._tables.append(table(self.rows))
            self.rows.clear()
        if self._tables and sum(map(len, self._tables)) >= enough:
            self._writer.write_table(pa.concat_tables(self._tables).unify_dictionaries())
            self._tables.clear()

    def close(self) -> None:
        self.flush(1)
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
