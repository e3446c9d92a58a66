# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at a savefile or an interface once, and say what it is; nothing is followed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple, Optional

from ..errors import PflogError
from ..pflog.resync import find_record
from ..pflog.savefile import FILE_HEADER_SIZE, FileHeader, check_link_type
from . import nflog

__all__ = ["Look", "is_interface", "look"]

TAIL = 1 << 20
"""Bytes at a file's end in which the newest packet is looked for: some thousand records."""


class Look(NamedTuple):
    """What a savefile is.

    Attributes:
        problem: Why it cannot be read as pflog; "" where it can.
        snaplen: Bytes kept of each frame; 0 of an empty file.
        header_length: Byte 0 of its newest frame; 0 where there is none.
        newest: Seconds since the epoch of its last packet, None where there is none.
    """

    problem: str
    snaplen: int = 0
    header_length: int = 0
    newest: Optional[float] = None


def is_interface(name: str) -> bool:
    """Return whether this host has an interface of that name."""
    if nflog.group(name) is not None:
        return True
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def look(path: Path) -> Look:
    """Look at a file.

    Raises:
        OSError: It is not there or may not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            return Look(f"is {kind}")
        if not status.st_size:
            return Look("")  # pflogd writes a header when it opens it
        try:
            header = FileHeader.parse(os.pread(descriptor, FILE_HEADER_SIZE, 0))
            check_link_type(header.linktype)
        except PflogError as error:
            return Look(error.reason or "is cut within its header")
        start = max(FILE_HEADER_SIZE, status.st_size - TAIL)
        return _newest(header, os.pread(descriptor, TAIL, start), start == FILE_HEADER_SIZE)
    finally:
        os.close(descriptor)


def _newest(header: FileHeader, buffer: bytes, is_whole: bool) -> Look:
    at: Optional[int] = 0 if is_whole else find_record(header, buffer)
    last = None
    while at is not None:
        batch = header.records(buffer, at)
        last = batch.records[-1] if batch.records else last
        at = find_record(header, buffer, batch.end + 1) if batch.damage is not None else None
    if last is None:
        return Look("", header.snaplen)
    seconds, microseconds, frame = last
    return Look("", header.snaplen, frame[0] if frame else 0, seconds + microseconds / 1e6)
