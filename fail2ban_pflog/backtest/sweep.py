"""Many settings at once, on all cores.

Each process reads the captures once and feeds its share of the settings packet by
packet: nothing is kept of a capture, and nothing but results is sent.  What settings
have in common is done once per packet: its line, and what a filter finds in it.  All
that remembers something (the distinct table, fail2ban's counters, its bans) each setting
has for itself, so a swept setting comes to the same bans as it does alone.
"""

from __future__ import annotations

import gc
import itertools
import logging
import math
import multiprocessing
import os
import re
import signal
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from .. import distinct
from ..errors import PflogError
from ..formatter import Formatter
from ..scan import read
from ..stamps import Stamps
from .captures import Captures, is_stream
from .family import Family, families
from .jails import Configuration, ConfigurationError
from .judge import Judge
from .report import WIDTH, Document, Row, Table, duration
from .run import Result, Run, Trust
from .terminal import Progress

__all__ = ["Outcome", "Sweep", "best", "combinations", "document", "missed", "run_sweep"]

COLLECT = (100_000, 50, 100)
"""When a process looks for cycles among its objects: seldom, for it keeps a great many that
are in none (ports, tickets), and by default would walk over all of them again and again."""

OTHER_COLUMNS = 48
"""How wide the table is without the settings."""

LOOK_EVERY = 0.2
"""Seconds after which Ctrl-C is noticed at the latest."""

MAX_SETTINGS = 10_000
"""More combinations are a slip: each has counters of its own."""


class Sweep(NamedTuple):
    """What a process needs to know.

    config: the configuration's folder.  captures: as ``Captures`` takes them.
    settings: one dictionary of jail options per combination.  trust: as ``Trust`` takes it.
    """

    config: Path
    jail: str
    captures: tuple[str, ...]
    settings: list[dict[str, str]]
    trust: tuple[str, ...]


class Outcome(NamedTuple):
    """What one setting came to.

    bans: how many; prevented: packets; share: of all packets.
    delays: banned source -> seconds from when it was first counted to its first ban.
    trusted: the banned sources that are trusted.
    """

    settings: dict[str, str]
    bans: int
    prevented: int
    share: float
    delays: dict[str, float]
    trusted: list[str]


class Judged(NamedTuple):
    """What a sweep came to.

    bad: how many captures were damaged or skipped.  problems: what went wrong in fail2ban.
    interrupted: whether the outcomes are those of a part of the packets.
    """

    outcomes: list[Outcome]
    bad: int
    problems: list[str]
    interrupted: bool


# -- settings ---------------------------------------------------------------------------


def combinations(words: Sequence[str]) -> list[dict[str, str]]:
    """All combinations of what ``--sweep`` was given.

    words: ``name=value,value`` or, for whole numbers, ``name=first..last`` and
    ``name=first..last..step``; commas within brackets separate nothing.  Raises ConfigurationError.
    """
    axes: dict[str, list[tuple[str, str]]] = {}
    for word in words:
        name, _, values = word.partition("=")
        if name in axes:
            raise ConfigurationError(f"--sweep {name}= is given twice: name all values at once")
        axes[name] = [(name, value) for value in _values(name, values)]
    count = math.prod(map(len, axes.values()))
    if count > MAX_SETTINGS:
        raise ConfigurationError(f"--sweep: {count:,} settings; {MAX_SETTINGS:,} are the most")
    return [dict(chosen) for chosen in itertools.product(*axes.values())]


