# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``export``: each capture that is new or has grown, on all cores."""

from __future__ import annotations

import argparse
import functools
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ... import pool
from ...errors import Exit, UsageError

if TYPE_CHECKING:
    from .store import Capture, Store

__all__ = ["add_command"]

NEEDS_PYARROW = """\
export needs pyarrow ({error}): {python} -m pip install pyarrow
Where that is refused (PEP 668: Debian's own Python), in a virtual environment:
    python3 -m venv --system-site-packages DIR && DIR/bin/pip install pyarrow
    DIR/bin/python -m fail2ban_pflog export ..."""

HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")

STRETCHES = 4
"""Tasks for each process: more balance better, fewer read fewer captures twice."""

LONGEST = 64
"""Captures of a task at the most."""

Task = tuple[str, Optional[str]]
"""A capture, and the one before it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the command line."""
    parser = commands.add_parser(
        "export",
        help="write captures as Parquet, for SQL",
        description="Write the packets of captures as Parquet, a directory per host and day, with "
        "the fields of print --json and why each packet counts. What is there is not done again.",
        epilog="Exit status: 2 wrong usage or nothing can be written, 4 a capture was damaged or "
        "skipped, 70 a defect, 130 interrupted.",
    )
    parser.add_argument(
        "--to", metavar="DIR", type=Path, required=True, help="the directory; made where missing"
    )
    parser.add_argument(
        "--host", metavar="NAME", default=socket.gethostname(),
        help="the firewall that the captures are from; by default this host (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "captures", metavar="CAPTURE", nargs="+",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst); - is standard input",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if HOST.fullmatch(arguments.host) is None:
        raise UsageError(
            f"--host {arguments.host}: a name of letters, digits and . _ - is needed, as it "
            "becomes a directory's"
        )
    if arguments.captures.count("-") > 1:
        raise UsageError("standard input (-) can be read but once")
    try:
        from . import columns  # noqa: F401 - it is looked for before anything is made
    except ImportError as error:
        raise UsageError(NEEDS_PYARROW.format(error=error, python=sys.executable)) from None
    from .store import Store

    store = Store(arguments.to, arguments.host)
    try:
        with store.open():
            return _export(store, arguments.captures)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = f"{error.filename or arguments.to}: {error.strerror or error}"
        raise UsageError(reason) from None


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _export(store: Store, names: Sequence[str]) -> int:
    from ...sources.captures import is_stream
    from .exporter import start

    tasks, there, bad = _plan(store, [name for name in names if not is_stream(name)])
    exported = packets = 0

    def receive(capture: Capture) -> None:
        nonlocal bad, exported, packets
        for message in capture.messages:
            _report(message)
        bad += capture.damaged
        if not capture.packets:
            return
        if refusal := store.add(capture):
            _report(refusal)
            return
        exported += 1
        packets += capture.packets
        days = len({part.final.parent for part in capture.parts})
        of_days = "1 day" if days == 1 else f"{days:,} days"
        print(f"{capture.name}: {capture.packets:,} packets of {of_days}", flush=True)

    jobs = min(pool.cores(), len(tasks))
    size = max(1, min(LONGEST, len(tasks) // (jobs * STRETCHES))) if jobs else 1
    stretches = [tasks[at : at + size] for at in range(0, len(tasks), size)]
    work = functools.partial(start, store.root)
    pool.run(work, stretches, receive)
    streams = [[(name, None)] for name in dict.fromkeys(names) if is_stream(name)]
    pool.run(work, streams, receive, jobs=1)  # only this process has standard input
    print(f"{exported:,} captures exported, {packets:,} packets; {there:,} were there already")
    return Exit.DAMAGED if bad else Exit.OK


def _plan(store: Store, names: Sequence[str]) -> tuple[list[Task], int, int]:
    """Find what is to be done, each capture behind the one before it.

    Returns:
        The tasks; how many captures are there already, and how many cannot be read.
    """
    from ...sources.captures import Captures
    from .store import stamp

    known: list[tuple[int, str, bool]] = []
    unknown: list[str] = []
    for name in dict.fromkeys(names):
        entry = store.done(stamp(name))
        if entry is not None:
            known.append((entry.first, name, False))
        else:
            unknown.append(name)
    there = len(known)
    captures = Captures(unknown, _report)
    known += [(first, name, True) for first, name in captures.firsts]
    known.sort()
    before = [None, *(name for _, name, _ in known)]
    tasks = [(name, last) for (_, name, is_new), last in zip(known, before) if is_new]
    return tasks, there, captures.bad
