# SPDX-License-Identifier: GPL-2.0-or-later
"""pcapng: bytes in, records out, no I/O.

A file is a chain of blocks (type, length, body, length again): a section header has the
byte order, an interface description the link type and the unit of time, and an enhanced
(or, long ago, plain) packet block holds one frame.  A simple packet block, which
has no time, is refused; other interfaces' packets and everything else are passed over.
draft-ietf-opsawg-pcapng; libpcap reads the same, but neither from a pipe nor
compressed, and refuses a file in which two interfaces differ.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Union

from ..errors import PflogError
from . import nflog
from .savefile import DLT_PFLOG, MAX_CAPLEN, Decoder, Record, check_link_type

__all__ = ["MAGIC", "PcapngDecoder", "decoder_of"]

MAGIC = b"\x0a\x0d\x0d\x0a"
"""The first 4 bytes: the type of a section header, the same in both byte orders."""

MAX_BLOCK = 2 * MAX_CAPLEN
"""Longest block: a frame and its options; longer is damage."""

MAX_SECONDS = 1 << 32
"""Times are before this, as a savefile's are: the year 2106."""

_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14  # options of an interface
_SHORTEST = 12  # type and both lengths


class _Interface(NamedTuple):
    """An interface: its link type, how many units a second has, seconds to add."""

    linktype: int
    units: int
    offset: int


class PcapngDecoder:
    """A pcapng file that arrives in pieces: feed(bytes) returns the records that are whole.

    Attributes:
        byteorder: ``<`` or ``>``, the order of the section being read.
        offset: bytes that were consumed as whole blocks.
        lengths: bytes on the wire of the frames that were returned last.
    """

    def __init__(self) -> None:
        self.byteorder = ""
        self.offset = 0
        self.lengths: list[int] = []
        self._buffer = b""
        self._interfaces: list[_Interface] = []
        self._has_pflog = False  # one of them is pf's

    @property
    def pending(self) -> int:
        """Return how many bytes of an unfinished block wait for the rest."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes of the file, return the records that they complete.

        Raises:
            PflogError: the file is damaged, or its frames are not pflog's (layer
                ``pcapng``); the records before a damage are returned first.
        """
        buffer = self._buffer + data if self._buffer else data
        records: list[Record] = []
        self.lengths = []
        at = 0
        try:
            while at + _SHORTEST <= len(buffer):
                kind, length = self._block(buffer, at)
                if at + length > len(buffer):
                    break
                if kind == _INTERFACE:
                    interface = self._interface(buffer[at + 8 : at + length - 4])
                    self._interfaces.append(interface)
                    self._has_pflog = self._has_pflog or interface.linktype in (
                        DLT_PFLOG,
                        nflog.DLT_NFLOG,
                    )
                elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
                    found = self._packet(kind, buffer[at + 8 : at + length - 4])
                    if found is not None:
                        records.append(found[0])
                        self.lengths.append(found[1])
                at += length
        except PflogError:
            if not records:
                raise
            # What came before the damage is returned first; the next call meets it again.
        self._buffer = buffer[at:]
        self.offset += at
        return records

    def end(self) -> None:
        """Take the end of the file; raises PflogError where it cannot end."""
        if self._buffer:
            reason = f"the file ends inside a block, of which it has {self.pending} bytes"
            raise PflogError("pcapng", 0, self.pending, reason)

    def _block(self, buffer: bytes, at: int) -> tuple[int, int]:
        """Return type and length of the block at ``at``; a section header sets the byte order."""
        if buffer[at : at + 4] == MAGIC:
            order = _BYTE_ORDERS.get(buffer[at + 8 : at + 12])
            if order is None:
                raise PflogError("pcapng", 0, len(buffer) - at, "section without a byte order")
            self.byteorder = order
            self._interfaces, self._has_pflog = [], False
        if not self.byteorder:
            raise PflogError("pcapng", 0, len(buffer) - at, "does not start with a section")
        kind, length = struct.unpack_from(self.byteorder + "II", buffer, at)
        if length < _SHORTEST or length % 4 or length > MAX_BLOCK:
            raise PflogError("pcapng", 0, len(buffer) - at, f"a block is {length} bytes long")
        return kind, length

    def _interface(self, body: bytes) -> _Interface:
        self._need(body, 8)
        linktype: int = struct.unpack_from(self.byteorder + "H", body)[0]
        units, offset = 1_000_000, 0
        at = 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self.byteorder + "HH", body, at)
            value = body[at + 4 : at + 4 + length]
            if code == _TIME_RESOLUTION and len(value) == 1:
                units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _TIME_OFFSET and len(value) == 8:
                offset = struct.unpack(self.byteorder + "q", value)[0]
            at += 4 + (length + 3 & ~3)
        return _Interface(linktype, units, offset)

    def _packet(self, kind: int, body: bytes) -> Optional[tuple[Record, int]]:
        """Return a packet and its length on the wire; None where it is another interface's."""
        if kind == _SIMPLE_PACKET:
            raise PflogError("pcapng", 0, len(body), "a simple packet block has no time")
        self._need(body, 20)
        layout = "IIIII" if kind == _PACKET else "HxxIIII"
        number, high, low, caplen, length = struct.unpack_from(self.byteorder + layout, body)
        if number >= len(self._interfaces):
            raise PflogError("pcapng", 0, len(body), f"packet of an unknown interface {number}")
        self._need(body, 20 + caplen)
        interface = self._interfaces[number]
        frame = body[20 : 20 + caplen]
        if interface.linktype == nflog.DLT_NFLOG:
            [(_, _, frame)] = nflog.records([(0, 0, frame)], self.byteorder)
            length += len(frame) - caplen
        elif interface.linktype != DLT_PFLOG:
            if not self._has_pflog:
                check_link_type(interface.linktype)
            return None
        seconds, fraction = divmod(high << 32 | low, interface.units)
        seconds += interface.offset
        if not 0 <= seconds < MAX_SECONDS:
            raise PflogError("pcapng", 0, len(body), f"a packet's time is {seconds} s")
        micros = fraction * 1_000_000 // interface.units
        return (seconds, micros, frame), length

    @staticmethod
    def _need(body: bytes, size: int) -> None:
        if len(body) < size:
            raise PflogError("pcapng", size, len(body))


def decoder_of(start: bytes) -> Union[Decoder, PcapngDecoder]:
    """Return a new decoder for a capture that begins with ``start``."""
    return PcapngDecoder() if start[:1] == MAGIC[:1] else Decoder()
