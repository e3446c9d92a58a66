# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflogd's sources that are no files: tcpdump, the interface; fail2ban at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.pflog import savefile as core
from tests.support import server as f2b
from tests.support.pflogs import savefile_header, scan, syn
from tests.support.server import REPO, wait_for
from tests.support.writers import COMMAND, ROOT, Pflogd, is_gone, numbers_in, savefile
from tests.support.writers import tcpdump as stand_in

Start = Callable[..., Pflogd]

TCPDUMP = """\
# Writes how it was called and the next savefile, and waits to be ended.
printf '%s\\n' "$*" >> {folder}/arguments
echo "listening on pflog0" >&2
echo $$ > {folder}/tcpdump.pid
mv {folder}/next {folder}/now && cat {folder}/now
exec sleep 1000
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A maker of running programs; all are ended at the end."""
    started: list[Pflogd] = []

    def make(*options: object, **more: object) -> Pflogd:
        started.append(Pflogd(tmp_path, *options, source=False, **more))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for each in started:
        each.end()


class Tcpdump:
    """A stand-in for tcpdump, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = stand_in(folder, TCPDUMP)

    def will_write(self, data: bytes) -> None:
        """What the next one that is started writes."""
        part = self.folder / "part"
        part.write_bytes(data)
        part.rename(self.folder / "next")

    def arguments(self) -> list[str]:
        path = self.folder / "arguments"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self) -> int:
        return int((self.folder / "tcpdump.pid").read_text())


@pytest.fixture
def tcpdump(tmp_path: Path) -> Tcpdump:
    return Tcpdump(tmp_path)


def test_tcpdump_child(start: Start, tcpdump: Tcpdump) -> None:
    """tcpdump hands over raw frames, unprivileged; its messages are passed on; it ends with us."""
    tcpdump.will_write(savefile(range(3)))
    writer = start("--tcpdump", tcpdump.program, "--bpf", "inbound and action block")
    writer.wait_lines(3)
    assert "info: tcpdump: listening on pflog0" in writer.said()
    pid = tcpdump.pid()
    assert writer.stop() == 0
    wait_for(lambda: is_gone(pid), "tcpdump's end")
    assert numbers_in(writer.log) == [0, 1, 2]
    (arguments,) = tcpdump.arguments()
    assert arguments.startswith("-n -i pflog0 ")
    assert "-w - -U --immediate-mode " in arguments
    assert arguments.endswith(" inbound and action block")
    assert ("-Z " in arguments) == ROOT


QUICK = """\
import sys
from fail2ban_pflog.writer import main, monitor
monitor.PAUSES = (0.1,)
raise SystemExit(main(sys.argv[1:]))
"""


def test_tcpdump_killed_again_and_again(start: Start, tcpdump: Tcpdump) -> None:
    """Each time it is killed a new one is started, and its packets follow."""
    tcpdump.will_write(savefile(range(2)))
    writer = start("--tcpdump", tcpdump.program, program=[sys.executable, "-c", QUICK])
    for round_ in range(1, 11):
        writer.wait_lines(2 * round_)
        tcpdump.will_write(savefile(range(2 * round_, 2 * round_ + 2)))
        os.kill(tcpdump.pid(), signal.SIGKILL)
    writer.wait_lines(22)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == list(range(22))
    assert writer.said().count("tcpdump ended by signal 9; starting it again") == 10
    assert "22 packets read, 22 lines written, 0 lines dropped" in writer.said()
    assert "worker started 11 times" in writer.said()


def test_tcpdump_cut_within_a_packet(start: Start, tcpdump: Tcpdump) -> None:
    """What a killed tcpdump wrote of a packet is no line, and spoils no other."""
    tcpdump.will_write(savefile(range(3))[:-9])
    writer = start("--tcpdump", tcpdump.program)
    writer.wait_lines(2)
    tcpdump.will_write(savefile(range(2, 4)))
    os.kill(tcpdump.pid(), signal.SIGKILL)
    writer.wait_lines(4)
    assert numbers_in(writer.log) == [0, 1, 2, 3]


def test_tcpdump_that_does_not_start(start: Start, tmp_path: Path) -> None:
    """Its message is passed on, it is tried again, and TERM works meanwhile."""
    program = stand_in(tmp_path, "echo 'pflog0: No such device' >&2\nexit 1\n")
    writer = start("--tcpdump", program)
    writer.wait_said("starting it again")
    assert "info: tcpdump: pflog0: No such device" in writer.said()
    assert "tcpdump ended with status 1" in writer.said()
    assert writer.stop() == 0


@pytest.mark.skipif(not ROOT or shutil.which("tcpdump") is None, reason="needs root and tcpdump")
@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's loopback interface")
def test_real_tcpdump_takes_our_options(start: Start) -> None:
    """The real one starts; an interface that is not pf's ends the program with the reason."""
    writer = start("--tcpdump", "--interface", "lo")
    assert writer.wait() == 1
    assert "lo: link type 1 instead of 117 (pflog): record the packet filter's" in writer.said()


