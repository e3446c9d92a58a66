# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages for administrators: one line each on standard error.

daemon(8), rc.d's ``daemon_logger`` and systemd carry them to the system's log.
"""

from __future__ import annotations

import contextlib
import logging
import os

from ..errors import printable

__all__ = ["PROGRAM", "tell", "tell_error"]

PROGRAM = "fail2ban-pflogd"

_STDERR = 2


def tell(level: int, message: str) -> None:
    """Write one message; a standard error that is gone must not stop the log.

    level: of the logging module.
    """
    line = f"{PROGRAM}: {logging.getLevelName(level).lower()}: {printable(message)}\n"
    with contextlib.suppress(OSError):
        os.write(_STDERR, line.encode("utf-8", "backslashreplace"))


def tell_error(problem: object) -> None:
    """Write an error: a message, or an OSError as ``path: what is wrong``."""
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        problem = where + problem.strerror
    tell(logging.ERROR, str(problem))
