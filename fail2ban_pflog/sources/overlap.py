# SPDX-License-Identifier: GPL-2.0-or-later
"""A savefile and the interface that it is written from, together: each packet once.

pflogd and a live reader see the same packets with the same times, pflogd's a minute
later.  From its first packet on the interface delivers everything, so from there on
the file is left out; what the file had delivered by then is left out of the live packets.
When the interface vanishes, the file takes over behind the last live packet.

Times are pairs (seconds, microseconds) as the packets carry them.  Where the clock steps
back, the time of listening is continued as another span; a file that has reached the live
packets stays there by its order, whatever the times say.  A clock is asked only whether
times can be believed: one record of the year 2038 must not hide all others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Callable, Optional

from ..pflog.savefile import Record
from . import AHEAD

__all__ = ["Overlap", "Time"]

Time = tuple[int, int]

STEP = 2
"""Seconds by which times go back only where a clock was set back; less is disorder."""

MAX_SPANS = 16
"""Past spans of listening that are remembered: the file is behind by minutes, not more."""

MAX_RECENT = 65_536
"""Packets of each source that are remembered where they are compared one by one: 15 MB."""


class Overlap:
    """Decide which of the two delivers a packet, for one interface.

    Args:
        now: Returns seconds since the epoch.
        exact: Leave out of a file only what the interface delivered, packet by packet: for
            jails with several interfaces, of which a file holds but one.

    Attributes:
        repeated: How many packets were left out because the other source delivered them.
        left_out_to: Time of the packet of a file that was left out last.
    """

    def __init__(self, now: Callable[[], float] = time.time, exact: bool = False) -> None:
        self.repeated = 0
        self.left_out_to: Time = (0, 0)
        self._now = now
        self._spans: deque[tuple[Time, Time]] = deque(maxlen=MAX_SPANS)
        self._begin: Optional[Time] = None  # first live packet, while the interface is there
        self._live_from: Time = (0, 0)  # of the span that goes on
        self._live_to: Time = (0, 0)
        self._file_is_live = False  # the file has reached the live packets
        self._file_to: Time = (0, 0)  # newest packet that the file delivered ...
        self._file_same = 0  # ... and how many of exactly that time it did
        self._file_stepped = False  # the clock went back in the file, not yet in live packets
        self._by_live = _Recent() if exact else None
        self._by_file = _Recent() if exact else None

    def from_file(self, records: list[Record]) -> list[Record]:
        """Return the records of the file that no live packet delivers."""
        kept = []
        latest = self._latest()
        for record in records:
            when = record[:2]
            if self._is_live(record, latest):
                self.left_out_to = when
                continue
            if when < latest and (when > self._file_to or _is_step(self._file_to, when)):
                self._file_stepped = self._file_stepped or when < self._file_to
                self._file_to, self._file_same = when, 0
            self._file_same += when == self._file_to
            kept.append(record)
        if self._by_file is not None:
            self._by_file.add(kept)
        self.repeated += len(records) - len(kept)
        return kept

    def from_live(self, records: list[Record]) -> list[Record]:
        """Return the live records that the file has not delivered."""
        if not records:
            return records
        latest = self._latest()
        kept: list[Record] = []
        for read in _spans(records, self._live_to):
            steps = self._begin is not None and _is_step(self._live_to, read[0][:2])
            may_repeat = self._begin is None or (steps and self._file_stepped)
            span = self._not_in_file(read) if may_repeat else read
            if not span:
                continue
            begin = min(span[0][:2], latest)
            if self._begin is None:
                self._begin = self._live_from = self._live_to = begin
                self._file_stepped = False
            elif steps:
                self._spans.append((self._live_from, self._live_to))
                self._live_from = self._live_to = begin
                self._file_stepped = False
            self._live_to = max(self._live_to, min(span[-1][:2], latest))
            kept = span if not kept else kept + span
        if self._by_live is not None and self._by_file is not None:
            kept = [record for record in kept if record not in self._by_file]
            self._by_live.add(kept)
        self.repeated += len(records) - len(kept)
        return kept

    @property
    def spans(self) -> list[tuple[Time, Time]]:
        """Times of the first and the newest packet of each span of listening, newest first."""
        spans = [*self._spans]
        if self._begin is not None:
            spans.append((self._live_from, self._live_to))
        return [(begin, end) for begin, end in reversed(spans) if begin <= end]

    def restore(self, begin: Time, end: Time) -> None:
        """Remember a span of listening from before a restart."""
        self._spans.append((begin, min(end, self._latest())))
        if self._by_live is not None:
            self._by_live.forgotten = self._spans[-1][1]

    def live_ended(self) -> None:
        """Let the file deliver again from the last live packet on: the interface is gone."""
        if self._begin is not None:
            self._spans.append((self._live_from, self._live_to))
            self._begin, self._file_is_live = None, False

    def end_before(self, when: Time) -> None:
        """Let the session end before a live packet that was read but not counted."""
        seconds, microseconds = when
        before = (seconds, microseconds - 1) if microseconds else (seconds - 1, 999_999)
        self._live_to = min(self._live_to, before)

    def has_delivered(self, when: Time) -> bool:
        """Whether the interface has delivered packets of this time and later ones."""
        if self._begin is not None and self._live_from <= when <= self._live_to:
            return True
        return any(begin <= when <= end for begin, end in self._spans)

    def _latest(self) -> Time:
        """What is later than this cannot be."""
        return int(self._now()) + AHEAD, 0

    def _is_live(self, record: Record, latest: Time) -> bool:
        when = record[:2]
        reached = self._file_is_live
        if self._begin is not None and self._begin <= when:
            reached = True
            self._file_is_live = self._file_is_live or when <= latest
        if not reached and not self.has_delivered(when):
            return False
        by_live = self._by_live
        return by_live is None or when <= by_live.forgotten or record in by_live

    def _not_in_file(self, records: list[Record]) -> list[Record]:
        skip = 0
        while skip < len(records) and self._was_in_file(records[skip][:2]):
            skip += 1
        return records[skip:] if skip else records

    def _was_in_file(self, when: Time) -> bool:
        if when < self._file_to:
            return True
        if when == self._file_to and self._file_same:
            self._file_same -= 1
            return True
        return False


class _Recent:
    """The newest packets that one source delivered.

    Attributes:
        forgotten: Time of the newest that is not remembered any more.
    """

    def __init__(self) -> None:
        self.forgotten: Time = (0, 0)
        self._keys: set[int] = set()
        self._order: deque[tuple[int, Time]] = deque()

    def add(self, records: list[Record]) -> None:
        """Remember packets."""
        for record in records:
            key = _key(record)
            self._keys.add(key)
            self._order.append((key, record[:2]))
        while len(self._order) > MAX_RECENT:
            key, self.forgotten = self._order.popleft()
            self._keys.discard(key)

    def __contains__(self, record: Record) -> bool:
        return _key(record) in self._keys


def _key(record: Record) -> int:
    """Return what a packet is recognised by, however much of it was kept."""
    return hash((record[0], record[1], record[2][:100]))


def _is_step(before: Time, when: Time) -> bool:
    return when[0] + STEP < before[0]


def _spans(records: list[Record], newest: Time) -> Iterator[list[Record]]:
    """Cut records where the clock was set back; mostly nowhere."""
    newest = max(newest, records[0][:2])
    if not _is_step(newest, records[-1][:2]):
        yield records
        return
    begin = 0
    for index, record in enumerate(records):
        if index and _is_step(records[index - 1][:2], record[:2]):
            yield records[begin:index]
            begin = index
    yield records[begin:]
