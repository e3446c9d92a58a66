# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflogd``: the fallback writer, pflog as a text log.

Two processes, as in OpenBSD's pflogd.  The *monitor* keeps the privileges and does
next to nothing: it holds the pid file, opens the log when asked and passes the
descriptor over a socket, hands signals on, and starts the *worker* anew when that
ends.  The worker opens the source, becomes an unprivileged user and only then looks
at packets: frames in, lines out.

    options     the command line
    lookout     what --check sees of the source
    monitor     what stays root
    worker      source -> lines -> log, an asyncio loop
    feeds       where the records come from: interface, tcpdump, savefile, stream
    log         appending whole lines, whatever the disk does
    files       opening files where others can write; the pid file
    privileges  what the worker gives up
    counters    the figures that outlive a worker
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional

from .messages import tell, tell_error
from .monitor import Monitor
from .options import check, parse
from .preflight import check_source
from .privileges import open_standard

__all__ = ["main"]

WOULD_WAIT = 75
"""Exit status of --check: all is well, but what is to be read is not there yet (sysexits'
EX_TEMPFAIL).  A start then waits for it, so service scripts go on."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program; returns the exit status: 0, or 1 with the reason on stderr.

    With --check: 75 where a start would wait for what is to be read.

    argv: the arguments without the program's name; the process's own by default.
    """
    open_standard()
    options = parse(argv)
    problems = check(options)
    missing: list[str] = []
    if options.check and not problems:
        problems, missing = check_source(options)
    for problem in problems:
        tell_error(problem)
    for name in missing:
        tell(logging.WARNING, f"{name}; it would be waited for")
    if problems or options.check:
        return 1 if problems else WOULD_WAIT if missing else 0
    try:
        return Monitor(options).run()
    except OSError as error:
        tell_error(error)
        return 1
