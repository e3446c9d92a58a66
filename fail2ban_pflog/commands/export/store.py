# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of the export: what is there, and how a capture's parts come into it.

    DIR/host=NAME/day=2026-11-22/IDENTITY-0.parquet    a part of a capture
    DIR/_captures/host=NAME/IDENTITY.json              what was exported of a capture

A capture's *identity* is its first packet, bytes and time: it stays the same while the file
grows, is renamed, compressed or converted.  Its parts have it in their names, so doing a capture
anew replaces what was there; nothing is counted twice.  A *stamp* of the file (size, time, first
bytes) shows that it was done, without decompressing it.

Parts are written and flushed under temporary names, then renamed by one process, which writes
down before what it is going to do: whatever is interrupted is done anew the next time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Optional

from ...pflog.savefile import Record

__all__ = ["Capture", "Part", "Store", "identity", "stamp"]

STAMPED = 4096
"""Bytes at a file's beginning that its stamp covers."""

MAX_STAMPS = 16
"""Stamps kept of one capture, under which it was seen: plain, compressed, copied."""


class Part(NamedTuple):
    """A Parquet file: under which name it is written, and which it gets."""

    written: Path
    final: Path

    @classmethod
    def of(cls, directory: Path, identity: str, number: int) -> Part:
        """Return the capture's part of that number, in a day's directory."""
        name = f"{identity}-{number}.parquet"
        return cls(directory / f".{name}.{os.getpid()}.tmp", directory / name)


class Capture(NamedTuple):
    """What was written of a capture.

    Attributes:
        identity: Empty where it has no packet.
        stamp: None where the file has none, or changed meanwhile.
        first: The first packet's time in seconds.
        messages: What the administrator has to know about it.
    """

    name: str
    identity: str
    stamp: Optional[str]
    packets: int
    first: int
    damaged: bool
    parts: list[Part]
    messages: list[str]


class Entry(NamedTuple):
    """What is known of a capture that is there; the fields of its JSON file.

    Attributes:
        name: Where it was read.
        packets: 0 while the parts are being renamed.
        parts: Relative to the host's directory.
    """

    name: str
    packets: int
    first: int
    parts: list[str]
    stamps: list[str]


def identity(record: Record) -> str:
    """Return a capture's identity, from its first packet."""
    seconds, microseconds, frame = record
    return blake2b(b"%d.%d " % (seconds, microseconds) + frame, digest_size=8).hexdigest()


def stamp(name: str) -> Optional[str]:
    """Return a file's stamp; None where there is none."""
    try:
        with Path(name).open("rb") as file:
            status = os.fstat(file.fileno())
            start = blake2b(file.read(STAMPED), digest_size=8).hexdigest()
    except OSError:
        return None
    return f"{status.st_size}-{status.st_mtime_ns}-{start}"


class Store:
    """The directory, for one host; what it writes may raise OSError."""

    def __init__(self, directory: Path, host: str) -> None:
        self.root = directory / f"host={host}"
        self._book = directory / "_captures" / f"host={host}"
        self._entries: dict[str, Entry] = {}
        self._stamped: dict[str, str] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the directory for this process alone.

        Raises:
            OSError: It cannot be written, or another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._book.mkdir(parents=True, exist_ok=True)
        with (self._book / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                reason = "another export is writing there"
                raise OSError(error.errno, reason, str(self.root)) from None
            self._clean()
            for path in self._book.glob("*.json"):
                with suppress(ValueError, TypeError):  # as if it were not there
                    self._note(path.stem, Entry(**json.loads(path.read_text())))
            try:
                yield
            finally:
                self._clean()

    def _clean(self) -> None:
        """Remove what an interrupted export left behind."""
        for left in (*self.root.glob("day=*/.*.tmp"), *self._book.glob(".*.tmp")):
            left.unlink(missing_ok=True)

    def _note(self, identity: str, entry: Entry) -> None:
        self._entries[identity] = entry
        self._stamped.update(dict.fromkeys(entry.stamps, identity))

    def done(self, stamp: Optional[str]) -> Optional[Entry]:
        """Return what is there of the file with this stamp, where all of it is."""
        entry = self._entries.get(self._stamped.get(stamp or "", ""))
        return entry if entry is not None and self._is_there(entry) else None

    def _is_there(self, entry: Entry) -> bool:
        return all((self.root / part).exists() for part in entry.parts)

    def add(self, capture: Capture) -> Optional[str]:
        """Take a capture's parts, in place of those that were there.

        Returns:
            Why they were not taken, if they were not.
        """
        old = self._entries.get(capture.identity, Entry("", 0, 0, [], []))
        stamps = [capture.stamp] if capture.stamp and not capture.damaged else []
        stamps = list(dict.fromkeys([*stamps, *old.stamps]))[:MAX_STAMPS]
        if old.packets > capture.packets and self._is_there(old):
            for part in capture.parts:
                part.written.unlink()
            self._write(capture.identity, old._replace(stamps=stamps))
            return (
                f"{capture.name}: begins as {old.name} did and has fewer packets,"
                f" {capture.packets:,} instead of {old.packets:,}: those stay"
            )
        parts = [str(part.final.relative_to(self.root)) for part in capture.parts]
        entry = Entry(capture.name, capture.packets, capture.first, parts, stamps)
        both = list(dict.fromkeys([*old.parts, *parts]))
        self._write(capture.identity, entry._replace(packets=0, parts=both, stamps=[]))
        for part in capture.parts:
            part.written.replace(part.final)
        for stale in set(old.parts) - set(parts):
            (self.root / stale).unlink(missing_ok=True)
        for directory in {self.root, *(part.final.parent for part in capture.parts)}:
            _flush(directory)
        self._write(capture.identity, entry)
        return None

    def _write(self, identity: str, entry: Entry) -> None:
        path = self._book / f"{identity}.json"
        written = path.with_name(f".{path.name}.tmp")
        with written.open("w") as file:
            json.dump(entry._asdict(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
        _flush(self._book)
        self._note(identity, entry)


def _flush(directory: Path) -> None:
    """Make sure that a directory's names are on the disk."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
