# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the host's own programs: pfctl, ifconfig, fail2ban-client, fail2ban's Python.

What needs one takes a ``Run``; tests pass recorded answers.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

__all__ = ["DIRECTORIES", "Answer", "Run", "run"]

DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin",
               "/usr/sbin", "/usr/bin", "/sbin", "/bin")  # fmt: skip
"""Where programs are, whatever PATH cron or doas left us."""

PATIENCE = 60.0
"""Seconds that a program may take."""

_OF_OUR_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")


class Answer(NamedTuple):
    """What a program printed.

    Attributes:
        status: Its exit status; None where it could not be run.
    """

    status: Optional[int]
    out: str
    err: str

    @property
    def problem(self) -> str:
        """Why there is no answer, in a line; empty where there is one."""
        if self.status == 0:
            return ""
        printed = (self.err.strip() or self.out.strip()).splitlines()
        return printed[-1] if printed else f"exit status {self.status}"


Run = Callable[[Sequence[str]], Answer]
"""Runs a program with its arguments; never raises."""


def run(command: Sequence[str]) -> Answer:
    """Run a program of the host as a service would be: no surprise from our environment."""
    environment = {name: text for name, text in os.environ.items() if name not in _OF_OUR_PYTHON}
    path = [os.environ.get("PATH", ""), *DIRECTORIES]
    environment.update(PATH=":".join(filter(None, path)), LC_ALL="C")
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        return Answer(None, "", f"there is no {command[0]}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(None, "", str(error))
    return Answer(done.returncode, done.stdout, done.stderr)
