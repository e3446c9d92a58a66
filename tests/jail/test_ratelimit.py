# SPDX-License-Identifier: GPL-2.0-or-later
"""The rate limit: at most so many bans a minute, the others wait in fail2ban's counters."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server.ipdns import IPAddr
from fail2ban.server.ticket import FailTicket

from fail2ban_pflog.jail import ratelimit
from fail2ban_pflog.jail.failures import Failures
from fail2ban_pflog.jail.ratelimit import RateLimit


class World:
    """Counters with maxretry 1, a limit, and a clock; addresses are named by a number."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.banned: list[int] = []
        self.failures = Failures()
        self.failures.setMaxRetry(1)
        self.limit = RateLimit(most, self.failures, lambda: self.now)

    def put(self, *sources: int) -> None:
        for source in sources:
            ip = IPAddr(f"192.0.{source >> 8}.{source & 255}")
            self.failures.addFailure(FailTicket(ip, self.now))
            self.limit.ban(ip, self._ban)

    def _ban(self, ticket: Any) -> None:
        high, low = str(ticket.getID()).split(".")[2:]
        self.banned.append(int(high) << 8 | int(low))

    def at(self, now: float) -> list[int]:
        """Return the sources that are banned from now on until the minute's room is used up."""
        self.now, self.banned = now, []
        self.limit.ban(None, self._ban)
        return self.banned


def test_bans_over_the_limit_wait() -> None:
    """Two a minute: the third waits until the first is a minute old."""
    world = World(2)
    world.put(1)
    world.now = 30.0
    world.put(2, 3, 4, 5)
    assert world.banned == [1, 2]
    assert world.limit.counts() == ["3 bans wait"]
    assert world.at(59.9) == []
    assert world.at(60.0) == [3]
    assert world.at(90.0) == [4]
    assert world.at(1000.0) == [5]
    assert world.at(2000.0) == []
    assert (world.limit.is_waiting, world.limit.counts()) == (False, [])


def test_a_source_waits_once_and_is_not_forgotten() -> None:
    """A source that goes on is banned once; a clean-up of the counters keeps what waits."""
    world = World(1)
    world.put(1, 2, 2, 2)
    world.failures.cleanup(5000.0)
    assert world.at(60.0) == [2]
    assert world.at(120.0) == []


def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many wait, further ones are dropped and counted."""
    monkeypatch.setattr(ratelimit, "MAX_WAITING", 10)
    world = World(1)
    world.put(*range(14))
    assert world.limit.counts() == ["10 bans wait", "3 bans dropped"]


def test_without_a_limit_nothing_waits() -> None:
    """brake=0 bans each source at once."""
    world = World(0)
    world.put(*range(5))
    assert world.banned == list(range(5))


def test_only_waiting_bans_keep_failures() -> None:
    """A lower maxretry keeps no source that is short of a new failure; fail2ban forgets it."""
    world = World(0)
    world.failures.setMaxRetry(5)
    world.failures.addFailure(FailTicket(IPAddr("192.0.2.1"), 0.0))
    world.failures.setMaxRetry(1)
    world.failures.cleanup(5000.0)
    assert world.failures.size() == 0


def test_a_source_that_is_gone_bans_no_other() -> None:
    """The observer may ask for a source that was banned meanwhile: no other takes its room."""
    world = World(1)
    world.put(1, 2)
    world.now = 60.0
    world.limit.ban(IPAddr("192.0.0.1"), world._ban)
    assert world.banned == [1]
    assert world.at(61.0) == [2]


def test_a_ban_that_waits_costs_no_look_at_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each packet of the sources that wait comes here: ten thousand must not be counted for it."""
    world = World(1)
    monkeypatch.setattr(Failures, "_waiting", lambda _: pytest.fail("counted"))
    world.put(*range(5))
    assert world.limit.is_waiting
