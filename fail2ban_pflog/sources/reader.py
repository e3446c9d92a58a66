# SPDX-License-Identifier: GPL-2.0-or-later
"""One savefile, opened once and read from an offset, plain or compressed.

The place is a file offset and always behind a whole record: what follows it is read
anew each time.  So a record that is cut in two is simply not there yet, and a writer
that takes half a record back (pflogd does when its disk is full) changes nothing.
It moves only when all went well: an I/O error in between loses nothing.

A file is recognised by its identity, a digest of its header and first record: it stays
the same when the file grows, is renamed, copied or compressed.  Marks, the last bytes of
each read, show whether a file, or a copy of it, still holds what was read.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import stat
from collections import deque
from pathlib import Path
from typing import Callable, Optional, TypeVar, cast

from ..errors import PflogError
from ..pflog.resync import can_be_forged, find_certain, find_record
from ..pflog.savefile import (
    DLT_PFLOG,
    FILE_HEADER_SIZE,
    MAX_CAPLEN,
    RECORD_HEADER_SIZE,
    FileHeader,
    check_link_type,
)
from .compressed import decompressed
from .shared import Chunk, closed, opened

__all__ = ["PERMANENT", "SavefileReader", "attempt"]

CHUNK = 1 << 18
"""Bytes per read: some two thousand packets, so that a stop is noticed in between."""

LARGEST_RECORD = RECORD_HEADER_SIZE + MAX_CAPLEN

LARGEST_PACKET = 1 << 16
"""Bytes of an IP packet, reassembled or not."""

SHORTEST = 45
"""Length of the shortest pflog header, which is assumed where none was seen yet."""

_LEAST = RECORD_HEADER_SIZE + 4  # bytes that a record is recognised by

_SEARCH = 1 << 16  # bytes looked at around one place of a search by time

SEARCH_AT_ONCE = 16 << 20
"""Bytes that one read looks at for a record behind a damage: some tens of milliseconds."""

PROBES = 64
"""Positions that a search by time looks at first."""

MARKS, MARK = 16, 256
"""Reads that are remembered, and bytes of each: a whole record at least."""

TRIES = 3
"""Attempts of a call to the system: a disk's or a server's error may be over at once."""

PERMANENT = {
    None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENOTDIR,
    errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV,
}  # fmt: skip
"""Errors that an attempt anew does not mend; None is that of a decompressor, or our own."""

_Result = TypeVar("_Result")


def attempt(call: Callable[[], _Result], path: Path) -> _Result:
    """Call the system up to TRIES times; the last OSError names ``path`` if it names nothing."""
    for left in reversed(range(TRIES)):
        try:
            return call()
        except OSError as error:
            if error.errno in PERMANENT or not left:
                error.filename = error.filename or str(path)
                raise
    raise AssertionError("no attempt was left")


class SavefileReader:
    """Read one savefile from an offset on.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened, or is no regular file.

    Attributes:
        inode: (device, inode) of the open file, whatever its name is by now.
        offset: Where the next record starts; 0 before the file's header was read.
        damage: Why nothing can be read at ``offset`` (None where all is well).
        resumed: Where reading went on behind the last damage.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Without O_NONBLOCK a FIFO would hold us until somebody writes into it.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = attempt(lambda: os.open(path, flags), path)
        self._raw = io.BufferedReader(io.FileIO(descriptor))
        try:
            status = attempt(lambda: os.fstat(descriptor), path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("is no regular file")  # noqa: TRY301 - it is closed below
            self._file = attempt(lambda: decompressed(self._raw), path)
        except OSError as error:
            self._raw.close()
            error.filename = error.filename or str(path)
            raise
        self.inode = status.st_dev, status.st_ino
        self._common = opened(self.inode, self)
        self.is_compressed = self._file is not self._raw  # and so will not change any more
        self.offset = 0
        self.resumed = 0
        self.header: Optional[FileHeader] = None
        self._previous: Optional[FileHeader] = None  # the header before a truncation
        self.damage: Optional[PflogError] = None
        self._begin = 0  # of the last read
        self._marks: deque[tuple[int, bytes]] = deque(maxlen=MARKS)  # (offset, bytes before it)
        self._head = FILE_HEADER_SIZE  # bytes of the file's header; 0 where it has none
        self._first = FILE_HEADER_SIZE  # where the first record starts
        self._prefix = b""  # the file's header and first record, once they are whole
        self._header_length: Optional[int] = None  # byte 0 of the file's frames
        self._end = 0  # of the file, when it was last searched
        self._searched = 0  # how far a search for a record behind a damage has come

    def close(self) -> None:
        """Close the file."""
        if not self._file.closed:
            closed(self.inode, self)
        try:
            self._file.close()
        except OSError:  # of a disk that is gone; nothing was written
            self._raw.close()

    @property
    def size(self) -> int:
        """Bytes in the file now (of a compressed one: on the disk)."""
        return attempt(lambda: os.fstat(self._raw.fileno()), self.path).st_size

    @property
    def byteorder(self) -> str:
        """``<`` or ``>``, once the header was read."""
        return self.header.byteorder if self.header else ""

    @property
    def identity(self) -> str:
        """What the file is recognised by; "" while it has no record, or is no savefile."""
        try:
            self._load_prefix()
        except PflogError:
            return ""
        return self.known_identity

    @property
    def known_identity(self) -> str:
        """The identity as it was when the first record was read; "" if none was."""
        return hashlib.sha256(self._prefix).hexdigest()[:32] if self._prefix else ""

    @property
    def is_same_content(self) -> bool:
        """False once the file lost something that was read, or was rewritten."""
        return self.is_compressed or (self.size >= self.offset and self._holds_what_was_read())

    @property
    def keeps_prefix(self) -> bool:
        """Whether the file still begins with the first record that was read from it."""
        if not self._prefix:
            return False
        head = self._pread(0, self._head)
        return head + self._pread(self._first, len(self._prefix) - len(head)) == self._prefix

    @property
    def is_searching(self) -> bool:
        """Whether the next read goes on looking for a record behind a damage."""
        return self.damage is not None and self._searched + _LEAST < self._end

    @property
    def is_cut(self) -> bool:
        """Whether bytes stand behind the last whole record."""
        return not self.is_compressed and self.size > self.offset

    def move(self, offset: int) -> None:
        """Read on from another offset, where a record starts."""
        self.offset, self.damage = offset, None
        while self._marks and self._marks[-1][0] > offset:
            self._marks.pop()

    def resume(self, offset: int) -> float:
        """Read on where another process has read to.

        Returns:
            Seconds since the epoch of the record before; infinity where it cannot be found.
        """
        self.move(offset)
        begin = max(self._first, offset - MARK * MARKS)
        buffer = self._pread(begin, offset - begin) if self.load_header() else b""
        if not buffer or len(buffer) < offset - begin:
            return math.inf
        self._marks.append((offset, buffer[-MARK:]))
        header = cast(FileHeader, self.header)
        at = find_record(header, buffer, 0, self._header_length)
        batch = header.records(buffer, at) if at is not None else None
        if batch is None or batch.end < len(buffer) or not batch.records:
            return math.inf
        return batch.records[-1][0] + batch.records[-1][1] / 1e6

    def adopt(self, other: SavefileReader) -> None:
        """Read on where another reader of the same content is, in this copy of it."""
        if self.load_header():
            self._marks = other._marks.copy()
            self.offset = max(self.offset, other.offset)

    def holds_end_of(self, other: SavefileReader) -> bool:
        """Whether all of another file, a copy, seems to be in this one."""
        size = other.size
        begin = max(0, size - MARK)
        return self._pread(begin, size - begin) == other._pread(begin, size - begin)

    def recover(self) -> None:
        """Move back to where the file holds for certain what was read."""
        size = self.size
        self.damage = None
        while self._marks and not (self._marks[-1][0] <= size and self._has(*self._marks[-1])):
            self._marks.pop()
        self.offset = self._marks[-1][0] if self._marks else self._first

    def restart(self) -> None:
        """Read the open file, which was truncated, from its start again.

        A writer that does not know of it goes on without a new savefile header: then the
        one from before holds on.
        """
        self._previous, self.header, self.damage = self.header or self._previous, None, None
        self.offset, self._first, self._head = 0, FILE_HEADER_SIZE, FILE_HEADER_SIZE
        self._prefix = b""
        self._marks.clear()

    def first_time(self) -> Optional[float]:
        """Return seconds since the epoch of the first record, None while there is none."""
        if not self._load_prefix():
            return None
        record = cast(FileHeader, self.header).records(self._prefix, self._head).records[0]
        return record[0] + record[1] / 1e6

    def load_header(self) -> bool:
        """Read the file's header.

        Returns:
            False while it is not whole.

        Raises:
            PflogError: The file is no savefile or of another link type.
            OSError: It cannot be read.
        """
        if self.header is None:
            data = self._pread(0, FILE_HEADER_SIZE)
            if not data:
                return False
            try:
                header, first = FileHeader.parse(data), FILE_HEADER_SIZE
            except PflogError as error:
                if error.needed:
                    return False
                found = self._without_header(any(data))
                if found is None:
                    if not any(data):
                        return False  # a hole, of which the end is not written yet
                    raise
                header, first = found
                self._head = 0
            check_link_type(header.linktype)
            self.header, self._first = header, first
            self.offset = max(self.offset, first)
        return True

    def read(self) -> Chunk:
        """Return the next whole records, none at the end of what is there.

        Others that read the file are given the same ones: pieces end alike, wherever one began.
        Sets ``damage`` where the bytes at ``offset`` are no record; the next read
        looks for the next plausible one behind it.

        Raises:
            PflogError: As ``load_header`` does.
            OSError: The file cannot be read; nothing has changed.
        """
        if not self.load_header():
            return Chunk()
        if self.damage is not None and not self._skip_damage():
            return Chunk()
        self._common.wait_for_others(self)
        begin = self.offset
        try:
            with self._common.lock:
                chunk, end = self._read_common(cast(FileHeader, self.header))
                if chunk and not (self.is_compressed or self._holds_what_was_read()):
                    return Chunk()  # truncated and grown again: these are other records
                self.offset = end
                if chunk:
                    if self._load_prefix():
                        self._common.keep(self, begin, self._prefix, chunk, end)
                    self._marks.append((end, chunk.tail))
        except BaseException:
            self.offset = begin
            raise
        self._begin = begin
        return chunk

    def offset_of(self, chunk: Chunk, index: int) -> int:
        """Return where one of the records of the last read starts."""
        header = cast(FileHeader, self.header)
        if header.linktype == DLT_PFLOG:
            return self.offset - sum(RECORD_HEADER_SIZE + len(each[2]) for each in chunk[index:])
        buffer = self._pread(self._begin, self.offset - self._begin)  # frames were converted
        return self._begin + header.records(buffer, limit=index).end

    def _read_common(self, header: FileHeader) -> tuple[Chunk, int]:
        """Return what another has just read at this place, or else what is there, and its end."""
        if self._prefix and (kept := self._common.get(self, self._prefix)):
            chunk, end = kept
            if self.is_compressed or self._has(end, chunk.tail):
                return chunk, end
        begin = self.offset
        size = CHUNK - begin % CHUNK
        if size < CHUNK // 2:
            size += CHUNK
        buffer = self._pread(begin, size)
        batch = header.records(buffer)
        if not batch.records and batch.damage is None and len(buffer) == size:
            buffer = self._pread(begin, LARGEST_RECORD)
            batch = header.records(buffer, limit=1)
        chunk = Chunk(batch.records)
        chunk.tail = buffer[max(0, batch.end - MARK) : batch.end]
        if batch.damage is not None and not chunk:
            self.damage = batch.damage
            self._searched = begin + batch.end + 1
        return chunk, begin + batch.end

    def _holds_what_was_read(self) -> bool:
        return (not self._prefix or self.keeps_prefix) and (
            not self._marks or self._has(*self._marks[-1])
        )

    def _has(self, end: int, tail: bytes) -> bool:
        """Whether certain bytes end there: pflogd takes back what it failed to write."""
        return self._pread(end - len(tail), len(tail)) == tail

    def seek_time(self, since: float) -> None:
        """Move ``offset`` forward, to a record near the first one not older than ``since``.

        The file is looked at in PROBES places, so that a clock that was set back does not hide
        young packets behind old ones, then halved between the last old one and the first young
        one.  Where payload could hold a forged record, or the file is compressed, the caller
        reads through it.

        Args:
            since: Seconds since the epoch.
        """
        if self.is_compressed or not self._load_prefix() or self._may_be_forged:
            return
        low, high = self.offset, self.size
        step = max(_SEARCH, (high - low) // PROBES)
        for place in range(low + step, high, step):
            at, old = self._probe(place, since)
            if not old:
                high = place
                break
            low = at
        while high - low > _SEARCH:
            middle = (low + high) // 2
            at, old = self._probe(middle, since)
            low, high = (at, high) if old else (low, middle)
        self.move(low)

    def _probe(self, place: int, since: float) -> tuple[int, bool]:
        """Return the first record behind a place, and whether it is older than ``since``."""
        header = cast(FileHeader, self.header)
        buffer = self._pread(place, _SEARCH)
        at = find_record(header, buffer, 0, self._header_length)
        records = header.records(buffer, at, 1).records if at is not None else []
        if at is None or not records:
            return place, False
        return place + at, records[0][0] + records[0][1] / 1e6 < since

    @property
    def _may_be_forged(self) -> bool:
        """Whether a payload has room for a record."""
        header = cast(FileHeader, self.header)
        return can_be_forged(header.snaplen or MAX_CAPLEN, self._header_length or SHORTEST)

    def _without_header(self, has_data: bool) -> Optional[tuple[FileHeader, int]]:
        """Return a header that fits a file without one, and where its first record starts.

        A file that was truncated under its writer begins with a record, or with a hole where
        the writer does not append.
        """
        known = self._previous
        headers = [known] if known else [FileHeader(order, False, 0, DLT_PFLOG) for order in "<>"]
        self._searched, buffer = 0, b""
        while self._searched < SEARCH_AT_ONCE:
            if not has_data:
                self._skip_hole()
            buffer = self._pread(self._searched, LARGEST_RECORD)
            if any(buffer) or len(buffer) < LARGEST_RECORD:
                break
            self._searched += len(buffer) - _LEAST
        for header in headers:
            at = find_record(header, buffer, 0, self._header_length)
            if at is not None and not any(buffer[:at]):
                return header, self._searched + at
        return None

    def _load_prefix(self) -> bool:
        """Read the first record, behind a damage the first that is whole; False without one."""
        if self._prefix:
            return True
        if not self.load_header():
            return False
        header, first = cast(FileHeader, self.header), self._first
        data = self._pread(first, LARGEST_RECORD)
        batch = header.records(data, 0, 1)
        if batch.damage is not None:
            state, self._searched = (self._searched, self._end), first + 1
            found = self._search()
            self._searched, self._end = state
            if found is None:
                return False
            first, data = found, self._pread(found, LARGEST_RECORD)
            batch = header.records(data, 0, 1)
        if not batch.records or not batch.records[0][2]:
            return False
        self._prefix = self._pread(0, self._head) + data[: batch.end]
        self._first = first
        self._header_length = batch.records[0][2][0]
        return True

    def _skip_damage(self) -> bool:
        """Look for a record behind the damage; False while there is none."""
        found = self._search()
        if found is None:
            return False
        self.offset = self.resumed = found
        self.damage = None
        return True

    def _search(self) -> Optional[int]:
        """Return where the next record behind a damage starts, None while there is none.

        What was searched is not searched again: only the last bytes, which may be
        the start of a record that is not whole.
        """
        header = cast(FileHeader, self.header)
        self._end = self.size if not self.is_compressed else 0
        forged = self._may_be_forged
        most = RECORD_HEADER_SIZE + min(header.snaplen or LARGEST_PACKET, LARGEST_PACKET)
        stop = self._searched + SEARCH_AT_ONCE
        while self._searched < stop:
            buffer = self._pread(self._searched, LARGEST_RECORD)
            if not any(buffer) and (skipped := self._skip_hole()):
                stop += skipped
                continue
            if forged:
                at = find_certain(header, buffer, most, self._header_length)
            else:
                at = find_record(header, buffer, 0, self._header_length)
            if at is not None:
                return self._searched + at
            is_last = len(buffer) < LARGEST_RECORD
            if len(buffer) <= _LEAST or (forged and is_last):  # whose records are to be followed
                return None
            self._searched += len(buffer) - _LEAST
            if is_last:
                return None
        return None

    def _skip_hole(self) -> int:
        """Move on to where a sparse file has data again; returns by how many bytes."""
        if self.is_compressed or not hasattr(os, "SEEK_DATA"):
            return 0
        begin, descriptor = self._searched, self._raw.fileno()
        try:
            data = os.lseek(descriptor, begin, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no such thing on this file system
                return 0
            data = self.size  # there is no data behind
        # A record's first bytes may be zero, too.
        self._searched = max(begin, data - _LEAST)
        return self._searched - begin

    def _pread(self, offset: int, size: int) -> bytes:
        def read() -> bytes:
            if not self.is_compressed:
                return os.pread(self._raw.fileno(), size, offset)
            self._file.seek(offset)
            return cast(bytes, self._file.read(size))

        return attempt(read, self.path)