@pytest.mark.skipif(
    not str(core.__file__).endswith(".py"), reason="compiled, it needs a library of its own"
)
def test_needs_nothing_but_the_standard_library(tmp_path: Path, tcpdump: Tcpdump) -> None:
    """Without site-packages tcpdump is the default, and everything works."""
    tcpdump.will_write(savefile(range(2)))
    path = f"{tmp_path}:{os.environ['PATH']}"
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-S", *COMMAND[1:], "--log", log, "--pid-file", ""],
        cwd=REPO,
        env={**os.environ, "PATH": path, "PYTHONPATH": ""},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") == 2, "two lines")
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_worker_that_crashes(start: Start, tcpdump: Tcpdump) -> None:
    """A worker that dies is reported and replaced; the figures go on."""
    tcpdump.will_write(savefile(range(2)))
    writer = start("--tcpdump", tcpdump.program)
    writer.wait_lines(2)
    tcpdump.will_write(savefile(range(2, 4)))
    os.kill(writer.worker, signal.SIGKILL)
    writer.wait_lines(4)
    assert "error: the worker ended by signal 9" in writer.said()
    writer.wait_status("4 packets read, 4 lines written")


# -- the interface -------------------------------------------------------------------------

LIVE = """\
import sys
from fail2ban_pflog.pflog import savefile
from fail2ban_pflog.writer import main

# Ethernet interfaces, whose frames we make ourselves, are taken for pf's.
savefile.DLT_PFLOG = 1
if "--tcpdump" not in sys.argv:
    from fail2ban_pflog.sources import live
    live.LINK_TYPE = 1
sys.exit(main())
"""


@pytest.fixture
def interface() -> Iterator[str]:
    """A network interface, one end of a pair."""
    pytest.importorskip("pcapy")
    if sys.platform != "linux" or not ROOT or shutil.which("ip") is None:
        pytest.skip("makes an interface with ip")
    name = f"pfl{os.getpid() % 10000}"
    make_interface(name)
    yield name
    subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)


def make_interface(name: str) -> None:
    # The peer's name is set by us as well, both without IPv6 chatter.
    subprocess.run(
        ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=True
    )
    for end in (name, f"{name}p"):
        Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", end, "up"], check=True)


def send(interface: str, numbers: range) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((f"{interface}p", 0))
        for number in numbers:
            wire.send(syn("198.51.100.7", 80, number))


def test_interface(start: Start, tmp_path: Path, interface: str) -> None:
    """Frames of the interface become lines, also after it vanished and came back."""
    script = tmp_path / "live.py"
    script.write_text(LIVE)
    writer = start("--interface", interface, program=[sys.executable, script])
    writer.wait_status("listening")
    send(interface, range(3))
    writer.wait_lines(3)
    subprocess.run(["ip", "link", "del", interface], check=True)
    writer.wait_said(f"{interface} is gone")
    make_interface(interface)
    wait_for(lambda: "listening" in writer.status(), "the new interface")
    send(interface, range(3, 5))
    writer.wait_lines(5)
    assert writer.stop() == 0
    assert numbers_in(writer.log) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump")
def test_real_tcpdump(start: Start, tmp_path: Path, interface: str) -> None:
    """The real tcpdump reads the interface as an unprivileged user; it may be killed."""
    script = tmp_path / "live.py"
    script.write_text(LIVE)
    writer = start(
        "--tcpdump", "--interface", interface, "--user", "nobody", program=[sys.executable, script]
    )
    for round_ in range(3):
        wait_for(lambda: writer.said().count("listening on") == round_ + 1, "tcpdump")  # noqa: B023
        send(interface, range(2 * round_, 2 * round_ + 2))
        writer.wait_lines(2 * round_ + 2)
        (child,) = writer.children(writer.worker)
        status = Path(f"/proc/{child}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: writer.said().count("listening on") == 4, "tcpdump")
    assert writer.stop() == 0
    assert numbers_in(writer.log) == list(range(6))


# -- fail2ban ------------------------------------------------------------------------------


def test_stock_fail2ban_bans(server: Callable[..., f2b.Server], tmp_path: Path) -> None:
    """fail2ban as it is, backend = polling, bans from our log, across a rotation."""
    writer = Pflogd(tmp_path).ready()
    try:
        server_ = server(
            "[pflog-text]\nenabled = true\nbackend = polling\naction = recorder\n"
            f"logpath = {writer.log}\nmaxretry = 30\n",
            packaged=False,
            expected=[r"fail2ban_pflog cannot be loaded"],
        ).start()
        now = time.time()
        writer.feed(savefile_header() + scan("198.51.100.7", range(1, 29), now - 1))
        writer.feed(scan("198.51.100.8", range(1, 41), now - 1))
        server_.wait_for_bans("198.51.100.8")
        writer.rotate(tmp_path / "pflog.log.1")
        writer.wait_status("opened 2 times")
        writer.feed(scan("198.51.100.7", range(50, 53), now))
        server_.wait_for_bans("198.51.100.7")
        assert server_.bans() == ["198.51.100.8", "198.51.100.7"]
        assert "rule 1/0(match): block in on vtnet0: 198.51.100.8" in "".join(
            server_.matches("198.51.100.8")
        )
    finally:
        writer.end_of_input()
        assert writer.wait() == 0
