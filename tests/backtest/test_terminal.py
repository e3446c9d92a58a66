# SPDX-License-Identifier: GPL-2.0-or-later
"""Backtests at a terminal, as real processes: colour, progress, Ctrl-C."""

from __future__ import annotations

import gzip
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.backtests import BEGIN, SCANNER, SCRUB, command, scan_records
from tests.support.pflogs import record, savefile_header, syn

pytest.importorskip("fail2ban")
pty = pytest.importorskip("pty")

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
DEADLINE = 60.0
SWEEP = ("--sweep", "maxretry=5,10", "findtime=1m,5m", "--")


class Terminal:
    """A program with a terminal of 80 columns as its input, output and controlling terminal."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.text = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.environ.update(TERM="xterm-256color", COLUMNS="80", **environment)
            os.execv(sys.executable, [sys.executable, "-m", "fail2ban_pflog.cli", *words])

    def read_until(self, pattern: str) -> None:
        """Read until the text matches, or the program ended; fails after a minute."""
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, self.text):
            if not select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]:
                pytest.fail(f"no {pattern!r} in {self.text[-2000:]!r}")
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # Linux's end of file
                data = b""
            if not data:
                return
            self.text += data.decode()

    def press_ctrl_c(self) -> None:
        """What the terminal makes a signal of, for all processes before it."""
        os.write(self._fd, b"\x03")

    def status(self) -> int:
        """Read to the end; the exit status."""
        self.read_until("(?!)")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """End the program, if it did not."""
        os.close(self._fd)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@contextmanager
def terminal(words: list[str], **environment: str) -> Iterator[Terminal]:
    started = Terminal(words, environment)
    try:
        yield started
    finally:
        started.close()


def long(path: Path, times: int) -> Path:
    """A scanner's packets, and then 7,500 of a client as often as asked for; packed."""
    head = [record(*each) for each in scan_records(SCANNER, range(1, 41), BEGIN)]
    clients = [
        record(BEGIN + 30 + second / 50, syn(f"198.51.100.{second % 250}", 1 + second // 250))
        for second in range(7_500)
    ]
    begin = gzip.compress(savefile_header() + b"".join(head))
    path.write_bytes(begin + gzip.compress(b"".join(clients), 1) * times)
    return path


SECONDS, MINUTES = 60, 2_000
"""How often, for work of seconds and for work that is interrupted."""


def test_colour_on_a_terminal_only() -> None:
    """A terminal shows titles in bold and trusted sources in red, unless NO_COLOR asks for none; a
    pipe shows none, and the words are the same."""
    words = command("-v", "--trust", "203.0.113.10", SCRUB)
    piped = subprocess.run(
        [sys.executable, "-m", "fail2ban_pflog.cli", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert "\x1b" not in piped.stdout + piped.stderr
    for environment in ({}, {"NO_COLOR": "1"}):
        with terminal(words, **environment) as shown:
            assert shown.status() == 1
        assert ("\x1b[1mBans\x1b[0m" in shown.text) == (not environment)
        assert ("\x1b[1;31m! " in shown.text) == (not environment)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown.text)
        assert plain.endswith(piped.stdout)


def test_progress(tmp_path: Path) -> None:
    """Long work shows what share is done, its rate and the time that is left, and removes it."""
    with terminal(command(long(tmp_path / "long", SECONDS))) as shown:
        shown.read_until(r"replaying [\d,]+ packets, [\d,]+/s, \d+%, \d+ s left")
        assert shown.status() == 0
    assert "\r\x1b[KJail pflog" in shown.text.replace("\x1b[1m", "")


def test_progress_of_explain(tmp_path: Path) -> None:
    """It is shown up to the first packet that is explained."""
    path = long(tmp_path / "long", SECONDS)
    with terminal(["explain", *command("--packet", 400_000, path)[1:]]) as shown:
        shown.read_until(r"replaying .*packets")
        assert shown.status() == 0
    assert shown.text.rindex("replaying") < shown.text.index("400000: ")


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C prints what is known by then, says of how many packets, and the status is 130."""
    path = long(tmp_path / "long", MINUTES)
    with terminal(command(path)) as shown:
        shown.read_until(r"replaying .*packets")
        shown.press_ctrl_c()
        assert shown.status() == INTERRUPTED
    found = re.search(r"interrupted; this is known after ([\d,]+) packets:", shown.text)
    assert found is not None
    assert 0 < int(found[1].replace(",", "")) < 7_500 * MINUTES
    assert SCANNER in shown.text.split(found[0])[1]
    assert "Traceback" not in shown.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["backtest", "explain"])
def test_full_disk(name: str) -> None:
    """Output that cannot be written is reported in one line; the status is 2."""
    words = [name, *command(*(["--packet", 1] if name == "explain" else []), SCRUB)[1:]]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fail2ban_pflog.cli", *words],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "cannot write what came of it" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """When a sweep is killed, the processes that it made end, too."""
    words = command(*SWEEP, tmp_path / "missing", long(tmp_path / "long", MINUTES))
    with subprocess.Popen(
        [sys.executable, "-m", "fail2ban_pflog.cli", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "missing" in process.stderr.readline()  # reported by one of them
        process.kill()
        process.communicate(timeout=DEADLINE / 4)  # all of them have closed their output


def test_ctrl_c_in_a_sweep(tmp_path: Path) -> None:
    """All processes of a sweep end, and the table is of what was read by then."""
    with terminal(command(*SWEEP, long(tmp_path / "long", MINUTES))) as shown:
        shown.read_until(r"replaying .*packets")
        shown.press_ctrl_c()
        assert shown.status() == INTERRUPTED, shown.text
    table = shown.text.split("interrupted; this is known of what was read:")[1]
    assert "Jail pflog: 4 settings" in table
    assert "Traceback" not in shown.text
