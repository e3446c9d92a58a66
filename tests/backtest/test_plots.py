# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures: what they show, that nothing in them hides anything else, that they stay small."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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
from tests.support.pflogs import DATA, syn, syn6

pytest.importorskip("fail2ban")
pytest.importorskip("matplotlib")

from matplotlib.collections import PathCollection

from fail2ban_pflog.backtest.replay import portmap as dots
from fail2ban_pflog.backtest.replay import replay as judge
from fail2ban_pflog.backtest.replay import run
from fail2ban_pflog.backtest.replay import statistics as survey
from fail2ban_pflog.backtest.replay.configuration import Configuration
from fail2ban_pflog.backtest.replay.settings import Outcome
from fail2ban_pflog.backtest.report import plots as pictures
from fail2ban_pflog.backtest.report.plots import cast, paper, ports, scales, span, sweep, threshold
from fail2ban_pflog.cli import main
from fail2ban_pflog.sources.captures import Captures

MINUTE, HOUR, DAY = 60, 3600, 86_400
NARROW, WIDE = 4.0, 7.2


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local time be nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def judged(*paths: Path, **settings: str) -> run.Result:
    """The result of the shipped jail pflog, with what pictures need."""
    configuration = Configuration(CONFIG)
    one = run.Run([judge.Judge(configuration.load("pflog", settings))], survey=True)
    one.read(Captures(map(str, paths), pytest.fail))
    return one.results(run.Trust([]))[0]


def drawn(picture: pictures.Picture, width: float) -> Any:
    """A figure with one picture."""
    with paper.printing():
        figure = paper.figure(width, picture.height(width), transparent=True)
        picture.draw(paper.Paper(figure, 0, picture.height(width)))
    return figure


def pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    """Each with the next."""
    return zip(items, items[1:])


def texts(figure: Any) -> list[str]:
    """All that can be read."""
    found = [*figure.texts]
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        found += [*axes.get_xticklabels(), *axes.get_yticklabels()]
        if axes.get_legend():
            found += axes.get_legend().get_texts()
    return [text.get_text() for text in found if text.get_visible()]


# -- time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "width", "words"),
    [
        (27, 1, "second"),
        (20 * MINUTE, 10, "10 seconds"),
        (3 * HOUR, MINUTE, "minute"),
        (DAY, 10 * MINUTE, "10 minutes"),
        (8 * DAY, HOUR, "hour"),
        (90 * DAY, DAY, "day"),
        (20 * 366 * DAY, 100 * DAY, "100 days"),
    ],
)
def test_bars_are_what_people_count_in(seconds: int, width: int, words: str) -> None:
    """Whatever the time span, a bar is a second, ten, a minute, ten, an hour, a day; nothing is
    lost, and there are no gaps."""
    line = survey.Timeline()
    for number in range(3_000):
        line.add(BEGIN + seconds * number / 3_000, number % 3 == 0)
    found, bars, outside = line.bars(span.MAX_BARS)
    assert (found, scales.per(found), outside) == (width, words, 0)
    assert len(bars) <= span.MAX_BARS
    assert (sum(low for _, low, _ in bars), sum(high for _, _, high in bars)) == (2_000, 1_000)
    assert {second[0] - first[0] for first, second in pairs(bars)} <= {width}


@pytest.mark.usefixtures("tokyo")
def test_days_are_local() -> None:
    """A bar of a day begins at midnight of the clock that the axis names."""
    line = survey.Timeline()
    for number in range(400):
        line.add(BEGIN + number * DAY / 4)
    width, bars, _ = line.bars(span.MAX_BARS)
    zone = scales.Zone.at(bars[0][0])
    assert (width, zone.words) == (DAY, "JST (UTC+9)")
    assert {f"{zone.moment(begin):%H:%M:%S}" for begin, _, _ in bars} == {"00:00:00"}


