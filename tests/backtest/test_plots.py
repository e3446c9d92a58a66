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

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

from fail2ban_pflog.backtest.replay import portmap, replay, run
from fail2ban_pflog.backtest.replay.configuration import Configuration
from fail2ban_pflog.backtest.replay.statistics import Timeline
from fail2ban_pflog.backtest.replay.sweep import Outcome
from fail2ban_pflog.backtest.report import plots
from fail2ban_pflog.backtest.report.plots import highlights, jail, period, style, sweep
from fail2ban_pflog.cli import main
from fail2ban_pflog.sources.captures import Captures

MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local time be nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def replayed(*paths: Path, **settings: str) -> run.Result:
    """The result of the shipped jail pflog, with what pictures need."""
    configuration = Configuration(CONFIG)
    one = run.Run([replay.Replay(configuration.load("pflog", settings))], statistics=True)
    one.read(Captures(map(str, paths), pytest.fail))
    return one.results(run.Trust([]))[0]


def drawn(picture: plots.Picture) -> Any:
    """A figure with one picture, laid out."""
    with style.printing():
        figure = style.figure(style.WIDTH, picture.height)
        picture.draw(figure)
        FigureCanvasAgg(figure).draw()
    return figure


def named(result: run.Result) -> dict[str, plots.Picture]:
    """The pictures of a jail by what they show."""
    every = plots.of_jail(result)
    return {"ports": every[0], "packets": every[-2], "targets": every[-1]}


def pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    """Each with the next."""
    return zip(items, items[1:])


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
    line = Timeline()
    for number in range(3_000):
        line.add(BEGIN + seconds * number / 3_000, number % 3 == 0)
    found, bars, outside = line.bars(period.MAX_BARS)
    assert (found, period.per(found), outside) == (width, words, 0)
    assert len(bars) <= period.MAX_BARS
    assert (sum(low for _, low, _ in bars), sum(high for _, _, high in bars)) == (2_000, 1_000)
    assert {second[0] - first[0] for first, second in pairs(bars)} <= {width}


@pytest.mark.usefixtures("tokyo")
def test_days_are_local() -> None:
    """A bar of a day begins at midnight of the clock that the axis names."""
    line = Timeline()
    for number in range(400):
        line.add(BEGIN + number * DAY / 4)
    width, bars, _ = line.bars(period.MAX_BARS)
    assert width == DAY
    assert {time.strftime("%H:%M:%S", time.localtime(begin)) for begin, _, _ in bars} == {
        "00:00:00"
    }


def test_a_clock_that_was_wrong(tmp_path: Path) -> None:
    """Some packets of 1970 do not stretch a picture over decades; it says that they are missing."""
    records = [(BEGIN + number / 10, syn(RETRY, 25, number)) for number in range(4_000)]
    strays = [(float(number), syn(RETRY, 25)) for number in range(3)]
    found = named(replayed(write(tmp_path / "pflog", [*strays, *records])))
    assert (
        "Not shown: 3 packets that came a month or more before or after others."
        in found["ports"].words
    )
    (axes,) = drawn(found["packets"]).axes
    begin, end = (day * DAY for day in axes.get_xlim())
    assert BEGIN - 10 <= begin < end <= BEGIN + 420


def test_few_packets_are_no_wrong_clock(tmp_path: Path) -> None:
    """The packets of a slow scanner hours before a flood are shown, however few they are."""
    flood = [(BEGIN + 86_400 + number / 100, syn(RETRY, 25, number)) for number in range(9_000)]
    slow = [(BEGIN + number * 3600, syn(SCANNER, number + 1)) for number in range(8)]
    result = replayed(write(tmp_path / "pflog", [*slow, *flood]))
    assert result.statistics.timeline.bars(period.MAX_BARS)[2] == 0
    assert "Not shown" not in named(result)["ports"].words


