# SPDX-License-Identifier: GPL-2.0-or-later
"""Following a savefile: every record once, whatever happens to the file."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import math
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.sources import follow
from fail2ban_pflog.sources import reader as readers
from fail2ban_pflog.sources.follow import Follower
from tests.support.faults import Faults
from tests.support.pflogs import (
    Pflogd,
    append,
    newsyslog,
    number_of,
    numbered,
    record,
    savefile_header,
    syn,
)

NOW = 1_780_000_000.0


class Reader:
    """A follower with a memory: what it logged, what it delivered, its saved places."""

    def __init__(self, path: Path, **options: object) -> None:
        self.path = path
        self.messages: list[str] = []
        self.numbers: list[int] = []
        self.saved: dict[str, int] = {}
        self.saved_at = 0
        self.start(**options)

    def start(self, **options: object) -> None:
        self.follower = Follower(
            self.path, lambda _level, message: self.messages.append(message), **options
        )

    def save(self) -> None:
        """Write the place down, as fail2ban does once a second."""
        if place := self.follower.place:
            self.saved = dict([place])
            self.saved_at = len(self.numbers)

    def kill(self) -> None:
        """Die and start again: only the place that was written down is known."""
        self.follower.close()
        self.start(recall=self.saved.get, since=0.0)
        self.saved_at = len(self.numbers)

    def resume(self) -> None:
        """Stop in peace and start again."""
        self.save()
        self.kill()

    def poll(self) -> list[int]:
        """All that there is now."""
        new = []
        while records := self.follower.read():
            new += [number_of(frame) for _, _, frame in records]
        self.numbers += new
        return new


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pflog"


def packets(numbers: range) -> bytes:
    return b"".join(numbered(NOW + number, number) for number in numbers)


def test_follows_a_growing_file(path: Path) -> None:
    """Records come as they are appended, each once; half a record waits for its rest."""
    path.write_bytes(savefile_header() + packets(range(3)))
    reader = Reader(path)
    assert reader.poll() == [0, 1, 2]
    assert reader.poll() == []
    with path.open("ab") as file:
        more = packets(range(3, 5))
        file.write(more[:-30])
        file.flush()
        assert reader.poll() == [3]
        file.write(more[-30:])
    assert reader.poll() == [4]
    assert reader.messages == []
    assert reader.follower.state == "following"


@pytest.mark.parametrize("cut", range(1, 24))
def test_header_cut_in_two(path: Path, cut: int) -> None:
    """A file whose header is not whole yet is waited for, without a word."""
    path.write_bytes(savefile_header()[:cut])
    reader = Reader(path)
    assert reader.poll() == []
    path.write_bytes(savefile_header() + packets(range(1)))
    assert reader.poll() == [0]
    assert reader.messages == []


def test_rotation_as_newsyslog_does_it(path: Path) -> None:
    """What pflogd appends to the renamed file until its HUP comes before the new file."""
    pflogd = Pflogd(path)
    reader = Reader(path)
    pflogd.write(packets(range(2)))
    assert reader.poll() == [0, 1]
    newsyslog(path)
    assert reader.poll() == []
    pflogd.write(packets(range(2, 4)))
    assert reader.poll() == [2, 3]
    pflogd.write(packets(range(4, 5)))
    pflogd.hup()
    pflogd.write(packets(range(5, 6)))
    assert reader.poll() == [4, 5]
    pflogd.close()


def test_two_rotations_between_two_reads(path: Path) -> None:
    """A file that came and went between two reads is read too."""
    pflogd = Pflogd(path)
    reader = Reader(path)
    reader.poll()
    for begin in range(0, 9, 3):
        pflogd.write(packets(range(begin, begin + 3)))
        newsyslog(path)
        pflogd.hup()
    pflogd.write(packets(range(9, 10)))
    pflogd.close()
    assert reader.poll() == list(range(10))


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_file_replaced_while_nobody_read(path: Path, suffix: str, compress: object) -> None:
    """After a restart the rest of the old file is read first, also when compressed."""
    pflogd = Pflogd(path)
    pflogd.write(packets(range(4)))
    reader = Reader(path)
    reader.poll()
    pflogd.write(packets(range(4, 6)))
    newsyslog(path)
    pflogd.hup()
    pflogd.write(packets(range(6, 8)))
    old = path.with_name("pflog.0")
    data = old.read_bytes()
    old.unlink()
    path.with_name("pflog.0" + suffix).write_bytes(compress(data))
    reader.resume()
    assert reader.poll() == [4, 5, 6, 7]
    pflogd.close()


def test_first_start_looks_back_over_a_rotation(path: Path) -> None:
    """Without a saved place, packets younger than findtime in pflog.0 are read first."""
    path.with_name("pflog.1").write_bytes(savefile_header() + packets(range(3)))
    path.with_name("pflog.0").write_bytes(savefile_header() + packets(range(3, 6)))
    path.write_bytes(savefile_header() + packets(range(6, 8)))
    reader = Reader(path, since=NOW + 4)
    assert reader.poll() == [4, 5, 6, 7]


def test_copy_and_truncate(path: Path) -> None:
    """After a truncation the rest is read from the copy, then the file from its start."""
    pflogd = Pflogd(path)
    reader = Reader(path)
    pflogd.write(packets(range(3)))
    reader.poll()
    pflogd.write(packets(range(3, 5)))
    path.with_name("pflog.0").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    pflogd.hup()
    pflogd.write(packets(range(5, 20)))
    assert reader.poll() == list(range(3, 20))
    pflogd.close()


def test_truncated_under_a_writer_that_was_not_told(path: Path) -> None:
    """Records that are appended without a new header are read with the old one."""
    pflogd = Pflogd(path)
    reader = Reader(path)
    pflogd.write(packets(range(9)))
    reader.poll()
    path.with_name("pflog.0").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    reader.poll()
    pflogd.write(packets(range(9, 12)))
    assert reader.poll() == [9, 10, 11]
    pflogd.close()


def test_remove_and_create(path: Path) -> None:
    """A removed file is read to its end, then the one that took its place."""
    path.write_bytes(savefile_header() + packets(range(2)))
    reader = Reader(path)
    reader.poll()
    with path.open("ab") as file:
        file.write(packets(range(2, 4)))
    path.unlink()
    assert reader.poll() == [2, 3]
    assert "gone" in reader.follower.state
    path.write_bytes(savefile_header() + packets(range(4, 6)))
    assert reader.poll() == [4, 5]


def test_shrinks_by_part_of_a_record(path: Path) -> None:
    """pflogd takes a failed write back: nothing is lost and nothing is read twice."""
    path.write_bytes(savefile_header() + packets(range(2)) + packets(range(2, 3))[:50])
    reader = Reader(path)
    assert reader.poll() == [0, 1]
    path.write_bytes(savefile_header() + packets(range(2)))
    assert reader.poll() == []
    path.write_bytes(savefile_header() + packets(range(4)))
    assert reader.poll() == [2, 3]
    assert reader.messages == []


def test_damaged_record(path: Path) -> None:
    """A damaged place is logged once with its offset; the next plausible record goes on."""
    good = packets(range(2))
    path.write_bytes(savefile_header() + good + b"\xff" * 77 + packets(range(2, 6)))
    reader = Reader(path)
    assert reader.poll() == [0, 1, 2, 3, 4, 5]
    assert len(reader.messages) == 2
    assert f"damaged at offset {24 + len(good)}" in reader.messages[0]
    assert reader.follower.damaged == 1


def test_hole_of_zeros(path: Path) -> None:
    """A hole that a crash left in the file is jumped over."""
    path.write_bytes(savefile_header() + packets(range(2)) + bytes(4096) + packets(range(2, 4)))
    assert Reader(path).poll() == [0, 1, 2, 3]


def test_damage_without_end(path: Path) -> None:
    """Where no record follows, the file is waited for; what is appended later is found."""
    path.write_bytes(savefile_header() + packets(range(1)) + b"\xff" * 300_000)
    reader = Reader(path)
    assert reader.poll() == [0]
    assert reader.poll() == []
    assert len(reader.messages) == 1
    with path.open("ab") as file:
        file.write(packets(range(1, 4)))
    assert reader.poll() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"newsyslog[1]: logfile turned over\n" + bytes(30), "no savefile"),
        (savefile_header(linktype=1), "link type 1 "),
        (savefile_header(linktype=17), "OpenBSD 3.3"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "pcapng"),
    ],
)
def test_foreign_file(path: Path, content: bytes, word: str) -> None:
    """A file that is no pflog savefile is named once; a good one in its place is read."""
    path.write_bytes(content)
    reader = Reader(path)
    assert reader.poll() == []
    assert reader.poll() == []
    assert len(reader.messages) == 1
    assert str(path) in reader.messages[0]
    assert word in reader.messages[0]
    assert "idle because" in reader.follower.state
    path.unlink()
    path.write_bytes(savefile_header() + packets(range(2)))
    assert reader.poll() == [0, 1]


def test_waits_for_a_missing_file(path: Path) -> None:
    """A file that does not exist yet is picked up when it comes."""
    reader = Reader(path)
    assert reader.poll() == []
    assert reader.follower.state == f"waiting for {path}"
    path.write_bytes(savefile_header() + packets(range(1)))
    assert reader.poll() == [0]


def test_tail_begins_at_the_end(path: Path) -> None:
    """With since = infinity only what is appended later is delivered."""
    path.write_bytes(savefile_header() + packets(range(5)))
    reader = Reader(path, since=math.inf)
    assert reader.poll() == []
    with path.open("ab") as file:
        file.write(packets(range(5, 6)))
    assert reader.poll() == [5]


def test_search_by_time_delivers_exactly_what_is_young(path: Path) -> None:
    """The search jumps over most of a large file and misses no young packet."""
    path.write_bytes(savefile_header() + packets(range(20_000)))
    reader = Reader(path, since=NOW + 19_990)
    assert reader.poll() == list(range(19_990, 20_000))
    assert reader.follower.skipped < 1000


def test_payload_cannot_forge_a_record(path: Path) -> None:
    """With a snaplen that leaves room for a forged record, the search reads it all."""
    forged = numbered(NOW - 10_000, 666) * 8
    big = record(NOW, syn("192.0.2.1", 1, 1) + forged)
    path.write_bytes(savefile_header(snaplen=65535) + big * 300)
    assert set(Reader(path, since=NOW - 1).poll()) == {1}


@pytest.mark.parametrize("caplen", [600, 0xFFFF, 200_000, 0x7FFFFFFF])
def test_captured_length_beyond_snaplen_is_damage(path: Path, caplen: int) -> None:
    """A damaged length swallows nothing: it is logged, and the records behind it are read."""
    data = bytearray(savefile_header() + packets(range(9)))
    struct.pack_into("<I", data, 24 + len(packets(range(1))) + 8, caplen)
    path.write_bytes(data)
    reader = Reader(path)
    assert reader.poll() == [0, 2, 3, 4, 5, 6, 7, 8]
    assert "damaged at offset" in reader.messages[0]


@pytest.mark.parametrize("name", ["pflog", "pflog.0"])
def test_fifo_is_refused_at_once(path: Path, name: str) -> None:
    """A FIFO, which would hold the jail, is reported and left alone."""
    os.mkfifo(path.with_name(name))
    reader = Reader(path)
    assert reader.poll() == []
    assert "is no regular file" in reader.messages[0]
    assert len(reader.messages) == 1


def test_removed_and_made_anew_after_a_restart(path: Path) -> None:
    """What was read before the restart is not read again from rotated files."""
    path.with_name("pflog.0").write_bytes(savefile_header() + packets(range(3)))
    path.write_bytes(savefile_header() + packets(range(3, 5)))
    reader = Reader(path, since=0.0)
    assert reader.poll() == [0, 1, 2, 3, 4]
    reader.resume()
    assert reader.poll() == []
    path.unlink()
    path.write_bytes(savefile_header() + packets(range(5, 6)))
    assert reader.poll() == [5]


def test_restart_on_a_file_that_lost_its_header(path: Path) -> None:
    """After copy-and-truncate without a HUP a restart still reads what is appended."""
    pflogd = Pflogd(path)
    pflogd.write(packets(range(2)))
    reader = Reader(path)
    reader.poll()
    path.with_name("pflog.0").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    pflogd.write(packets(range(2, 5)))
    reader.resume()
    assert reader.poll() == [2, 3, 4]
    pflogd.close()


def test_truncated_before_its_first_record_was_read(path: Path) -> None:
    """Records of which only the copy is left are read from it."""
    pflogd = Pflogd(path)
    reader = Reader(path)
    assert reader.poll() == []
    pflogd.write(packets(range(3)))
    path.with_name("pflog.0").write_bytes(path.read_bytes())
    path.write_bytes(b"")
    assert reader.poll() == [0, 1, 2]
    pflogd.close()


def test_rotated_beside_the_target_of_a_link(path: Path) -> None:
    """Of a symbolic link the rotated files stand beside what it leads to."""
    target = path.parent / "real" / "log"
    target.parent.mkdir()
    target.write_bytes(savefile_header() + packets(range(2)))
    path.symlink_to(target)
    reader = Reader(path)
    reader.poll()
    with target.open("ab") as file:
        file.write(packets(range(2, 3)))
    target.rename(target.with_name("log.0"))
    target.write_bytes(savefile_header() + packets(range(3, 4)))
    reader.resume()
    assert reader.poll() == [2, 3]


def test_tail_of_an_empty_file_begins_with_its_first_packet(path: Path) -> None:
    """The end of an empty file is its start."""
    path.touch()
    reader = Reader(path, since=math.inf)
    assert reader.poll() == []
    path.write_bytes(savefile_header() + packets(range(2)))
    assert reader.poll() == [0, 1]


def test_clock_that_was_set_back_hides_nothing(path: Path) -> None:
    """Young packets before old ones are found by the search at the start."""
    young, old = range(20_000, 22_000), range(6000)
    path.write_bytes(savefile_header() + packets(young) + packets(old))
    reader = Reader(path, since=NOW + 19_000)
    assert reader.poll() == list(young)


class Life:
    """A savefile's random life: pflogd, newsyslog and a full disk, in any order."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path, self.dice = path, dice
        self.pflogd = Pflogd(path)
        self.written = 0

    def packets(self, count: int) -> bytes:
        begin, self.written = self.written, self.written + count
        return packets(range(begin, self.written))

    def write(self, between: Callable[[], object]) -> None:
        """Append records, the last one in two pieces."""
        data = self.packets(self.dice.randrange(1, 5))
        cut = self.dice.randrange(len(data))
        self.pflogd.write(data[:cut])
        between()
        self.pflogd.write(data[cut:])

    def rotate(self, between: Callable[[], object]) -> None:
        """Rename and make anew; pflogd writes to the old file until its HUP."""
        newsyslog(self.path)
        between()
        self.pflogd.write(self.packets(1))
        between()
        self.pflogd.hup()

    def fail(self, between: Callable[[], object]) -> None:
        """Write a part of a record and take it back, as on a full disk."""
        size = self.path.stat().st_size
        self.pflogd.write(numbered(NOW, 0)[:40])
        between()
        with self.path.open("r+b") as file:
            file.truncate(size)

    def compress(self, _between: Callable[[], object]) -> None:
        newest = self.path.with_name("pflog.0")
        if newest.exists():
            data = newest.read_bytes()
            newest.with_name("pflog.0.bz2").write_bytes(bz2.compress(data))
            newest.unlink()

    def step(self, between: Callable[[], object]) -> None:
        steps = [self.write] * 4 + [self.rotate, self.fail, self.compress]
        self.dice.choice(steps)(between)


