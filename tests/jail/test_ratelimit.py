# SPDX-License-Identifier: GPL-2.0-or-later
"""The brake: at most so many bans a minute, the others in order."""

from __future__ import annotations

from fail2ban_pflog.jail import ratelimit as brake
from fail2ban_pflog.jail.ratelimit import RateLimiter


class World:
    """A brake and a clock."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.brake = RateLimiter[str](most, lambda: self.now)

    def put(self, *sources: str) -> list[bool]:
        return [self.brake.put(source, f"ticket of {source}") for source in sources]

    def at(self, now: float) -> list[str]:
        """What is banned from now on until the next minute's room is used up."""
        self.now = now
        found = []
        while (ticket := self.brake.take()) is not None:
            self.brake.banned()
            found.append(ticket[-1])
        return found


def test_bans_that_are_too_many_wait_in_order() -> None:
    """Two a minute: the third waits until the first is a minute old, and nobody overtakes."""
    world = World(2)
    assert world.put("a") == [True]
    world.now = 30.0
    assert world.put("b", "c", "d", "e") == [True, False, False, False]
    assert world.at(59.9) == []
    assert world.at(60.0) == ["c"]
    assert world.put("f") == [False]
    assert world.at(90.0) == ["d"]
    assert world.at(1000.0) == ["e", "f"]
    assert world.brake.waiting == 0


def test_a_source_waits_once() -> None:
    """Who goes on while it waits is banned once."""
    world = World(1)
    assert world.put("a", "b", "b", "b") == [True, False, False, False]
    assert world.brake.waiting == 1
    assert world.at(60.0) == ["b"]
    assert world.at(120.0) == []


def test_who_is_not_banned_takes_no_room() -> None:
    """Who waited and was ignored by then leaves his room to the next."""
    world = World(1)
    world.put("a", "b", "c")
    world.now = 60.0
    assert [world.brake.take(), world.brake.take()] == ["ticket of b", "ticket of c"]


def test_waiting_is_bounded() -> None:
    """When too many wait, who waited for longest is dropped and counted."""
    world = World(1)
    world.put("x")
    for number in range(brake.MAX_WAITING + 3):
        world.put(str(number))
    assert world.brake.waiting == brake.MAX_WAITING
    assert world.brake.dropped == 3
