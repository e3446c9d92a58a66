# SPDX-License-Identifier: GPL-2.0-or-later
"""The advice of a sweep: it hits nobody blindly, and says whom to look at."""

from __future__ import annotations

import json
import re
from array import array
from pathlib import Path
from typing import Any

import pytest

from lab import evaluate
from tests.support.backtests import (
    BEGIN,
    BYSTANDERS,
    CONFIG,
    RETRY,
    SCANNER,
    command,
    scan_records,
    write,
)
from tests.support.pflogs import DATA, syn, syn6

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay import replay as judge
from fail2ban_pflog.backtest.replay import run
from fail2ban_pflog.backtest.replay.configuration import Configuration
from fail2ban_pflog.backtest.replay.profile import PLAIN_HOSTS, Profile, Profiles
from fail2ban_pflog.backtest.replay.settings import Outcome
from fail2ban_pflog.backtest.report.advice import Advice, Doubtful, distance
from fail2ban_pflog.backtest.report.sweep import how_it_differs
from fail2ban_pflog.cli import main
from fail2ban_pflog.policy.kinds import LATE_ANSWER, SYN, Kind
from fail2ban_pflog.sources.captures import Captures

TCP_22 = array("I", [6 << 17 | 23])

# -- the decision ---------------------------------------------------------------------------


def profile(plain: bool, reason: Kind = SYN) -> Profile:
    """A source with ten packets of one reason."""
    return Profile(10, TCP_22, 10, False, {reason: 10}, 0, 10, 10, plain)


def outcome(maxretry: int, banned: str, mode: str = "normal", trusted: str = "") -> Outcome:
    """A setting that bans sources of one letter each, those in ``trusted`` among them."""
    settings = {"maxretry": str(maxretry), "mode": mode}
    delays = dict.fromkeys(banned + trusted, 1.0)
    return Outcome(settings, mode, len(delays), 0, 0.0, delays, list(trusted))


def advise(outcomes: list[Outcome], knows_trust: bool = True, own: int = 15) -> Advice:
    """Advice on settings; sources in capital letters plainly scan, ``l`` sends late answers."""
    names = {source for each in outcomes for source in each.delays} | {"A", "B"}
    profiles = {
        source: profile(source.isupper(), LATE_ANSWER if source == "l" else SYN) for source in names
    }
    trust = run.Trust(["192.0.2.1"] if knows_trust else [])
    return Advice(outcomes, profiles, trust, {"maxretry": str(own), "mode": "normal"})


def test_the_most_scanners_then_the_fewest_doubtful() -> None:
    """The mark goes to the setting that bans all that plainly scan, of these to that with the
    fewest doubtful."""
    advice = advise([outcome(5, "ABxy"), outcome(10, "ABx"), outcome(15, "A")])
    assert advice.best == 1
    assert [advice.found(index) for index in range(3)] == [2, 2, 1]
    assert [advice.doubtful(index) for index in range(3)] == [2, 1, 0]
    assert "bans all 2 sources that plainly scan, and 1 that may be honest: look" in advice.sentence


def test_ties_go_to_what_the_jail_says() -> None:
    """Of settings that are as good, the mark goes to the one nearest to the jail's own."""
    settings = [outcome(number, "AB") for number in (5, 10, 20, 100)]
    assert advise(settings).best == 2
    assert advise(settings, own=7).best == 0
    assert advise(settings, own=100).best == 3


def test_any_is_never_marked() -> None:
    """Mode any counts what honest hosts send, however many scanners it finds."""
    advice = advise([outcome(15, "A"), outcome(15, "AB", "any")])
    assert advice.best == 0
    advice = advise([outcome(15, "AB", "any")])
    assert advice.best is None
    assert "mode=any, which jails that read text have, counts what honest hosts" in advice.sentence


def test_no_trust_no_doubtful() -> None:
    """As long as nobody said whom not to hit, no setting that bans a doubtful source is marked."""
    settings = [outcome(5, "ABx"), outcome(15, "A")]
    assert advise(settings, knows_trust=True).best == 0
    advice = advise(settings, knows_trust=False)
    assert advice.best == 1
    assert advice.sentence.endswith("It was not told whom it must not ban: --trust.")
    advice = advise(settings[:1], knows_trust=False)
    assert advice.best is None
    assert "each bans sources that may be honest" in advice.sentence


