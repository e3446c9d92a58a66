# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is banned: the shipped jails, and the rules of others, on captures with labels.

Each capture is what a firewall dropped, whole as a live reader sees it and cut as pflogd
writes it: FreeBSD's (``labelled``), nftables' (``labelled2``, ``lab``: see lab/lab.py), and
made-up sources (lab/synthetic.py).  All are replayed by the backtest, which is fail2ban's
own code on the packets' clock; some also by a real fail2ban server, which must come to the
same bans.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

pytest.importorskip("fail2ban")

from fail2ban_pflog.pflog.savefile import FILE_HEADER_SIZE
from lab import asked, evaluate, labels, synthetic
from lab.evaders import WITHIN
from lab.evaluate import FORMS, JAILS, MODES, Source, network_of
from lab.scene import Scene
from tests.support import peers
from tests.support import server as f2b
from tests.support.packets import SYN, tcp
from tests.support.pflogs import record, shifted

REPO = Path(__file__).resolve().parents[2]
DATA = REPO / "tests/data"
REAL = (
    "labelled/bystanders",
    "labelled/scrub",
    "labelled2/trace",
    "labelled2/scan",
    "lab/lab",
    "lab/more",
)
SYNTHETIC = "synthetic"
SERVED = (("labelled/bystanders", "live", "aggressive"), ("lab/lab", "pflogd", "normal"))
"""What is given to a real server as well; each of these takes some seconds."""

NOT_FOUND = (
    # By design, docs/jails.md: nothing tells these from active FTP, media and late answers.
    ("", r"connect\(\) scan: (ports [1-6]\d{4}|60 of the|100 of all)|nmap .* -sT -p [1-6]\d{4}-"),
    ("", r"UDP scan from .*: ports [1-6]\d{4}"),
    ("", r"ACK sweep of \d+$"),
    # Of these too little is left in 116 bytes.
    ("pflogd", r"nmap -sY|SCTP .* scan, IPv6"),
    ("pflogd", r"--ip-options R"),
    ("pflogd", r"masscan SYN scan: (60 of the|100 of all|ports [1-6]\d{4}).*IPv6"),
    ("pflogd", r"masscan SYN sweep of [\d, ]+, IPv6|SYN scan from port \d+: ports 8000-8059, IPv6"),
    ("pflogd", r"connect\(\) (to (any|every|ports)|from port 20).*, IPv6"),
    ("pflogd", r"Linux SYN to ports 1024-65535.*, IPv6"),
)
"""(form or any, expression for what it did): scans that are not found."""

LAST = "192.0.2.99"

