# SPDX-License-Identifier: GPL-2.0-or-later
"""Records to the lines that somebody is given: the one way for backend, writer and backtest.

frame → packet (``packet``) → reason (``scan``, ``conduct``) → is it new, may it wait
(``distinct``) → line (``formatter``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from .errors import PflogError
from .formatter import Formatter
from .pflog.packet import TCP, Packet
from .pflog.savefile import Record
from .policy.classify import classify
from .policy.dedup import SPAN, Dedup, Verdict
from .policy.kinds import Kind
from .wire.timestamps import Stamps

__all__ = ["EARLIEST", "Group", "Item", "Line", "Pipeline", "runs"]


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


class Pipeline:
    """Make lines of one jail's records.

    read: records that came in.  passed: lines that came out.
    undecodable: frames that are no pflog frames.
    latest: what is younger counts as of then, now or when it has waited.
    formatters: byte order -> Formatter; stamp: seconds and microseconds -> text; both may be
    shared by jails.
    """

    def __init__(
        self, distinct: Dedup[Item], stamp: Optional[Callable[[int, int], str]] = None
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

    def take_run(self, run: Group, byteorder: str) -> Sequence[Line]:
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
        told: Optional[Kind] = None,
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


_IP6 = 16


class Group:
    """Alike packets of one source.

    record, packet: the first; packet is None where the frame cannot be decoded.
    reason: what ``scan.reason`` says of each.
    last: the last record; ``record`` where there is but one.  more: how many come after the first.
    """

    __slots__ = ("last", "more", "packet", "reason", "record")

    def __init__(self, record: Record, packet: Optional[Packet], found: Optional[Kind]) -> None:
        self.record = self.last = record
        self.packet = packet
        self.reason = found
        self.more = 0


def runs(
    records: Iterable[Record],
    decode: Callable[[bytes], Packet],
    directions: frozenset[int],
    highest: int,
    prefix6_bytes: Optional[int],
) -> list[Group]:
    """Decode records, and put alike ones together.

    decode: raises PflogError for what is no frame.  directions: as ``scan.reason`` takes them.
    highest: the mode; what it lets be whoever sent it is one run for each reason.
    prefix6_bytes: how many bytes of an IPv6 source are one source; None: no other record is
    put together with another.
    """
    made: list[Group] = []
    latest: dict[bytes, Group] = {}
    let_be: dict[Kind, Group] = {}
    for record in records:
        frame = record[2]
        try:
            packet = decode(frame)
        except PflogError:
            made.append(Group(record, None, None))
            continue
        found = classify(packet, frame, directions)
        if found.rank > highest and found.asks > highest:
            before = let_be.get(found)
            if before is None:
                let_be[found] = run = Group(record, packet, found)
                made.append(run)
            else:
                before.more += 1
            continue
        if prefix6_bytes is None:
            made.append(Group(record, packet, found))
            continue
        source = packet.source
        if len(source) == _IP6:
            source = source[:prefix6_bytes]
        before = latest.get(source)
        if (
            before is not None
            and before.reason is found
            and _alike(before.packet, packet)
            and 0 <= record[0] - before.record[0] <= SPAN
        ):
            before.last = record
            before.more += 1
        else:
            latest[source] = run = Group(record, packet, found)
            made.append(run)
    return made


def _alike(one: Optional[Packet], two: Packet) -> bool:
    """Whether all that judging asks for is the same of two packets with the same reason."""
    return (
        one is not None
        and one.dport == two.dport
        and one.head is two.head
        and one.destination == two.destination
        and one.source == two.source
        and one.protocol == two.protocol
        and one.ttl == two.ttl
        and (one.protocol != TCP or (one.length == two.length and one.header == two.header))
    )
