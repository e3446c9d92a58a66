# SPDX-License-Identifier: GPL-2.0-or-later
"""What several jails read in common is read once, and none of them waits for another."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.pflog.savefile import FileHeader, Record
from fail2ban_pflog.policy.kernel_filters import KERNEL_FILTERS
from fail2ban_pflog.policy.kinds import MODES
from fail2ban_pflog.sources import bpf, live, shared
from fail2ban_pflog.sources.follow import Follower
from fail2ban_pflog.sources.shared import Chunk, Listener
from tests.support.pcap import World
from tests.support.pflogs import number_of, numbered, savefile_header

BEGIN = 1_780_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A savefile with a packet."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header())
    return append(path, 0, 1)


def append(path: Path, first: int, end: int) -> Path:
    """Append numbered packets, a hundred a second; more than 2,047 are not read at once."""
    with path.open("ab") as file:
        for number in range(first, end):
            file.write(numbered(BEGIN + number / 100, number))
    return path


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records were cut from bytes, at each read of more than the first one."""
    counted: list[int] = []
    original = FileHeader.records

    def records(self: FileHeader, *arguments: Any, **options: Any) -> Any:
        batch = original(self, *arguments, **options)
        if len(batch.records) > 1:
            counted.append(len(batch.records))
        return batch

    monkeypatch.setattr(FileHeader, "records", records)
    return counted


def follow(path: Path, since: float = 0.0) -> Follower:
    return Follower(path, lambda _level, message: pytest.fail(message), since=since)


def numbers(records: list[Record]) -> list[int]:
    return [number_of(frame) for _, _, frame in records]


def drain(follower: Follower) -> list[int]:
    found = []
    while records := follower.read():
        found += numbers(records)
    return found


def test_a_file_is_read_once_for_all(path: Path, cuts: list[int]) -> None:
    """Jails at the same place get the same chunk, decoded once; each keeps its own place."""
    one, two = follow(path), follow(path)
    assert one.read() == two.read()
    append(path, 1, 3000)
    first, again = one.read(), two.read()
    assert again is first
    assert first.cached("key", list) is again.cached("key", list)
    rest = drain(one)
    assert numbers(first) + rest == list(range(1, 3000))
    assert two.place != one.place
    assert drain(two) == rest
    assert sum(cuts) == 2999
    assert two.place == one.place


def test_who_begins_elsewhere_reads_the_same_pieces_soon(path: Path, cuts: list[int]) -> None:
    """A jail with a shorter findtime begins within a piece, and ends where the others do."""
    append(path, 1, 3000)
    one, two = follow(path), follow(path, BEGIN + 5.0)
    first = one.read()
    begun = numbers(two.read())
    assert begun[0] == 500
    assert begun[-1] == numbers(first)[-1]
    assert drain(one) == drain(two)
    assert sum(cuts) < 2 * 3000


def test_a_file_that_was_written_anew_is_read_anew(path: Path) -> None:
    """After a truncation the same inode holds other packets at the same offset."""
    messages: list[str] = []
    one, two = (
        Follower(path, lambda _level, message: messages.append(message), since=0.0)
        for _ in range(2)
    )
    append(path, 1, 3000)
    assert drain(one) == drain(two) == list(range(3000))
    fresh = b"".join(numbered(BEGIN + 100 + number, 5000 + number) for number in range(40))
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(savefile_header() + fresh)
    assert drain(one) == list(range(5000, 5040))
    assert drain(two) == list(range(5000, 5040))
    assert all("truncated" in message for message in messages)


