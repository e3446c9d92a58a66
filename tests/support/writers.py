# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflogd as a process, for tests."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from tests.support.pflogs import record, savefile_header, syn
from tests.support.server import REPO, wait_for

COMMAND = [sys.executable, "-m", "fail2ban_pflog.writer"]
BEGIN = 1_780_000_000
ROOT = os.geteuid() == 0
AS_ROOT = ["--user", "root"] if ROOT else []
"""A test's files are nobody's to read but its user's."""

_NUMBER = re.compile(rb" seq (\d+),")
_LINE = re.compile(
    rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d rule 1/0\(match\)[^\n]*: "
    rb"block in on vtnet0: 198\.51\.100\.7\.40000 > 10\.99\.0\.2\.80: "
    rb"Flags \[S\], seq \d+, win 1024, length 0\n"
)


def numbered_records(numbers: Iterable[int]) -> bytes:
    """Savefile records, a millisecond apart; each packet's sequence number is its number.

    A hundred thousand are made in no time: only the number and the time differ.
    """
    template = bytearray(record(BEGIN, syn("198.51.100.7", 80)))
    out = []
    for number in numbers:
        seconds, milliseconds = divmod(number, 1000)
        struct.pack_into("<II", template, 0, BEGIN + seconds, milliseconds * 1000)
        struct.pack_into("!I", template, 16 + 72 + 24, number)
        out.append(bytes(template))
    return b"".join(out)


def savefile(numbers: Iterable[int], linktype: int = 117) -> bytes:
    return savefile_header(linktype) + numbered_records(numbers)


def kernel(folder: Path, code: str) -> dict[str, str]:
    """The environment in which Python runs some code first, to stand in for another kernel."""
    (folder / "python").mkdir()
    (folder / "python/sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder / 'python'}:{REPO}"}


USAGE = "[-AbdDefhHIJKlLnNOpqStuUvxX#] [ -B size ] [ --immediate-mode ] [ -Z user ]"


def tcpdump(folder: Path, body: str) -> Path:
    """A stand-in for tcpdump.

    Args:
        folder: where it is made; ``{folder}`` in the body.
        body: a shell script.  Unless it looks for -h itself, that prints tcpdump.org's usage.
    """
    program = folder / "tcpdump"
    usage = f"[ \"$1\" = -h ] && echo 'Usage: tcpdump {USAGE}' && exit 0\n"
    script = ("" if "= -h ]" in body else usage) + body.replace("{folder}", str(folder))
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return program


def numbers_in(*paths: Path) -> list[int]:
    """The numbers of all lines of the files, which must hold nothing but whole lines."""
    found = []
    for path in paths:
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        broken = [line for line in lines if not _LINE.fullmatch(line)]
        assert not broken, f"{path}: {broken[:3]}"
        found += [int(number) for number in _NUMBER.findall(data)]
    return found


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_each_once(numbers: list[int], total: int) -> None:
    """Assert that 0 .. total - 1 are there, each once."""
    counts = Counter(numbers)
    doubled = [number for number, count in counts.items() if count > 1]
    missing = sorted(set(range(total)) - set(counts))
    assert (doubled[:5], missing[:5]) == ([], [])
    assert len(numbers) == total


def open_descriptors() -> list[int]:
    """This process's descriptors; /dev/fd shows but three of them on a BSD."""
    found = []
    for number in range(512):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


def ps(*options: str) -> str:
    """What ps says; no system but Linux has the same in /proc."""
    return subprocess.run(["ps", *options], capture_output=True, text=True).stdout


def is_gone(pid: int) -> bool:
    """Whether a process has ended, also where its status was not asked for yet."""
    return ps("-o", "state=", "-p", str(pid)).strip()[:1] in {"", "Z"}


class Pflogd:
    """The program, started; ended with ``stop``.

    read: a source; None for a pipe on standard input, which ``feed`` writes to.
    source: False where the options name one.
    prefix: a command to run it under.
    messages: a descriptor for standard error; by default a file that ``said`` reads.
    """

    STATUS: int = getattr(signal, "SIGINFO", signal.SIGUSR2)

    def __init__(
        self,
        folder: Path,
        *options: object,
        read: object = None,
        log: Optional[Path] = None,
        prefix: Iterable[object] = (),
        environment: Optional[dict[str, str]] = None,
        source: bool = True,
        program: Iterable[object] = COMMAND,
        messages: Optional[int] = None,
    ) -> None:
        self.folder = folder
        self.log = log or folder / "pflog.log"
        self.pid_file = folder / "pid"
        self.messages = folder / "messages"
        source_options = ["--read", "-" if read is None else read] if source else []
        command = [
            *prefix, *program, "--log", self.log, "--pid-file", self.pid_file,
            *source_options, *options,
        ]  # fmt: skip
        standard_error = self.messages.open("ab")
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=REPO,
            stdin=subprocess.PIPE if read is None and source else subprocess.DEVNULL,
            stderr=standard_error if messages is None else messages,
            env={**os.environ, "PYTHONPATH": str(REPO), "TZ": "UTC", **(environment or {})},
            bufsize=0,
        )
        standard_error.close()

    def end(self) -> None:
        """Kill the program, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def ready(self) -> Pflogd:
        """Wait until the worker reads; returns itself."""
        wait_for(self.status, f"a status; it said {self.said()}")
        return self

    def runs(self) -> bool:
        """Whether it has come so far as to write its pid file."""
        return self.pid_file.exists() and self.pid_file.read_text() == f"{self.process.pid}\n"

    def status(self) -> str:
        """Ask for the status; returns the answer, empty before the worker can."""
        if not self.runs():
            return ""
        before = len(self.said())
        self.kill(self.STATUS)
        try:
            wait_for(lambda: "packets read" in self.said()[before:], "a status", 2)
        except AssertionError:
            return ""
        return self.said()[before:]

    def feed(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) :]

    def end_of_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def said(self) -> str:
        return self.messages.read_text()

    def wait_said(self, text: str) -> None:
        wait_for(lambda: text in self.said(), f"{text!r}; it said {self.said()}")

    def wait_lines(self, count: int, *paths: Path) -> None:
        """Wait until the log, or the given files, have that many lines."""
        wait_for(
            lambda: sum(map(lines_in, paths or [self.log])) >= count,
            f"{count} lines; it said {self.said()}",
        )

    def kill(self, number: int) -> None:
        self.process.send_signal(number)

    def rotate(self, to: Path, number: int = signal.SIGHUP) -> None:
        """Rename the log, signal the program, wait until it has made a new one."""
        self.log.rename(to)
        self.kill(number)
        wait_for(self.log.exists, f"a new log; it said {self.said()}")

    def children(self, pid: int = 0) -> list[int]:
        """The process ids of a process's children, the monitor's by default."""
        rows = (row.split() for row in ps("-A", "-o", "pid=", "-o", "ppid=").splitlines())
        return [int(child) for child, parent in rows if int(parent) == (pid or self.process.pid)]

    def wait_status(self, text: str) -> None:
        """Ask for the status until it says ``text``."""
        wait_for(lambda: text in self.status(), f"{text!r}; it said {self.said()}")

    @property
    def worker(self) -> int:
        """The worker's process id."""
        wait_for(self.children, "a worker")
        return self.children()[0]

    def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        return self.process.wait(20)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; returns the exit status."""
        if self.process.poll() is None:
            self.kill(number)
        return self.wait()
