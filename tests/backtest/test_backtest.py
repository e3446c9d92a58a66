# SPDX-License-Identifier: GPL-2.0-or-later
"""Backtests: the same bans as a real server; what the report, the plots and explain say."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import pytest

from tests.support.backtests import (
    BEGIN,
    BYSTANDERS,
    CONFIG,
    RETRY,
    SCANNER,
    SCRUB,
    command,
    many_sources,
    result,
    scan_records,
    write,
)
from tests.support.pflogs import shifted, syn
from tests.support.server import Server, wait_for

pytest.importorskip("fail2ban")

from fail2ban_pflog import __version__
from fail2ban_pflog.backtest.replay import configuration, replay, run, statistics
from fail2ban_pflog.backtest.replay.configuration import Configuration, find_configuration
from fail2ban_pflog.backtest.report import text as report
from fail2ban_pflog.cli import main
from fail2ban_pflog.errors import Exit
from fail2ban_pflog.sources.captures import Captures

# -- verdicts ---------------------------------------------------------------------------


def test_bans_and_prevented(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scanner is banned at its 15th port, the rest of its packets is prevented."""
    found = result(capsys, capture)
    assert [(ban["source"], ban["tried"], ban["prevented"]) for ban in found["bans"]] == [
        (SCANNER, 15, 25)
    ]
    assert found["bans"][0]["ports"] == list(range(1, 16))
    assert (found["packets"], found["prevented"], found["sources"]) == (80, 25, 2)


def test_ban_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source is counted again once its ban is over, and its second ban is longer."""
    records = scan_records(SCANNER, range(1, 21), BEGIN)
    records += scan_records(SCANNER, range(100, 121), BEGIN + 120)
    settings = ["bantime=60", "bantime.increment=true", "bantime.maxtime=1d"]
    path = write(tmp_path / "twice", records)
    bans = result(capsys, "--set", *settings, "--", path)["bans"]
    assert [ban["number"] for ban in bans] == [1, 2]
    assert bans[1]["seconds"] > bans[0]["seconds"] == 60


@pytest.mark.parametrize(("offset", "longer"), [(-190, False), (-170, True)])
def test_old_bans_are_forgotten_by_the_hour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: int, longer: bool
) -> None:
    """What the database forgets a day and three times the ban later does not depend on when
    it is asked next."""
    hour = BEGIN // 3600 * 3600
    records = scan_records(SCANNER, range(1, 6), hour + offset)
    records += scan_records(SCANNER, range(1, 6), hour + 86_400 + 60)
    path = write(tmp_path / "pflog", records)
    settings = ["maxretry=5", "bantime=60", "bantime.increment=true"]
    first, second = result(capsys, "--set", *settings, "--", path)["bans"]
    assert (second["seconds"] > first["seconds"]) == longer


def test_same_bans_as_a_server(
    tmp_path: Path, server: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    """A real server that reads the capture bans the same sources for packets of the same time."""
    path = tmp_path / "pflog"
    path.write_bytes(shifted(SCRUB, time.time() - 30))
    settings = {"maxretry": "10", "findtime": "10m", "bantime": "1d"}
    words = "".join(f"{name} = {value}\n" for name, value in settings.items())
    f2b = server(
        "[pflog]\nenabled = true\nfilter = pflog[mode=aggressive]\n"
        f"backend = pflog[distinct=port, mode=aggressive]\nlogpath = {path}\n"
        f"action = recorder\n{words}[sshd]\nenabled = false\n"
    ).start()
    main(
        [
            *("backtest", "--config", str(f2b.config), "--jail", "pflog", "--json"),
            str(path),
        ]
    )
    bans = json.loads(capsys.readouterr().out)["jails"][0]["bans"]
    expected = {ban["source"]: round(moment(ban["began"])) for ban in bans}
    assert len(expected) >= 5
    f2b.wait_for_bans(*expected)
    database = sqlite3.connect(f2b.folder / "f2b.db")
    query = "SELECT ip, min(timeofban) FROM bans GROUP BY ip"
    wait_for(lambda: len(list(database.execute(query))) >= len(expected), "the database")
    assert dict(database.execute(query)) == expected


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_holding_changes_no_verdict(tmp_path: Path) -> None:
    """Packets of sources that cannot be banned yet wait: bans stay the same, to the packet."""
    path = str(write(tmp_path / "many", many_sources(300, 20_000)))
    found = []
    for hold in (None, 1):
        configuration = Configuration(CONFIG)
        settings = {"maxretry": "5", "bantime": "200"}
        one = run.Run([replay.Replay(configuration.load("pflog", settings))])
        assert one.replays[0].dedup.hold == 3
        if hold is not None:
            one.replays[0].dedup.hold = hold
        one.read(Captures([path], pytest.fail))
        (outcome,) = one.results(run.Trust([]))
        bans = [(ban.source, ban.time, ban.end, ban.failures, ban.evidence) for ban in outcome.bans]
        close = sorted((each.source, each.reached) for each in outcome.close)
        found.append((bans, outcome.prevented, close))
    assert len(found[0][0]) > 20
    assert found[0] == found[1]


def test_holding_forgets_nothing_early(tmp_path: Path) -> None:
    """A port that the distinct table still knows is a repeat, however few packets came before."""
    records = [(BEGIN, syn(SCANNER, 22))]
    records += scan_records(SCANNER, range(22, 27), BEGIN + 800)  # after 2.7 times findtime
    records += [(BEGIN + index / 20, syn(RETRY, 25)) for index in range(16_000)]
    path = str(write(tmp_path / "slow", records))
    settings = {"maxretry": "5", "findtime": "5m"}
    one = replay.Replay(Configuration(CONFIG).load("pflog", settings))
    run.Run([one]).read(Captures([path], pytest.fail))
    assert [(close.source, close.reached) for close in one.close] == [(SCANNER, 4)]


def test_no_bystander_is_banned(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped jail bans no source among honest hosts alone."""
    assert result(capsys, BYSTANDERS)["bans"] == []


