# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as a whole: what people type, and what they are answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fail2ban_pflog import __version__, cli
from fail2ban_pflog.errors import Exit, UsageError


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prnt x", "usage: fail2ban-pflog [-h]"),
        ("prnt x", "did you mean print?"),
        ("--verson", "did you mean --version?"),
        ("print --jsn x", "usage: fail2ban-pflog print [-h]"),
        ("print --jsn", "unrecognized arguments: --jsn; did you mean --json?"),
        ("setup --system linus", "did you mean linux?"),
        ("backtest --set maxretry=5 --sweeps x", "did you mean --sweep?"),
        ("print -x y", "unrecognized arguments: -x\n"),
    ],
)  # fmt: skip
def test_typos(capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    """The usage is that of the command that was meant, with the nearest word; status 2."""
    with pytest.raises(SystemExit) as end:
        cli.main(line.split())
    assert end.value.code == Exit.USAGE
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--version", f"fail2ban-pflog {__version__}\n"),
        ("-V", f"fail2ban-pflog {__version__}\n"),
        ("version", f"fail2ban-pflog {__version__}\n"),
        ("help", "usage: fail2ban-pflog [-h]"),
        ("help print", "usage: fail2ban-pflog print [-h]"),
        ("print --help", "fail2ban-regex x pflog"),
    ],
)
def test_help_and_version(capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    """Both are there as options and as words."""
    with pytest.raises(SystemExit) as end:
        cli.main(line.split())
    assert not end.value.code
    assert words in capsys.readouterr().out


def test_module_is_the_program() -> None:
    """``python3 -m fail2ban_pflog`` is the command line."""
    command = [sys.executable, "-m", "fail2ban_pflog", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (f"fail2ban-pflog {__version__}\n", 0)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("a \x1b[31m name\nand a line"), 2, "fail2ban-pflog print: a ?[31m name\nand a"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (RuntimeError("a bug"), 70, "RuntimeError: a bug\n"),
    ],
)
def test_what_a_command_does_not_catch(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    words: str,
) -> None:
    """Each exception becomes an exit status, and a message or a traceback where it is news."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("fail2ban_pflog.commands.print._run", fail)
    assert cli.main(["print", "x"]) == status
    text = capsys.readouterr().err
    assert words in text
    assert bool(words) == bool(text)
