# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflogd where others get in its way: local users, readers that stop, odd tcpdumps."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.writer.monitor import CALM, PAUSES, Restarts
from tests.support.server import REPO, wait_for
from tests.support.writers import (
    AS_ROOT,
    COMMAND,
    ROOT,
    Pflogd,
    is_gone,
    kernel,
    numbered_records,
    numbers_in,
    savefile,
    tcpdump,
)

Start = Callable[..., Pflogd]


# -- the pid file ----------------------------------------------------------------------------


def test_pid_file_is_private(start: Start) -> None:
    """The pid file has mode 0600, so that no other user can lock it."""
    writer = start().ready()
    assert stat.S_IMODE(writer.pid_file.stat().st_mode) == 0o600


def test_pid_file_that_another_user_holds(start: Start, tmp_path: Path) -> None:
    """A stale pid file that anybody may open, and somebody has locked, is replaced."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "pid").write_text(f"{dead.pid}\n")
    (tmp_path / "pid").chmod(0o644)
    with (tmp_path / "pid").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = start().ready()
        assert stat.S_IMODE(writer.pid_file.stat().st_mode) == 0o600
        assert writer.stop() == 0


# -- standard error that nobody reads ----------------------------------------------------------


def test_standard_error_that_nobody_reads(start: Start, tmp_path: Path) -> None:
    """A full pipe on standard error costs messages, never lines or signals."""
    reader, full = os.pipe()
    os.set_blocking(full, False)
    try:
        while os.write(full, b"x" * 512):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(full, True)
    writer = start(messages=full)
    writer.feed(savefile(range(10)))
    writer.wait_lines(10)
    for number in (Pflogd.STATUS, signal.SIGHUP):
        writer.kill(number)
    wait_for(lambda: writer.children() != [], "a worker")
    writer.log.rename(tmp_path / "old")
    writer.kill(signal.SIGHUP)
    wait_for(writer.log.exists, "the new log")
    writer.feed(numbered_records(range(10, 20)))
    writer.wait_lines(10)
    assert writer.stop() == 0
    assert numbers_in(tmp_path / "old", writer.log) == list(range(20))
    os.close(reader)
    os.close(full)


# -- what is read ------------------------------------------------------------------------------


SILENT = """\
import os, selectors, stat
register = selectors.DefaultSelector.register
def silent(selector, file, events, data=None):
    number = file if isinstance(file, int) else file.fileno()
    if stat.S_ISCHR(os.fstat(number).st_mode):
        file = os.pipe()[0]
    return register(selector, file, events, data)
selectors.DefaultSelector.register = silent
"""
"""FreeBSD 15's kqueue: takes /dev/null and never reports it."""


def test_null_device_of_a_silent_kernel(start: Start, tmp_path: Path) -> None:
    """A kernel that takes /dev/null and never reports it does not keep the program waiting."""
    writer = start(read=os.devnull, environment=kernel(tmp_path, SILENT))
    assert writer.wait() == 0
    assert "stopped; 0 packets read" in writer.said()


def test_follow_of_a_missing_file(start: Start, tmp_path: Path) -> None:
    """A file that is missing is waited for, and that is reported once."""
    writer = start("--follow", tmp_path / "pflog", *AS_ROOT, source=False)
    writer.wait_said(f"{tmp_path / 'pflog'}: No such file or directory; waiting for it")
    (tmp_path / "pflog").write_bytes(savefile(range(2)))
    writer.wait_lines(2)
    assert writer.stop() == 0
    assert writer.said().count("waiting for it") == 1


# -- restarts ----------------------------------------------------------------------------------


def test_pauses_grow() -> None:
    """A source that fails soon again and again is opened ever more seldom, packets or not."""
    for packets in (False, True):
        restarts = Restarts()
        pauses = [restarts.pause(lived=1.0, productive=packets) for _ in range(40)]
        assert pauses == sorted(pauses)
        assert (pauses[0] <= 0.5, pauses[-1]) == (True, PAUSES[-1])


