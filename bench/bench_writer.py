# SPDX-License-Identifier: GPL-2.0-or-later
"""The writer's cost and latency: python bench/bench_writer.py

CPU: user and system time per packet, all child processes included, of fail2ban-pflogd
and of peer_writer.py over the same savefile.  Runs alternate; each side's cheapest counts.
Two savefiles: what a server's firewall sees (bench_print.py's mix), which the goal is
for; and, for comparison, honest hosts' late packets, the dearest ones to print.

Latency: one frame at a time goes into the writer's standard input; the clock stops when
its line can be read from the log.

--assert      exit with status 1 when the ratio is below the goal
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_print import make

BENCH = Path(__file__).resolve().parent
LATE = BENCH.parent / "tests/data/labelled/bystanders.live.pcap"

PACKETS = 200_000
ROUNDS = 5
LATENCIES = 2_000
GOAL = 2.0

RECORD_HEADER = 16
FILE_HEADER = 24


def split(capture: bytes) -> list[bytes]:
    """Cut a savefile into its records, each with its header."""
    records, at = [], FILE_HEADER
    while at < len(capture):
        end = at + RECORD_HEADER + struct.unpack_from("<8xI", capture, at)[0]
        records.append(capture[at:end])
        at = end
    return records


def repeated(capture: bytes, packets: int) -> bytes:
    """Return a savefile with the capture's records again and again."""
    records = split(capture)
    copies, rest = divmod(packets, len(records))
    return capture[:FILE_HEADER] + b"".join(records) * copies + b"".join(records[:rest])


def writer(*options: object) -> list[str]:
    """Return the command that runs the program, with no pid file and whoever we are."""
    fixed = ("--pid-file", "", "--user", "root") if os.geteuid() == 0 else ("--pid-file", "")
    return [sys.executable, "-m", "fail2ban_pflog.writer", *fixed, *map(str, options)]


def cpu(command: list[str], log: Path) -> float:
    """Run a command; returns CPU microseconds per packet, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=BENCH.parent, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = log.read_bytes().count(b"\n")
    log.unlink()
    if lines < PACKETS:
        raise SystemExit(f"{command}: wrote {lines} lines of {PACKETS} packets")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / PACKETS * 1e6


def latencies(log: Path, records: list[bytes], header: bytes) -> list[float]:
    """Milliseconds from a frame's write to its line, one after the other."""
    found = []
    with subprocess.Popen(
        writer("--read", "-", "--log", log),
        cwd=BENCH.parent,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(header)
        while not log.exists():
            time.sleep(0.01)
        with log.open("rb", buffering=0) as reader:
            for number in range(LATENCIES):
                begin = time.perf_counter()
                process.stdin.write(records[number % len(records)])
                while not reader.read():
                    pass
                found.append((time.perf_counter() - begin) * 1e3)
        process.stdin.close()
    return found[100:]  # without the first ones, which load modules


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--assert", dest="check", action="store_true", help="fail when slower")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # tcpdump becomes another user
        mix, late = folder / "mix.pcap", folder / "late.pcap"
        make(mix, 65_535, PACKETS)
        late.write_bytes(repeated(LATE.read_bytes(), PACKETS))
        print(f"{PACKETS} packets, CPU microseconds per packet, the best of {ROUNDS} runs")
        print(f"{'':>28} {'ours':>8} {'peer':>8} {'ratio':>8}")
        ratio = compare("a firewall's mix", mix, folder / "log")
        compare("late packets", late, folder / "log")
        capture = mix.read_bytes()
        times = sorted(latencies(folder / "log", split(capture), capture[:FILE_HEADER]))
    print(f"latency from frame to line, {len(times)} frames one by one, milliseconds")
    print(f"{'median':>28} {statistics.median(times):8.3f}")
    print(f"{'99th percentile':>28} {times[len(times) * 99 // 100]:8.3f}")
    return 1 if arguments.check and ratio < GOAL else 0


def compare(title: str, capture: Path, log: Path) -> float:
    """Measure both sides over a savefile, print; returns how many times less ours takes."""
    peer = [sys.executable, str(BENCH / "peer_writer.py"), str(capture), str(log)]
    runs = [
        (cpu(writer("--read", capture, "--log", log), log), cpu(peer, log)) for _ in range(ROUNDS)
    ]
    ours, theirs = (min(times) for times in zip(*runs))
    print(f"{title:>28} {ours:8.2f} {theirs:8.2f} {theirs / ours:8.2f}")
    return theirs / ours


if __name__ == "__main__":
    sys.exit(main())
