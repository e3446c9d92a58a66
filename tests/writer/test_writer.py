# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflogd as a process: lines, signals, rotations, privileges, troubles."""

from __future__ import annotations

import gzip
import importlib.util
import lzma
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.formatter import Formatter
from fail2ban_pflog.pflog.savefile import Decoder
from fail2ban_pflog.wire.timestamps import Stamps
from tests.support.pflogs import DATA, pcapng, record, savefile_header
from tests.support.server import REPO, wait_for
from tests.support.writers import (
    AS_ROOT,
    BEGIN,
    COMMAND,
    ROOT,
    Pflogd,
    assert_each_once,
    is_gone,
    numbered_records,
    numbers_in,
    savefile,
)

Start = Callable[..., Pflogd]
LOAD = 200_000

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def run(*options: object, pid_file: object = "") -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with an empty savefile as standard input."""
    command = [*COMMAND, "--pid-file", pid_file, *options]
    return subprocess.run(
        list(map(str, command)), cwd=REPO, capture_output=True, text=True, timeout=60,
        input=savefile_header().decode("latin-1"), encoding="latin-1",
    )  # fmt: skip


# -- lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["freebsd-13.2/block-all.live", "openbsd-7.8/block-all.pflogd"])
def test_writes_each_packet_with_its_own_time(start: Start, capture: str) -> None:
    """A savefile becomes the formatter's lines, each behind its packet's time; exit 0."""
    path = DATA / f"{capture}.pcap"
    line, stamp = Formatter("<").line, Stamps(utc=True).iso
    expected = [
        f"{stamp(seconds, microseconds)} {line(frame)}"
        for seconds, microseconds, frame in Decoder().feed(path.read_bytes())
    ]
    writer = start(read=path)
    assert writer.wait() == 0
    assert writer.log.read_text().splitlines() == expected


def test_time_zone(start: Start) -> None:
    """The time is local and has its offset from UTC."""
    writer = start(environment={"TZ": "Europe/Berlin"})
    writer.feed(savefile(range(1)))
    writer.end_of_input()
    assert writer.wait() == 0
    assert writer.log.read_text().startswith("2026-05-28T22:26:40.000000+02:00 rule 1/0(match)")


def test_a_line_comes_at_once(start: Start) -> None:
    """A packet is written when it comes, not when a buffer is full."""
    writer = start()
    writer.feed(savefile_header())
    for number in range(5):
        writer.feed(numbered_records([number]))
        writer.wait_lines(number + 1)
    assert numbers_in(writer.log) == list(range(5))


def test_appends_behind_a_half_line(start: Start, tmp_path: Path) -> None:
    """A line that a crash cut in two does not swallow the next one."""
    (tmp_path / "pflog.log").write_text("2026-05-28T22:26:40.0")
    writer = start()
    writer.feed(savefile(range(1)))
    writer.end_of_input()
    assert writer.wait() == 0
    first, second, rest = writer.log.read_text().split("\n")
    assert (first, rest) == ("2026-05-28T22:26:40.0", "")
    assert second.endswith("length 0")


def test_counts_what_is_no_pflog_frame(start: Start) -> None:
    """A frame without a pflog header makes no line; it is counted."""
    writer = start()
    writer.feed(savefile([0]) + record(BEGIN, b"") + record(BEGIN, b"\x05" * 90))
    writer.feed(numbered_records([1]))
    writer.end_of_input()
    assert writer.wait() == 0
    assert numbers_in(writer.log) == [0, 1]
    assert "4 packets read, 2 lines written, 0 lines dropped, 2 packets not under" in writer.said()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (savefile_header(linktype=1), "link type 1 instead of 117"),
        (savefile_header(linktype=17), "OpenBSD 3.3 and older"),
        (b"hello, world", "no savefile"),
        (savefile([0]) + bytes(64), "record header is all zero"),
    ],
)
def test_refuses_what_is_no_pflog_savefile(start: Start, data: bytes, said: str) -> None:
    """A wrong input ends the program with 1 and the reason; lines before it are written."""
    writer = start()
    writer.feed(data)
    writer.end_of_input()
    assert writer.wait() == 1
    assert said in writer.said()


# -- sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bytes])
def test_reads_packed_files_and_pcapng(
    start: Start, tmp_path: Path, pack: Callable[..., bytes]
) -> None:
    """Both formats are read from a file, also packed; of a damaged one what stands before it."""
    frames = [(seconds, frame) for seconds, _, frame in Decoder().feed(savefile(range(2000)))]
    for data in (savefile(range(2000)), pcapng(frames)):
        path = tmp_path / "capture"
        path.write_bytes(pack(data))
        writer = start(read=path)
        assert writer.wait() == 0
        assert numbers_in(writer.log) == list(range(2000))
        writer.log.unlink()
    path.write_bytes(gzip.compress(data)[:-100])
    writer = start(read=path)
    assert writer.wait() == 1
    assert f"{path}: Compressed file ended" in writer.said()
    numbers = numbers_in(writer.log)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 100


def test_pcapng_as_a_stream(start: Start) -> None:
    """pcapng is followed on standard input while it grows."""
    frames = [(seconds, frame) for seconds, _, frame in Decoder().feed(savefile(range(5)))]
    data = pcapng(frames)
    cut = len(pcapng(frames[:3]))
    writer = start()
    writer.feed(data[: cut + 20])
    writer.wait_lines(3)
    writer.feed(data[cut + 20 :])
    writer.end_of_input()
    assert writer.wait() == 0
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4]


def test_fifo_with_one_writer_after_another(start: Start, tmp_path: Path) -> None:
    """A FIFO is read on when its writer left and another came, also after rubbish."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = start(read=fifo)
    fifo.write_bytes(savefile(range(3)))
    writer.wait_lines(3)
    fifo.write_bytes(savefile(range(3, 5))[:-7])
    writer.wait_said("ended within a packet")
    fifo.write_bytes(b"rubbish, and more of it")
    writer.wait_said("no savefile")
    before = writer.said().count("ended")
    writer.wait_status("reading")
    fifo.write_bytes(savefile(range(4, 6)))
    writer.wait_lines(6)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4, 5]
    assert writer.said().count("ended") == before


