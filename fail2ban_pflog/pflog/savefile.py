# SPDX-License-Identifier: GPL-2.0-or-later
"""The pcap savefile: bytes in, records out, no I/O.

A savefile is a header of 24 bytes, then records: a header of 16 bytes (seconds,
fraction, captured length, original length) and the captured bytes.  Both byte
orders and both units of the fraction (microseconds, nanoseconds) exist.

``FileHeader.parse`` reads the first 24 bytes; ``FileHeader.records`` cuts as many
whole records as there are from a buffer and returns where it ended, so that a follower
can keep its position as a plain file offset; ``Decoder`` keeps the buffer itself, for
streams.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

from ..errors import PflogError
from . import nflog

__all__ = [
    "DLT_OLD_PFLOG",
    "DLT_PFLOG",
    "FILE_HEADER_SIZE",
    "MAGICS",
    "MAX_CAPLEN",
    "RECORD_HEADER_SIZE",
    "Batch",
    "Decoder",
    "FileHeader",
    "Record",
    "check_link_type",
]

Record = tuple[int, int, bytes]
"""(seconds since the epoch, microseconds 0..999999, the frame as captured)."""

DLT_PFLOG = 117
DLT_OLD_PFLOG = 17

FILE_HEADER_SIZE = 24
RECORD_HEADER_SIZE = 16

MAX_CAPLEN = 262_144
"""Longest captured length of one record: libpcap's own MAXIMUM_SNAPLEN."""

SLACK = 512
"""Captured length that is believed whatever the snaplen says."""

_LINK_TYPE_MASK = 0x0FFFFFFF  # the upper bits are flags (FCS length)

# The magic number as it stands in the file: (struct's byte order, nanoseconds?).
_MAGIC = {
    b"\xa1\xb2\xc3\xd4": (">", False),
    b"\xd4\xc3\xb2\xa1": ("<", False),
    b"\xa1\xb2\x3c\x4d": (">", True),
    b"\x4d\x3c\xb2\xa1": ("<", True),
}
MAGICS = tuple(_MAGIC)
"""What savefiles begin with."""

_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_EMPTY = (0, 0, 0, 0)


class Batch(NamedTuple):
    """What ``FileHeader.records`` found in one buffer.

    Attributes:
        records: the whole records, oldest first.
        lengths: bytes of each record's frame before the snaplen cut it.
        end: index in the buffer behind the last of them; the next read starts there.
        damage: why no record can start at ``end``; None where it is only incomplete.
    """

    records: list[Record]
    lengths: list[int]
    end: int
    damage: Optional[PflogError]


