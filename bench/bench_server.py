# SPDX-License-Identifier: GPL-2.0-or-later
"""A jail in a real fail2ban-server against the classic way: python bench/bench_server.py [PACKETS]

Ours: the packets are appended to the savefile that a jail with `backend = pflog` follows.
Classic: tcpdump prints the same packets into a text log that a jail with the stock backend
`polling` reads, with the same filter.  Both have the shipped jail's thresholds.  CPU time per
packet (of the server, and of tcpdump), and how much memory the server grew by.

Then a day of the internet's background noise: by how much does fail2ban's log grow?

Then five jails on one file against one, on a flood of repeats.

Then two shipped jails in a flood of forged sources, which send 1, 2 or 7 packets each, and two
scanners of one port a second, begun before and during it: are they banned, and at what cost?
"""

from __future__ import annotations

import heapq
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.packets import ACK, FIN, pflog_header, segment
from tests.support.pflogs import record, savefile_header, syn
from tests.support.server import Server

PACKETS = 100_000
MANY = 5
LAST = "192.0.2.99"
HOURS, HEARD, SCANS = 24, 3000, 20
"""Hours of noise; sources in an hour that try one to three ports; and such as scan 25."""

FLOOD, RATE = 1_000_000, 20_000.0
"""Forged sources, and how many of them come in a second of the packets' own time."""

SCANNERS = {"before": ("198.51.100.1", -5.0), "during": ("198.51.100.2", 10.0)}
"""Scanners of one port a second: when they begin, in seconds after the flood."""

FLOODED = ("pflog", "pflog-slow")

Packets = Iterator[tuple[str, int, bool]]
"""Source, port, and whether it is a late packet."""


def retries(count: int) -> Packets:
    """One port retried by 50 clients."""
    for number in range(count):
        yield f"198.51.100.{number % 50 + 1}", 8443, False


def late(count: int) -> Packets:
    """Late packets of 5,000 clients."""
    for number in range(count):
        client = number % 5000
        yield f"198.18.{client // 250}.{client % 250 + 1}", 443, True


def scanners(count: int) -> Packets:
    """2,000 scanners, every packet a new port."""
    for number in range(count):
        scanner = number % 2000
        yield f"198.19.{scanner // 250}.{scanner % 250 + 1}", 1 + number // 2000, False


def forged(count: int) -> Packets:
    """Each packet from another source."""
    for number in range(count):
        source = f"{20 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        yield source, 1 + number % 1000, False


