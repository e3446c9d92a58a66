# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow a savefile that grows, shrinks and is rotated; deliver each record once.

A chain of open files is read from the oldest to the newest; the last is the file that
has the path's name.  A file is done when a newer one has got its savefile header, for
pflogd writes that after it closed the old file, and when one more read found nothing:
so the packets that pflogd appends between newsyslog's rename and its HUP are read.
What was renamed in between is found by inode or, once compressed, by identity.

After a truncation the rest is read from the copy, if one was made (copy-and-truncate).
A file that is replaced by a copy of itself (rsync, cp and mv, a backup) is read on at the
same offset.  Where what was read is not there any more, records come again only if they
are newer than the last one that was delivered.

An error of the system changes nothing: what was read stays read, and the same step is
tried again, with the files that are open, then with files opened anew.  The place is
(identity, offset); what keeps it gives it back through ``recall``.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from logging import ERROR, INFO, WARNING
from pathlib import Path
from typing import Callable, Optional

from ..errors import PflogError
from ..pflog.savefile import Record
from . import AHEAD, NOTICE, Report
from .reader import PERMANENT, SavefileReader, attempt
from .rotation import rotated
from .shared import Chunk

__all__ = ["Follower", "Place"]

Place = tuple[str, int]
"""(identity of the file, offset of its next record)."""

MAX_FILES = 64
"""Rotated files held open at once; more than any rotation keeps."""

MAX_COPIES = 8
"""Copies of a file that are held open while none has anything new."""

RETRY = 5.0
"""Seconds between attempts where the system fails again and again; the first comes sooner."""

REOPEN, GIVE_UP = 3, 20
"""Failures in a row after which files are opened anew; and a rotated one is passed over."""

OLD = 86_400.0
"""Seconds of age from which on a file of which nothing counts is one that is tried out."""


