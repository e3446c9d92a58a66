# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults in a loop: python -m tests.system.soak [SECONDS]   (Linux, root, iproute2)

A real server with jails on a savefile and on an interface hears a firewall's noise, while the
file is rotated and vanishes, the interface goes and comes back, the database's disk is full,
the clock is stepped by a day both ways, and jails are reloaded.  After each fault a scanner
must be banned by both kinds of jails, and every command of fail2ban-client must be answered at
once.  Memory, threads and descriptors must not grow: what they were is printed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.sources.test_follow import hour_of_faults
from tests.support.pflogs import Pflogd, newsyslog, record, syn
from tests.support.server import Server, wait_for
from tests.support.wire import INTERFACE, add_pair, in_namespace, inject, network, start_live

HOUR = 3600.0
DAY = 86_400
ANSWER = 5.0
"""Seconds in which a command must be answered; its program's start is among them."""

GROWTH = 8.0
"""Megabytes by which an hour may end above its first third."""

SEEDS = 10
"""Hours on a faulty disk."""

PORTS = 8
CLOCK = """
import time

def _stepped(now=time.time, path={path!r}):
    with open(path) as file:
        return now() + int(file.read())

if time.time.__name__ != _stepped.__name__:
    time.time = _stepped
"""
"""Runs within the server, at each reload: its clock goes wrong by what stands in a file."""

JAIL = """[{name}]
enabled = true
filter = pflog
backend = pflog[{options}]
action = recorder
maxretry = {ports}
findtime = 5m
bantime = 20s
{logpath}
"""


class Figures(NamedTuple):
    """What must not grow.  memory: megabytes."""

    memory: float
    threads: int
    descriptors: int


def missing() -> str:
    """Say what this machine lacks; "" where it lacks nothing."""
    if os.geteuid() or not sys.platform.startswith("linux"):
        return "needs Linux and root, for network namespaces"
    for program in ("ip", "mount"):
        if shutil.which(program) is None:
            return f"needs {program}"
    return ""


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a disk of a megabyte."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


class Soak:
    """A server under fire.

    folder: an empty directory.  namespace: of the interface.  disk: where the database is.

    rounds: how many faults there were.  slowest: seconds that the slowest answer took.
    """

    def __init__(self, folder: Path, namespace: str, disk: Path) -> None:
        self._dice = random.Random(1)
        self._clock = folder / "clock"
        self._namespace = namespace
        self._disk = disk
        self._savefile = folder / "pflog"
        self._pflogd = Pflogd(self._savefile)
        self._scanners = 0
        self._noise = 0
        self.rounds = 0
        self.slowest = 0.0
        self._step(0)
        common = "distinct=port, mode=normal"
        jails = "".join(
            JAIL.format(name=name, options=f"{common}{more}", ports=PORTS, logpath=logpath)
            for name, more, logpath in (
                ("file", "", f"logpath = {self._savefile}"),
                ("file-too", ", hold=1", f"logpath = {self._savefile}"),
                ("live", f", interface={INTERFACE}", ""),
                ("live-too", f", interface={INTERFACE}, prefix6=64", ""),
            )
        )
        self.server = Server(folder / "server", jails)
        local = self.server.config / "fail2ban.local"
        old = f"dbfile = {folder}/server/f2b.db"
        local.write_text(local.read_text().replace(old, f"dbfile = {disk}/f2b.sqlite3"))
        loader = self.server.config / "action.d/pflog-backend.py"
        loader.write_text(CLOCK.format(path=str(self._clock)) + loader.read_text())
        start_live(self.server, namespace)

    def close(self) -> None:
        """End all."""
        self.server.stop()
        self._pflogd.close()

    # -- what comes in -----------------------------------------------------------------

    def _step(self, seconds: int) -> None:
        """Set the server's clock off by so much."""
        self._offset = seconds
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(self._clock)

    def _now(self) -> float:
        return time.time() + self._offset

    def noise(self, packets: int = 100) -> None:
        """Let sources come that nobody knows, and clients that try one port again and again."""
        for _ in range(packets):
            self._noise += 1
            source = f"198.18.{self._noise >> 8 & 15}.{self._noise & 255}"  # 4,096 of them
            if self._noise % 3 == 0:
                source = f"198.51.100.{self._noise % 200}"
            frame = syn(source, self._dice.choice((22, 23, 8443)), self._noise)
            self._pflogd.write(record(self._now(), frame))

    def scan(self) -> None:
        """Let a scanner come, and wait until all jails have banned it."""
        self._scanners += 1
        source = f"192.0.{self._scanners >> 8}.{self._scanners & 255}"
        frames = [syn(source, port) for port in range(1, PORTS + 1)]
        for frame in frames:
            self._pflogd.write(record(self._now(), frame))
        inject(self._namespace, frames)
        wait_for(
            lambda: self.server.bans().count(source) >= 4,
            f"all jails' bans of {source}: {self.server.output()[-2000:]}",
            60,
        )
        (self.server.folder / "bans").write_text("")

    # -- faults ------------------------------------------------------------------------

    def interface_goes_and_comes(self) -> None:
        """Take the interface away, and bring it back."""
        in_namespace(self._namespace, "ip", "link", "del", INTERFACE)
        self.noise()
        self._ask()
        add_pair(self._namespace)
        self._wait_until_listening()

    def interface_is_down(self) -> None:
        """Set the interface down and up."""
        in_namespace(self._namespace, "ip", "link", "set", INTERFACE, "down")
        self.noise()
        in_namespace(self._namespace, "ip", "link", "set", INTERFACE, "up")
        self._wait_until_listening()

    def _wait_until_listening(self) -> None:
        for name in ("live", "live-too"):
            wait_for(
                lambda name=name: "listening" in self.server.status(name).get(INTERFACE, ""),
                "listening",
                30,
            )

    def file_is_rotated(self) -> None:
        """Rename the file as newsyslog does."""
        newsyslog(self._savefile, keep=3)
        self.noise()
        self._pflogd.hup()

    def file_vanishes(self) -> None:
        """Delete the file; pflogd makes it anew."""
        self._savefile.unlink()
        self.noise()
        self._ask()
        self._pflogd.hup()

    def disk_is_full(self) -> None:
        """Leave the database no room for a while."""
        filler = self._disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self.noise(300)
        self._ask()
        filler.unlink()

    def clock_steps(self) -> None:
        """Set the clock a day ahead, and back; and a day back, and ahead."""
        for offset in (DAY, 0, -DAY, 0):
            self._step(offset)
            self.noise()
            time.sleep(0.5)  # two looks at the file
            self._ask()

    def reload(self) -> None:
        """Reload one jail, then all."""
        self._command("reload", "file")
        self.noise()
        self._command("reload")
        self._wait_until_listening()

    def restart_a_jail(self) -> None:
        """Stop and start one jail of each kind."""
        for name in ("file-too", "live"):
            self._command("restart", name)
        self._wait_until_listening()

    FAULTS: tuple[Callable[[Soak], None], ...] = (
        interface_goes_and_comes,
        file_is_rotated,
        reload,
        disk_is_full,
        file_vanishes,
        clock_steps,
        interface_is_down,
        restart_a_jail,
    )

    def _command(self, *words: str) -> None:
        self.server.took.clear()
        self.server.client(*words)
        self._note(*words)

    def _ask(self) -> None:
        for words in (("ping",), ("status", "file"), ("status", "live")):
            self._command(*words)

    def _note(self, *words: str) -> None:
        took = max(self.server.took.values())
        self.slowest = max(self.slowest, took)
        assert took < ANSWER, f"{' '.join(words)} took {took:.1f} s"

    def round(self) -> Figures:
        """Let each fault happen once; returns what the server uses then."""
        for fault in self.FAULTS:
            self.rounds += 1
            fault(self)
            self.noise()
            self.scan()
        return self.figures()

    def figures(self) -> Figures:
        """Return what the server uses."""
        assert self.server.process is not None
        of = Path("/proc") / str(self.server.process.pid)
        pages = int((of / "statm").read_text().split()[1])
        return Figures(
            pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            _at_least(of / "task"),
            _at_least(of / "fd"),
        )


