# SPDX-License-Identifier: GPL-2.0-or-later
"""A savefile and the interface together: each packet once."""

from __future__ import annotations

import random

import pytest

from fail2ban_pflog.pflog.savefile import FILE_HEADER_SIZE, FileHeader, Record
from fail2ban_pflog.sources.overlap import Overlap
from tests.support.pflogs import DATA


def packets(*times: int) -> list[Record]:
    return [(0, time, b"") for time in times]


def test_backlog_first_then_live() -> None:
    """The file delivers until the first live packet, the interface from there on."""
    overlap = Overlap()
    assert overlap.from_file(packets(1, 2)) == packets(1, 2)
    assert overlap.from_live(packets(5, 6)) == packets(5, 6)
    assert overlap.from_file(packets(3, 4, 5, 6, 7)) == packets(3, 4)
    assert overlap.repeated == 3


def test_file_was_faster() -> None:
    """Live packets that the file had already are left out, also of the same microsecond."""
    overlap = Overlap()
    assert overlap.from_file(packets(1, 2, 2)) == packets(1, 2, 2)
    assert overlap.from_live(packets(1, 2, 2, 2, 3)) == packets(2, 3)
    assert overlap.from_file(packets(2, 3, 4)) == []


def test_file_takes_over_when_the_interface_vanishes() -> None:
    """Between two times of listening the file's packets are delivered."""
    overlap = Overlap()
    overlap.from_live(packets(10, 11))
    overlap.live_ended()
    assert overlap.from_file(packets(9, 10, 11, 12, 13)) == packets(9, 12, 13)
    assert overlap.from_live(packets(13, 20)) == packets(20)
    assert overlap.from_file(packets(14, 20, 21)) == packets(14)


@pytest.mark.parametrize("system", ["freebsd-13.2", "openbsd-7.8"])
@pytest.mark.parametrize("seed", range(5))
def test_real_captures_of_the_same_traffic(system: str, seed: int) -> None:
    """pflogd's file and the live capture of one system, mixed: every packet once."""
    captures = []
    for kind in ("live", "pflogd"):
        data = (DATA / system / f"block-all.{kind}.pcap").read_bytes()
        captures.append(FileHeader.parse(data).records(data, FILE_HEADER_SIZE).records)
    live, file = captures
    assert [record[:2] for record in live] == [record[:2] for record in file]
    dice = random.Random(seed)
    overlap = Overlap()
    begin = dice.randrange(len(live))  # the first packet that the interface sees
    delivered = []
    live_at, file_at = begin, 0
    while live_at < len(live) or file_at < len(file):
        if dice.random() < 0.5:
            step = live[live_at : live_at + dice.randrange(1, 9)]
            live_at += len(step)
            delivered += overlap.from_live(step)
        else:
            step = file[file_at : min(file_at + dice.randrange(1, 9), max(live_at, begin))]
            file_at += len(step)
            delivered += overlap.from_file(step)
    assert sorted(record[:2] for record in delivered) == sorted(record[:2] for record in live)


def test_one_packet_of_the_future_hides_no_others() -> None:
    """A record of the year 2038, live or in the file, leaves out none of the other source."""
    future = (2**31, 0, b"")
    for now in (100.0, 1_780_000_000.0):
        overlap = Overlap(lambda: now)  # noqa: B023 - used within this round
        first, second = ((int(now) + n, 0, b"") for n in (1, 2))
        assert overlap.from_file([future, first]) == [future, first]
        assert overlap.from_live([second]) == [second]

        overlap = Overlap(lambda: now)  # noqa: B023
        assert overlap.from_live([first, future]) == [first, future]
        overlap.live_ended()
        later = [(int(now) + 70, 0, b"")]
        assert overlap.from_file(later) == later


def test_a_session_of_the_future_is_over_after_a_restart() -> None:
    """What an older version wrote down does not hide the file's packets."""
    overlap = Overlap(lambda: 1000.0)
    overlap.restore((900, 0), (2**31, 0))
    assert overlap.from_file([(950, 0, b""), (1100, 0, b"")]) == [(1100, 0, b"")]


@pytest.mark.parametrize("seed", range(40))
def test_clock_that_steps_back(seed: int) -> None:
    """Packets whose times go back, once or twice, come once, whichever source is ahead."""
    dice = random.Random(seed)
    clock = 100_000
    stream: list[Record] = []
    for number in range(400):
        clock += dice.randrange(1, 50)
        if number in (150, 300):
            clock -= dice.choice((500, 3600, 5000))
        stream.append((clock // 10, number, b""))
    begin = dice.randrange(140)
    overlap = Overlap()
    at = {"file": 0, "live": begin}
    delivered: list[Record] = overlap.from_file(stream[:begin])
    at["file"] = begin
    while min(at.values()) < len(stream):
        source = dice.choice(("file", "live", "live"))
        step = stream[at[source] : at[source] + dice.randrange(1, 12)]
        if source == "file" and at["live"] == begin:
            step = []
        at[source] += len(step)
        delivered += (overlap.from_file if source == "file" else overlap.from_live)(step)
    assert sorted(record[1] for record in delivered) == list(range(400))
