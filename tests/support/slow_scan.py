# SPDX-License-Identifier: GPL-2.0-or-later
"""``python3 -m tests.support.slow_scan FILE``: a capture of a scan that takes three weeks."""

from __future__ import annotations

import sys
from pathlib import Path

from .pflogs import record, savefile_header, syn

BEGIN = 1_793_000_000
HOUR, DAY = 3600, 86_400


def slow_scan(path: Path) -> None:
    """Write a scan of two ports a day, and two sources that are no slow scanners.

    One of these tries the same port each day, the other many ports on a day and one a week.
    """
    packets = [(BEGIN + 13 * HOUR * n, syn("192.0.2.200", 1 + n)) for n in range(38)]
    packets += [(BEGIN + DAY * n, syn("192.0.2.201", 22)) for n in range(21)]
    packets += [(BEGIN + 9 * n, syn("192.0.2.202", 1 + n)) for n in range(60)]
    packets += [(BEGIN + 7 * DAY * n, syn("192.0.2.202", 100 + n)) for n in range(3)]
    packets.sort()
    path.write_bytes(savefile_header() + b"".join(record(*each) for each in packets))


if __name__ == "__main__":
    slow_scan(Path(sys.argv[1]))
