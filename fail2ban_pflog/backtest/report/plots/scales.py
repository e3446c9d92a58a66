# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands on the axes: times of one zone, ports, spans in words.  Numbers and text only."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from ...replay.portmap import height

__all__ = ["NO_END", "Zone", "bins", "per", "port_ticks", "shortened", "time_ticks", "whole_ticks"]

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 366 * 86_400

STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(each * MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * HOUR for each in (1, 2, 3, 6, 12)),
    *(each * DAY for each in (1, 2, 7, 14)),
)
"""Seconds between two ticks."""

MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
"""Months between two ticks, where STEPS are too short."""

PORTS = (
    (22, "22 ssh"),
    (443, "443 https"),
    (3389, "3389 rdp"),
    (65_535, "65535"),
    (80, "80 http"),
    (20_000, "20000"),
    (8080, "8080"),
    (1433, "1433 sql"),
    (5900, "5900 vnc"),
)
"""Ports that stand on the axis, as far as there is room for them; the first come first."""


LONGEST = 18
"""Letters of a text on an axis."""

NO_END = 1 << 62
MOST_BELOW, MOST_ABOVE = 4, 2
"""Spans on either side of a threshold, about: a phone has room for seven or eight."""


class Zone(NamedTuple):
    """The clock of a picture: the local time of one moment, kept for all of it.

    A picture that crosses a change to summer time would otherwise have an hour twice.
    """

    seconds: float
    name: str

    @classmethod
    def at(cls, time: float) -> Zone:
        """The local clock at ``time``, seconds since the epoch."""
        local = datetime.fromtimestamp(time).astimezone()
        return cls((local.utcoffset() or timedelta()).total_seconds(), local.tzname() or "")

    @property
    def words(self) -> str:
        """As ``CET (UTC+1)``."""
        minutes = round(abs(self.seconds) / MINUTE)
        offset = f"UTC{'-' if self.seconds < 0 else '+'}{minutes // 60}"
        offset += f":{minutes % 60:02}" if minutes % 60 else ""
        if not minutes:
            offset = "UTC"
        return (
            offset
            if self.name in ("", "UTC") or self.name[0] in "+-"
            else (f"{self.name} ({offset})")
        )

    def moment(self, time: float) -> datetime:
        """A time on this clock."""
        return datetime.fromtimestamp(time, timezone(timedelta(seconds=self.seconds)))

    def day(self, time: float) -> str:
        """As ``24 Nov``."""
        return f"{self.moment(time):%d %b}".lstrip("0")


def per(seconds: float) -> str:
    """A bar's width as it follows "packets per": ``minute``, ``10 minutes``."""
    for unit, size in (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", 1)):
        count, rest = divmod(round(seconds), size)
        if count and not rest:
            return unit if count == 1 else f"{count:,} {unit}s"
    return f"{seconds:g} seconds"


def time_ticks(
    begin: float, end: float, zone: Zone, most: int
) -> tuple[list[tuple[float, str]], str]:
    """Ticks of a time axis, and what its label says of the day and the zone.

    begin, end: seconds since the epoch.  most: how many there is room for.
    """
    span = max(end - begin, 1.0)
    step = next((each for each in STEPS if span / each <= most), 0)
    if step:
        first = math.ceil((begin + zone.seconds) / step) * step - zone.seconds
        times = [first + number * step for number in range(int((end - first) // step) + 1)]
    else:
        times = _months(begin, end, zone, most)
    days = [zone.moment(begin).date(), zone.moment(end - 1).date()]  # the end is another's begin
    ticks = []
    for time in times:
        moment = zone.moment(time)
        if not step:
            text = f"{moment:%b %Y}" if moment.month > 1 or span < 3 * YEAR else f"{moment:%Y}"
        elif step >= DAY or (days[0] != days[1] and not (moment.hour or moment.minute)):
            text = zone.day(time)
        else:
            text = f"{moment:%H:%M:%S}" if step < MINUTE else f"{moment:%H:%M}"
        ticks.append((time, text))
    if days[0] == days[1]:
        told = f"{zone.day(begin)} {days[0].year}, "
    elif not step:
        told = ""
    else:
        years = dict.fromkeys(str(day.year) for day in days)
        told = f"{zone.day(begin)} to {zone.day(end - 1)} {'/'.join(years)}, "
    return ticks, f"{told}time in {zone.words}"


def _months(begin: float, end: float, zone: Zone, most: int) -> list[float]:
    first, last = zone.moment(begin), zone.moment(end)
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    step = next((each for each in MONTH_STEPS if len(months) / each <= most), MONTH_STEPS[-1])
    times = [
        first.replace(
            year=month // 12, month=month % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0
        ).timestamp()
        for month in months
        if month % step == 0
    ]
    return [time for time in times if begin <= time <= end]


def whole_ticks(highest: float, most: int = 5) -> list[int]:
    """Ticks of an axis of counts from 0: whole numbers, at most ``most`` besides 0."""
    step = 1
    while highest / step > most:
        head = int(str(step)[0])
        step = step * 5 // 2 if head == 2 else step * 2
    return list(range(0, int(highest) + 1, step))


def shortened(values: list[str]) -> list[str]:
    """What tells long texts apart: without what all begin and end with, and what is too long."""
    if max(map(len, values)) <= LONGEST:
        return values
    start = _alike(values)
    rest = [value[start:] for value in values]
    stop = _alike([value[::-1] for value in rest])
    found = []
    for value in rest:
        text = ("…" if start else "") + value[: len(value) - stop] + ("…" if stop else "")
        found.append(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
    return found


def _alike(values: list[str]) -> int:
    """With how many letters all of them begin."""
    columns = list(zip(*values))
    return next((at for at, each in enumerate(columns) if len(set(each)) > 1), len(columns))


def port_ticks(room: float) -> list[tuple[float, str]]:
    """Ticks of an axis of ports: height and text.  room: of one tick, as a share of the axis."""
    ticks = [(height(-1), "no port")]
    for port, text in PORTS:
        at = height(port)
        if all(abs(at - other) >= room for other, _ in ticks):
            ticks.append((at, text))
    return sorted(ticks)


def bins(limit: int, highest: int) -> list[tuple[int, int]]:
    """Spans of whole numbers from 1 up, of which one begins at ``limit``: low and high.

    Each is some times as long as the one before; the last has no end.
    """
    times = 2 if limit <= 1 << MOST_BELOW else 4
    lows = [limit]
    while lows[0] > 1:
        lows.insert(0, -(-lows[0] // times))
    for _ in range(MOST_ABOVE):
        if lows[-1] * 2 <= highest:
            lows.append(lows[-1] * 2)
    return [(low, high - 1) for low, high in zip(lows, lows[1:])] + [(lows[-1], NO_END)]