def test_a_clock_that_was_wrong(tmp_path: Path) -> None:
    """Some packets of 1970 do not stretch a picture over decades; it says that they are missing."""
    records = [(BEGIN + number / 10, syn(RETRY, 25, number)) for number in range(4_000)]
    strays = [(float(number), syn(RETRY, 25)) for number in range(3)]
    result = judged(write(tmp_path / "pflog", [*strays, *records]))
    every = pictures.of_jail(result)
    assert (
        "Not shown: 3 packets that came a month or more before or after all others."
        in every[0].words
    )
    (axes,) = drawn(every[1], WIDE).axes
    begin, end = axes.get_xlim()
    assert BEGIN - 10 <= begin < end <= BEGIN + 420


def test_few_packets_are_no_wrong_clock(tmp_path: Path) -> None:
    """The packets of a slow scanner hours before a flood are shown, however few they are."""
    flood = [(BEGIN + 86_400 + number / 100, syn(RETRY, 25, number)) for number in range(9_000)]
    slow = [(BEGIN + number * 3600, syn(SCANNER, number + 1)) for number in range(8)]
    result = judged(write(tmp_path / "pflog", [*slow, *flood]))
    assert result.survey.timeline.bars(span.MAX_BARS)[2] == 0
    assert "Not shown" not in pictures.of_jail(result)[0].words


@pytest.mark.parametrize(
    ("seconds", "pattern"),
    [
        (20, r"\d\d:\d\d:\d\d"),
        (2 * HOUR, r"\d\d:\d\d"),
        (DAY, r"\d\d:\d\d|\d+ \w{3}"),
        (9 * DAY, r"\d+ \w{3}"),
        (400 * DAY, r"\w{3} \d{4}"),
        (9_000 * DAY, r"\w{3} \d{4}|\d{4}"),
    ],
)
@pytest.mark.parametrize("most", [2, 8])
@pytest.mark.usefixtures("tokyo")
def test_time_axis(seconds: int, pattern: str, most: int) -> None:
    """Ticks are few, in order, within the axis, at round local times; the label names day and
    zone."""
    begin = BEGIN + 12_345.6
    ticks, label = scales.time_ticks(begin, begin + seconds, scales.Zone.at(begin), most)
    times = [time for time, _ in ticks]
    assert 1 <= len(ticks) <= most + 1
    assert times == sorted(set(times))
    assert begin <= times[0] <= times[-1] <= begin + seconds
    assert all(re.fullmatch(pattern, text) for _, text in ticks)
    assert label.endswith("time in JST (UTC+9)")
    assert seconds > 366 * DAY or "2026" in label


@pytest.mark.parametrize(
    ("offset", "name", "words"),
    [(0, "UTC", "UTC"), (-9000, "", "UTC-2:30"), (10_800, "+03", "UTC+3"), (0, "GMT", "GMT (UTC)")],
)
def test_zone(offset: int, name: str, words: str) -> None:
    """A zone is told by name where it has one, and always by its distance from UTC."""
    assert scales.Zone(offset, name).words == words


@pytest.mark.parametrize("highest", [0, 1, 3, 7, 49, 8_093, 1_234_567])
def test_count_axis(highest: int) -> None:
    """An axis of counts has whole numbers only, and not many."""
    ticks = scales.whole_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] <= highest
    assert len(ticks) <= 6
    assert highest < 5 or len(ticks) >= 3


# -- ports ------------------------------------------------------------------------------


def test_port_axis() -> None:
    """Every port has its place, lower ones more of it; what stands on the axis does not touch."""
    heights = [dots.height(port) for port in range(-1, 65_536)]
    assert heights == sorted(set(heights))
    assert (heights[0], heights[-1]) == (0, 1)
    assert 0.3 < dots.height(1024) < 0.4
    for room in (0.03, 0.06, 0.2):
        ticks = scales.port_ticks(room)
        assert (ticks[0][1], ticks[-1][1]) == ("no port", "65535")
        assert all(b - a >= room for (a, _), (b, _) in pairs(ticks))


