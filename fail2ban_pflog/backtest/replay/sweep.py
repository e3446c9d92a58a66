# SPDX-License-Identifier: GPL-2.0-or-later
"""Many settings of one jail, replayed on all cores.

Each process reads the captures once and feeds its share of the settings packet by packet:
nothing is kept of a capture, and nothing but results is sent.  All that remembers something
(the dedup table, fail2ban's counters, its bans) each setting has for itself, or shares with
those that agree with it, so a swept setting comes to the same bans as it does alone.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from ... import pool
from ...sources.captures import Captures, Contents, is_stream, sizes
from .configuration import Configuration, ConfigurationError
from .groups import group_by_maxretry
from .jail import quiet
from .replay import Replay
from .run import Result, Run, Trust

__all__ = ["Outcome", "Progress", "Sweep", "SweepResult", "combinations", "run_sweep", "shares"]

MAX_SETTINGS = 10_000
"""More combinations are a slip: each has counters of its own."""

Progress = Callable[[int, int, int], None]
"""progress(done, size, packets): bytes read, bytes in all, packets so far."""


class Sweep(NamedTuple):
    """What a process needs to know.

    Attributes:
        config: the configuration's directory.
        jail: its name.
        captures: as ``Captures`` takes them.
        settings: one dictionary of jail options per combination.
        trust: as ``Trust`` takes it.
        since: as ``Run`` takes it.
        sizes: of the captures, of which all processes are to read as much.
    """

    config: Path
    jail: str
    captures: tuple[str, ...]
    settings: list[dict[str, str]]
    trust: tuple[str, ...]
    since: float = 0.0
    sizes: Optional[dict[str, int]] = None


class Outcome(NamedTuple):
    """What one setting came to.

    Attributes:
        settings: of the jail.
        mode: the policy's mode in force.
        bans: how many.
        prevented: how many packets would not have come; share: of all.
        delays: banned source -> seconds from being first counted to its first ban.
        trusted: the banned sources that are trusted.
    """

    settings: dict[str, str]
    mode: str
    bans: int
    prevented: int
    share: float
    delays: dict[str, float]
    trusted: list[str]

    @classmethod
    def of(cls, settings: dict[str, str], mode: str, result: Result) -> Outcome:
        """Sum up a result."""
        delays: dict[str, float] = {}
        for ban in result.bans:
            delays.setdefault(ban.source, ban.time - ban.first)
        return cls(
            settings, mode, len(result.bans), result.prevented, result.share, delays, result.trusted
        )


class SweepResult(NamedTuple):
    """What a sweep came to.

    Attributes:
        outcomes: of each setting.
        bad: how many captures were damaged or skipped.
        problems: what went wrong in fail2ban.
        interrupted: whether the outcomes are those of a part of the packets.
        captures: what was read of each.
        packets: how many were replayed.
    """

    outcomes: list[Outcome]
    bad: int
    problems: list[str]
    interrupted: bool
    captures: list[Contents]
    packets: int


def combinations(words: Sequence[str]) -> list[dict[str, str]]:
    """Return all combinations of what ``--sweep`` was given.

    Args:
        words: ``name=value,value`` or, for whole numbers, ``name=first..last`` and
            ``name=first..last..step``; commas within brackets separate nothing.

    Raises:
        ConfigurationError: they make no sense.
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


def run_sweep(sweep: Sweep, log: Callable[[str], None], report: Progress) -> SweepResult:
    """Replay all settings on all cores.

    Args:
        sweep: what to do.
        log: called with a sentence for each bad capture.
        report: progress.

    Returns:
        Outcomes in the order of ``sweep.settings``.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    # Check one of each value here: its words are better than those of a dead process.
    Trust(sweep.trust)
    configuration = Configuration(sweep.config)
    seen: set[tuple[str, str]] = set()
    for each in sweep.settings:
        if not seen.issuperset(each.items()):
            configuration.load(sweep.jail, each)
            seen.update(each.items())
    sweep = sweep._replace(sizes=sizes(sweep.captures))
    jobs = 1 if any(map(is_stream, sweep.captures)) else pool.cores()
    parts = shares(sweep.settings, min(jobs, len(sweep.settings)))
    found: dict[int, SweepResult] = {}

    def receive(message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "progress":
            report(*value)
        elif kind == "log":
            log(value)
        else:
            number, found[number] = value

    tasks = [
        (number, sweep._replace(settings=[sweep.settings[index] for index in indexes]))
        for number, indexes in enumerate(parts)
    ]
    pool.run(_start, tasks, receive, len(parts), finish_on_interrupt=True)
    outcomes = {
        index: outcome
        for number, indexes in enumerate(parts)
        for index, outcome in zip(indexes, found[number].outcomes)
    }
    return found[0]._replace(
        outcomes=[outcomes[index] for index in sorted(outcomes)],
        problems=list(dict.fromkeys(each for part in found.values() for each in part.problems)),
        interrupted=any(part.interrupted for part in found.values()),
    )


def shares(settings: Sequence[dict[str, str]], jobs: int) -> list[list[int]]:
    """Divide the settings among processes: neighbours, so that few maxretry groups are cut."""

    def group(index: int) -> list[tuple[str, str]]:
        return sorted(item for item in settings[index].items() if item[0] != "maxretry")

    order = sorted(range(len(settings)), key=group)
    bounds = [len(order) * job // jobs for job in range(jobs + 1)]
    return [order[begin:end] for begin, end in zip(bounds, bounds[1:])]


def _start() -> pool.Work[tuple[int, Sweep]]:
    quiet()
    return _work


def _work(task: tuple[int, Sweep], link: pool.Link) -> None:
    """Replay a share; the first reports bad captures and progress, which are the same in all."""
    number, sweep = task
    configuration = Configuration(sweep.config)
    replays = [
        Replay(configuration.load(sweep.jail, each), evidence=False, lines=False)
        for each in sweep.settings
    ]
    feeds = group_by_maxretry(configuration, sweep.jail, sweep.settings, replays)
    run = Run(replays, feeds, since=sweep.since)

    def log(message: str) -> None:
        if number == 0:
            link.send(("log", message))

    def report(packets: int) -> None:
        if link.stopped:
            raise KeyboardInterrupt
        if number == 0:
            link.send(("progress", (captures.done, captures.size, packets)))

    captures = Captures(sweep.captures, log, sweep.sizes)
    interrupted = False
    try:
        run.read(captures, report)
    except KeyboardInterrupt:
        interrupted = True
    outcomes = [
        Outcome.of(each, replay.mode, result)
        for each, replay, result in zip(sweep.settings, replays, run.results(Trust(sweep.trust)))
    ]
    result = SweepResult(
        outcomes, captures.bad, run.problems, interrupted, captures.contents, run.packets
    )
    link.send(("done", (number, result)))
