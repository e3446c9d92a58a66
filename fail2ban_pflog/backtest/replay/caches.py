# SPDX-License-Identifier: GPL-2.0-or-later
"""What the replays of a sweep have in common is done once per packet.

A packet is decoded and classified once for all jails with the same policy, its line is made
once for all, and matched once for all filters with the same expressions.  What remembers
something each replay keeps for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional

from ...formatter import Formatter
from ...pflog.packet import Packet
from ...pflog.savefile import Record
from ...pipeline import Group
from ...wire.timestamps import Stamps
from .patches import match_once
from .replay import Replay

__all__ = ["OnceFormatter", "share"]


class OnceFormatter:
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


def _group_once(group: Callable[[Record, str], Group]) -> Callable[[Record, str], Group]:
    known: Optional[Record] = None
    found: Optional[Group] = None

    def once(record: Record, byteorder: str) -> Group:
        nonlocal known, found
        if record is not known or found is None:
            found, known = group(record, byteorder), record
        return found

    return once


def share(replays: Iterable[Replay]) -> dict[str, OnceFormatter]:
    """Let replays do once per packet what they have in common.

    Returns:
        What makes the lines, by byte order.
    """
    formatters = {order: OnceFormatter(order) for order in "<>"}
    stamp = Stamps().text
    groups: dict[Any, Callable[[Record, str], Group]] = {}
    alike: dict[Any, list[Any]] = {}
    replays = list(replays)
    for replay in replays:
        filter_: Any = replay.filter
        replay.pipeline.formatters = formatters
        replay.pipeline.stamp = stamp
        if len(replays) > 1:
            replay.group = groups.setdefault(replay.group_key, _group_once(replay.group))
        expressions = (
            filter_.prefRegex.getRegex() if filter_.prefRegex else "",
            tuple(filter_.getFailRegex()),
            tuple(filter_.getIgnoreRegex()),
            filter_.getUseDns(),
            filter_.options.prefix6,
            filter_.options.prefix4,
            tuple(map(str, filter_.getIgnoreIP())),
        )
        # A filter that joins several lines depends on those it was given before.
        if filter_.getMaxLines() == 1 and "(?P<mlfid>" not in str(expressions):
            alike.setdefault(expressions, []).append(filter_)
    for filters in alike.values():
        if len(filters) > 1:
            match_once(filters)
    return formatters
