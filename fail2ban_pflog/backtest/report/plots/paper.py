# SPDX-License-Identifier: GPL-2.0-or-later
"""What pictures are drawn on: matplotlib's figure, set for print, phone and dark screens.

Colours are those of paper; in SVG a style sheet gives each of them its like for a dark screen
(``svg``).  What tells things apart are lightness and shape as well: a picture has to survive a
grey printer.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple

__all__ = [
    "ALARM",
    "DARK",
    "FONT_SIZE",
    "INK",
    "LOGGED",
    "OTHERS",
    "PREVENTED",
    "QUIET",
    "SHAPES",
    "SOURCES",
    "Paper",
    "Picture",
    "figure",
    "library",
    "number_of",
    "printing",
]

PAPER, INK, QUIET, FAINT = "#ffffff", "#1b1e23", "#5b6470", "#dde1e6"
LOGGED, PREVENTED = "#1f5a85", "#f0b84a"
OTHERS = "#7d8791"
"""Drawn half transparent, as an image where there are many: it goes with any paper."""
ALARM = "#d55e00"
SOURCES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's: distinct to the colour-blind."""
SHAPES = ("o", "s", "^", "D", "v", "P")

DARK = {
    PAPER: "#14171b",
    INK: "#e8eaed",
    QUIET: "#a7afb9",
    FAINT: "#343a42",
    LOGGED: "#5ea6d6",
    PREVENTED: "#d99c2b",
    "#0072b2": "#2f93d4",
    "#d55e00": "#f0792a",
    "#009e73": "#1fbd8f",
    "#cc79a7": "#e08fbc",
    "#56b4e9": "#9bd4f7",
    "#e69f00": "#f2b632",
}
"""Each colour's like on a dark screen."""

FONT_SIZE = 10.5
"""Points; at 400 pixels a wide picture's are nine pixels high."""

_SETTINGS = {
    "font.size": FONT_SIZE,
    "font.family": ["sans-serif"],
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a $
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.labelsize": FONT_SIZE,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "hatch.linewidth": 0.8,
    "svg.fonttype": "none",
    "svg.image_inline": True,
}


def library(name: str) -> Any:
    """A module of matplotlib, which is not installed everywhere."""
    return importlib.import_module(f"matplotlib.{name}")


@contextmanager
def printing(salt: str = "pflog") -> Iterator[None]:
    """Let matplotlib draw by our settings.  salt: makes the ids in one SVG like no other's."""
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": salt}):
        yield


def figure(width: float, height: float, transparent: bool) -> Any:
    """A figure; inches."""
    made = library("figure").Figure(figsize=(width, height))
    library("backends.backend_agg").FigureCanvasAgg(made)  # which measures texts
    made.set_facecolor("none" if transparent else PAPER)
    return made


class Picture(NamedTuple):
    """A picture, and what is said of it in words.

    title: what there is to see, a sentence.  words: what is shown, and how to read it.
    height: in inches, for a width in inches.  draw: onto paper of that height.
    """

    title: str
    words: str
    height: Callable[[float], float]
    draw: Callable[[Paper], None]


class Paper:
    """A strip of a figure, as wide as it, that one picture fills; lengths are inches.

    wide: whether there is room for more than a phone shows.
    """

    WIDE = 5.0

    def __init__(self, whole: Any, bottom: float, height: float) -> None:
        self.figure = whole
        self.width, self._whole = whole.get_size_inches()
        self.bottom = bottom
        self.height = height
        self.wide = self.width >= self.WIDE

    def axes(self, left: float, bottom: float, right: float, top: float) -> Any:
        """Axes with these margins, and no more of a frame than their foot."""
        made = self.figure.add_axes(
            (
                left / self.width,
                (self.bottom + bottom) / self._whole,
                (self.width - left - right) / self.width,
                (self.height - bottom - top) / self._whole,
            )
        )
        made.set_facecolor("none")
        made.spines[["top", "right", "left"]].set_visible(False)
        made.tick_params(axis="y", length=0)
        made.set_axisbelow(True)
        made.grid(axis="y", color=FAINT, linewidth=0.8)
        return made

    def text(self, left: float, top: float, text: str, **kind: Any) -> Any:
        """Text whose upper left corner is so far from the strip's."""
        x, y = left / self.width, (self.bottom + self.height - top) / self._whole
        return self.figure.text(x, y, text, ha="left", va="top", **kind)

    def unit(self, axes: Any, text: str, top: float) -> None:
        """Say above the axes, where it can be read, what its upward axis counts."""
        axes.set_ylabel(text, rotation=0, ha="left", va="top")
        x, y = 0.05 / self.width, (self.bottom + self.height - top) / self._whole
        axes.yaxis.set_label_coords(x, y, self.figure.transFigure)

    def legend(
        self, axes: Any, handles: Sequence[Any], left: float, top: float, columns: int
    ) -> None:
        """Explain marks, in a place of its own: never over what they mark."""
        at = left / self.width, (self.bottom + self.height - top) / self._whole
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=at,
            bbox_transform=self.figure.transFigure,
            ncol=columns,
            fontsize=FONT_SIZE - 1,
            handlelength=1.2,
            labelspacing=0.35,
        )

    def measure(self, text: str, fontsize: float, **kind: Any) -> float:
        """How long a text is, in inches."""
        probe = self.figure.text(0, 0, text, fontsize=fontsize, **kind)
        extent = probe.get_window_extent(self.figure.canvas.get_renderer())
        probe.remove()
        return float(extent.width / self.figure.dpi)

    def left(self, ticks: Iterable[str]) -> float:
        """The left margin that the texts of an upward axis need."""
        return max(0.62, 0.18 + max(self.measure(text, FONT_SIZE) for text in ticks))

    def wrapped(self, text: str, width: float, **kind: Any) -> list[str]:
        """A text in lines that are no longer than so many inches."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else ""
            if longer and self.measure(longer, **kind) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines


def number_of(number: int, what: str) -> str:
    """As ``1 packet``, ``2,000 packets``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
