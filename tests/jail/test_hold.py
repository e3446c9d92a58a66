# SPDX-License-Identifier: GPL-2.0-or-later
"""What waits counts as if it had not waited: a jail with hold=1 is the reference, to the packet."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime

from fail2ban_pflog.backend import FilterPflog
from fail2ban_pflog.jail.positions import File
from tests.support.pflogs import append, record, savefile_header, syn, syn6

BEGIN = 1_780_000_000.0
ONE, TWO = "192.0.2.1", "192.0.2.2"


class World:
    """A jail that follows a file, on a clock that goes as packets come; one at a time.

    bans: (when it came, source, its ticket's time), times from the begin.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        folder.mkdir()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.now = 0.0
        self.bans: list[tuple[float, str, float]] = []
        self.path = folder / "pflog"
        self.path.write_bytes(savefile_header())
        MyTime.setTime(BEGIN)
        self.jail: Any = Jail("pflog", backend="polling")
        maxretry, findtime = options.pop("maxretry", 15), options.pop("findtime", 300)
        expression = options.pop("expression", r"^<ADDR>(?:\.\d+)? > \S+:.*$")
        prefix = options.pop("prefix", r"^\s*rule \S+ block in on \S+: <F-CONTENT>.*</F-CONTENT>$")
        given = {name: str(value) for name, value in options.items() if value}
        self.filter = FilterPflog(self.jail, **{"distinct": "port", "mode": "normal", **given})
        self.filter.prefRegex = prefix
        self.filter.addFailRegex(expression)
        self.filter.setMaxRetry(maxretry)
        self.filter.setFindTime(str(findtime))
        self.filter.active, self.filter.ignoreSelf = True, False
        self.filter.addLogPath(str(self.path))
        self.filter.prepare()
        self.look()

    def look(self) -> None:
        """Let the jail read what is there, and take its bans."""
        while self.filter.poll(self.filter.inputs):
            pass
        self.filter.performSvc()
        while ticket := self.jail.getFailTicket():
            when = round(ticket.getTime() - BEGIN, 2)
            self.bans.append((round(self.now, 2), str(ticket.getID()), when))

    def to(self, now: float) -> None:
        """Let time pass; the jail looks at its file every second."""
        while self.now + 1 < now:
            self.now += 1
            MyTime.setTime(BEGIN + self.now)
            self.look()
        self.now = max(self.now, now)
        MyTime.setTime(BEGIN + self.now)

    def packet(self, now: float, frame: bytes, late: float = 0.0) -> None:
        """Let a packet come; late: by so many seconds."""
        self.to(now)
        append(self.path, record(BEGIN + now - late, frame))
        self.look()


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[World] = []

    def world(**options: Any) -> World:
        made.append(World(tmp_path / str(len(made)), monkeypatch, **options))
        return made[-1]

    yield world
    MyTime.setTime(None)
    for each in made:
        each.filter.onStop()


def traffic(dice: random.Random, findtime: int) -> list[tuple[float, bytes, float]]:
    """Some sources with gaps of all lengths, some of whose packets come late."""
    found = []
    for number in range(dice.choice((1, 3, 6))):
        now = dice.uniform(1, 50)
        is_6 = dice.random() < 0.3
        for index in range(dice.randrange(1, 60)):
            port = dice.choice((22, 80 + index, 80 + index % 7, 443))
            if is_6:
                frame = syn6(f"2001:db8:{number % 2}::{number + 1:x}", port)
            else:
                frame = syn(f"192.0.2.{number + 1}", port, target=f"10.99.0.{dice.randrange(2, 5)}")
            late = dice.choice((0, 0, 0, dice.uniform(0, findtime / 3)))
            found.append((round(now, 2), frame, round(late, 2)))
            now += dice.choice((0.01, 1, 3, findtime / 4, findtime / 2 + 0.3))
            if dice.random() < 0.1:
                now += dice.choice((findtime, findtime + 3, findtime * 1.5, findtime * 4))
    return sorted(found, key=lambda each: each[0])


@pytest.mark.parametrize("seed", range(40))
def test_verdicts_are_those_of_who_does_not_wait(make: Make, seed: int) -> None:
    """The same bans at the same packets with tickets of the same times, whatever waits."""
    dice = random.Random(seed)
    findtime = dice.choice((30, 60, 300))
    options = {
        "distinct": dice.choice(("port", "host", "none")),
        "mode": dice.choice(("normal", "any")),
        "prefix6": dice.choice((64, 128)),
        "maxretry": dice.choice((2, 3, 4, 5, 8, 15)),
        "findtime": findtime,
    }
    hold, packets = dice.choice((1000, 1000, 2, 4, 9)), traffic(dice, findtime)
    found = []
    for each in (1, hold):
        world = make(**options, hold=each)
        for now, frame, late in packets:
            world.packet(now, frame, late)
        found.append(world.bans)
    assert found[0] == found[1]


def test_a_gap_longer_than_findtime_begins_anew(make: Make) -> None:
    """Seven ports, a silence of findtime and 14 more are no 15: neither when the first seven
    waited, nor when all of it stands in a file that is read at once."""
    for hold in (1, 15):
        world = make(hold=hold)
        frames = [(float(n), syn(ONE, 100 + n)) for n in range(7)]
        frames += [(320.0 + n, syn(ONE, 200 + n)) for n in range(14)]
        for now, frame in frames:
            world.packet(now, frame)
        world.to(400)
        again = [record(BEGIN + now, syn(TWO, n)) for n, (now, _) in enumerate(frames)]
        append(world.path, b"".join(again))
        world.look()
        assert world.bans == []
        assert world.filter.pipeline.passed == (42 if hold == 1 else 0)


def test_a_filter_that_selects_begins_anew_as_well(make: Make) -> None:
    """Of what waited only some may be the filter's: its own gaps count."""
    for hold in (1, 15):
        world = make(hold=hold, expression=r"^<ADDR>(?:\.\d+)? > \S+\.1\d\d:.*$", maxretry=4)
        for now, port in ((1, 100), (2, 101), (200, 22), (400, 102), (401, 103), (402, 22)):
            world.packet(now, syn(ONE, port))
        assert world.bans == []
        world.packet(403, syn(ONE, 104))
        world.packet(404, syn(ONE, 105))
        assert world.bans == [(404, ONE, 404)]


@pytest.mark.parametrize(("before", "then"), [(15, 2), (2, 4)])
def test_maxretry_may_change_while_packets_wait(make: Make, before: int, then: int) -> None:
    """No packet is lost, none counts twice."""
    for hold in (1, 15):
        world = make(hold=hold, maxretry=before)
        world.packet(1, syn(ONE, 100))
        world.filter.setMaxRetry(then)
        for number in range(then - 1):
            world.packet(2 + number, syn(ONE, 200 + number))
        assert world.bans == [(then, ONE, then)]
        assert world.filter.pipeline.passed == then
        assert world.filter.pipeline.dedup.waiting == 0


def test_hold_is_at_most_maxretry(make: Make) -> None:
    """A larger hold= bans nobody later."""
    world = make(hold=8, maxretry=5)
    for number in range(7):
        world.packet(number, syn(ONE, 100 + number))
    assert world.bans == [(4, ONE, 4)]


def test_packets_of_a_clock_that_is_ahead_count_when_they_came(make: Make) -> None:
    """Also when they wait: they are not all counted at the time of the last one."""
    for hold in (1, 15):
        world = make(hold=hold, findtime=60)
        for number in range(7):
            world.packet(15 * number, syn(ONE, 100 + number), late=-600)
        for number in range(10):
            world.packet(105 + number, syn(ONE, 200 + number), late=-600)
        assert world.bans == []


def test_bans_that_grow_end_the_holding(make: Make) -> None:
    """Where fail2ban bans a known source for fewer packets none is held, from when that is set."""
    world = make(maxretry=3, hold=3)
    for number in range(2):
        world.packet(1 + number, syn(ONE, 100 + number))
    assert world.filter.pipeline.dedup.hold == 3
    world.jail.setBanTimeExtra("increment", "true")
    for number in range(2):
        world.packet(3 + number, syn(TWO, 100 + number))
    assert world.filter.pipeline.dedup.hold == 1


def interrupt(world: World, by: str, value: bool) -> Callable[[], None]:
    """Let the server's thread set something while a packet's line is made; returns what ends it."""
    take = world.filter.pipeline.take_group

    def interrupted(*run: Any) -> Any:
        lines = take(*run)
        setattr(world.filter, by, value)
        return lines

    def end() -> None:
        world.filter.pipeline.take_group = take  # type: ignore[method-assign]
        setattr(world.filter, by, not value)

    world.filter.pipeline.take_group = interrupted  # type: ignore[method-assign]
    return end


def test_a_reload_leaves_times_as_they_are(make: Make) -> None:
    """A line that a reload left behind, of a clock that is a year ahead, counts as of now."""
    world = make(maxretry=1)
    end = interrupt(world, "idle", True)
    append(world.path, record(BEGIN + 86_400 * 365, syn(ONE, 100)))
    world.filter.poll(world.filter.inputs)
    end()
    world.look()
    assert world.bans == [(0, ONE, 0)]


def test_a_stop_loses_no_packet(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is before the packet that a stop left uncounted."""
    world = make(maxretry=1)
    interrupt(world, "active", False)
    append(world.path, b"".join(record(BEGIN, syn(f"192.0.2.{n}", 22)) for n in (1, 2, 3)))
    places: list[Any] = []
    monkeypatch.setattr(File, "save", lambda file: places.append(file.place))
    world.filter.poll(world.filter.inputs)
    world.filter.onStop()
    assert not world.jail.getFailTicket()
    assert [offset for _, offset in places[-1:]] == [len(savefile_header())]


def test_an_error_loses_one_packet(make: Make) -> None:
    """What nobody has thought of costs the packet that it happened at, none behind it."""
    world = make(maxretry=2)
    take = world.filter.pipeline.take_group
    errors = [KeyError("unthought of")]

    def failing(*run: Any) -> Any:
        if errors:
            raise errors.pop()
        return take(*run)

    world.filter.pipeline.take_group = failing  # type: ignore[method-assign]
    append(world.path, b"".join(record(BEGIN, syn(ONE, port)) for port in (22, 23, 24)))
    with pytest.raises(KeyError):
        world.filter.poll(world.filter.inputs)
    world.look()
    assert world.bans == [(0, ONE, 0)]


def brake(make: Make) -> World:
    """A jail with brake=1 of whose 12 bans 11 wait."""
    world = make(hold=1, maxretry=2, brake=1)
    for number in range(12):
        for port in (22, 23):
            world.packet(1 + number / 10 + port / 1000, syn(f"192.0.2.{number + 1}", port))
    assert "11 bans wait" in dict(world.filter.status())["Packets"]
    return world


def test_a_ban_that_waited_is_as_long_as_any(make: Make) -> None:
    """fail2ban takes a ban's time for its begin: one that waited begins when it comes."""
    world = brake(make)
    world.to(700)
    assert [source for _, source, _ in world.bans] == [f"192.0.2.{n + 1}" for n in range(12)]
    for at, _, when in world.bans:
        assert at - when < 2


def test_who_waits_can_be_unbanned_or_ignored(make: Make) -> None:
    """An unban and ignoreip hold for sources that wait; the client's answer counts an unban."""
    world = brake(make)
    remove = world.jail.actions.removeBannedIP
    assert remove("192.0.2.2", ifexists=True) == 1
    assert remove(["192.0.2.3", "192.0.2.4"], ifexists=True) == 2
    assert remove("192.0.2.8/29", ifexists=True) == 5
    world.filter.addIgnoreIP("192.0.2.5")
    assert "3 bans wait" in dict(world.filter.status())["Packets"]
    world.to(300)
    assert [source for _, source, _ in world.bans] == ["192.0.2.1", "192.0.2.6", "192.0.2.7"]
    for number in range(4):
        for port in (24, 25):
            world.packet(310 + number, syn(f"192.0.2.{number + 100}", port))
    assert "bans wait" in dict(world.filter.status())["Packets"]
    remove(None)
    assert "bans wait" not in dict(world.filter.status())["Packets"]


def test_a_reload_bans_no_source_that_waits(make: Make) -> None:
    """A reload clears the ignore list before it fills it again: bans wait for its end."""
    world = brake(make)
    world.filter.idle = True
    MyTime.setTime(BEGIN + 200)
    world.now = 200
    world.look()
    assert len(world.bans) == 1
    world.filter.idle = False
    world.look()
    assert len(world.bans) == 2


def test_networks_that_wait_can_be_unbanned_or_ignored(make: Make) -> None:
    """An address stands for the network that waits and holds it, as of one that is banned."""
    world = make(hold=1, maxretry=1, brake=1, prefix6=64)
    for number in range(4):
        world.packet(1 + number, syn6(f"2001:db8:{number}::7", 22))
    assert world.jail.actions.removeBannedIP("2001:db8:1::9", ifexists=True) == 1
    world.filter.addIgnoreIP("2001:db8:2::9")
    world.to(200)
    bans = [source for _, source, _ in world.bans]
    assert bans == ["2001:db8::/64", "2001:db8:3::/64"]


def test_a_full_table_is_reported(make: Make) -> None:
    """The status counts what was forgotten, and warns where that may hide a slow scanner."""
    world = make(hold=15)
    world.filter.pipeline.dedup.max_bytes = 20_000
    for number in range(100):
        world.packet(1 + number / 100, syn(f"192.0.2.{number}", 22))
    status = dict(world.filter.status())
    assert "sources forgotten early" in status["Packets"]
    assert "slow scanners" not in status["Warning"]
    for number in range(300):
        world.packet(2 + number / 100, syn(f"192.0.3.{number % 10}", 22 + number // 10))
        world.packet(2 + number / 100, syn(f"192.{number % 250}.4.1", 22))
        world.packet(2 + number / 100, syn(f"192.{number % 250}.4.1", 23))
    warnings = [words for name, words in world.filter.status() if name == "Warning"]
    assert any("slow scanners may be missed" in words for words in warnings)


def test_status_shows_the_sources_near_a_ban(make: Make) -> None:
    """The sources that hold most packets are named with how many they are short of."""
    world = make(hold=15)
    for number in range(14):
        world.packet(number, syn(ONE, 100 + number))
    world.packet(15, syn(TWO, 22))
    assert dict(world.filter.status())["Near a ban"] == f"{ONE} (14 of 15)"
    assert world.filter.failManager.size() == 0


def test_an_exit_of_a_command_loses_no_packet_behind(make: Make) -> None:
    """What even fail2ban does not catch costs the line that it happened at, none behind it."""
    world = make(maxretry=2)
    count = world.filter.processLineAndAdd
    exits = [SystemExit()]

    def failing(*line: Any) -> Any:
        if exits:
            raise exits.pop()
        return count(*line)

    world.filter.processLineAndAdd = failing
    append(world.path, b"".join(record(BEGIN, syn(ONE, port)) for port in (22, 23, 24)))
    with pytest.raises(SystemExit):
        world.filter.poll(world.filter.inputs)
    world.look()
    assert world.bans == [(0, ONE, 0)]
