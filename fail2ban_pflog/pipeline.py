# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn records into lines: the one way for the backend, the writer and the backtest.

record -> packet (``pflog.packet``) -> kind (``policy.classifier``) -> new? held?
(``policy.dedup``) -> line (``formatter``)

A flood is mostly repeats: one source, one target, again and again.  What a jail makes of the
second of them it makes of all others as well, as long as nothing else of that source comes in
between.  So records are first decoded and put into groups of alike packets (``group``), which
all jails with the same options share, and a jail looks at the first and the last packet of a
group and counts the rest; a test holds that the lines are those of packet by packet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from .errors import PflogError
from .formatter import Formatter
from .pflog.packet import TCP, Packet
from .pflog.savefile import Record
from .policy import dedup, history
from .policy.classifier import Classifier
from .policy.classify import classify
from .policy.dedup import SPAN, Dedup
from .policy.kinds import QUESTION, Kind
from .wire.timestamps import Stamps

__all__ = ["EARLIEST", "Group", "Item", "Line", "Pipeline"]


EARLIEST = 1e-6
"""The time given for 0, which to fail2ban is none."""

Item = bytes
"""A packet that may be held: the time at which it counts, its record and byte order, packed."""

_ITEM = struct.Struct("=dqIc")


class Line(NamedTuple):
    """What fail2ban's ``processLineAndAdd`` takes: (before, time, behind), epoch.

    Attributes:
        parts: the line, split around its time; fail2ban joins them for a ticket's matches.
        time: the packet's own time, seconds since the epoch, or ``Pipeline.latest``.
        packet: what the line was made of.
    """

    parts: tuple[str, str, str]
    time: float
    packet: Packet


class Group:
    """Alike packets of one source; or packets of one kind that never counts.

    Attributes:
        record, packet: the first; the packet is None where the frame cannot be decoded.
        kind: what ``classify`` returned for each.
        last: the last record; ``record`` where there is but one.
        more: how many come after the first.
    """

    __slots__ = ("kind", "last", "more", "packet", "record")

    def __init__(self, record: Record, packet: Optional[Packet], kind: Optional[Kind]) -> None:
        self.record = self.last = record
        self.packet = packet
        self.kind = kind
        self.more = 0


class Prints(Protocol):
    """What makes a line of a frame: a Formatter, or one that serves several jails."""

    def decode(self, frame: bytes, /) -> Packet:
        """As Formatter's."""

    def text(self, packet: Packet, frame: bytes, length: Optional[int] = None, /) -> str:
        """As Formatter's."""


