# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of all kinds as one stream, in the order of their packets' times.

Its first bytes say what a file is, and how it is compressed, not its name.  Each file
is looked at once for its first packet's time; then the files are opened when their time
comes, read in pieces and closed at their end.  So memory holds a piece of each of those
files that overlap, which for rotated files is one, however long they are.

A file that cannot be read is reported and skipped; of a damaged one everything that stands
before the damage is read.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import resource
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Callable, NamedTuple, Optional, cast

from ..errors import PflogError
from ..pflog.pcapng import MAGIC as PCAPNG_MAGIC
from ..pflog.pcapng import decoder_of
from ..pflog.savefile import MAGICS as SAVEFILE_MAGICS
from ..pflog.savefile import Record
from .compressed import ERRORS, decompressed
from .compressed import MAGICS as PACKED_MAGICS

__all__ = ["Batch", "Captures", "Contents", "is_capture", "is_stream", "sizes"]

STDIN = "-"

SPARE_FILES = 64
"""Files that may be open beside the captures."""

CHUNK = 1 << 18
"""Bytes decoded at once: some two thousand packets."""


def is_stream(name: str) -> bool:
    """Return whether a capture can be read but once: standard input, a FIFO."""
    if name == STDIN:
        return True
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_capture(path: Path) -> bool:
    """Return whether a file begins as captures, also packed ones, do."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError:
        return False
    return start.startswith((*SAVEFILE_MAGICS, PCAPNG_MAGIC, *PACKED_MAGICS))


def sizes(names: Iterable[str]) -> dict[str, int]:
    """Return the sizes of files, in bytes, of those that have one."""
    found = {}
    for name in names:
        if not is_stream(name):
            with contextlib.suppress(OSError):
                found[name] = Path(name).stat().st_size
    return found


class Batch(NamedTuple):
    """Packets of one file, oldest first, none of them younger than another file's next.

    Attributes:
        byteorder: ``<`` or ``>``, of the fields of their pflog headers in host order.
        records: The packets.
    """

    byteorder: str
    records: list[Record]


class Contents(NamedTuple):
    """What was read of a capture so far.

    Attributes:
        name: The file's.
        packets: How many.
        begin: Seconds since the epoch of the first in the file, 0.0 where there is none.
        end: The same of the last.
        problem: Why it was skipped, or the rest of it.
    """

    name: str
    packets: int
    begin: float
    end: float
    problem: str


Tell = Callable[[str], None]


def allow_files(count: int) -> None:
    """Allow that as many files are open at once, as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _same_file(name: str, known: dict[tuple[int, int], str]) -> Optional[str]:
    """Return under which name a regular file was named before."""
    if is_stream(name):
        return None
    try:
        status = Path(name).stat()
    except OSError:
        return None
    identity = status.st_dev, status.st_ino
    other = known.get(identity)
    known.setdefault(identity, name)
    return other


class Captures:
    """A number of captures.

    Args:
        names: Paths; ``-`` is standard input.
        report: Called with a sentence for each file that is skipped or damaged.
        limits: Up to where files that grow are read, from ``sizes``; by default, where they
            end now.

    Attributes:
        bad: How many files were skipped or damaged.
        done: Bytes read so far, as they are on the disk; for progress.
        size: Bytes in all.
    """

    def __init__(
        self, names: Iterable[str], report: Tell, limits: Optional[Mapping[str, int]] = None
    ) -> None:
        self.bad = 0
        self.done = 0
        self.size = 0
        self._report = report
        self._waiting: list[_Capture] = []
        self._all: list[_Capture] = []
        names = list(dict.fromkeys(names))
        allow_files(len(names))
        if limits is None:
            limits = sizes(names)
        known: dict[tuple[int, int], str] = {}
        for name in names:
            if other := _same_file(name, known):
                report(f"{name}: is the same file as {other}, and read once")
                continue
            capture = _Capture(name, limits.get(name, 0))
            self._all.append(capture)
            if self._try(capture, capture.peek):
                self._waiting.append(capture)
                self.size += capture.size
        self._waiting.sort(key=lambda capture: capture.first, reverse=True)

    @property
    def contents(self) -> list[Contents]:
        """What was read of each file so far, in the order in which they were named."""
        return [
            Contents(each.name, each.packets, each.begin, each.end, each.problem)
            for each in self._all
        ]

    @property
    def firsts(self) -> list[tuple[int, str]]:
        """Of the captures that wait to be read: the first packet's second, and the name."""
        return [(capture.first[0], capture.name) for capture in reversed(self._waiting)]

    def __iter__(self) -> Iterator[Batch]:
        """Yield all packets, once."""
        active: list[tuple[tuple[int, int], int, _Capture]] = []
        order = 0
        while active or self._waiting:
            # Open what may come next: a waiting file is no younger than its first packet.
            while self._waiting and (not active or self._waiting[-1].first <= active[0][0]):
                capture = self._waiting.pop()
                if self._fill(capture):
                    heapq.heappush(active, (capture.head, order, capture))
                    order += 1
            if not active:
                continue
            _, number, capture = heapq.heappop(active)
            limits = [active[0][0]] if active else []
            if self._waiting:
                limits.append(self._waiting[-1].first)
            yield Batch(capture.byteorder, capture.take(min(limits, default=None)))
            if capture.records or self._fill(capture):
                heapq.heappush(active, (capture.head, number, capture))

    def _fill(self, capture: _Capture) -> bool:
        before = capture.position
        more = self._try(capture, capture.fill)
        self.done += capture.position - before if more else capture.size - before
        return more

    def _try(self, capture: _Capture, step: Callable[[], bool]) -> bool:
        try:
            more = step()
        except (PflogError, *ERRORS) as error:
            reason = error.reason if isinstance(error, PflogError) else None
            reason = reason or getattr(error, "strerror", None) or str(error)
            self.bad += 1
            capture.problem = reason
            what = "the rest of it is skipped" if capture.was_read else "skipped"
            self._report(f"{capture.name}: {reason}; {what}")
            more = False
        if not more:
            capture.close()
        return more