def test_flood_forgets_no_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged sources without end are forgotten, not who has many targets; memory is bounded."""
    monkeypatch.setattr(dots, "MAX_SOURCES", 500)
    monkeypatch.setattr(dots, "MAX_KEPT", 3_000)
    found, rnd = dots.Dots(), random.Random(7)
    for number in range(20_000):
        when = BEGIN + number
        forged = found.add(when, rnd.randbytes(4), rnd.randrange(65_536), prevented=False)
        found.target(forged, number)
        if number % 100 == 0:
            found.target(found.add(when, b"scan", number % 1000, prevented=False), number)
        assert len(found.sources) <= 500
        assert sum(len(each.dots) + len(each.targets) for each in found.sources.values()) <= 3_000
    assert len(found.sources[b"scan"].targets) == 200
    assert len(found.columns) <= dots.COLUMNS
    assert sum(found.forgotten.values()) + len(found.sources) == 20_001


def test_few_sources_with_many_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nobody to forget, columns become wider."""
    monkeypatch.setattr(dots, "MAX_KEPT", 4_000)
    found, rnd = dots.Dots(), random.Random(7)
    for number in range(20_000):
        found.add(BEGIN + number / 100, b"scan", rnd.randrange(65_536), prevented=False)
        assert len(found.sources[b"scan"].dots) <= 4_000
    assert found.width > dots.FINEST
    shown = {dot >> 1 for dot in found.sources[b"scan"].dots}
    every = {
        column * dots.ROWS + row
        for column, rows in found.columns.items()
        for row in range(dots.ROWS)
        if rows >> row & 1
    }
    assert shown == every


