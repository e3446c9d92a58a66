# SPDX-License-Identifier: GPL-2.0-or-later
"""The text log: whole lines or nothing.

A batch of lines goes to the file in one write.  Free space is asked for before, and
what a write could not take in whole is cut back to its last whole line at once; so
there is no half line to be read.  A log that cannot be written costs lines, which are
counted, never the program.

Rotation: ``reopen`` is called between two writes.  While the new file cannot be
opened the old one, renamed or not, is written on.  One that was removed altogether
shows in its link count.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from datetime import datetime
from typing import Callable, Optional

from ..formatter import MAX_LINE
from ..sources import Tell
from .counters import Counters

__all__ = ["Log"]

RETRY = 1.0
"""Seconds between attempts to open a log that cannot be opened."""

LONGEST_LINE = MAX_LINE + 64
"""Bytes of a line with its time."""


class Log:
    """Appends lines.

    Args:
        opener: opens the log anew and returns its descriptor, or raises OSError.
        report: takes messages for the administrator.
        counters: of lines, dropped lines and openings.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        opener: Callable[[], int],
        report: Tell,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opener = opener
        self._report = report
        self._counters = counters
        self._clock = clock
        self._fd: Optional[int] = None
        self._retry_at: Optional[float] = None  # set while the right file is not open
        self._lost = 0  # lines since the last one that could be written
        self._problem = ""
        self.reopen()

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        return self._problem

    def reopen(self) -> None:
        """Switch to the file that has the log's name now; never raises."""
        try:
            fd = self._opener()
        except OSError as error:
            self._retry_at = self._clock() + RETRY
            self._fail("open", error)
            return
        self.close()
        self._fd = fd
        self._counters.add("opened")
        if self._retry_at is not None:
            self._retry_at = None
            if not self._lost:
                self._recover()

    def tick(self) -> None:
        """Try again to open what could not be opened; to be called now and then."""
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self.reopen()

    def write(self, data: bytes, lines: int) -> None:
        """Append ``lines`` whole lines; never raises."""
        self.tick()
        kept, error = self._append(data)
        if error is None:
            self._counters.add("lines", lines)
            if self._problem and self._retry_at is None:
                self._recover()
            return
        written = data.count(b"\n", 0, kept)
        self._counters.add("lines", written)
        self._counters.add("dropped", lines - written)
        self._lost += lines - written
        self._fail("write", error)

    def last_time(self) -> Optional[float]:
        """Seconds since the epoch of the last line's packet; None where there is none."""
        if self._fd is None:
            return None
        start = max(0, os.fstat(self._fd).st_size - LONGEST_LINE)
        last = os.pread(self._fd, LONGEST_LINE, start).rstrip(b"\n").rpartition(b"\n")[2]
        try:
            return datetime.fromisoformat(last.split(b" ")[0].decode("ascii")).timestamp()
        except ValueError:
            return None

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, data: bytes) -> tuple[int, Optional[OSError]]:
        """Write the lines; returns how many bytes, whole lines, were kept, and why not all."""
        fd = size = done = 0
        try:
            fd, size = self._file()
            self._check_room(fd, size, len(data))
            while done < len(data):
                done += os.write(fd, data[done:])
        except OSError as error:
            whole = data.rfind(b"\n", 0, done) + 1
            if whole < done:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size + whole)
            return whole, error
        return done, None

    def _file(self) -> tuple[int, int]:
        """Return the descriptor to write to and the file's size; raises OSError without one."""
        for _ in range(2):
            if self._fd is not None:
                status = os.fstat(self._fd)
                if status.st_nlink:
                    return self._fd, status.st_size
            if self._retry_at is not None:
                break
            self.reopen()
        raise FileNotFoundError(errno.ENOENT, "it was removed")

    @staticmethod
    def _check_room(fd: int, size: int, wanted: int) -> None:
        """Raise OSError unless the file system has room for ``wanted`` bytes more."""
        system = os.fstatvfs(fd)
        if not system.f_blocks:  # a file system without figures
            return
        free = system.f_bfree if os.geteuid() == 0 else system.f_bavail
        slack = -size % system.f_frsize  # of the file's last block
        if free * system.f_frsize + slack < wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fail(self, what: str, error: OSError) -> None:
        """Report a problem once."""
        problem = f"cannot {what} the log: {error.strerror or error}"
        if problem != self._problem:
            self._problem = problem
            self._report(logging.ERROR, problem)

    def _recover(self) -> None:
        self._report(
            logging.WARNING, f"the log is written again; {self._lost} lines were dropped meanwhile"
        )
        self._problem = ""
        self._lost = 0
