# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: a scan, the stock fail2ban, and what it bans.

As root on Linux, with nft and network namespaces: a host behind a firewall, a scanner and an
honest client, each in a namespace; all of it is live.  Elsewhere the packets are those of a
capture of FreeBSD's own pflogd, with its times moved to now, and the action only writes down.
The server is the distribution's, started with a directory of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.linux import OPEN_PORT, RULES, SCAN, Linux, address, linux, missing
from tests.support.linux import within as inside
from tests.support.pflogs import DATA, shifted
from tests.support.server import REPO, Server, wait_for

JAILS = """
[pflog]
enabled = true
logpath = {path}
backend = pflog[distinct=port, mode=normal]
action  = recorder
"""
CAPTURE = DATA / "freebsd-13.2/block-all.pflogd.pcap"
WIDTH = 150


def show(line: str = "") -> None:
    """Print a line, cut where a terminal would wrap it."""
    print(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...", flush=True)


def main() -> None:
    """Run the demonstration."""
    why = missing()
    with tempfile.TemporaryDirectory(prefix="fail2ban-pflog-demo-") as name:
        if why:
            show(f"A live demonstration {why}: so the packets of a capture are played.")
            played(Path(name))
        else:
            with linux(f"f2b-demo-{os.getpid()}") as net:
                live(Path(name), net)
        show("The server is stopped and its directory removed; what was installed stays.")


# -- live ----------------------------------------------------------------------------------

SCANNER, CLIENT = 1, 2
THRESHOLD = 15
LIVE = """
[pflog]
enabled   = true
banaction = nft-pflog[state="{folder}/state"]
action    = %(action_)s
            recorder
"""


def live(folder: Path, net: Linux) -> None:
    """Let a scanner scan a host, on which fail2ban listens to the firewall's log."""
    show(f"A host that serves port {OPEN_PORT}; its firewall drops the rest, and logs it:")
    for line in RULES.splitlines():
        if "log " in line:
            show(f"    {line.strip()}")
    f2b = Server(folder, LIVE.format(folder=folder))
    shutil.copy(REPO / "files/linux/pflog.linux.conf", f2b.config / "jail.d")
    try:
        f2b.start(*inside(net.host))
        wait_for(lambda: "listening" in f2b.status("pflog").get("nflog:5", ""), "listening")
        scanner, client = net.talk(SCANNER), net.talk(CLIENT)
        show(
            f"The scanner {address(SCANNER)} and an honest client {address(CLIENT)} connect to it."
        )
        show()
        target = address(SCANNER, host=True)
        ports = range(1, THRESHOLD + 1)
        scan = net.python(net.peer(SCANNER), SCAN, target, 0.1, *ports)
        assert scan.stdout is not None
        sent = 0.0
        for number, line in enumerate(scan.stdout, 1):
            port, _, when = line.partition(" ")
            sent = float(when)
            show(f"packet {number:2} of the scanner, to port {port}")
        f2b.wait_for_bans(address(SCANNER))
        show(f"BANNED {(folder / 'bans').stat().st_mtime - sent:.2f} s after it")
        show()
        net.scan(CLIENT, range(1, 4))
        show(f"the scanner's open connection:   {scanner.ask()}")
        show(f"the honest client's connection:  {client.ask()}")
        show(f"a new one of the honest client:  {net.talk(CLIENT).ask()}")
        report(f2b)
    finally:
        f2b.stop()


# -- a capture -----------------------------------------------------------------------------


def played(folder: Path) -> None:
    """Let a jail follow a capture."""
    path = folder / "pflog"
    path.write_bytes(shifted(CAPTURE, time.time() - 1))
    show("The log: what FreeBSD's pflogd wrote of a port scan, its times moved to now.")
    show("The jail, in jail.local:")
    for line in JAILS.format(path="/var/log/pflog").strip().splitlines():
        show(f"    {line}")
    f2b = Server(folder, JAILS.format(path=path))
    try:
        f2b.start()
        wait_for(f2b.bans, "a ban")
        settled(f2b)
        report(f2b)
    finally:
        f2b.stop()


def settled(f2b: Server) -> None:
    """Wait until the counters stand still."""
    seen: list[str] = []

    def still() -> bool:
        seen.append(f2b.status("pflog").get("Packets", "").rsplit(",", 1)[0] + str(f2b.bans()))
        time.sleep(0.5)
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    wait_for(still, "the end of the capture")


def report(f2b: Server) -> None:
    """Show the status, and for each ban the packets that led to it."""
    show()
    show("$ fail2ban-client status pflog")
    for line in f2b.client("status", "pflog").splitlines():
        show(f"    {line.expandtabs(4)}")
    for ip in dict.fromkeys(f2b.bans()):
        lines = f2b.matches(ip)
        show()
        show(f"BANNED {ip} after {len(lines)} packets to different ports:")
        for line in lines[:3]:
            show(f"    {line}")
        show(f"    ... {max(0, len(lines) - 4)} more ...")
        show(f"    {lines[-1]}")
    show()


if __name__ == "__main__":
    main()
