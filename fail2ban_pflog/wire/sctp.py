# SPDX-License-Identifier: GPL-2.0-or-later
"""SCTP (RFC 4960): ports, chunks and their numbers; never what they carry.

The line ends where tcpdump would start another: at the gaps and duplicates that a SACK
lists, and at the data of ForCES.
"""

from __future__ import annotations

from collections.abc import Generator

from .view import Endpoints, Text, View

__all__ = ["SCTP", "sctp"]

SCTP = 132
HEADER_SIZE, CHUNK_HEADER_SIZE = 12, 4

_CHUNKS = {
    0x00: "DATA", 0x01: "INIT", 0x02: "INIT ACK", 0x03: "SACK", 0x04: "HB REQ", 0x05: "HB ACK",
    0x06: "ABORT", 0x07: "SHUTDOWN", 0x08: "SHUTDOWN ACK", 0x09: "OP ERR", 0x0A: "COOKIE ECHO",
    0x0B: "COOKIE ACK", 0x0C: "ECN ECHO", 0x0D: "ECN CWR", 0x0E: "SHUTDOWN COMPLETE",
    0xC0: "FOR CUM TSN", 0xC1: "REL CTRL", 0xC2: "REL CTRL ACK",
}  # fmt: skip
_PAYLOADS = {
    1: "ISDN Q.921", 2: "M2UA", 3: "M3UA", 4: "SUA", 5: "M2PA", 6: "V5.2", 7: "H.248", 8: "BICC",
    9: "TALI", 10: "DUA", 11: "ASAP", 12: "ENRP", 13: "H.323", 14: "Q.IPC", 15: "SIMCO",
    16: "DDPSC", 17: "DDPSSC", 18: "S1AP", 19: "RUA", 20: "HNBAP", 21: "ForCES HP",
    22: "ForCES MP", 23: "ForCES LP", 24: "SBc-AP", 25: "NBAP", 27: "X2AP",
}  # fmt: skip
_FORCES_PORTS = {6704: "ForCES HP", 6705: "ForCES MP", 6706: "ForCES LP"}
_FORCES_PAYLOADS = (21, 22, 23)

_Chunk = Generator[str, None, bool]
"""Pieces of text; returns whether the line goes on."""


def sctp(view: View, at: int, length: int, ip: Endpoints) -> Text:
    """Print a packet of ``length`` bytes from ``at``."""
    view.layer = "sctp"
    if length < HEADER_SIZE:
        yield f"truncated-sctp - {HEADER_SIZE - length} bytes missing!"
        return
    view.need(at, HEADER_SIZE)
    ports = view.u16(at), view.u16(at + 2)
    yield f"{ip.source}.{ports[0]} > {ip.destination}.{ports[1]}: sctp"
    names = [_FORCES_PORTS[port] for port in ports if port in _FORCES_PORTS]
    yield "".join(f"[{name}]" for name in names)
    yield from _chunks(view, at + HEADER_SIZE, length - HEADER_SIZE, bool(names))


def _chunks(view: View, at: int, length: int, forces: bool) -> Text:
    number = 0
    while length:
        number += 1
        start = f"{' (' if number == 1 else ', ('}{number}) "
        if length < CHUNK_HEADER_SIZE:
            yield f"{start}[chunk descriptor cut off at end of packet]"
            return
        view.need(at, CHUNK_HEADER_SIZE)
        kind, size = view.u8(at), view.u16(at + 2)
        padding = -size % 4
        if size < CHUNK_HEADER_SIZE:
            yield f"{start}[Bad chunk length {size}, < size of chunk descriptor]"
            return
        if length < padding:
            yield f"{start}[Bad chunk length {size}, > remaining data in packet]"
            return
        view.need(at, size)
        yield f"{start}[{_CHUNKS.get(kind, f'Unknown chunk type: 0x{kind:x}')}] "
        if kind in _PRINTERS:
            goes_on = yield from _PRINTERS[kind](view, at, size, forces)
            if not goes_on:
                return
        view.need(at + size, padding)
        at, length = at + size + padding, length - size - padding


def _data(view: View, at: int, size: int, forces: bool) -> _Chunk:
    flags = view.u8(at + 1)
    marks = "".join(mark for bit, mark in ((4, "(U)"), (2, "(B)"), (1, "(E)")) if flags & bit)
    if marks:
        yield f"{marks} "
    if size < 16:
        yield f"bogus chunk length {size}]"
        return False
    payload = view.u32(at + 12)
    yield f"[TSN: {view.u32(at + 4)}] [SID: {view.u16(at + 8)}] [SSEQ {view.u16(at + 10)}] "
    yield f"[PPID {_PAYLOADS.get(payload, f'0x{payload:x}')}] "
    if size == 16:
        yield f"bogus chunk length {size}]"
        return False
    return not (forces or payload in _FORCES_PAYLOADS)


def _init(view: View, at: int, size: int, _: bool) -> _Chunk:
    if size < 20:
        yield f"bogus chunk length {size}]"
        return False
    yield f"[init tag: {view.u32(at + 4)}] [rwnd: {view.u32(at + 8)}] "
    yield f"[OS: {view.u16(at + 12)}] [MIS: {view.u16(at + 14)}] "
    yield f"[init TSN: {view.u32(at + 16)}] "
    return True


def _sack(view: View, at: int, size: int, _: bool) -> _Chunk:
    if size < 16:
        yield f"bogus chunk length {size}]"
        return False
    gaps, duplicates = view.u16(at + 12), view.u16(at + 14)
    yield f"[cum ack {view.u32(at + 4)}] [a_rwnd {view.u32(at + 8)}] "
    yield f"[#gap acks {gaps}] [#dup tsns {duplicates}] "
    if 16 < size < 20 and (gaps or duplicates):
        yield f"bogus chunk length {size}]"
    return not (size > 16 and (gaps or duplicates))


_PRINTERS = {0x00: _data, 0x01: _init, 0x02: _init, 0x03: _sack}