def noise(count: int) -> Packets:
    """A day's noise: so many sources."""
    dice = random.Random(1)
    for number in range(count):
        source = f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1"
        scans = number % (HEARD // SCANS) == 0
        first = dice.randrange(1, 9000)
        for port in range(25 if scans else dice.randint(1, 3)):
            yield source, first + port, False


def mixed(count: int) -> Packets:
    """All of these, a quarter each."""
    yield from (
        packet
        for four in zip(*(kind(count // 4) for kind in (retries, late, scanners, forged)))
        for packet in four
    )


def records(packets: Packets, begin: float, rate: float) -> bytes:
    """Make a savefile's records of packets that come ``rate`` a second."""
    late_one = segment(40000, 443, ACK | FIN, options=b"\x01\x01\x08\x0a" + bytes(8))
    made = []
    for number, (source, port, is_late) in enumerate(packets):
        frame = syn(source, port, number)
        if is_late:
            ip = bytearray(frame[72:92])
            ip[3] = 20 + len(late_one)
            frame = pflog_header() + bytes(ip) + late_one
        made.append(record(begin + number / rate, frame))
    return b"".join(made)


def last(now: float, ports: int = 20) -> bytes:
    """Records of a scanner whose ban says that everything before it was counted."""
    return b"".join(record(now, syn(LAST, port)) for port in range(100, 100 + ports))


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Megabytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def serve(folder: Path, backend: str, log: Path, action: str = "") -> Server:
    """Start a server with one jail; without an action, whose shell would cost the most."""
    folder.mkdir()
    server = Server(
        folder,
        f"[pflog]\nenabled = true\nfilter = pflog\nbackend = {backend}\nlogpath = {log}\n"
        f"action = {action}\nmaxretry = 15\nfindtime = 5m\nbantime = 1h\nmaxmatches = 15\n",
    )
    return server.start()


def tail(path: Path) -> str:
    """Return the end of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65_536))
        return file.read().decode()


class Cost(NamedTuple):
    """cpu: microseconds a packet.  memory, log: megabytes of growth, the log's by its lines."""

    cpu: float
    memory: float
    log: float


def measure(server: Server, append: Callable[[], None], packets: int) -> Cost:
    """Return what it costs a server to read what is appended."""
    assert server.process is not None
    pid = server.process.pid
    before, memory, log = cpu(pid), resident(pid), server.log.stat().st_size
    append()
    while f"Ban {LAST}" not in tail(server.log):
        time.sleep(0.1)
    spent, grown = cpu(pid) - before, resident(pid) - memory
    logged = (server.log.stat().st_size - log) / 1e6
    server.stop()
    return Cost(spent / packets * 1e6, grown, logged)


def ours(folder: Path, data: bytes, packets: int, hold: int = 15) -> Cost:
    """Measure the backend."""
    savefile = folder.parent / f"{folder.name}.pflog"
    savefile.write_bytes(savefile_header())
    server = serve(folder, f"pflog[distinct=port, mode=normal, hold={hold}]", savefile)

    def append() -> None:
        with savefile.open("ab") as file:
            file.write(data)

    return measure(server, append, packets)


def classic(folder: Path, data: bytes, packets: int) -> Cost:
    """Measure tcpdump and the polling backend."""
    capture = folder.parent / f"{folder.name}.pcap"
    capture.write_bytes(savefile_header() + data)
    log = folder.parent / f"{folder.name}.txt"
    log.touch()
    server = serve(folder, "polling", log)
    spent = 0.0

    def append() -> None:
        nonlocal spent
        before = os.times()
        with log.open("ab") as file:
            subprocess.run(
                ["tcpdump", "-n", "-e", "-tttt", "-r", capture],
                stdout=file,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        after = os.times()
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system

    cost = measure(server, append, packets)
    return cost._replace(cpu=cost.cpu + spent / packets * 1e6)


def table(packets: int, folder: Path) -> None:
    """Print both ways side by side."""
    print(
        f"{'packets':36}{'ours':>10}{'classic':>10}{'ratio':>7}{'memory: ours':>14}{'classic':>9}"
    )
    for kind in (retries, late, scanners, forged, mixed):
        begin = time.time()
        data = records(kind(packets), begin - packets / RATE, RATE) + last(begin)
        one = ours(folder / f"{kind.__name__}-ours", data, packets)
        two = classic(folder / f"{kind.__name__}-classic", data, packets)
        words = (kind.__doc__ or "").rstrip(".")
        print(
            f"{words:36}{one.cpu:>7.1f} µs{two.cpu:>7.1f} µs{two.cpu / one.cpu:>7.1f}"
            f"{one.memory:>11.0f} MB{two.memory:>6.0f} MB",
            flush=True,
        )


def day(folder: Path) -> None:
    """Print what a day of background noise leaves in fail2ban's log."""
    packets = list(noise(HOURS * HEARD))
    begin = time.time()
    data = records(iter(packets), begin - len(packets) / RATE, RATE) + last(begin)
    print(
        f"\n{HOURS} hours of noise, {HEARD:,} sources an hour, {SCANS} of them scan: "
        f"{len(packets):,} packets"
    )
    for name, cost in (
        ("ours", ours(folder / "day", data, len(packets))),
        ("ours, hold=1", ours(folder / "day-1", data, len(packets), 1)),
        ("classic", classic(folder / "day-classic", data, len(packets))),
    ):
        print(
            f"  {name:14} fail2ban's log grew by {cost.log:.1f} MB; {cost.cpu:.1f} µs a packet",
            flush=True,
        )


def many(folder: Path, packets: int) -> None:
    """Print what five jails on one file cost beside one."""
    begin = time.time()
    data = records(retries(packets), begin - packets / RATE, RATE) + last(begin)
    cost = {}
    for jails in (1, MANY):
        savefile = folder / f"many-{jails}.pflog"
        savefile.write_bytes(savefile_header())
        (folder / f"many-{jails}").mkdir()
        text = "".join(
            f"[jail{number}]\nenabled = true\nfilter = pflog\nlogpath = {savefile}\naction =\n"
            f"backend = pflog[distinct=port, mode=normal, hold={15 + number}]\n"
            f"maxretry = {15 + number}\n"
            f"findtime = {5 + number}m\nbantime = 1h\n"
            for number in range(jails)
        )
        server = Server(folder / f"many-{jails}", text).start()
        assert server.process is not None
        before = cpu(server.process.pid)
        with savefile.open("ab") as file:
            file.write(data)
        while server.log.read_text().count(f"Ban {LAST}") < jails:
            time.sleep(0.1)
        cost[jails] = (cpu(server.process.pid) - before) / packets * 1e6
        server.stop()
    print(
        f"\n{MANY} jails on one file: {cost[MANY]:.1f} µs a repeat, one jail {cost[1]:.1f} µs: "
        f"ratio {cost[MANY] / cost[1]:.2f}"
    )


def flood_records(each: int, begin: float) -> Iterator[bytes]:
    """Yield the records of forged sources that send ``each`` packets, and of two scanners."""
    dice = random.Random(1)
    flood = (
        (begin + number / RATE, syn(source, 1 + number % each, number))
        for number, (source, _, _) in enumerate(
            packet for packet in forged(FLOOD) for _ in range(each)
        )
    )
    scans = [
        sorted(
            (begin + start + second + dice.random() / 2, syn(source, 1000 + second))
            for second in range(40)
        )
        for source, start in SCANNERS.values()
    ]
    for when, frame in heapq.merge(flood, *scans, key=lambda event: event[0]):
        yield record(when, frame)


def flood(folder: Path, each: int) -> None:
    """Print what becomes of two scanners in a flood of forged sources, in two shipped jails."""
    seconds = FLOOD * each / RATE
    savefile = folder / f"flood-{each}.pflog"
    savefile.write_bytes(savefile_header())
    place = folder / f"flood-{each}"
    place.mkdir()
    text = "".join(
        f"[{jail}]\nenabled = true\nlogpath = {savefile}\nbanaction = recorder\n"
        for jail in FLOODED
    )
    server = Server(place, text).start()
    assert server.process is not None
    pid = server.process.pid
    before, memory, slowest = cpu(pid), resident(pid), 0.0
    with savefile.open("ab") as file:
        file.writelines(flood_records(each, time.time() - seconds - 60))
        file.write(last(time.time(), 30))
    most = memory
    while any(f"[{jail}] Ban {LAST}" not in server.log.read_text() for jail in FLOODED):
        for command in (("ping",), ("status", "pflog")):
            asked = time.monotonic()
            server.ask(*command)
            slowest = max(slowest, time.monotonic() - asked)
        most = max(most, resident(pid))
        time.sleep(0.5)
    spent, log = cpu(pid) - before, server.log.read_text()
    print(f"\n{FLOOD:,} forged sources with {each} packets each, {RATE:,.0f} packets a second:")
    for jail in FLOODED:
        found = [name for name, (ip, _) in SCANNERS.items() if f"[{jail}] Ban {ip}" in log]
        print(f"  [{jail}] bans the scanners begun {', '.join(found)} of {', '.join(SCANNERS)}")
    ports = [len(server.matches(ip)) for ip, _ in SCANNERS.values() if ip in server.bans()]
    print(f"  matches of their first ban: {ports}; {most - memory:.0f} MB of growth at most")
    print(f"  {spent / FLOOD / each * 1e6:.1f} µs a packet, ping and status answered within")
    print(f"  {slowest:.2f} s, stop took {server.stop():.1f} s", flush=True)
    savefile.unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else PACKETS
        table(count, Path(name))
        day(Path(name))
        many(Path(name), 5 * count)
        for packets in (1, 2, 7):
            flood(Path(name), packets)
