# SPDX-License-Identifier: GPL-2.0-or-later
"""All sources of one jail: its savefiles and the interface, each packet once.

The sources belong to the jail's thread.  Who else adds or removes a savefile only changes
the table of files, which takes no time; the thread opens, saves and closes them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional, Union

from ..options import DEFAULT_INTERFACE, Options
from ..pflog.packet import Decoder
from ..pflog.savefile import Record
from ..pipeline import Group, runs
from ..policy.dedup import Dedup
from ..policy.kernel_filters import KERNEL_FILTERS
from ..policy.kinds import MODES, Rank
from ..sources import Tell, bpf
from ..sources.overlap import Overlap
from ..sources.rotation import is_rotated
from ..sources.shared import Chunk, Listener
from .positions import File, Positions, Session

__all__ = ["Batch", "Inputs"]

SAVE_EVERY = 1.0
"""Seconds between two writes of positions to fail2ban's database: what a kill -9 repeats."""


class Batch(NamedTuple):
    """Records of one source, oldest first.

    runs: those that are to be judged.  read: all that were read with them.
    """

    source: Union[File, Listener]
    runs: Sequence[Group]
    read: Sequence[Record]

    @property
    def byteorder(self) -> str:
        """Byte order of the records' headers."""
        return self.source.byteorder


