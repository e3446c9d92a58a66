# SPDX-License-Identifier: GPL-2.0-or-later
"""Records to the lines that somebody is given: the one way for backend, writer and backtest.

frame → packet (``packet``) → reason (``scan``, ``conduct``) → is it new, may it wait
(``distinct``) → line (``formatter``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from .distinct import Distinct, Verdict
from .errors import PflogError
from .formatter import Formatter
from .packet import Packet
from .runs import Run
from .savefile import Record
from .scan import Reason
from .stamps import Stamps

__all__ = ["EARLIEST", "Item", "Line", "Lines"]


EARLIEST = 1e-6
"""The time given for 0, which to fail2ban is none."""

Item = tuple[Record, str, float]
"""A record on its way, the byte order of the savefile that it is from, and when it counts."""


class Line(NamedTuple):
    """What fail2ban's ``processLineAndAdd`` takes: (before, time, behind), epoch.

    parts: the line, split around its time; fail2ban joins them for a ticket's matches.
    time: the packet's own time, seconds since the epoch, or ``latest``.
    packet: what the line was made of.
    """

    parts: tuple[str, str, str]
    time: float
    packet: Packet


class Prints(Protocol):
    """What makes a line of a frame: a Formatter, or what does its work for many jails."""

    def decode(self, frame: bytes, /) -> Packet:
        """As Formatter's."""

    def text(self, packet: Packet, frame: bytes, length: Optional[int] = None, /) -> str:
        """As Formatter's."""


class Lines:
    """Make lines of one jail's records.

    read: records that came in.  passed: lines that came out.
    undecodable: frames that are no pflog frames.
    latest: what is younger counts as of then, now or when it has waited.
    formatters: byte order -> Formatter; stamp: seconds and microseconds -> text; both may be
    shared by jails.
    """

    def __init__(
        self, distinct: Distinct[Item], stamp: Optional[Callable[[int, int], str]] = None
    ) -> None:
        self.distinct = distinct
        self.read = 0
        self.passed = 0
        self.undecodable = 0
        self.latest = math.inf
        self.stamp = stamp or Stamps().text
        self.formatters: Mapping[str, Prints] = {order: Formatter(order) for order in "<>"}

    def counts(self) -> list[str]:
        """What became of the packets, in words, for the status."""
        distinct = self.distinct
        told = [
            f"{self.read} read",
            f"{self.passed} lines counted",
            f"{self.undecodable} undecodable",
            f"{distinct.repeats} repeats",
            f"{distinct.let_be} of no interest",
            f"{distinct.muted} of banned sources",
        ]
        if distinct.waiting:
            told.append(f"{distinct.waiting} wait until their source sent more")
        if distinct.evicted:
            told.append(f"{distinct.evicted} sources forgotten early for want of room")
        return told

    def let_be(self) -> str:
        """Why packets were let be, the commonest reason first; "" where none was."""
        reasons = dict(self.distinct.reasons)
        most = sorted(reasons.items(), key=lambda each: -each[1])
        return ", ".join(f"{count} {reason.name}" for reason, count in most)

    def take(self, record: Record, byteorder: str) -> Sequence[Line]:
        """Return the lines that a record leads to: none, its own, or those that waited for it.

        byteorder: of the savefile that the record is from, or of this machine.  Never raises.
        """
        self.read += 1
        try:
            packet = self.formatters[byteorder].decode(record[2])
        except PflogError:
            self.undecodable += 1
            return ()
        return self._judge(record, packet, byteorder)

    def take_run(self, run: Run, byteorder: str) -> Sequence[Line]:
        """As ``take``, of alike packets; only where ``distinct.merges``, or of one packet."""
        count = 1 + run.more
        self.read += count
        if run.packet is None:
            self.undecodable += count
            return ()
        lines = self._judge(run.record, run.packet, byteorder, run.reason)
        if run.more:
            self._judge(run.last, run.packet, byteorder, run.reason, run.more)
        return lines

    def _judge(
        self,
        record: Record,
        packet: Packet,
        byteorder: str,
        told: Optional[Reason] = None,
        count: int = 1,
    ) -> Sequence[Line]:
        seconds, microseconds, frame = record
        distinct = self.distinct
        time = seconds + microseconds / 1e6
        if time > self.latest:
            time = self.latest
        item = record, byteorder, time
        if distinct.judge(time, packet, frame, item, told, count) is not Verdict.PASS:
            return ()
        formatter = self.formatters[byteorder]
        if not distinct.released:
            self.passed += 1
            return (self._line(record, packet, formatter, time),)
        held, distinct.released = distinct.released, []
        lines = []
        for each, order, when in held:
            other = self.formatters[order]
            lines.append(self._line(each, other.decode(each[2]), other, when))
        lines.append(self._line(record, packet, formatter, time))
        self.passed += len(lines)
        return lines

    def _line(self, record: Record, packet: Packet, formatter: Prints, time: float) -> Line:
        seconds, microseconds, frame = record
        text = formatter.text(packet, frame)
        stamp = self.stamp(seconds, microseconds)
        return Line(("", stamp, " " + text), time or EARLIEST, packet)
