# SPDX-License-Identifier: GPL-2.0-or-later
"""`make completions`: write completions/ anew, from the command lines' own parsers.

The files need nothing at run time; shtab, which makes them, is in the extra [test].  They are
kept in the repository so that building needs no shtab either; a test fails when they
are older than the parsers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from fail2ban_pflog.cli import parser
from fail2ban_pflog.writer import options

REPO = Path(__file__).resolve().parent.parent
FILES = {"bash": "completions/bash/{}", "zsh": "completions/zsh/_{}"}
HEAD = """\
# SPDX-License-Identifier: GPL-2.0-or-later AND MPL-2.0
# Made by `make completions`; the code around the words is shtab's (MPL-2.0).
"""


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument of a parser and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from actions(each)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion of one program; what takes files is told by its placeholder."""
    for action in actions(parser):
        words = str(action.metavar).split("|")
        if {"FILE", "CAPTURE"} & set(words):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif {"FOLDER", "DIRECTORY"} & set(words):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    lines = shtab.complete(parser, shell).splitlines(keepends=True)
    at = 1 if lines[0].startswith("#compdef") else 0  # zsh looks at the first line
    return "".join([*lines[:at], HEAD, *(line.rstrip() + "\n" for line in lines[at:])])


def main() -> None:
    """Write all files."""
    for each in (parser(), options.parser()):
        for shell, name in FILES.items():
            path = REPO / name.format(each.prog)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(script(each, shell))


if __name__ == "__main__":
    main()
