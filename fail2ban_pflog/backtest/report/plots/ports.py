# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of a jail that people show: who asked for which port when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...replay.portmap import ROWS, Dots
from ...replay.run import Result
from ...replay.statistics import MAX_TOLD_APART, Survey
from . import scales
from .cast import Actor, Cast
from .paper import OTHERS, SHAPES, SOURCES, Paper, Picture, library, number_of
from .span import BAN_LINE, Span

__all__ = ["ports_picture"]

MAX_DRAWN = 600
"""More dots than these in one colour nobody tells apart, and a page has to load: they are put
together, and the grey ones are an image within the SVG."""

CROWDED = 5_000
"""From so many grey dots on they are smaller, or they would be one area."""

MAX_LINES = 400
"""Positions in which the lines of bans can stand."""

LEGEND_LINE, LETTER = 0.21, 0.078
"""Inches of a line of the legend, and of a letter of it, about."""


def ports_picture(result: Result, survey: Survey, span: Span, cast: Cast) -> Picture:
    """Dots: time across, ports up, a colour and a shape for each source of the cast."""
    dots = survey.dots
    banned = len(result.banned)
    every = f"{result.sources:,}"
    if result.sources > MAX_TOLD_APART:
        every = f"about {round(result.sources, -3):,}"
    if banned:
        title = f"{number_of(banned, 'source')} of {every} would have been banned"
    else:
        title = f"None of {every} source{'s' if result.sources > 1 else ''} would have been banned"
    words = (
        "Each dot is a port that somebody asked for. A fast scan stands as a column, a slow one is "
        "spread out, and who asks many hosts for one port draws a level line."
    )
    if cast.actors:
        words += " In colour: the sources with the most targets."
    if result.bans:
        words += " Hollow: what a ban would have prevented. Triangles: bans."

    def height(width: float) -> float:
        return 2.2 + 0.33 * width + _Legend(cast.actors, span, width).height

    def draw(paper: Paper) -> None:
        legend = _Legend(cast.actors, span, paper.width)
        line = BAN_LINE if result.bans else 0.0
        axes = paper.axes(0.88, 0.6 + legend.height, 0.2, 0.25 + line)
        handles = _draw_dots(axes, dots, cast.actors, legend.texts, span)
        span.axis(axes, paper)
        axes.set_ylim(-0.03, 1.01)
        room = 0.17 / (axes.get_position().height * paper.figure.get_size_inches()[1])
        ticks = scales.port_ticks(room)
        axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        colours = {actor.name: SOURCES[index] for index, actor in enumerate(cast.actors)}
        span.bans(axes, paper, result.bans, colours)
        paper.unit(axes, "destination port, TCP and UDP", 0.03)
        paper.legend(axes, handles, 0.05, paper.height - legend.height, legend.columns)

    return Picture(title, words + span.note, height, draw)


class _Legend:
    """What is said of the sources that have a colour, in columns.

    texts: of each.  columns: how many there is room for.  height: inches.
    """

    def __init__(self, actors: Sequence[Actor], span: Span, width: float) -> None:
        told = [(actor.name, actor.told(span)) for actor in actors]
        longest = max((len(name) + len(words) for name, words in told), default=10)
        room = width / (LETTER * longest + 0.5)
        self.columns = max(1, min(3, int(room)))
        between = ": " if room >= 1 else "\n"
        self.texts = [f"{name}{between}{words}" for name, words in told]
        rows = -(-(len(actors) + 1) // self.columns)
        self.height = LEGEND_LINE * rows * (1 if room >= 1 else 1.7)


def _draw_dots(
    axes: Any, dots: Dots, actors: Sequence[Actor], labels: Sequence[str], span: Span
) -> list[Any]:
    """Draw all dots; returns what explains them."""
    mark = library("lines").Line2D
    mine: set[_Cell] = set()
    handles = []
    for index, actor in enumerate(actors):
        colour, shape = SOURCES[index], SHAPES[index]
        cells = {prevented: _cells(actor.dots, prevented) for prevented in (True, False)}
        mine.update(*cells.values())
        for prevented, some in cells.items():
            points = _points(_thinned(some), dots.width, span)
            face = "none" if prevented else colour
            axes.scatter(
                *points, s=13, marker=shape, facecolors=face, edgecolors=colour, linewidths=0.6,
                zorder=3 if prevented else 4,
            )  # fmt: skip
        # Of lines that are nearer than they are thick one is enough.
        second = MAX_LINES / (span.end - span.begin)
        lines = {int(ban.time * second): ban.time for ban in actor.bans}
        axes.vlines(list(lines.values()), -1, 2, color=colour, linewidth=0.8, zorder=2)
        kind: dict[str, Any] = {"marker": shape, "color": colour, "markersize": 5}
        handles.append(mark([], [], linestyle="none", label=labels[index], **kind))
    others = [
        (column, row)
        for column, rows in dots.columns.items()
        for row in range(ROWS)
        if rows >> row & 1 and (column, row) not in mine
    ]
    if others:
        kind = {"marker": "o", "color": OTHERS, "alpha": 0.6}
        many = len(others) > MAX_DRAWN
        points = _points(others, dots.width, span)
        size = 5 if len(others) < CROWDED else 3
        axes.scatter(*points, s=size, linewidths=0, zorder=1.5, rasterized=many, **kind)
        handles.append(mark([], [], linestyle="none", markersize=4, label="all others", **kind))
    return handles


_Cell = tuple[int, int]  # column, row


def _cells(dots: Iterable[int], prevented: bool) -> set[_Cell]:
    return {divmod(dot >> 1, ROWS) for dot in dots if dot & 1 == prevented}


def _thinned(cells: set[_Cell]) -> set[_Cell]:
    """At most MAX_DRAWN of the cells, one in each square."""
    size, kept = 1, cells
    while len(kept) > MAX_DRAWN:
        size *= 2
        squares = {(column // size, row // size): (column, row) for column, row in cells}
        kept = set(squares.values())
    return kept


def _points(cells: Iterable[_Cell], width: float, span: Span) -> tuple[list[float], list[float]]:
    """Times and heights of the cells that the picture shows."""
    shown = [
        (time, row / (ROWS - 1))
        for column, row in sorted(cells)
        if span.begin <= (time := (column + 0.5) * width) <= span.end
    ]
    return [time for time, _ in shown], [at for _, at in shown]
