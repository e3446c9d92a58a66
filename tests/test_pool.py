# SPDX-License-Identifier: GPL-2.0-or-later
"""The pool: every task is done once, errors and Ctrl-C come through, nothing needs a semaphore."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from typing import Any

import pytest

from fail2ban_pflog import pool

JOBS = (1, 2, 3)


def start(factor: int) -> pool.Work[int]:
    """Multiply tasks; those below 0 go wrong in their own ways."""

    def work(task: int, link: pool.Link) -> None:
        if task == -1:
            raise LookupError("minus one")
        if task == -2:
            os._exit(3)
        link.send(("half", task * factor))
        link.send(("whole", task * factor))

    return work


def wait_to_be_stopped() -> pool.Work[int]:
    """Say when it begins, and whether it was stopped."""

    def work(_: int, link: pool.Link) -> None:
        link.send("begun")
        while not link.stopped:
            time.sleep(0.01)
        link.send("stopped")

    return work


def loaded_modules() -> pool.Work[int]:
    """Send the names of the modules of multiprocessing that this process has."""

    def work(_: int, link: pool.Link) -> None:
        link.send([name for name in sys.modules if name.startswith("multiprocessing")])

    return work


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("count", [0, 1, 20])
def test_every_task_is_done(jobs: int, count: int) -> None:
    """All values come, those of one task in the order in which it sent them."""
    found: list[Any] = []
    pool.run(functools.partial(start, 3), range(count), found.append, jobs)
    assert sorted(found) == sorted(
        (kind, 3 * task) for task in range(count) for kind in ("half", "whole")
    )
    assert all(found.index(("half", 3 * task)) < found.index(("whole", 3 * task)) for task in
               range(count))  # fmt: skip


@pytest.mark.parametrize("jobs", JOBS)
def test_an_error_is_raised(jobs: int) -> None:
    """What a task raises is raised to the caller, with its class and words."""
    with pytest.raises(LookupError, match="minus one"):
        pool.run(functools.partial(start, 1), [1, 2, -1, 3], print, jobs)


def test_a_process_that_dies() -> None:
    """A process that is gone is reported, whatever it was doing."""
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        pool.run(functools.partial(start, 1), [1, -2, 3], print, 2)


def test_ctrl_c_finishes() -> None:
    """Ctrl-C lets the tasks that run send what they know, and begins no other."""
    found = []

    def receive(value: str) -> None:
        found.append(value)
        if found == ["begun", "begun"]:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    pool.run(wait_to_be_stopped, range(9), receive, 2, finish_on_interrupt=True)
    assert sorted(found) == ["begun", "begun", "stopped", "stopped"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_ends() -> None:
    """Where nobody asked for that, Ctrl-C ends all."""
    with pytest.raises(KeyboardInterrupt):
        pool.run(wait_to_be_stopped, range(9), lambda _: os.kill(os.getpid(), signal.SIGINT), 2)


def test_no_semaphores() -> None:
    """The processes use nothing of multiprocessing that needs semaphores of the system."""
    found: list[list[str]] = []
    pool.run(loaded_modules, range(2), found.append, 2)
    for names in found:
        assert "multiprocessing.connection" in names
        assert not {"multiprocessing.synchronize", "multiprocessing.queues"} & set(names)