def test_a_jail_that_blocks_does_not_hold_the_others_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jail far ahead waits a moment for the others, once, and then no more; one that was left
    behind misses nothing."""
    monkeypatch.setattr(shared, "MAX_CHUNKS", 2)
    pauses: list[float] = []
    monkeypatch.setattr(shared.time, "sleep", pauses.append)
    blocked, other = follow(path), follow(path)
    assert blocked.read() == other.read()
    append(path, 1, 20_000)
    assert drain(other) == list(range(1, 20_000))
    assert pauses == [shared.PAUSE_AHEAD] * shared.PAUSES_AHEAD
    assert drain(blocked) == list(range(1, 20_000))


def test_who_waits_is_woken(path: Path) -> None:
    """What one jail found wakes the others, so that they come while it is there."""
    woken = threading.Event()
    shared.notify(woken)
    one, two = follow(path), follow(path)
    one.read()
    two.read()
    woken.clear()
    append(path, 1, 2)
    one.read()
    assert woken.is_set()


def test_nothing_is_kept_for_one_reader(path: Path) -> None:
    """A file that one jail reads costs no memory, and a closed one none at all."""
    one, two = follow(path), follow(path)
    one.read()
    two.read()
    append(path, 1, 3000)
    drain(one)
    stat = path.stat()
    inode = stat.st_dev, stat.st_ino
    assert shared._FILES[inode]._chunks
    two.close()
    assert not shared._FILES[inode]._chunks
    one.close()
    assert inode not in shared._FILES


# -- An interface -------------------------------------------------------------------------


def test_what_pflogd_took_back_is_nobodys(path: Path) -> None:
    """What was read in common and taken back, because a write failed, is not found by the others
    where other packets of the same length came instead."""
    one, two = follow(path), follow(path)
    one.read()
    two.read()
    size = path.stat().st_size
    append(path, 1, 4)
    assert [number_of(record[2]) for record in one.read()] == [1, 2, 3]
    os.truncate(path, size)
    one.read()
    append(path, 4, 9)
    for follower in (one, two):
        found = [number_of(r[2]) for chunk in iter(follower.read, Chunk()) for r in chunk]
        assert found == [4, 5, 6, 7, 8]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A pcapy with an interface."""
    world = World()
    monkeypatch.setattr(bpf, "pcapy", lambda: world)
    monkeypatch.setattr(live, "STATS_EVERY", 0.0)
    monkeypatch.setattr(shared, "_INTERFACES", {})
    return world


def listener(messages: list[str], mode: str = "normal", buffer: int = 1000) -> Listener:
    return Listener(
        "pflog0",
        lambda _level, message: messages.append(message),
        expression="",
        kernel_filters=KERNEL_FILTERS[mode],
        breadth=MODES[mode],
        buffer_size=buffer,
    )


def test_an_interface_is_listened_to_once(world: World) -> None:
    """All jails hear the same packets, in order, through one handle; it lasts as long as one."""
    messages: list[str] = []
    one, two = listener(messages), listener(messages, buffer=5000)
    world.frames = [(1, 0, b"a")]
    first = one.read()
    world.frames = [(2, 0, b"b")]
    assert [one.read(), one.read()] == [[(2, 0, b"b")], []]
    assert two.read() is first
    assert [two.read(), two.read()] == [[(2, 0, b"b")], []]
    (handle,) = world.handles
    assert handle.settings["buffer_size"] == 5000
    one.close()
    assert not handle.closed
    world.frames = [(3, 0, b"c")]
    assert two.read() == [(3, 0, b"c")]
    two.close()
    assert handle.closed
    assert shared._INTERFACES == {}


def test_the_kernel_selects_for_the_most_curious(world: World) -> None:
    """Its filter leaves out only what no jail counts, also when jails come and go."""
    messages: list[str] = []
    one = listener(messages)
    one.read()
    (handle,) = world.handles
    two = listener(messages, "aggressive")
    two.close()
    one.close()
    normal, aggressive = KERNEL_FILTERS["normal"][0], KERNEL_FILTERS["aggressive"][0]
    assert handle.filters == [f"({each})" for each in (normal, aggressive, normal)]