@pytest.mark.parametrize("seed", range(40))
def test_random_life_of_a_savefile(path: Path, seed: int) -> None:
    """Rotations, compression, failed writes, restarts in any order: every packet once."""
    dice = random.Random(seed)
    life, reader = Life(path, dice), Reader(path, since=0.0)
    reader.poll()
    for _ in range(300):
        life.step(lambda: dice.random() < 0.4 and reader.poll())
        if dice.random() < 0.3:
            reader.poll()
        if dice.random() < 0.1:
            reader.resume()
    reader.poll()
    assert reader.numbers == list(range(life.written))
    life.pflogd.close()


@pytest.mark.parametrize("seed", range(40))
def test_random_life_with_kill_9(path: Path, seed: int) -> None:
    """After kill -9 only what was read since the last saved place comes twice; none is lost."""
    dice = random.Random(seed)
    life, reader = Life(path, dice), Reader(path, since=0.0)
    reader.poll()
    reader.save()
    allowed = 0
    for _ in range(300):
        life.step(lambda: None)
        if dice.random() < 0.5:
            reader.poll()
        if dice.random() < 0.3:
            reader.save()
        if dice.random() < 0.1:
            allowed += len(reader.numbers) - reader.saved_at
            reader.kill()
    reader.poll()
    assert sorted(set(reader.numbers)) == list(range(life.written))
    assert len(reader.numbers) - life.written <= allowed
    life.pflogd.close()


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_file_that_the_system_cannot_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """After an I/O error or a stale handle the file is opened anew; nothing is read twice."""
    path.write_bytes(savefile_header() + packets(range(2)))
    now = [0.0]
    reader = Reader(path, clock=lambda: now[0])
    assert reader.poll() == [0, 1]
    with path.open("ab") as file:
        file.write(packets(range(2, 3)))
    pread = os.pread

    def broken(*_arguments: object) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(readers.os, "pread", broken)
    for now[0] in (1.0, 2.0, 7.0, 13.0):
        assert reader.poll() == []
    assert os.strerror(code) in reader.follower.state
    assert len(reader.messages) == 1
    monkeypatch.setattr(readers.os, "pread", pread)
    now[0] += follow.RETRY
    assert reader.poll() == [2]
    assert reader.follower.state == "following"
    assert reader.messages[1:] == [f"{path}: is read again"]


