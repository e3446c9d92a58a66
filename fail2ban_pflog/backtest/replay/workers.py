# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on all cores.

Each process reads the captures once and feeds its share of the settings packet by
packet: nothing is kept of a capture, and nothing but results is sent.  All that remembers
something (the distinct table, fail2ban's counters, its bans) each setting has for itself,
or shares with those that agree with it, so a swept setting comes to the same bans as it
does alone.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Callable

from ...pool import cores
from ...sources.captures import Captures, is_stream, sizes
from .configuration import Configuration, ConfigurationError
from .groups import families
from .jail import quiet
from .profile import Profiles
from .replay import Judge
from .run import Result, Run, Trust
from .settings import Judged, Outcome, Sweep

__all__ = ["Progress", "run_sweep", "shares"]

Progress = Callable[[int, int, int], None]
"""progress(done, size, packets): bytes read, bytes in all, packets so far."""

LOOK_EVERY = 0.2
"""Seconds after which Ctrl-C is noticed at the latest."""


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
        _outcome(each, judge.distinct.mode, result)
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
    jobs = min(cores(), len(sweep.settings))
    if jobs == 1 or any(map(is_stream, sweep.captures)):
        return _judge(sweep, tell, report)
    return _Workers(sweep, jobs, tell, report).run()


def shares(settings: Sequence[dict[str, str]], jobs: int) -> list[list[int]]:
    """Indexes of the settings for each process: neighbours, so that few families are cut."""

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
        for number, indexes in enumerate(self._shares):
            mine, its = context.Pipe(duplex=False)
            part = sweep._replace(settings=[sweep.settings[index] for index in indexes])
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
            judged[0].captures,
            next((each.profiles for each in judged if each.profiles), {}),
        )

    @staticmethod
    def _receive(pipe: Any) -> tuple[str, Any]:
        try:
            message: tuple[str, Any] = pipe.recv()
        except EOFError:
            raise RuntimeError("a process of the sweep ended unexpectedly") from None
        return message


def _work(sweep: Sweep, is_first: bool, pipe: Connection, stop: Any) -> None:
    """One process: judge, and send what comes of it.

    is_first: tells bad captures, progress and profiles; the others would only say the same.
    stop: an event that asks for what is known so far.
    """
    parent = multiprocessing.parent_process()
    quiet()

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
        pipe.send(("done", _judge(sweep, tell, report, is_first)))
    except ConfigurationError as error:
        pipe.send(("error", str(error)))
    pipe.close()
