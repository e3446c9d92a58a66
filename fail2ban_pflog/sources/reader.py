# SPDX-License-Identifier: GPL-2.0-or-later
"""One savefile, opened once and read from an offset, plain or compressed.

The place is a file offset and always behind a whole record: what follows it is read
anew each time.  So a record that is cut in two is simply not there yet, and a writer
that takes half a record back (pflogd does when its disk is full) changes nothing.

A file is recognised by its identity, a digest of its header and first record: it
stays the same when the file grows, is renamed or compressed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, cast

from ..errors import PflogError
from ..pflog.resync import can_be_forged, find_record
from ..pflog.savefile import (
    DLT_PFLOG,
    FILE_HEADER_SIZE,
    MAX_CAPLEN,
    RECORD_HEADER_SIZE,
    FileHeader,
    Record,
    check_link_type,
)
from .compressed import decompressed
from .shared import Chunk, closed, opened

__all__ = ["SavefileReader", "size_of"]

CHUNK = 1 << 18
"""Bytes per read: some two thousand packets, so that a stop is noticed in between."""

LARGEST_RECORD = RECORD_HEADER_SIZE + MAX_CAPLEN

_LEAST = RECORD_HEADER_SIZE + 4  # bytes that a record is recognised by

_SEARCH = 1 << 16  # bytes looked at around one place of a search by time

SEARCH_AT_ONCE = 16 << 20
"""Bytes that one read looks at for a record behind a damage: some tens of milliseconds."""

PROBES = 64
"""Positions that a search by time looks at first."""


def size_of(records: Sequence[Record]) -> int:
    """Return the bytes that records take in a file."""
    return sum(RECORD_HEADER_SIZE + len(frame) for _, _, frame in records)


class SavefileReader:
    """Read one savefile from an offset on.

    inode: (device, inode) of the open file, whatever its name is by now.
    offset: where the next record starts; 0 before the file's header was read.
    damage: why nothing can be read at ``offset`` (None where all is well).
    resumed: where reading went on behind the last damage.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``.  Raises OSError, also where it is no regular file."""
        self.path = path
        # Without O_NONBLOCK a FIFO would hold us until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._raw = io.BufferedReader(io.FileIO(descriptor))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self._raw.close()
            raise OSError("is no regular file")
        try:
            self._file = decompressed(self._raw)
        except OSError:
            self._raw.close()
            raise
        self.inode = status.st_dev, status.st_ino
        self._common = opened(self.inode, self)
        self.is_compressed = self._file is not self._raw  # and so will not change any more
        self.offset = 0
        self.resumed = 0
        self.header: Optional[FileHeader] = None
        self._previous: Optional[FileHeader] = None  # the header before a truncation
        self.damage: Optional[PflogError] = None
        self._first = FILE_HEADER_SIZE  # where the first record starts
        self._prefix = b""  # the file's header and first record, once they are whole
        self._header_length: Optional[int] = None  # byte 0 of the file's frames
        self._end = 0  # of the file, when it was last searched
        self._searched = 0  # how far a search for a record behind a damage has come

    def close(self) -> None:
        """Close the file."""
        if not self._file.closed:
            closed(self.inode, self)
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes in the file now (of a compressed one: on the disk)."""
        return os.fstat(self._raw.fileno()).st_size

    @property
    def byteorder(self) -> str:
        """``<`` or ``>``, once the header was read."""
        return self.header.byteorder if self.header else ""

    @property
    def identity(self) -> str:
        """What the file is recognised by; "" while it has no record or cannot be read."""
        try:
            self._load_prefix()
        except (OSError, PflogError):
            return ""
        return self.known_identity

    @property
    def known_identity(self) -> str:
        """The identity as it was when the first record was read; "" if none was."""
        return hashlib.sha256(self._prefix).hexdigest()[:32] if self._prefix else ""

    @property
    def is_same_content(self) -> bool:
        """False once the file lost something that was read, or was rewritten."""
        if self.is_compressed:
            return True
        return self.size >= self.offset and (not self._prefix or self.keeps_prefix)

    @property
    def keeps_prefix(self) -> bool:
        """Whether the file still begins with the first record that was read from it."""
        return bool(self._prefix) and self._pread(0, len(self._prefix)) == self._prefix

    @property
    def is_searching(self) -> bool:
        """Whether the next read goes on looking for a record behind a damage."""
        return self.damage is not None and self._searched + _LEAST < self._end

    @property
    def is_cut(self) -> bool:
        """Whether bytes stand behind the last whole record."""
        return not self.is_compressed and self.size > self.offset

    def rewind(self) -> None:
        """Move ``offset`` back to the last whole record that is still in the file."""
        end, self.offset, self.damage = self.size, self._first, None
        while self.offset < end and self.read():
            pass

    def restart(self) -> None:
        """Read the open file, which was truncated, from its start again.

        A writer that was not told goes on without a new savefile header: then the
        one from before holds on.
        """
        self._previous, self.header, self.damage = self.header, None, None
        self.offset, self._first, self._prefix = 0, FILE_HEADER_SIZE, b""

    def first_time(self) -> Optional[float]:
        """Seconds since the epoch of the first record, None while there is none.

        Raises PflogError and OSError as ``read`` does.
        """
        if not self._load_prefix():
            return None
        record = cast(FileHeader, self.header).records(self._prefix, self._first).records[0]
        return record[0] + record[1] / 1e6

    def load_header(self) -> bool:
        """Read the file's header; False while it is not whole.

        Raises PflogError when the file is no savefile or of another link type.
        """
        if self.header is None:
            data = self._pread(0, FILE_HEADER_SIZE)
            if not data:
                return False
            try:
                header = FileHeader.parse(data)
            except PflogError as error:
                if error.needed:
                    return False
                found = next(filter(self._is_headerless, self._possible_headers()), None)
                if found is None:
                    raise
                header, self._first = found, 0
            check_link_type(header.linktype)
            self.header = header
            self.offset = max(self.offset, self._first)
        return True

    def read(self) -> Chunk:
        """The next whole records, none at the end of what is there.

        Who else reads the file is given the same ones: pieces end alike, wherever one began.

        Sets ``damage`` where the bytes at ``offset`` are no record; the next read
        looks for the next plausible one behind it.
        Raises PflogError as ``load_header`` does, and OSError.
        """
        if not self.load_header():
            return Chunk()
        if self.damage is not None and not self._skip_damage():
            return Chunk()
        self._common.wait_for_others(self)
        with self._common.lock:
            return self._read_common(cast(FileHeader, self.header))

    def _read_common(self, header: FileHeader) -> Chunk:
        """What another has just read at this place, or else what is there."""
        if self._prefix and (kept := self._common.get(self, self._prefix)):
            chunk, end = kept
            if self.is_compressed or self._still_has(header, chunk[-1], end):
                self.offset = end
                return chunk
        begin = self.offset
        size = CHUNK - begin % CHUNK
        if size < CHUNK // 2:
            size += CHUNK
        buffer = self._pread(begin, size)
        batch = header.records(buffer)
        if not batch.records and batch.damage is None and len(buffer) == size:
            buffer = self._pread(begin, LARGEST_RECORD)
            batch = header.records(buffer, limit=1)
        end = begin + batch.end
        chunk = Chunk(batch.records)
        if chunk and self._load_prefix():
            self._common.keep(self, self._prefix, chunk, end)
        if batch.damage is not None and not chunk:
            self.damage = batch.damage
            self._searched = end + 1
        self.offset = end
        return chunk

    def _still_has(self, header: FileHeader, record: Record, end: int) -> bool:
        """Whether a record ends there: pflogd takes back what it failed to write, and goes on."""
        begin = end - RECORD_HEADER_SIZE - len(record[2])
        return header.records(self._pread(begin, end - begin)).records == [record]

    def seek_time(self, since: float) -> None:
        """Move ``offset`` forward, to a record near the first one not older than ``since``.

        since: seconds since the epoch.  The file is looked at in PROBES places, so that a
        clock that was set back does not hide young packets behind old ones, then halved
        between the last old one and the first young one.  Where payload could hold a
        forged record, or the file is compressed, the caller reads through it.
        Raises PflogError and OSError as ``read`` does.
        """
        if self.is_compressed or not self.load_header() or not self._load_prefix():
            return
        header, length = cast(FileHeader, self.header), cast(int, self._header_length)
        if can_be_forged(header.snaplen or MAX_CAPLEN, length):
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
        self.offset = low

    def _probe(self, place: int, since: float) -> tuple[int, bool]:
        """The first record behind a place, and whether it is older than ``since``."""
        header = cast(FileHeader, self.header)
        buffer = self._pread(place, _SEARCH)
        at = find_record(header, buffer, 0, self._header_length)
        records = header.records(buffer, at, 1).records if at is not None else []
        if at is None or not records:
            return place, False
        return place + at, records[0][0] + records[0][1] / 1e6 < since

    def _possible_headers(self) -> list[FileHeader]:
        """Of a file that was truncated under its writer and so begins with a record."""
        if self._previous is not None:
            return [self._previous]
        return [FileHeader(order, False, 0, DLT_PFLOG) for order in "<>"]

    def _is_headerless(self, header: FileHeader) -> bool:
        return find_record(header, self._pread(0, LARGEST_RECORD), 0, self._header_length) == 0

    def _load_prefix(self) -> bool:
        if self._prefix:
            return True
        if not self.load_header():
            return False
        header = cast(FileHeader, self.header)
        head = self._pread(0, self._first + LARGEST_RECORD)
        batch = header.records(head, self._first, 1)
        if not batch.records or not batch.records[0][2]:
            return False
        self._prefix = head[: batch.end]
        self._header_length = batch.records[0][2][0]
        return True

    def _skip_damage(self) -> bool:
        """Look for a record behind the damage; False while there is none.

        What was searched is not searched again: only the last bytes, which may be
        the start of a record that is not whole.
        """
        header = cast(FileHeader, self.header)
        self._end = self.size if not self.is_compressed else 0
        stop = self._searched + SEARCH_AT_ONCE
        while self._searched < stop:
            buffer = self._pread(self._searched, LARGEST_RECORD)
            if not any(buffer) and (skipped := self._skip_hole()):
                stop += skipped
                continue
            at = find_record(header, buffer, 0, self._header_length)
            if at is not None:
                self.offset = self.resumed = self._searched + at
                self.damage = None
                return True
            advanced = len(buffer) - _LEAST
            if advanced <= 0:
                return False
            self._searched += advanced
            if len(buffer) < LARGEST_RECORD:
                return False
        return False

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
        if self.is_compressed:
            self._file.seek(offset)
            return cast(bytes, self._file.read(size))
        return os.pread(self._raw.fileno(), size, offset)
