# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU time per packet of fail2ban-pflog print and of tcpdump: python bench/bench_print.py

Makes a savefile of a million packets, as a server's firewall sees them (80 % TCP SYN
with the usual options, 15 % UDP, 5 % IPv6 and ICMP, from 5,000 sources), cut at snaplen
116 and in full, and runs ``fail2ban-pflog print`` and ``tcpdump -e -n -tttt -r`` on each
in turn.  Of ROUNDS runs the fastest counts: the others only had worse luck.

The time zone matters to tcpdump: without the environment variable TZ, glibc looks at
/etc/localtime once per packet.  So both are measured as the environment is, and with TZ.

--packets N   another number of packets
--assert      exit with status 1 when the ratio, in the environment as it is, is over 1
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3
ROOT = Path(__file__).resolve().parent.parent
OURS = [sys.executable, "-m", "fail2ban_pflog.cli", "print"]
TCPDUMP = ["tcpdump", "-e", "-n", "-tttt", "-r"]

SERVER4, SERVER6 = bytes((46, 38, 233, 77)), bytes.fromhex("fd99000000000000000000000000002a")
TCP_PORTS = (22, 23, 80, 443, 445, 1433, 3389, 5900, 6379, 8080)
UDP_PORTS = (1900, 5632, 11211, 27016, 33434)  # none that tcpdump decodes further
MEAN_GAP = 100_000  # microseconds between two packets


def pflog_header(family: int) -> bytes:
    """FreeBSD's since 13.1."""
    return struct.pack(
        "!BBBB16s16sIIIiIiB",
        69,
        family,
        1,
        0,
        b"vtnet0",
        b"",
        1,
        0xFFFFFFFF,
        0xFFFFFFFF,
        0,
        0xFFFFFFFF,
        0,
        1,
    ).ljust(72, b"\0")


def syn(rnd: random.Random) -> bytes:
    """A SYN of Linux, of Windows, or of a scanner that sends no or one option."""
    stamp = struct.pack("!BBII", 8, 10, rnd.getrandbits(32), 0)
    options = rnd.choices(
        (
            b"\x02\x04\x05\xb4\x04\x02" + stamp + b"\x01\x03\x03\x07",
            b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02",
            b"\x02\x04\x05\xb4",
            b"",
        ),
        weights=(60, 15, 15, 10),
    )[0]
    return (
        struct.pack(
            "!HHIIBBHHH",
            rnd.randrange(1024, 65536),
            rnd.choice(TCP_PORTS),
            rnd.getrandbits(32),
            0,
            (20 + len(options)) // 4 << 4,
            2,
            rnd.choice((1024, 29200, 64240, 65535)),
            rnd.getrandbits(16),
            0,
        )
        + options
    )


def packet(rnd: random.Random, sources4: list[bytes], sources6: list[bytes]) -> bytes:
    """One frame of the mix."""
    kind = rnd.random()
    if kind >= 0.97:
        segment = syn(rnd)
        source = rnd.choice(sources6)
        ip = struct.pack("!IHBB", 0x60000000, len(segment), 6, 52) + source + SERVER6
        return pflog_header(28) + ip + segment
    if kind < 0.80:
        protocol, inside = 6, syn(rnd)
    elif kind < 0.95:
        data = rnd.randbytes(rnd.randrange(3, 120))
        ports = rnd.randrange(1024, 65536), rnd.choice(UDP_PORTS)
        protocol, inside = 17, struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    else:
        protocol, inside = 1, struct.pack("!BBHHH", 8, 0, 0, 1, rnd.getrandbits(16)) + bytes(56)
    ip = struct.pack(
        "!BBHHHBBH", 0x45, 0, 20 + len(inside), rnd.getrandbits(16), 0x4000, 52, protocol, 0
    )
    return pflog_header(2) + ip + rnd.choice(sources4) + SERVER4 + inside


def make(path: Path, snaplen: int, count: int) -> None:
    """Write a savefile; the same packets for the same count."""
    rnd = random.Random(117)
    sources4 = [rnd.randbytes(4) for _ in range(4500)]
    sources6 = [b"\x20\x01\x0d\xb8" + rnd.randbytes(12) for _ in range(500)]
    now = 1_780_000_000_000_000
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, 117))
        for _ in range(count):
            now += rnd.randrange(2 * MEAN_GAP)
            frame = packet(rnd, sources4, sources6)
            kept = frame[:snaplen]
            out.write(struct.pack("<IIII", *divmod(now, 1_000_000), len(kept), len(frame)) + kept)


def cpu(command: list[str], zone: str) -> float:
    """CPU seconds, user and system, that a command takes."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    if zone:
        environment["TZ"] = zone
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Make the savefiles, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--assert", dest="check", action="store_true", help="fail when slower")
    arguments = parser.parse_args()
    worst = 0.0
    print(f"{arguments.packets} packets, CPU microseconds per packet, the best of {ROUNDS} runs")
    print(f"{'snaplen':>8} {'TZ':>8} {'ours':>8} {'tcpdump':>8} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for snaplen in (116, 65_535):
            path = Path(folder) / f"{snaplen}.pcap"
            make(path, snaplen, arguments.packets)
            for zone in ("", "UTC"):
                runs = [
                    (cpu([*OURS, str(path)], zone), cpu([*TCPDUMP, str(path)], zone))
                    for _ in range(ROUNDS)
                ]
                ours, theirs = (min(times) * 1e6 / arguments.packets for times in zip(*runs))
                if not zone:
                    worst = max(worst, ours / theirs)
                name = zone or os.environ.get("TZ") or "unset"
                print(f"{snaplen:8} {name:>8} {ours:8.2f} {theirs:8.2f} {ours / theirs:8.2f}")
    return 1 if arguments.check and worst > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