def test_follows_pflogds_file_across_a_rotation(start: Start, tmp_path: Path) -> None:
    """With --follow packets come from pflogd's file and its successor."""
    pflog = tmp_path / "pflog"
    pflog.write_bytes(savefile(range(3)))
    writer = start("--follow", pflog, *AS_ROOT, source=False)
    writer.wait_lines(3)
    pflog.rename(tmp_path / "pflog.0")
    pflog.write_bytes(savefile(range(3, 5)))
    writer.wait_lines(5)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4]


def test_follow_goes_on_where_the_log_ends(start: Start, tmp_path: Path) -> None:
    """Started again, it writes the packets that came meanwhile, and none twice."""
    pflog = tmp_path / "pflog"
    pflog.write_bytes(savefile(range(3)))
    writer = start("--follow", pflog, *AS_ROOT, source=False)
    writer.wait_lines(3)
    assert writer.stop() == 0
    with pflog.open("ab") as file:
        file.write(numbered_records(range(3, 6)))
    writer = start("--follow", pflog, *AS_ROOT, source=False)
    writer.wait_lines(6)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4, 5]


# -- signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signals_write_what_was_read(start: Start, number: int) -> None:
    """TERM and INT: what stands in the pipe is written as well, and the status is 0."""
    writer = start().ready()
    writer.feed(savefile(range(100)))
    assert writer.stop(number) == 0
    assert numbers_in(writer.log) == list(range(100))
    assert not writer.pid_file.exists()
    assert "stopped; 100 packets read, 100 lines written" in writer.said()


def test_status_signal(start: Start) -> None:
    """INFO (USR2 where there is none) makes it report the figures and the source."""
    writer = start()
    writer.feed(savefile(range(7)))
    writer.wait_lines(7)
    assert "reading standard input; 7 packets read, 7 lines written" in writer.status()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_reopens_its_log(start: Start, tmp_path: Path, number: int) -> None:
    """HUP and USR1: what comes behind is in the new file, which is made where missing."""
    writer = start()
    writer.feed(savefile(range(3)))
    writer.wait_lines(3)
    writer.rotate(tmp_path / "old", number)
    writer.wait_status("opened 2 times")
    writer.feed(numbered_records(range(3, 5)))
    writer.end_of_input()
    assert writer.wait() == 0
    assert (numbers_in(tmp_path / "old"), numbers_in(writer.log)) == ([0, 1, 2], [3, 4])


