# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of what maxretry parts: how many sources asked for how many targets."""

from __future__ import annotations

from ...replay.run import Result
from ...replay.statistics import MAX_TOLD_APART
from ..text import duration
from . import scales
from .cast import Cast
from .paper import ALARM, FONT_SIZE, LOGGED, QUIET, Paper, Picture, library, number_of

__all__ = ["threshold_picture"]


def threshold_picture(result: Result, cast: Cast) -> Picture:
    """Points on either side of a line: so many sources with so many targets, banned or not."""
    bins = scales.bins(result.maxretry, max((count for _, count in cast.targets), default=1))
    counts = {
        banned: [
            sum(
                number
                for (was, count), number in cast.targets.items()
                if was == banned and low <= count <= high
            )
            for low, high in bins
        ]
        for banned in (True, False)
    }
    limit = next(index for index, (low, _) in enumerate(bins) if low >= result.maxretry)
    missed, below = sum(counts[False][limit:]), sum(counts[True][:limit])
    title = f"Whom the threshold of {result.maxretry} parts"
    words = (
        "How many sources asked for how many different targets in the whole capture, bans aside."
    )
    silent = result.sources - sum(cast.targets.values())
    if silent > 0 and result.sources <= MAX_TOLD_APART:  # more are an estimate
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

    def draw(paper: Paper) -> None:
        highest = max(1, *counts[True], *counts[False])
        powers = (10**power for power in range(len(str(highest))))
        ticks = {power: f"{power:,}" for power in powers}
        axes = paper.axes(paper.left(ticks.values()), 0.55, 0.2, 0.4)
        handles = []
        for banned, shape, colour, aside in (
            (False, "o", LOGGED, -0.14),
            (True, "^", ALARM, 0.14),
        ):
            points = [(at + aside, number) for at, number in enumerate(counts[banned]) if number]
            for place in points:
                axes.annotate(
                    f"{place[1]:,}", place, xytext=(0, 6), textcoords="offset points",
                    ha="center", fontsize=FONT_SIZE - 1,
                )  # fmt: skip
            if points:
                label = "banned" if banned else "not banned"
                handles.append(
                    axes.scatter(
                        *zip(*points), s=34, marker=shape, color=colour, label=label, zorder=3
                    )
                )
        axes.set_yscale("log")
        axes.set_ylim(0.7, 3 * highest)
        axes.set_yticks(list(ticks), ticks.values())
        axes.yaxis.set_minor_locator(library("ticker").NullLocator())
        axes.set_xlim(-0.6, len(bins) - 0.4)
        axes.set_xticks(range(len(bins)), [_between(low, high) for low, high in bins])
        axes.tick_params(axis="x", labelsize=FONT_SIZE if paper.wide else FONT_SIZE - 2)
        axes.set_xlabel("different targets (a port of a host)")
        axes.axvline(limit - 0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 2)))
        axes.annotate(
            f"maxretry {result.maxretry} ", (limit - 0.5, 1), xycoords=("data", "axes fraction"),
            ha="right", va="top", color=QUIET, fontsize=FONT_SIZE - 1,
        )  # fmt: skip
        paper.unit(axes, "sources", 0.03)
        if handles:
            paper.legend(axes, handles, 0.8, 0.03, 2)

    return Picture(title, words, lambda width: 1.6 + 0.2 * width, draw)


def _between(low: int, high: int) -> str:
    if high == low:
        return f"{low}"
    return f"{low}–{high}" if high < scales.NO_END else f"{low}+"
