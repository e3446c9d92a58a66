# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps: each setting comes to the bans that it comes to alone."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from tests.support.backtests import (
    BEGIN,
    CONFIG,
    RETRY,
    SCRUB,
    command,
    many_sources,
    result,
    write,
)
from tests.support.pflogs import syn6

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay import groups, replay, run, sweep
from fail2ban_pflog.backtest.replay.configuration import Configuration, ConfigurationError
from fail2ban_pflog.cli import main
from fail2ban_pflog.sources.captures import Captures


def test_combinations() -> None:
    """Ranges, lists and steps multiply."""
    assert sweep.combinations(["maxretry=5..7", "mode=normal,any"]) == [
        {"maxretry": str(number), "mode": mode}
        for number in (5, 6, 7)
        for mode in ("normal", "any")
    ]
    assert len(sweep.combinations(["maxretry=5..30..5"])) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maxretry=9..3"], "9..3"),
        (["maxretry=1..20000"], "is no range"),
        (["maxretry=1..200", "findtime=1..200"], "40,000 settings"),
        (["maxretry="], "there is no value"),
        (["maxretry=5,6", "maxretry=7"], "given twice"),
    ],
)
def test_wrong_combinations(words: list[str], message: str) -> None:
    """What cannot be swept is reported."""
    with pytest.raises(ConfigurationError, match=message):
        sweep.combinations(words)


def test_commas_within_brackets() -> None:
    """They belong to a value."""
    (one, other) = sweep.combinations(["backend=pflog[distinct=port, mode=any],pflog"])
    assert one == {"backend": "pflog[distinct=port, mode=any]"}
    assert other == {"backend": "pflog"}


