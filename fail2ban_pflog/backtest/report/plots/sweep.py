# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of a sweep: dots for one option that varies, heat maps for more.

Of more than two options the two with the most values are the axes of a map, and there is a
map for each combination of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ...replay.settings import Outcome
from . import scales
from .paper import ALARM, FONT_SIZE, INK, LOGGED, QUIET, Paper, Picture, library

__all__ = ["of_sweep"]

MAX_MAPS = 12
"""More of them nobody compares; the table has all."""

TICK_LINE = 0.2
"""Inches of the text of a row."""

_HEAT = ("#f3f6f9", "#0f3d63")
_ON_LIGHT, _ON_DARK = "#1b1e24", "#fffffe"  # on a map they are the same on a dark screen

HALF = 0.6
"""Of the way from light to dark: from here on white text reads better."""

ROW, MOST_ROWS = 0.32, 30
"""Inches of a row of a map; where there are more of them, a map grows no further."""


def of_sweep(outcomes: Sequence[Outcome], best: Collection[int]) -> list[Picture]:
    """The pictures of a sweep.

    best: indexes of the outcomes that are marked.
    """
    values: dict[str, list[str]] = {}
    for outcome in outcomes:
        for name, value in outcome.settings.items():
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    varied = {name: each for name, each in values.items() if len(each) > 1}
    if not varied:
        return []
    if len(varied) == 1:
        ((name, ticks),) = varied.items()
        return [_dots(name, scales.shortened(ticks), outcomes, best)]
    one, other, *others = sorted(varied, key=lambda name: -len(varied[name]))
    maps = []
    for chosen in itertools.product(*(varied[name] for name in others)):
        fixed = dict(zip(others, chosen))
        cells = {
            (outcome.settings[one], outcome.settings[other]): (outcome, index in best)
            for index, outcome in enumerate(outcomes)
            if all(outcome.settings[name] == value for name, value in fixed.items())
        }
        axes = _Axis(one, varied[one]), _Axis(other, varied[other])
        maps.append(_map(fixed, axes, cells, outcomes))
    return maps[:MAX_MAPS]


class _Axis(NamedTuple):
    """An option and its values."""

    name: str
    values: list[str]

    @property
    def row(self) -> float:
        """Inches of a row, where this is the upward axis."""
        return ROW if len(self.values) <= MOST_ROWS else ROW * MOST_ROWS / len(self.values)


def _dots(
    name: str, ticks: Sequence[str], outcomes: Sequence[Outcome], best: Collection[int]
) -> Picture:
    banned = [len(outcome.delays) for outcome in outcomes]
    trusted = [len(outcome.trusted) for outcome in outcomes]
    share = [100 * outcome.share for outcome in outcomes]
    words = f"How many sources each value of {name} bans, and the packets that this prevents."
    if best:
        words += " A ring marks the best."
    if any(trusted):
        words += " Triangles: how many of the banned are trusted, and must not be."
    # Names have nothing between them.
    line = "-" if all(tick[:1].isdigit() for tick in ticks) else "none"
    places = range(len(ticks))

    def draw(paper: Paper) -> None:
        lower = paper.height * 0.4
        left = paper.left([f"{max(banned):,}", "100 %"])
        above = paper.axes(left, lower + 0.22, 0.2, 0.5)
        below = paper.axes(left, 0.55, 0.2, paper.height - lower + 0.24)
        kind = {"clip_on": False, "linestyle": line}
        handles = above.plot(places, banned, marker="o", color=LOGGED, label="banned", **kind)
        if any(trusted):
            handles += above.plot(
                places, trusted, marker="^", color=ALARM, label="of these trusted", **kind
            )
        for at in best:
            above.plot(
                [at], [banned[at]], "o", markersize=13, markerfacecolor="none",
                markeredgecolor=INK, clip_on=False,
            )  # fmt: skip
        for at in {0, len(ticks) - 1, *list(best)[:1]}:
            above.annotate(
                f"{banned[at]:,}", (at, banned[at]), xytext=(0, 9), textcoords="offset points",
                ha="center", fontsize=FONT_SIZE - 1,
            )  # fmt: skip
        below.plot(places, share, marker="s", color=QUIET, **kind)
        for axes, most, count, unit in ((above, max(banned), 5, ""), (below, max(share), 3, " %")):
            axes.set_ylim(0, max(most, 1) * 1.15)
            marks = scales.whole_ticks(max(most, 1), count)
            axes.set_yticks(marks, [f"{mark:,}{unit}" for mark in marks])
            axes.set_xlim(-0.4, len(ticks) - 0.6)
        shown = _some(paper, ticks, paper.width - left)
        above.set_xticks(list(shown), [""] * len(shown))
        below.set_xticks(list(shown), [ticks[at] for at in shown])
        below.set_xlabel(name)
        for axes, text, top in (
            (above, "sources", 0.27),
            (below, "packets prevented, of all", paper.height - lower),
        ):
            paper.unit(axes, text, top)
        paper.legend(above, handles, 0.05, 0.03, 2)

    return Picture(f"What {name} changes", words, lambda width: 2.5 + 0.24 * width, draw)


