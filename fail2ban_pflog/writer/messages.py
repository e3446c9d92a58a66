# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages for administrators: one line each on standard error.

daemon(8), rc.d's ``daemon_logger`` and systemd carry them to the system's log.  Where
nobody reads them they are dropped and counted: no message is worth a packet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Iterator

from ..errors import printable

__all__ = ["PROGRAM", "report", "report_error"]

PROGRAM = "fail2ban-pflogd"

_STDERR = 2

_PIECE = 512
"""Bytes per write: POSIX's least PIPE_BUF, for which a writable pipe has room."""

_PATIENCE = 0.2
"""Seconds after which a write is given up: the other process may have taken the room."""

_dropped = 0


def report(level: int, message: str) -> None:
    """Write one message, or drop it where standard error is closed or full.

    Args:
        level: of the logging module.
        message: what happened.
    """
    global _dropped  # noqa: PLW0603 - of this process
    before = f"({_dropped} messages could not be written) " if _dropped else ""
    line = f"{PROGRAM}: {logging.getLevelName(level).lower()}: {before}{printable(message)}\n"
    data = line.encode("utf-8", "backslashreplace")
    try:
        for at in range(0, len(data), _PIECE):
            if not select.select([], [_STDERR], [], 0)[1]:
                raise BlockingIOError
            with _alarm():
                os.write(_STDERR, data[at : at + _PIECE])
        _dropped = 0
    except (OSError, ValueError):
        _dropped += 1


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Interrupt a write that blocks, with BlockingIOError."""

    def give_up(_number: int, _frame: object) -> None:
        raise BlockingIOError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def report_error(problem: object) -> None:
    """Write an error: a message, or an OSError as ``path: what is wrong``."""
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        problem = where + problem.strerror
    report(logging.ERROR, str(problem))
