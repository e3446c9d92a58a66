# SPDX-License-Identifier: GPL-2.0-or-later
"""Where reading was, kept in fail2ban's database.

The database knows log files: a name, a hash, a position.  A savefile's place is one of
them, and so are the first and the last time of listening to an interface.  The database
may be absent, locked, full or read-only: that is logged once, nothing else stops, and what
could not be kept is tried again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path
from typing import Any, Callable, Optional

from ..sources import NOTICE, Report
from ..sources.follow import Follower, Place
from ..sources.overlap import Overlap, Time
from ..sources.shared import Chunk

__all__ = ["File", "Positions", "Sessions"]

RETRY = 60.0
"""Seconds between attempts to reach a database that fails; each may take five of waiting."""

SESSIONS = 4
"""Spans of listening that are kept: a file is a minute behind, restarts are rarely closer."""

MAX_DEFERRED = 1024
"""Reads of a file whose packets the interface is still to deliver."""


class _Mark:
    """Presents a place in a log as fail2ban's database asks for it."""

    def __init__(self, path: str, identity: str, offset: int) -> None:
        self.getFileName = lambda: path
        self.getHash = lambda: identity
        self.getPos = lambda: offset


class Positions:
    """One jail's places.

    Args:
        jail: fail2ban's; its ``database`` may be None.
        report: Takes what an administrator should know.
        clock: Returns seconds that only go forward.

    Attributes:
        problem: What is wrong with the database, in words; "" where nothing is.
        closed: Whether nothing is asked and kept any more.
    """

    def __init__(
        self, jail: Any, report: Report, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._jail = jail
        self._report = report
        self._clock = clock
        self._retry_at = 0.0
        self.problem = ""
        self.closed = False

    def recall(self, path: str, identity: str) -> Optional[int]:
        """Return what was kept, None where nothing was."""
        found = self._ask(lambda database, mark: database.addLog(self._jail, mark), path, identity)
        return None if found is None else int(found)

    def keep(self, path: str, identity: str, offset: int, is_new: bool = False) -> bool:
        """Keep a place.

        Args:
            path: The file's name.
            identity: What the file is recognised by.
            offset: Where its next record starts.
            is_new: There may be no row for it yet.

        Returns:
            Whether that could be done.
        """

        def write(database: Any, mark: _Mark) -> bool:
            if is_new:
                database.addLog(self._jail, mark)
            database.updateLog(self._jail, mark)
            return True

        return self._ask(write, path, identity, offset) is True

    def _ask(
        self, work: Callable[[Any, _Mark], Any], path: str, identity: str, offset: int = 0
    ) -> Any:
        database = self._jail.database
        if database is None or self.closed or self._clock() < self._retry_at:
            return None
        try:
            done = work(database, _Mark(path, identity, offset))
        except Exception as error:  # sqlite3's, and fail2ban's own of a broken database
            self._retry_at = self._clock() + RETRY
            if not self.problem:
                self._report(
                    logging.WARNING,
                    f"the database cannot keep how far was read ({error}); bans go on, after a "
                    "restart packets of the last findtime may be read again",
                )
            self.problem = f"the database fails: {error}"
            return None
        if self.problem:
            self.problem = ""
            self._report(NOTICE, "the database keeps again how far was read")
        return done


class File(Follower):
    """A savefile of a jail that keeps its place.

    Args:
        path: As the administrator wrote it.
        report: As of ``Follower``.
        positions: Where the place is kept.
        since: As of ``Follower``.
    """

    def __init__(self, path: str, report: Report, positions: Positions, since: float) -> None:
        self.name = path
        self._positions = positions
        self._saved: object = None
        self._deferred: deque[tuple[Overlap, Time, Place]] = deque(maxlen=MAX_DEFERRED)
        super().__init__(
            Path(path),
            report,
            since=since,
            recall=lambda identity: positions.recall(path, identity),
        )

    def defer(self, overlap: Overlap, chunk: Chunk, first: int) -> None:
        """Keep the place before packets that the interface delivers until it has done so.

        Args:
            overlap: What left them out.
            chunk: What was read last.
            first: Index of the first that was left out.
        """
        if (place := self.place_of(chunk, first)) is not None:
            self._deferred.append((overlap, overlap.left_out_to, place))

    def save(self) -> None:
        """Write the place down, if it moved."""
        while self._deferred and self._deferred[0][0].has_delivered(self._deferred[0][1]):
            self._deferred.popleft()
        place = self._deferred[0][2] if self._deferred else self.place
        if place is None or place == self._saved:
            return
        if self._positions.keep(self.name, *place, is_new=self._saved is None):
            self._saved = place


class Sessions:
    """The last spans of listening to an interface, for a jail that has a file as well."""

    def __init__(self, interface: str, positions: Positions, overlap: Overlap) -> None:
        self._interface = interface
        self._positions = positions
        self._overlap = overlap
        for number in reversed(range(SESSIONS)):  # oldest first
            begin, end = (positions.recall(name, "listening") for name in self._names(number))
            if begin and end:
                overlap.restore(divmod(begin, 1_000_000), divmod(end, 1_000_000))
        self._saved = overlap.spans[:SESSIONS]

    def _names(self, number: int) -> tuple[str, str]:
        name = f"{self._interface} -{number}" if number else self._interface
        return f"{name} from", f"{name} to"

    def save(self) -> None:
        """Write down what changed."""
        spans = self._overlap.spans[:SESSIONS]
        kept = [
            self._positions.keep(name, "listening", seconds * 1_000_000 + micros, is_new=True)
            for number, span in enumerate(spans)
            if self._saved[number : number + 1] != [span]
            for name, (seconds, micros) in zip(self._names(number), span)
        ]
        if all(kept):
            self._saved = spans
