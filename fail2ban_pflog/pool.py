# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on all cores: processes that are given tasks through pipes.

Pipes are all that is used: the queues, events and locks of multiprocessing need semaphores,
which not every BSD has.  A process is started once and then given one task after the other:

    def start(root: Path) -> pool.Work[Task]:       # called once in each process
        exporter = Exporter(root)

        def work(task: Task, link: pool.Link) -> None:
            link.send(exporter.export(task))        # as often as wanted

        return work

    pool.run(functools.partial(start, root), tasks, receive)

``start`` is a function of a module, for it is sent to the processes; so are tasks and what is
sent back.  An exception in ``start`` or ``work`` is raised by ``run``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, Optional, TypeVar

__all__ = ["Link", "Work", "cores", "run"]

Task = TypeVar("Task")
Work = Callable[[Task, "Link"], None]

LOOK_EVERY = 0.2
"""Seconds after which Ctrl-C is noticed at the latest."""

_DONE, _STOP = "done", "stop"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on a BSD
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Link:
    """What a process has of the one that started it.

    Args:
        send: sends a value, which ``receive`` of ``run`` is called with.
    """

    def __init__(self, send: Callable[[Any], None], pipe: Optional[Connection] = None) -> None:
        self.send = send
        self._pipe = pipe
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C was pressed: send what is known by now, and return.

        Raises:
            SystemExit: the process that asked is gone.
        """
        if self._pipe is not None and self._pipe.poll():
            try:
                self._stopped = self._pipe.recv() == _STOP
            except (EOFError, ConnectionError):
                raise SystemExit from None
        return self._stopped


class _RemoteError(Exception):
    """The traceback of what another process raised."""


def run(
    start: Callable[[], Work[Task]],
    tasks: Sequence[Task],
    receive: Callable[[Any], None],
    jobs: Optional[int] = None,
    finish_on_interrupt: bool = False,
) -> None:
    """Do all tasks, in any order; with one job in this process.

    Args:
        start: called once in each process, returns what does a task.
        tasks: given to the processes one by one, in this order.
        receive: called with each value that is sent.
        jobs: how many processes; as many as there are cores and tasks.
        finish_on_interrupt: Ctrl-C sets ``Link.stopped`` and no further task is given, instead of
            ending the processes.  With one job it raises KeyboardInterrupt in ``work``.

    Raises:
        RuntimeError: a process ended unexpectedly.
    """
    jobs = min(jobs or cores(), len(tasks))
    if jobs <= 1:
        work, link = start(), Link(receive)
        for task in tasks:
            work(task, link)
        return
    left = deque(tasks)
    with _interrupts(finish_on_interrupt) as interrupted, _processes(start, jobs) as pipes:
        busy = [pipe for pipe in pipes if _give(pipe, left)]
        while busy:
            if interrupted:
                interrupted.clear()
                left.clear()
                for pipe in busy:
                    with suppress(ConnectionError):
                        pipe.send(_STOP)
            for ready in wait(busy, LOOK_EVERY):
                assert isinstance(ready, Connection)
                if _take(ready, receive) and not _give(ready, left):
                    busy.remove(ready)


def _give(pipe: Connection, left: deque[Any]) -> bool:
    """Give a process the next task; False when there is none."""
    if not left:
        return False
    with suppress(ConnectionError):  # it is dead, which is seen when its answer is read
        pipe.send(left.popleft())
    return True


def _take(pipe: Connection, receive: Callable[[Any], None]) -> bool:
    """Take what a process sent; True when it has done its task."""
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError):
        raise RuntimeError("a process of several ended unexpectedly") from None
    if isinstance(kind, Exception):
        raise kind from _RemoteError(value)
    if kind == _DONE:
        return True
    receive(value)
    return False


@contextmanager
def _interrupts(wanted: bool) -> Iterator[list[int]]:
    """Collect Ctrl-C instead of raising it, where that is wanted."""
    seen: list[int] = []
    if not wanted:
        yield seen
        return
    handler = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _processes(start: Callable[[], Any], jobs: int) -> Iterator[list[Connection]]:
    """Start processes, each with a pipe; end them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    resource_tracker.ensure_running()  # or else the first start does, and unblocks the signal
    # Ctrl-C comes to all processes: this one takes it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit that
    try:
        for _ in range(jobs):
            mine, its = context.Pipe()
            process = context.Process(target=_process, args=(its, start), daemon=True)
            process.start()
            its.close()
            pipes.append(mine)
            processes.append(process)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield pipes
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for process in processes:
            process.terminate()
            process.join()


def _process(pipe: Connection, start: Callable[[], Work[Any]]) -> None:
    """Do the tasks that come, until the one that gives them is gone."""

    def send(value: Any) -> None:
        pipe.send((None, value))

    with suppress(EOFError, ConnectionError):
        try:
            work = start()
            while (task := pipe.recv()) != _STOP:
                work(task, Link(send, pipe))
                pipe.send((_DONE, None))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            pipe.send((error, traceback.format_exc()))