def _some(paper: Paper, ticks: Sequence[str], room: float) -> range:
    """Every so many ticks, as there is room, in inches."""
    each = max(paper.measure(text, FONT_SIZE) for text in ticks) + 0.12
    return range(0, len(ticks), max(1, math.ceil(each * len(ticks) / (room - 0.2))))


def _map(
    fixed: dict[str, str],
    options: tuple[_Axis, _Axis],
    cells: dict[tuple[str, str], tuple[Outcome, bool]],
    outcomes: Sequence[Outcome],
) -> Picture:
    """A map of cells; the longer of the options across, on a phone upwards if it is short."""

    def turned(width: float) -> bool:
        return width < Paper.WIDE and len(options[0].values) <= MOST_ROWS

    banned = [len(outcome.delays) for outcome in outcomes]
    least, most = min(banned), max(banned)
    where = ", ".join(f"{name} {value}" for name, value in fixed.items())
    title = f"How many sources are banned{f', with {where}' if where else ''}"
    words = "The darker, the more."
    if any(outcome.trusted for outcome in outcomes):
        words += " Hatched: in brackets, how many of them are trusted, and must not be banned."
    if any(best for _, best in cells.values()):
        words += " A frame marks the best."

    def draw(paper: Paper) -> None:
        turn = turned(paper.width)
        across, up = options[::-1] if turn else options
        columns, rows = scales.shortened(across.values), scales.shortened(up.values)
        left = 0.2 + max(paper.measure(text, FONT_SIZE) for text in rows)
        axes = paper.axes(left, 0.55, 0.15, 0.3)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlim(0, len(across.values))
        axes.set_ylim(0, len(up.values))
        room = (paper.width - left - 0.15) / len(across.values) - 0.04
        for values, (outcome, best) in cells.items():
            x, y = values[::-1] if turn else values
            number = len(outcome.delays)
            share = (number - least) / (most - least) if most > least else 0.0
            at = across.values.index(x), up.values.index(y)
            _draw_cell(axes, at, share, hatched=bool(outcome.trusted), framed=best)
            text = f"{number:,}" + (f" ({len(outcome.trusted):,})" if outcome.trusted else "")
            if up.row == ROW and paper.measure(text, FONT_SIZE - 1) < room:
                behind = {"facecolor": _shade(share), "edgecolor": "none", "pad": 1.2}
                axes.text(
                    at[0] + 0.5, at[1] + 0.5, text, ha="center", va="center", zorder=4,
                    color=_ON_DARK if share > HALF else _ON_LIGHT, fontsize=FONT_SIZE - 1,
                    bbox=behind if outcome.trusted else None,
                )  # fmt: skip
        shown = _some(paper, columns, paper.width - left)
        axes.set_xticks([at + 0.5 for at in shown], [columns[at] for at in shown])
        shown = range(0, len(rows), math.ceil(TICK_LINE / up.row))
        axes.set_yticks([at + 0.5 for at in shown], [rows[at] for at in shown])
        axes.set_xlabel(across.name)
        paper.unit(axes, up.name, 0.03)

    def height(width: float) -> float:
        up = options[0 if turned(width) else 1]
        return 0.9 + up.row * len(up.values)

    return Picture(title, words, height, draw)


def _draw_cell(axes: Any, at: tuple[int, int], share: float, hatched: bool, framed: bool) -> None:
    rectangle = library("patches").Rectangle
    kind = {"facecolor": _shade(share), "edgecolor": "#8a94a0", "linewidth": 0.6}
    axes.add_patch(rectangle(at, 1, 1, hatch="///" if hatched else None, **kind))
    if framed:
        inside = at[0] + 0.04, at[1] + 0.06
        kind = {"fill": False, "edgecolor": "#e69f01", "linewidth": 2.2, "zorder": 3}
        axes.add_patch(rectangle(inside, 0.92, 0.88, **kind))


def _shade(share: float) -> str:
    """From light to dark, evenly."""
    low, high = ([int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in _HEAT)
    mixed = (round(a + (b - a) * share) for a, b in zip(low, high))
    return "#" + "".join(f"{each:02x}" for each in mixed)