def _values(name: str, text: str) -> list[str]:
    values: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        if match := re.fullmatch(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?", part.strip()):
            first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
            if not step or last < first or (last - first) // step >= MAX_SETTINGS:
                raise ConfigurationError(f"--sweep {name}={text}: {part} is no range")
            values += map(str, range(first, last + 1, step))
        elif part.strip():
            values.append(part.strip())
    if not values:
        raise ConfigurationError(f"--sweep {name}={text}: there is no value")
    return list(dict.fromkeys(values))


# -- judging ----------------------------------------------------------------------------


class _SharedFormatter:
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


class _SharedRead:
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


class _SharedMatch:
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


def _share(judges: Iterable[Judge]) -> None:
    setattr(distinct, "read", _SharedRead(read))  # noqa: B010 -- it is the table's own name
    formatters = {order: _SharedFormatter(order) for order in "<>"}
    stamps = Stamps()
    wanted: dict[frozenset[int], frozenset[int]] = {}
    matches: dict[Any, _SharedMatch] = {}
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
            matches[expressions] = _SharedMatch(filter_.processLine)
        filter_.processLine = matches[expressions]


def _judge(sweep: Sweep, tell: Callable[[str], None], report: Progress) -> Judged:
    """Judge all settings."""
    configuration = Configuration(sweep.config)
    judges = [
        Judge(configuration.load(sweep.jail, each), ports=False, lines=False)
        for each in sweep.settings
    ]
    feeds = families(configuration, sweep.jail, sweep.settings, judges)
    run = Run(judges, feeds, close=False)
    _share([*judges, *(feed.lead for feed in feeds if isinstance(feed, Family))])
    captures = Captures(sweep.captures, tell)
    interrupted = False
    try:
        run.read(captures, lambda packets: report(captures.done, captures.size, packets))
    except KeyboardInterrupt:
        interrupted = True
    results = run.results(Trust(sweep.trust))
    outcomes = [_outcome(each, result) for each, result in zip(sweep.settings, results)]
    return Judged(outcomes, captures.bad, run.problems, interrupted)


def _outcome(settings: dict[str, str], result: Result) -> Outcome:
    delays: dict[str, float] = {}
    for ban in result.bans:
        delays.setdefault(ban.source, ban.time - ban.first)
    return Outcome(
        settings, len(result.bans), result.prevented, result.share, delays, result.trusted
    )


# -- processes --------------------------------------------------------------------------


def run_sweep(sweep: Sweep, tell: Callable[[str], None], report: Progress) -> Judged:
    """Judge all settings on all cores, in the order of ``sweep.settings``.

    tell: called with a sentence for each bad capture.  report: progress.
    Raises ConfigurationError.
    """
    # Check one of each value here: its words are better than those of a dead process.
    Trust(sweep.trust)
    configuration = Configuration(sweep.config)
    seen: set[tuple[str, str]] = set()
    for each in sweep.settings:
        if not seen.issuperset(each.items()):
            configuration.load(sweep.jail, each)
            seen.update(each.items())
    jobs = min(_cores(), len(sweep.settings))
    if jobs == 1 or any(map(is_stream, sweep.captures)):
        return _judge(sweep, tell, report)
    return _Workers(sweep, jobs, tell, report).run()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(settings: Sequence[dict[str, str]], jobs: int) -> list[list[int]]:
    """Indexes of the settings for each process; those of a family stay together."""

    def family(index: int) -> list[tuple[str, str]]:
        return sorted(item for item in settings[index].items() if item[0] != "maxretry")

    order = sorted(range(len(settings)), key=family)
    bounds = [len(order) * job // jobs for job in range(jobs + 1)]
    return [order[begin:end] for begin, end in zip(bounds, bounds[1:])]


class _Workers:
    """Processes that take a share of the settings each."""

    def __init__(
        self, sweep: Sweep, jobs: int, tell: Callable[[str], None], report: Progress
    ) -> None:
        self._shares = shares(sweep.settings, jobs)
        self._tell = tell
        self._report = report
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._pipes: list[Connection] = []
        self._processes = []
        # Ctrl-C comes to all processes: this one takes it, and tells the others.
        self._interrupted = False
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit that
        for number, share in enumerate(self._shares):
            mine, its = context.Pipe(duplex=False)
            part = sweep._replace(settings=[sweep.settings[index] for index in share])
            process = context.Process(
                target=_work, args=(part, number == 0, its, self._stop), daemon=True
            )
            process.start()
            its.close()
            self._pipes.append(mine)
            self._processes.append(process)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _interrupt(self, *_: Any) -> None:
        self._interrupted = True

    def run(self) -> Judged:
        try:
            return self._run()
        finally:
            signal.signal(signal.SIGINT, self._handler)

    def _run(self) -> Judged:
        outcomes: dict[int, Outcome] = {}
        judged: list[Judged] = []
        left: dict[Any, int] = {pipe: number for number, pipe in enumerate(self._pipes)}
        while left:
            if self._interrupted:
                self._stop.set()
            for pipe in wait(list(left), LOOK_EVERY):
                kind, value = self._receive(pipe)
                if kind == "progress":
                    self._report(*value)
                elif kind == "tell":
                    self._tell(value)
                elif kind == "error":
                    raise ConfigurationError(value)
                else:
                    judged.append(value)
                    outcomes.update(zip(self._shares[left.pop(pipe)], value.outcomes))
        for process in self._processes:
            process.join()
        return Judged(
            [outcomes[index] for index in sorted(outcomes)],
            max(each.bad for each in judged),
            list(dict.fromkeys(problem for each in judged for problem in each.problems)),
            any(each.interrupted for each in judged),
        )

    @staticmethod
    def _receive(pipe: Any) -> tuple[str, Any]:
        try:
            message: tuple[str, Any] = pipe.recv()
        except EOFError:
            raise ConfigurationError("a process of the sweep ended unexpectedly") from None
        return message


def _work(sweep: Sweep, is_first: bool, pipe: Connection, stop: Any) -> None:
    """One process: judge, and send what comes of it.

    is_first: tells bad captures and progress; the others would only say the same.
    stop: an event that asks for what is known so far.
    """
    parent = multiprocessing.parent_process()
    quiet()
    gc.set_threshold(*COLLECT)

    def report(*progress: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if parent is not None and not parent.is_alive():
            raise SystemExit
        if is_first:
            pipe.send(("progress", progress))

    def tell(message: str) -> None:
        if is_first:
            pipe.send(("tell", message))

    try:
        pipe.send(("done", _judge(sweep, tell, report)))
    except ConfigurationError as error:
        pipe.send(("error", str(error)))
    pipe.close()


def quiet() -> None:
    """Keep fail2ban's own log off the terminal: its errors are told as ours."""
    logger = logging.getLogger("fail2ban")
    logger.setLevel(logging.ERROR)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


# -- what comes of it -------------------------------------------------------------------


def scanners(outcomes: Iterable[Outcome]) -> set[str]:
    """Sources that any of the settings bans, but for those that are trusted."""
    found: set[str] = set()
    for outcome in outcomes:
        found.update(outcome.delays)
        found.difference_update(outcome.trusted)
    return found


def missed(outcome: Outcome, wanted: set[str]) -> int:
    """How many of the scanners the setting does not ban."""
    return len(wanted.difference(outcome.delays))


def delay(outcome: Outcome, wanted: set[str]) -> float:
    """The median delay of the first ban in seconds; a scanner that is missed waits for ever."""
    delays = sorted(outcome.delays.get(source, math.inf) for source in wanted)
    return delays[(len(delays) - 1) // 2] if delays else math.inf


def best(outcomes: Sequence[Outcome]) -> list[int]:
    """Indexes of the settings that ban no trusted source, at the least delay.

    Among those as quick, the ones that miss the fewest scanners.
    """
    wanted = scanners(outcomes)
    rated = [
        (delay(outcome, wanted), missed(outcome, wanted), index)
        for index, outcome in enumerate(outcomes)
        if not outcome.trusted and outcome.bans
    ]
    least = min(rated, default=None)
    return [index for *rating, index in rated if least and tuple(rating) == least[:2]]


def document(jail: str, common: dict[str, str], outcomes: Sequence[Outcome]) -> Document:
    """The sweep as a table, and the jail to paste.

    common: settings that all have in common, from ``--set``.
    """
    wanted = scanners(outcomes)
    marked = set(best(outcomes))
    names = [name for name in (outcomes[0].settings if outcomes else {}) if name not in common]
    settings = [[outcome.settings[name] for name in names] for outcome in outcomes]
    width = sum(max(map(len, (name, *values))) + 2 for name, values in zip(names, zip(*settings)))
    told_below = width > WIDTH - OTHER_COLUMNS
    columns = [] if told_below else names
    rows = []
    for index, outcome in enumerate(outcomes):
        cells = (
            "*" if index in marked else "",
            *(outcome.settings[name] for name in columns),
            f"{outcome.bans:,}",
            f"{len(outcome.trusted):,}",
            f"{missed(outcome, wanted):,}",
            "never" if math.isinf(wait_ := delay(outcome, wanted)) else duration(wait_),
            f"{outcome.share:.1%}",
        )
        told = "  ".join(f"{name}={outcome.settings[name]}" for name in names)
        notes = (told,) if told_below else ()
        rows.append(Row(cells, notes, bool(outcome.trusted)))
    heads = ("", *(f"{name} " for name in columns), "Bans ", "Trusted ", "Missed ", "Delay ")
    title = f"Jail {jail}: {len(rows):,} setting{'s' if len(rows) != 1 else ''}"
    table = Table(title, (*heads, "Prevented "), rows)
    parts: Document = [table, LEGEND]
    if marked:
        chosen = outcomes[min(marked)].settings
        lines = [f"[{jail}]", "enabled = true"]
        for name, value in chosen.items():
            lines.append(f"{name} = " + "\n    ".join(value.splitlines()))
        parts.append("For jail.local:\n\n" + "\n".join(lines))
    else:
        parts.append("No setting bans anybody without a trusted source among them.")
    return parts


def as_dicts(jail: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The sweep as JSON has it; a delay of null is for ever."""
    wanted = scanners(outcomes)
    marked = set(best(outcomes))
    return {
        "jail": jail,
        "settings": [
            {
                "settings": outcome.settings,
                "best": index in marked,
                "bans": outcome.bans,
                "banned": list(outcome.delays),
                "trusted": outcome.trusted,
                "missed": missed(outcome, wanted),
                "delay": None if math.isinf(late := delay(outcome, wanted)) else round(late, 6),
                "prevented": outcome.prevented,
                "prevented_share": round(outcome.share, 6),
            }
            for index, outcome in enumerate(outcomes)
        ],
    }


def as_table(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[Any]]]:
    """The sweep as CSV has it: columns and rows, one per setting."""
    numbers = ("bans", "trusted", "missed", "delay", "prevented", "prevented_share")
    names = list(outcomes[0].settings) if outcomes else []
    rows = []
    for each in as_dicts("", outcomes)["settings"]:
        values = {**each, "trusted": len(each["trusted"])}
        rows.append(
            [
                *each["settings"].values(),
                int(each["best"]),
                *("" if values[name] is None else values[name] for name in numbers),
            ]
        )
    return [*names, "best", *numbers], rows


LEGEND = """\
* bans no trusted source, at the least delay; then misses the fewest.
Missed: sources that another of these settings bans, but for the trusted.
Delay: median over all of those from being first counted to the first ban;
one that is missed waits for ever."""