def test_pauses_begin_anew() -> None:
    """After a worker that lived long the next one is started soon."""
    restarts = Restarts()
    for _ in range(40):
        restarts.pause(lived=1.0, productive=False)
    assert restarts.pause(lived=CALM, productive=True) == PAUSES[0]


RETRYING = """\
import sys, time
from fail2ban_pflog.writer import main, monitor

class Worker(monitor.Worker):
    def run(self):
        print("at work", file=sys.stderr, flush=True)
        self._commands.recv(1)
        return monitor.RETRY

monitor.Worker = Worker
raise SystemExit(main(sys.argv[1:]))
"""


def test_stop_while_a_worker_ends_to_be_tried_again(start: Start) -> None:
    """TERM that comes just as a worker ends with "try again" is an orderly stop: status 0."""
    writer = start(program=[sys.executable, "-c", RETRYING])
    writer.wait_said("at work")
    assert writer.stop() == 0


# -- tcpdump -----------------------------------------------------------------------------------


@pytest.mark.skipif(not ROOT, reason="only root starts a tcpdump of another user")
def test_tcpdump_that_closes_its_output_but_lives(start: Start, tmp_path: Path) -> None:
    """A tcpdump that the worker may not end is left to the monitor, and a new one is started."""
    program = tcpdump(
        tmp_path,
        "echo $$ >> {folder}/pids\nexec 1>&-\nexec sleep 1000\n",
    )
    writer = start("--tcpdump", program, "--user", "nobody", source=False)

    def pids() -> list[int]:
        path = tmp_path / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    wait_for(lambda: len(pids()) > 1, f"a second tcpdump; it said {writer.said()}")
    assert "Traceback" not in writer.said()
    wait_for(lambda: is_gone(pids()[0]), "the first one's end")
    assert "tcpdump closed its output; starting it again" in writer.said()
    assert writer.stop() == 0


OPENBSD = """\
if [ "$1" = -h ]; then
    echo "tcpdump: unknown option -- h" >&2
    echo "Usage: tcpdump [-AadefILlNnOpqStvXx] [-B fildrop] [-c count] [-D direction]" >&2
    exit 1
fi
for each; do
    case $each in -U|-Z|--immediate-mode) echo "tcpdump: unknown option $each" >&2; exit 1;; esac
done
cat {folder}/next
exec sleep 1000
"""


def test_tcpdump_of_openbsd(start: Start, tmp_path: Path) -> None:
    """A tcpdump is given only options that its usage lists."""
    (tmp_path / "next").write_bytes(savefile(range(3)))
    writer = start("--tcpdump", tcpdump(tmp_path, OPENBSD), source=False)
    writer.wait_lines(3)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("echo 'pflog0: permission denied' >&2; exit 1", 1, "tcpdump: pflog0: permission denied"),
        ("cat {folder}/next; exec sleep 1000", 0, ""),
        ("cat {folder}/wrong; exec sleep 1000", 1, "link type 1 instead of 117"),
        ("echo hello; exec sleep 1000", 1, "no savefile"),
    ],
)
def test_check_tries_tcpdump(tmp_path: Path, body: str, status: int, said: str) -> None:
    """--check starts tcpdump on the interface as a start would, and ends it."""
    (tmp_path / "next").write_bytes(savefile([]))
    (tmp_path / "wrong").write_bytes(savefile([], linktype=1))
    program = tcpdump(tmp_path, "echo $$ > {folder}/pids\n" + body + "\n")
    name = "lo" if sys.platform == "linux" else "lo0"
    command = [*COMMAND, "--check", "--log", tmp_path / "log", "--pid-file", "", "-i", name]
    done = subprocess.run(
        [*map(str, command), "--tcpdump", str(program)],
        cwd=REPO, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, said in done.stderr, bool(done.stderr)) == (status, True, bool(said))
    wait_for(lambda: is_gone(int((tmp_path / "pids").read_text())), "tcpdump's end")
