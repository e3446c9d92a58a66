# SPDX-License-Identifier: GPL-2.0-or-later
"""The time axis that the pictures of a jail have in common, and the line of bans above it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ...replay.replay import Ban
from ...replay.statistics import Survey
from . import scales
from .paper import FONT_SIZE, INK, Paper, number_of

__all__ = ["BAN_LINE", "Span"]

MAX_BARS = 250
"""As many are told apart on a phone."""

BAN_LINE = 0.24
"""Inches of the line of bans."""

BESIDE = 0.08
"""Inches between a mark's middle and what stands beside it."""

NEAR = 0.07
"""Inches: bans that are nearer are one mark."""

MOST_TICKS, TICK_GAP = 8, 0.25
"""Of a time axis, as far as there is room; and inches between their texts."""


class Span:
    """The time axis: the bars that there are, and what is left out of them."""

    def __init__(self, survey: Survey) -> None:
        self.width, self.bars, self.outside = survey.timeline.bars(MAX_BARS)
        self.begin, self.end = self.bars[0][0], self.bars[-1][0] + self.width
        self.zone = scales.Zone.at(self.begin)

    @property
    def note(self) -> str:
        """What is told of packets that are not shown."""
        if not self.outside:
            return ""
        left_out = number_of(self.outside, "packet")
        return f" Not shown: {left_out} that came a month or more before or after all others."

    def axis(self, axes: Any, paper: Paper) -> None:
        """Set the axis."""
        axes.set_xlim(self.begin, self.end)
        box = axes.get_position()
        length, beyond = box.width * paper.width, (1 - box.x1) * paper.width
        for most in range(MOST_TICKS, 0, -1):
            ticks, label = scales.time_ticks(self.begin, self.end, self.zone, most)
            widest = max((paper.measure(text, FONT_SIZE) for _, text in ticks), default=0)
            if len(ticks) * (widest + TICK_GAP) <= length:
                break
        second = length / (self.end - self.begin)
        last = self.end + (beyond - widest / 2) / second  # a later one would be cut off
        ticks = [(time, text) for time, text in ticks if time <= last]
        axes.set_xticks([time for time, _ in ticks], [text for _, text in ticks])
        axes.set_xlabel(label)

    def bans(self, axes: Any, paper: Paper, bans: Iterable[Ban], colours: dict[str, str]) -> None:
        """Mark bans above the axes, and name whom where there is room."""
        inside = [ban for ban in bans if self.begin <= ban.time <= self.end]
        box = axes.get_position()
        length = box.width * paper.width
        second = length / (self.end - self.begin)
        marks: list[list[Ban]] = []
        for ban in sorted(inside, key=lambda ban: ban.time):
            if marks and (ban.time - marks[-1][0].time) * second < NEAR:
                marks[-1].append(ban)
            else:
                marks.append([ban])
        top = 1 + 0.11 / (box.height * paper.figure.get_size_inches()[1])
        kind = {
            "xycoords": axes.get_xaxis_transform(),
            "textcoords": "offset points",
            "va": "center",
            "fontsize": FONT_SIZE - 1.5,
            "annotation_clip": False,
        }
        places = [(mark[0].time - self.begin) * second for mark in marks]
        free = -box.x0 * paper.width  # from here on, up to the next mark, there is room
        for mark, at, following in zip(marks, places, [*places[1:], math.inf]):
            time, text = mark[0].time, _whom(mark)
            axes.plot(
                [time], [top], marker="v", markersize=6, color=colours.get(text, INK),
                transform=axes.get_xaxis_transform(), clip_on=False, linestyle="none",
            )  # fmt: skip
            size = paper.measure(text, FONT_SIZE - 1.5) + BESIDE
            end = min(following - BESIDE, paper.width * (1 - box.x0))
            if at + size <= end:
                axes.annotate(text, (time, top), xytext=(5, 0), ha="left", **kind)
                free = at + size
            elif at - size >= free:
                axes.annotate(text, (time, top), xytext=(-5, 0), ha="right", **kind)
                free = at + BESIDE
            else:
                free = at + BESIDE


def _whom(bans: Sequence[Ban]) -> str:
    names = {ban.source for ban in bans}
    return bans[0].source if len(names) == 1 else f"{len(names):,} sources"
