# SPDX-License-Identifier: GPL-2.0-or-later
"""The peer of bench_backtest.py: tcpdump's text, read by fail2ban's own FileFilter.

    peer_backtest.py CONFIG LOG

The jail is the shipped one but for its backend: fail2ban's polling filter reads the file
line by line, finds the date, matches and counts.  Prints how many tickets to ban came.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from fail2ban.client.jailreader import JailReader
from fail2ban.server.server import Server


def main(config: Path, log: str) -> None:
    """Read ``log`` with the jail pflog of ``config``."""
    logging.getLogger("fail2ban").setLevel(logging.ERROR)
    reader = JailReader("pflog", force_enable=True, basedir=str(config))
    reader.read()
    reader.merge_section("pflog", {"action": "", "backend": "polling"})
    reader.getOptions()
    server = Server()
    for command in reader.convert(allow_no_files=True):
        server._Server__transm.proceed(command)
    jail = server._Server__jails["pflog"]
    jail.filter.checkFindTime = False  # or all lines of an old file would be passed over
    jail.filter.active = True
    jail.filter.addLogPath(log, autoSeek=False)
    jail.filter.getFailures(log)
    tickets = 0
    while jail.getFailTicket():
        tickets += 1
    print(f"{tickets} tickets")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
