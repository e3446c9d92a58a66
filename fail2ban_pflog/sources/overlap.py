"""A savefile and the interface that it is written from, together: each packet once.

pflogd and a live reader see the same packets with the same times, pflogd's a minute
later.  From its first packet on the interface delivers everything, so from there on
the file is left out; what the file had told by then is left out of the live packets.
When the interface vanishes, the file takes over behind the last live packet.

Times are pairs (seconds, microseconds) as the packets carry them; no clock is asked.
"""

from __future__ import annotations

from collections import deque
from typing import Optional

from ..savefile import Record

__all__ = ["Overlap"]

Time = tuple[int, int]

MAX_SESSIONS = 16
"""Past times of listening that are remembered: the file is behind by minutes, not more."""


class Overlap:
    """Decide which of the two delivers a packet.

    repeated: how many packets were left out because the other source told them.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self._sessions: deque[tuple[Time, Time]] = deque(maxlen=MAX_SESSIONS)
        self._live_from: Optional[Time] = None  # of the session that goes on
        self._live_to: Time = (0, 0)
        self._file_to: Time = (0, 0)  # newest packet that the file delivered ...
        self._file_same = 0  # ... and how many of exactly that time it did

    def from_file(self, records: list[Record]) -> list[Record]:
        """Return the records of the file that no live packet tells."""
        kept = []
        for record in records:
            time = record[:2]
            if self._is_live(time):
                continue
            if time > self._file_to:
                self._file_to, self._file_same = time, 0
            self._file_same += time == self._file_to
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
            self._live_from = records[skip][:2]
        self._live_to = max(self._live_to, records[-1][:2])
        return records[skip:]

    @property
    def session(self) -> Optional[tuple[Time, Time]]:
        """Times of the first and the newest packet of the last time of listening."""
        if self._live_from is not None:
            return self._live_from, self._live_to
        return self._sessions[-1] if self._sessions else None

    def restore(self, begin: Time, end: Time) -> None:
        """Remember a time of listening from before a restart."""
        self._sessions.append((begin, end))

    def live_ended(self) -> None:
        """The interface is gone: from its last packet on the file is delivered again."""
        if self._live_from is not None:
            self._sessions.append((self._live_from, self._live_to))
            self._live_from = None

    def _is_live(self, time: Time) -> bool:
        if self._live_from is not None and time >= self._live_from:
            return True
        return any(begin <= time <= end for begin, end in self._sessions)

    def _was_in_file(self, time: Time) -> bool:
        if time < self._file_to:
            return True
        if time == self._file_to and self._file_same:
            self._file_same -= 1
            return True
        return False
