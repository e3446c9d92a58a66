# SPDX-License-Identifier: GPL-2.0-or-later
"""``explain``: what it says of each packet of a source, and of all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.backtests import (
    BEGIN,
    BYSTANDERS,
    CONFIG,
    RETRY,
    SCANNER,
    SCRUB,
    command,
    scan_records,
    write,
)

pytest.importorskip("fail2ban")

from fail2ban_pflog.cli import main
from fail2ban_pflog.policy.kinds import LATE_ANSWER


def explained(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    main(["explain", "--config", str(CONFIG), "--jail", "pflog", *words, str(path)])
    return capsys.readouterr().out


def test_explain_a_source(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each packet that counts is shown with its count, up to the ban; what a ban prevents is one
    line and a number, and so are repeats."""
    out = explained(capsys, capture, "--source", SCANNER)
    counts = [int(number) for number in re.findall(r"-> (\d+) of 15 within 5m", out)]
    assert counts == list(range(1, 16))
    assert f"-> 15 of 15 within 5m: {SCANNER} is banned for 1h\n" in out
    assert out.count("SYN: TCP SYN: opens a connection; mode=normal counts it\n") == 1
    assert out.count("-> prevented") == 1
    assert re.search(r"and 24 more like it, up to packet \d+ at .*: 24 tcp ports on 1 host\n", out)
    out = explained(capsys, capture, "--source", RETRY)
    assert out.count("-> a repeat") == 1
    assert re.search(r"and 38 more like it, up to packet 80 at .*: 25/tcp on 1 host\n", out)


def test_summary_of_a_source(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end stands what came of all packets, and which other jail comes closest."""
    out = explained(capsys, capture, "--source", SCANNER)
    summary = out.split("\n\n")[-1]
    assert summary.startswith(
        f"{SCANNER}, 40 packets, jail pflog:\n    banned at the 15th of them, "
    )
    assert ", for 1h: 15 tcp ports on 1 host in 7 s.\n" in summary
    assert "Packets: 25 would not have come, 15 counted.\n" in summary
    assert "Nearest other jail: pflog-strict bans it at the 5th packet.\n" in summary
    summary = explained(capsys, capture, "--source", RETRY).split("\n\n")[-1]
    assert "not banned: it came to 1 of 15.\n" in summary
    assert "Packets: 39 repeats, 1 counted.\n" in summary
    assert "Nearest other jail: pflog-strict comes to 1 of 5.\n" in summary


def test_explain_what_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A packet's kind is named, with the mode that counts it; alike packets are shown
    once."""
    out = explained(capsys, BYSTANDERS, "--source", "198.51.100.62")
    assert out.count(f"LATE_ANSWER: {LATE_ANSWER.words};") == 1
    assert (
        "mode=normal does not count it, mode=any does\n    -> not counted: makes no line\n" in out
    )
    assert "and 39 more like it" in out
    assert "    Not counted: LATE_ANSWER 40.\n" in out


def test_explain_a_source_that_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A packet of a source that was banned before counts as more than one; the packet
    that completes a ban has the full count, neither more nor less."""
    records = scan_records(SCANNER, range(1, 6), BEGIN)
    records += scan_records(SCANNER, range(100, 121), BEGIN + 120)
    records += scan_records(SCANNER, range(200, 221), BEGIN + 1220)
    path = write(tmp_path / "twice", records)
    settings = ["maxretry=5", "bantime=60", "bantime.increment=true", "bantime.maxtime=1d"]
    out = explained(capsys, path, "--set", *settings, "--source", SCANNER, "--")
    assert "-> counts as 2, for it was banned before: 2 of 5 within 5m\n" in out
    assert "-> counts as 3, for it was banned before: 5 of 5 within 5m: " in out
    assert re.findall(r"(\d+ of \d+) within 5m: .* is banned for (.*)", out) == [
        ("5 of 5", "1m"), ("5 of 5", "2m"), ("5 of 5", "4m"),
    ]  # fmt: skip
    assert main(command("--set", *settings, "--", path)) == 0
    report_ = capsys.readouterr().out
    assert "200/tcp, 201/tcp on 1 host in 0.5 s; so few are enough, for it was" in report_
    assert re.search(r"^  Bans +3, 2 of them of a source that returned$", report_, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "192.0.2.99"], "from 192.0.2.99"),
        (["--source", "2001:DB8::1"], "from 2001:db8::1"),
        (["--packet", "81"], "number 81"),
    ],
)
def test_explain_what_is_not_there(
    words: list[str], message: str, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source or packet that the captures do not hold makes the exit status 1."""
    command = ["explain", "--config", str(CONFIG), "--jail", "pflog", *words, str(capture)]
    assert main(command) == 1
    message = f"none of the 80 packets in these captures is {message}\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["ignoreip=203.0.113.0/24"], "ignored: ip"),
        (
            ["ignoreip=203.0.113.0/24", 'ignorecache=key="<ip>", max-count=9, max-time=5m'],
            "ignored: ignorecache",
        ),
        (["filter=pflog[interface=em9]"], "prefregex: no match"),
        (["filter=pflog[ignoreregex=Flags]"], "ignoreregex 1 matches"),
    ],
)
def test_explain_why_not(
    capture: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each packet that is no failure it says what kept it from being one."""
    out = explained(capsys, capture, "--set", *settings, "--source", SCANNER, "--")
    assert "    Packets: 40 no failures.\n" in out
    assert out.count("-> no failure") == (2 if "cache" in said else 1)
    assert out.count(said) == 1
    assert f"and {38 if 'cache' in said else 39} more like" in out


def test_explain_a_packet(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a packet that is not counted it says why."""
    out = explained(capsys, SCRUB, "--packet", "251")
    assert out.startswith("251: ")
    assert "mode=normal does not count it, mode=aggressive does" in out
