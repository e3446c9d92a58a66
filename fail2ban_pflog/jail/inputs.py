# SPDX-License-Identifier: GPL-2.0-or-later
"""All sources of one jail: its savefiles and its interfaces, each packet once.

The sources belong to the jail's thread.  Other threads that add or remove a savefile only
change the table of files, which takes no time; the jail's opens, saves and closes them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Callable, NamedTuple, Optional, Union

from ..options import DEFAULT_INTERFACE, Options
from ..pflog.savefile import Record
from ..pipeline import Group, Pipeline
from ..policy.kernel_filters import KERNEL_FILTERS
from ..policy.kinds import MODES, Rank
from ..sources import Report, bpf
from ..sources.overlap import Overlap
from ..sources.rotation import is_rotated
from ..sources.shared import Chunk, Listener, wait
from .positions import File, Positions, Sessions

__all__ = ["Batch", "Inputs", "Interface"]

SAVE_EVERY = 1.0
"""Seconds between two writes of positions to fail2ban's database: what a kill -9 repeats."""


class Interface:
    """One of a jail's interfaces.

    Attributes:
        name: The interface's name.
        listener: What listens to it; None where nothing does.
        overlap: What it has delivered that a file may hold as well.
        sessions: Keeps in the database from when to when it was listened to.
    """

    def __init__(self, name: str, positions: Positions, overlap: Overlap) -> None:
        self.name = name
        self.listener: Optional[Listener] = None
        self.overlap = overlap
        self.sessions = Sessions(name, positions, overlap)

    @property
    def byteorder(self) -> str:
        """Byte order of the records' headers."""
        return Listener.byteorder

    def read(self) -> Chunk:
        """Return the next packets; none where nothing listens."""
        if self.listener is None:
            return Chunk()
        read = self.listener.read()
        if not self.listener.source.is_open:
            self.overlap.live_ended()
        return read

    def status(self, count: str) -> str:
        """Return the interface's row of the status."""
        listener = self.listener
        if listener is None:  # the jail's thread has just closed it
            return f"closed; {count}"
        source, lost = listener.source, listener.lost
        text = f"{source.state}; {count}, {source.dropped} dropped by the kernel"
        return f"{text}, {lost} dropped because this jail is slow" if lost else text

    def close(self) -> None:
        """Listen no more, and write down until when that was done."""
        listener, self.listener = self.listener, None
        if listener is not None:
            try:
                self.sessions.save()
            finally:
                listener.close()
                self.overlap.live_ended()


class Batch(NamedTuple):
    """Records of one source, oldest first.

    Attributes:
        source: What they are from.
        groups: Those that are to be counted.
        read: All that were read with them.
    """

    source: Union[File, Interface]
    groups: Sequence[Group]
    read: Sequence[Record]

    @property
    def byteorder(self) -> str:
        """Byte order of the records' headers."""
        return self.source.byteorder


