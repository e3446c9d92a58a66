# SPDX-License-Identifier: GPL-2.0-or-later
"""What a backtest costs: ``python bench/bench_backtest.py``.

Makes a savefile of a million packets as a server's firewall drops them in a day: 2,000
scanners, 20,000 bystanders (late packets, clients that try again, late answers) and
background noise from everywhere.  Then measures, CPU time with all child processes:

- ``fail2ban-pflog backtest`` with one jail;
- the classic way: tcpdump makes text of it, and fail2ban's own FileFilter reads that,
  date detection and the same filter included (peer_backtest.py);
- a sweep of 24 settings, by the clock, on two cores;
- the peak of memory for the capture and for its first half.

--packets N   another number of packets
--assert      exit with status 1 where a goal is missed
--keep FILE   keep the savefile
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
OURS = [sys.executable, "-m", "fail2ban_pflog.cli", "backtest", "--config", str(ROOT / "config")]
SWEEP = ["maxretry=5..30..5", "findtime=1m,5m,15m,1h"]

GOAL_SINGLE = 3.0  # times faster than the classic way
GOAL_SWEEP = 4.0  # single runs

SCANNERS, BYSTANDERS = 2_000, 20_000
DAY = 86_400
BEGIN = 1_790_000_000
SNAPLEN = 116
HALF = "half.pcap"
SERVER = bytes((46, 38, 233, 77))
SYN, ACK, FIN_ACK, RST, PSH_ACK, SYN_ACK = 0x02, 0x10, 0x11, 0x04, 0x18, 0x12

COMMON = (21, 22, 23, 25, 80, 110, 111, 135, 139, 143, 443, 445, 993, 1433, 1723, 3306, 3389,
          5060, 5900, 6379, 8080, 8443, 8888, 9200)  # fmt: skip


# -- the savefile -----------------------------------------------------------------------


def header(direction: int = 1) -> bytes:
    """FreeBSD's since 13.1: a packet that rule 1 blocks."""
    return struct.pack(
        "!BBBB16s16sIIIiIiB", 69, 2, 1, 0, b"vtnet0", b"", 1, 2**32 - 1, 2**32 - 1, 0, 2**32 - 1, 0,
        direction,
    ).ljust(72, b"\0")  # fmt: skip


IN, OUT = header(), header(2)


