# SPDX-License-Identifier: GPL-2.0-or-later
"""Where reading was, kept in fail2ban's database.

The database knows log files: a name, a hash, a position.  A savefile's place is one of
them, and so are the first and the last time of listening to an interface.  The database
may be absent, locked, full or read-only: that is told once, nothing else stops, and what
could not be kept is tried again.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Callable, Optional

from ..sources import NOTICE, Tell
from ..sources.follow import Follower
from ..sources.overlap import Overlap

__all__ = ["File", "Positions", "Session"]

RETRY = 60.0
"""Seconds between attempts to reach a database that fails; each may take five of waiting."""


class _Mark:
    """A place in a log, as fail2ban's database asks for it."""

    def __init__(self, path: str, identity: str, offset: int) -> None:
        self.getFileName = lambda: path
        self.getHash = lambda: identity
        self.getPos = lambda: offset


class Positions:
    """One jail's places.

    jail: fail2ban's; its ``database`` may be None.  clock: seconds that only go forward.

    problem: what is wrong with the database, in words; "" where nothing is.
    closed: whether nothing is asked and kept any more.
    """

    def __init__(self, jail: Any, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._jail = jail
        self._tell = tell
        self._clock = clock
        self._retry_at = 0.0
        self.problem = ""
        self.closed = False

    def recall(self, path: str, identity: str) -> Optional[int]:
        """Return what was kept, None where nothing was."""
        found = self._ask(lambda database, mark: database.addLog(self._jail, mark), path, identity)
        return None if found is None else int(found)

    def keep(self, path: str, identity: str, offset: int, is_new: bool = False) -> bool:
        """Keep a place; False where that could not be done.

        is_new: there may be no row for it yet.
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
                self._tell(
                    logging.WARNING,
                    f"the database cannot keep how far was read ({error}); bans go on, after a "
                    "restart packets of the last findtime may be read again",
                )
            self.problem = f"the database fails: {error}"
            return None
        if self.problem:
            self.problem = ""
            self._tell(NOTICE, "the database keeps again how far was read")
        return done


class File(Follower):
    """A savefile of a jail that keeps its place."""

    def __init__(self, path: str, tell: Tell, places: Positions, since: float) -> None:
        self.name = path
        self._places = places
        self._saved: object = None
        super().__init__(
            Path(path),
            tell,
            since=since,
            recall=lambda identity: places.recall(path, identity),
        )

    def save(self) -> None:
        """Write the place down, if it moved."""
        place = self.place
        if place is None or place == self._saved:
            return
        if self._places.keep(self.name, *place, is_new=self._saved is None):
            self._saved = place


class Session:
    """The last time of listening to an interface, for a jail that has a file as well."""

    def __init__(self, interface: str, places: Positions, overlap: Overlap) -> None:
        self._interface = interface
        self._places = places
        self._overlap = overlap
        self._saved = overlap.session
        begin, end = (places.recall(name, "listening") for name in self._names)
        if begin and end:
            overlap.restore(divmod(begin, 1_000_000), divmod(end, 1_000_000))
            self._saved = overlap.session

    @property
    def _names(self) -> tuple[str, str]:
        return f"{self._interface} from", f"{self._interface} to"

    def save(self) -> None:
        """Write the session down, if it moved."""
        session = self._overlap.session
        if session is None or session == self._saved:
            return
        kept = [
            self._places.keep(name, "listening", seconds * 1_000_000 + microseconds, is_new=True)
            for name, (seconds, microseconds) in zip(self._names, session)
        ]
        if all(kept):
            self._saved = session