RECORDER = """
[Definition]
actionban = printf '%%s %%s\\n' <name> <ip> >> {folder}/verdicts
"""


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a capture is; the synthetic one is made at once."""
    made = tmp_path_factory.mktemp("captures") / SYNTHETIC
    synthetic.make(made)
    return lambda capture: made if capture == SYNTHETIC else DATA / capture


@pytest.fixture(scope="module")
def replayed(stem: Callable[[str], Path]) -> Callable[[str, str, str], list[Source]]:
    """What the shipped jails make of a capture in a form and mode, each replayed once."""

    @cache
    def replay(capture: str, form: str, mode: str) -> list[Source]:
        return evaluate.replay(stem(capture), form, JAILS, {"mode": mode})

    return replay


@pytest.fixture(scope="module")
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[Iterable[str]], None]]:
    """Print what was found behind all tests."""
    rows: list[str] = []
    yield rows.extend
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *rows, sep="\n")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("capture", [*REAL, SYNTHETIC])
def test_scanners_are_banned_and_nobody_else(
    replayed: Callable[[str, str, str], list[Source]],
    tell: Callable[[Iterable[str]], None],
    capture: str,
    form: str,
    mode: str,
) -> None:
    """No honest source is banned by any jail; every scan of 15 targets is found by [pflog].

    Scans and sweeps of ACK type are found in mode aggressive.
    """
    sources = replayed(capture, form, mode)
    tell([f"{capture}, {form}, {mode}: sources, and banned by {', '.join(JAILS)}"])
    tell(evaluate.table(sources, JAILS))
    shown = [source for source in sources if not is_not_found(source, form)]
    assert list(evaluate.wrong(shown, JAILS, mode)) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", MODES)
def test_hosts_that_were_asked(tmp_path: Path, mode: str, form: str) -> None:
    """No host that this host asked is banned where pf logs that; without it most are.

    An attacker that was asked is banned for what it sends besides.
    """
    stories = (*asked.STORIES, asked.scan_by_an_asked_host)
    synthetic.make(tmp_path / "with", 1, stories)
    sources = evaluate.replay(tmp_path / "with", form, JAILS, {"mode": mode})
    assert [source for source in sources if source.honest and source.banned] == []
    assert [source.banned for source in sources if not source.honest] == [set(JAILS)]
    silent = Scene(1)
    for story in stories:
        story(silent)
    dropped = [each for each in silent.dropped if not each.passed]
    labels.write(tmp_path / "without", dropped, silent.labels)
    banned = evaluate.replay(tmp_path / "without", form, JAILS, {"mode": mode})
    assert sum("pflog" in source.banned for source in banned) > len(banned) / 2


def is_not_found(source: Source, form: str) -> bool:
    return any(only in ("", form) and re.search(what, source.what) for only, what in NOT_FOUND)


def test_scanners_are_banned_soon(
    replayed: Callable[[str, str, str], list[Source]],
    tell: Callable[[Iterable[str]], None],
) -> None:
    """Half of the scanners are banned by their 15th target, nine of ten by their 20th.

    Those that know the rules and pay no price are by their 60th.
    """
    tried = sorted(
        source.tried
        for capture in REAL
        for source in replayed(capture, "live", "normal")
        if source.tried and ":" not in source.address  # several are of one /64
    )
    median, most = (tried[len(tried) * part // 100] for part in (50, 90))
    tell([f"targets until a ban by [pflog], live: median {median}, 90th percentile {most}"])
    assert median <= 15
    assert most <= 20
    for source in replayed(SYNTHETIC, "live", "normal"):
        assert source.kind != "evader" or 0 < source.tried <= WITHIN, source


@pytest.mark.parametrize(("capture", "form", "mode"), SERVED)
def test_a_server_bans_whom_the_backtest_bans(
    server: Callable[..., f2b.Server],
    replayed: Callable[[str, str, str], list[Source]],
    capture: str,
    form: str,
    mode: str,
) -> None:
    """Each jail bans the same sources when a real fail2ban reads the capture from a file."""
    sources = replayed(capture, form, mode)
    banned = banned_by_server(server(""), DATA / f"{capture}.{form}.pcap", mode)
    by_server = {
        # IPv6 sources are banned with their network.
        source.address: banned.get(source.address, set())
        | banned.get(network_of(source.address), set())
        for source in sources
    }
    assert by_server == {source.address: set(source.banned) for source in sources}


def banned_by_server(server: f2b.Server, capture: Path, mode: str) -> dict[str, set[str]]:
    """Let the shipped jails of a server read a capture; returns the jails that banned a source.

    The capture's times are shifted to now, and it is appended to a savefile that the jails
    follow.  Behind it comes one more scanner: once that is banned, all before it was read.
    """
    savefile = server.folder / "pflog"
    savefile.write_bytes(capture.read_bytes()[:FILE_HEADER_SIZE])
    (server.config / "action.d/verdicts.conf").write_text(RECORDER.format(folder=server.folder))
    server.jails(
        "".join(
            f"[{jail}]\nenabled = true\nmode = {mode}\nlogpath = {savefile}\n"
            "action = verdicts[name=%(__name__)s]\n"
            for jail in JAILS
        )
    )
    server.start()
    for jail in JAILS:
        wait_until_followed(server, jail, savefile)
    now = time.time()
    last = [record(now - 0.5, tcp(40000, port, SYN, LAST)) for port in range(100, 130)]
    with savefile.open("ab") as file:
        file.write(shifted(capture, now - 1)[FILE_HEADER_SIZE:] + b"".join(last))
    verdicts = server.folder / "verdicts"
    f2b.wait_for(
        lambda: verdicts.exists() and verdicts.read_text().count(LAST) == len(JAILS),
        f"the last scanner's ban; {server.output()[-2000:]}",
    )
    banned: dict[str, set[str]] = {}
    for line in verdicts.read_text().splitlines():
        jail, address = line.split()
        banned.setdefault(address, set()).add(jail)
    return banned


def wait_until_followed(server: f2b.Server, jail: str, savefile: Path) -> None:
    f2b.wait_for(lambda: "following" in server.status(jail).get(str(savefile), ""), jail)


# -- The rules of others --------------------------------------------------------------------


class Score(NamedTuple):
    """How a rule did: honest sources that it banned, scanners that it found, ACK types too."""

    bystanders: int
    scanners: int
    ack_type: int


def score(sources: Iterable[Source], banned: set[str]) -> Score:
    """Count what a rule banned of the sources that had packets dropped."""
    hit = [source for source in sources if source.address in banned]
    return Score(
        sum(source.honest for source in hit),
        sum("pflog" in source.must_be_banned_by("normal") for source in hit),
        sum(
            source.of_ack_type and "pflog" in source.must_be_banned_by("aggressive")
            for source in hit
        ),
    )


@pytest.mark.parametrize("form", FORMS)
def test_peers(
    stem: Callable[[str], Path],
    replayed: Callable[[str, str, str], list[Source]],
    tell: Callable[[Iterable[str]], None],
    form: str,
    tmp_path: Path,
) -> None:
    """This package bans fewer bystanders than others, and finds more, as README and docs say."""
    for name, captures in (("captures of real programs", REAL), ("made-up sources", [SYNTHETIC])):
        rules: dict[str, Score] = {}
        total = Score(0, 0, 0)
        for capture in captures:
            everybody = [each for each in evaluate.sources_of(stem(capture)) if each.packets]
            total = add(total, score(everybody, {each.address for each in everybody}))
            for rule, banned in {
                "pfasciilogd: 10 packets": peers.banned_by_text_rule(stem(capture), form, tmp_path),
                "CrowdSec: 15 TCP ports": peers.banned_by_crowdsec(stem(capture), form),
                **{
                    f"[pflog] {mode}": {
                        source.address
                        for source in replayed(capture, form, mode)
                        if "pflog" in source.banned
                    }
                    for mode in MODES
                },
            }.items():
                rules[rule] = add(rules.get(rule, Score(0, 0, 0)), score(everybody, banned))
        head = f"{name}, {form}"
        tell([f"{head:40}{'bystanders':>12}{'scanners':>12}{'ACK type':>12}"])
        tell([f"{'  all':40}" + "".join(f"{count:>12}" for count in total)])
        for rule, counts in rules.items():
            tell([f"{'  ' + rule:40}" + "".join(f"{count:>12}" for count in counts)])
        *others, normal, aggressive = rules.values()
        assert documented(head, {"all": total, **rules}) in (REPO / "docs/jails.md").read_text()
        if form == "live":
            proof = f"| **{normal.bystanders} of {total.bystanders}** | {normal.scanners} of"
            assert f"{proof} {total.scanners} |" in (REPO / "README.md").read_text()
        if form == "live" and captures is REAL:
            ancestor, migrating = others[0], (REPO / "docs/migrating.md").read_text()
            for what, number in (("bystanders", 0), ("scanners", 1)):
                counts = f"{ancestor[number]} | {normal[number]} |"
                assert f"| {what} banned, of {total[number]} | {counts}" in migrating
        assert all(normal.bystanders < other.bystanders for other in others)
        assert all(aggressive.bystanders < other.bystanders for other in others)
        assert normal.scanners > rules["CrowdSec: 15 TCP ports"].scanners


def test_debatable_hosts(replayed: Callable[[str, str, str], list[Source]]) -> None:
    """README says which of the hosts that its table leaves out are banned."""
    debatable = [
        source
        for capture in REAL
        for source in replayed(capture, "live", "normal")
        if source.kind == "debatable" and source.packets
    ]
    (banned,) = [source for source in debatable if "pflog" in source.banned]
    assert "checks of port 8080 of 30 hosts" in banned.what
    words = (
        f"Of {len(debatable)} hosts whose labels say debatable one is banned, a load balancer that"
    )
    assert f"{words} checks a\nclosed port of 30 hosts." in (REPO / "README.md").read_text()


def documented(head: str, rules: dict[str, Score]) -> str:
    """Make the table of docs/jails.md that has these figures."""
    rows = [f"| {head} | bystanders, traceroutes | scanners | scanners of ACK type |"]
    rows.append("| --- | --- | --- | --- |")
    for rule, counts in rules.items():
        rows.append(f"| {rule.replace('[pflog]', '`[pflog]`')} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


def add(one: Score, other: Score) -> Score:
    return Score(*(sum(pair) for pair in zip(one, other)))


def test_crowdsecs_bucket() -> None:
    """15 ports at once fill it, the 16th makes it overflow; one leaks in five seconds."""
    bucket = peers.Bucket()
    assert [bucket.overflows(0, port) for port in range(16)] == [False] * 15 + [True]
    slow = peers.Bucket()
    assert not any(slow.overflows(index * 5.0, port) for index, port in enumerate(range(100)))
    same = peers.Bucket()
    assert not any(same.overflows(0, 80) for _ in range(100))


def test_crowdsecs_bucket_is_forgotten() -> None:
    """After 80 seconds without a new port it starts anew, and all ports are new to it."""
    bucket = peers.Bucket()
    assert not any(bucket.overflows(0, port) for port in range(15))
    assert not bucket.overflows(79.9, 0)
    assert not any(bucket.overflows(80.0, port) for port in range(15))
