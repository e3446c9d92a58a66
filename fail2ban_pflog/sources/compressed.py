# SPDX-License-Identifier: GPL-2.0-or-later
"""Files as they were before gzip, bzip2, xz or zstd; their first bytes say which, not the name.

The libraries are imported where they are needed: a system's Python may lack some.  What a
decompressor raises comes as OSError without a number; errors of the system keep theirs, and
reading can go on behind them.
"""

from __future__ import annotations

import importlib
import io
import zlib
from typing import Any, BinaryIO, Callable

__all__ = ["ERRORS", "MAGICS", "decompressed"]

_Open = Callable[[BinaryIO], Any]

ERRORS = (OSError, EOFError, zlib.error, ValueError)
"""What reading from the result of ``decompressed`` may raise."""


def decompressed(file: Any) -> Any:
    """Return a reader of what a file holds, the file itself where it is not compressed.

    Args:
        file: An io.BufferedReader, as the result is.  That can seek where the file can.

    Raises:
        OSError: The file cannot be read, or the library for it is missing.
    """
    start = file.peek(6)[:6]
    for magic, open_ in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(_Decompressed(file, open_))
    return file


def _open_with(module: str, name: str) -> _Open:
    def open_(file: BinaryIO) -> Any:
        try:
            return getattr(importlib.import_module(module), name)(file)
        except ImportError as error:
            raise OSError(f"is compressed, and this Python lacks a library: {error}") from None

    return open_


def _open_gzip(file: BinaryIO) -> Any:
    return importlib.import_module("gzip").GzipFile(fileobj=file)


def _open_zstd(file: BinaryIO) -> Any:
    """Open zstd, which Python's own library has since 3.14, before that by a package."""
    try:
        return importlib.import_module("compression.zstd").ZstdFile(file)
    except ImportError:
        pass
    try:
        package = importlib.import_module("zstandard")
    except ImportError:
        raise OSError("is compressed with zstd: install the package zstandard to read it") from None
    return _Zstd(file, package.ZstdDecompressor())


class _Zstd:
    """Reads the package's frames one after the other; its own reader takes a cut one for whole."""

    PIECE = 1024
    """Bytes taken at once: they become 32 MB at the most."""

    def __init__(self, file: BinaryIO, decompressor: Any) -> None:
        self._file = file
        self._decompressor = decompressor
        self._frame: Any = None
        self._left = b""
        self._done = io.BytesIO()

    def read1(self, size: int) -> bytes:
        while not (data := self._done.read(size)):
            piece = self._left or self._file.read(self.PIECE)
            self._left = b""
            if not piece:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end-of-stream marker")
                return b""
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            self._done = io.BytesIO(self._frame.decompress(piece))
            if self._frame.eof:
                self._left, self._frame = self._frame.unused_data, None
        return data


_OPENERS: dict[bytes, _Open] = {
    b"\x1f\x8b": _open_gzip,
    b"BZh": _open_with("bz2", "BZ2File"),
    b"\xfd7zXZ\x00": _open_with("lzma", "LZMAFile"),
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


MAGICS = tuple(_OPENERS)
"""What packed files begin with."""


class _Decompressed(io.RawIOBase):
    """Seeks backwards by beginning anew, as not every decompressor can."""

    def __init__(self, file: Any, open_: _Open) -> None:
        self._file = file
        self._open = open_
        self._reader: Any = open_(file)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        if offset < self._position:
            self._reader, self._position = None, 0
        self._skip_to(offset)
        return self._position

    def _skip_to(self, offset: int) -> None:
        while self._position < offset and self._read(min(1 << 20, offset - self._position)):
            pass

    def _read(self, size: int) -> bytes:
        if self._reader is None:  # what it has taken from the file may be lost
            position, self._position = self._position, 0
            self._file.seek(0)
            self._reader = self._open(self._file)
            self._skip_to(position)
        try:
            data: bytes = self._reader.read1(size)  # all that stands before a damage
        except OSError as error:
            if error.errno is not None:
                self._reader = None
            raise
        except Exception as error:  # each decompressor has its own
            raise OSError(str(error)) from error
        self._position += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