def feed_in_pieces(writer: Pflogd, total: int) -> threading.Thread:
    """Feed numbered packets from a thread, in pieces that end anywhere."""

    def run() -> None:
        dice = random.Random(6)
        data = savefile(range(total))
        at = 0
        while at < len(data):
            size = dice.randrange(1, 20_000)
            writer.feed(data[at : at + size])
            at += size
        writer.end_of_input()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_rotations_under_load(start: Start, tmp_path: Path, number: int) -> None:
    """200,000 packets and a rename and a signal at every 5,000 lines or so: each line once."""
    writer = start().ready()
    feeding = feed_in_pieces(writer, LOAD)
    old: list[Path] = []
    while feeding.is_alive():
        if writer.log.stat().st_size > 4_000 * 120:
            old.append(tmp_path / f"old.{len(old):03}")
            writer.rotate(old[-1], number)
    feeding.join()
    assert writer.wait() == 0
    assert len(old) > 10
    numbers = numbers_in(*old, writer.log)
    assert_each_once(numbers, LOAD)
    assert numbers == sorted(numbers)


def test_bursts_of_signals_under_load(start: Start, tmp_path: Path) -> None:
    """Signals without end, renames in between: each line once."""
    writer = start().ready()
    feeding = feed_in_pieces(writer, LOAD // 4)
    old: list[Path] = []
    while feeding.is_alive():
        for number in (signal.SIGHUP, signal.SIGUSR1) * 10:
            writer.kill(number)
        if len(old) < 400 and writer.log.exists():
            old.append(tmp_path / f"old.{len(old):03}")
            writer.log.rename(old[-1])
            for number in (signal.SIGUSR1, signal.SIGHUP) * 10:
                writer.kill(number)
    feeding.join()
    assert writer.wait() == 0
    files = [*old, *([writer.log] if writer.log.exists() else [])]
    assert_each_once(numbers_in(*files), LOAD // 4)


def test_the_monitors_end_ends_the_worker(start: Start) -> None:
    """A worker whose monitor was killed writes what it has and goes."""
    writer = start()
    writer.feed(savefile(range(5)))
    writer.wait_lines(5)
    worker = writer.worker
    writer.process.kill()
    wait_for(lambda: is_gone(worker), "the worker's end")
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4]


# -- one instance, files, links ------------------------------------------------------------


def test_second_instance_says_so(start: Start, tmp_path: Path) -> None:
    """The pid file is locked: another instance names the process that runs and exits with 1."""
    writer = start().ready()
    assert writer.pid_file.read_text() == f"{writer.process.pid}\n"
    second = run("--read", "-", "--log", tmp_path / "other.log", pid_file=writer.pid_file)
    assert second.returncode == 1
    assert f"already running as process {writer.process.pid}" in second.stderr
    writer.feed(savefile(range(2)))
    writer.wait_lines(2)
    assert writer.pid_file.read_text() == f"{writer.process.pid}\n"


def test_stale_pid_file_is_no_obstacle(start: Start, tmp_path: Path) -> None:
    """A pid file that nobody holds is taken over."""
    (tmp_path / "pid").write_text("1\n")
    writer = start().ready()
    assert writer.pid_file.read_text() == f"{writer.process.pid}\n"
    assert writer.stop() == 0


def test_new_log_has_mode_640(start: Start) -> None:
    """Whatever the umask is, a new log is readable by owner and group alone."""
    umask = os.umask(0)
    try:
        writer = start().ready()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(writer.log.stat().st_mode) == 0o640


def test_existing_log_keeps_owner_and_mode(start: Start, tmp_path: Path) -> None:
    """What newsyslog or logrotate has made is written as it is."""
    log = tmp_path / "pflog.log"

    def make() -> None:
        log.touch()
        log.chmod(0o604)
        if ROOT:
            os.chown(log, 4711, 4712)

    make()
    writer = start()
    writer.feed(savefile(range(1)))
    writer.wait_lines(1)
    log.rename(tmp_path / "old")
    make()
    writer.kill(signal.SIGHUP)
    writer.wait_status("opened 2 times")
    writer.feed(numbered_records(range(1, 2)))
    writer.wait_lines(1)
    for path in (log, tmp_path / "old"):
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o604
        assert not ROOT or (status.st_uid, status.st_gid) == (4711, 4712)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_no_symbolic_link_in_a_shared_folder(tmp_path: Path, mode: int) -> None:
    """A link that somebody else could have made is not followed, nor is its target touched."""
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    shared.chmod(mode)
    target.write_text("precious\n")
    (shared / "log").symlink_to(target)
    (shared / "folder").symlink_to(tmp_path)
    for log in (shared / "log", shared / "folder/target"):
        done = run("--read", "-", "--log", log)
        assert done.returncode == 1
        assert "is a symbolic link in a directory that others can write" in done.stderr
    assert target.read_text() == "precious\n"


def test_no_symbolic_link_after_a_rotation(start: Start, tmp_path: Path) -> None:
    """A link that appears where the log was is not followed; the old file is written on."""
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    shared.chmod(0o1777)
    target.write_text("precious\n")
    writer = start(log=shared / "log").ready()
    writer.log.rename(tmp_path / "old")
    writer.log.symlink_to(target)
    writer.kill(signal.SIGHUP)
    writer.wait_said("is a symbolic link in a directory that others can write")
    writer.feed(savefile(range(2)))
    writer.wait_lines(2, tmp_path / "old")
    writer.log.unlink()
    writer.wait_said("is written again; 0 lines were dropped")
    writer.feed(numbered_records(range(2, 3)))
    writer.end_of_input()
    assert writer.wait() == 0
    assert target.read_text() == "precious\n"
    assert numbers_in(tmp_path / "old", writer.log) == [0, 1, 2]


def test_symbolic_link_in_a_folder_of_ours(tmp_path: Path) -> None:
    """Where nobody else can write, a link is followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "log").symlink_to("elsewhere/log")
    assert run("--read", "-", "--log", tmp_path / "log").returncode == 0
    assert (tmp_path / "elsewhere/log").is_file()


def test_second_name_in_a_shared_folder(tmp_path: Path) -> None:
    """A hard link in a shared folder may be anybody's file: refused."""
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    shared.chmod(0o777)
    target.write_text("precious\n")
    (shared / "log").hardlink_to(target) if sys.version_info >= (3, 10) else os.link(
        target, shared / "log"
    )
    done = run("--read", "-", "--log", shared / "log")
    assert (done.returncode, "has a second name" in done.stderr) == (1, True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_log_must_be_a_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A FIFO or a folder in the log's place is an error, not a program that hangs."""
    make(tmp_path / "log")
    done = run("--read", "-", "--log", tmp_path / "log")
    assert done.returncode == 1
    assert "pflogd: error: " in done.stderr


# -- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--read", "x", "--bpf", "tcp"], 2, "--bpf and --tcpdump are for an interface"),
        (["--read", "x", "--follow", "y"], 2, "not allowed with argument"),
        (["--read", "/no/such/file"], 1, "/no/such/file: there is no such file"),
        (["--tcpdump=/no/such/program"], 1, "there is no such program; install tcpdump"),
        (["--log", "/no/such/folder/log"], 1, "/no/such/folder: there is no such directory"),
        (["--help"], 0, "Without options it listens on pflog0"),
        (["--version"], 0, "fail2ban-pflogd 0."),
    ],
)
def test_options_that_make_no_sense(
    tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    """A mistake is reported, with what to do; nothing is made."""
    done = run("--check", "--log", tmp_path / "log", *options)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "make", "status", "said"),
    [
        ("--follow", lambda path: path.write_bytes(savefile_header()), 0, ""),
        ("--follow", lambda path: path.touch(), 0, ""),
        ("--follow", lambda _path: None, 75, "there is no such file (yet); it would be waited for"),
        ("--follow", lambda path: path.mkdir(), 1, "is a directory"),
        ("--read", lambda path: path.mkdir(), 1, "is a directory"),
        ("--follow", lambda path: path.write_text("a text log\n" * 9), 1, "no savefile"),
        ("--read", lambda path: path.write_bytes(savefile_header(1)), 1, "link type 1 instead"),
        ("--read", os.mkfifo, 0, ""),
    ],
)
def test_check_looks_at_what_it_will_read(
    tmp_path: Path, option: str, make: Callable[[Path], object], status: int, said: str
) -> None:
    """A file of another kind is wrong; one that is not there yet has a status of its own."""
    path = tmp_path / "pflog"
    make(path)
    if path.exists():
        path.chmod(0o755)
    done = run("--check", "--log", tmp_path / "log", option, path)
    assert (done.returncode, said in done.stderr, bool(done.stderr)) == (status, True, bool(said))


