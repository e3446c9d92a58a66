"""Files as they were before gzip, bzip2, xz or zstd; their first bytes tell, not the name.

Whatever a decompressor raises comes as OSError.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
from typing import Any, BinaryIO, Callable, cast

__all__ = ["decompressed"]

_Open = Callable[[BinaryIO], Any]


def decompressed(file: Any) -> Any:
    """Return a reader of what a file holds, the file itself where it is not compressed.

    file, result: io.BufferedReader.  The reader can seek where the file can.  Raises OSError.
    """
    start = file.peek(6)[:6]
    for magic, open_ in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(_Decompressed(file, open_))
    return file


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
    return package.ZstdDecompressor().stream_reader(file, read_across_frames=True)


_OPENERS: dict[bytes, _Open] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": cast(_Open, bz2.BZ2File),
    b"\xfd7zXZ\x00": cast(_Open, lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


class _Decompressed(io.RawIOBase):
    """Seeks backwards by beginning anew, as not every decompressor can."""

    def __init__(self, file: Any, open_: _Open) -> None:
        self._file = file
        self._open = open_
        self._reader = open_(file)
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
            self._file.seek(0)
            self._reader = self._open(self._file)
            self._position = 0
        while self._position < offset and self._read(min(1 << 20, offset - self._position)):
            pass
        return self._position

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        except OSError:
            raise
        except Exception as error:  # each decompressor has its own
            raise OSError(str(error)) from error
        self._position += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