def test_a_slow_jail_loses_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets wait for a slow jail up to a bound; what it lost is logged once, and counted."""
    monkeypatch.setattr(shared, "MAX_BEHIND", 6)
    slow_told: list[str] = []
    messages: list[str] = []
    slow, quick = listener(slow_told), listener(messages)
    for number in range(10):
        world.frames = [(number, 0, b"x"), (number, 1, b"y")]
        assert len(quick.read()) == 2
    assert [chunk[0][0] for chunk in iter(slow.read, Chunk())] == [7, 8, 9]
    assert (slow.lost, quick.lost) == (14, 0)
    assert len([message for message in slow_told if "too slow" in message]) == 1
    assert messages == []
    slow.close()
    quick.close()


def test_a_slow_jail_loses_nothing_for_packets_that_come_one_by_one(world: World) -> None:
    """The bound is in packets, however few the kernel hands over at once."""
    messages: list[str] = []
    slow, quick = listener(messages), listener(messages)
    for number in range(1000):
        world.frames = [(number, 0, b"x")]
        quick.read()
    assert [chunk[0][0] for chunk in iter(slow.read, Chunk())] == list(range(1000))
    assert (slow.lost, messages) == (0, [])
    slow.close()
    quick.close()


def test_a_new_filter_loses_nothing(world: World) -> None:
    """A BSD's kernel forgets what it has, and its counters, where the filter changes: when a jail
    comes or goes, what is there is taken before, and drops are not counted from nothing."""
    messages: list[str] = []
    one = listener(messages)
    one.read()
    (handle,) = world.handles
    set_filter = handle.setfilter

    def flushing(expression: str) -> None:
        world.frames, world.dropped = [], 0
        set_filter(expression)

    handle.setfilter = flushing  # type: ignore[method-assign]
    world.frames, world.dropped = [(1, 0, b"x")] * 3, 5
    two = listener(messages, "aggressive")
    assert [len(chunk) for chunk in iter(one.read, Chunk())] == [3]
    assert two.read() == []
    world.frames, world.dropped = [(2, 0, b"x")] * 2, 4
    two.close()
    assert [len(chunk) for chunk in iter(one.read, Chunk())] == [2]
    assert one.source.dropped == 9
    assert len(handle.filters) == 3
    one.close()


def test_who_waits_is_woken_by_who_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets that another jail took from the kernel are not waited for."""
    messages: list[str] = []
    one, two = listener(messages), listener(messages)
    read_end, write_end = os.pipe()  # of an interface on which nothing comes
    monkeypatch.setattr(type(one.source), "fileno", lambda _: read_end)
    one.read()
    woken = threading.Event()

    def wait() -> None:
        two.wait(60)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    world.frames = [(1, 0, b"x")]
    assert len(one.read()) == 1
    assert woken.wait(10)
    thread.join()
    assert len(two.read()) == 1
    for each in (one, two):
        each.close()
    for end in (read_end, write_end):
        os.close(end)


def test_all_are_told_what_becomes_of_the_interface(world: World) -> None:
    """Each jail's log says that the interface is gone, and that it is back."""
    one_told: list[str] = []
    two_told: list[str] = []
    one, two = listener(one_told), listener(two_told)
    one.read()
    world.gone = True
    one.read()
    assert "is gone" in two.source.state
    two.wait(0.001)  # there is nothing to wait for
    world.gone = False
    one.source._next_attempt = time.monotonic()
    one.read()
    assert one_told == two_told
    assert [message[:9] for message in one_told] == ["pflog0 is", "listening"]
    one.close()
    two.close()


def test_events_of_jails_that_are_gone_are_forgotten() -> None:
    """A jail that was removed leaves nothing behind."""
    gc.collect()
    before = len(shared._EVENTS)
    event = threading.Event()
    shared.notify(event)
    assert len(shared._EVENTS) == before + 1
    del event
    gc.collect()
    assert len(shared._EVENTS) == before


@pytest.mark.parametrize("seed", range(3))
def test_jails_that_come_and_go_never_lock_each_other_out(path: Path, seed: int) -> None:
    """Threads that open, read and close one file and one interface at once all come to an end,
    and each that read to the end had every packet."""
    append(path, 1, 4000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    whole: list[bool] = []

    def jail(number: int) -> None:
        dice = random.Random(seed * 100 + number)
        event = threading.Event()
        for _ in range(20):
            shared.notify(event)
            follower = follow(path)
            if dice.random() < 0.5:
                follower.read()
            else:
                whole.append(drain(follower) == list(range(4000)))
            follower.close()
            ear = listener([])
            ear.close()

    threads = [threading.Thread(target=jail, args=(n,), daemon=True) for n in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(before)
    assert not any(thread.is_alive() for thread in threads)
    assert whole
    assert all(whole)


def test_closing_twice_is_harmless(world: World) -> None:
    """fail2ban ends a jail's thread and the filter by itself: both close what is open."""
    one, two = listener([]), listener([])
    one.read()
    for _ in range(2):
        one.close()
    assert not world.handles[0].closed
    two.close()
    assert world.handles[0].closed