class Inputs:
    """Reads for one jail.

    Args:
        report: Takes what an administrator should know.
        options: The jail's.
        positions: Where reading was.
        now: Returns seconds since the epoch.

    Attributes:
        matches: Whether ``bpf`` takes a frame of a savefile; None where all are taken.
        left_out: How many packets of savefiles ``bpf`` did not take.
        passed_over: How many the caller did not count for their age.
    """

    def __init__(
        self, report: Report, options: Options, positions: Positions, now: Callable[[], float]
    ) -> None:
        self._report = report
        self._options = options
        self._positions = positions
        self._now = now
        self.matches: Optional[Callable[[bytes], bool]] = None
        if options.bpf:
            self.matches = bpf.frame_filter(options.bpf)
        self.left_out = self.passed_over = 0
        self._files: dict[str, File] = {}
        self._leaving: deque[File] = deque()
        self._interfaces: dict[str, Interface] = {}
        self._rest: deque[Batch] = deque()  # given back
        self._read: dict[str, tuple[int, float]] = {}  # source -> packets, newest one's time
        self._next_save = 0.0

    # -- for any thread ----------------------------------------------------------------

    @property
    def paths(self) -> list[str]:
        """The savefiles' paths."""
        return list(self._files)

    @property
    def files(self) -> dict[str, File]:
        """The savefiles by path."""
        return dict(self._files)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Names of the interfaces to listen to: those named, the default without a savefile."""
        named = self._options.interfaces
        return named or (() if self._files else (DEFAULT_INTERFACE,))

    @property
    def listening(self) -> list[Interface]:
        """The interfaces that are listened to, or waited for."""
        return [each for each in list(self._interfaces.values()) if each.listener is not None]

    @property
    def repeated(self) -> int:
        """How many packets came by file and by interface."""
        return sum(each.overlap.repeated for each in list(self._interfaces.values()))

    @property
    def too_old(self) -> int:
        """How many packets were passed over, at the start or later."""
        return self.passed_over + sum(file.skipped for file in self.files.values())

    def add(self, path: str, since: float) -> None:
        """Follow a savefile; packets older than ``since`` (epoch) are passed over at first."""
        self._files[path] = File(path, self._report, self._positions, since)

    def remove(self, path: str) -> bool:
        """Follow a savefile no more; its place is kept.

        Returns:
            Whether it was followed.
        """
        file = self._files.pop(path, None)
        if file is not None:
            self._leaving.append(file)
        return file is not None

    def rows(self) -> list[tuple[str, str]]:
        """Return each source and what it does, for the status."""
        rows = [(path, f"{file.state}; {self._count(path)}") for path, file in self.files.items()]
        return rows + [(each.name, each.status(self._count(each.name))) for each in self.listening]

    def counts(self) -> list[str]:
        """Return what was not counted, in words, for the status."""
        counts = []
        if self.too_old:
            counts.append(f"{self.too_old} older than findtime")
        if self.repeated:
            counts.append(f"{self.repeated} seen by file and interface")
        return counts

    def introduction(self, counts: str) -> str:
        """Return what is read and what of it counts.

        Args:
            counts: The jail's thresholds in words.
        """
        options = self._options
        parts = [f"mode {options.mode}, distinct {options.distinct}, {counts}"]
        filters = {each.listener.source.filter_expression for each in self.listening
                   if each.listener is not None} - {""}  # fmt: skip
        if filters:
            parts += [f'kernel filter "{each}"' for each in sorted(filters)]
        elif options.bpf:
            parts.append(f'bpf "{options.bpf}"')
        return f"reads {', '.join([*self.paths, *self.interfaces])}: {'; '.join(parts)}"

    def _count(self, source: str) -> str:
        packets, newest = self._read.get(source, (0, 0.0))
        age = f", newest {max(0, int(self._now() - newest))} s ago" if newest else ""
        return f"{packets} packets read{age}"

    # -- for the jail's thread ---------------------------------------------------------

    def settle(self) -> None:
        """Close the files that were removed; listen or do not, as the files ask for."""
        while self._leaving and not self._rest:  # which may be of such a file
            self._leave(self._leaving.popleft())
        names = self.interfaces
        for interface in self.listening:
            if interface.name not in names:
                interface.close()
        for name in names:
            if name not in self._interfaces:
                overlap = Overlap(self._now, exact=len(names) > 1)
                self._interfaces[name] = Interface(name, self._positions, overlap)
            if self._interfaces[name].listener is None:
                self._interfaces[name].listener = self._listen(name)

    def _listen(self, name: str) -> Listener:
        options = self._options
        inbound = options.direction == "in"  # the filters are written for such
        return Listener(
            name,
            self._report,
            expression=options.bpf,
            kernel_filters=KERNEL_FILTERS[options.mode] if inbound else (),
            breadth=MODES[options.mode] if inbound else len(Rank),
            buffer_size=options.buffer,
        )

    @staticmethod
    def _leave(file: File) -> None:
        try:
            file.save()
        finally:
            file.close()

    def batches(self, pipeline: Pipeline) -> Iterator[Batch]:
        """Yield a batch from each source that has one; first what was given back.

        Args:
            pipeline: Takes them, and so decides which are alike.
        """
        self.settle()
        while self._rest:
            yield self._rest.popleft()
        for path, file in self._followed():
            read = self._counted(path, file.read())
            records = self._not_live(file, read)
            if self.matches is not None:
                fresh = records
                records = Chunk(record for record in fresh if self.matches(record[2]))
                self.left_out += len(fresh) - len(records)
            if records:
                yield Batch(file, _groups(records, file.byteorder, pipeline), read)
        for interface in self.listening:
            read = self._counted(interface.name, interface.read())
            records = _chunk(read, interface.overlap.from_live(read))
            if records:
                yield Batch(interface, _groups(records, interface.byteorder, pipeline), read)

    def give_back(self, batch: Batch, done: int) -> None:
        """Take back what is behind the first ``done`` groups of a batch: it comes again."""
        if done < len(batch.groups):
            self._rest.append(batch._replace(groups=batch.groups[done:]))

    def _not_live(self, file: File, records: Chunk) -> Chunk:
        """Return the records of a file that no interface delivers."""
        read = records
        for interface in self._interfaces.values():
            kept = interface.overlap.from_file(records)
            if len(kept) < len(records):
                pairs = zip(records, [*kept, None])
                first = next(record for record, other in pairs if record is not other)
                file.defer(interface.overlap, read, read.index(first))
            records = _chunk(records, kept)
        return records

    def _followed(self) -> list[tuple[str, File]]:
        """The savefiles but for rotated ones of others, which those read themselves."""
        files = list(self._files.items())
        if len(files) == 1:
            return files
        followed = []
        for path, file in files:
            if any(is_rotated(file.path, other.path) for _, other in files):
                file.state = "idle because it is read as a rotated file of another logpath"
            else:
                followed.append((path, file))
        return followed

    def _counted(self, source: str, records: Chunk) -> Chunk:
        if records:
            packets, newest = self._read.get(source, (0, 0.0))
            last = records[-1][0] + records[-1][1] / 1e6
            self._read[source] = (packets + len(records), max(newest, last))
        return records

    def wait(self, seconds: float, else_wait: Callable[[float], object]) -> None:
        """Wait for packets of the interfaces; where none is there, as the caller waits."""
        listeners = [each.listener for each in self.listening if each.listener is not None]
        there = [each for each in listeners if each.source.is_open]
        if there:
            wait(there, seconds)
        else:
            else_wait(seconds)

    def save(self, at_once: bool = False) -> None:
        """Write all places down, but not more often than once per SAVE_EVERY.

        What was given back has been read, but not counted: nothing is written down before.
        """
        now = time.monotonic()
        if (at_once or now >= self._next_save) and not self._rest:
            self._next_save = now + SAVE_EVERY
            for _, file in self._followed():
                file.save()
            for interface in self.listening:
                interface.sessions.save()

    def close(self) -> None:
        """Write all places down and close all sources, whatever fails; twice is harmless."""
        with ExitStack() as stack:
            for path in self.paths:
                self.remove(path)
            while self._leaving:
                stack.callback(self._leave, self._leaving.popleft())
            for interface in self.listening:
                stack.callback(interface.close)
            while self._rest:
                stack.callback(self._undo, self._rest.popleft())  # first: it moves the places

    @staticmethod
    def _undo(batch: Batch) -> None:
        """Let what was read but not counted be read again after a restart."""
        record = batch.groups[0].record
        if isinstance(batch.source, Interface):
            batch.source.overlap.end_before(record[:2])
        else:
            batch.source.give_back(batch.read[batch.read.index(record) :])


def _chunk(read: Chunk, kept: list[Record]) -> Chunk:
    """Return what was kept of a chunk, itself where that is all: it is decoded in common."""
    return read if len(kept) == len(read) else Chunk(kept)


def _groups(chunk: Chunk, byteorder: str, pipeline: Pipeline) -> Sequence[Group]:
    key = byteorder, pipeline.key
    return chunk.cached(key, lambda: pipeline.group(chunk, byteorder))
