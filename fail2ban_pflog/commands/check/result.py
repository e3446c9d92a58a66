# SPDX-License-Identifier: GPL-2.0-or-later
"""The outcome of one check."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import NamedTuple

from ...errors import Exit, printable

__all__ = ["Mark", "Result", "exit_status", "note", "ok", "unseen", "wrong"]


class Mark(Enum):
    """The state of what was looked at, as it is printed."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"
    UNSEEN = "?"


class Result(NamedTuple):
    """One check.

    Attributes:
        name: What was looked at.
        found: What was found, in words.
        advice: What to do; "" where nothing is.
    """

    mark: Mark
    name: str
    found: str
    advice: str = ""

    @property
    def line(self) -> str:
        """Return it as one line for the administrator."""
        text = f"{self.mark.value:<5}  {self.name:<11}  {self.found}"
        return printable(text + (f" -> {self.advice}" if self.advice else ""))


ok = partial(Result, Mark.OK)
note = partial(Result, Mark.NOTE)
wrong = partial(Result, Mark.WRONG)
unseen = partial(Result, Mark.UNSEEN)


def exit_status(results: Sequence[Result]) -> int:
    """Return the exit status that sums all checks up."""
    marks = {result.mark for result in results}
    if Mark.WRONG in marks:
        return Exit.FAILED
    return Exit.UNKNOWN if Mark.UNSEEN in marks else Exit.OK
