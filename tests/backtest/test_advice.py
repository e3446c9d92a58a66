# SPDX-License-Identifier: GPL-2.0-or-later
"""The advice of a sweep: it recommends nothing blindly, and lists the sources to look at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.backtests import BEGIN, BYSTANDERS, command, write
from tests.support.pflogs import DATA, syn6

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay.sweep import Outcome
from fail2ban_pflog.backtest.report.sweep import Advice, distance
from fail2ban_pflog.cli import main

LAB = DATA / "lab/lab.live.pcap"

# -- the decision ---------------------------------------------------------------------------


def outcome(maxretry: int, banned: str, mode: str = "normal", trusted: str = "") -> Outcome:
    """A setting that bans sources of one letter each, those in ``trusted`` among them."""
    settings = {"maxretry": str(maxretry), "mode": mode}
    delays = dict.fromkeys(banned + trusted, 1.0)
    return Outcome(settings, mode, len(delays), 0, 0.0, delays, list(trusted))


def advise(
    outcomes: list[Outcome], knows_trust: bool = True, own: int = 15, now: str = "AB"
) -> Advice:
    """Advice on settings; as configured the jail bans A and B."""
    return Advice(
        outcomes, outcome(own, now), {"maxretry": str(own), "mode": "normal"}, knows_trust
    )


def test_all_that_are_banned_now_then_the_fewest_besides() -> None:
    """The mark goes to the setting that bans all that the jail bans as configured, of these to
    that with the fewest others."""
    advice = advise([outcome(5, "ABxy"), outcome(10, "ABx"), outcome(15, "A")])
    assert advice.best == 1
    assert [advice.kept(index) for index in range(3)] == [2, 2, 1]
    assert [advice.besides(index) for index in range(3)] == [2, 1, 0]
    assert "bans all 2 sources that the jail bans as configured, and 1 besides" in advice.sentence


def test_ties_go_to_the_jail_s_own() -> None:
    """Of settings that are as good, the mark goes to the one nearest to the jail's own."""
    settings = [outcome(number, "AB") for number in (5, 10, 20, 100)]
    assert [advise(settings, own=own).best for own in (15, 7, 100)] == [2, 0, 3]


def test_any_is_never_marked() -> None:
    """Mode any counts what honest hosts send, however many sources it bans."""
    assert advise([outcome(15, "A"), outcome(15, "AB", "any")]).best == 0
    advice = advise([outcome(15, "AB", "any")])
    assert advice.best is None
    assert "mode=any, which jails that read text have, counts what honest hosts" in advice.sentence


def test_without_trust_nothing_is_banned_besides() -> None:
    """As long as no --trust says what must not be banned, no setting that bans other sources than
    the jail as configured is marked."""
    settings = [outcome(5, "ABx"), outcome(15, "A")]
    assert advise(settings, knows_trust=True).best == 0
    advice = advise(settings, knows_trust=False)
    assert advice.best == 1
    assert advice.sentence.endswith("No --trust says what must not be banned.")
    advice = advise(settings[:1], knows_trust=False)
    assert advice.best is None
    assert "each bans other sources than the jail as configured" in advice.sentence


@pytest.mark.parametrize("knows_trust", [True, False])
def test_nothing_to_compare_with(knows_trust: bool) -> None:
    """Where the jail bans no source as configured nothing is recommended, with or without trust."""
    advice = advise([outcome(5, "xy"), outcome(15, "")], knows_trust, now="")
    assert advice.best is None
    assert "as configured the jail bans no source here" in advice.sentence


def test_none_is_clean() -> None:
    """Where each setting bans a trusted source, these are named with the setting that bans the
    fewest."""
    advice = advise([outcome(5, "AB", trusted="tu"), outcome(30, "A", trusted="t")])
    assert advice.best is None
    assert "The fewest are banned by maxretry=30 mode=normal, 1: t. " in advice.sentence
    assert advice.trusted == {"t": [0, 1], "u": [0]}


