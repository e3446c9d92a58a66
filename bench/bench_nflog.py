# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG against text logs, on a real firewall: python bench/bench_nflog.py [SCANNERS]

Ours: a jail listens to the group.  Classic: ulogd writes the same packets into a text log (LOGEMU,
synchronously), which a jail with the stock backend `polling` reads, with a regular expression.

From the 15th SYN on the wire until fail2ban calls the jail's action, and CPU time per packet (of
the server, and of ulogd) while forged sources come, a packet each.  Needs root and the package
ulogd2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_latency import CLOCK, PORTS, in_words, latencies
from bench_server import cpu

from tests.support.linux import FLOOD, GROUP, Linux, linux, missing
from tests.support.linux import within as inside
from tests.support.server import REPO, Server, wait_for

SCANNERS, PACKETS, RATE = 100, 20_000, 2000
TARGET = "10.99.0.2"
START = 72  # of the IP packet in the frames of bench_latency

SENDER = f"""
import socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for line in sys.stdin:
    raw.sendto(bytes.fromhex(line), ("{TARGET}", 0))
"""
ULOGD = """
[global]
logfile="{folder}/ulogd.log"
plugin="{plugins}/ulogd_inppkt_NFLOG.so"
plugin="{plugins}/ulogd_raw2packet_BASE.so"
plugin="{plugins}/ulogd_filter_IFINDEX.so"
plugin="{plugins}/ulogd_filter_IP2STR.so"
plugin="{plugins}/ulogd_filter_PRINTPKT.so"
plugin="{plugins}/ulogd_output_LOGEMU.so"
stack=log:NFLOG,base:BASE,index:IFINDEX,ip:IP2STR,print:PRINTPKT,emu:LOGEMU
[log]
group={group}
[emu]
file="{folder}/text"
sync=1
"""
CLASSIC = r"""
[Definition]
failregex = ^\s*\S+ drop-in IN=\S* OUT=\S* (?:MAC=\S* )?SRC=<ADDR> DST=
datepattern = ^%%b %%d %%H:%%M:%%S
"""
JAIL = """
[pflog]
enabled = true
action = clock.py
maxretry = {ports}
findtime = 5m
{more}
"""


def measure(net: Linux, folder: Path, scanners: int, *, classic: bool) -> str:
    """Measure one way; returns its figures in words."""
    more = f"filter = ulogd\nbackend = polling\nlogpath = {folder}/text" if classic else ""
    server = Server(folder, JAIL.format(ports=PORTS, more=more))
    (server.config / "action.d/clock.py").write_text(CLOCK.format(path=str(folder / "clock")))
    (server.config / "filter.d/ulogd.conf").write_text(CLASSIC)
    shutil.copy(REPO / "files/linux/pflog.linux.conf", server.config / "jail.d")
    processes = []
    if classic:
        plugins = next(Path("/usr/lib").glob("*/ulogd/ulogd_inppkt_NFLOG.so")).parent
        path = folder / "ulogd.conf"
        path.write_text(ULOGD.format(folder=folder, plugins=plugins, group=GROUP))
        processes.append(subprocess.Popen(inside(net.host, "ulogd", "-c", str(path))))
        wait_for((folder / "text").exists, "ulogd")
    server.start(*inside(net.host))
    assert server.process is not None
    pids = [server.process.pid, *(process.pid for process in processes)]
    sender = net.python(net.peer(1), SENDER)
    assert sender.stdin is not None
    pipe = sender.stdin

    def send(frames: list[bytes]) -> None:
        pipe.write("".join(frame[START:].hex() + "\n" for frame in frames))
        pipe.flush()

    try:
        if not classic:
            wait_for(lambda: "listening" in server.client("status", "pflog"), "listening")
        found = latencies(folder, send, scanners)
        before = sum(map(cpu, pids))
        net.run(net.peer(1), sys.executable, "-c", FLOOD, TARGET, str(PACKETS), str(1 / RATE))
        time.sleep(3)
        spent = (sum(map(cpu, pids)) - before) / PACKETS * 1e6
    finally:
        server.stop()
        for process in processes:
            process.terminate()
            process.wait()
    return f"{in_words(found)}, {len(found)} of {scanners} found; {spent:.0f} us of CPU a packet"


def main(scanners: int) -> None:
    """Print both."""
    if why := missing() or ("" if shutil.which("ulogd") else "needs ulogd (Debian: ulogd2)"):
        sys.exit(f"bench_nflog {why}")
    with tempfile.TemporaryDirectory() as name, linux(f"f2b-bench-{os.getpid()}", 1) as net:
        net.run(net.host, "ip", "address", "add", f"{TARGET}/32", "dev", "lo")
        net.run(net.peer(1), "ip", "route", "add", TARGET, "via", "198.18.1.1")
        for scope in ("all", "eth1"):
            net.run(net.host, "sysctl", "-qw", f"net.ipv4.conf.{scope}.rp_filter=0")
        print(f"NFLOG: from the {PORTS}th SYN to the ban, and CPU at {RATE:,} sources a second")
        for way, classic in (("ours", False), ("ulogd and text", True)):
            folder = Path(name) / way.split()[0]
            folder.mkdir()
            print(f"  {way:15} {measure(net, folder, scanners, classic=classic)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SCANNERS)
