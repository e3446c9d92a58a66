# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures, by matplotlib, which is imported only when one is drawn.

ports      who asked for which port when
packets    what was logged over time, and what bans prevent
threshold  how many sources asked for how many targets
sweep      of a sweep: a heat map, or dots
span, cast, scales  the time axis; who has a colour; what stands on the axes
paper, svg  what they are drawn on: sizes, colours, dark screens
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from ...replay.run import Result
from .cast import choose
from .packets import packets_picture
from .paper import FONT_SIZE, QUIET, Paper, Picture, figure, printing
from .ports import ports_picture
from .span import Span
from .svg import DARK_STYLE, as_svg
from .sweep import of_sweep
from .threshold import threshold_picture

__all__ = ["DARK_STYLE", "Picture", "element", "of_jail", "of_sweep", "problem", "sheet", "write"]

OLDEST = (3, 6)
"""matplotlib's version that can be told not to read a $ as mathematics."""

FORMATS = (".svg", ".png")

WIDTH = 6.6
"""Inches of a picture for a report: the text of a page of paper is as wide."""

_TITLE, _WORDS = FONT_SIZE + 3, FONT_SIZE - 0.5
_TITLE_LINE, _WORDS_LINE, _GAP = 0.27, 0.2, 0.35


def problem(path: Optional[Path]) -> str:
    """Say why nothing can be drawn, or drawn to ``path``; empty where all is well."""
    if path is not None and path.suffix.lower() not in FORMATS:
        return f"--plot {path}: must end in {' or '.join(FORMATS)}"
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return f"plots need matplotlib: {sys.executable} -m pip install matplotlib"
    if getattr(matplotlib, "__version_info__", ())[:2] < OLDEST:
        return f"plots need matplotlib 3.6 or newer, this is {matplotlib.__version__}"
    return ""


def of_jail(result: Result) -> list[Picture]:
    """The pictures of a jail; none where there was no packet, or no survey."""
    survey = result.survey
    if survey is None or not survey.timeline.bins:
        return []
    span = Span(survey)
    cast = choose(result, survey.dots)
    return [
        ports_picture(result, survey, span, cast),
        packets_picture(result, span),
        threshold_picture(result, cast),
    ]


def write(path: Path, parts: Sequence[tuple[str, Sequence[Picture]]]) -> None:
    """Draw pictures one below the other into a file, its format by its name's end.

    parts: jails, or a sweep: what stands above, and the pictures.  Raises OSError.
    """
    with printing():
        drawn = sheet(parts)
        if path.suffix.lower() == ".svg":
            title = "; ".join(heading for heading, _ in parts)
            path.write_text(as_svg(drawn, title, style=True), "utf-8")
        else:
            drawn.savefig(path, format="png", dpi=160)


def sheet(parts: Sequence[tuple[str, Sequence[Picture]]]) -> Any:
    """A figure with pictures, each below its title and words; for ``parts`` see ``write``."""
    probe = Paper(figure(WIDTH, 1, transparent=True), 0, 1)
    blocks: list[tuple[float, float, Callable[[Paper], None]]] = []  # top, height, what draws it
    at = 0.12

    def put(height: float, draw: Callable[[Paper], None]) -> None:
        nonlocal at
        blocks.append((at, height, draw))
        at += height

    def put_text(text: str, line: float, **kind: Any) -> None:
        lines = probe.wrapped(text, WIDTH - 0.2, **kind)
        put(
            line * len(lines),
            lambda paper: paper.text(0.05, 0, "\n".join(lines), linespacing=1.25, **kind),
        )

    for heading, pictures in parts:
        put_text(heading, _WORDS_LINE, fontsize=_WORDS, color=QUIET)
        at += _GAP / 3
        if not pictures:
            put_text("There is nothing to draw.", _WORDS_LINE, fontsize=_WORDS)
        for picture in pictures:
            put_text(picture.title, _TITLE_LINE, fontsize=_TITLE, fontweight="bold")
            put_text(picture.words, _WORDS_LINE, fontsize=_WORDS)
            at += 0.12
            put(picture.height(WIDTH), picture.draw)
            at += _GAP
    drawn = figure(WIDTH, at, transparent=False)
    for top, height, draw in blocks:
        draw(Paper(drawn, at - top - height, height))
    return drawn


def element(picture: Picture, width: float, salt: str) -> str:
    """One picture as an SVG element for a page, without its title and words.

    width: inches.  salt: sets its ids apart from those of the page's others.
    """
    with printing(salt):
        height = picture.height(width)
        drawn = figure(width, height, transparent=True)
        picture.draw(Paper(drawn, 0, height))
        return as_svg(drawn, f"{picture.title}. {picture.words}", style=False)
