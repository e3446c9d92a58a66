# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflogd``: the fallback writer, pflog as a text log.

Two processes, as in OpenBSD's pflogd.  The *monitor* keeps the privileges and does
next to nothing: it holds the pid file, opens the log when asked and passes the
descriptor over a socket, hands signals on, and starts the *worker* anew when that
ends.  The worker opens the source, becomes an unprivileged user and only then looks
at packets: frames in, lines out.

    options     the command line
    preflight   what --check finds
    monitor     what stays root
    worker      source -> lines -> log, an asyncio loop
    feeds       where the records come from: interface, tcpdump, savefile, stream
    tcpdump     the command lines of different tcpdumps
    log         appending whole lines, whatever the disk does
    files       opening files where others can write; the pid file
    privileges  what the worker gives up
    counters    the figures that outlive a worker

May import: errors, options, pflog, wire, formatter, policy, pipeline, sources.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional

from ..errors import Exit
from .messages import report, report_error
from .monitor import Monitor
from .options import parse
from .preflight import check, check_source
from .privileges import open_standard

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program.

    Args:
        argv: the arguments without the program's name; the process's own by default.

    Returns:
        The exit status: OK; FAILED with the reason on standard error; with --check RETRY
        where a start would wait for what is to be read.
    """
    open_standard()
    options = parse(argv)
    problems = check(options)
    missing: list[str] = []
    if options.check and not problems:
        problems, missing = check_source(options)
    for problem in problems:
        report_error(problem)
    for name in missing:
        report(logging.WARNING, f"{name}; it would be waited for")
    if problems:
        return Exit.FAILED
    if options.check:
        return Exit.RETRY if missing else Exit.OK
    try:
        return Monitor(options).run()
    except OSError as error:
        report_error(error)
        return Exit.FAILED