def test_file_that_went_stale_and_was_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that took its place is read from its start."""
    path.write_bytes(savefile_header() + packets(range(2)))
    now = [0.0]
    reader = Reader(path, clock=lambda: now[0])
    assert reader.poll() == [0, 1]
    fstat = os.fstat

    def stale(*_arguments: object) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(readers.os, "fstat", stale)
    assert reader.poll() == []
    monkeypatch.setattr(readers.os, "fstat", fstat)
    path.unlink()
    path.write_bytes(savefile_header() + packets(range(5, 7)))
    assert reader.poll() == []
    now[0] += follow.RETRY
    assert reader.poll() == [5, 6]


def test_hole_is_searched_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a damage each read looks at so many bytes and no more; what is behind is found."""
    path.write_bytes(savefile_header() + packets(range(2)) + bytes(200) + packets(range(2, 4)))
    monkeypatch.setattr(readers, "SEARCH_AT_ONCE", 50)
    monkeypatch.setattr(readers, "LARGEST_RECORD", 64)
    monkeypatch.delattr(readers.os, "SEEK_DATA", raising=False)
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(
        readers.os, "pread", lambda fd, size, at: (read.append(size), pread(fd, size, at))[1]
    )
    reader = Reader(path)
    steps = [[number_of(frame) for *_, frame in reader.follower.read()]]
    while steps[-1:] != [[2, 3]] and len(steps) < 20:
        read.clear()
        steps.append([number_of(frame) for *_, frame in reader.follower.read()])
        assert sum(size for size in read if size == 64) <= 3 * 64
    assert steps[0] == [0, 1]
    assert steps[-1] == [2, 3]
    assert 3 < len(steps) < 20


