# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on all cores.

Each process reads the captures once and feeds its share of the settings packet by
packet: nothing is kept of a capture, and nothing but results is sent.  All that remembers
something (the distinct table, fail2ban's counters, its bans) each setting has for itself,
or shares with those that agree with it, so a swept setting comes to the same bans as it
does alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ... import pool
from ...sources.captures import Captures, is_stream, sizes
from .configuration import Configuration
from .groups import families
from .jail import quiet
from .profile import Profiles
from .replay import Judge
from .run import Result, Run, Trust
from .settings import Judged, Outcome, Sweep

__all__ = ["Progress", "run_sweep", "shares"]

Progress = Callable[[int, int, int], None]
"""progress(done, size, packets): bytes read, bytes in all, packets so far."""


def _judge(
    sweep: Sweep, tell: Callable[[str], None], report: Progress, is_first: bool = True
) -> Judged:
    """Judge all settings.

    is_first: whether to tell what all of the processes would only tell again.
    """
    configuration = Configuration(sweep.config)
    judges = [
        Judge(configuration.load(sweep.jail, each), evidence=False, lines=False)
        for each in sweep.settings
    ]
    feeds = families(configuration, sweep.jail, sweep.settings, judges)
    profiles = Profiles() if is_first else None
    run = Run(judges, feeds, profiles=profiles)
    captures = Captures(sweep.captures, tell, sweep.sizes)
    interrupted = False
    try:
        run.read(captures, lambda packets: report(captures.done, captures.size, packets))
    except KeyboardInterrupt:
        interrupted = True
    results = run.results(Trust(sweep.trust))
    outcomes = [
        _outcome(each, judge.pipeline.classifier.mode, result)
        for each, judge, result in zip(sweep.settings, judges, results)
    ]
    told = profiles.all() if profiles else {}
    return Judged(outcomes, captures.bad, run.problems, interrupted, captures.contents, told)


def _outcome(settings: dict[str, str], mode: str, result: Result) -> Outcome:
    delays: dict[str, float] = {}
    for ban in result.bans:
        delays.setdefault(ban.source, ban.time - ban.first)
    return Outcome(
        settings,
        mode,
        len(result.bans),
        result.prevented,
        result.share,
        delays,
        result.trusted,
    )


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
    sweep = sweep._replace(sizes=sizes(sweep.captures))
    jobs = min(pool.cores(), len(sweep.settings))
    if jobs == 1 or any(map(is_stream, sweep.captures)):
        return _judge(sweep, tell, report)
    return _run_on_all_cores(sweep, tell, report, shares(sweep.settings, jobs))


def shares(settings: Sequence[dict[str, str]], jobs: int) -> list[list[int]]:
    """Indexes of the settings for each process: neighbours, so that few families are cut."""

    def family(index: int) -> list[tuple[str, str]]:
        return sorted(item for item in settings[index].items() if item[0] != "maxretry")

    order = sorted(range(len(settings)), key=family)
    bounds = [len(order) * job // jobs for job in range(jobs + 1)]
    return [order[begin:end] for begin, end in zip(bounds, bounds[1:])]


def _run_on_all_cores(
    sweep: Sweep, tell: Callable[[str], None], report: Progress, parts: Sequence[list[int]]
) -> Judged:
    """Give each process a share of the settings; all of them read the captures."""
    judged: dict[int, Judged] = {}

    def receive(message: tuple[str, Any]) -> None:
        kind, value = message
        if kind == "progress":
            report(*value)
        elif kind == "tell":
            tell(value)
        else:
            number, found = value
            judged[number] = found

    shares_ = [
        (number, sweep._replace(settings=[sweep.settings[index] for index in indexes]))
        for number, indexes in enumerate(parts)
    ]
    pool.run(_start, shares_, receive, len(parts), finish_on_interrupt=True)
    every = [judged[number] for number in sorted(judged)]
    outcomes = {
        index: outcome
        for number, found in judged.items()
        for index, outcome in zip(parts[number], found.outcomes)
    }
    return Judged(
        [outcomes[index] for index in sorted(outcomes)],
        max(each.bad for each in every),
        list(dict.fromkeys(problem for each in every for problem in each.problems)),
        any(each.interrupted for each in every),
        every[0].captures,
        every[0].profiles,
    )


def _start() -> pool.Work[tuple[int, Sweep]]:
    """One process: judge, and send what comes of it.

    The first tells bad captures, progress and profiles; the others would only say the same.
    """
    quiet()
    return _work


def _work(task: tuple[int, Sweep], link: pool.Link) -> None:
    number, sweep = task

    def report(*progress: int) -> None:
        if link.stopped:
            raise KeyboardInterrupt
        if number == 0:
            link.send(("progress", progress))

    def tell(message: str) -> None:
        if number == 0:
            link.send(("tell", message))

    link.send(("done", (number, _judge(sweep, tell, report, number == 0))))