def test_check_looks_at_the_interface_and_the_log(tmp_path: Path) -> None:
    """A missing interface, one that is not pf's, and a directory as log are reported."""

    def check(*options: str) -> tuple[int, str]:
        done = run("--check", "--log", tmp_path / "log", *options)
        return done.returncode, done.stderr

    status, said = check("--interface", "pflog99")
    assert (status, "pflog99: there is no such interface (yet)" in said) == (75, True)
    status, said = check("--interface", "pflog99", "--tcpdump=true")
    assert (status, "pflog99: there is no such interface (yet)" in said) == (75, True)
    status, said = check("--interface", "pflog99", "--log", str(tmp_path))
    assert (status, "the log is a directory" in said) == (1, True)
    if ROOT and importlib.util.find_spec("pcapy"):
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        status, said = check("--interface", loopback)
        assert (status, "it is no log interface of pf" in said) == (1, True)


def test_wrong_filter_expression(tmp_path: Path) -> None:
    """An expression that libpcap does not understand is found before anything starts."""
    pytest.importorskip("pcapy")
    done = run("--log", tmp_path / "log", "--bpf", "hots 192.0.2.1")
    assert (done.returncode, "'hots 192.0.2.1'" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_followed_file_that_the_user_may_not_read(tmp_path: Path) -> None:
    """pflogd's file usually is root's alone: that is reported at once, with the remedies."""
    pflog = tmp_path / "pflog"
    pflog.write_bytes(savefile_header())
    pflog.chmod(0o600)
    done = run("--log", tmp_path / "log", "--follow", pflog)
    assert done.returncode == 1
    assert "may not read it" in done.stderr
    assert "or use --user root" in done.stderr


def test_null_input(start: Start) -> None:
    """Without any input there is nothing to write, and nothing to complain about."""
    writer = start("--read", "-", source=False)
    assert (writer.wait(), "0 packets read" in writer.said()) == (0, True)


# -- privileges ----------------------------------------------------------------------------


def identity(pid: int) -> tuple[set[str], set[str], list[str]]:
    """A process's user ids, group ids and further groups."""
    rows = dict(
        row.split(":\t", 1)
        for row in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in row
    )
    return set(rows["Uid"].split()), set(rows["Gid"].split()), rows["Groups"].split()


@needs_root
@needs_linux
def test_becomes_an_unprivileged_user(start: Start, tmp_path: Path) -> None:
    """What looks at packets is not root, and reopens a log in a folder it cannot enter."""
    folder = tmp_path / "private"
    folder.mkdir(0o700)
    writer = start("--user", "nobody", log=folder / "log")
    writer.feed(savefile(range(2)))
    writer.wait_lines(2)
    users, groups, more = identity(writer.worker)
    assert (users, groups) == ({"65534"}, {"65534"})
    assert "0" not in more
    writer.rotate(folder / "old")
    writer.wait_status("opened 2 times")
    writer.feed(numbered_records(range(2, 4)))
    writer.wait_lines(2)
    assert (numbers_in(folder / "old"), numbers_in(writer.log)) == ([0, 1], [2, 3])
    assert writer.log.stat().st_uid == 0


@needs_root
def test_unknown_user(tmp_path: Path) -> None:
    """A user that does not exist is a mistake in the command line."""
    done = run("--read", "-", "--log", tmp_path / "log", "--user", "nosuchuser")
    assert (done.returncode, "there is no user nosuchuser" in done.stderr) == (2, True)


# -- the disk ------------------------------------------------------------------------------


def test_removed_folder(start: Start, tmp_path: Path) -> None:
    """Without its folder it runs on, counts, and reports when it can write again."""
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = start(log=folder / "log")
    writer.feed(savefile(range(2)))
    writer.wait_lines(2)
    writer.log.unlink()
    folder.rmdir()
    writer.feed(numbered_records(range(2, 5)))
    writer.wait_said("cannot write the log: it was removed")
    writer.wait_status("3 lines dropped")
    folder.mkdir()
    wait_for(writer.log.exists, "the new log")
    writer.feed(numbered_records(range(5, 7)))
    writer.wait_lines(2)
    assert "is written again; 3 lines were dropped meanwhile" in writer.said()
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [5, 6]


def test_removed_log(start: Start) -> None:
    """A log that was removed is made anew with the next line, and none is lost."""
    writer = start()
    writer.feed(savefile(range(2)))
    writer.wait_lines(2)
    writer.log.unlink()
    writer.feed(numbered_records(range(2, 4)))
    wait_for(writer.log.exists, "the new log")
    writer.wait_lines(2)
    assert numbers_in(writer.log) == [2, 3]


def test_truncated_log(start: Start) -> None:
    """After copy-and-truncate the next line is at the file's start."""
    writer = start()
    writer.feed(savefile(range(5)))
    writer.wait_lines(5)
    os.truncate(writer.log, 0)
    writer.feed(numbered_records(range(5, 7)))
    writer.wait_lines(2)
    assert numbers_in(writer.log) == [5, 6]


def test_file_size_limit(start: Start) -> None:
    """A write that is only half taken leaves whole lines; the rest is counted."""
    blocks = 20
    limit = blocks * 512
    writer = start(prefix=["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"])
    writer.feed(savefile(range(200)))
    writer.end_of_input()
    assert writer.wait() == 0
    kept = numbers_in(writer.log)
    assert kept == list(range(len(kept)))
    assert limit - 200 < writer.log.stat().st_size <= limit
    assert f"{len(kept)} lines written, {200 - len(kept)} lines dropped" in writer.said()
    assert "cannot write the log: File too large" in writer.said()


@needs_root
@needs_linux
def test_full_disk(start: Start, tmp_path: Path) -> None:
    """On a full file system it runs on; no half line; it reports when there is room again."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=64k none {small} && exec "$@"'
    writer = start(log=small / "log", prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
    wait_for(writer.runs, "the program")
    writer.log = Path(f"/proc/{writer.process.pid}/root{small}/log")
    writer.ready()
    ballast = writer.log.with_name("ballast")
    writer.feed(savefile(range(100)))
    writer.wait_lines(100)
    while True:  # as other programs fill it, in the midst of lines
        try:
            with ballast.open("ab", buffering=0) as file:
                file.write(bytes(512))
        except OSError:
            break
    sent = 100
    while "No space left on device" not in writer.said():
        writer.feed(numbered_records(range(sent, sent + 50)))
        sent += 50
        writer.wait_status(f"{sent} packets read")
        kept = numbers_in(writer.log)
    assert "No space left on device" in writer.said()
    dropped = sent - len(kept)
    assert dropped
    ballast.unlink()
    writer.feed(numbered_records(range(sent, sent + 3)))
    writer.wait_said(f"is written again; {dropped} lines were dropped meanwhile")
    assert numbers_in(writer.log) == [*kept, sent, sent + 1, sent + 2]
    assert writer.stop() == 0


@needs_root
@needs_linux
def test_whole_lines_on_a_full_disk(start: Start, tmp_path: Path) -> None:
    """A reader that looks all the time never sees a line that is taken back or changed.

    (Linux shows a write page by page, so the last line may not have come yet.)
    """
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=512k none {small} && exec "$@"'
    writer = start(log=small / "log", prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
    wait_for(writer.runs, "the program")
    writer.log = Path(f"/proc/{writer.process.pid}/root{small}/log")
    writer.ready()
    looks = 0
    seen = b""
    with writer.log.open("rb") as held:  # the file system goes with the program
        log = Path(f"/proc/self/fd/{held.fileno()}")
        feeding = feed_in_pieces(writer, 20_000)
        while feeding.is_alive():
            data = log.read_bytes()
            assert data.startswith(seen)
            seen = data
            looks += 1
        assert writer.wait() == 0
        kept = numbers_in(log)
        size = log.stat().st_size
    assert looks > 3
    assert kept == sorted(set(kept))
    assert 300_000 < size <= 512 << 10
    assert f"{20_000 - len(kept)} lines dropped" in writer.said()