@pytest.mark.parametrize(
    ("seconds", "pattern"),
    [
        (20, r"\d\d|\d\d:\d\d"),
        (2 * HOUR, r"\d\d:\d\d"),
        (DAY, r"\d\d:\d\d|\d\d \w{3}"),
        (9 * DAY, r"\d\d|\w{3}"),
        (400 * DAY, r"\w{3}|\d{4}"),
        (9_000 * DAY, r"\d{4}"),
    ],
)
@pytest.mark.usefixtures("tokyo")
def test_time_axis(seconds: int, pattern: str) -> None:
    """Ticks are few, in order, at round local times; the axis names its zone, and its day beside
    it where the ticks do not."""
    line = Timeline()
    line.add(BEGIN + 12_345.6)
    line.add(BEGIN + 12_345.6 + seconds)
    shown = period.Period(line)
    figure = style.figure(style.WIDTH, 2)
    axes = figure.subplots()
    shown.axis(axes, shown.begin, shown.end)
    FigureCanvasAgg(figure).draw()
    ticks = [text.get_text() for text in axes.get_xticklabels() if text.get_text()]
    assert 2 <= len(ticks) <= 10
    assert all(re.fullmatch(pattern, text) for text in ticks), ticks
    assert axes.get_xlabel() == "time in JST (UTC+09:00)"
    assert seconds > 366 * DAY or "2026" in axes.xaxis.get_major_formatter().get_offset()


def busy_minute(tmp_path: Path) -> run.Result:
    """Eight fast scans within a minute of a day in which one source asks for a port an hour."""
    records = [(BEGIN + 3600 * hour, syn(RETRY, 1 + hour)) for hour in range(24)]
    for number in range(8):
        records += scan_records(f"203.0.113.{number}", range(1, 30), BEGIN + 9_000 + number)
    return replayed(write(tmp_path / "pflog", records))


def test_a_busy_part_has_its_own_picture(tmp_path: Path, capture: Path) -> None:
    """Where most bans came within a small part of a long capture, a second picture of ports shows
    that part, finely; otherwise there are three pictures."""
    assert len(plots.of_jail(replayed(capture))) == 3
    result = busy_minute(tmp_path)
    whole, part, *_ = plots.of_jail(result)
    (axes,) = drawn(part).axes
    begin, end = (day * DAY for day in axes.get_xlim())
    assert BEGIN + 8_990 < begin < result.bans[0].time < result.bans[5].time < end < BEGIN + 9_100
    assert part.words.startswith("The same, of the ")
    assert len({x for x, _ in axes.collections[0].get_offsets()}) > 5
    assert drawn(whole).axes[0].get_xlim()[1] * DAY > BEGIN + 80_000


# -- ports ------------------------------------------------------------------------------


def test_port_axis() -> None:
    """Every port has its place, lower ones more of it."""
    heights = [portmap.height(port) for port in range(-1, 65_536)]
    assert heights == sorted(set(heights))
    assert (heights[0], heights[-1]) == (0, 1)
    assert 0.3 < portmap.height(1024) < 0.4


def test_flood_forgets_no_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged sources without end are forgotten, not those with many targets; memory is bounded."""
    monkeypatch.setattr(portmap, "MAX_SOURCES", 500)
    monkeypatch.setattr(portmap, "MAX_KEPT", 3_000)
    found, rnd = portmap.PortMap(), random.Random(7)
    for number in range(20_000):
        when = BEGIN + number
        forged = found.add(when, rnd.randbytes(4), rnd.randrange(65_536), prevented=False)
        found.add_target(forged, number)
        if number % 100 == 0:
            seen = found.add(when, b"scan", number % 1000, prevented=False)
            found.add_target(seen, number)
        assert len(found.sources) <= 500
        assert sum(sum(each.size) for each in found.sources.values()) <= 3_000
    assert len(found.sources[b"scan"].targets) == 200
    assert len(found.columns) <= portmap.COLUMNS
    assert sum(found.forgotten.values()) + len(found.sources) == 20_001


def test_few_sources_with_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no source to forget, columns become wider."""
    monkeypatch.setattr(portmap, "MAX_KEPT", 4_000)
    found, rnd = portmap.PortMap(), random.Random(7)
    for number in range(20_000):
        found.add(BEGIN + number / 100, b"scan", rnd.randrange(65_536), prevented=False)
        assert len(found.sources[b"scan"].cells) <= 4_000
    assert found.width > portmap.FINEST
    every = {
        column * portmap.ROWS + row
        for column, rows in found.columns.items()
        for row in range(portmap.ROWS)
        if rows >> row & 1
    }
    assert {cell >> 1 for cell in found.sources[b"scan"].cells} == every


