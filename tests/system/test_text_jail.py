# SPDX-License-Identifier: GPL-2.0-or-later
"""The text way: fail2ban-pflogd with a policy, its log, and a stock jail that polls it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.backtests import CONFIG
from tests.support.pflogs import DATA, record, savefile_header, syn
from tests.support.writers import BEGIN, COMMAND, lines_in

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.client.jailreader import JailReader
from fail2ban.server.mytime import MyTime
from fail2ban.server.server import Server

from lab import evaluate

REAL = (
    "labelled/bystanders", "labelled/scrub", "labelled2/trace", "labelled2/scan", "lab/lab",
    "lab/more",
)  # fmt: skip
POLICY = ("--mode", "normal", "--distinct", "port")
MINUTE = 60.0


def write_log(capture: Path, log: Path, *options: str) -> str:
    """Let fail2ban-pflogd read a capture once; returns what it said."""
    done = subprocess.run(
        [*COMMAND, "--read", capture, "--log", log, "--pid-file", "", "--user", "root", *options],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def clock() -> Iterator[None]:
    """fail2ban's clock is the test's, and the system's again afterwards."""
    yield
    MyTime.setTime(None)


def text_jail(log: Path) -> Any:
    """[pflog-text] as shipped, with fail2ban's own polling backend; it bans by itself."""
    reader = JailReader("pflog-text", force_enable=True, basedir=str(CONFIG))
    reader.read()
    reader.getOptions()
    local = {"backend": "polling", "logpath": str(log), "action": "", "banaction": ""}
    reader.merge_section("pflog-text", local)
    reader.getOptions()
    server = Server()
    for command in reader.convert(allow_no_files=True):
        if command[0] != "start":
            status, answer = server._Server__transm.proceed(command)
            assert not status, (command, answer)
    return server._Server__jails["pflog-text"]


def banned_by_text(log: Path, folder: Path) -> set[str]:
    """What the jail bans when the log grows as it did, a minute at a time."""
    growing = folder / "growing.log"
    growing.touch()
    lines = log.read_text().splitlines(keepends=True)
    times = [datetime.fromisoformat(line.split(" ", 1)[0]).timestamp() for line in lines]
    MyTime.setTime(times[0] if times else BEGIN)
    jail = text_jail(growing)
    jail.filter.active = True  # its threads are not started
    banned, at = set(), 0
    while at < len(lines):
        begin, end = times[at], at
        while end < len(lines) and 0 <= times[end] - begin < MINUTE:
            end += 1
        with growing.open("a") as file:
            file.writelines(lines[at:end])
        MyTime.setTime(times[end - 1])
        jail.filter.getFailures(str(growing))
        while ticket := jail.getFailTicket():
            banned.add(str(ticket.getID()))
        at = end
    return banned


@pytest.mark.parametrize("form", ["live", "pflogd"])
@pytest.mark.parametrize("capture", REAL)
@pytest.mark.usefixtures("clock")
def test_the_text_way_bans_whom_the_backend_bans(capture: str, form: str, tmp_path: Path) -> None:
    """With the shipped thresholds a stock jail bans the addresses that [pflog] bans."""
    stem = DATA / capture
    log = tmp_path / "pflog.log"
    write_log(evaluate.savefile(stem, form), log, *POLICY)
    settings = {"mode": "normal", "prefix6": "128"}  # a stock jail bans addresses
    expected = {
        source.address
        for source in evaluate.replay(stem, form, ["pflog"], settings)
        if "pflog" in source.banned
    }
    labelled = {source.address for source in evaluate.sources_of(stem)}
    assert banned_by_text(log, tmp_path) & labelled == expected
    if capture.endswith(("scan", "lab")):
        assert len(expected) > 30


def test_what_the_policy_leaves_out(tmp_path: Path) -> None:
    """Repeats and what does not count make no line; the figures tell how many."""
    capture, log = tmp_path / "capture", tmp_path / "log"
    packets = [
        *(syn("198.51.100.7", 22, number) for number in range(5)),
        syn("198.51.100.7", 23),
        syn("198.51.100.7", 24, direction=2),
        b"no frame",
    ]
    records = (record(BEGIN + number, frame) for number, frame in enumerate(packets))
    capture.write_bytes(savefile_header() + b"".join(records))
    said = write_log(capture, log, *POLICY)
    assert re.findall(r"\.(\d+): Flags", log.read_text()) == ["22", "23"]
    assert "8 packets read, 2 lines written, " in said
    assert "1 packets not understood, 5 packets left out" in said


def test_without_a_policy_every_packet_is_a_line(tmp_path: Path) -> None:
    """As long as none of its options is given nothing is left out."""
    capture, log = tmp_path / "capture", tmp_path / "log"
    frames = (syn("198.51.100.7", 22, number, direction=1 + number % 2) for number in range(6))
    capture.write_bytes(savefile_header() + b"".join(record(BEGIN, frame) for frame in frames))
    assert "0 packets left out" in write_log(capture, log)
    assert lines_in(log) == 6


def test_findtime_says_how_long_a_target_is_remembered(tmp_path: Path) -> None:
    """A target is written again after it was quiet for three findtimes."""
    capture = tmp_path / "capture"
    times = (0, 100, 300, 600)
    records = (record(BEGIN + seconds, syn("198.51.100.7", 22)) for seconds in times)
    capture.write_bytes(savefile_header() + b"".join(records))
    for findtime, lines in (("1m", 3), ("5m", 1)):
        log = tmp_path / findtime
        write_log(capture, log, "--distinct", "port", "--findtime", findtime)
        assert lines_in(log) == lines


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--mode", "agressive"), "invalid choice"),
        (("--findtime", "9**9"), "no time"),
        (("--prefix6", "63"), "a multiple of 8"),
    ],
)
def test_wrong_options_are_refused(options: tuple[str, ...], complaint: str) -> None:
    """With 2, before anything is started, and what is wrong."""
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert complaint in done.stderr
