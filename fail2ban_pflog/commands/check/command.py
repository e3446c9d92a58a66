# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``fail2ban-pflog check``."""

from __future__ import annotations

import argparse
import json
import time
from typing import Optional

from ... import __version__
from ...errors import PflogError, UsageError
from ..host import HostError
from ..host.systems import add_options, find_system
from .result import Result, exit_status, wrong

__all__ = ["add_command"]

_EPILOG = """\
marks:
  ok     it is as it should be
  note   it works, and could be better
  WRONG  it does not work
  ?      it could not be looked at here

exit status:
  0 all is well, 1 something is wrong, 2 wrong usage,
  3 nothing is wrong, but not all could be looked at
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``check`` to the command line."""
    parser = commands.add_parser(
        "check",
        help="find out why it does not ban",
        description="Look at fail2ban, its jails, pf's log and pf itself, and say in a line each "
        "what was found and what to do. Nothing is changed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Check all, and return the exit status."""
    from ..host.installation import find_fail2ban  # late: other commands do without
    from ..host.tools import run
    from .examine import examine
    from .subject import Subject

    root = arguments.root.absolute()
    results: list[Result] = []
    try:
        system = find_system(arguments.system)
    except HostError as error:
        raise UsageError(str(error)) from None
    subject = Subject(root, system, run, time.time(), listen)

    def take(result: Result) -> None:
        results.append(result)
        if not arguments.json:
            print(result.line, flush=True)

    try:
        fail2ban = find_fail2ban(system, root, run, arguments.confdir, arguments.python)
    except HostError as error:
        take(wrong("fail2ban", str(error)))
    else:
        subject.fail2ban = fail2ban
        subject.configuration = fail2ban.ask("jails", fail2ban.directory)
    for result in examine(subject):
        take(result)
    status = exit_status(results)
    if arguments.json:
        checks = [{**result._asdict(), "mark": result.mark.value} for result in results]
        print(json.dumps({"version": __version__, "status": status, "checks": checks}, indent=1))
    return status


def listen(interface: str) -> Optional[str]:
    """Listen for a moment; return what is wrong, None where this Python has no pcapy."""
    from ...sources import bpf
    from ...sources.live import LiveSource

    try:
        bpf.pcapy()
    except PflogError:
        return None
    source = LiveSource(interface, lambda _level, _message: None)
    source.read()
    try:
        return "" if source.is_open else source.state
    finally:
        source.close()