def ip(source: bytes, target: bytes, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet."""
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 52, protocol, 0)
        + source + target + payload
    )  # fmt: skip


def tcp(rnd: random.Random, source: bytes, sport: int, dport: int, flags: int) -> bytes:
    """A blocked segment; with the options that the flags have in life."""
    number = rnd.getrandbits(32)
    options = b""
    if flags == SYN:
        options = struct.pack("!BBHBBBBIIBBB", 2, 4, 1460, 4, 2, 8, 10, number, 0, 1, 3, 7)
    elif flags & ACK:
        options = struct.pack("!BBBBII", 1, 1, 8, 10, number, number)
    offset = (20 + len(options)) // 4 << 4
    segment = struct.pack("!HHIIBBHHH", sport, dport, number, 1, offset, flags, 29200, 0, 0)
    return IN + ip(source, SERVER, 6, segment + options)


def udp(source: bytes, sport: int, dport: int, size: int) -> bytes:
    """A blocked datagram."""
    datagram = struct.pack("!HHHH", sport, dport, 8 + size, 0) + bytes(size)
    return IN + ip(source, SERVER, 17, datagram)


Packet = tuple[float, bytes]
"""Seconds into the day, frame."""


def scanner(rnd: random.Random, source: bytes, count: int) -> Iterator[Packet]:
    """A scan: most are quick and see 100 ports twice, some take hours, a few are UDP."""
    ports = [*COMMON, *rnd.sample(range(1, 10_000), 200)]
    rnd.shuffle(ports)
    gap = rnd.choice((0.003, 0.02, 0.3, 2.0, 20.0))
    when = rnd.uniform(0, DAY - min(DAY - 1, gap * count))
    sport = rnd.randrange(32_768, 61_000)
    is_udp = rnd.random() < 0.1
    for index in range(count):
        port = ports[index // 2 % len(ports)]
        yield when, udp(source, sport, port, 4) if is_udp else tcp(rnd, source, sport, port, SYN)
        when += gap * rnd.uniform(0.5, 1.5)


def late_client(rnd: random.Random, source: bytes, count: int) -> Iterator[Packet]:
    """A client whose state is gone: FIN, ACK, RST and data to a served port."""
    when, sport = rnd.uniform(0, DAY - 600), rnd.randrange(32_768, 61_000)
    port = rnd.choice((443, 443, 80, 993, 25))
    for _ in range(count):
        yield when, tcp(rnd, source, sport, port, rnd.choice((FIN_ACK, ACK, RST, PSH_ACK)))
        when += rnd.uniform(0.2, 25)


def retrying_client(rnd: random.Random, source: bytes, count: int) -> Iterator[Packet]:
    """A client that tries one closed port again and again."""
    when, port = rnd.uniform(0, DAY - 3600), rnd.choice((22, 25, 110, 587, 5222, 8448))
    for _ in range(count):
        yield when, tcp(rnd, source, rnd.randrange(32_768, 61_000), port, SYN)
        when += rnd.uniform(1, 120)


def late_answers(rnd: random.Random, source: bytes, count: int) -> Iterator[Packet]:
    """A resolver, time server or web server that answers too late, to many ports."""
    when, port = rnd.uniform(0, DAY - 3600), rnd.choice((53, 53, 123, 443))
    for _ in range(count):
        yield when, udp(source, port, rnd.randrange(10_000, 65_536), rnd.randrange(40, 200))
        when += rnd.uniform(0.1, 120)


def backscatter(rnd: random.Random, source: bytes, count: int) -> Iterator[Packet]:
    """A victim of a forger of our address."""
    when = rnd.uniform(0, DAY - 600)
    for _ in range(count):
        yield when, tcp(rnd, source, 80, rnd.randrange(1024, 65_536), SYN_ACK)
        when += rnd.uniform(0.1, 10)


def noise(rnd: random.Random, source: bytes) -> Iterator[Packet]:
    """One packet of the internet's noise, or of this host's own."""
    when, kind = rnd.uniform(0, DAY), rnd.random()
    if kind < 0.75:
        port = rnd.choice(COMMON) if rnd.random() < 0.6 else rnd.randrange(1, 65_536)
        yield when, tcp(rnd, source, rnd.randrange(1024, 65_536), port, SYN)
    elif kind < 0.9:
        yield when, udp(source, rnd.randrange(1024, 65_536), rnd.choice((1900, 5060, 123, 53)), 30)
    else:
        segment = struct.pack("!HHIIBBHHH", 443, 40_000, 1, 1, 0x50, FIN_ACK, 512, 0, 0)
        yield when, OUT + ip(SERVER, source, 6, segment)


Kind = Callable[[random.Random, bytes, int], Iterator[Packet]]
HONEST: tuple[Kind, ...] = (late_client, late_client, retrying_client, late_answers, backscatter)


def savefile(path: Path, packets: int, seed: int = 1) -> None:
    """Write the savefile: 40 % scanners, 40 % bystanders, 20 % noise."""
    rnd = random.Random(seed)

    def addresses(first: int) -> Iterator[bytes]:
        while True:
            yield bytes((first, *rnd.randbytes(3)))

    day: list[Packet] = []
    part = packets * 2 // 5
    for source, count in zip(addresses(45), shares(rnd, part, SCANNERS)):
        day += scanner(rnd, source, count)
    for source, count in zip(addresses(93), shares(rnd, part, BYSTANDERS)):
        day += rnd.choice(HONEST)(rnd, source, count)
    for source in addresses(187):
        if len(day) >= packets:
            break
        day += noise(rnd, source)
    day.sort()
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, 117))
        for when, frame in day[:packets]:
            whole, fraction = divmod(BEGIN + when, 1)
            kept = frame[:SNAPLEN]
            file.write(
                struct.pack("<IIII", int(whole), int(fraction * 1e6), len(kept), len(frame)) + kept
            )


def shares(rnd: random.Random, total: int, count: int) -> list[int]:
    """``total`` in ``count`` parts of different size, none empty."""
    weights = [rnd.uniform(0.2, 1.8) for _ in range(count)]
    factor = total / sum(weights)
    return [max(1, round(weight * factor)) for weight in weights]


def savefiles(path: Path, packets: int) -> None:
    """Write the savefile, and its first half in whole records beside it."""
    savefile(path, packets)
    data = path.read_bytes()
    at = 24
    while at < len(data) // 2:
        at += 16 + struct.unpack_from("<8xI", data, at)[0]
    path.with_name(HALF).write_bytes(data[:at])


# -- measuring --------------------------------------------------------------------------


class Cost(NamedTuple):
    """CPU seconds with children, seconds by the clock, peak of memory in MB, output."""

    cpu: float
    wall: float
    memory: float
    output: str


def cost(command: list[str]) -> Cost:
    """Run a command."""
    begin = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    wall = time.monotonic() - begin
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit, output)


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description="What a backtest costs.")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--assert", dest="check", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "mix.pcap"
        # In a process of its own: on Linux a child's peak of memory begins with its parent's.
        maker = multiprocessing.Process(target=savefiles, args=(capture, arguments.packets))
        maker.start()
        maker.join()
        if arguments.keep:
            shutil.copy(capture, arguments.keep)
        return measure(capture, arguments.packets, arguments.check)


def measure(capture: Path, packets: int, check: bool) -> int:
    """Measure everything on one savefile."""

    def show(what: str, spent: Cost) -> None:
        print(
            f"{what:<32}{spent.cpu:7.1f} s CPU {spent.wall:7.1f} s  "
            f"{spent.cpu / packets * 1e6:6.2f} us/packet {spent.memory:6.0f} MB",
            flush=True,
        )

    print(f"{packets:,} packets, {capture.stat().st_size / 1e6:.0f} MB")
    single = cost([*OURS, "--jail", "pflog", str(capture)])
    show("backtest, one jail", single)
    first = cost([*OURS, "--jail", "pflog", str(capture.with_name(HALF))])
    show("the same, first half", first)
    text = capture.with_suffix(".log")
    shell = f"tcpdump -e -n -tttt -r {capture} > {text} 2>/dev/null"
    tcpdump = cost(["sh", "-c", shell])
    show("classic: tcpdump to text", tcpdump)
    peer = cost([sys.executable, str(BENCH / "peer_backtest.py"), str(ROOT / "config"), str(text)])
    show("classic: fail2ban's FileFilter", peer)
    swept = cost([*OURS, "--jail", "pflog", "--sweep", *SWEEP, "--", str(capture)])
    show("sweep of 24 settings", swept)
    faster = (tcpdump.cpu + peer.cpu) / single.cpu
    runs = swept.wall / single.wall
    print(f"the classic way takes {faster:.1f} times as long (goal: at least {GOAL_SINGLE})")
    print(f"the sweep takes {runs:.1f} single runs by the clock (goal: at most {GOAL_SWEEP})")
    print(f"memory for twice the packets: {single.memory - first.memory:+.0f} MB")
    return int(check and (faster < GOAL_SINGLE or runs > GOAL_SWEEP))


if __name__ == "__main__":
    sys.exit(main())