class Follower:
    """Follow one savefile.

    Args:
        path: The file; it may be missing and come later.
        report: Called once for each thing that an administrator should know.
        since: Packets older than this (seconds since the epoch) are passed over until the
            end was reached once; infinity begins at the end.
        recall: Returns the offset that was saved for an identity, or None.
        clock: Returns seconds that only go forward.
        now: Returns seconds since the epoch.

    Attributes:
        state: What it is doing, in words.
        damaged: How many damaged places were met.
        skipped: How many packets were passed over because of ``since``.
    """

    def __init__(
        self,
        path: Path,
        report: Report,
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
        self._report = report
        self._since = since
        self._recall = recall
        self._clock = clock
        self._now = now
        self._retry_at = 0.0
        self._last = Chunk()  # what the last read gave, and passed over
        self._chain: deque[SavefileReader] = deque()  # oldest first; [0] is being read
        self._place: Optional[Place] = None
        self._done: dict[str, int] = {}  # identity -> end of files that were read
        self._started = False
        self._seen: object = None  # what stat said when there was nothing more to read
        self._problems: dict[Path, str] = {}  # reported, and not over yet
        self._failures: dict[Path, int] = {}  # of the system, in a row
        self._closing: Optional[SavefileReader] = None  # is read a last time
        # Of which file, up to which offset and time records may come again.
        self._repeats: Optional[tuple[str, int, float]] = None
        self._newest = 0.0  # time of the newest record delivered
        self._time = math.inf  # of the last record delivered
        self._is_clipped = False  # there are more rotated files than are looked at

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

    def place_of(self, chunk: Chunk, index: int) -> Optional[Place]:
        """Return the place of one of the records of the last read."""
        place = self.place
        return place and (place[0], self._chain[0].offset_of(chunk, index))

    @property
    def byteorder(self) -> str:
        """``<`` or ``>``: byte order of the file that the last records came from."""
        return self._chain[0].byteorder if self._chain else ""

    def read(self) -> Chunk:
        """Return the next records, oldest first; none when there is nothing more by now."""
        if self._clock() < self._retry_at:
            return Chunk()
        try:
            chunk = self._read()
        except PflogError as error:
            self._report_problem(error)
            return Chunk()
        except (OSError, ValueError) as error:  # ValueError: no file can have such a name
            self._fail(error)
            return Chunk()
        self._failures.clear()
        return chunk

    def give_back(self, records: Sequence[Record]) -> None:
        """Read the last records of the last read again."""
        reader = self._chain[0]
        reader.move(reader.offset_of(self._last, self._last.index(records[0])))
        self._last = Chunk()
        self._seen = None

    def _fail(self, error: Exception) -> None:
        """Note that the system failed: the same step is tried again later."""
        named = getattr(error, "filename", None)
        number = getattr(error, "errno", None)
        path = Path(named) if named else self.path
        count = self._failures[path] = self._failures.get(path, 0) + 1
        self._seen = None
        self._retry_at = self._clock() + min(RETRY, 2.0**count / 4)
        if count > 1 or number in PERMANENT:  # once it may be over at once
            self._report_problem(error, path)
            self.state = f"{self._problems[path]}; trying again"
        if self._chain and (count >= REOPEN or number == errno.ESTALE):
            try:
                self._start(at_any_rate=count >= GIVE_UP or number == errno.ESTALE)
            except (OSError, PflogError, ValueError):
                self.state += "; it cannot be opened anew"

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
        reader = self._chain[0]
        try:
            records = self._read_file(reader)
        except OSError as error:
            if len(self._chain) == 1 or not self._is_hopeless(error, reader.path):
                raise
            self._report_problem(error, reader.path)
            self._leave(reader)
            return None
        if not records:
            return records
        self._last = records
        kept = self._without_repeats(reader, records)
        last = records[-1][0] + records[-1][1] / 1e6
        if kept or self._time == math.inf:
            self._time = last
        if kept:
            self._newest = max(self._newest, min(last, self._now() + AHEAD))
        if self._since is not None:
            kept = self._drop_old(kept)
        return kept or None

    def _without_repeats(self, reader: SavefileReader, records: Chunk) -> Chunk:
        """Drop what was delivered before the file was cut or replaced."""
        if self._repeats is None:
            return records
        identity, end, until = self._repeats
        if reader.known_identity != identity:  # it has begun anew
            self._repeats = None
            return records
        times = (seconds + micros / 1e6 for seconds, micros, _ in records)
        first = next((index for index, time in enumerate(times) if time > until), len(records))
        if first < len(records) or reader.offset >= end:
            self._repeats = None
        return Chunk(records[first:])

    def _read_file(self, reader: SavefileReader) -> Chunk:
        damaged = reader.damage is not None
        try:
            records = reader.read()
        except PflogError as error:
            self._report_problem(error, reader.path)
            return Chunk()
        if reader.damage is not None and not damaged:
            self.damaged += 1
            self._report(
                WARNING,
                f"{reader.path}: damaged at offset {reader.offset}: {reader.damage.reason}; "
                "looking for the next record behind it",
            )
            return self._read_file(reader)
        if damaged and reader.damage is None:
            self._report(WARNING, f"{reader.path}: going on at offset {reader.resumed}")
        if reader.header is None:
            self.state = "following; no savefile header has been written yet"
        elif reader.damage is not None:
            self.state = (
                f"damaged at offset {reader.offset}: {reader.damage.reason}; looking behind it"
            )
        else:
            if self._problems.pop(reader.path, None):
                self._report(NOTICE, f"{reader.path}: is read again")
            self.state = "following" if len(self._chain) == 1 else f"reading {reader.path}"
        return records

    # -- the chain of files ------------------------------------------------------------

    def _start(self, at_any_rate: bool = True) -> None:
        """Open the file, and the older ones that hold what was not read yet.

        Args:
            at_any_rate: Do so even where the place is not found, which an open file may hold.
        """
        place, found = self.place, False
        with _Files() as files:
            for file in self._newest_first(files, self._names()):
                if found := self._moves_to_place(file):
                    break
            files.keep(files[: len(files) if found else len(files) - self._first_needed(files)])
            if not found and not at_any_rate:
                files.keep([])
                return
            if found and self._chain and files[-1].known_identity == (place or ("",))[0]:
                files[-1].adopt(self._chain[0])
        self.close()
        self._chain = deque(reversed(files))
        self._place = place
        self._started = True
        if self._since == math.inf and (not self._chain or not self._chain[-1].size):
            self._since = None  # its end is its start
        if self._since is not None and not found:
            for reader in self._chain:
                try:
                    reader.seek_time(self._since)
                except PflogError as error:
                    self._report_problem(error, reader.path)

    def _moves_to_place(self, file: SavefileReader) -> bool:
        """Move to where a file was read to, now or before a restart; False where it was not."""
        identity = self._identity(file)
        if not identity:
            return False
        if self._place is not None and identity == self._place[0]:
            offset: Optional[int] = self._place[1]
        else:
            offset = self._done.get(identity) or self._recall(identity)
        if not offset:
            return False
        self._time = file.resume(offset)
        self._newest = max(self._newest, file.first_time() or 0.0)  # what is older was read before
        return True

    def _first_needed(self, files: list[SavefileReader]) -> int:
        """Return how many of the oldest files cannot hold packets younger than ``since``."""
        begin = max(0, len(files) - 1)
        while begin > 0 and self._since is not None:
            first = self._first_time(files[len(files) - 1 - begin])
            if first is not None and first < self._since:
                return begin
            begin -= 1
        if self._is_clipped and (self._since is not None or self._place is not None):
            self._report(
                WARNING, f"{self.path}: of its rotated files only the newest {MAX_FILES} are read"
            )
        return begin

    def _advance(self) -> bool:
        """At the end of the file being read: is there anything to go on with?"""
        reader = self._chain[0]
        if not reader.is_same_content:
            self._truncated(reader)
            return True
        self._find_newer()
        if len(self._chain) == 1:
            if reader.header is not None and self._since is not None:
                self._warn_of_age(self._since)
                self._since = None
            return False
        if not self._has_successor(reader):
            return False
        if self._closing is not reader:
            self._closing = reader  # pflogd has closed it: one more read sees all of it
            return True
        newer = self._chain[1]
        if self._identity(newer) == reader.known_identity != "":
            newer.adopt(reader)
        elif reader.header is not None and reader.is_cut:
            self._report(
                WARNING,
                f"{reader.path}: ended within a record at offset {reader.offset}; "
                "what is there of it cannot be read",
            )
        if not newer.known_identity and self._repeats is None:  # it may still become a copy
            self._repeats = reader.known_identity, reader.offset, self._time
        self._leave(reader)
        return True

    def _has_successor(self, reader: SavefileReader) -> bool:
        """Whether a newer file has a header, or is a copy of this one that has more or other."""
        for newer in list(self._chain)[1:]:
            if not self._has_header(newer):
                continue
            is_copy = self._identity(newer) == reader.known_identity != ""
            if not is_copy or newer.size > reader.offset or not reader.holds_end_of(newer):
                return True
        return False

    def _leave(self, reader: SavefileReader) -> None:
        """Close the file that is being read, keeping its end as the place."""
        self._place = self.place
        if identity := reader.known_identity:
            self._done.pop(identity, None)
            self._done[identity] = reader.offset
            while len(self._done) > MAX_FILES:
                del self._done[next(iter(self._done))]
        self._chain.remove(reader)
        reader.close()

    def _find_newer(self) -> None:
        """Append the files to the chain that came after its newest one."""
        try:
            stat = attempt(self.path.stat, self.path)
        except OSError as error:
            if error.errno not in PERMANENT:
                raise
            self.state = f"waiting for {self.path}, which is gone; its last file is still read"
            return
        known = [reader.inode for reader in self._chain]
        if (stat.st_dev, stat.st_ino) in known:
            return
        identities = {reader.known_identity for reader in self._chain} - {""}
        with _Files() as files:
            for file in self._newest_first(files, self._names()):
                if file.inode in known or self._identity(file) in identities:
                    if file.inode in known or file.is_compressed:
                        files.keep(files[:-1])
                    break  # a plain copy follows: its writer may be in either
            else:  # its name is gone: the packets' own times show what came later
                files.keep([each for each in files if each.path == self.path or self._later(each)])
        for file in reversed(files):
            if (identity := file.known_identity) in self._done and identity not in identities:
                file.move(self._done[identity])
            self._chain.append(file)
        if len(self._chain) > MAX_COPIES and self._chain[1].known_identity in identities:
            self._chain[1].close()
            del self._chain[1]

    def _later(self, file: SavefileReader) -> bool:
        """Whether a file has packets that came after those that were read, or none yet."""
        first = self._first_time(file)
        if first is None:
            return not file.is_compressed and self._has_header(file)
        return first > self._newest and file.known_identity not in self._done

    def _truncated(self, reader: SavefileReader) -> None:
        """The open file lost what had been read: go on in its copy, then from its start."""
        identity, end = reader.known_identity, reader.offset
        if self._repeats is not None and self._repeats[0] == identity:
            end = max(end, self._repeats[1])
        if identity:
            self._repeats = identity, end, self._time
        if reader.keeps_prefix:
            if self._time == math.inf:  # it was cut before this process read any of it
                self._repeats = identity, reader.size, math.inf
            reader.recover()
            return
        with _Files() as copies:
            for file in self._newest_first(copies, self._names()[:-1]):
                if identity and self._identity(file) == identity:
                    file.adopt(reader)
                    break
                if not identity and not self._later(file):  # of it no record had been seen
                    copies.keep(copies[:-1])
                    break
            else:
                copies.keep([] if identity else copies[:])
        self._report(INFO, f"{reader.path}: was truncated; reading it from its start")
        self._place = self.place
        reader.restart()
        self._chain.extendleft(copies)

    # -- one file ----------------------------------------------------------------------

    def _names(self) -> list[Path]:
        """The rotated files, oldest first, also those beside what a link leads to; the path."""
        target = Path(os.path.realpath(self.path))  # unlike resolve() it takes a loop of links
        paths = attempt(lambda: rotated(self.path), self.path)
        if target != self.path:
            paths = [*attempt(lambda: rotated(target), target), *paths]
        self._is_clipped = len(paths) > MAX_FILES
        return [*paths[-MAX_FILES:], self.path]

    def _newest_first(self, files: _Files, names: list[Path]) -> Iterator[SavefileReader]:
        """Open one file after the other, and append each to ``files``."""
        for path in reversed(names):
            if (file := self._open(path)) is not None:
                files.append(file)
                yield file

    def _open(self, path: Path) -> Optional[SavefileReader]:
        """Open a file; None where it is not there, or cannot be read."""
        try:
            return SavefileReader(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in PERMANENT and (
                path == self.path or not self._is_hopeless(error, path)
            ):
                raise
            self._report_problem(error, path)
            return None

    def _is_hopeless(self, error: OSError, path: Path) -> bool:
        """Whether a file of several is to be passed over for an error."""
        return error.errno in PERMANENT or self._failures.get(path, 0) >= GIVE_UP

    def _has_header(self, reader: SavefileReader) -> bool:
        try:
            return reader.load_header()
        except PflogError as error:
            self._report_problem(error, reader.path)
        except OSError as error:
            if not self._is_hopeless(error, reader.path):
                raise
            self._report_problem(error, reader.path)
        return False

    def _identity(self, file: SavefileReader) -> str:
        """Return what a file is recognised by; "" where it has no record, or is hopeless."""
        try:
            return file.identity
        except OSError as error:
            if not self._is_hopeless(error, file.path):
                raise
            self._report_problem(error, file.path)
            return ""

    def _first_time(self, file: SavefileReader) -> Optional[float]:
        return file.first_time() if self._identity(file) else None

    # -- details -----------------------------------------------------------------------

    def _stat(self) -> object:
        """Return what changes when there may be something to read; None to read in any case."""
        if len(self._chain) != 1:
            return None
        try:
            stat = attempt(self.path.stat, self.path)
            named: object = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            if error.errno not in PERMANENT:
                raise
            named = "missing"
        return named, self._chain[0].inode, self._chain[0].size

    def _drop_old(self, records: Chunk) -> Chunk:
        since = self._since
        assert since is not None
        kept = Chunk(record for record in records if record[0] + record[1] / 1e6 >= since)
        self.skipped += len(records) - len(kept)
        return kept if len(kept) < len(records) else records

    def _warn_of_age(self, since: float) -> None:
        """Warn where all of a file was old when it was first read: somebody tries a capture."""
        newest = self._newest
        if self.skipped and since != math.inf and newest < min(since, self._now() - OLD):
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(newest))
            self._report(
                WARNING,
                f"{self.path}: no packet of it counts, the newest is of {day}; to try what an old "
                "capture leads to use `fail2ban-pflog backtest`",
            )

    def _report_problem(self, error: Exception, path: Optional[Path] = None) -> None:
        """Report a problem once, and put it in the state until it is over."""
        if isinstance(error, OSError) and error.strerror:
            what = error.strerror
        elif isinstance(error, PflogError):
            what = error.reason
        else:
            what = str(error.args[0] if error.args else error)
        path = path or self.path
        if path == self.path:
            self.state = f"idle because {what}; waiting for the file to be replaced"
        if self._problems.get(path) != what:
            self._problems[path] = what
            self._report(ERROR, f"{path}: {what}")


class _Files(list[SavefileReader]):
    """Files that are closed where not all of what is to be done with them could be done."""

    def keep(self, files: Sequence[SavefileReader]) -> None:
        """Close all but some."""
        for file in self:
            if file not in files:
                file.close()
        self[:] = files

    def __enter__(self) -> _Files:  # noqa: PYI034 - Self is younger than Python 3.9
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.keep([])