def test_search_without_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was replaced is not searched to its end, where no system tells of holes."""
    path.write_bytes(savefile_header() + packets(range(2)))
    os.truncate(path, 1 << 34)
    monkeypatch.setattr(readers, "SEARCH_AT_ONCE", 1 << 20)
    monkeypatch.delattr(readers.os, "SEEK_DATA", raising=False)
    reader = Reader(path)
    assert reader.poll() == [0, 1]
    path.rename(path.with_name("pflog.0"))
    path.write_bytes(savefile_header() + packets(range(2, 4)))
    assert [number for _ in range(4) for number in reader.poll()] == [2, 3]
    assert "ended within a record" in reader.messages[-1]


def test_hole_is_skipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole of 50 GB is passed over at once where the system knows where data is."""
    if not hasattr(os, "SEEK_DATA"):
        pytest.skip("needs SEEK_DATA")
    path.write_bytes(savefile_header() + packets(range(2)))
    reader = Reader(path)
    assert reader.poll() == [0, 1]
    os.truncate(path, 50 << 30)
    with path.open("ab") as file:
        file.write(packets(range(2, 4)))
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("needs a file system with sparse files")
    reads = []
    pread = os.pread
    monkeypatch.setattr(
        readers.os, "pread", lambda fd, size, at: (reads.append(at), pread(fd, size, at))[1]
    )
    assert reader.poll() == [2, 3]
    assert len(reads) < 50


