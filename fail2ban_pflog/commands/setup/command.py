# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``fail2ban-pflog setup``; what it does is in ``work``."""

from __future__ import annotations

import argparse
import os
import sys

from ..host import HostError
from ..host.options import add_options

__all__ = ["add_command"]

FAILED = 1
PROGRAM = "fail2ban-pflog setup"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``setup`` to the command line."""
    parser = commands.add_parser(
        "setup",
        help="put what fail2ban needs onto this host, or take it back",
        description="Write the loader, filter, action and jails into fail2ban's configuration, "
        "tell it where this package is, and link programs and manuals. What you changed is never "
        "written over. Run it again after an upgrade of the package or of Python.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument(
        "--remove", action="store_true", help="take back what was made, but not what you changed"
    )
    parser.add_argument(
        "--writer",
        action="store_true",
        help="also what fail2ban-pflogd(8) needs: rc script or unit, rotation of its log",
    )
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Set up or remove; returns 0, or 1 with the reason on standard error."""
    from .work import set_up  # late: other commands do without

    try:
        set_up(arguments)
    except (HostError, OSError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = f"{error.filename}: {error.strerror}; nothing was changed"
        if isinstance(error, PermissionError) and os.geteuid():
            why += "; run it as root"
        print(f"{PROGRAM}: {why}", file=sys.stderr)
        return FAILED
    return 0
