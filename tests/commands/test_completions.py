# SPDX-License-Identifier: GPL-2.0-or-later
"""Shell completion: what completions/ offers is what the parsers take."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fail2ban_pflog.cli import parser
from fail2ban_pflog.writer import options
from tests.support.server import REPO

BASH = REPO / "completions/bash"
ZSH = REPO / "completions/zsh"
PARSERS = {each.prog: each for each in (parser(), options.parser())}
STALE = "run `make completions`"


def walk(command: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its sub-commands; one without help is for programs alone."""
    yield command
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action._choices_actions:
                yield from walk(action.choices[each.dest])


def offered(program: str) -> dict[str, set[str]]:
    """Command line before the cursor -> the options that bash offers."""
    text = (BASH / program).read_text()
    found = re.findall(r"^_shtab_(\w+)_option_strings=\((.*)\)$", text, re.MULTILINE)
    return {name: set(words.split()) for name, words in found}


def taken(program: str) -> dict[str, set[str]]:
    """The same from the parsers."""
    return {
        re.sub(r"\W", "_", each.prog): {word for a in each._actions for word in a.option_strings}
        for each in walk(PARSERS[program])
    }


@pytest.mark.parametrize("program", PARSERS)
def test_bash_offers_each_option(program: str) -> None:
    """Every sub-command's options are in bash's file, and no others."""
    assert offered(program) == taken(program), STALE


@pytest.mark.parametrize("program", PARSERS)
def test_zsh_offers_each_option(program: str) -> None:
    """Every sub-command has a block in zsh's file, with its options and no others."""
    text = (ZSH / f"_{program}").read_text()
    blocks = re.findall(r"^_shtab_(\w+)_options=\(\n(.*?)^\)$", text, re.MULTILINE | re.DOTALL)
    found = {
        name: {
            word
            for line in block.splitlines()
            for word in re.findall(r"(?<![\w-])--?[\w-]+", line.split("[")[0])
            if word != "-"
        }
        for name, block in blocks
    }
    assert found == taken(program), STALE
    assert text.startswith(f"#compdef {program}\n")


def complete(line: str, folder: Path) -> list[str]:
    """What bash answers to a tab at the line's end; the host's /etc is in ``folder``."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    program = line.split()[0]
    script = (BASH / program).read_text().replace("{,/usr/local", f"{{{folder},/usr/local")
    code = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        f'_shtab_{program.replace("-", "_")}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=REPO, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fail2ban-pflog back", ["backtest"]),
        ("fail2ban-pflog backtest --swe", ["--sweep"]),
        ("fail2ban-pflog print READ", ["README.md"]),
        ("fail2ban-pflog backtest --config con", ["config"]),
        ("fail2ban-pflog backtest --jail pf", ["pflog", "pflog-strict", "pflog-slow"]),
        ("fail2ban-pflog backtest --set max", ["maxretry="]),
        ("fail2ban-pflog explain --set pre", ["prefix4=", "prefix6="]),
        ("fail2ban-pflogd --fol", ["--follow"]),
        ("fail2ban-pflogd -f READ", ["README.md"]),
    ],
)
def test_bash_completes(tmp_path: Path, line: str, expected: list[str]) -> None:
    """Sub-commands, options, files, jails with our backend and their options are completed."""
    (tmp_path / "etc").mkdir()
    shutil.copytree(REPO / "config", tmp_path / "etc/fail2ban")
    assert complete(line, tmp_path) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_are_valid(shell: str) -> None:
    """Each file parses in its shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    for path in (REPO / "completions" / shell).iterdir():
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), path