def test_nobody_scans() -> None:
    """Of honest hosts alone nothing can be learned, with or without trust."""
    for knows_trust in (True, False):
        advice = advise([outcome(5, "xy"), outcome(15, "")], knows_trust)
        advice.scanners.clear()
        assert advice.best is None


def test_none_is_clean() -> None:
    """Where each setting bans a trusted source it is told which ones, and which setting the
    fewest."""
    advice = advise([outcome(5, "AB", trusted="tu"), outcome(30, "A", trusted="t")])
    assert advice.best is None
    assert "The fewest are banned by maxretry=30 mode=normal, 1: t. " in advice.sentence
    assert advice.trusted == {"t": [0, 1], "u": [0]}


def test_whom_to_look_at_first() -> None:
    """First whom the marked setting bans, and of them whom the policy names honest; last whom
    mode any alone bans."""
    advice = advise([outcome(5, "ABxyz"), outcome(10, "ABxl"), outcome(5, "ABxyzlm", "any")])
    assert advice.best == 1
    assert [each.source for each in advice.look_at] == ["l", "x", "y", "z", "m"]
    x = advice.look_at[1]
    assert (advice.outcomes[x.strictest].settings["maxretry"], x.by) == ("10", 3)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [("15", "15", 0), ("300", "5m", 0), ("30", "15", 0.693), ("any", "normal", 1), ("0", "5", 1)],
)
def test_distance(one: str, other: str, apart: float) -> None:
    """Numbers and times are as far apart as their ratio, other values by one."""
    assert distance({"x": one}, {"x": other}) == pytest.approx(apart, abs=0.001)


# -- who plainly scans ----------------------------------------------------------------------


def profiles_of(path: Path) -> dict[str, Profile]:
    """Profiles of a capture's sources."""
    profiles = Profiles()
    jail = judge.Judge(Configuration(CONFIG).load("pflog", {}))
    run.Run([jail], profiles=profiles).read(Captures([str(path)], pytest.fail))
    return profiles.all()


@pytest.mark.parametrize(
    ("form", "not_found"),
    [("live", {"203.0.113.66"}), ("pflogd", {"203.0.113.66", "203.0.113.37"})],
)
def test_no_honest_host_plainly_scans(form: str, not_found: set[str]) -> None:
    """Of all labelled captures none that is honest, or debatable, is held for a scanner, and all
    scanners are, but for those that docs/jails.md says no jail finds, and sweeps of few hosts."""
    missed = set()
    plain = 0
    for stem in evaluate.stems(map(str, (DATA / "labelled", DATA / "labelled2", DATA / "lab"))):
        found = profiles_of(evaluate.savefile(stem, form))
        for source in evaluate.sources_of(stem):
            each = found.get(source.address)
            if each is not None and each.plain:
                plain += 1
                assert not source.honest, source
                assert source.kind != "debatable", source
            elif "pflog" in source.must_be_banned_by("aggressive") and not (
                source.kind == "sweep" and each is not None and each.hosts < PLAIN_HOSTS
            ):
                missed.add(source.address)
    assert missed == not_found
    assert plain > 100


def test_a_pause_divides(tmp_path: Path) -> None:
    """Who asks for a port a day does not plainly scan; whoever did once, does."""
    slow = [(BEGIN + 86_400 * day, syn(RETRY, 1 + day)) for day in range(30)]
    fast = [*scan_records(SCANNER, range(1, 20), BEGIN), (BEGIN + 80_000, syn(SCANNER, 25))]
    found = profiles_of(write(tmp_path / "month", [*slow, *fast]))
    assert found[SCANNER].plain
    assert not any(each.plain for source, each in found.items() if source != SCANNER)


def test_sweeps_and_monitoring(tmp_path: Path) -> None:
    """One port of 25 hosts is a scan, unless its source comes back to them."""
    hosts = [(number, f"10.99.{number}.2") for number in range(25)]
    once = [(BEGIN + number, syn(SCANNER, 22, target=host)) for number, host in hosts]
    again = [
        (BEGIN + 100 * turn + number, syn(RETRY, 22, target=host))
        for turn in range(3)
        for number, host in hosts
    ]
    found = profiles_of(write(tmp_path / "sweeps", [*once, *again]))
    assert found[SCANNER].plain
    assert not found[RETRY].plain
    assert how_it_differs(Doubtful(RETRY, found[RETRY], 0, 1)) == (
        "22/tcp on 25 hosts; few ports of many hosts, as monitoring asks for; "
        "it tries again, 75 packets in all; all from port 40000"
    )