def test_scan_is_seen(capture: Path) -> None:
    """The scanner has a colour: full dots up to its ban, hollow ones behind; a line and a
    triangle mark the ban, and the legend names it.  No source is a triangle."""
    result = replayed(capture)
    (axes,) = drawn(named(result)["ports"]).axes
    (ban,) = result.bans
    hollow, full, others = (each for each in axes.collections if isinstance(each, PathCollection))
    assert (len(hollow.get_facecolors()), len(hollow.get_offsets())) == (0, 25)
    assert len(full.get_offsets()) == 15
    last, first = full.get_offsets()[:, 0].max() * DAY, hollow.get_offsets()[:, 0].min() * DAY
    assert last <= ban.time + 0.5 <= first + 1
    assert len(others.get_offsets()) > 5
    (mark,) = (line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata()))
    assert mark.get_xdata()[0] == pytest.approx(ban.time / DAY)
    assert mark.get_color() == style.SOURCES[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert re.fullmatch(rf"{SCANNER}: 40 targets, banned \d\d:\d\d:\d\d", legend[0])
    assert legend[-1] == "all others"
    assert not set(style.SHAPES) & set("v^<>")


def test_sources_that_are_not_banned_have_a_colour_too(tmp_path: Path) -> None:
    """However many are banned, two colours are left for those with many targets that are not."""
    records = []
    for number in range(1, 12):
        records += scan_records(f"203.0.113.{number}", range(1, 40), BEGIN)
    records += [(BEGIN + index * 900, syn("192.0.2.99", 100 + index)) for index in range(30)]
    result = replayed(write(tmp_path / "pflog", records))
    chosen = highlights.choose(result, result.statistics.portmap)
    assert len(chosen.sources) == len(style.SOURCES)
    assert [each.name for each in chosen.sources if not each.bans] == ["192.0.2.99"]
    assert chosen.targets == {(True, 39): 11, (False, 30): 1}
    words = named(result)["targets"].words
    assert "Right of the line, but not banned: 1 source with never 15 targets within 5m" in words


def test_networks_are_one_source(tmp_path: Path) -> None:
    """With prefix6 the addresses of a banned network are one source."""
    records = [
        (BEGIN + index, syn6(f"2001:db8:1:2::{index:x}", index + 1)) for index in range(1, 31)
    ]
    path = write(tmp_path / "pflog", records)
    result = replayed(path, backend="pflog[distinct=port, mode=normal, prefix6=64]")
    (source,) = highlights.choose(result, result.statistics.portmap).sources
    assert (source.name, source.targets, len(source.bans)) == ("2001:db8:1:2::/64", 30, 1)


def test_many_dots_stay_few(tmp_path: Path) -> None:
    """A scan of thousands of ports, and noise, make no picture that does not load."""
    rnd = random.Random(2)
    records = [(BEGIN + index / 50, syn(SCANNER, 1 + index)) for index in range(6_000)]
    records += [
        (BEGIN + rnd.random() * 120, syn(f"198.51.100.{rnd.randrange(250)}", rnd.randrange(65_536)))
        for _ in range(6_000)
    ]
    picture = named(replayed(write(tmp_path / "pflog", records)))["ports"]
    element = plots.element(picture, "a")
    assert element.count("<use ") < 4 * jail.MAX_DRAWN
    assert "data:image/png;base64," in element
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
    read = []
    for axes in figure.axes:
        assert axes.get_ylabel()
        read += [axes.xaxis.label, axes.yaxis.label, axes.xaxis.get_offset_text(), *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_ticklocs(), axis.get_ticklabels())
            read += [label for at, label in labels if low <= at <= high]  # others are not drawn
        if legend := axes.get_legend():
            box = legend.get_window_extent(renderer)
            assert not any(box.overlaps(each.get_window_extent(renderer)) for each in figure.axes)
            read += legend.get_texts()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer).padded(-1))
        for text in read
        if text.get_text() and text.get_visible()
    ]
    for text, box in boxes:
        assert figure.bbox.padded(1).contains(box.x0, box.y0), text
        assert figure.bbox.padded(1).contains(box.x1, box.y1), text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} over {other!r}"