def test_what_was_not_judged_is_read_again(path: Path) -> None:
    """Records given back come again, and are behind the place until then."""
    path.write_bytes(savefile_header() + packets(range(5)))
    reader = Reader(path)
    records = reader.follower.read()
    reader.follower.give_back(records[2:])
    reader.save()
    assert reader.poll() == [2, 3, 4]
    reader.kill()
    assert reader.poll() == [2, 3, 4]


def test_packets_of_the_future_do_not_hide_a_rotated_file(path: Path) -> None:
    """A file that came later is known as such, whatever time one packet had."""
    pflogd = Pflogd(path)
    reader = Reader(path, now=lambda: NOW)
    pflogd.write(packets(range(2)) + record(2**31, syn("198.51.100.7", 3, 2)))
    assert reader.poll() == [0, 1, 2]
    newsyslog(path)
    pflogd.hup()
    path.with_name("pflog.0").unlink()
    pflogd.write(b"".join(numbered(NOW + 100, number) for number in range(3, 5)))
    assert reader.poll() == [3, 4]


# -- A faulty disk, and files that are replaced by copies of themselves ---------------------


class Copies(Life):
    """A life in which the file is also replaced by its own copy, rewritten in place and cut."""

    everything_was_read: Callable[[], object]

    def copy(self, between: Callable[[], object]) -> None:
        """Put a copy in its place, as cp and mv do; pflogd writes to the old one until its HUP."""
        self.everything_was_read()
        data = self.path.read_bytes()
        if len(data) == 24:
            return  # it looks like a rotation, in which pflogd has begun the new one
        between()
        self._replace(data)
        between()
        self.pflogd.write(self.packets(2))
        between()
        self.pflogd.hup()

    def sync(self, between: Callable[[], object]) -> None:
        """Replace it by a longer copy, as rsync from a firewall does."""
        self._replace(self.path.read_bytes() + self.packets(self.dice.randrange(4)))
        between()
        self.pflogd.hup()

    def rewrite(self, between: Callable[[], object]) -> None:
        """Write it anew in place, and longer, as cp over it does."""
        data = self.path.read_bytes() + self.packets(self.dice.randrange(3))
        cuts = sorted(self.dice.randrange(len(data)) for _ in range(2))
        self.path.write_bytes(b"")
        for begin, end in zip([0, *cuts], [*cuts, len(data)]):
            between()
            append(self.path, data[begin:end])

    def restore(self, between: Callable[[], object]) -> None:
        """Put a shorter copy in its place, from before what was read since."""
        self.everything_was_read()
        data, size = self.path.read_bytes(), len(packets(range(1)))
        if records := (len(data) - 24) // size:
            self._replace(data[: 24 + size * self.dice.randint(1, records)])
            between()
            self.pflogd.hup()

    def cut(self, between: Callable[[], object]) -> None:
        """Take back what was read."""
        self.everything_was_read()
        whole, size = self.path.stat().st_size, len(packets(range(1)))
        least = min(whole, 24 + size)
        os.truncate(self.path, max(least, whole - size * self.dice.randrange(1, 5)))
        between()

    def _replace(self, data: bytes) -> None:
        fresh = self.path.with_name("new")
        fresh.write_bytes(data)
        fresh.rename(self.path)

    def step(self, between: Callable[[], object]) -> None:
        steps = [self.write] * 6 + [self.rotate, self.fail, self.compress]
        steps += [self.copy, self.sync, self.rewrite, self.restore, self.cut]
        self.dice.choice(steps)(between)


