# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures over all cores: each process takes a stretch of neighbours, then the next.

The processes write files and send what they wrote; only this one puts them in place.
No semaphores, which not every BSD has: a pipe to each process is all.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple, Optional, Union

from ...pool import cores
from .exporter import Exporter
from .store import Capture

__all__ = ["Task", "export"]

STRETCHES = 4
"""Stretches for each process: more balance better, fewer read less twice."""

LONGEST = 64
"""Captures of a stretch at the most."""


class Task(NamedTuple):
    """A capture, and the one before it."""

    name: str
    before: Optional[str]


def export(root: Path, tasks: Sequence[Task]) -> Iterator[Capture]:
    """Write all captures' parts below the host's directory, as ``Exporter``; in any order.

    Raises OSError where nothing can be written.
    """
    jobs = min(cores(), len(tasks))
    if jobs > 1:
        yield from _Crew(root, tasks, jobs)
        return
    exporter = _exporter(root)
    for task in tasks:
        yield exporter.export(*task)


def _exporter(root: Path) -> Exporter:
    # A packet is some twenty objects that are gone at once, none of them in a cycle: looking
    # for cycles among them takes a third of the time.
    gc.disable()
    return Exporter(root)


class _Crew:
    """Processes, and what they have to do."""

    def __init__(self, root: Path, tasks: Sequence[Task], jobs: int) -> None:
        size = max(1, min(LONGEST, len(tasks) // (jobs * STRETCHES)))
        self._stretches = iter([tasks[at : at + size] for at in range(0, len(tasks), size)])
        context = multiprocessing.get_context("spawn")
        self._processes = []
        self._pipes: list[Connection] = []
        # Ctrl-C comes to all processes: this one takes it, and ends the others.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit that
        for _ in range(jobs):
            mine, its = context.Pipe()
            process = context.Process(target=_work, args=(its, root), daemon=True)
            process.start()
            its.close()
            self._pipes.append(mine)
            self._processes.append(process)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def __iter__(self) -> Iterator[Capture]:
        try:
            yield from self._run()
        except (EOFError, ConnectionError):
            raise RuntimeError("a process of the export ended unexpectedly") from None
        finally:
            for process in self._processes:
                process.terminate()
                process.join()

    def _run(self) -> Iterator[Capture]:
        busy = [pipe for pipe in self._pipes if self._give(pipe)]
        while busy:
            for pipe in wait(busy):
                assert isinstance(pipe, Connection)
                message = self._receive(pipe)
                if isinstance(message, Capture):
                    yield message
                elif not self._give(pipe):
                    busy.remove(pipe)

    def _give(self, pipe: Connection) -> bool:
        """Give a process the next stretch; False when there is none."""
        stretch = next(self._stretches, None)
        if stretch is not None:
            pipe.send(stretch)
        return stretch is not None

    @staticmethod
    def _receive(pipe: Connection) -> Optional[Capture]:
        message: Union[Capture, OSError, None] = pipe.recv()
        if isinstance(message, OSError):
            raise message
        return message


def _work(pipe: Connection, root: Path) -> None:
    """One process: export what comes, until nobody is there to ask."""
    exporter = _exporter(root)
    try:
        while True:
            for task in pipe.recv():
                pipe.send(exporter.export(*task))
            pipe.send(None)
    except (BrokenPipeError, EOFError):
        pass
    except OSError as error:
        pipe.send(error)
