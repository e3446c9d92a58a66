# SPDX-License-Identifier: GPL-2.0-or-later
"""What all pictures have in common: colours, sizes, axes, and SVG for a page.

matplotlib lays them out (constrained layout) and chooses ticks.  It is imported only when a
picture is drawn.  Marks differ in lightness and shape as well as in colour: a picture has to
survive a grey printer.
"""

from __future__ import annotations

import html
import importlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple

PAPER, INK, QUIET, FAINT = "#ffffff", "#1b1e23", "#5b6470", "#dde1e6"
LOGGED, PREVENTED, OTHERS, ALARM = "#1f5a85", "#f0b84a", "#7d8791", "#d55e00"
SOURCES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's: distinct to the colour-blind."""
SHAPES = ("o", "s", "D", "P", "X", "p")
"""Of sources; a triangle is a ban."""

WIDTH = 7.2
"""Inches of a picture."""

FONT_SIZE, SMALL = 10.0, 9.0
DPI = 160

_SETTINGS = {
    "font.size": FONT_SIZE,
    "font.family": ["sans-serif"],
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a $
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.labelsize": FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.2,
    "legend.handletextpad": 0.4,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "svg.fonttype": "none",
    "svg.image_inline": True,
}


class Picture(NamedTuple):
    """A picture, and what is said of it in words.

    Attributes:
        title: what there is to see, a sentence.
        words: what is shown, and how to read it.
        height: in inches.
        draw: draws it into a figure or a part of one.
    """

    title: str
    words: str
    height: float
    draw: Callable[[Any], None]


def library(name: str) -> Any:
    """Import a module of matplotlib, which is not installed everywhere."""
    return importlib.import_module(f"matplotlib.{name}")


@contextmanager
def printing(salt: str = "pflog") -> Iterator[None]:
    """Let matplotlib draw with our settings.

    Args:
        salt: makes the ids in one SVG differ from those of any other.
    """
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": salt}):
        yield


def figure(width: float, height: float) -> Any:
    """Make a figure; inches."""
    return library("figure").Figure(figsize=(width, height), facecolor=PAPER, layout="constrained")


def counts(axis: Any, most: int = 5) -> None:
    """Let an axis have whole numbers, with commas."""
    ticker = library("ticker")
    axis.set_major_locator(ticker.MaxNLocator(most, integer=True))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))


def legend(axes: Any, handles: list[Any], columns: int = 3) -> None:
    """Explain marks above the axes: never over what they mark."""
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.06), ncol=columns)


def number_of(number: int, what: str) -> str:
    """Write ``1 packet``, ``2,000 packets``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def as_svg(drawn: Any, title: str) -> str:
    """Turn a figure into an SVG element.

    matplotlib puts style into attributes, which the page's policy forbids: they become
    attributes of their own.

    Args:
        drawn: the figure.
        title: what is to be seen, for screen readers.
    """
    out = io.StringIO()
    drawn.savefig(out, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>", "", out.getvalue(), flags=re.DOTALL
    )
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])  # in each picture the same
    text = re.sub(r' style="([^"]*)"', _attributes, text)
    head = f'<svg role="img" font-family="sans-serif" stroke-linejoin="round"{text[4:]}'
    end_of_head = head.index(">") + 1
    return f"{head[:end_of_head]}\n<title>{html.escape(title)}</title>{head[end_of_head:]}"


def _attributes(style: re.Match[str]) -> str:
    found = {}
    for each in html.unescape(style[1]).split(";"):
        name, _, value = (part.strip() for part in each.partition(":"))
        if name == "font":
            if size := re.search(r"([\d.]+)px", value):
                found["font-size"] = size[1]
            if re.match(r"(bold|[6-9]00)\b", value):
                found["font-weight"] = "bold"
        elif name and name != "font-family":
            found[name] = value.removesuffix("px")
    return "".join(f' {name}="{html.escape(value)}"' for name, value in found.items())
