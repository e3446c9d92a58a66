# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames and savefiles for tests, made by hand: every packet carries a number.

The number is the TCP sequence number, so that a test can say which packets were
delivered, how often and in which order.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from tests.support.packets import SYN, segment
from tests.support.packets import frame as packed

DATA = Path(__file__).parents[1] / "data"


def savefile_header(linktype: int = 117, snaplen: int = 116, order: str = "<") -> bytes:
    return struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)


def syn(source: str, port: int, number: int = 0, target: str = "10.99.0.2", **header: Any) -> bytes:
    """A frame: a blocked TCP SYN from ``source`` to ``port``."""
    return packed(6, segment(40000, port, SYN, seq=number, ack=0), source, target, **header)


def syn6(source: str, port: int, target: str = "2001:db8:ffff::2") -> bytes:
    """The same over IPv6."""
    return syn(source, port, 0, target)


def record(seconds: float, frame: bytes, order: str = "<") -> bytes:
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return struct.pack(order + "IIII", whole, micros, len(frame), len(frame)) + frame


def numbered(seconds: float, number: int) -> bytes:
    """A record whose packet carries ``number``."""
    return record(seconds, syn("198.51.100.7", 1 + number % 60000, number))


def number_of(frame: bytes) -> int:
    return int.from_bytes(frame[72 + 24 : 72 + 28], "big")


def scan(source: str, ports: range, begin: float, gap: float = 0.01) -> bytes:
    """Records of one SYN to each port, ``gap`` seconds apart."""
    return b"".join(
        record(begin + index * gap, syn(source, port, index)) for index, port in enumerate(ports)
    )


def shifted(path: Path, newest: float) -> bytes:
    """A capture whose last packet's time becomes ``newest``; the gaps stay."""
    data = path.read_bytes()
    records = []
    offset = 24
    while offset < len(data):
        seconds, micros, caplen, length = struct.unpack_from("<IIII", data, offset)
        records.append(
            (seconds * 1_000_000 + micros, length, data[offset + 16 : offset + 16 + caplen])
        )
        offset += 16 + caplen
    delta = round(newest * 1_000_000) - max(time for time, _, _ in records)
    out = [data[:24]]
    for time, length, frame in records:
        whole, micros = divmod(time + delta, 1_000_000)
        out.append(struct.pack("<IIII", whole, micros, len(frame), length) + frame)
    return b"".join(out)


def append(path: Path, data: bytes) -> None:
    """Append to a file, as pflogd does."""
    with path.open("ab") as file:
        file.write(data)


class Pflogd:
    """Writes a savefile as pflogd does: O_APPEND, a header only into an empty file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if not os.fstat(self.fd).st_size:
            os.write(self.fd, savefile_header())

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    def hup(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        os.close(self.fd)


def newsyslog(path: Path, keep: int = 20) -> None:
    """Rename pflog to pflog.0, pflog.0 to pflog.1, ... and make an empty new file."""
    for index in reversed(range(keep)):
        for suffix in ("", ".bz2", ".gz", ".xz"):
            old = path.with_name(f"{path.name}.{index}{suffix}")
            if old.exists():
                old.rename(path.with_name(f"{path.name}.{index + 1}{suffix}"))
    path.rename(path.with_name(path.name + ".0"))
    path.touch(0o600)


def pcapng(records: list[tuple[float, bytes]], order: str = "<", units: int = 6) -> bytes:
    """A pcapng file: section, one interface of pflog's link type, enhanced packets."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    option = struct.pack(order + "HHB3xHH", 9, 1, units, 0, 0)
    interface = block(1, struct.pack(order + "HxxI", 117, 0) + option)
    packets = b""
    for when, frame in records:
        ticks = round(when * 10**6) * 10 ** (units - 6)
        head = struct.pack(
            order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
        )
        packets += block(6, head + frame)
    return section + interface + packets
