# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``export``.

Exit status: 2 wrong usage, pyarrow is missing, or nothing can be written; 4 a capture was
damaged or skipped.  70: a defect of this program.  130: interrupted; what is there is whole,
and the next run goes on.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import socket
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .crew import Task
    from .store import Capture, Store

__all__ = ["add_command"]

USAGE, DAMAGED, DEFECT, INTERRUPTED, BROKEN_PIPE = 2, 4, 70, 130, 141

NEEDS_PYARROW = """\
export needs pyarrow ({error}); to install it:
    {python} -m pip install pyarrow"""

HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


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
        "--host",
        metavar="NAME",
        default=socket.gethostname(),
        help="the firewall that the captures are from; by default this host (%(default)s)",
    )
    parser.add_argument(
        "captures",
        metavar="CAPTURE",
        nargs="+",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst); - is standard input",
    )
    parser.set_defaults(run=functools.partial(_guard, parser.prog))


def _guard(program: str, arguments: argparse.Namespace) -> int:
    """Run the command; what is wrong outside of it becomes one message."""
    try:
        return _run(arguments)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except _UsageError as error:
        _tell(f"{program}: {error}")
    except OSError as error:
        _tell(f"{program}: {error.filename or arguments.to}: {error.strerror or error}")
    except Exception:
        traceback.print_exc()
        return DEFECT
    return USAGE


class _UsageError(Exception):
    """What is wrong with the command line, or missing."""


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _run(arguments: argparse.Namespace) -> int:
    if HOST.fullmatch(arguments.host) is None:
        raise _UsageError(
            f"--host {arguments.host}: a name of letters, digits and . _ - is needed, as it "
            "becomes a directory's"
        )
    if arguments.captures.count("-") > 1:
        raise _UsageError("standard input (-) can be read but once")
    try:
        from . import columns  # noqa: F401 - it is looked for before anything is made
    except ImportError as error:
        raise _UsageError(NEEDS_PYARROW.format(error=error, python=sys.executable)) from None
    from .store import Store

    store = Store(arguments.to, arguments.host)
    with store.open():
        return _export(store, arguments.captures)


def _export(store: Store, names: Sequence[str]) -> int:
    from ...sources.captures import is_stream
    from .crew import Task

    tasks, there, bad = _plan(store, [name for name in names if not is_stream(name)])
    streams = [Task(name, None) for name in dict.fromkeys(names) if is_stream(name)]
    exported = packets = 0
    with closing(_captures(store, tasks, streams)) as captures:
        for capture in captures:
            for message in capture.told:
                _tell(message)
            bad += capture.damaged
            if not capture.packets:
                continue
            if refusal := store.add(capture):
                _tell(refusal)
                continue
            exported += 1
            packets += capture.packets
            days = len({part.final.parent for part in capture.parts})
            of_days = "1 day" if days == 1 else f"{days:,} days"
            print(f"{capture.name}: {capture.packets:,} packets of {of_days}", flush=True)
    print(f"{exported:,} captures exported, {packets:,} packets; {there:,} were there already")
    return DAMAGED if bad else 0


def _captures(
    store: Store, tasks: Sequence[Task], streams: Sequence[Task]
) -> Generator[Capture, None, None]:
    from .crew import export

    yield from export(store.root, tasks)
    for task in streams:  # this process has them open
        yield from export(store.root, [task])


def _plan(store: Store, names: Sequence[str]) -> tuple[list[Task], int, int]:
    """Find what is to be done, each capture behind the one before it.

    Returns also how many captures are there already, and how many cannot be read.
    """
    from ...sources.captures import Captures
    from .crew import Task
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
    captures = Captures(unknown, _tell)
    known += [(first, name, True) for first, name in captures.firsts]
    known.sort()
    tasks = []
    before: Optional[str] = None
    for _, each, is_new in known:
        if is_new:
            tasks.append(Task(each, before))
        before = each
    return tasks, there, captures.bad
