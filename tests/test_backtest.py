"""Backtests: the same bans as a real server, whatever the captures are packed in."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from fail2ban_pflog.errors import PflogError
from tests.f2b import Server, wait_for
from tests.pflogs import DATA, record, savefile_header, shifted, syn, syn6

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest import family, jails, judge, report, run, survey, sweep
from fail2ban_pflog.backtest.captures import Captures
from fail2ban_pflog.backtest.pcapng import PcapngDecoder
from fail2ban_pflog.cli import main

CONFIG = Path(__file__).resolve().parent.parent / "config"
SCRUB = DATA / "labelled/scrub.live.pcap"
BYSTANDERS = DATA / "labelled/bystanders.live.pcap"
BEGIN = 1_790_000_000.0
SCANNER, RETRY = "203.0.113.7", "198.51.100.9"


def command(*words: object) -> list[str]:
    """A backtest of the shipped jail pflog, with the package's configuration."""
    return ["backtest", "--config", str(CONFIG), "--jail", "pflog", *map(str, words)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A scanner of 40 ports among a client that tries one port 40 times."""
    records = [
        *scan_records(SCANNER, range(1, 41), BEGIN),
        *((BEGIN + 0.5 + index, syn(RETRY, 25, index)) for index in range(40)),
    ]
    return write(tmp_path / "pflog", records)


def scan_records(source: str, ports: range, begin: float) -> list[tuple[float, bytes]]:
    return [(begin + index * 0.5, syn(source, port)) for index, port in enumerate(ports)]


def write(path: Path, records: list[tuple[float, bytes]]) -> Path:
    path.write_bytes(savefile_header() + b"".join(record(*each) for each in sorted(records)))
    return path


def pcapng(records: list[tuple[float, bytes]], order: str = "<", units: int = 6) -> bytes:
    """A pcapng file: section, one interface of pflog's link type, enhanced packets."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    option = struct.pack(order + "HHB3xHH", 9, 1, units, 0, 0)
    interface = block(1, struct.pack(order + "HxxI", 117, 0) + option)
    packets = b""
    for when, frame in records:
        ticks = round(when * 10**6) * 10 ** (units - 6)
        head = struct.pack(
            order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
        )
        packets += block(6, head + frame)
    return section + interface + packets


def result(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What ``--json`` says of the first jail."""
    main(command("--json", *words))
    first: dict[str, Any] = json.loads(capsys.readouterr().out)["jails"][0]
    return first


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
    """A source is judged again once its ban is over, and its second ban is longer."""
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


def test_waiting_changes_no_verdict(tmp_path: Path) -> None:
    """Packets of sources that cannot be banned yet may wait: bans stay the same, to the packet."""
    path = str(write(tmp_path / "many", many_sources(300, 20_000)))
    found = []
    for waits in (True, False):
        configuration = jails.Configuration(CONFIG)
        settings = {"maxretry": "5", "bantime": "200", "bantime.increment": "true"}
        one = run.Run([judge.Judge(configuration.load("pflog", settings))])
        assert one._waiting is not None
        if not waits:
            one._waiting = None
        one.read(Captures([path], pytest.fail))
        (outcome,) = one.results(run.Trust([]))
        bans = [(ban.source, ban.time, ban.end, ban.failures, ban.ports) for ban in outcome.bans]
        found.append((bans, outcome.prevented, outcome.close))
    assert len(found[0][0]) > 20
    assert found[0] == found[1]


def test_waiting_forgets_nothing_early(tmp_path: Path) -> None:
    """A port that the distinct table still knows is a repeat, however few packets came before."""
    records = [(BEGIN, syn(SCANNER, 22))]
    records += scan_records(SCANNER, range(22, 27), BEGIN + 800)  # after 2.7 times findtime
    records += [(BEGIN + index / 20, syn(RETRY, 25)) for index in range(16_000)]
    path = str(write(tmp_path / "slow", records))
    settings = {"maxretry": "5", "findtime": "5m"}
    one = judge.Judge(jails.Configuration(CONFIG).load("pflog", settings))
    run.Run([one]).read(Captures([path], pytest.fail))
    assert [(close.source, close.reached) for close in one.close] == [(SCANNER, 4)]


def many_sources(count: int, span: float) -> list[tuple[float, bytes]]:
    """Packets to few and many ports, at all gaps that findtime and the distinct table know."""
    rnd = random.Random(3)
    records = []
    for number in range(count):
        source = f"203.0.113.{number % 250}" if number % 3 else f"198.51.100.{number % 250}"
        gaps = rnd.choice(((0.1,), (5,), (61,), (290,), (700,), (0.1, 5, 290, 700, 950)))
        when = BEGIN + rnd.uniform(0, span)
        for index in range(rnd.randrange(1, 30)):
            records.append((when, syn(source, rnd.choice((22, 23, 25, 80 + index)))))
            when += rnd.choice(gaps)
    return records


def test_no_bystander_is_banned(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped jail bans nobody among honest hosts alone."""
    assert result(capsys, BYSTANDERS)["bans"] == []


# -- captures ---------------------------------------------------------------------------


def test_packed_captures(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file is packed in shows in its first bytes, and makes no difference."""
    data = capture.read_bytes()
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    expected = result(capsys, capture)
    for name, pack in packed.items():
        path = tmp_path / f"packed-{name}"
        path.write_bytes(pack(data))
        assert result(capsys, path) == expected


def test_zstd(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """zstd is read by Python's own library or the package zstandard."""
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "pflog.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(capture.read_bytes()))
    assert result(capsys, path) == result(capsys, capture)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("units", [6, 9])
def test_pcapng(order: str, units: int) -> None:
    """pcapng in both byte orders and units of time, fed whole and byte by byte."""
    records = scan_records(SCANNER, range(1, 6), BEGIN)
    data = pcapng(records, order, units)
    expected = [(int(when), round(when % 1 * 1e6), frame) for when, frame in records]
    whole, bytewise = PcapngDecoder(), PcapngDecoder()
    assert whole.feed(data) == expected
    assert [each for byte in data for each in bytewise.feed(bytes((byte,)))] == expected
    assert (whole.byteorder, whole.pending, bytewise.pending) == (order, 0, 0)


def test_pcapng_noise() -> None:
    """Noise and cut files are records or our own error, never anything else."""
    rnd = random.Random(5)
    good = pcapng(scan_records(SCANNER, range(1, 6), BEGIN))
    for _ in range(3000):
        data = bytearray(good[: rnd.randrange(len(good))])
        for _ in range(rnd.randrange(6)):
            if data:
                data[rnd.randrange(len(data))] = rnd.randrange(256)
        decoder = PcapngDecoder()
        try:
            decoder.feed(bytes(data))
            decoder.feed(b"")
        except PflogError:
            pass


@pytest.mark.skipif(not shutil.which("editcap"), reason="needs editcap")
def test_pcapng_of_wireshark(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pcapng file that Wireshark's editcap wrote is read as the savefile is."""
    path = tmp_path / "pflog.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", capture, path], check=True, timeout=60)
    assert result(capsys, path) == result(capsys, capture)


def test_merged_by_time(tmp_path: Path) -> None:
    """Packets of several files come in the order of their times, whatever the files' order."""
    rnd = random.Random(7)
    times = sorted(BEGIN + rnd.uniform(0, 100) for _ in range(900))
    parts: list[list[tuple[float, bytes]]] = [[], [], [], []]
    for index, when in enumerate(times):
        part = 3 if index > 700 else rnd.randrange(3)
        parts[part].append((when, syn(SCANNER, 1 + index)))
    names = [str(write(tmp_path / f"part{index}", part)) for index, part in enumerate(parts)]
    captures = Captures(reversed(names), pytest.fail)
    merged = [each for batch in captures for each in batch.records]
    assert [each[:2] for each in merged] == sorted(each[:2] for each in merged)
    assert len(merged) == 900
    assert captures.done == captures.size


def test_damaged_and_foreign(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged or foreign file is named, the good ones are judged, the status tells."""
    foreign = tmp_path / "foreign"
    foreign.write_text("no savefile at all, but a text\n")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(capture.read_bytes())[:-40])
    status = main(command("--json", foreign, cut, capture, tmp_path / "missing"))
    out, err = capsys.readouterr()
    assert status == 4
    assert json.loads(out)["jails"][0]["packets"] >= 80
    for name in (foreign, cut, tmp_path / "missing"):
        assert str(name) in err


# -- trust, settings, words -------------------------------------------------------------


def test_trusted_sources(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trusted source that would be banned is listed and makes the exit status 1."""
    listed = tmp_path / "trusted"
    listed.write_text("# our own\n\n203.0.113.0/28 # the office\n")
    assert main(command("--trust", listed, capture)) == 1
    assert "Trusted sources that would be banned" in capsys.readouterr().out
    assert main(command("--trust", RETRY, capture)) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trust", "nonsense"], "nonsense"),
        (["--set", "maxrety=3"], "no option maxrety"),
        (["--set", "filter=nosuch"], "nosuch"),
        (["--set", "backend=pflog[distinct=prot]"], "distinct"),
        (["--sweep", "maxretry=9..3"], "9..3"),
        (["--plot", "picture.doc"], ".svg"),
    ],
)
def test_wrong_usage(
    words: list[str], told: str, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with settings is told in one message; the status is 2."""
    assert main(command(*words, "--", capture)) == 2
    assert told in capsys.readouterr().err


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


def test_csv(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV has one line per ban."""
    main(command("--csv", capture))
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("jail,source,number,began")
    assert [row.split(",")[1] for row in rows] == [SCANNER]


def test_words() -> None:
    """Spans and ports are told shortly."""
    assert [report.duration(value) for value in (0.25, 59, 5400, -1)] == [
        "0.2s", "59s", "1h30m", "ever",
    ]  # fmt: skip
    assert report.ranges([443, 21, 22, 23, 80]) == "21-23, 80, 443"


def test_census() -> None:
    """Sources are counted exactly, and when there are many, well enough in little memory."""
    census = survey.Census()
    for number in range(300_000):
        census.add(struct.pack("!I", number))
        census.add(struct.pack("!I", number // 2))
        if number == survey.MAX_TOLD_APART - 1:
            assert census.count == survey.MAX_TOLD_APART
    assert census.count > survey.MAX_TOLD_APART
    assert abs(census.count - 300_000) < 3_000


def test_timeline_is_bounded() -> None:
    """A time line never holds more bars than it may, and loses nothing."""
    line = survey.Timeline()
    for number in range(100_000):
        line.add(BEGIN + number * 7)
    assert len(line.bins) <= survey.MAX_BINS
    assert sum(line.bins.values()) == 100_000


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_plot_and_page(
    tmp_path: Path, capture: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures are drawn, and the page holds everything itself."""
    pytest.importorskip("matplotlib")
    picture, page = tmp_path / f"plot.{suffix}", tmp_path / "page.html"
    assert main(command("--plot", picture, "--html", page, capture)) == 0
    capsys.readouterr()
    assert picture.stat().st_size > 1000
    text = page.read_text()
    assert "<svg" in text
    assert SCANNER in text
    assert not re.search(r'(?:src|href)="(?!#)', text)


# -- sweep ------------------------------------------------------------------------------


def test_combinations() -> None:
    """Ranges, lists and steps multiply."""
    assert sweep.combinations(["maxretry=5..7", "mode=normal,any"]) == [
        {"maxretry": str(number), "mode": mode}
        for number in (5, 6, 7)
        for mode in ("normal", "any")
    ]
    assert len(sweep.combinations(["maxretry=5..30..5"])) == 6


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


def test_family_is_as_each_alone(tmp_path: Path) -> None:
    """Jails that differ in maxretry alone are counted as one, and each comes to the bans that
    it comes to by itself: first ones, later and longer ones, over days."""
    path = str(write(tmp_path / "days", many_sources(800, 90_000)))
    common = {"bantime": "200", "bantime.increment": "true", "bantime.maxtime": "1h"}
    settings = [
        {**common, "maxretry": maxretry, "findtime": findtime}
        for maxretry in ("7", "1", "4")
        for findtime in ("1m", "10m")
    ]
    configuration = jails.Configuration(CONFIG)

    def load() -> list[judge.Judge]:
        return [
            judge.Judge(configuration.load("pflog", each), ports=False, lines=False)
            for each in settings
        ]

    def bans(judge_: judge.Judge) -> list[tuple[object, ...]]:
        return [
            (ban.source, ban.number, ban.time, ban.end, ban.first, ban.packets, ban.prevented)
            for ban in judge_.bans
        ]

    together = load()
    feeds = family.families(configuration, "pflog", settings, together)
    assert len(feeds) == 2
    assert all(isinstance(feed, family.Family) for feed in feeds)
    run.Run(together, feeds, close=False).read(Captures([path], pytest.fail))
    for mine, alone in zip(together, load()):
        run.Run([alone], close=False).read(Captures([path], pytest.fail))
        assert len(bans(alone)) > 50
        assert max(ban.number for ban in alone.bans) > 1
        assert bans(mine) == bans(alone)


def test_family_of_networks(tmp_path: Path) -> None:
    """What bans the network of a source is one source to the family, too."""
    records = [
        (BEGIN + index, syn6(f"2001:db8:{index % 3}:1::{index:x}", index + 1))
        for index in range(200)
    ]
    path = str(write(tmp_path / "networks", records))
    settings = [
        {"maxretry": maxretry, "backend": "pflog[prefix6=64]", "bantime": "20"}
        for maxretry in ("5", "10", "40")
    ]
    configuration = jails.Configuration(CONFIG)
    together = [judge.Judge(configuration.load("pflog", each)) for each in settings]
    feeds = family.families(configuration, "pflog", settings, together)
    run.Run(together, feeds).read(Captures([path], pytest.fail))
    for each, mine in zip(settings, together):
        alone = judge.Judge(configuration.load("pflog", each))
        run.Run([alone]).read(Captures([path], pytest.fail))
        assert [(ban.source, ban.time) for ban in mine.bans] == [
            (ban.source, ban.time) for ban in alone.bans
        ]
        assert {ban.source for ban in mine.bans} == {
            f"2001:db8:{index}:1::/64" for index in range(3)
        }
        assert mine.prevented == alone.prevented


def test_no_family_where_maxretry_shows() -> None:
    """A jail with another option that is made of maxretry is judged by itself."""
    configuration = jails.Configuration(CONFIG)
    settings = [{"maxretry": maxretry, "findtime": "%(maxretry)sm"} for maxretry in ("5", "10")]
    judges = [judge.Judge(configuration.load("pflog", each)) for each in settings]
    assert family.families(configuration, "pflog", settings, judges) == judges


@pytest.mark.parametrize("jobs", [1, 2, 3, 5])
def test_shares_keep_families_together(jobs: int) -> None:
    """Every setting is in one share, and few families are in two."""
    settings = sweep.combinations(["maxretry=5..9", "findtime=1m,5m", "mode=normal,any"])
    parts = sweep.shares(settings, jobs)
    assert sorted(index for part in parts for index in part) == list(range(20))
    held = [
        {(settings[index]["findtime"], settings[index]["mode"]) for index in part} for part in parts
    ]
    assert sum(map(len, held)) <= 4 + jobs - 1


def test_sweep_marks_what_trusts(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Marked is the setting that bans the scanner soonest, and no trusted source; there may
    be none, which makes the exit status 1."""
    words = ["--trust", RETRY, "--sweep", "maxretry=5,30", "mode=normal"]
    words += ["backend=pflog[distinct=none]", "--"]
    assert main(command(*words, capture)) == 1
    assert "No setting bans anybody without" in capsys.readouterr().out
    words = ["--trust", RETRY, "--sweep", "maxretry=5,10", "--"]
    assert main(command(*words, capture)) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  \* +5 +1 +0 +0", out, re.MULTILINE)
    assert "[pflog]\nenabled = true\nmaxretry = 5\n" in out


# -- explain ----------------------------------------------------------------------------


def explained(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    main(["explain", "--config", str(CONFIG), "--jail", "pflog", *words, str(path)])
    return capsys.readouterr().out


def test_explain_a_source(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each packet of a source it says what came of it, from the first to the ban."""
    out = explained(capsys, capture, "--source", SCANNER)
    assert out.count("-> ") == 40
    assert "counter: 14 of 15" in out
    assert f"-> {SCANNER} is banned for 1h" in out
    assert out.count("-> prevented") == 25
    out = explained(capsys, capture, "--source", RETRY)
    assert out.count("a repeat") == 39


def test_explain_a_packet(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a packet that is let be it says why."""
    out = explained(capsys, SCRUB, "--packet", "251")
    assert out.startswith("251: ")
    assert "mode=aggressive counts it" in out
