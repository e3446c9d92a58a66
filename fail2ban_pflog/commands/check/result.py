# SPDX-License-Identifier: GPL-2.0-or-later
"""The outcome of one check."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

__all__ = ["Mark", "Result", "exit_status", "note", "ok", "unseen", "wrong"]

FINE, WRONG, UNSEEN = 0, 1, 3
"""Exit statuses: all is well; something is wrong; nothing is, but not all could be seen."""


class Mark(Enum):
    """How it is, as it is printed."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"
    UNSEEN = "?"


class Result(NamedTuple):
    """One check.

    name: what was looked at.  found: in words.  advice: what to do; "" where nothing is.
    """

    name: str
    mark: Mark
    found: str
    advice: str = ""

    @property
    def line(self) -> str:
        """As the administrator reads it: one line."""
        text = f"{self.mark.value:<5}  {self.name:<11}  {self.found}"
        text += f" -> {self.advice}" if self.advice else ""
        return "".join(char if char.isprintable() else "?" for char in text)


def ok(name: str, found: str) -> Result:
    """It is as it should be."""
    return Result(name, Mark.OK, found)


def note(name: str, found: str, advice: str = "") -> Result:
    """It works, and could be better."""
    return Result(name, Mark.NOTE, found, advice)


def wrong(name: str, found: str, advice: str = "") -> Result:
    """It does not work."""
    return Result(name, Mark.WRONG, found, advice)


def unseen(name: str, found: str, advice: str = "") -> Result:
    """It could not be looked at here."""
    return Result(name, Mark.UNSEEN, found, advice)


def exit_status(results: Sequence[Result]) -> int:
    """What a script is told of all checks."""
    marks = {result.mark for result in results}
    if Mark.WRONG in marks:
        return WRONG
    return UNSEEN if Mark.UNSEEN in marks else FINE
