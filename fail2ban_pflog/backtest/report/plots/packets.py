# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of what pf logged over time, and what bans would have kept out of it."""

from __future__ import annotations

from typing import Any

from ...replay.run import Result
from . import scales
from .paper import INK, LOGGED, PREVENTED, Paper, Picture, library, number_of
from .span import BAN_LINE, Span

__all__ = ["packets_picture"]


def packets_picture(result: Result, span: Span) -> Picture:
    """Bars: what is still logged, and on top of it what is not."""
    unit = f"packets per {scales.per(span.width)}"
    if result.bans:
        title = (
            f"Bans would have kept out {result.share:.0%} of {number_of(result.packets, 'packet')}"
        )
        words = (
            f"The {unit} that pf logged; bans would have prevented the upper part of each bar. "
            "A triangle is a ban, and names the source where there is room."
        )
    else:
        title = f"{number_of(result.packets, 'packet')} and no ban"
        words = f"The {unit} that pf logged."

    def draw(paper: Paper) -> None:
        line = BAN_LINE if result.bans else 0.0
        highest = max(low + high for _, low, high in span.bars)
        ticks = {tick: f"{tick:,}" for tick in scales.whole_ticks(highest)}
        axes = paper.axes(paper.left(ticks.values()), 0.55, 0.2, 0.5 + line)
        begins = [begin for begin, _, _ in span.bars]
        logged = [low for _, low, _ in span.bars]
        prevented = [high for _, _, high in span.bars]
        # A little air between bars, where there are few.
        width = span.width * (0.86 if len(begins) <= 80 else 1.0)
        low = axes.bar(begins, logged, width, align="edge", color=LOGGED, label="still logged")
        handles = [low]
        if result.bans:
            high = axes.bar(
                begins, prevented, width, logged, align="edge", color=PREVENTED,
                label="prevented",
            )  # fmt: skip
            handles += [high, _ban_mark()]
        axes.set_ylim(0, highest * 1.04)
        axes.set_yticks(list(ticks), ticks.values())
        span.axis(axes, paper)
        span.bans(axes, paper, result.bans, {})
        paper.unit(axes, unit, 0.27)
        if result.bans:
            paper.legend(axes, handles, 0.05, 0.03, 3)

    return Picture(title, words + span.note, lambda width: 1.7 + 0.22 * width, draw)


def _ban_mark() -> Any:
    return library("lines").Line2D(
        [], [], marker="v", markersize=6, color=INK, linestyle="none", label="ban"
    )
