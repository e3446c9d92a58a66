# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures of a sweep: a line for one option that varies, heat maps for more.

Of more than two options the two with the most values are the axes of a map, and there is a
map for each combination of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from ...replay.sweep import Outcome
from .style import ALARM, FAINT, INK, LOGGED, SMALL, Picture, counts, legend, library

MAX_MAPS = 12
"""More of them cannot be compared; the table has all."""

MAX_CELLS_ACROSS = 16
"""From so many values on, the cells are too narrow for numbers."""

MOST_TICKS, LONGEST = 12, 18
"""Values that stand on an axis, and letters of one."""

LIGHT, DARK = "#f3f6f9", "#7fb2dd"
"""Of a map; dark text can be read on both."""


def of_sweep(outcomes: Sequence[Outcome], best: Collection[int]) -> list[Picture]:
    """Make the pictures of a sweep; ``best``: indexes of the outcomes that are marked."""
    values: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        for name, value in outcome.settings.items():
            values.setdefault(name, {})[value] = None
    varied = {name: list(each) for name, each in values.items() if len(each) > 1}
    if not varied:
        return []
    if len(varied) == 1:
        ((name, ticks),) = varied.items()
        return [_line(name, ticks, outcomes, best)]
    one, other, *others = sorted(varied, key=lambda name: -len(varied[name]))
    maps = []
    for chosen in itertools.product(*(varied[name] for name in others)):
        fixed = dict(zip(others, chosen))
        shown = [
            (index, outcome)
            for index, outcome in enumerate(outcomes)
            if fixed.items() <= outcome.settings.items()
        ]
        maps.append(_map(fixed, (one, varied[one]), (other, varied[other]), shown, best))
    return maps[:MAX_MAPS]


def _line(
    name: str, values: Sequence[str], outcomes: Sequence[Outcome], best: Collection[int]
) -> Picture:
    banned = [len(outcome.delays) for outcome in outcomes]
    trusted = [len(outcome.trusted) for outcome in outcomes]
    words = f"How many sources each value of {name} bans."
    if best:
        words += " A ring marks the best."
    if any(trusted):
        words += " Crosses: how many of the banned are trusted, and must not be."
    # Names have nothing between them.
    line = "-" if all(value[:1].isdigit() for value in values) else "none"

    def draw(part: Any) -> None:
        axes, places = part.subplots(), range(len(values))
        handles = axes.plot(places, banned, marker="o", color=LOGGED, ls=line, label="banned")
        if any(trusted):
            handles += axes.plot(places, trusted, marker="X", color=ALARM, ls=line, label="trusted")
        for at in best:
            axes.plot([at], [banned[at]], "o", markersize=13, mfc="none", mec=INK)
        for at in {0, len(values) - 1, *best}:
            axes.annotate(f"{banned[at]:,}", (at, banned[at]), (0, 9), ha="center",
                          textcoords="offset points", fontsize=SMALL)  # fmt: skip
        axes.set_ylim(0, 1.15 * max(1, *banned))
        axes.set_xlim(-0.4, len(values) - 0.6)
        axes.set_ylabel("sources")
        axes.set_xlabel(name)
        counts(axes.yaxis)
        _ticks(axes.xaxis, values)
        legend(axes, handles)

    return Picture(f"What {name} changes", words, 2.7, draw)


def _map(
    fixed: dict[str, str],
    across: tuple[str, Sequence[str]],
    up: tuple[str, Sequence[str]],
    shown: Sequence[tuple[int, Outcome]],
    best: Collection[int],
) -> Picture:
    where = ", ".join(f"{name} {value}" for name, value in fixed.items())
    words = "The darker, the more."
    if any(outcome.trusted for _, outcome in shown):
        words += " Hatched: in brackets, how many of them are trusted, and must not be banned."
    if any(index in best for index, _ in shown):
        words += " A frame marks the best."

    def draw(part: Any) -> None:
        axes = part.subplots()
        rectangle = library("patches").Rectangle
        cells = [[float("nan")] * len(across[1]) for _ in up[1]]
        for index, outcome in shown:
            x, y = (values.index(outcome.settings[name]) for name, values in (across, up))
            cells[y][x] = len(outcome.delays)
            corner = x - 0.5, y - 0.5
            if outcome.trusted:
                axes.add_patch(rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=FAINT,
                                         linewidth=0))  # fmt: skip
            if index in best:
                axes.add_patch(rectangle(corner, 1, 1, fill=False, edgecolor=ALARM, linewidth=2.5,
                                         clip_on=False, zorder=3))  # fmt: skip
            text = f"{len(outcome.delays):,}"
            text += f" ({len(outcome.trusted):,})" if outcome.trusted else ""
            if len(across[1]) <= MAX_CELLS_ACROSS:
                axes.text(x, y, text, ha="center", va="center", fontsize=SMALL)
        colours = library("colors").LinearSegmentedColormap.from_list("banned", (LIGHT, DARK))
        axes.imshow(cells, cmap=colours, aspect="auto", origin="lower", interpolation="nearest")
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        for axis, (name, values) in ((axes.xaxis, across), (axes.yaxis, up)):
            _ticks(axis, values)
            axis.set_label_text(name)

    title = f"How many sources are banned{f', with {where}' if where else ''}"
    return Picture(title, words, min(0.9 + 0.32 * len(up[1]), 8.0), draw)


def _ticks(axis: Any, values: Sequence[str]) -> None:
    """Write some of the values, as many as there is room for, on an axis."""
    texts = shortened(values)
    step = -(-len(texts) * min(LONGEST, max(map(len, texts)) + 4) // (MOST_TICKS * 7))
    axis.set_ticks(range(0, len(texts), max(1, step)), texts[:: max(1, step)])


def shortened(values: Sequence[str]) -> list[str]:
    """Cut what all texts begin with, where they are long, and what is too long."""
    if max(map(len, values)) <= LONGEST:
        return list(values)
    columns = list(zip(*values))
    alike = next((at for at, each in enumerate(columns) if len(set(each)) > 1), len(columns))
    cut = [("…" if alike else "") + value[alike:] for value in values]
    return [text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in cut]