@pytest.mark.parametrize("name", CAPTURES)
def test_nothing_overlaps(name: str) -> None:
    """Every text can be read: none over another, no legend over data, nothing cut off; every axis
    says what it is, and time in which zone."""
    for kind, picture in named(replayed(CAPTURES[name])).items():
        figure = drawn(picture)
        check_layout(figure)
        assert kind == "targets" or figure.axes[0].get_xlabel().startswith(
            f"time in {time.strftime('%Z')}"
        )


def test_long_names(tmp_path: Path) -> None:
    """Long IPv6 addresses fit, too."""
    name = "2001:db8:1111:2222:3333:4444:5555:{:04x}"
    records = [
        (BEGIN + index * (host + 1), syn6(name.format(0xAAAA + host), index + 1))
        for host in range(6)
        for index in range(30)
    ]
    for picture in plots.of_jail(replayed(write(tmp_path / "pflog", records))):
        check_layout(drawn(picture))


def test_large_numbers(capture: Path) -> None:
    """Millions of packets and sources fit, too."""
    result = replayed(capture)
    for counts in result.statistics.timeline.bins.values():
        counts[0] *= 1_234_567
    check_layout(drawn(named(result)["packets"]))
    crowd = highlights.Highlights([], Counter({(False, 1): 1_234_567, (True, 40): 1}))
    check_layout(drawn(jail.targets_picture(result, crowd)))


# -- targets ------------------------------------------------------------------------------


@pytest.mark.parametrize("maxretry", [1, 2, 5, 15, 100, 1000])
@pytest.mark.parametrize("highest", [1, 20, 5_000])
def test_bins(maxretry: int, highest: int) -> None:
    """Spans of targets leave nothing out, are few, and one begins at maxretry."""
    bins = jail._bins(maxretry, highest)
    assert bins[0] == 1
    assert bins == sorted(set(bins))
    assert maxretry in bins
    assert len(bins) <= 9


def test_sources_of_which_nothing_counts(tmp_path: Path) -> None:
    """It says how many sources have no place, for the mode counts nothing of them."""
    records = [*scan_records(SCANNER, range(1, 9), BEGIN), (BEGIN, syn(RETRY, 25, direction=2))]
    words = named(replayed(write(tmp_path / "pflog", records)))["targets"].words
    assert "Not here: 1 source of which the jail's mode counts nothing." in words


def test_left_of_the_threshold(tmp_path: Path) -> None:
    """A source that is banned with fewer targets than maxretry is explained."""
    rounds = [(BEGIN + turn * 1000 + port, syn(SCANNER, port)) for turn in range(40) for port in
              range(1, 6)]  # fmt: skip
    path = write(tmp_path / "pflog", rounds)
    result = replayed(path, maxretry="10", findtime="300", backend="pflog[distinct=port]")
    words = named(result)["targets"].words
    assert ("Left of it, but banned: 1 source" in words) == bool(result.bans)
    chosen = highlights.choose(result, result.statistics.portmap)
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
    figure = drawn(picture)
    check_layout(figure)
    (axes,) = figure.axes
    cells = [text.get_text() for text in axes.texts]
    assert sorted(cells) == ["0", "1", "2 (1)", "3", "4", "5"]
    assert {axes.get_xlabel(), axes.get_ylabel()} == {"maxretry", "findtime"}
    assert sorted(bool(patch.get_hatch()) for patch in axes.patches) == [False, True]
    (image,) = axes.images
    assert image.get_array().tolist() == [[0, 2, 4], [1, 3, 5]]
    for share in (0.0, 0.5, 1.0):
        red, green, blue, _ = image.get_cmap()(share, bytes=True)
        assert contrast(style.INK, f"#{red:02x}{green:02x}{blue:02x}") >= 4.5