def test_scan_is_seen(capture: Path) -> None:
    """The scanner has a colour: full dots up to its ban, hollow ones behind; a line and a
    triangle mark the ban, and the legend names it."""
    result = judged(capture)
    (axes,) = drawn(pictures.of_jail(result)[0], WIDE).axes
    (ban,) = result.bans
    mine = [each for each in axes.collections if isinstance(each, PathCollection)]
    hollow, full, others = mine
    assert (len(hollow.get_facecolors()), len(hollow.get_offsets())) == (0, 25)
    assert len(full.get_offsets()) == 15
    assert full.get_offsets()[:, 0].max() <= ban.time + 0.5 <= hollow.get_offsets()[:, 0].min() + 1
    assert len(others.get_offsets()) > 5
    (mark,) = (line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata()))
    assert mark.get_xdata()[0] == ban.time
    assert mark.get_color() == paper.SOURCES[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert re.fullmatch(rf"{SCANNER}: 40 targets, banned \d\d:\d\d:\d\d", legend[0])
    assert legend[-1] == "all others"


def test_who_escapes_has_a_colour_too(tmp_path: Path) -> None:
    """However many are banned, two colours are left for those with many targets who are not."""
    records = []
    for number in range(1, 12):
        records += scan_records(f"203.0.113.{number}", range(1, 40), BEGIN)
    records += [(BEGIN + index * 900, syn("192.0.2.99", 100 + index)) for index in range(30)]
    result = judged(write(tmp_path / "pflog", records))
    chosen = cast.choose(result, result.survey.dots)
    assert len(chosen.actors) == len(paper.SOURCES)
    assert [actor.name for actor in chosen.actors if not actor.bans] == ["192.0.2.99"]
    assert chosen.targets == {(True, 39): 11, (False, 30): 1}
    words = pictures.of_jail(result)[2].words
    assert "Right of the line, but not banned: 1 source with never 15 targets within 5m" in words


def test_networks_are_one_source(tmp_path: Path) -> None:
    """With prefix6 the addresses of a banned network are one source."""
    records = [
        (BEGIN + index, syn6(f"2001:db8:1:2::{index:x}", index + 1)) for index in range(1, 31)
    ]
    path = write(tmp_path / "pflog", records)
    result = judged(path, backend="pflog[distinct=port, mode=normal, prefix6=64]")
    (actor,) = cast.choose(result, result.survey.dots).actors
    assert (actor.name, actor.targets, len(actor.bans)) == ("2001:db8:1:2::/64", 30, 1)


def test_many_dots_stay_few(tmp_path: Path) -> None:
    """A scan of thousands of ports, and noise, make no picture that does not load."""
    rnd = random.Random(2)
    records = [(BEGIN + index / 50, syn(SCANNER, 1 + index)) for index in range(6_000)]
    records += [
        (BEGIN + rnd.random() * 120, syn(f"198.51.100.{rnd.randrange(250)}", rnd.randrange(65_536)))
        for _ in range(6_000)
    ]
    picture = pictures.of_jail(judged(write(tmp_path / "pflog", records)))[0]
    element = pictures.element(picture, WIDE, "a")
    assert element.count("<use ") < 4 * ports.MAX_DRAWN
    assert element.count("data:image/png;base64,") == 1
    assert len(element) < 500_000


# -- nothing hides anything ---------------------------------------------------------------

CAPTURES = {
    "scrub": SCRUB,
    "bystanders": BYSTANDERS,
    "lab": DATA / "lab/lab.live.pcap",
    "scan": DATA / "labelled2/scan.live.pcap.xz",
    "openbsd": DATA / "openbsd-7.8/block-all.live.pcap",
}


def check_layout(figure: Any) -> None:
    """Everything that can be read is within the figure; legend, axes and texts are apart."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    whole = figure.bbox
    read = []
    for axes in figure.axes:
        assert axes.get_xlabel() or not any(text.get_text() for text in axes.get_xticklabels())
        assert axes.get_ylabel()
        read += [axes.xaxis.label, axes.yaxis.label]
        read += [text for text in axes.texts if text.get_text()]
        read += [label for label in axes.get_xticklabels() if label.get_text()]
        read += [label for label in axes.get_yticklabels() if label.get_text()]
        if legend := axes.get_legend():
            box = legend.get_window_extent(renderer)
            assert not any(box.overlaps(each.get_window_extent(renderer)) for each in figure.axes)
            read += legend.get_texts()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer).padded(-1))
        for text in read
        if text.get_text()
    ]
    for text, box in boxes:
        assert whole.padded(1).contains(box.x0, box.y0), text
        assert whole.padded(1).contains(box.x1, box.y1), text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} over {other!r}"


@pytest.mark.parametrize("name", CAPTURES)
def test_nothing_overlaps(name: str) -> None:
    """On a screen and on a phone every text can be read: none over another, no legend over data,
    nothing cut off; every axis says what it is, and time in which zone."""
    for picture, width in itertools.product(
        pictures.of_jail(judged(CAPTURES[name])), (NARROW, WIDE)
    ):
        figure = drawn(picture, width)
        check_layout(figure)
        zone = time.strftime("%Z")
        assert any(f"time in {zone}" in text for text in texts(figure)) or "threshold" in (
            picture.title
        )


def test_long_names(tmp_path: Path) -> None:
    """Long IPv6 addresses fit, too."""
    name = "2001:db8:1111:2222:3333:4444:5555:{:04x}"
    records = [
        (BEGIN + index * (host + 1), syn6(name.format(0xAAAA + host), index + 1))
        for host in range(6)
        for index in range(30)
    ]
    for picture in pictures.of_jail(judged(write(tmp_path / "pflog", records))):
        check_layout(drawn(picture, NARROW))


def test_large_numbers(capture: Path) -> None:
    """Millions of packets and sources fit, too."""
    result = judged(capture)
    for counts in result.survey.timeline.bins.values():
        counts[0] *= 1_234_567
    picture = pictures.of_jail(result)[1]
    check_layout(drawn(picture, NARROW))
    crowd = cast.Cast([], Counter({(False, 1): 1_234_567, (True, 40): 1}))
    check_layout(drawn(threshold.threshold_picture(result, crowd), NARROW))


def test_bans_are_named_where_there_is_room(tmp_path: Path) -> None:
    """Bans at one time are one mark with their number; one that stands alone has its name."""
    records = scan_records(SCANNER, range(1, 30), BEGIN + 3000)
    for number in range(4):
        records += scan_records(f"198.51.100.{number}", range(1, 30), BEGIN + number)
    figure = drawn(pictures.of_jail(judged(write(tmp_path / "pflog", records)))[1], WIDE)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["4 sources", SCANNER]


# -- the threshold ------------------------------------------------------------------------


@pytest.mark.parametrize("maxretry", [1, 2, 5, 15, 100, 1000])
@pytest.mark.parametrize("highest", [1, 20, 5_000])
def test_bins(maxretry: int, highest: int) -> None:
    """Spans of targets leave nothing out, are few, and one begins at maxretry."""
    bins = scales.bins(maxretry, highest)
    assert bins[0][0] == 1
    assert bins[-1][1] == scales.NO_END
    assert all(high + 1 == low for (_, high), (low, _) in pairs(bins))
    assert maxretry in [low for low, _ in bins]
    assert len(bins) <= 9


def test_who_does_not_count(tmp_path: Path) -> None:
    """It is told how many sources have no place, for the mode counts nothing of them."""
    records = [*scan_records(SCANNER, range(1, 9), BEGIN), (BEGIN, syn(RETRY, 25, direction=2))]
    words = pictures.of_jail(judged(write(tmp_path / "pflog", records)))[2].words
    assert "Not here: 1 source of which the jail's mode counts nothing." in words


def test_left_of_the_threshold(tmp_path: Path) -> None:
    """Who is banned with fewer targets than maxretry is explained."""
    rounds = [(BEGIN + turn * 1000 + port, syn(SCANNER, port)) for turn in range(40) for port in
              range(1, 6)]  # fmt: skip
    path = write(tmp_path / "pflog", rounds)
    result = judged(path, maxretry="10", findtime="300", backend="pflog[distinct=port]")
    words = pictures.of_jail(result)[2].words
    assert ("Left of it, but banned: 1 source" in words) == bool(result.bans)
    chosen = cast.choose(result, result.survey.dots)
    assert chosen.targets == {(bool(result.bans), 5): 1}


# -- sweeps -----------------------------------------------------------------------------


def outcomes(**options: list[str]) -> list[Outcome]:
    """A sweep in which each next setting bans one source more; the third, one that is trusted."""
    return [
        Outcome(
            dict(zip(options, values)),
            "normal",
            number,
            number,
            number / 100,
            {f"203.0.113.{each}": 1.0 for each in range(number)},
            ["203.0.113.0"] if number == 2 else [],
        )
        for number, values in enumerate(itertools.product(*options.values()))
    ]


def test_two_options_are_a_map() -> None:
    """The cells hold how many are banned, those with trusted ones are hatched, the best framed."""
    every = outcomes(maxretry=["5", "10", "15"], findtime=["1m", "5m"])
    (picture,) = sweep.of_sweep(every, [4])
    for width in (NARROW, WIDE):
        figure = drawn(picture, width)
        check_layout(figure)
        (axes,) = figure.axes
        cells = [text.get_text() for text in axes.texts]
        assert sorted(cells) == ["0", "1", "2 (1)", "3", "4", "5"]
        assert {axes.get_xlabel(), axes.get_ylabel()} == {"maxretry", "findtime"}
        assert [bool(patch.get_hatch()) for patch in axes.patches].count(True) == 1
        assert [patch.get_fill() for patch in axes.patches].count(False) == 1
        light = [sum(patch.get_facecolor()[:3]) for patch in axes.patches if patch.get_fill()]
        assert light == sorted(light, reverse=True)


def test_one_option_is_a_line() -> None:
    """The values of one option are dots, joined only where something lies between them."""
    (picture,) = sweep.of_sweep(outcomes(maxretry=[str(number) for number in range(5, 40)]), [7])
    for width in (NARROW, WIDE):
        figure = drawn(picture, width)
        check_layout(figure)
        above, below = figure.axes
        assert list(above.lines[0].get_ydata()) == list(range(35))
        assert (above.get_ylabel(), below.get_xlabel()) == ("sources", "maxretry")
        assert above.lines[0].get_linestyle() == "-"
    (picture,) = sweep.of_sweep(outcomes(mode=["normal", "any"]), [])
    assert drawn(picture, WIDE).axes[0].lines[0].get_linestyle() == "None"


@pytest.mark.parametrize("count", [2, 40])
def test_long_and_many_values(count: int) -> None:
    """Long values are told apart by what is not common to them; of many not all are written."""
    backends = ["pflog[distinct=port, mode=normal, prefix6=64]", "pflog[distinct=host, mode=any]"]
    numbers = [str(number) for number in range(count)]
    for every in (
        outcomes(backend=backends, maxretry=numbers),
        outcomes(findtime=numbers, maxretry=numbers),
        outcomes(backend=backends),
    ):
        (picture,) = sweep.of_sweep(every, [1])
        for width in (NARROW, WIDE):
            figure = drawn(picture, width)
            assert figure.get_size_inches()[1] < 12
            check_layout(figure)
    assert scales.shortened(backends) == ["…port, mode=norma…", "…host, mode=any…"]
    assert scales.shortened(["5", "10"]) == ["5", "10"]


def test_three_options_are_maps() -> None:
    """For each value of a third option there is a map, which names it; nothing is no picture."""
    every = outcomes(
        mode=["normal", "any"], maxretry=["5", "10", "15"], findtime=["1m", "5m", "1h"]
    )
    assert [picture.title for picture in sweep.of_sweep(every, [])] == [
        "How many sources are banned, with mode normal",
        "How many sources are banned, with mode any",
    ]
    assert sweep.of_sweep(outcomes(maxretry=["5"]), []) == []


# -- colours, SVG, files ------------------------------------------------------------------


def lightness(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    """The ratio of two colours, 1 to 21."""
    low, high = sorted((lightness(one), lightness(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours() -> None:
    """Text can be read on paper and on dark screens; bars differ in lightness, sources in shape."""
    for text in (paper.INK, paper.QUIET):
        assert contrast(text, paper.PAPER) >= 4.5
        assert contrast(paper.DARK[text], paper.DARK[paper.PAPER]) >= 4.5
    for mark in (paper.LOGGED, paper.PREVENTED, *paper.SOURCES):
        assert contrast(paper.DARK[mark], paper.DARK[paper.PAPER]) >= 3
    assert contrast(paper.LOGGED, paper.PREVENTED) >= 3
    assert len(set(paper.SHAPES)) == len(paper.SOURCES)


def test_svg(capture: Path) -> None:
    """An SVG is well-formed, its text is text, a page needs no permission for its styles, ids do
    not meet those of another, and a dark screen has its own colours."""
    picture = pictures.of_jail(judged(capture))[0]
    first, second = (pictures.element(picture, WIDE, salt) for salt in "ab")
    root = ElementTree.fromstring(first)
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "443 https" in words
    assert any(SCANNER in (word or "") for word in words)
    assert "style=" not in first
    assert "<style" not in first
    assert root.find("{http://www.w3.org/2000/svg}title").text.startswith("1 source of 2")
    ids = [set(re.findall(r' id="([^"]+)"', element)) for element in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert f'fill="{paper.INK}"' in first
    assert f'[fill="{paper.INK}"]{{fill:{paper.DARK[paper.INK]}}}' in pictures.DARK_STYLE


@pytest.mark.parametrize("suffix", ["svg", "png"])
@pytest.mark.parametrize("words", [[], ["--sweep", "maxretry=5,10", "findtime=1m,5m", "--"]])
def test_plot(
    tmp_path: Path, capture: Path, suffix: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file for a report holds all pictures, each below its title, of jails and of sweeps."""
    path = tmp_path / f"plot.{suffix}"
    assert main(command("--plot", path, *words, capture)) == 0
    capsys.readouterr()
    start = path.read_bytes()[:8]
    assert start == b"\x89PNG\r\n\x1a\n" if suffix == "png" else start == b"<svg xml"
    if suffix == "svg":
        text = path.read_text()
        ElementTree.fromstring(text)
        title = "How many sources are banned" if words else "Whom the threshold of 15 parts"
        assert f">{title}</text>" in text
        assert "prefers-color-scheme: dark" in text


def test_names_are_no_mathematics(capture: Path) -> None:
    """A dollar in a jail's name is a dollar."""
    result = judged(capture)._replace(jail="a$b$c^{")
    with paper.printing():
        figure = pictures.sheet([("Jail a$b$c^{", pictures.of_jail(result))])
        figure.savefig("/dev/null", format="png")
    assert "Jail a$b$c^{" in texts(figure)


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A capture without packets makes a picture that says so."""
    empty = write(tmp_path / "empty", [])
    path = tmp_path / "plot.svg"
    assert main(command("--plot", path, "--html", tmp_path / "page.html", empty)) == 0
    capsys.readouterr()
    assert "There is nothing to draw." in path.read_text()


def test_old_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matplotlib that would read names as mathematics is told to be too old."""
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 5, 2))
    assert "3.6 or newer" in pictures.problem(None)
