# SPDX-License-Identifier: GPL-2.0-or-later
"""Seconds since the epoch as text, across changes of daylight saving time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from fail2ban_pflog.wire.timestamps import MAX_MINUTES, Stamps


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in the time zone that the test names."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["UTC0"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_both_forms() -> None:
    """One form is tcpdump's, the other ISO 8601 with the offset."""
    stamps = Stamps()
    assert stamps.text(1795312093, 748353) == "2026-11-22 01:48:13.748353"
    assert stamps.iso(1795312093, 748353) == "2026-11-22T01:48:13.748353+00:00"
    assert stamps.second(1795312093) == "2026-11-22 01:48:13"


@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_daylight_saving() -> None:
    """The hour that repeats in autumn has two offsets; both seconds at the change are right."""
    stamps = Stamps()
    change = int(datetime(2026, 10, 25, 1, tzinfo=timezone.utc).timestamp())
    assert stamps.iso(change - 1, 5) == "2026-10-25T02:59:59.000005+02:00"
    assert stamps.iso(change, 5) == "2026-10-25T02:00:00.000005+01:00"
    assert stamps.iso(change - 1, 5) == "2026-10-25T02:59:59.000005+02:00"
    spring = int(datetime(2026, 3, 29, 1, tzinfo=timezone.utc).timestamp())
    assert stamps.text(spring - 1, 0) == "2026-03-29 01:59:59.000000"
    assert stamps.text(spring, 0) == "2026-03-29 03:00:00.000000"


@pytest.mark.parametrize(
    "zone",
    ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+0545>-5:45", "EST5EDT"],
    indirect=True,
)
@pytest.mark.usefixtures("zone")
def test_as_the_system_says() -> None:
    """Every second agrees with the C library, also where the offset is no whole hour."""
    stamps = Stamps()
    for start in (0, 1793494800 - 90, 1774746000 - 90, 2**31 - 90, 2**32 - 181):
        for second in range(start, start + 180):
            expected = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            assert stamps.second(second) == expected


def test_utc() -> None:
    """The local time zone can be left out."""
    assert Stamps(utc=True).iso(0, 0) == "1970-01-01T00:00:00.000000+00:00"


def test_bounded() -> None:
    """A capture that jumps about does not fill the memory."""
    stamps = Stamps(utc=True)
    for minute in range(MAX_MINUTES + 10):
        stamps.text(minute * 60, 0)
    assert len(stamps._minutes) <= MAX_MINUTES
