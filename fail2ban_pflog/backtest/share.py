"""What the judges of a sweep have in common is done once per packet: its line, its failures.

All that remembers something each of them keeps for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional

from .. import distinct
from ..errors import PflogError
from ..formatter import Formatter
from ..scan import read
from ..stamps import Stamps
from .judge import Judge

__all__ = ["share"]


class _Formatter:
    """Makes a frame's line once, however many jails ask for it."""

    def __init__(self, byteorder: str) -> None:
        self._make = Formatter(byteorder).line
        self._frame = b""
        self._line = ""
        self._error: Optional[PflogError] = None

    def line(self, frame: bytes) -> str:
        if frame is not self._frame:
            self._frame, self._error = frame, None
            try:
                self._line = self._make(frame)
            except PflogError as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._line


class _Read:
    """Reads a frame once for all distinct tables that want the same directions."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self._read = read
        self._frame = b""
        self._wanted: Any = None
        self._packet: Any = None

    def __call__(self, frame: bytes, wanted: frozenset[int]) -> Any:
        if frame is not self._frame or wanted is not self._wanted:
            self._frame, self._wanted = frame, wanted
            self._packet = self._read(frame, wanted)
        return self._packet


class _Match:
    """Finds a line's failures once for all filters with the same expressions."""

    def __init__(self, find: Callable[[Any, float], list[Any]]) -> None:
        self._find = find
        self._asked: Any = None
        self._found: list[Any] = []

    def __call__(self, line: Any, date: float) -> list[Any]:
        if self._asked != (line, date):
            self._asked = line, date
            self._found = self._find(line, date)
        return self._found


def share(judges: Iterable[Judge]) -> None:
    """Let judges do once per packet what they have in common: its line, and what matches."""
    setattr(distinct, "read", _Read(read))  # noqa: B010 -- it is the table's own name
    formatters = {order: _Formatter(order) for order in "<>"}
    stamps = Stamps()
    wanted: dict[frozenset[int], frozenset[int]] = {}
    matches: dict[Any, _Match] = {}
    for judge in judges:
        filter_: Any = judge.filter
        filter_.lines.formatters = formatters
        filter_.lines.stamps = stamps
        directions = judge.distinct.directions
        judge.distinct.directions = wanted.setdefault(directions, directions)
        expressions = (
            filter_.prefRegex.getRegex() if filter_.prefRegex else "",
            tuple(filter_.getFailRegex()),
            tuple(filter_.getIgnoreRegex()),
            filter_.getUseDns(),
            filter_.options.prefix6,
            tuple(map(str, filter_.getIgnoreIP())),
        )
        # A filter that joins several lines depends on those it was given before.
        if filter_.getMaxLines() > 1 or "(?P<mlfid>" in str(expressions):
            continue
        if expressions not in matches:
            matches[expressions] = _Match(filter_.processLine)
        filter_.processLine = matches[expressions]
