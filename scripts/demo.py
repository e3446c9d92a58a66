# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: a scan in a real pflog file, the stock fail2ban, and what it bans.

The capture is FreeBSD's own pflogd's, with its times moved to now.  The server is the
distribution's, started with a directory of its own; its action only writes down.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.pflogs import DATA, shifted
from tests.support.server import Server, wait_for

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
    with tempfile.TemporaryDirectory(prefix="fail2ban-pflog-demo-") as name:
        folder = Path(name)
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
        show("The server is stopped and its directory removed; nothing of the system was touched.")


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
