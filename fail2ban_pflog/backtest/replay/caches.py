# SPDX-License-Identifier: GPL-2.0-or-later
"""What the judges of a sweep have in common is done once per packet: its line, its failures.

All that remembers something each of them keeps for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional

from ...formatter import Formatter
from ...pflog.packet import Packet
from ...wire.timestamps import Stamps
from .replay import Judge

__all__ = ["Once", "share"]


class Once:
    """A Formatter that decodes and prints a frame once, however many jails ask for it."""

    def __init__(self, byteorder: str) -> None:
        self._formatter = Formatter(byteorder)
        self._frame: Optional[bytes] = None
        self._packet: Optional[Packet] = None
        self._printed: Optional[Packet] = None
        self._line = ""

    def decode(self, frame: bytes) -> Packet:
        """As Formatter's."""
        if frame is not self._frame or self._packet is None:
            self._packet = None
            self._frame, self._packet = frame, self._formatter.decode(frame)
        return self._packet

    def text(self, packet: Packet, frame: bytes, length: Optional[int] = None) -> str:
        """As Formatter's."""
        if packet is not self._printed:
            self._printed, self._line = packet, self._formatter.text(packet, frame, length)
        return self._line


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


def share(judges: Iterable[Judge]) -> dict[str, Once]:
    """Let judges do once per packet what they have in common: its line, and what matches.

    Returns what makes the lines, by byte order.
    """
    formatters = {order: Once(order) for order in "<>"}
    stamp = Stamps().text
    matches: dict[Any, _Match] = {}
    judges = list(judges)
    for judge in judges:
        filter_: Any = judge.filter
        filter_.pipeline.formatters = formatters
        filter_.pipeline.stamp = stamp
        expressions = (
            filter_.prefRegex.getRegex() if filter_.prefRegex else "",
            tuple(filter_.getFailRegex()),
            tuple(filter_.getIgnoreRegex()),
            filter_.getUseDns(),
            filter_.options.prefix6,
            tuple(map(str, filter_.getIgnoreIP())),
        )
        # A filter that joins several lines depends on those it was given before.
        if len(judges) == 1 or filter_.getMaxLines() > 1 or "(?P<mlfid>" in str(expressions):
            continue
        if expressions not in matches:
            matches[expressions] = _Match(filter_.processLine)
        filter_.processLine = matches[expressions]
    return formatters