class FileHeader(NamedTuple):
    """The first 24 bytes of a savefile.

    Attributes:
        byteorder: ``<`` or ``>``, as struct writes it; pflogd's host byte order.
        nanoseconds: whether the fraction of a record's time is in nanoseconds.
        snaplen: how many bytes of a frame were kept, according to the writer.
        linktype: what the frames are; 117 is pflog.
    """

    byteorder: str
    nanoseconds: bool
    snaplen: int
    linktype: int

    @classmethod
    def parse(cls, data: bytes) -> FileHeader:
        """Read a savefile's header.

        Args:
            data: at least the first 24 bytes of the file.

        Raises:
            PflogError: they are too few, or no savefile (layer ``savefile``).
        """
        magic = data[:4]
        if magic not in _MAGIC and not any(known.startswith(magic) for known in _MAGIC):
            if magic == _PCAPNG_MAGIC:
                raise PflogError("savefile", 0, len(data), "is pcapng, not a pcap savefile")
            raise PflogError("savefile", 0, len(data), f"no savefile: starts with {magic.hex()}")
        if len(data) < FILE_HEADER_SIZE:
            raise PflogError("savefile", FILE_HEADER_SIZE, len(data))
        byteorder, nanoseconds = _MAGIC[magic]
        major, minor, _, _, snaplen, linktype = struct.unpack_from(byteorder + "HHiIII", data, 4)
        if (major, minor) != (2, 4):
            raise PflogError("savefile", 0, len(data), f"version {major}.{minor} instead of 2.4")
        return cls(byteorder, nanoseconds, snaplen, linktype & _LINK_TYPE_MASK)

    @property
    def most(self) -> int:
        """Return the longest captured length that is believed."""
        return min(MAX_CAPLEN, max(self.snaplen, SLACK)) if self.snaplen else MAX_CAPLEN

    def records(self, buffer: bytes, start: int = 0, limit: int = 1 << 62) -> Batch:
        """Cut whole records from a buffer; never raises, see ``Batch.damage``.

        Args:
            buffer: bytes of the file.
            start: where in the buffer a record starts.
            limit: how many records at the most.
        """
        unpack = struct.Struct(self.byteorder + "IIII").unpack_from
        units, divisor = (1_000_000_000, 1000) if self.nanoseconds else (1_000_000, 1)
        records: list[Record] = []
        lengths: list[int] = []
        append, append_length = records.append, lengths.append
        size = len(buffer)
        most = self.most
        body = start + RECORD_HEADER_SIZE
        while body <= size and len(records) < limit:
            seconds, fraction, caplen, length = unpack(buffer, start)
            if caplen > most or fraction >= units or not length:
                damage = self._damage(seconds, fraction, caplen, length, size - start)
                if damage:
                    return self._batch(records, lengths, start, damage)
            end = body + caplen
            if end > size:
                break
            append((seconds, fraction // divisor if divisor > 1 else fraction, buffer[body:end]))
            append_length(length)
            start = end
            body = start + RECORD_HEADER_SIZE
        return self._batch(records, lengths, start, None)

    def _batch(
        self, records: list[Record], lengths: list[int], end: int, damage: Optional[PflogError]
    ) -> Batch:
        if self.linktype == nflog.DLT_NFLOG:
            raw, records = records, nflog.records(records, self.byteorder)
            lengths = [
                length + len(after[2]) - len(before[2])
                for length, before, after in zip(lengths, raw, records)
            ]
        return Batch(records, lengths, end, damage)

    def _damage(
        self, seconds: int, fraction: int, caplen: int, length: int, available: int
    ) -> Optional[PflogError]:
        if caplen > self.most:
            reason = f"captured length {caplen} is more than {self.most}"
        elif fraction >= (1_000_000_000 if self.nanoseconds else 1_000_000):
            reason = f"fraction of a second {fraction} is more than a second"
        elif (seconds, fraction, caplen, length) == _EMPTY:
            reason = "record header is all zero"  # a hole that a crash left in the file
        else:
            return None
        return PflogError("record", 0, available, reason)


def check_link_type(linktype: int) -> None:
    """Refuse frames that are not pflog's.

    Raises:
        PflogError: with the link type and what to do (layer ``savefile``).
    """
    if linktype in (DLT_PFLOG, nflog.DLT_NFLOG):
        return
    if linktype == DLT_OLD_PFLOG:
        hint = "OpenBSD 3.3 and older wrote that; it cannot be read"
    else:
        hint = (
            "record the packet filter's own log (pflog0, on Linux nflog:5), not a network interface"
        )
    raise PflogError(
        "savefile", 0, 0, f"link type {linktype} instead of {DLT_PFLOG} (pflog): {hint}"
    )


class Decoder:
    """A savefile that arrives in pieces: feed(bytes) returns the records that are whole.

    Attributes:
        header: None until the first 24 bytes have come.
        offset: bytes of the stream that were consumed as header and whole records.
        lengths: of the records that were returned last, as ``Batch.lengths``.
    """

    def __init__(self) -> None:
        self.header: Optional[FileHeader] = None
        self.offset = 0
        self.lengths: list[int] = []
        self._buffer = b""

    @property
    def byteorder(self) -> str:
        """Return ``<`` or ``>``; ``<`` before the header."""
        return self.header.byteorder if self.header else "<"

    @property
    def pending(self) -> int:
        """Return how many bytes of an unfinished record wait for the rest."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes of the stream, return the records that they complete.

        Raises:
            PflogError: the stream is no savefile, of another link type, or damaged; the
                records before a damage are returned first, the next call raises.
        """
        buffer = self._buffer + data if self._buffer else data
        start = 0
        if self.header is None:
            if len(buffer) < FILE_HEADER_SIZE:
                self._buffer = buffer
                if buffer:
                    self._refuse_foreign(buffer)
                return []
            header = FileHeader.parse(buffer)
            check_link_type(header.linktype)
            self.header = header
            start = FILE_HEADER_SIZE
        batch = self.header.records(buffer, start)
        self.lengths = batch.lengths
        if batch.damage is not None and not batch.records and batch.end == start:
            self._buffer = buffer[start:]
            self.offset += start
            raise batch.damage
        self.offset += batch.end
        self._buffer = buffer[batch.end :]
        return batch.records

    def end(self) -> None:
        """Take the end of the stream; raises PflogError where a whole savefile cannot end."""
        if self.header is None:
            FileHeader.parse(self._buffer)
        if self._buffer:
            reason = f"the file ends inside a record, of which it has {self.pending} bytes"
            raise PflogError("record", 0, self.pending, reason)

    @staticmethod
    def _refuse_foreign(buffer: bytes) -> None:
        """Raise at once where a stream cannot become a savefile."""
        try:
            FileHeader.parse(buffer)
        except PflogError as error:
            if not error.needed:
                raise