def test_what_to_look_at_first() -> None:
    """First come the sources that the marked setting bans besides, then those that most settings
    ban, last those that mode any alone bans."""
    advice = advise([outcome(5, "ABxyz"), outcome(10, "ABxl"), outcome(5, "ABxyzlm", "any")])
    assert advice.best == 1
    assert [each.source for each in advice.look_at] == ["x", "l", "y", "z", "m"]
    x = advice.look_at[0]
    assert (advice.outcomes[x.strictest].settings["maxretry"], x.by) == ("10", 3)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [("15", "15", 0), ("300", "5m", 0), ("30", "15", 0.693), ("any", "normal", 1), ("0", "5", 1)],
)
def test_distance(one: str, other: str, apart: float) -> None:
    """Numbers and times are as far apart as their ratio, other values by one."""
    assert distance({"x": one}, {"x": other}) == pytest.approx(apart, abs=0.001)


# -- as it is printed -----------------------------------------------------------------------


def swept(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON of a sweep."""
    status = main(command("--json", *words))
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, found


@pytest.mark.parametrize("form", ["live", "pflogd"])
@pytest.mark.parametrize("trust", [[], ["--trust", "192.0.2.1"]])
def test_honest_hosts_alone(
    form: str, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of honest hosts alone no setting is recommended, no jail is printed, and the status is 1."""
    path = BYSTANDERS.with_name(f"bystanders.{form}.pcap")
    axes = ["--sweep", "maxretry=5,15", "mode=normal,any", "distinct=port,none", "--", path]
    status, found = swept(capsys, *trust, *axes)
    assert status == 1
    assert found["now"] == []
    assert not any(each["best"] for each in found["settings"])
    assert main(command(*trust, *axes)) == 1
    out = capsys.readouterr().out
    assert "bans no source here, so nothing shows" in " ".join(out.split())
    assert "For jail.local" not in out
    assert not re.search(r"^[ !] \*", out, re.MULTILINE)
    assert "\nBanned besides; explain --source shows what each did" in out
    rows = out.split("Banned besides")[1].count(" of 8 settings, the strictest: ")
    assert rows == min(20, len(found["besides"]))


def test_what_is_banned_besides(capsys: pytest.CaptureFixture[str]) -> None:
    """Sources that a setting bans besides those of the jail as configured are listed, with the
    strictest setting that does; trusted ones are listed by themselves."""
    axes = ["--sweep", "maxretry=5,15", "mode=normal,aggressive", "--", LAB]
    status, found = swept(capsys, *axes)
    assert status == 0
    by = {json.dumps(each["settings"]): each for each in found["settings"]}
    own = by['{"maxretry": "15", "mode": "normal"}']
    assert set(own["banned"]) == set(found["now"])
    assert (own["best"], own["missed"], own["besides"]) == (True, 0, 0)
    union = {source for each in found["settings"] for source in each["banned"]}
    besides = {each["source"]: each for each in found["besides"]}
    assert set(besides) == union - set(found["now"])
    assert all(each["strictest"] != own["settings"] for each in found["besides"])
    trust = ["--trust", "198.51.100.73"]
    assert main(command(*trust, *axes)) == 1
    out = capsys.readouterr().out
    assert "! 198.51.100.73  4 of 4 settings, the strictest: maxretry=15 mode=normal\n" in out
    assert "each bans trusted sources" in out


def test_the_jail_as_configured_is_replayed_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings are compared with the jail's own even where that is not among them."""
    _, found = swept(capsys, "--sweep", "maxretry=5,100", "--", LAB)
    assert len(found["settings"]) == 2
    low, high = found["settings"]
    assert low["besides"] > 0
    # A network of many addresses is banned after 100 targets as well.
    assert high["kept"] < high["missed"] == len(found["now"]) - high["kept"]


def test_an_empty_list_trusts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of trusted networks in which there is none does not say what must not be banned."""
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.write_text("# to be filled in\n")
    full.write_text("192.0.2.1\n")
    for trusted, status in ((empty, 1), (full, 0)):
        assert swept(capsys, "--trust", trusted, "--sweep", "maxretry=5", "--", LAB)[0] == status


def test_a_network_of_scanners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With prefix6 a source counts as banned when its network is."""
    records = [(BEGIN + port, syn6("2001:db8:6:1::7", port)) for port in range(1, 41)]
    path = write(tmp_path / "six", records)
    status, found = swept(capsys, "--sweep", "prefix6=64,128", "--", path)
    assert status == 0
    assert found["now"] == ["2001:db8:6:1::/64"]
    assert [each["banned"] for each in found["settings"]] == [
        ["2001:db8:6:1::/64"], ["2001:db8:6:1::7"],
    ]  # fmt: skip
    assert [(each["kept"], each["besides"]) for each in found["settings"]] == [(1, 0), (1, 0)]