def _at_least(folder: Path) -> int:
    """How many entries stay: the clock's file, or an action's thread, is there for a moment."""
    counts = []
    for _ in range(10):
        counts.append(len(list(folder.iterdir())))
        time.sleep(0.02)
    return min(counts)


@contextmanager
def soaking() -> Iterator[Soak]:
    """Set all up, and take it down."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        namespace = stack.enter_context(network(f"f2bsoak{os.getpid()}"))
        disk = stack.enter_context(small_disk(folder / "disk"))
        soak = Soak(folder, namespace, disk)
        stack.callback(soak.close)
        yield soak


def faulty_disk(seeds: int) -> None:
    """Print what an hour of a simulated clock on a disk that fails loses and doubles."""
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            written, failed, numbers = hour_of_faults(Path(folder) / "pflog", seed)
        lost, doubled = written - len(set(numbers)), len(numbers) - len(set(numbers))
        print(
            f"faulty disk, seed {seed}: {failed} of the calls failed, {written} packets, "
            f"{lost} lost, {doubled} doubled",
            flush=True,
        )
        if lost or doubled:
            sys.exit("soak: a faulty disk loses or doubles packets")


def main(seconds: float) -> None:
    """Let faults happen for so long, and print what the server uses after each round."""
    faulty_disk(SEEDS)
    if lack := missing():
        sys.exit(f"soak: {lack}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: terminated"))  # takes all down
    end = time.monotonic() + seconds
    with soaking() as soak:
        rounds = []
        while time.monotonic() < end:
            rounds.append(soak.round())
            print(
                "after {} faults: {:.1f} MB, {} threads, {} descriptors".format(
                    soak.rounds, *rounds[-1]
                ),
                f"slowest answer {soak.slowest:.1f} s",
                flush=True,
            )
    warm, last = rounds[len(rounds) // 3], rounds[-1]
    grown = last.memory - warm.memory
    print(f"from the first third on: {grown:+.1f} MB, {last.threads - warm.threads:+d} threads, "
          f"{last.descriptors - warm.descriptors:+d} descriptors")  # fmt: skip
    if last.threads > warm.threads or last.descriptors > warm.descriptors or grown > GROWTH:
        sys.exit("soak: it grows")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else HOUR)
