"""Packets of sources that cannot be banned yet wait, and most of them for ever."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..distinct import Distinct, selectors
from ..savefile import Record
from ..scan import MODES, read
from .judge import STEP, Judge

__all__ = ["Sample", "Waiting"]

MAX_SOURCES = 262_144
"""Sources known to be enough, some 30 MB; when there are more, nobody waits."""

MAX_WAITING = 131_072
"""Packets that wait until their source sent enough to count, some 60 MB; when there are
more, the longest waiting source's are judged."""

MAX_REPEATS = 256
"""Packets of one source that wait."""

_IP6 = 16


class Sample(NamedTuple):
    """A packet on its way: the record, its file's byte order, its time and number."""

    record: Record
    byteorder: str
    time: float
    number: int


class Waiting:
    """Packets of sources that cannot be banned yet, because too few of theirs could count.

    Each failure takes a packet that is no repeat, so a source that sent fewer of these
    than maxretry is in no ban list, whatever the filter says to them: most sources of a
    firewall's log never send more, and no line is made for any of them.  The others'
    packets are judged at their own times, once they are enough; a source's verdicts do
    not depend on other sources.
    """

    def __init__(self, judges: Sequence[Judge], enough: int) -> None:
        self._enough = enough
        self._highest = max(MODES[judge.distinct.mode] for judge in judges)
        self._prefix6 = min(judge.distinct.prefix6_bytes for judge in judges)
        windows = [float(judge.filter.getFindTime()) for judge in judges]
        # Then nothing remembers a source any more: neither its ports nor its failures.
        self._keep = Distinct.REMEMBER * max(windows) + STEP
        # What any judge takes for a repeat: the same, within the shortest of the windows.
        self._window = Distinct.REMEMBER * min(windows)
        self._all_count = any(judge.distinct.what == "none" for judge in judges)
        self._packets: OrderedDict[bytes, _Source] = OrderedDict()
        self._size = 0
        self._judged: set[bytes] = set()  # sources that had enough

    def take(self, sample: Sample, source: bytes) -> Sequence[Sample]:
        """What is to be judged now that this packet came."""
        if len(source) == _IP6:
            source = source[: self._prefix6]
        if source in self._judged:
            return (sample,)
        if len(self._judged) >= MAX_SOURCES:  # from now on nobody has to wait
            return (*self._release(source), sample)
        packet = read(sample.record[2])
        if packet is None or packet.rank > self._highest:
            return ()
        waiting = self._packets.get(source)
        if waiting is None:
            waiting = self._packets[source] = _Source()
        else:
            self._packets.move_to_end(source)
        waiting.samples.append(sample)
        self._size += 1
        key = (packet[2:], packet.rank, selectors(sample.record[2]))
        last = waiting.seen.get(key)
        repeat = last is not None and abs(sample.time - last) < self._window
        if self._all_count or not repeat:
            waiting.count += 1
        # As the distinct table keeps it.
        waiting.seen[key] = max(sample.time, last) if repeat and last else sample.time
        if waiting.count < self._enough and len(waiting.samples) < MAX_REPEATS:
            return ()
        return self._release(source)

    def forget(self, time: float) -> Iterator[Sequence[Sample]]:
        """Drop what nothing would remember at ``time``; yield what there is no room for."""
        while self._packets:
            source, waiting = next(iter(self._packets.items()))
            if waiting.samples[-1].time < time - self._keep:
                self._size -= len(self._packets.pop(source).samples)
            elif self._size > MAX_WAITING:
                yield self._release(source)
            else:
                break

    def _release(self, source: bytes) -> list[Sample]:
        waiting = self._packets.pop(source, None)
        if waiting is None:
            return []
        if len(self._judged) < MAX_SOURCES:
            self._judged.add(source)
        self._size -= len(waiting.samples)
        return waiting.samples


class _Source:
    """Packets that wait, how many of them are no repeats, and when each kind was last seen."""

    __slots__ = ("count", "samples", "seen")

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.count = 0
        self.seen: dict[object, float] = {}