@pytest.mark.parametrize("seed", range(60))
def test_random_life_with_copies(path: Path, seed: int) -> None:
    """Copies in its place, cuts, rotations, restarts in any order: every packet once."""
    dice = random.Random(seed)
    life, reader = Copies(path, dice), Reader(path, since=0.0)
    life.everything_was_read = reader.poll
    reader.poll()
    for _ in range(150):
        life.step(lambda: dice.random() < 0.4 and reader.poll())
        if dice.random() < 0.3:
            reader.poll()
        if dice.random() < 0.1:
            reader.poll()
            reader.resume()
            reader.poll()
    reader.poll()
    assert reader.numbers == list(range(life.written))
    life.pflogd.close()


@pytest.mark.parametrize("how", ["copy", "sync"])
def test_replaced_by_its_own_longer_copy(path: Path, how: str) -> None:
    """Reading goes on at the same offset in the new file, and the state says so."""
    life, reader = Copies(path, random.Random(1)), Reader(path)
    life.everything_was_read = reader.poll
    life.pflogd.write(life.packets(20))
    reader.poll()
    for _ in range(3):
        getattr(life, how)(reader.poll)
        life.pflogd.write(life.packets(5))
        reader.poll()
    assert reader.numbers == list(range(life.written))
    assert reader.follower.state == "following"
    assert reader.messages == []
    life.pflogd.close()


