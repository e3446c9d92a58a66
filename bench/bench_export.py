# SPDX-License-Identifier: GPL-2.0-or-later
"""What an export costs, against tshark: ``python bench/bench_export.py``.

Makes a savefile of a million packets as a server's firewall drops them in a day (see
bench_backtest.py), and the same day as eight files, as newsyslog leaves them.  Then
measures, CPU time with all child processes, in one run:

- ``tshark -T fields`` on the day, with those of its fields that are ours (text, thrown away);
- ``fail2ban-pflog export`` of the day, policy and compressed files included;
- of the eight files, on all cores, by the clock;
- of all of them again: nothing is to be done;
- the peak of memory for the day and for its first half.

--packets N   another number of packets
--assert      exit with status 1 where a goal is missed
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from bench_backtest import HALF, Cost, cost, savefiles

GOAL = 5.0  # times faster than tshark, by the clock
ROTATED = 8
OURS = [sys.executable, "-m", "fail2ban_pflog.cli", "export", "--host", "gate", "--to"]
FIELDS = (
    "frame.time_epoch", "pflog.action", "pflog.dir", "pflog.reason", "pflog.ifname",
    "pflog.rulenr", "pflog.subrulenr", "pflog.ruleset", "pflog.uid", "ip.version", "ip.src",
    "ip.dst", "ipv6.src", "ipv6.dst", "ip.proto", "ipv6.nxt", "tcp.srcport", "tcp.dstport",
    "udp.srcport", "udp.dstport", "tcp.flags", "icmp.type", "icmp.code", "icmpv6.type",
    "icmpv6.code", "ip.ttl", "ipv6.hlim", "ip.frag_offset", "ip.len", "tcp.len", "udp.length",
    "frame.cap_len",
)  # fmt: skip
TSHARK = ["sh", "-c", 'exec tshark "$@" 2>/dev/null | wc -l', "tshark", "-n", "-T", "fields"]


def rotate(path: Path, count: int) -> list[Path]:
    """Cut a savefile into as many, in whole records."""
    data = path.read_bytes()
    begin = at = 24
    parts = []
    for number in range(1, count + 1):
        while at < len(data) * number // count:
            at += 16 + struct.unpack_from("<8xI", data, at)[0]
        part = path.with_name(f"pflog.{count - number}")
        part.write_bytes(data[:24] + data[begin:at])
        parts.append(part)
        begin = at
    return parts


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description="What an export costs.")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--assert", dest="check", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("tshark") is None:
        sys.exit("bench_export: tshark is missing")
    with tempfile.TemporaryDirectory() as folder:
        day = Path(folder) / "day.pcap"
        # In a process of its own: on Linux a child's peak of memory begins with its parent's.
        maker = multiprocessing.Process(target=savefiles, args=(day, arguments.packets))
        maker.start()
        maker.join()
        return measure(day, arguments.packets, arguments.check)


def measure(day: Path, packets: int, check: bool) -> int:
    """Measure everything on one savefile."""

    def show(what: str, spent: Cost) -> Cost:
        print(
            f"{what:<36}{spent.cpu:7.1f} s CPU {spent.wall:7.1f} s  "
            f"{spent.cpu / packets * 1e6:6.2f} us/packet {spent.memory:6.0f} MB",
            flush=True,
        )
        return spent

    top = day.parent
    size = day.stat().st_size
    print(f"{packets:,} packets, {size / 1e6:.0f} MB")
    fields = [word for field in FIELDS for word in ("-e", field)]
    tshark = show("tshark -T fields", cost([*TSHARK, *fields, "-r", str(day)]))
    if int(tshark.output) != packets:
        sys.exit(f"tshark printed {tshark.output.strip()} lines")
    one = show("export, one capture", cost([*OURS, str(top / "one"), str(day)]))
    half = show("the same, first half", cost([*OURS, str(top / "half"), str(day.with_name(HALF))]))
    rotated = list(map(str, rotate(day, ROTATED)))
    many = show(f"export, {ROTATED} captures on all cores", cost([*OURS, str(top / "n"), *rotated]))
    show("the same again", cost([*OURS, str(top / "n"), *rotated]))
    written = sum(path.stat().st_size for path in (top / "one").rglob("*.parquet"))
    print(f"tshark takes {tshark.cpu / one.cpu:.1f} times the CPU time of one capture's export")
    print(f"and {tshark.wall / one.wall:.1f} times as long by the clock")
    faster = tshark.wall / many.wall
    print(f"on all cores export is {faster:.1f} times faster (goal: at least {GOAL})")
    print(f"{written / packets:.1f} bytes per packet, {size / written:.1f} times smaller")
    print(f"memory for twice the packets: {one.memory - half.memory:+.0f} MB")
    return int(check and faster < GOAL)


if __name__ == "__main__":
    sys.exit(main())