def broken(*_: object) -> None:
    """Stand in for what goes wrong."""
    raise RuntimeError("it broke")


def test_failures_of_fail2ban_are_reported(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fail2ban swallows what goes wrong with a line; a backtest says that verdicts are missing."""
    monkeypatch.setattr(replay.Replay, "_ban", broken)
    assert main(command(capture)) == 4
    assert "jail pflog: fail2ban failed on 2 lines, first with RuntimeError('it broke')" in (
        capsys.readouterr().err
    )


# -- trust, settings, words -------------------------------------------------------------


def test_trusted_sources(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trusted source that would be banned is listed and makes the exit status 1."""
    listed = tmp_path / "trusted"
    listed.write_text("# our own\n\n203.0.113.0/28 # the office\n")
    assert main(command("--trust", listed, capture)) == 1
    assert "Trusted sources that would be banned" in capsys.readouterr().out
    assert main(command("--trust", RETRY, capture)) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trust", "nonsense"], "nonsense"),
        (["--set", "maxrety=3"], "no option maxrety; is maxretry meant?"),
        (["--set", "distnct=none"], "no option distnct; is distinct meant?"),
        (["--set", "frobnicate=1"], "its backend's are interface, bpf, distinct, mode"),
        (["--set", "distinct=prot"], "distinct of backend = pflog[...] takes port, host, none"),
        (["--sweep", "distinct=port,prot"], "takes port, host, none"),
        (["--set", "filter=nosuch"], "nosuch"),
        (["--set", "backend=pflog[distinct=prot]"], "distinct"),
        (["--sweep", "maxretry=9..3"], "backtest: --sweep maxretry=9..3"),
        (["--sweep", "maxretry=5,6", "--trust", "nonsense"], "nonsense"),
        (["--set", "maxretry=5", "--sweep", "maxretry=5,6"], "--set and to --sweep"),
        (["--set", "maxretry=many"], "Wrong value for 'maxretry'"),
        (["--set", "bantime.increment=maybe"], "must be true or false"),
        (["--plot", "picture.doc"], ".svg"),
        (["--html", "/nonexistent/page.html"], "cannot be written"),
        (["--html", "/"], "is a directory"),
        (["--html", str(SCRUB)], "is a capture"),
        (["--set", "mode = any"], "as in maxretry=5"),
        (["--set", "MaxRetry=3"], "as in maxretry=5"),
        (["-", "-"], "but once"),
    ],
)
def test_wrong_usage(
    words: list[str], message: str, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with settings is reported in one message; the status is 2."""
    assert main(command(*words, "--", capture)) == 2
    assert message in capsys.readouterr().err


def test_options_of_the_backend_by_name(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option of the backend is given by itself; where it says what the jail's own option of
    that name says to the filter, both have it."""
    found = result(capsys, "--set", "distinct=none", "--", capture)
    assert {ban["source"] for ban in found["bans"]} == {SCANNER, RETRY}
    assert found["options"]["backend"] == "pflog[distinct=none, mode=normal, prefix6=64]"
    options = result(capsys, "--set", "mode=any", "prefix6=64", "--", capture)["options"]
    assert options["backend"] == "pflog[distinct=port, mode=any, prefix6=64]"
    fixed = ["--set", "backend=pflog[distinct=port, mode=normal]", "mode=aggressive", "--"]
    options = result(capsys, *fixed, capture)["options"]
    assert options["backend"] == "pflog[distinct=port, mode=aggressive]"


def test_options_of_another_backend(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A jail that reads text has no options of pflog's backend."""
    words = ["--jail", "pflog-text", "--set", "distinct=none", "--", str(capture)]
    assert main(["backtest", "--config", str(CONFIG), *words]) == 2
    assert "distinct is an option of backend = pflog[...], and this jail has backend = auto" in (
        capsys.readouterr().err
    )


def test_without_fail2ban(tmp_path: Path, capture: Path) -> None:
    """Where fail2ban cannot be imported, a message says what to do: it is not on PyPI."""
    (tmp_path / "hidden/fail2ban").mkdir(parents=True)
    (tmp_path / "hidden/fail2ban/__init__.py").write_text("raise ImportError('hidden')\n")
    done = subprocess.run(
        [sys.executable, "-m", "fail2ban_pflog.cli", *command(capture)],
        cwd=CONFIG.parent, env={**os.environ, "PYTHONPATH": str(tmp_path / "hidden")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "-m venv --system-site-packages" in done.stderr
    assert "pipx install --system-site-packages" in done.stderr


def test_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this host has none that knows pflog, the package's own is found: a clone's, or what
    was installed with it."""
    monkeypatch.setattr(configuration, "HOSTS", ())
    for name in ("filter.d/pflog.conf", "jail.d/pflog.conf"):
        found = find_configuration() / name
        assert found.read_bytes() == (CONFIG / name).read_bytes()


def test_a_defect_is_not_a_trusted_source(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception has a status of its own, and is printed whole."""
    monkeypatch.setattr(run.Run, "read", broken)
    assert main(command(capture)) == 70
    assert "it broke" in capsys.readouterr().err


def test_output_that_cannot_be_written(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is reported in one line that names the file; what stood there is whole."""
    assert main(command("--html", "/dev/full", capture)) == 2
    assert "cannot write what came of it to /dev/full: No space left" in capsys.readouterr().err
    page = tmp_path / "page.html"
    page.write_text("before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        assert main(command("--html", page, capture)) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert f"cannot write what came of it to {page}: File too large" in capsys.readouterr().err
    assert page.read_text() == "before"
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_output_where_nothing_may_be_seen(tmp_path: Path, capture: Path) -> None:
    """A file in a directory that may not be searched is reported, without a traceback."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    closed.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-m", "fail2ban_pflog.cli", *command("--html", closed / "x", capture)],
        cwd=CONFIG.parent, capture_output=True, text=True, check=False, user="nobody",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{closed / 'x'} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["--sweep", "maxretry=5,6", "--"], ["--json"]])
def test_nothing_to_replay(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Captures without packets, or that are none, make no report of zeros: it says so, and the
    status is that of damaged captures."""
    for content in (b"", write(tmp_path / "empty", []).read_bytes()):
        path = tmp_path / "capture"
        path.write_bytes(content)
        assert main(command(*words, path)) & Exit.DAMAGED
        out, err = capsys.readouterr()
        assert "there is no packet in these captures" in err
        assert "Jail pflog" not in out


def test_since(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only packets since a time are replayed, given as a date or as how long ago it was."""
    old = scan_records(SCANNER, range(1, 31), time.time() - 10 * 86_400)
    new = scan_records(RETRY, range(1, 31), time.time() - 3600)
    path = write(tmp_path / "pflog", [*old, *new])
    assert {ban["source"] for ban in result(capsys, path)["bans"]} == {SCANNER, RETRY}
    found = result(capsys, "--since", "7d", path)
    assert ([ban["source"] for ban in found["bans"]], found["packets"]) == ([RETRY], 30)
    axes = ["--sweep", "maxretry=5,15", "--since", "7d", "--json", path]
    main(command(*axes))
    assert [each["bans"] for each in json.loads(capsys.readouterr().out)["settings"]] == [1, 1]
    assert main(command("--since", "2031-01-01", capture)) == 4
    assert "or none since then" in capsys.readouterr().err
    assert main(command("--since", "yesterday", capture)) == 2
    assert "'yesterday' is no time" in capsys.readouterr().err


def test_own_files_of_a_jail(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a capture the files that the jail reads are replayed, with their rotated ones."""
    config, logs = tmp_path / "config", tmp_path / "logs"
    logs.mkdir()
    shutil.copytree(CONFIG, config)
    (config / "jail.local").write_text(f"[pflog]\nlogpath = {logs}/pflog\n")
    (logs / "pflog.1").write_bytes(capture.read_bytes())
    assert main(["explain", "--config", str(config), "--source", SCANNER]) == 0
    assert f"{SCANNER} is banned for 1h" in capsys.readouterr().out
    (logs / "pflog.1").unlink()
    assert main(["explain", "--config", str(config), "--source", SCANNER]) == 2
    assert f"there is no CAPTURE, and pflog reads {logs}/pflog" in capsys.readouterr().err


def test_long_values(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A value may be longer than a file's name."""
    addresses = " ".join(f"192.0.2.{number}" for number in range(60))
    assert result(capsys, "--set", f"ignoreip={addresses} {SCANNER}", "--", capture)["bans"] == []


def test_text_jails_read_every_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A jail that reads text is given the lines that it would find there: outbound ones, too."""
    records = [(BEGIN + index, syn(SCANNER, 22, index, direction=2)) for index in range(40)]
    path = write(tmp_path / "out", records)
    words = ["--json", "--set", "filter=pflog[mode=any, direction=out]", "--", str(path)]
    main(["backtest", "--config", str(CONFIG), "--jail", "pflog-text", *words])
    (found,) = json.loads(capsys.readouterr().out)["jails"]
    assert [ban["source"] for ban in found["bans"]] == [SCANNER]


def test_no_database_no_increment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a database fail2ban makes no ban longer."""
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    (config / "fail2ban.local").write_text("[Definition]\ndbfile = None\n")
    (config / "fail2ban.conf").write_text("[Definition]\ndbfile = /tmp/none\n")
    records = scan_records(SCANNER, range(1, 16), BEGIN)
    records += scan_records(SCANNER, range(1, 16), BEGIN + 600)
    path = str(write(tmp_path / "twice", records))
    words = ["--json", "--set", "bantime=60", "bantime.increment=true", "--", path]
    main(["backtest", "--config", str(config), "--jail", "pflog", *words])
    (found,) = json.loads(capsys.readouterr().out)["jails"]
    assert [ban["seconds"] for ban in found["bans"]] == [60, 60]


def test_ignorecommand_that_fails(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What fail2ban logs as an error is reported, and the status says that something is wrong."""
    assert main(command("--set", "ignorecommand=/nonexistent <ip>", "--", capture)) == 4
    assert "/nonexistent" in capsys.readouterr().err


def test_explain_takes_one_jail(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes jail pflog where none is named, and does not choose one of several others."""
    words = ["explain", "--config", str(CONFIG), "--source", SCANNER, str(capture)]
    assert main(words) == 0
    assert f"{SCANNER}, 40 packets, jail pflog:" in capsys.readouterr().out
    assert main([*words, "--jail", "pflog-strict", "--jail", "pflog-slow"]) == 2
    assert "choose one of the jails pflog-strict, pflog-slow" in capsys.readouterr().err


def test_interpolated_backend(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that other options make is the one that they make."""
    backend = "pflog[distinct=port, mode=%(mode)s, prefix6=64]"
    words = ["--json", "--set", f"backend={backend}", "maxretry=30"]
    words += ["findtime=5m", "mode=normal"]
    main(["backtest", "--config", str(CONFIG), "--jail", "pflog-strict", *words, str(capture)])
    (found,) = json.loads(capsys.readouterr().out)["jails"]
    words[2] = "backend=%(pflog_backend)s"
    main(["backtest", "--config", str(CONFIG), "--jail", "pflog-strict", *words, str(capture)])
    assert json.loads(capsys.readouterr().out)["jails"] == [found]
    assert [ban["source"] for ban in found["bans"]] == [SCANNER]


def test_nothing_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A capture without packets has no begin and no end."""
    found = result(capsys, write(tmp_path / "empty", []))
    assert (found["packets"], found["begin"], found["end"]) == (0, None, None)


def test_unknown_jail(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown jail lists those that exist."""
    assert main(["backtest", "--config", str(CONFIG), "--jail", "sshd", str(capture)]) == 2
    assert "pflog-strict" in capsys.readouterr().err


def test_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """The report fits a terminal of 80 columns, with the evidence as well."""
    main(command("-v", SCRUB))
    out = capsys.readouterr().out
    assert "Flags [S]" in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_was_read(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON names the captures with their packets and times, the version and when it was made."""
    main(command("--json", capture, SCRUB, "/nonexistent"))
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == __version__
    assert abs(moment(found["made"]) - time.time()) < 60
    first, second, third = found["captures"]
    assert (first["name"], first["packets"], moment(first["begin"])) == (str(capture), 80, BEGIN)
    assert (second["name"], second["packets"], second["problem"]) == (str(SCRUB), 1126, "")
    assert (third["packets"], third["begin"]) == (0, None)
    assert "No such file" in third["problem"]
    assert found["jails"][0]["options"] == {
        "maxretry": "15", "findtime": "5m", "bantime": "1h", "ignoreip": "none",
        "backend": "pflog[distinct=port, mode=normal, prefix6=64]", "ignoreself": "yes",
    }  # fmt: skip


def test_json_is_ascii(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's name cannot drive a terminal or turn the reading direction, and is kept."""
    path = tmp_path / "a\x9b31m\u202e"
    path.write_bytes(capture.read_bytes())
    main(command("--json", path))
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["captures"][0]["name"] == str(path)


def test_bans_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report shows of each ban what was counted, and how the numbers fit together."""
    hosts = [(number, f"10.99.0.{number + 1}") for number in range(20)]
    sweep = [(BEGIN + number, syn(RETRY, 8080, target=host)) for number, host in hosts]
    records = [*scan_records(SCANNER, range(1, 41), BEGIN), *sweep]
    records.append((BEGIN, syn("192.0.2.9", 25)))
    path = write(tmp_path / "both", records)
    found = result(capsys, path)
    assert [ban["why"] for ban in found["bans"]] == [
        "15 tcp ports on 1 host in 7 s", "8080/tcp on 15 hosts in 14 s",
    ]  # fmt: skip
    assert found["bans"][1]["hosts"][0] == "10.99.0.1"
    main(command(path))
    out = capsys.readouterr().out
    assert "  Sources    3, of which 2 would have been banned\n" in out
    assert "  Packets    61, of which 30 (49.2%) would not have come\n" in out
    assert "    15 tcp ports on 1 host in 7 s: 1-15\n" in out
    assert "    8080/tcp on 15 hosts in 14 s: 10.99.0.1, 10.99.0.2, 10.99.0.3," in out


def test_a_slow_count_shows_what_is_within_findtime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What came before findtime is no part of a ban: fail2ban has forgotten it."""
    slow = [(BEGIN + 100 * number, syn(SCANNER, 1 + number)) for number in range(4)]
    fast = scan_records(SCANNER, range(100, 110), BEGIN + 301)
    path = write(tmp_path / "slow", [*slow, *fast])
    (ban,) = result(capsys, "--set", "maxretry=5", "findtime=2m", "--", path)["bans"]
    assert (ban["why"], ban["ports"]) == (
        "5 tcp ports on 1 host in 1 min 42 s", [3, 4, 100, 101, 102],
    )  # fmt: skip


def test_csv(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV has one line per ban."""
    main(command("--csv", capture))
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("jail,source,number,began")
    assert [row.split(",")[1] for row in rows] == [SCANNER]


def test_words() -> None:
    """Spans and ports are written shortly."""
    assert [report.duration(value) for value in (0.25, 59, 5400, -1)] == [
        "0.2s", "59s", "1h30m", "ever",
    ]  # fmt: skip
    assert report.ranges([443, 21, 22, 23, 80]) == "21-23, 80, 443"


INBOUND = SimpleNamespace(direction=1)


def test_sources_are_counted_in_bounded_memory() -> None:
    """Sources are counted exactly, and when there are many, well enough in little memory."""
    top = statistics.Top()
    for number in range(300_000):
        for each in (number, number // 2):
            source = struct.pack("!I", each)
            top.add(source, SimpleNamespace(head=INBOUND, protocol=6, dport=22))
        if number == statistics.MAX_COUNTED_EXACTLY - 1:
            assert top.sources == statistics.MAX_COUNTED_EXACTLY
    assert top.sources > statistics.MAX_COUNTED_EXACTLY
    assert abs(top.sources - 300_000) < 3_000


def test_what_was_sent_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report's first lines name the sources, networks and ports with the most packets; what
    this host sent is not among them."""
    records = [(BEGIN + number, syn("203.0.113.7", 22)) for number in range(6)]
    records += [(BEGIN + number, syn("203.0.113.9", 23)) for number in range(3)]
    records += [(BEGIN + number, syn("198.51.100.1", 23)) for number in range(4)]
    records += [(BEGIN + number, syn("10.0.0.1", 443, direction=2)) for number in range(40)]
    path = write(tmp_path / "pflog", records)
    main(command(path))
    out = capsys.readouterr().out
    assert "  Most from  203.0.113.7 (6), 198.51.100.1 (4), 203.0.113.9 (3)\n" in out
    assert "  Networks   203.0.113.0/24 (9), 198.51.100.0/24 (4)\n" in out
    assert "  Ports      23/tcp (7), 22/tcp (6)\n" in out
    top = result(capsys, path)["top"]
    assert top["ports"][0] == {"name": "23/tcp", "packets": 7}


def test_timeline_is_bounded() -> None:
    """A time line never holds more bars than it may, and loses nothing."""
    line = statistics.Timeline()
    for number in range(100_000):
        line.add(BEGIN + number * 7)
    assert len(line.bins) <= statistics.MAX_BINS
    assert sum(map(sum, line.bins.values())) == 100_000
