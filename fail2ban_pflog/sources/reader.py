"""One savefile, opened once and read from an offset, plain or compressed.

The place is a file offset and always behind a whole record: what follows it is read
anew each time.  So a record that is cut in two is simply not there yet, and a writer
that takes half a record back (pflogd does when its disk is full) changes nothing.

A file is recognised by its identity, a digest of its header and first record: it
stays the same when the file grows, is renamed or compressed.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from pathlib import Path
from typing import BinaryIO, Callable, Optional, cast

from ..errors import PflogError
from ..resync import can_be_forged, find_record
from ..savefile import (
    FILE_HEADER_SIZE,
    MAX_CAPLEN,
    RECORD_HEADER_SIZE,
    FileHeader,
    Record,
    check_link_type,
)

__all__ = ["SUFFIXES", "SavefileReader", "open_savefile"]

CHUNK = 1 << 17
"""Bytes per read: about a thousand packets, so that a stop is noticed in between."""

LARGEST_RECORD = RECORD_HEADER_SIZE + MAX_CAPLEN

_SEARCH = 1 << 16  # bytes looked at around one place of a search by time


def _open_zstd(path: Path) -> BinaryIO:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise OSError(f"{path}: this Python cannot read zstd (3.14 and newer can)") from None
    return cast(BinaryIO, zstd.open(path))


_OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": cast(Callable[[Path], BinaryIO], gzip.open),
    ".bz2": cast(Callable[[Path], BinaryIO], bz2.open),
    ".xz": cast(Callable[[Path], BinaryIO], lzma.open),
    ".zst": _open_zstd,
}
SUFFIXES = ("", *_OPENERS)


def open_savefile(path: Path) -> BinaryIO:
    """Open a savefile for reading, decompressed where its name ends in .gz, .bz2, .xz, .zst.

    Raises OSError.
    """
    opener = _OPENERS.get(path.suffix)
    return opener(path) if opener else path.open("rb", buffering=0)


class SavefileReader:
    """Read one savefile from an offset on.

    offset: where the next record starts; 0 before the file's header was read.
    damage: why nothing can be read at ``offset`` (None where all is well).
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.is_compressed = path.suffix in _OPENERS  # and so will not change any more
        self.offset = 0
        self.header: Optional[FileHeader] = None
        self._previous: Optional[FileHeader] = None  # the header before a truncation
        self.damage: Optional[PflogError] = None
        self._file = file
        self._first = FILE_HEADER_SIZE  # where the first record starts
        self._prefix = b""  # the file's header and first record, once they are whole
        self._header_length: Optional[int] = None  # byte 0 of the file's frames
        self._searched = 0  # how far a search for a record behind a damage has come

    @classmethod
    def open(cls, path: Path) -> SavefileReader:
        """Open ``path``.  Raises OSError."""
        return cls(path, open_savefile(path))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def inode(self) -> tuple[int, int]:
        """(device, inode) of the open file, whatever its name is by now."""
        stat = os.fstat(self._file.fileno())
        return stat.st_dev, stat.st_ino

    @property
    def size(self) -> int:
        """Bytes in the file now (of a compressed one: on the disk)."""
        return os.fstat(self._file.fileno()).st_size

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
                if self._previous is None or not self._is_headerless(self._previous):
                    raise
                header, self._first = self._previous, 0
            check_link_type(header.linktype)
            self.header = header
            self.offset = max(self.offset, self._first)
        return True

    def read(self) -> list[Record]:
        """The next whole records, or [] at the end of what is there.

        Sets ``damage`` where the bytes at ``offset`` are no record; the next read
        looks for the next plausible one behind it.
        Raises PflogError as ``load_header`` does, and OSError.
        """
        if not self.load_header():
            return []
        if self.damage is not None and not self._skip_damage():
            return []
        header = cast(FileHeader, self.header)
        buffer = self._pread(self.offset, CHUNK)
        batch = header.records(buffer)
        if not batch.records and batch.damage is None and len(buffer) == CHUNK:
            buffer = self._pread(self.offset, LARGEST_RECORD)
            batch = header.records(buffer)
        self.offset += batch.end
        if batch.damage is not None and not batch.records:
            self.damage = batch.damage
            self._searched = self.offset + 1
        if batch.records:
            self._load_prefix()
        return batch.records

    def seek_time(self, since: float) -> None:
        """Move ``offset`` forward, to a record near the first one not older than ``since``.

        since: seconds since the epoch.  Packets' times are taken to rise, as they do
        in a file that one pflogd wrote; where payload could hold a forged record, or
        the file is compressed, the offset stays and the caller reads through it.
        Raises PflogError and OSError as ``read`` does.
        """
        if self.is_compressed or not self.load_header() or not self._load_prefix():
            return
        header, length = cast(FileHeader, self.header), cast(int, self._header_length)
        if can_be_forged(header.snaplen, length):
            return
        low, high = self.offset, self.size
        while high - low > _SEARCH:
            middle = (low + high) // 2
            buffer = self._pread(middle, _SEARCH)
            at = find_record(header, buffer, 0, length)
            records = header.records(buffer, at, 1).records if at is not None else []
            if at is not None and records and records[0][0] + records[0][1] / 1e6 < since:
                low = middle + at
            else:
                high = middle
        self.offset = low

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
        while True:
            buffer = self._pread(self._searched, LARGEST_RECORD)
            at = find_record(header, buffer, 0, self._header_length)
            if at is not None:
                self.offset = self._searched + at
                self.damage = None
                return True
            advanced = len(buffer) - RECORD_HEADER_SIZE - 4
            if advanced <= 0:
                return False
            self._searched += advanced
            if len(buffer) < LARGEST_RECORD:
                return False

    def _pread(self, offset: int, size: int) -> bytes:
        if self.is_compressed:
            try:
                self._file.seek(offset)
                return self._file.read(size)
            except (EOFError, lzma.LZMAError, ValueError) as error:
                raise OSError(f"{self.path}: {error}") from error
        return os.pread(self._file.fileno(), size, offset)
