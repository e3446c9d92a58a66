# SPDX-License-Identifier: GPL-2.0-or-later
"""From the 15th frame on the wire to the ban: python bench/bench_latency.py [SCANNERS]

Ours: a jail listens to an interface, a veth pair in a network namespace (needs root), into
which frames are sent as pf does.  Classic: the same frames go through tcpdump's standard input
and a text log to a jail with the stock backend `polling`.  The clock runs from the moment
before the 15th frame is sent until fail2ban calls the jail's action; scanners come at random.

With others: the same while three more jails listen to the interface.

In a flood: the same while forged sources, each a packet, come at some rate, as fast as two cores
can make and process them; with the packets that the kernel dropped and the scanners missed.

Idle: CPU time per second of a server whose jail listens and hears nothing, of which fail2ban's
own threads and the classic jail's are shown beside it.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_server import cpu

from tests.support.pflogs import record, savefile_header, syn
from tests.support.server import Server, wait_for
from tests.support.wire import INTERFACE, SENDER, inside, network, start_live

SCANNERS, PORTS = 100, 15
OTHERS = 3
"""Jails that listen as well."""
FLOODS = (15_000, 60_000)
"""Forged sources a second."""
SCANNERS_IN_FLOOD = 20
PATIENCE = 5.0
"""Seconds after the last scanner in which those that are found must have been banned."""

FLOODER = """
import socket, struct, sys, time
frame, rate = bytearray.fromhex(sys.argv[1]), float(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("wire", 0))
begin, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - begin) * rate)
    for number in range(sent, due):
        struct.pack_into(">I", frame, 84, 0x14000000 + number)  # the source's address
        s.send(frame)
    sent = due
    time.sleep(0.001)
"""

IDLE = 20.0
"""Seconds for which an idle server is watched."""

CLOCK = """
import time
from fail2ban.server.action import ActionBase

class Action(ActionBase):
    def start(self): pass
    def stop(self): pass
    def unban(self, info): pass
    def ban(self, info):
        now = time.time()
        with open({path!r}, "a") as file:
            file.write(f"{{info['ip']}} {{now:.6f}}\\n")
"""


def jail(folder: Path, backend: str, logpath: str = "", others: int = 0) -> Server:
    """Make a server with one jail whose action writes down when it was called."""
    folder.mkdir()
    common = f"enabled = true\nfilter = pflog\nbackend = {backend}\nfindtime = 5m\nbantime = 1h\n"
    server = Server(
        folder,
        f"[pflog]\n{common}action = clock.py\nmaxretry = {PORTS}\n{logpath}\n"
        + "".join(
            f"[other{number}]\n{common}action =\nmaxretry = {2 * PORTS}\n"
            for number in range(others)
        ),
    )
    (server.config / "action.d/clock.py").write_text(CLOCK.format(path=str(folder / "clock")))
    return server


def latencies(
    folder: Path, send: Callable[[list[bytes]], None], scanners: int, first: int = 1
) -> list[float]:
    """Let one scanner after the other come; returns seconds until each one's ban."""
    dice = random.Random(1)
    sent = {}
    for number in range(first, first + scanners):
        source = f"198.51.{100 + (number >> 8)}.{number & 255}"
        frames = [syn(source, port) for port in range(1, PORTS + 1)]
        send(frames[:-1])
        time.sleep(0.2 + dice.random())
        sent[source] = time.time()
        send(frames[-1:])
    clock = folder / "clock"
    called: dict[str, str] = {}
    end = time.monotonic() + PATIENCE
    while not sent.keys() <= called.keys() and time.monotonic() < end:
        time.sleep(0.1)
        text = clock.read_text() if clock.exists() else ""
        called = dict(line.split() for line in text.splitlines())
    return [float(called[source]) - when for source, when in sent.items() if source in called]


def idle(server: Server) -> float:
    """Return CPU milliseconds per second."""
    assert server.process is not None
    before = cpu(server.process.pid)
    time.sleep(IDLE)
    return (cpu(server.process.pid) - before) / IDLE * 1000


def in_words(found: list[float]) -> str:
    """Tell latencies in words."""
    found.sort()
    return (
        f"median {statistics.median(found) * 1000:4.0f} ms, 99th percentile "
        f"{found[int(len(found) * 0.99)] * 1000:4.0f} ms"
    )


def floods(folder: Path, server: Server, name: str, send: Callable[[list[bytes]], None]) -> None:
    """Print the latencies in floods."""
    for number, rate in enumerate(FLOODS):
        flooder = subprocess.Popen(
            inside(name, "python3", "-c", FLOODER, syn("20.0.0.0", 22).hex(), str(rate))
        )
        try:
            time.sleep(1)
            found = latencies(folder, send, SCANNERS_IN_FLOOD, 300 * (number + 1))
        finally:
            flooder.kill()
            flooder.wait()
        row = server.status("pflog")[INTERFACE]
        print(
            f"  ours in a flood of {rate:,} a second: {in_words(found)}; "
            f"{SCANNERS_IN_FLOOD - len(found)} of {SCANNERS_IN_FLOOD} scanners missed; {row}"
        )


def ours(folder: Path, scanners: int, others: int = 0) -> tuple[list[float], float]:
    """Measure the backend; alone also in floods."""
    backend = f"pflog[interface={INTERFACE}, distinct=port, mode=normal]"
    with network(f"f2bbench{os.getpid()}") as name:
        server = start_live(jail(folder, backend, others=others), name)
        wait_for(lambda: "listening" in server.client("status", "pflog"), "listening")
        waiting = idle(server)
        with subprocess.Popen(
            inside(name, "python3", "-u", "-c", SENDER), stdin=subprocess.PIPE
        ) as sender:
            assert sender.stdin is not None
            pipe = sender.stdin

            def send(frames: list[bytes]) -> None:
                pipe.write("".join(frame.hex() + "\n" for frame in frames).encode())
                pipe.flush()

            found = latencies(folder, send, scanners)
            if not others:
                floods(folder, server, name, send)
            pipe.close()
        server.stop()
    return found, waiting


def classic(folder: Path, scanners: int) -> tuple[list[float], float]:
    """Measure tcpdump and the polling backend."""
    log = folder.parent / "classic.txt"
    log.touch()
    server = jail(folder, "polling", f"logpath = {log}").start()
    waiting = idle(server)
    with (
        log.open("ab") as file,
        subprocess.Popen(
            ["tcpdump", "-l", "-n", "-e", "-tttt", "-r", "-"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.DEVNULL,
        ) as tcpdump,
    ):
        assert tcpdump.stdin is not None
        pipe = tcpdump.stdin
        pipe.write(savefile_header())

        def send(frames: list[bytes]) -> None:
            pipe.write(b"".join(record(time.time(), frame) for frame in frames))
            pipe.flush()

        found = latencies(folder, send, scanners)
        pipe.close()
    server.stop()
    return found, waiting


def main(scanners: int) -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as name:
        results = {
            "ours": ours(Path(name) / "ours", scanners),
            f"with {OTHERS} others": ours(Path(name) / "others", scanners, OTHERS),
            "classic": classic(Path(name) / "classic", scanners),
        }
    print(f"from the {PORTS}th frame to the ban: {scanners} scanners, one after the other")
    for way, (found, waiting) in results.items():
        print(f"  {way:13} {in_words(found)}; idle {waiting:.1f} ms of CPU a second")
    one, _, two = (statistics.median(found) for found, _ in results.values())
    print(f"  ratio of the medians {two / one:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SCANNERS)
