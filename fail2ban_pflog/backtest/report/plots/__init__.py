# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures, by matplotlib, which is imported only when one is drawn.

jail        ports against time, packets against time, targets of sources
highlights  which sources have a colour
period      the time axis
sweep       a line, or heat maps
style       colours, sizes, SVG
"""

from __future__ import annotations

import html
import importlib
import io
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from ...replay.run import Result
from ..files import write_whole
from .highlights import choose
from .jail import packets_picture, ports_pictures, targets_picture
from .period import Period
from .style import (
    DPI,
    FONT_SIZE,
    PAPER,
    QUIET,
    WIDTH,
    Picture,
    as_svg,
    figure,
    library,
    printing,
)  # fmt: skip
from .sweep import of_sweep

__all__ = ["Picture", "element", "of_jail", "of_sweep", "problem", "write"]

OLDEST = (3, 6)
"""matplotlib's version that can leave a $ alone, which older ones read as mathematics."""

FORMATS = (".svg", ".png")

LETTERS = 98
"""Of a line of text as wide as a picture."""

LINE, POINTS = 0.19, 72
"""Inches of a line of text; points of an inch."""


def problem(path: Optional[Path]) -> str:
    """Say why nothing can be drawn, or drawn to ``path``; empty where all is well."""
    if path is not None and path.suffix.lower() not in FORMATS:
        return f"--plot {path}: must end in {' or '.join(FORMATS)}"
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return (
            f"plots need matplotlib: your system's package (Debian: python3-matplotlib), or "
            f"{sys.executable} -m pip install matplotlib"
        )
    if getattr(matplotlib, "__version_info__", ())[:2] < OLDEST:
        return f"plots need matplotlib 3.6 or newer, this is {matplotlib.__version__}"
    return ""


def of_jail(result: Result) -> list[Picture]:
    """Make the pictures of a jail; none where there was no packet, or no statistics."""
    statistics = result.statistics
    if statistics is None or not statistics.timeline.bins:
        return []
    period = Period(statistics.timeline)
    highlights = choose(result, statistics.portmap)
    return [
        *ports_pictures(result, statistics, period, highlights),
        packets_picture(result, period),
        targets_picture(result, highlights),
    ]


def write(path: Path, parts: Sequence[tuple[str, Sequence[Picture]]]) -> None:
    """Draw pictures into a file, its format by its name's end.

    Args:
        path: of the file.
        parts: jails, or a sweep: what stands above, and the pictures.  Jails stand beside each
            other, the pictures of each below one another.

    Raises:
        OSError: it cannot be written.
    """
    nothing = Picture("There is nothing to draw.", "", 0.0, lambda _: None)
    columns = [
        [Picture(heading, "", 0.0, lambda _: None), *(pictures or [nothing])]
        for heading, pictures in parts
    ]
    title = "; ".join(heading for heading, _ in parts)
    as_text = path.suffix.lower() == ".svg"
    write_whole(path, _svg(columns, title).encode() if as_text else _png(columns))


def _with_caption(picture: Picture) -> Any:
    """Draw a picture below its title and words."""
    words = textwrap.fill(picture.words, LETTERS)
    caption = 0.45 + LINE * len(words.splitlines())
    height = caption + picture.height
    drawn = figure(WIDTH, height)
    drawn.get_layout_engine().set(rect=(0, 0, 1, picture.height / height))
    drawn.text(0.01, 1 - 0.15 / height, picture.title, va="top", fontsize=FONT_SIZE + 2,
               fontweight="bold")  # fmt: skip
    drawn.text(0.01, 1 - 0.4 / height, words, va="top", color=QUIET, linespacing=1.3)
    picture.draw(drawn)
    return drawn


def _svg(columns: Sequence[Sequence[Picture]], title: str) -> str:
    """Draw columns of pictures as one SVG."""
    parts, tallest = [], 0.0
    for across, column in enumerate(columns):
        down = 0.0
        for number, picture in enumerate(column):
            with printing(f"{across}.{number}"):
                drawn = _with_caption(picture)
                at = f'x="{across * WIDTH * POINTS:g}" y="{down:g}" '
                parts.append(as_svg(drawn, picture.title).replace("<svg ", f"<svg {at}", 1))
            down += drawn.get_figheight() * POINTS
        tallest = max(tallest, down)
    width = len(columns) * WIDTH * POINTS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}pt" height="{tallest:g}pt" '
        f'viewBox="0 0 {width:g} {tallest:g}"><title>{html.escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{"".join(parts)}</svg>\n'
    )


def _png(columns: Sequence[Sequence[Picture]]) -> bytes:
    """Draw columns of pictures as one PNG."""
    numpy, out = importlib.import_module("numpy"), io.BytesIO()
    with printing():
        strips = []
        for column in columns:
            blocks = []
            for picture in column:
                drawn = _with_caption(picture)
                drawn.set_dpi(DPI)
                canvas = library("backends.backend_agg").FigureCanvasAgg(drawn)
                canvas.draw()
                blocks.append(numpy.asarray(canvas.buffer_rgba()))
            strips.append(numpy.concatenate(blocks))
        tallest = max(map(len, strips))
        whole = [
            numpy.pad(strip, ((0, tallest - len(strip)), (0, 0), (0, 0)), constant_values=255)
            for strip in strips
        ]
        library("image").imsave(out, numpy.concatenate(whole, axis=1), format="png", dpi=DPI)
    return out.getvalue()


def element(picture: Picture, salt: str) -> str:
    """Draw one picture as an SVG element for a page, without its title and words.

    Args:
        picture: the picture.
        salt: sets its ids apart from those of the page's others.
    """
    with printing(salt):
        drawn = figure(WIDTH, picture.height)
        picture.draw(drawn)
        return as_svg(drawn, f"{picture.title}. {picture.words}")
