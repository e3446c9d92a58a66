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
from fail2ban_pflog.options import Options
from fail2ban_pflog.writer import options

REPO = Path(__file__).resolve().parent.parent
FILES = {"bash": "completions/bash/{}", "zsh": "completions/zsh/_{}"}
HEAD = """\
# SPDX-License-Identifier: GPL-2.0-or-later AND MPL-2.0
# Made by `make completions`; the code around the words is shtab's (MPL-2.0).
"""

JAILS = """\
cat {,/usr/local,/opt/homebrew}/etc/fail2ban/jail{,.d/*}.{conf,local} 2>/dev/null | awk '
    /^\\[/ { name = substr($0, 2, index($0, "]") - 2) }
    /^backend[ \t]*=.*pflog/ { print name }'"""
SETTINGS = [f"{name}=" for name in ("maxretry", "findtime", "bantime", *Options._fields)]
PREAMBLES = {
    "bash": f"""\
_fail2ban_pflog_jails() {{
  compgen -W "$({JAILS})" -- "$1"
}}
_fail2ban_pflog_settings() {{
  compgen -W "{" ".join(SETTINGS)}" -- "$1"
}}
""",
    "zsh": f"""\
_fail2ban_pflog_jails() {{
  setopt localoptions nonomatch
  compadd -- $({JAILS})
}}
_fail2ban_pflog_settings() {{
  compadd -S "" -- {" ".join(SETTINGS)}
}}
""",
}
"""The jails with backend = pflog of the system's configuration, and the names of options."""

NO_SPACE = "  [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n\n  return 0\n"


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument of a parser and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from actions(each)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Make one program's completion; the placeholder of an option says what it takes."""
    for action in actions(parser):
        words = str(action.metavar).split("|")
        if {"FILE", "CAPTURE"} & set(words):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif {"DIR", "FOLDER", "DIRECTORY"} & set(words):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        for option, kind in {"--jail": "jails", "--set": "settings", "--sweep": "settings"}.items():
            if option in action.option_strings:
                function = f"_fail2ban_pflog_{kind}"
                action.complete = dict.fromkeys(FILES, function)  # type: ignore[attr-defined]
    preamble = PREAMBLES[shell] if parser.prog == "fail2ban-pflog" else ""
    text = shtab.complete(parser, shell, preamble=preamble)
    lines = text.replace("  return 0\n", NO_SPACE, 1).splitlines(keepends=True)
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
