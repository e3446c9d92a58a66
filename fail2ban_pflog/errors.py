# SPDX-License-Identifier: GPL-2.0-or-later
"""The exceptions, the exit statuses, and how text that others wrote is printed.

Every layer checks a length once and then reads fields that cannot fail; what is
too short, or not what the layer expects, becomes a ``PflogError``.  Any other
exception that leaves the core is a bug of ours.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "PflogError", "UsageError", "printable"]


class PflogError(ValueError):
    """Bytes that are not what a layer expects.

    Attributes:
        layer: The layer that gave up: ``savefile``, ``record``, ``pflog``, ...
        needed: How many bytes that layer needed; 0 where length is not the problem.
        available: How many bytes there were.
        reason: What is wrong, in words; made from the numbers where it is left out.
    """

    def __init__(self, layer: str, needed: int, available: int, reason: str = "") -> None:
        self.layer = layer
        self.needed = needed
        self.available = available
        self.reason = reason or f"needs {needed} bytes, there are {available}"
        super().__init__(f"{layer}: {self.reason}")


class UsageError(Exception):
    """A command line that cannot be carried out: exit status 2."""


class Exit(IntEnum):
    """The exit statuses of both programs.

    A backtest adds up FAILED and DAMAGED.  The numbers from 70 are those of sysexits.h.
    """

    OK = 0
    FAILED = 1
    """Also: something is wrong (check), a trusted source would be banned (backtest)."""
    USAGE = 2
    UNKNOWN = 3
    """Nothing is wrong, but not all could be looked at (check)."""
    DAMAGED = 4
    """A capture was damaged or skipped."""
    DEFECT = 70
    """A bug of ours."""
    RETRY = 75
    """What is to be read is not there yet."""
    INTERRUPTED = 130
    """Ctrl-C, as shells give it."""
    BROKEN_PIPE = 141


def printable(text: str) -> str:
    """Return a message without what could drive a terminal: a file may have any name."""
    return "".join(char if char.isprintable() else "?" for char in text)
