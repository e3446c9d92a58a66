# SPDX-License-Identifier: GPL-2.0-or-later
"""The time axis of a jail's pictures: local time of one zone, and the bans above it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from ...replay.replay import Ban
from ...replay.statistics import Timeline
from ..words import zone
from .style import INK, library, number_of

MAX_BARS = 250
MINUTE, HOUR, DAY = 60, 3600, 86_400

BUSY_SHARE, MIN_BANS, MUCH_SHORTER = 0.75, 4, 12
"""A second picture of ports shows the part in which so many of the bans came, of at least so
many, where that is so much shorter than all."""


class Period:
    """A stretch of time, and the bars of packets in it.

    Attributes:
        begin, end: seconds since the epoch.
        width: seconds of a bar.
        bars: begin, packets logged and packets prevented of each.
        note: what is left out, in words.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.width, self.bars, outside = timeline.bars(MAX_BARS)
        self.begin, self.end = self.bars[0][0], self.bars[-1][0] + self.width
        self.note = ""
        if outside:
            left_out = number_of(outside, "packet")
            self.note = f" Not shown: {left_out} that came a month or more before or after others."
        # One zone: a picture that crosses a change to summer time would have an hour twice.
        local = datetime.fromtimestamp(self.begin).astimezone()
        self._zone = timezone(local.utcoffset() or timedelta())
        self._zone_words = zone(self.begin)

    def busiest(self, bans: Iterable[Ban]) -> Optional[tuple[float, float]]:
        """Find the part in which most bans came, if it is much shorter than the whole."""
        ordered = sorted((ban for ban in bans if self.begin <= ban.time <= self.end),
                         key=lambda ban: ban.time)  # fmt: skip
        wanted = int(BUSY_SHARE * len(ordered))
        if wanted < MIN_BANS:
            return None
        parts = zip(ordered, ordered[wanted - 1 :])
        first, last = min(parts, key=lambda part: part[1].time - part[0].time)
        span = max(last.time - first.time, 10.0)
        begin, end = first.time - span / 4, last.time + span / 4
        return (begin, end) if (end - begin) * MUCH_SHORTER < self.end - self.begin else None

    def moment(self, time: float) -> str:
        """Write a time of the axis, as short as it can be."""
        local = datetime.fromtimestamp(time, self._zone)
        if self.end - self.begin <= DAY:
            return f"{local:%H:%M:%S}"
        return f"{local:%d %b %H:%M}" if self.end - self.begin <= 366 * DAY else f"{local:%d %b %Y}"

    def axis(self, axes: Any, begin: float, end: float) -> None:
        """Make the axis across one of time; what is drawn has days since the epoch."""
        dates = library("dates")
        locator = dates.AutoDateLocator(tz=self._zone, minticks=3, maxticks=7)
        axes.set_xlim(begin / DAY, end / DAY)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            dates.ConciseDateFormatter(
                locator,
                tz=self._zone,
                # The day stands beside the axis however short that is.
                offset_formats=["", "%Y", "%Y %b", "%d %b %Y", "%d %b %Y", "%d %b %Y"],
                zero_formats=["", "%Y", "%b", "%d %b", "%H:%M", "%H:%M"],
                formats=["%Y", "%b", "%d", "%H:%M", "%H:%M", "%S.%f"],
            )
        )
        axes.set_xlabel(f"time in {self._zone_words}")

    def bans(self, axes: Any, bans: Iterable[Ban], colours: dict[str, str]) -> None:
        """Mark bans at the top of the axes, each source in its colour."""
        by_colour: dict[str, list[float]] = {INK: []}
        for ban in bans:
            by_colour.setdefault(colours.get(ban.source, INK), []).append(ban.time / DAY)
        for colour, times in by_colour.items():
            axes.plot(
                times, [1.025] * len(times), "v", markersize=6, color=colour, clip_on=False,
                transform=axes.get_xaxis_transform(), label="ban",
            )  # fmt: skip


def per(seconds: float) -> str:
    """Write a bar's width as it follows "packets per": ``minute``, ``10 minutes``."""
    for unit, size in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds >= size:
            count = round(seconds / size)
            return unit if count == 1 else f"{count:,} {unit}s"
    return "second" if seconds == 1 else f"{seconds:g} seconds"
