# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow a savefile that grows, shrinks and is rotated; deliver each record once.

A chain of open files is read from the oldest to the newest; the last is the file that
has the path's name.  A file is done when a newer one has got its savefile header, for
pflogd writes that after it closed the old file, and when one more read found nothing:
so the packets that pflogd appends between newsyslog's rename and its HUP are read.
What was renamed in between is found by inode or, once compressed, by identity.

After a truncation the rest is read from the copy, if one was made (copy-and-truncate).
The place is (identity, offset); whoever keeps it gives it back through ``recall``.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from ..errors import PflogError
from ..pflog.savefile import Record
from . import AHEAD, NOTICE, Tell
from .reader import SavefileReader, size_of
from .rotation import rotated
from .shared import Chunk

__all__ = ["Follower", "Place"]

Place = tuple[str, int]
"""(identity of the file, offset of its next record)."""

MAX_FILES = 64
"""Rotated files held open at once; more than any rotation keeps."""

RETRY = 5.0
"""Seconds until a file that could not be read is opened again: a disk or a server may recover."""


class Follower:
    """Follow the savefile at ``path``.

    path: the file; it may be missing and come later.
    tell: called once for each thing that an administrator should know.
    since: packets older than this (seconds since the epoch) are passed over until the
        end was reached once; infinity begins at the end.
    recall: gives the offset that was saved for an identity, or None.
    clock: seconds that only go forward.  now: seconds since the epoch.

    state: what it is doing, in words.
    damaged: how many damaged places were met.
    skipped: how many packets were passed over because of ``since``.
    """

    def __init__(
        self,
        path: Path,
        tell: Tell,
        *,
        since: Optional[float] = None,
        recall: Callable[[str], Optional[int]] = lambda _identity: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.state = "starting"
        self.damaged = 0
        self.skipped = 0
        self._tell = tell
        self._since = since
        self._recall = recall
        self._clock = clock
        self._now = now
        self._retry_at = 0.0
        self._last: list[Record] = []  # what the last read gave, and passed over
        self._chain: deque[SavefileReader] = deque()  # oldest first; [0] is being read
        self._place: Optional[Place] = None
        self._started = False
        self._seen: object = None  # what stat said when there was nothing more to read
        self._problems: dict[Path, str] = {}  # told, and not over yet
        self._closing: Optional[SavefileReader] = None  # is read a last time
        self._newest = 0.0  # time of the newest record delivered

    def close(self) -> None:
        """Close all files."""
        for reader in self._chain:
            reader.close()
        self._chain.clear()
        self._started = False
        self.state = "stopped"

    @property
    def place(self) -> Optional[Place]:
        """Where reading will go on; None before a record was seen.

        While the file has no record, the place is the end of the one before it.
        """
        if self._chain and (identity := self._chain[0].known_identity):
            self._place = (identity, self._chain[0].offset)
        return self._place

    @property
    def byteorder(self) -> str:
        """``<`` or ``>``: byte order of the file that the last records came from."""
        return self._chain[0].byteorder if self._chain else ""

    def read(self) -> Chunk:
        """The next records, oldest first; none when there is nothing more by now."""
        if self._clock() < self._retry_at:
            return Chunk()
        try:
            return self._read()
        except PflogError as error:
            self._report(error)
        except (OSError, ValueError) as error:  # ValueError: no file can have such a name
            self._report(error)
            self._let_go()
        return Chunk()

    def give_back(self, records: Sequence[Record]) -> None:
        """Read the last records of the last read again; for who was interrupted."""
        first = self._last.index(records[0])
        self._chain[0].offset -= size_of(self._last[first:])
        self._last = []
        self._seen = None

    def _let_go(self) -> None:
        """Close the files, one of which the system cannot read; they are opened anew later."""
        place = self.place
        self.close()
        self._place = place
        self._seen = None
        self._retry_at = self._clock() + RETRY
        self.state = f"{self._problems.get(self.path, 'an error')}; trying again"

    def _read(self) -> Chunk:
        seen = self._stat()
        if seen is not None and seen == self._seen:
            return Chunk()
        if not self._started:
            self._start()
        while self._chain:
            records = self._read_oldest()
            if records:
                return records
            if records is None:
                continue
            if self._chain[0].is_searching and not self._is_replaced():
                return records
            if not self._advance():
                break
        # The stat is from before the reads: what came in between is seen next time.
        self._seen = seen
        if not self._chain:
            self._started = False
            if self.path not in self._problems:
                self.state = f"waiting for {self.path}"
        return Chunk()

    def _is_replaced(self) -> bool:
        """Whether a newer file is there, for which a long search in this one is given up."""
        self._find_newer()
        return any(self._has_header(newer) for newer in list(self._chain)[1:])

    def _read_oldest(self) -> Optional[Chunk]:
        """Read the oldest file; None where it gave only what is passed over, or is done with."""
        try:
            records = self._read_file(self._chain[0])
        except OSError as error:
            if len(self._chain) == 1:
                raise
            self._report(error, self._chain[0].path)
            self._leave(self._chain[0])
            return None
        if not records:
            return records
        self._last = records
        last = records[-1][0] + records[-1][1] / 1e6
        self._newest = max(self._newest, min(last, self._now() + AHEAD))
        return (self._drop_old(records) if self._since is not None else records) or None

    def _read_file(self, reader: SavefileReader) -> Chunk:
        damaged, offset = reader.damage is not None, reader.offset
        try:
            records = reader.read()
            if records and not reader.is_same_content:
                reader.offset = offset  # truncated and grown again: these are other records
                return Chunk()
        except PflogError as error:
            self._report(error, reader.path)
            return Chunk()
        if reader.damage is not None and not damaged:
            self.damaged += 1
            self._tell(
                logging.WARNING,
                f"{reader.path}: damaged at offset {reader.offset}: {reader.damage.reason}; "
                "looking for the next record behind it",
            )
            return self._read_file(reader)
        if damaged and reader.damage is None:
            self._tell(logging.WARNING, f"{reader.path}: going on at offset {reader.resumed}")
        if reader.header is None:
            self.state = "following; no savefile header has been written yet"
        elif reader.damage is not None:
            self.state = (
                f"damaged at offset {reader.offset}: {reader.damage.reason}; looking behind it"
            )
        else:
            if self._problems.pop(reader.path, None):
                self._tell(NOTICE, f"{reader.path}: is read again")
            self.state = "following" if len(self._chain) == 1 else f"reading {reader.path}"
        return records

    # -- the chain of files ------------------------------------------------------------

    def _start(self) -> None:
        """Open the file, and the older ones that hold what was not read yet."""
        files = self._open([*self._rotated(), self.path])
        begin = self._recalled(files)
        if begin is None:
            begin = self._first_needed(files)
        for reader in files[:begin]:
            reader.close()
        self._chain = deque(files[begin:])
        self._started = True
        if self._since == math.inf and (not self._chain or not self._chain[-1].size):
            self._since = None  # its end is its start
        if self._since is not None:
            for reader in self._chain:
                try:
                    reader.seek_time(self._since)
                except (OSError, PflogError) as error:
                    self._report(error, reader.path)

    def _recalled(self, files: list[SavefileReader]) -> Optional[int]:
        """Index of the file that the saved place is in; sets that file's offset."""
        for index in reversed(range(len(files))):
            reader = files[index]
            identity = reader.identity
            if self._place is not None and identity == self._place[0]:
                offset: Optional[int] = self._place[1]
            else:
                offset = self._recall(identity) if identity else None
            if offset:
                reader.offset = offset
                self._newest = reader.first_time() or 0.0  # what is older was read before
                return index
        return None

    def _first_needed(self, files: list[SavefileReader]) -> int:
        """Index of the oldest file that may hold packets not older than ``since``."""
        begin = max(0, len(files) - 1)
        if self._since is None:
            return begin
        while begin > 0:
            try:
                first = files[begin].first_time()
            except (OSError, PflogError):
                break
            if first is not None and first < self._since:
                break
            begin -= 1
        return begin

    def _advance(self) -> bool:
        """At the end of the file being read: is there anything to go on with?"""
        reader = self._chain[0]
        if not reader.is_same_content:
            self._truncated(reader)
            return True
        self._find_newer()
        if len(self._chain) == 1:
            if reader.header is not None:
                self._since = None
            return False
        if not any(self._has_header(newer) for newer in list(self._chain)[1:]):
            return False
        if self._closing is not reader:
            self._closing = reader  # pflogd has closed it: one more read sees all of it
            return True
        if reader.header is not None and reader.is_cut:
            self._tell(
                logging.WARNING,
                f"{reader.path}: ended within a record at offset {reader.offset}; "
                "what is there of it cannot be read",
            )
        self._leave(reader)
        return True

    def _leave(self, reader: SavefileReader) -> None:
        """Close the file that is being read, keeping its end as the place."""
        self._place = self.place
        self._chain.remove(reader)
        reader.close()

    def _has_header(self, reader: SavefileReader) -> bool:
        try:
            return reader.load_header()
        except (OSError, PflogError) as error:
            self._report(error, reader.path)
            return False

    def _find_newer(self) -> None:
        """Append the files to the chain that came after its newest one."""
        try:
            stat = self.path.stat()
        except OSError:
            self.state = f"waiting for {self.path}, which is gone; its last file is still read"
            return
        known = [reader.inode for reader in self._chain]
        if (stat.st_dev, stat.st_ino) in known:
            return
        names = [*self._rotated(), self.path]
        files = self._open(names)
        identities = {reader.identity for reader in self._chain} - {""}
        newest = -1
        for index, file in enumerate(files):  # compressed meanwhile: another inode
            if file.inode in known or file.identity in identities:
                newest = index
        if newest < 0:  # its name is gone: the packets' own times tell what came later
            fresh = [file for file in files if file.path == self.path or self._is_later(file)]
        else:
            fresh = files[newest + 1 :]
        for file in files:
            if file in fresh:
                self._chain.append(file)
            else:
                file.close()

    def _is_later(self, file: SavefileReader) -> bool:
        try:
            first = file.first_time()
        except (OSError, PflogError):
            return False
        return first is not None and first > self._newest

    def _truncated(self, reader: SavefileReader) -> None:
        """The open file lost what had been read: go on in its copy, then from its start."""
        if reader.keeps_prefix:
            reader.rewind()
            return
        self._tell(logging.INFO, f"{reader.path}: was truncated; reading it from its start")
        copies: list[SavefileReader] = []
        for file in self._open(self._rotated()):
            if copies:
                copies.append(file)
            elif reader.known_identity and file.identity == reader.known_identity:
                file.offset = reader.offset
                copies.append(file)
            elif not reader.known_identity and self._is_later(file):
                copies.append(file)  # of it no record had been seen
            else:
                file.close()
        self._place = self.place
        reader.restart()
        self._chain.extendleft(reversed(copies))

    def _rotated(self) -> list[Path]:
        """The rotated files, oldest first; also those beside what a link leads to."""
        target = Path(os.path.realpath(self.path))  # unlike resolve() it takes a loop of links
        paths = (
            rotated(self.path) if target == self.path else [*rotated(target), *rotated(self.path)]
        )
        return paths[-MAX_FILES:]

    def _open(self, paths: list[Path]) -> list[SavefileReader]:
        files = []
        for path in paths:
            try:
                files.append(SavefileReader(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._report(error, path)
        return files

    # -- details -----------------------------------------------------------------------

    def _stat(self) -> object:
        """What changes when there may be something to read; None to read in any case."""
        if len(self._chain) != 1:
            return None
        try:
            stat = self.path.stat()
            named: object = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except OSError:
            named = "missing"
        return named, self._chain[0].inode, self._chain[0].size

    def _drop_old(self, records: Chunk) -> Chunk:
        since = self._since
        assert since is not None
        kept = Chunk(record for record in records if record[0] + record[1] / 1e6 >= since)
        self.skipped += len(records) - len(kept)
        return kept if len(kept) < len(records) else records

    def _report(self, error: Exception, path: Optional[Path] = None) -> None:
        """Tell a problem once, and put it in the state until it is over."""
        if isinstance(error, OSError) and error.strerror:
            what = error.strerror
        elif isinstance(error, PflogError):
            what = error.reason
        else:
            what = str(error)
        path = path or self.path
        if path == self.path:
            self.state = f"idle because {what}; waiting for the file to be replaced"
        if self._problems.get(path) != what:
            self._problems[path] = what
            self._tell(logging.ERROR, f"{path}: {what}")