class Pipeline:
    """Makes the lines of one jail.

    Args:
        classifier, dedup: which packets become lines.
        stamp: seconds and microseconds -> text; local time by default.

    Attributes:
        read: how many records came in.
        passed: how many lines came out.
        undecodable: how many frames were no pflog frames.
        ignored: kind -> how many packets of it the mode did not count.
        latest: a packet that is younger counts as of then, now or when it has waited.
        formatters: byte order -> Formatter; jails may share them.
    """

    def __init__(
        self,
        classifier: Classifier,
        dedup: Dedup[Item],
        stamp: Optional[Callable[[int, int], str]] = None,
    ) -> None:
        self.classifier = classifier
        self.dedup = dedup
        self.read = self.passed = self.undecodable = 0
        self.ignored: dict[Kind, int] = {}
        self.latest = math.inf
        self.stamp = stamp or Stamps().text
        self.formatters: Mapping[str, Prints] = {order: Formatter(order) for order in "<>"}

    def share_memory(self) -> None:
        """Let the tables share their bounds with those of all other pipelines that do."""
        dedup.MEMORY.share(self.dedup)
        history.MEMORY.share(self.classifier.history)

    def leave_memory(self) -> None:
        """Let the other pipelines have what ``share_memory`` got."""
        dedup.MEMORY.leave(self.dedup)
        history.MEMORY.leave(self.classifier.history)

    @property
    def key(self) -> Hashable:
        """Equal for pipelines whose ``group`` returns the same."""
        return self.classifier.key, self.dedup.merges

    def group(self, records: Iterable[Record], byteorder: str) -> list[Group]:
        """Decode records and put alike ones together; changes nothing here.

        Args:
            records: in the order in which they came.
            byteorder: ``<`` or ``>``, of their headers.
        """
        classifier, merges = self.classifier, self.dedup.merges
        decode, wanted = self.formatters[byteorder].decode, classifier.directions
        # To a question, and to its answers, it matters from which port a packet comes.
        by_port = len(classifier.questions) > 0
        groups: list[Group] = []
        latest: dict[bytes, Group] = {}
        ignored: dict[Kind, Group] = {}
        for record in records:
            frame = record[2]
            try:
                packet = decode(frame)
            except PflogError:
                groups.append(Group(record, None, None))
                continue
            kind = classify(packet, frame, wanted)
            if classifier.is_decided(kind):
                before = ignored.get(kind)
                if before is None:
                    ignored[kind] = group = Group(record, packet, kind)
                    groups.append(group)
                else:
                    before.more += 1
                continue
            if not merges:
                groups.append(Group(record, packet, kind))
                continue
            source = classifier.source(packet.source)
            before = latest.get(source)
            by_port = by_port or kind is QUESTION
            if before is not None and _is_alike(before, record, packet, kind, by_port):
                before.last = record
                before.more += 1
            else:
                latest[source] = group = Group(record, packet, kind)
                groups.append(group)
        return groups

    def take(self, records: Iterable[Record], byteorder: str) -> list[Line]:
        """Return the lines that records lead to, with those that were held for them.

        Args:
            records: in the order in which they came.
            byteorder: ``<`` or ``>``, of their headers.
        """
        groups = self.group(records, byteorder)
        return [line for group in groups for line in self.take_group(group, byteorder)]

    def take_group(self, group: Group, byteorder: str) -> Sequence[Line]:
        """As ``take``, of one group."""
        self.read += 1 + group.more
        if group.packet is None or group.kind is None:
            self.undecodable += 1 + group.more
            return ()
        lines = self._take(group.record, group.packet, byteorder, group.kind)
        if group.more:
            self._take(group.last, group.packet, byteorder, group.kind, group.more)
        return lines

    def _take(
        self, record: Record, packet: Packet, byteorder: str, kind: Kind, count: int = 1
    ) -> Sequence[Line]:
        seconds, microseconds, frame = record
        time = min(seconds + microseconds / 1e6, self.latest)
        classifier, dedup = self.classifier, self.dedup
        kind = classifier.refine(time, packet, kind, frame)
        if not classifier.counts(kind):
            self.ignored[kind] = self.ignored.get(kind, 0) + count
            return ()
        source, target = classifier.source(packet.source), dedup.target(packet, kind)
        item = _ITEM.pack(time, seconds, microseconds, byteorder.encode()) + frame
        return self._lines(dedup.take(time, source, target, item, len(item), count), item, packet)

    def _lines(self, items: Sequence[Item], newest: Item, packet: Packet) -> Sequence[Line]:
        lines = [self._line(item, packet if item is newest else None) for item in items]
        self.passed += len(lines)
        return lines

    def _line(self, item: Item, packet: Optional[Packet]) -> Line:
        time, seconds, microseconds, order = _ITEM.unpack_from(item)
        frame, formatter = item[_ITEM.size :], self.formatters[order.decode()]
        packet = packet or formatter.decode(frame)
        stamp = self.stamp(seconds, microseconds)
        return Line(("", stamp, " " + formatter.text(packet, frame)), time or EARLIEST, packet)

    def counts(self) -> list[str]:
        """Return what became of the packets, in words, for the status."""
        dedup = self.dedup
        counts = [
            f"{self.read} read",
            f"{self.passed} lines counted",
            f"{self.undecodable} undecodable",
            f"{dedup.repeats} repeats",
            f"{sum(self.ignored.values())} not counted",
            f"{dedup.muted} of banned sources",
        ]
        if dedup.waiting:
            counts.append(f"{dedup.waiting} held until their source sends more")
        if dedup.evicted:
            counts.append(f"{dedup.evicted} sources forgotten early because the table was full")
        return counts


def _is_alike(group: Group, record: Record, packet: Packet, kind: Kind, by_port: bool) -> bool:
    """Return whether a packet is the same to every policy as those of a group."""
    one = group.packet
    return (
        one is not None
        and group.kind is kind
        and one.dport == packet.dport
        and (one.sport == packet.sport or not by_port)
        and one.head is packet.head
        and one.destination == packet.destination
        and one.source == packet.source
        and one.protocol == packet.protocol
        and one.ttl == packet.ttl
        and (one.protocol != TCP or (one.length == packet.length and one.header == packet.header))
        and 0 <= record[0] - group.record[0] <= SPAN
    )
