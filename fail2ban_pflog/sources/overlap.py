# SPDX-License-Identifier: GPL-2.0-or-later
"""A savefile and the interface that it is written from, together: each packet once.

pflogd and a live reader see the same packets with the same times, pflogd's a minute
later.  From its first packet on the interface delivers everything, so from there on
the file is left out; what the file had told by then is left out of the live packets.
When the interface vanishes, the file takes over behind the last live packet.

Times are pairs (seconds, microseconds) as the packets carry them.  A clock is asked only
whether they can be believed: one record of the year 2038 must not hide all others.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Callable, Optional

from ..pflog.savefile import Record

__all__ = ["Overlap"]

Time = tuple[int, int]

AHEAD = 60
"""Seconds by which a packet's time may be ahead of the clock and still be believed."""

MAX_SESSIONS = 16
"""Past times of listening that are remembered: the file is behind by minutes, not more."""


class Overlap:
    """Decide which of the two delivers a packet.

    now: gives seconds since the epoch.

    repeated: how many packets were left out because the other source told them.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.repeated = 0
        self._now = now
        self._sessions: deque[tuple[Time, Time]] = deque(maxlen=MAX_SESSIONS)
        self._live_from: Optional[Time] = None  # of the session that goes on
        self._live_to: Time = (0, 0)
        self._file_to: Time = (0, 0)  # newest packet that the file delivered ...
        self._file_same = 0  # ... and how many of exactly that time it did

    def from_file(self, records: list[Record]) -> list[Record]:
        """Return the records of the file that no live packet tells."""
        kept = []
        latest = self._latest()
        for record in records:
            when = record[:2]
            if self._is_live(when):
                continue
            if self._file_to < when < latest:
                self._file_to, self._file_same = when, 0
            self._file_same += when == self._file_to
            kept.append(record)
        self.repeated += len(records) - len(kept)
        return kept

    def from_live(self, records: list[Record]) -> list[Record]:
        """Return the live records that the file has not told."""
        if not records:
            return records
        skip = 0
        if self._live_from is None:
            while skip < len(records) and self._was_in_file(records[skip][:2]):
                skip += 1
            self.repeated += skip
            if skip == len(records):
                return []
            self._live_from = self._live_to = min(records[skip][:2], self._latest())
        self._live_to = max(self._live_to, min(records[-1][:2], self._latest()))
        return records[skip:] if skip else records

    @property
    def session(self) -> Optional[tuple[Time, Time]]:
        """Times of the first and the newest packet of the last time of listening."""
        if self._live_from is not None:
            return self._live_from, self._live_to
        return self._sessions[-1] if self._sessions else None

    def restore(self, begin: Time, end: Time) -> None:
        """Remember a time of listening from before a restart."""
        self._sessions.append((begin, min(end, self._latest())))

    def live_ended(self) -> None:
        """The interface is gone: from its last packet on the file is delivered again."""
        if self._live_from is not None:
            self._sessions.append((self._live_from, self._live_to))
            self._live_from = None

    def _latest(self) -> Time:
        """What is later than this cannot be."""
        return int(self._now()) + AHEAD, 0

    def _is_live(self, when: Time) -> bool:
        if self._live_from is not None and when >= self._live_from:
            return True
        return any(begin <= when <= end for begin, end in self._sessions)

    def _was_in_file(self, when: Time) -> bool:
        if when < self._file_to:
            return True
        if when == self._file_to and self._file_same:
            self._file_same -= 1
            return True
        return False
