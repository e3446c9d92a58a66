# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``fail2ban-pflog``: one sub-command per module.

A sub-command's module offers ``add_command(commands)``, which adds its own parser and
sets ``run``, a function from the parsed arguments to the exit status, as its default.
What a command does not catch itself becomes a message and an exit status here.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, NoReturn, Optional

from . import __version__
from .errors import Exit, UsageError, printable

__all__ = ["Parser", "main", "parser"]

_COMMANDS = {
    "setup": "commands.setup.command",
    "check": "commands.check.command",
    "print": "commands.print",
    "backtest": "backtest.command",
    "explain": "backtest.command",
    "export": "commands.export.command",
    "pf-blocks": "commands.check.blocks",
}
"""Sub-command -> its module, in the order in which the help lists them."""

_WORDS = {"help": "--help", "version": "--version"}
"""Commands that people type for options."""


class Parser(argparse.ArgumentParser):
    """A parser that shows its own usage for an unknown option, and suggests the nearest one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; an unknown option is the first error, of the sub-command it was given to."""
        words = list(sys.argv[1:] if args is None else args)
        mine = takewhile(lambda word: word.startswith("-"), words) if self._subparsers else words
        known = tuple(self._option_string_actions)
        extra = [
            word
            for word in takewhile(lambda word: word != "--", mine)
            if word.startswith("--") and not any(k.startswith(word.split("=")[0]) for k in known)
        ]
        found = None
        if not extra:
            found, extra = super().parse_known_args(words, namespace)
        if extra:
            self.error(f"unrecognized arguments: {' '.join(extra)}")
        return found, extra

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, with a suggestion where a word is nearly right."""
        given = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if given:
            word, known = given[1], re.findall(r"[\w-]+", given[2])
        else:
            unknown = re.search(r"unrecognized arguments:.*?(--?[\w-]+)", message)
            word, known = unknown[1] if unknown else "", list(self._option_string_actions)
        if near := get_close_matches(word, known, n=1):
            message += f"; did you mean {near[0]}?"
        super().error(printable(message))


def parser(command: str = "") -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Args:
        command: The only sub-command that is needed: no other module is imported then.
    """
    made = Parser(prog="fail2ban-pflog", description="Read the BSD packet filter's log (pflog).")
    made.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", dest="command", required=True)
    modules = [_COMMANDS[command]] if command in _COMMANDS else dict.fromkeys(_COMMANDS.values())
    for name in modules:
        importlib.import_module(f"{__package__}.{name}").add_command(commands)
    return made


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one sub-command.

    Args:
        argv: The arguments without the program's name; the process's own by default.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in _WORDS:
        words = [*words[1:2], _WORDS[words[0]]] if words[0] == "help" else ["--version"]
    arguments = parser(words[0] if words else "").parse_args(words)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # the reader (head, less) has seen enough
        with suppress(io.UnsupportedOperation):  # Python's own flush at exit must not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except UsageError as error:
        text = "\n".join(map(printable, str(error).splitlines()))
        print(f"fail2ban-pflog {arguments.command}: {text}", file=sys.stderr)
        return Exit.USAGE
    except Exception:
        traceback.print_exc()
        return Exit.DEFECT


if __name__ == "__main__":
    sys.exit(main())