def hour_of_faults(path: Path, seed: int, rate: float = 0.1) -> tuple[int, int, list[int]]:
    """Live for an hour of a simulated clock on a disk that fails.

    Returns:
        How many packets were written, how many calls failed, the packets that came.
    """
    dice = random.Random(seed)
    faults, now = Faults(dice, rate), [0.0]
    life = Life(path, dice)
    reader = Reader(path, since=0.0, clock=lambda: now[0])

    def poll() -> None:
        with faults.active():
            reader.numbers += [number_of(frame) for *_, frame in reader.follower.read()]

    while now[0] < 3600:
        now[0] += dice.random() * 3
        if dice.random() < 0.4:
            life.step(poll)
        poll()
    for _ in range(50):
        now[0] += 10
        reader.poll()
    life.pflogd.close()
    return life.written, faults.count, reader.numbers


@pytest.mark.parametrize("seed", range(4))
def test_an_hour_on_a_faulty_disk(path: Path, seed: int) -> None:
    """Where one of ten reads, opens and stats fails nothing is lost and nothing comes twice."""
    written, failed, numbers = hour_of_faults(path, seed)
    assert numbers == list(range(written))
    assert written > 1000
    assert failed > 1000


@pytest.mark.parametrize("call", ["pread", "fstat"])
def test_an_error_right_after_a_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What was read before the error comes afterwards, once."""
    path.write_bytes(savefile_header() + packets(range(2)))
    now = [0.0]
    reader = Reader(path, clock=lambda: now[0])
    original = getattr(os, call)
    for good in range(12):
        reader.poll()
        append(path, packets(range(2 + good, 3 + good)))
        calls = iter([True] * good)

        def failing(*arguments: object, calls: Iterator[bool] = calls) -> object:
            if not next(calls, False):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            for _ in range(2):
                reader.numbers += [number_of(frame) for *_, frame in reader.follower.read()]
                now[0] += 1.0
        now[0] += 10.0
    reader.poll()
    assert reader.numbers == list(range(14))


def test_first_record_damaged(path: Path) -> None:
    """A file whose first record is damaged is recognised by the first that is whole."""
    data = bytearray(savefile_header() + packets(range(6)))
    struct.pack_into("<I", data, 24 + 8, 0x7FFFFFFF)
    path.write_bytes(data)
    reader = Reader(path, since=0.0)
    assert reader.poll() == [1, 2, 3, 4, 5]
    reader.resume()
    append(path, packets(range(6, 8)))
    assert reader.poll() == [6, 7]


@pytest.mark.parametrize("restart", [False, True])
def test_hole_in_front(path: Path, restart: bool) -> None:
    """A writer that does not append leaves a hole where copy-and-truncate took records away."""
    path.write_bytes(savefile_header() + packets(range(50)))
    reader = Reader(path, since=0.0)
    assert len(reader.poll()) == 50
    with path.open("r+b") as writer:
        writer.seek(0, os.SEEK_END)
        path.with_name("pflog.0").write_bytes(path.read_bytes())
        os.truncate(path, 0)
        if restart:
            reader.resume()
            reader.poll()
        writer.write(packets(range(50, 53)))
    assert reader.poll() == [50, 51, 52]
    reader.resume()
    append(path, packets(range(53, 54)))
    assert reader.poll() == [53]


@pytest.mark.parametrize("aligned", [False, True])
def test_records_forged_in_a_payload_behind_a_damage(path: Path, aligned: bool) -> None:
    """Records that a payload holds are not read where the real one's header is damaged."""
    forged = record(NOW, syn("192.0.2.50", 22, 5000)) * 9 + bytes(0 if aligned else 33)
    big = bytearray(record(NOW, syn("192.0.2.1", 1, 1) + forged))
    struct.pack_into("<I", big, 8, 0x7FFFFFFF)
    path.write_bytes(savefile_header(snaplen=1600) + packets(range(2)) + big + packets(range(1000)))
    numbers = Reader(path).poll()
    assert numbers[:2] == [0, 1]
    assert 5000 not in numbers
    assert numbers[-1] == 999
    assert len(numbers) > 980


def test_more_rotations_than_are_looked_at(path: Path) -> None:
    """It is said that the oldest files were passed over."""
    for number in range(follow.MAX_FILES + 5):
        path.with_name(f"pflog.{number}").write_bytes(savefile_header() + packets(range(1)))
    path.write_bytes(savefile_header() + packets(range(1, 2)))
    reader = Reader(path, since=NOW - 5)
    reader.poll()
    assert "only the newest 64 are read" in reader.messages[0]


def test_old_capture_as_a_savefile(path: Path) -> None:
    """Where all packets are days old it is said at once, with the command that tries captures."""
    path.write_bytes(savefile_header() + packets(range(9)))
    reader = Reader(path, since=NOW + 300_000, now=lambda: NOW + 300_600)
    assert reader.poll() == []
    assert reader.poll() == []
    (said,) = reader.messages
    assert "no packet of it counts" in said
    assert "fail2ban-pflog backtest" in said