class Inputs:
    """Reads for one jail.

    tell: takes what an administrator should know.  places: where reading was.
    now: gives seconds since the epoch.

    matches: whether ``bpf`` takes a frame of a savefile; None where all are taken.
    left_out: how many packets of savefiles ``bpf`` did not take.
    passed_over: how many the caller did not judge for their age.
    """

    def __init__(
        self, tell: Tell, options: Options, places: Positions, now: Callable[[], float]
    ) -> None:
        self._tell = tell
        self._options = options
        self._places = places
        self._now = now
        self.matches: Optional[Callable[[bytes], bool]] = None
        if options.bpf:
            self.matches = bpf.frame_filter(options.bpf)
        self.left_out = self.passed_over = 0
        self._files: dict[str, File] = {}
        self._leaving: deque[File] = deque()
        self._live: Optional[Listener] = None
        self._session: Optional[Session] = None
        self._overlap = Overlap(now)
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
    def interface(self) -> str:
        """The interface that is listened to where it is: named, or no savefile is."""
        if self._options.interface or not self._files:
            return self._options.interface or DEFAULT_INTERFACE
        return ""

    @property
    def live(self) -> Optional[Listener]:
        """The interface, once it is listened to."""
        return self._live

    @property
    def repeated(self) -> int:
        """How many packets came by file and by interface."""
        return self._overlap.repeated

    @property
    def too_old(self) -> int:
        """How many packets were passed over, at the start or later."""
        return self.passed_over + sum(file.skipped for file in self.files.values())

    def add(self, path: str, since: float) -> None:
        """Follow a savefile; packets older than ``since`` (epoch) are passed over at first."""
        self._files[path] = File(path, self._tell, self._places, since)

    def remove(self, path: str) -> bool:
        """Follow a savefile no more; its place is kept.  False where it was not followed."""
        file = self._files.pop(path, None)
        if file is not None:
            self._leaving.append(file)
        return file is not None

    def rows(self) -> list[tuple[str, str]]:
        """Source and what it does, for the status."""
        rows = [(path, f"{file.state}; {self._count(path)}") for path, file in self.files.items()]
        live = self._live
        if live is not None:
            source = live.source
            count = f"{self._count(live.interface)}, {source.dropped} dropped by the kernel"
            if live.lost:
                count += f", {live.lost} dropped because this jail is slow"
            rows.append((live.interface, f"{source.state}; {count}"))
        return rows

    def counts(self) -> list[str]:
        """What was not judged, in words, for the status."""
        told = []
        if self.too_old:
            told.append(f"{self.too_old} older than findtime")
        if self.repeated:
            told.append(f"{self.repeated} seen by file and interface")
        return told

    def introduction(self, counts: str) -> str:
        """Say what is read and what of it counts.  counts: the jail's thresholds in words."""
        options = self._options
        sources = [*self.paths, *([self.interface] if self.interface else [])]
        parts = [f"mode {options.mode}, distinct {options.distinct}, {counts}"]
        if self._live is not None and self._live.source.filter_expression:
            parts.append(f'kernel filter "{self._live.source.filter_expression}"')
        elif options.bpf:
            parts.append(f'bpf "{options.bpf}"')
        return f"reads {', '.join(sources)}: {'; '.join(parts)}"

    def _count(self, source: str) -> str:
        packets, newest = self._read.get(source, (0, 0.0))
        age = f", newest {max(0, int(self._now() - newest))} s ago" if newest else ""
        return f"{packets} packets read{age}"

    # -- for the jail's thread ---------------------------------------------------------

    def settle(self) -> None:
        """Let go of the files that were removed; listen or do not, as the files ask for."""
        while self._leaving and not self._rest:  # which may be of such a file
            file = self._leaving.popleft()
            try:
                file.save()
            finally:
                file.close()
        interface = self.interface
        if interface and self._live is None:
            inbound = self._options.direction == "in"  # the filters are written for such
            self._live = Listener(
                interface,
                self._tell,
                expression=self._options.bpf,
                kernel_filters=KERNEL_FILTERS[self._options.mode] if inbound else (),
                curiosity=MODES[self._options.mode] if inbound else len(Rank),
                buffer_size=self._options.buffer,
            )
            self._session = Session(interface, self._places, self._overlap)
        elif not interface and self._live is not None:
            self._save_session()
            self._live.close()
            self._live = self._session = None
            self._overlap.live_ended()

    def batches(self, distinct: Dedup[Any]) -> Iterator[Batch]:
        """Yield a batch from each source that has one; first what was given back.

        distinct: who will judge them, and so says what is alike.
        """
        self.settle()
        while self._rest:
            yield self._rest.popleft()
        for path, file in self._followed():
            read = self._counted(path, file.read())
            records = read
            if self.interface or self._overlap.session:
                records = _chunk(read, self._overlap.from_file(read))
            if self.matches is not None:
                fresh = records
                records = Chunk(record for record in fresh if self.matches(record[2]))
                self.left_out += len(fresh) - len(records)
            if records:
                yield Batch(file, _runs(records, file.byteorder, distinct), read)
        live = self._live
        if live is not None:
            read = self._counted(live.interface, live.read())
            if not live.source.is_open:
                self._overlap.live_ended()
            records = _chunk(read, self._overlap.from_live(read))
            if records:
                yield Batch(live, _runs(records, live.byteorder, distinct), read)

    def give_back(self, batch: Batch, judged: int) -> None:
        """Take back what is behind the first ``judged`` runs of a batch: it comes again."""
        if judged < len(batch.runs):
            self._rest.append(batch._replace(runs=batch.runs[judged:]))

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
        """Wait for packets of the interface; where nobody listens, as the caller waits."""
        if self._live is not None and self._live.source.is_open:
            self._live.wait(seconds)
        else:
            else_wait(seconds)

    def save(self, at_once: bool = False) -> None:
        """Write all places down, but not more often than once per SAVE_EVERY.

        What was given back has been read, but not judged: nothing is written down before.
        """
        now = time.monotonic()
        if (at_once or now >= self._next_save) and not self._rest:
            self._next_save = now + SAVE_EVERY
            for _, file in self._followed():
                file.save()
            self._save_session()

    def _save_session(self) -> None:
        if self._session is not None:
            self._session.save()

    def close(self) -> None:
        """Write all places down and close all sources."""
        for batch in self._rest:
            if isinstance(batch.source, File):
                first = batch.read.index(batch.runs[0].record)
                batch.source.give_back(batch.read[first:])
        self._rest.clear()
        for path in self.paths:
            self.remove(path)
        try:
            self._save_session()
        finally:
            if self._live is not None:
                self._live.close()
            while self._leaving:
                file = self._leaving.popleft()
                file.save()
                file.close()


def _chunk(read: Chunk, kept: list[Record]) -> Chunk:
    """Return what was kept of a chunk, itself where that is all: it is decoded in common."""
    return read if len(kept) == len(read) else Chunk(kept)


_DECODERS = {order: Decoder(order) for order in "<>"}


def _runs(chunk: Chunk, byteorder: str, distinct: Dedup[Any]) -> Sequence[Group]:
    alike = distinct.prefix6_bytes if distinct.merges else None
    key = distinct.directions, MODES[distinct.mode], alike
    return chunk.cached((byteorder, *key), lambda: runs(chunk, _DECODERS[byteorder].packet, *key))
