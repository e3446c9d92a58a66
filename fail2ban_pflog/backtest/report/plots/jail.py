# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures of one jail: ports against time, packets against time, targets of sources."""

from __future__ import annotations

from typing import Any

from ...replay.portmap import ROWS, height
from ...replay.run import Result
from ...replay.statistics import MAX_COUNTED_EXACTLY, Statistics
from ..words import duration
from .highlights import Highlights
from .period import DAY, Period, per
from .style import (
    ALARM,
    INK,
    LOGGED,
    OTHERS,
    PREVENTED,
    QUIET,
    SHAPES,
    SMALL,
    SOURCES,
    Picture,
    counts,
    legend,
    library,
    number_of,
)  # fmt: skip

MAX_DRAWN = 600
"""More dots of one colour are an image within the SVG: a page has to load."""

MAX_LINES = 400
"""Positions in which the lines of bans can stand."""

PORTS = {
    -1: "no port", 22: "22 ssh", 443: "443 https", 1433: "1433 sql", 3389: "3389 rdp", 8080: "8080",
    20_000: "20000", 65_535: "65535",
}  # fmt: skip
"""Ports that stand on the axis."""

LEGEND_LETTERS = 100
"""Letters that stand beside each other in a legend."""


def ports_pictures(
    result: Result, statistics: Statistics, period: Period, highlights: Highlights
) -> list[Picture]:
    """PortMap: time across, ports up, a colour and a shape for each highlighted source.

    Where most bans came within a short part of a long capture, a second picture shows that part.
    """
    banned = len(result.banned)
    every = f"{result.sources:,}"
    if result.sources > MAX_COUNTED_EXACTLY:
        every = f"about {round(result.sources, -3):,}"
    if banned:
        title = f"{number_of(banned, 'source')} of {every} would have been banned"
    else:
        title = f"None of {every} source{'s' if result.sources > 1 else ''} would have been banned"
    words = (
        "Each dot is a port that a source asked for. A fast scan is a column, a slow one is "
        "spread out, and asking many hosts for one port is a level line."
    )
    if highlights.sources:
        words += " In colour: the sources with the most targets."
    if result.bans:
        words += " Hollow: what a ban would have prevented. Triangles: bans."

    def picture(title: str, words: str, begin: float, end: float) -> Picture:
        def draw(part: Any) -> None:
            axes = part.subplots()
            handles = _draw_dots(axes, statistics, highlights, period, begin, end)
            period.axis(axes, begin, end)
            axes.set_ylim(-0.03, 1.01)
            axes.set_yticks([height(port) for port in PORTS], list(PORTS.values()))
            axes.set_ylabel("destination port, TCP and UDP")
            colours = {each.name: SOURCES[at] for at, each in enumerate(highlights.sources)}
            period.bans(axes, [ban for ban in result.bans if begin <= ban.time <= end], colours)
            longest = max((len(handle.get_label()) for handle in handles), default=1)
            legend(axes, handles, max(1, min(3, LEGEND_LETTERS // (longest + 4))))

        return Picture(title, words, 3.6 + 0.1 * len(highlights.sources), draw)

    pictures = [picture(title, words + period.note, period.begin, period.end)]
    if busiest := period.busiest(result.bans):
        span = duration(busiest[1] - busiest[0])
        words = f"The same, of the {span} in which most of the bans came."
        pictures.append(picture("The busiest part", words, *busiest))
    return pictures


def _draw_dots(
    axes: Any, statistics: Statistics, highlights: Highlights, period: Period, begin: float,
    end: float,
) -> list[Any]:  # fmt: skip
    """Draw all dots; returns what explains them."""
    portmap = statistics.portmap
    mark = library("lines").Line2D
    second = MAX_LINES / (end - begin)
    coloured: set[int] = set()
    handles = []

    def scatter(cells: set[int], **kind: Any) -> None:
        shown = [
            (time / DAY, cell % ROWS / (ROWS - 1))
            for cell in sorted(cells)
            if begin <= (time := (cell // ROWS + 0.5) * portmap.width) <= end
        ]
        axes.scatter(
            *(zip(*shown) if shown else ((), ())), rasterized=len(shown) > MAX_DRAWN, **kind
        )

    for source, colour, shape in zip(highlights.sources, SOURCES, SHAPES):
        for prevented in (True, False):
            cells = {cell >> 1 for cell in source.cells if cell & 1 == prevented}
            coloured |= cells
            scatter(
                cells, s=13, marker=shape, facecolors="none" if prevented else colour,
                edgecolors=colour, linewidths=0.6, zorder=3 if prevented else 4,
            )  # fmt: skip
        # Of lines that are nearer than they are thick one is enough.
        lines = {int(ban.time * second): ban.time / DAY for ban in source.bans}
        axes.vlines(list(lines.values()), -1, 2, color=colour, linewidth=0.8, zorder=2)
        moment = period.moment(source.bans[0].time) if source.bans else ""
        handles.append(mark([], [], linestyle="none", marker=shape, color=colour, markersize=5,
                            label=source.label(moment)))  # fmt: skip
    others = {
        column * ROWS + row
        for column, rows in portmap.columns.items()
        for row in range(ROWS)
        if rows >> row & 1
    }
    if others := others - coloured:
        scatter(others, s=4, marker="o", color=OTHERS, alpha=0.6, linewidths=0, zorder=1.5)
        handles.append(mark([], [], linestyle="none", marker="o", color=OTHERS, markersize=4,
                            label="all others"))  # fmt: skip
    return handles


def packets_picture(result: Result, period: Period) -> Picture:
    """Bars: what is still logged, and on top of it what bans would have kept out."""
    unit = f"packets per {per(period.width)}"
    title = f"{number_of(result.packets, 'packet')} and no ban"
    words = f"The {unit} that pf logged."
    if result.bans:
        packets = number_of(result.packets, "packet")
        title = f"Bans would have kept out {result.share:.0%} of {packets}"
        words = (
            f"The {unit} that pf logged; bans would have prevented the upper part of each bar. "
            "Triangles: bans."
        )

    def draw(part: Any) -> None:
        axes = part.subplots()
        begins = [begin / DAY for begin, _, _ in period.bars]
        logged = [low for _, low, _ in period.bars]
        # A little air between bars, where there are few.
        width = period.width / DAY * (0.86 if len(begins) <= 80 else 1.0)
        handles = [axes.bar(begins, logged, width, align="edge", color=LOGGED,
                            label="still logged")]  # fmt: skip
        if result.bans:
            high = [high for _, _, high in period.bars]
            handles.append(axes.bar(begins, high, width, logged, align="edge", color=PREVENTED,
                                    label="prevented"))  # fmt: skip
            period.bans(axes, result.bans, {})
            legend(axes, handles)
        counts(axes.yaxis)
        axes.set_ylabel(unit)
        period.axis(axes, period.begin, period.end)

    return Picture(title, words + period.note, 2.7, draw)


def targets_picture(result: Result, highlights: Highlights) -> Picture:
    """Points on either side of maxretry: so many sources with so many targets, banned or not."""
    bins = _bins(result.maxretry, max((count for _, count in highlights.targets), default=1))
    found: dict[bool, list[int]] = {
        banned: [
            sum(
                number
                for (was, count), number in highlights.targets.items()
                if was == banned and low <= count < high
            )
            for low, high in zip(bins, [*bins[1:], float("inf")])
        ]
        for banned in (False, True)
    }
    limit = bins.index(result.maxretry)
    missed, below = sum(found[False][limit:]), sum(found[True][:limit])
    words = "How many sources asked for how many different targets in all, bans aside."
    silent = result.sources - sum(highlights.targets.values())
    if silent > 0 and result.sources <= MAX_COUNTED_EXACTLY:  # more are an estimate
        words += (
            f" Not here: {number_of(silent, 'source')} of which the jail's mode counts nothing."
        )
    if missed:
        words += (
            f" Right of the line, but not banned: {number_of(missed, 'source')} with never "
            f"{result.maxretry} targets within {duration(result.findtime)}, or ignored."
        )
    if below:
        words += (
            f" Left of it, but banned: {number_of(below, 'source')}, of which targets counted "
            "again when they came back after a while."
        )

    def draw(part: Any) -> None:
        axes = part.subplots()
        handles = []
        for banned, shape, colour, aside in ((False, "o", LOGGED, -0.14), (True, "D", ALARM, 0.14)):
            points = [(at + aside, number) for at, number in enumerate(found[banned]) if number]
            for place in points:
                axes.annotate(f"{place[1]:,}", place, (0, 6), textcoords="offset points",
                              ha="center", fontsize=SMALL)  # fmt: skip
            if points:
                handles.append(axes.scatter(*zip(*points), s=34, marker=shape, color=colour,
                               label="banned" if banned else "not banned", zorder=3))  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylim(0.7, 4 * max(1, *found[True], *found[False]))
        counts(axes.yaxis)
        axes.yaxis.set_major_locator(library("ticker").LogLocator(10, numticks=6))
        axes.yaxis.set_minor_locator(library("ticker").NullLocator())
        axes.set_ylabel("sources")
        axes.set_xlim(-0.6, len(bins) - 0.4)
        ends = [f"–{high - 1}" if high - 1 > low else "" for low, high in zip(bins, bins[1:])]
        axes.set_xticks(range(len(bins)), [f"{low}{end}" for low, end in zip(bins, [*ends, "+"])])
        axes.set_xlabel("different targets (a port of a host)")
        axes.axvline(limit - 0.5, color=QUIET, linewidth=1, linestyle="--")
        axes.annotate(f"maxretry {result.maxretry}", (limit - 0.5, 1), (-6, 0), ha="right",
                      va="top", xycoords=("data", "axes fraction"), textcoords="offset points",
                      color=INK, fontsize=SMALL)  # fmt: skip
        if handles:
            legend(axes, handles)

    return Picture(f"Sources below and above maxretry = {result.maxretry}", words, 2.7, draw)


def _bins(limit: int, highest: int) -> list[int]:
    """Where spans of whole numbers begin: at 1, at ``limit``, each some times as long as before."""
    times = 2 if limit <= 16 else 4
    lows = [limit]
    while lows[0] > 1:
        lows.insert(0, -(-lows[0] // times))
    lows += [limit * more for more in (2, 4) if limit * more <= highest]
    return lows
