# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a command line that tell what the host is like."""

from __future__ import annotations

import argparse
from pathlib import Path

from .systems import SYSTEMS

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--confdir``, ``--python``, ``--system`` and ``--root``."""
    host = parser.add_argument_group("the host")
    host.add_argument(
        "--confdir", metavar="DIR", default="", help="fail2ban's configuration directory"
    )
    host.add_argument(
        "--python",
        metavar="PROGRAM",
        default="",
        help="fail2ban's Python (default: as the first line of fail2ban-server says)",
    )
    host.add_argument(
        "--system", choices=SYSTEMS, default="", help="where things are (default: this system)"
    )
    host.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        default=Path("/"),
        help="take DIR for the root directory, as DESTDIR does",
    )