class _Capture:
    """One file.

    Attributes:
        first: When its first packet came, (seconds, microseconds).
        records: What was decoded and not taken yet.
        position: Bytes read, as they are on the disk; 0 of a stream.
        size: Bytes in all, and up to where a file that grows is read.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = "standard input" if name == STDIN else name
        self.first = (0, 0)
        self.records: list[Record] = []
        self.packets = 0
        self.begin = self.end = 0.0
        self.problem = ""
        self.size = size
        self.position = 0
        self.was_read = False
        self._path = None if name == STDIN else Path(name)
        self._is_stream = is_stream(name)
        self._raw: Optional[BinaryIO] = None
        self._file: Any = None
        self._decoder = decoder_of(b"")

    @property
    def head(self) -> tuple[int, int]:
        """When the next record came."""
        return self.records[0][:2]

    @property
    def byteorder(self) -> str:
        return self._decoder.byteorder

    def peek(self) -> bool:
        """Find ``first``; False when there is no packet."""
        if not self.fill():
            return False
        self.first = self.head
        if self._path is not None and not self._is_stream:  # opened again when its time comes
            self.close()
            self.records = []
            self.position = 0
            self.was_read = False
        return True

    def fill(self) -> bool:
        """Decode the next piece; False at the end."""
        if self.records:
            return True
        if self._file is None:
            self._open()
        while not self.records:
            data = self._file.read1(self._room())
            self.records = self._decoder.feed(data)
            if not data and not self.records:
                if (pending := self._decoder.pending) and not self._has_grown():
                    raise PflogError("record", 0, pending, "ends within a record")
                return False
        self.was_read = True
        if self._raw is not None and not self._is_stream:
            self.position = self._raw.tell()
        return True

    def _room(self) -> int:
        """How many bytes to read next: of a file that grows only what it had."""
        if self._file is not self._raw or self._raw is None or self._is_stream:
            return CHUNK
        left: int = self.size - self._raw.tell()
        return min(CHUNK, max(0, left))

    def _has_grown(self) -> bool:
        """Whether what looks like an end within a record is none."""
        return (
            self._file is self._raw
            and self._path is not None
            and not self._is_stream
            and self._path.stat().st_size > self.size
        )

    def take(self, limit: Optional[tuple[int, int]]) -> list[Record]:
        """The records up to ``limit``, another file's next time: at least one."""
        records = self.records
        count = len(records)
        if limit is not None and records[-1][:2] > limit:
            count = next((index for index, each in enumerate(records) if each[:2] > limit), count)
            count = max(1, count)
        taken, self.records = records[:count], records[count:]
        if not self.packets:
            self.begin = taken[0][0] + taken[0][1] / 1e6
        self.end = taken[-1][0] + taken[-1][1] / 1e6
        self.packets += count
        return taken

    def close(self) -> None:
        for file in (self._file, self._raw):
            if file is not None and self._path is not None:
                file.close()
        self._file = self._raw = None

    def _open(self) -> None:
        raw = cast(BinaryIO, sys.stdin.buffer) if self._path is None else self._path.open("rb")
        self._raw = raw
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(Any, raw))
        self._file = decompressed(buffered)
        self._decoder = decoder_of(self._file.peek(1))