def test_wide_settings_stand_below(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the settings' columns are too wide, the table still fits 80 columns."""
    axes = ["maxretry=5,6", "findtime=1m,5m", "backend=pflog[distinct=none, mode=any],pflog"]
    main(command("--sweep", *axes, "--", capture))
    out = capsys.readouterr().out
    assert "    maxretry=5  findtime=1m  backend=pflog[distinct=none, mode=any]\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_jail_to_paste(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The jail that is printed, pasted, comes to the bans that were marked."""
    common = ["bantime=10s", f"ignoreip=192.0.2.1\n{RETRY}"]
    words = ["--sweep", "maxretry=20,10", "backend=pflog[distinct=none, mode=%(mode)s]", "--json"]
    main(command("--set", *common, *words, "--", capture))
    (marked,) = (each for each in json.loads(capsys.readouterr().out)["settings"] if each["best"])
    main(command("--set", *common, *words[:-1], "--", capture))
    pasted = capsys.readouterr().out.split("For jail.local:")[1]
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    (config / "jail.local").write_text(pasted)
    main(["backtest", "--json", "--config", str(config), "--jail", "pflog", str(capture)])
    (found,) = json.loads(capsys.readouterr().out)["jails"]
    assert marked["settings"]["maxretry"] == "20"  # nearer to the jail's own 15
    assert (found["maxretry"], len(found["bans"])) == (20, marked["bans"])
    assert found["prevented"] == marked["prevented"]


def test_sweep_agrees_with_single_runs(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting of a sweep comes to the bans that it comes to alone."""
    axes = ["maxretry=5..25..10", "mode=normal,aggressive", "findtime=10,5m"]
    paths = [SCRUB, capture]
    assert main(command("--json", "--sweep", *axes, "--", *paths)) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert len(settings) == 12
    for each in settings[::5]:
        words = [f"{name}={value}" for name, value in each["settings"].items()]
        alone = result(capsys, "--set", *words, "--", *paths)
        assert each["banned"] == list(dict.fromkeys(ban["source"] for ban in alone["bans"]))
        assert each["prevented"] == alone["prevented"]


def test_group_is_as_each_alone(tmp_path: Path) -> None:
    """Jails that differ in maxretry alone are counted as one, and each comes to the bans that
    it comes to by itself: first ones, later and longer ones, over days."""
    path = str(write(tmp_path / "days", many_sources(800, 90_000)))
    common = {"bantime": "200", "bantime.increment": "true", "bantime.maxtime": "1h"}
    settings = [
        {**common, "maxretry": maxretry, "findtime": findtime}
        for maxretry in ("7", "1", "4")
        for findtime in ("1m", "10m")
    ]
    configuration = Configuration(CONFIG)

    def load() -> list[replay.Replay]:
        return [
            replay.Replay(configuration.load("pflog", each), evidence=False, lines=False)
            for each in settings
        ]

    def bans(one: replay.Replay) -> list[tuple[object, ...]]:
        return [
            (ban.source, ban.number, ban.time, ban.end, ban.first, ban.packets, ban.prevented)
            for ban in one.bans
        ]

    together = load()
    feeds = groups.group_by_maxretry(configuration, "pflog", settings, together)
    assert len(feeds) == 2
    assert all(isinstance(feed, groups.MaxretryGroup) for feed in feeds)
    run.Run(together, feeds).read(Captures([path], pytest.fail))
    for mine, alone in zip(together, load()):
        run.Run([alone]).read(Captures([path], pytest.fail))
        assert len(bans(alone)) > 50
        assert max(ban.number for ban in alone.bans) > 1
        assert bans(mine) == bans(alone)


@pytest.mark.parametrize("ignored", ["", "2001:db8:1:1::dead"])
def test_group_of_networks(tmp_path: Path, ignored: str) -> None:
    """With prefix6 networks are banned in groups as alone; also one whose addresses are banned
    alone because it holds an ignored one."""
    dice = random.Random(3)
    records = [
        (BEGIN + index / 3, syn6(f"2001:db8:{index % 3}:1::{dice.randrange(4):x}", index + 1))
        for index in range(900)
    ]
    path = str(write(tmp_path / "networks", records))
    common = {"backend": "pflog[prefix6=64, distinct=port]", "bantime": "20", "ignoreip": ignored}
    settings = [{**common, "maxretry": maxretry} for maxretry in ("5", "10", "40")]
    configuration = Configuration(CONFIG)

    def load() -> list[replay.Replay]:
        return [replay.Replay(configuration.load("pflog", each)) for each in settings]

    together = load()
    feeds = groups.group_by_maxretry(configuration, "pflog", settings, together)
    assert len(feeds) == 1
    run.Run(together, feeds).read(Captures([path], pytest.fail))
    for mine, alone in zip(together, load()):
        run.Run([alone]).read(Captures([path], pytest.fail))
        assert [(ban.source, ban.time) for ban in mine.bans] == [
            (ban.source, ban.time) for ban in alone.bans
        ]
        assert {f"2001:db8:{index}:1::/64" for index in (0, 2)} <= {ban.source for ban in mine.bans}
        assert mine.prevented == alone.prevented


def test_no_group_where_maxretry_shows() -> None:
    """A jail with another option that is made of maxretry is replayed by itself."""
    configuration = Configuration(CONFIG)
    settings = [{"maxretry": maxretry, "findtime": "%(maxretry)sm"} for maxretry in ("5", "10")]
    replays = [replay.Replay(configuration.load("pflog", each)) for each in settings]
    assert groups.group_by_maxretry(configuration, "pflog", settings, replays) == replays


@pytest.mark.parametrize("jobs", [1, 2, 3, 5])
def test_shares_keep_groups_together(jobs: int) -> None:
    """Every setting is in one share, and few groups are cut."""
    every = sweep.combinations(["maxretry=5..9", "findtime=1m,5m", "mode=normal,any"])
    parts = sweep.shares(every, jobs)
    assert sorted(index for part in parts for index in part) == list(range(20))
    held = [{(every[index]["findtime"], every[index]["mode"]) for index in part} for part in parts]
    assert sum(map(len, held)) <= 4 + jobs - 1


def test_jail_of_backend_options(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of the backend are swept by their names; the jail that is printed has them where
    jail.local has them, in ``backend``."""
    axes = ["--trust", "192.0.2.1", "--sweep", "distinct=none,host", "mode=normal", "--"]
    assert main(command(*axes, capture)) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  \* +none +normal +2 +1 +1 +0", out, re.MULTILINE)
    pasted = out.split("For jail.local:")[1]
    backend = "pflog[distinct=none, mode=normal, hold=%(maxretry)s, prefix6=64]"
    assert f"\nmode = normal\nbackend = {backend}\n" in pasted
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    (config / "jail.local").write_text(pasted)
    main(["backtest", "--json", "--config", str(config), "--jail", "pflog", str(capture)])
    (found,) = json.loads(capsys.readouterr().out)["jails"]
    assert found["options"]["backend"] == "pflog[distinct=none, mode=normal, prefix6=64]"
    assert len(found["bans"]) == 2
