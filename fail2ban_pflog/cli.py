# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``fail2ban-pflog``: one sub-command per module.

A sub-command's module offers ``add_command(commands)``: it adds its own parser and
sets ``run``, a function from the parsed arguments to the exit status, as its default.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Optional

from . import __version__

__all__ = ["main", "parser"]

_COMMANDS = (
    "commands.print", "backtest.command", "commands.export.command", "commands.setup.command",
    "commands.check.command",
)  # fmt: skip
"""The modules of the sub-commands, in the order in which the help lists them."""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    made = argparse.ArgumentParser(
        prog="fail2ban-pflog", description="Read the BSD packet filter's log (pflog)."
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    for name in _COMMANDS:
        importlib.import_module(f"{__package__}.{name}").add_command(commands)
    return made


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one sub-command; returns the exit status.

    argv: the arguments without the program's name; the process's own by default.
    """
    arguments = parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