def test_one_option_is_a_line() -> None:
    """The values of one option are dots, joined only where something is between them."""
    (picture,) = sweep.of_sweep(outcomes(maxretry=[str(number) for number in range(5, 40)]), [7])
    figure = drawn(picture)
    check_layout(figure)
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == list(range(35))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("sources", "maxretry")
    assert axes.lines[0].get_linestyle() == "-"
    (picture,) = sweep.of_sweep(outcomes(mode=["normal", "any"]), [])
    assert drawn(picture).axes[0].lines[0].get_linestyle() == "None"


@pytest.mark.parametrize("count", [2, 40])
def test_long_and_many_values(count: int) -> None:
    """Long values are shortened to what is not common to them; of many not all are written."""
    backends = ["pflog[distinct=port, mode=normal, prefix6=64]", "pflog[distinct=host, mode=any]"]
    numbers = [str(number) for number in range(count)]
    for every in (
        outcomes(backend=backends, maxretry=numbers),
        outcomes(findtime=numbers, maxretry=numbers),
        outcomes(backend=backends),
    ):
        (picture,) = sweep.of_sweep(every, [1])
        figure = drawn(picture)
        assert figure.get_size_inches()[1] < 12
        check_layout(figure)
    assert sweep.shortened(backends) == ["…port, mode=norma…", "…host, mode=any]"]
    assert sweep.shortened(["5", "10"]) == ["5", "10"]


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
    """Text can be read; bars differ in lightness, sources in shape."""
    for text in (style.INK, style.QUIET):
        assert contrast(text, style.PAPER) >= 4.5
    assert contrast(style.LOGGED, style.PREVENTED) >= 3
    assert len(set(style.SHAPES)) == len(style.SOURCES)


def test_svg(capture: Path) -> None:
    """An SVG is well-formed, its text is text, a page needs no permission for its styles, and ids
    do not meet those of another."""
    picture = named(replayed(capture))["ports"]
    first, second = (plots.element(picture, salt) for salt in "ab")
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
        assert f">{'How many sources are banned' if words else 'Sources below and above'}" in text


def test_jails_stand_beside_each_other(tmp_path: Path, capture: Path) -> None:
    """A picture of three jails is no longer than one of a jail, but three times as wide."""
    path = tmp_path / "plot.svg"
    words = ["backtest", "--config", str(CONFIG), "--plot", str(path), str(capture)]
    assert main(words) == 0
    width, height = map(float, ElementTree.parse(path).getroot().attrib["viewBox"].split()[2:])
    assert width == 3 * style.WIDTH * 72
    assert height < 1_200


def test_names_are_no_mathematics(tmp_path: Path, capture: Path) -> None:
    """A dollar in a jail's name is a dollar."""
    path = tmp_path / "plot.svg"
    plots.write(path, [("Jail a$b$c^{", plots.of_jail(replayed(capture)))])
    assert ">Jail a$b$c^{</text>" in path.read_text()


def test_nothing_to_draw(tmp_path: Path) -> None:
    """Where there was no packet a picture says so."""
    path = tmp_path / "plot.svg"
    plots.write(path, [("Jail pflog", [])])
    assert "There is nothing to draw." in path.read_text()


def test_old_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matplotlib that would read names as mathematics is reported to be too old."""
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 5, 2))
    assert "3.6 or newer" in plots.problem(None)