def test_profiles_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of sources pushes no scanner's profile out."""
    monkeypatch.setattr("fail2ban_pflog.backtest.replay.profile.MAX_KNOWN", 50)
    flood = [
        (BEGIN + 20 + number / 100, syn(f"198.51.{number % 200}.{number // 200}", 25, turn))
        for number in range(2000)
        for turn in range(2)
    ]
    path = write(tmp_path / "flood", [*scan_records(SCANNER, range(1, 31), BEGIN), *flood])
    found = profiles_of(path)
    assert found[SCANNER].plain
    assert len(found) == 2001


# -- as it is printed -----------------------------------------------------------------------


def swept(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON of a sweep."""
    status = main(command("--json", *words))
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, told


@pytest.mark.parametrize("form", ["live", "pflogd"])
@pytest.mark.parametrize("trust", [[], ["--trust", "192.0.2.1"]])
def test_honest_hosts_alone(
    form: str, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of honest hosts alone no setting is recommended, no jail is printed, and the status is 1."""
    path = BYSTANDERS.with_name(f"bystanders.{form}.pcap")
    axes = ["--sweep", "maxretry=5,15", "mode=normal,any", "distinct=port,none", "--", path]
    status, told = swept(capsys, *trust, *axes)
    assert status == 1
    assert told["scanners"] == []
    assert not any(each["best"] for each in told["settings"])
    assert main(command(*trust, *axes)) == 1
    out = capsys.readouterr().out
    assert "nobody here plainly scans" in out
    assert "For jail.local" not in out
    assert not re.search(r"^[ !] \*", out, re.MULTILINE)
    assert re.search(
        r"^Look at these first, 5 of \d+ sources that may be honest$", out, re.MULTILINE
    )
    assert out.count("\n    the strictest of ") + out.count("\n    banned by ") == 5


def test_doubtful_are_told_with_how_they_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """They are exactly those of the laboratory whose label says that they are debatable; once
    they are trusted a setting is recommended."""
    path = DATA / "lab/lab.live.pcap"
    axes = ["--sweep", "maxretry=5,15", "mode=normal,aggressive", "--", path]
    status, told = swept(capsys, *axes)
    labels = json.loads((DATA / "lab/lab.labels.json").read_text())
    doubtful = {each["source"] for each in told["doubtful"]}
    assert status == 1
    assert doubtful == {source for source, label in labels.items() if label["kind"] == "debatable"}
    what = {each["source"]: each["what"] for each in told["doubtful"]}
    assert "few ports of many hosts, as monitoring asks for" in what["198.51.100.73"]
    trust = [word for source in doubtful for word in ("--trust", source)]
    assert main(command(*trust, *axes)) == 1
    out = capsys.readouterr().out
    assert "! 198.51.100.73  4 of 4 settings, the strictest: maxretry=15 mode=normal\n" in out
    ignored = ["--set", f"ignoreip={' '.join(doubtful)}"]
    status, told = swept(capsys, *ignored, *axes)
    assert status == 0
    (best,) = (each["settings"] for each in told["settings"] if each["best"])
    assert (best["maxretry"], best["mode"]) == ("15", "aggressive")
    assert told["doubtful"] == []


def test_an_empty_list_trusts_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of trusted networks in which there is none does not say whom not to hit."""
    nobody, somebody = tmp_path / "nobody", tmp_path / "somebody"
    nobody.write_text("# to be filled in\n")
    somebody.write_text("192.0.2.1\n")
    path = DATA / "lab/lab.live.pcap"
    for trusted, status in ((nobody, 1), (somebody, 0)):
        assert swept(capsys, "--trust", trusted, "--sweep", "maxretry=5", "--", path)[0] == status


def test_a_network_of_scanners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With prefix6 a scanner counts as banned when its network is."""
    records = [(BEGIN + port, syn6("2001:db8:6:1::7", port)) for port in range(1, 41)]
    path = write(tmp_path / "six", records)
    status, told = swept(capsys, "--sweep", "prefix6=64,128", "--", path)
    assert status == 0
    assert told["scanners"] == ["2001:db8:6:1::7"]
    assert [each["banned"] for each in told["settings"]] == [
        ["2001:db8:6:1::/64"], ["2001:db8:6:1::7"],
    ]  # fmt: skip
    assert [(each["scanners"], each["doubtful"]) for each in told["settings"]] == [(1, 0), (1, 0)]
