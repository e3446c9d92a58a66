"""Captures through judges, in one pass; what is counted beside them is bounded.

A result is plain data: it can be sent from one process to another, and printed.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Protocol, Union

from ..distinct import Distinct, selectors
from ..savefile import Record
from ..scan import INBOUND, MODES, read
from .captures import Captures
from .jails import ConfigurationError, set_time
from .judge import Ban, Close, Judge, source_of

__all__ = ["MAX_SOURCES", "Result", "Run", "Survey", "Timeline", "Trust"]

MAX_SOURCES = 262_144
"""Different sources told apart, some 30 MB; of a flood of forged ones the rest is not."""

MAX_BINS = 512
"""Bars of a time line; when there are more, two become one."""

MAX_WAITING = 131_072
"""Packets that wait until their source sent enough to count, some 60 MB; when there are
more, the longest waiting source's are judged."""

MAX_REPEATS = 256
"""Packets of one source that wait."""

SAMPLED = 500
"""Packets on which a filter must show that it blames the source of a packet."""

_IP6 = 16

MAX_SURVEYED = 65_536
"""Sources whose ports are counted for the plots."""

MAX_PORTS = 1024
"""Different ports counted of one source for the plots."""


class Timeline:
    """How much of something happened when, in at most MAX_BINS bars of equal width.

    width: seconds, doubled as often as needed.
    bins: number of a bar (its begin divided by width) -> count.
    """

    def __init__(self, width: float = 1.0) -> None:
        self.width = width
        self.bins: dict[int, int] = {}

    def add(self, time: float, count: int = 1) -> None:
        """Count what happened at ``time``, seconds since the epoch."""
        number = int(time // self.width)
        bins = self.bins
        bins[number] = bins.get(number, 0) + count
        while len(self.bins) > MAX_BINS:
            self.bins = self.folded(2 * self.width)
            self.width *= 2

    def folded(self, width: float) -> dict[int, int]:
        """The bars at a greater width, a power of two times this one."""
        times = round(width / self.width)
        folded: dict[int, int] = {}
        for number, count in self.bins.items():
            folded[number // times] = folded.get(number // times, 0) + count
        return folded


class Survey:
    """What the plots need beside the bans: time lines, and how many ports who asked for.

    mode: the filter's, only packets that it counts tell ports.
    packets, prevented: time lines.  ports: source -> different ports, for as many
    sources as MAX_SURVEYED, counted with no regard to bans.
    """

    def __init__(self, mode: str) -> None:
        self._highest = MODES[mode]
        self.packets = Timeline()
        self.prevented = Timeline()
        self._ports: dict[bytes, set[bytes]] = {}

    def packet(self, time: float, frame: bytes, source: bytes, prevented: bool) -> None:
        """Take one packet."""
        (self.prevented if prevented else self.packets).add(time)
        packet = read(frame)
        if packet is None or packet.rank > self._highest or not packet.port:
            return
        ports = self._ports.get(source)
        if ports is None:
            if len(self._ports) >= MAX_SURVEYED:
                return
            ports = self._ports[source] = set()
        if len(ports) < MAX_PORTS:
            ports.add(packet.port)

    @property
    def ports(self) -> dict[str, int]:
        """Source -> how many different ports it asked for."""
        return {str(ip_address(source)): len(ports) for source, ports in self._ports.items()}


class Trust:
    """Networks that must never be banned.

    words: each is a network, an address, or a file with one per line (# begins a comment).
    Raises ConfigurationError for what is neither.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._networks: list[Union[IPv4Network, IPv6Network]] = []
        for word in words:
            self._networks += self._read(word)

    def _read(self, word: str) -> list[Union[IPv4Network, IPv6Network]]:
        with contextlib.suppress(ValueError):
            return [ip_network(word, strict=False)]
        try:
            text = Path(word).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--trust {word}: no network, and no file ({error})") from None
        networks = []
        for number, line in enumerate(text.splitlines(), 1):
            if entry := line.partition("#")[0].strip():
                try:
                    networks.append(ip_network(entry, strict=False))
                except ValueError as error:
                    raise ConfigurationError(f"--trust {word}, line {number}: {error}") from None
        return networks

    def __contains__(self, source: str) -> bool:
        try:
            network = ip_network(source)
        except ValueError:
            return False
        return any(
            network.version == trusted.version and network.overlaps(trusted)
            for trusted in self._networks
        )


class Result(NamedTuple):
    """What one jail made of the captures.

    maxretry, findtime, bantime: as the jail was run, times in seconds.
    packets: how many were read.  prevented, bans: see ``Judge``.  sources: how many there
    were, at most MAX_SOURCES.  begin, end: times of the first and last packet, 0.0 where none.
    close: the sources that came close.  trusted: the banned ones that are trusted.
    survey: where it was asked for.
    """

    jail: str
    maxretry: int
    findtime: float
    bantime: float
    packets: int
    prevented: int
    bans: list[Ban]
    sources: int
    begin: float
    end: float
    close: list[Close]
    trusted: list[str]
    survey: Optional[Survey] = None

    @property
    def banned(self) -> list[str]:
        """The sources that were banned, each once, in order."""
        return list(dict.fromkeys(ban.source for ban in self.bans))

    @property
    def share(self) -> float:
        """The prevented packets' share of all, 0 to 1."""
        return self.prevented / self.packets if self.packets else 0.0


class _Waiting:
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
        self._keep = Distinct.REMEMBER * max(windows) + 60.0
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
        if self._all_count or last is None or abs(sample.time - last) >= self._window:
            waiting.count += 1
        waiting.seen[key] = sample.time
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


class Sample(NamedTuple):
    """A packet on its way: the record, its file's byte order, its time and number."""

    record: Record
    byteorder: str
    time: float
    number: int


class Feed(Protocol):
    """What takes packets: a judge, or some that are judged as one."""

    def blames_source(self, record: Record, byteorder: str) -> bool:
        """As ``Judge.blames_source``."""

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> Optional[Ban]:
        """As ``Judge.packet``."""


class Run:
    """One pass over captures, by one or several judges.

    feeds: what feeds the judges, where they do not do it themselves.
    survey: whether to gather what the plots need.
    close: whether the sources that came close are wanted.
    packets: how many were read so far.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        feeds: Optional[Sequence[Feed]] = None,
        survey: bool = False,
        close: bool = True,
    ) -> None:
        self.judges = judges
        self._feeds: Sequence[Feed] = feeds or judges
        self.packets = 0
        self._surveys = [Survey(judge.distinct.mode) if survey else None for judge in judges]
        self._sources: set[bytes] = set()
        self._begin, self._end = math.inf, 0.0
        self._sampled = 0
        fewest = min(judge.maxretry for judge in judges)
        enough = (fewest + 1) // 2 if close else fewest
        everything = any(
            judge.needs_all or judge.distinct.directions != INBOUND for judge in judges
        )
        self._waiting = None if everything or enough < 2 else _Waiting(judges, enough)

    def read(self, captures: Captures, report: Callable[[int], None] = lambda _: None) -> None:
        """Judge all packets.

        report: called after each batch with the number of packets so far.
        Raises ConfigurationError where the jail's filter blames others than the source.
        """
        for byteorder, records in captures:
            self._batch(byteorder, records)
            report(self.packets)

    def _batch(self, byteorder: str, records: list[Record]) -> None:
        sources = self._sources
        number = self.packets
        surveyed = self._surveys[0] is not None
        if self._waiting is not None and self._sampled < SAMPLED:
            self._sample(byteorder, records)
        waiting = self._waiting
        for record in records:
            number += 1
            time = record[0] + record[1] / 1e6
            source = source_of(record[2])
            if source not in sources and len(sources) < MAX_SOURCES:
                sources.add(source)
            sample = Sample(record, byteorder, time, number)
            samples: Sequence[Sample] = (sample,)
            if waiting is not None:
                samples = waiting.take(sample, source)
            prevented = self._judge(samples) if samples else ()
            if surveyed:
                self._survey(sample, source, prevented)
        self.packets = number
        self._begin = min(self._begin, records[0][0] + records[0][1] / 1e6)
        self._end = max(self._end, time)
        if waiting is not None:
            for samples in waiting.forget(time):
                self._judge(samples)

    def _judge(self, samples: Sequence[Sample]) -> Sequence[bool]:
        """Feed packets; returns which of the feeds prevent the last one."""
        prevented: Sequence[bool] = ()
        for record, byteorder, time, number in samples:
            source = source_of(record[2])
            set_time(time)
            prevented = [
                feed.packet(record, byteorder, time, source, number) is not None
                for feed in self._feeds
            ]
        return prevented

    def _survey(self, sample: Sample, source: bytes, prevented: Sequence[bool]) -> None:
        for index, survey in enumerate(self._surveys):
            if survey is not None:
                banned = bool(prevented) and prevented[index]
                survey.packet(sample.time, sample.record[2], source, banned)

    def _sample(self, byteorder: str, records: list[Record]) -> None:
        """Look whether the filters blame the source: or else no packet may wait."""
        some = records[: SAMPLED - self._sampled]
        self._sampled += len(some)
        if all(feed.blames_source(record, byteorder) for feed in self._feeds for record in some):
            return
        if self.packets:
            raise ConfigurationError("the jail's filter blames now the source, now others")
        self._waiting = None

    def results(self, trust: Trust) -> list[Result]:
        """What the judges found so far, in their order."""
        return [
            self._result(judge, survey, trust) for judge, survey in zip(self.judges, self._surveys)
        ]

    def _result(self, judge: Judge, survey: Optional[Survey], trust: Trust) -> Result:
        banned = dict.fromkeys(ban.source for ban in judge.bans)
        return Result(
            jail=judge.jail.name,
            maxretry=judge.maxretry,
            findtime=float(judge.filter.getFindTime()),
            bantime=float(judge.jail.actions.getBanTime()),
            packets=self.packets,
            prevented=judge.prevented,
            bans=judge.bans,
            sources=len(self._sources),
            begin=self._begin if self.packets else 0.0,
            end=self._end,
            close=judge.close,
            trusted=[source for source in banned if source in trust],
            survey=survey,
        )
