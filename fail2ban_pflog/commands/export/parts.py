# SPDX-License-Identifier: GPL-2.0-or-later
"""One capture's parts: Parquet files of one day each, under temporary names.

Packets come in the order of their times, or nearly so: a few days are open at once, and
the one that got no packet for longest is closed when there are more.  A packet of a day
that was closed begins another part of it.  A day's packets wait until they are enough for
a piece of columns, and these until they are enough for a row group; so memory is bounded
by ``OPEN_DAYS`` row groups however long the capture is.  What is left of parts that were not
finished ``store`` removes.
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
    """Takes packets and writes parts.

    root: the host's directory.  identity: the capture's.
    done: the parts that are whole, each flushed to the disk.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self.done: list[Part] = []
        self._root = root
        self._identity = identity
        self._open: OrderedDict[int, _Day] = OrderedDict()
        self._opened = 0

    def day(self, seconds: int) -> tuple[int, int, list[Row]]:
        """Return the day of a time: its begin, its end, and the list that its packets go to.

        Raises OSError where nothing can be written, PflogError where there are too many parts.
        """
        number = seconds // DAY
        day = self._open.get(number)
        if day is None:
            if self._opened == MAX_PARTS:
                reason = f"the packets' times jump from day to day {MAX_PARTS:,} times"
                raise PflogError("export", 0, 0, reason)
            if len(self._open) == OPEN_DAYS:
                self._close(self._open.popitem(last=False)[1])
            day = self._open[number] = _Day(self._part(number))
            self._opened += 1
        self._open.move_to_end(number)
        return number * DAY, (number + 1) * DAY, day.rows

    def settle(self) -> None:
        """Make columns where packets are enough; asked for now and then.  Raises OSError."""
        for day in self._open.values():
            if len(day.rows) >= PIECE:
                day.flush()

    def _part(self, number: int) -> Part:
        date = datetime.fromtimestamp(number * DAY, timezone.utc).date().isoformat()
        directory = self._root / f"day={date}"
        directory.mkdir(parents=True, exist_ok=True)
        return Part.of(directory, self._identity, self._opened)

    def close(self) -> None:
        """Make all parts whole.  Raises OSError."""
        while self._open:
            self._close(self._open.popitem(last=False)[1])

    def _close(self, day: _Day) -> None:
        day.close()
        self.done.append(day.part)


class _Day:
    """A part that is being written.

    rows: packets that are no columns yet.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.rows: list[Row] = []
        self._tables: list[pa.Table] = []
        self._waiting = 0
        self._file = self.part.written.open("wb")
        self._writer = parquet.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            use_dictionary=DICTIONARIES,
            column_encoding={"time": "DELTA_BINARY_PACKED"},
            store_schema=False,  # plain strings, whoever reads them
        )

    def flush(self) -> None:
        """Make columns of the rows; write these when they are a row group."""
        if self.rows:
            self._tables.append(table(self.rows))
            self._waiting += len(self.rows)
            self.rows.clear()
        if self._waiting >= ROW_GROUP:
            self._write()

    def _write(self) -> None:
        whole = pa.concat_tables(self._tables).unify_dictionaries()
        self._tables.clear()
        self._waiting = 0
        self._writer.write_table(whole)

    def close(self) -> None:
        self.flush()
        if self._tables:
            self._write()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
