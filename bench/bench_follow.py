# SPDX-License-Identifier: GPL-2.0-or-later
"""Following a savefile: how soon the first line comes, and what waiting costs.

Usage: python bench/bench_follow.py [PACKETS]        (8,000,000 by default: one gigabyte)

Start: a file whose last minutes matter is opened with findtime; the peer is the same
file read from its beginning.  Idle: CPU time per second of a follower that is asked
four times a second, as the backend asks it, while nothing is appended.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fail2ban_pflog.formatter import Formatter
from fail2ban_pflog.sources.follow import Follower
from tests.support.pflogs import record, savefile_header, syn

FINDTIME = 300.0
RATE = 100.0  # packets per second in the file
POLLS = 2000
BACKEND_POLLS_PER_SECOND = 4


def make(path: Path, packets: int) -> float:
    """Write the savefile; return the time of its last packet."""
    begin = 1_700_000_000.0
    frames = [syn(f"198.51.100.{i % 250 + 1}", i % 60000 + 1, i) for i in range(1000)]
    with path.open("wb") as file:
        file.write(savefile_header())
        for start in range(0, packets, 1000):
            file.write(
                b"".join(
                    record(begin + (start + i) / RATE, frame) for i, frame in enumerate(frames)
                )
            )
    return begin + packets / RATE


def first_line(path: Path, since: float) -> tuple[float, int]:
    """Return the seconds until the first line that is young enough, and packets read."""
    begin = time.perf_counter()
    follower = Follower(path, lambda _level, _message: None, since=since)
    packets = 0
    while records := follower.read():
        packets += len(records)
        young = [frame for seconds, _, frame in records if seconds >= WANTED]
        if young:
            Formatter("<").line(young[0])
            break
    follower.close()
    return time.perf_counter() - begin, packets


packets = int(sys.argv[1]) if len(sys.argv) > 1 else 8_000_000
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "pflog"
    WANTED = make(path, packets) - FINDTIME
    print(f"savefile: {packets} packets, {path.stat().st_size / 1e9:.2f} GB")
    soon, _ = first_line(path, WANTED)
    print(f"start, last {FINDTIME:.0f} s wanted: first line after {soon:.3f} s")
    late, _ = first_line(path, 0.0)
    print(f"the same file from its beginning:  {late:.1f} s, {late / soon:.0f} times as long")

    follower = Follower(path, lambda _level, _message: None, since=float("inf"))
    while follower.read():
        pass
    before = time.process_time()
    for _ in range(POLLS):
        follower.read()
    used = (time.process_time() - before) / POLLS * BACKEND_POLLS_PER_SECOND
    print(f"idle: {used * 1e6:.0f} microseconds of CPU per second, {os.cpu_count()} cores")
