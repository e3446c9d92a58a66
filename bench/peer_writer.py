# SPDX-License-Identifier: GPL-2.0-or-later
"""The peer of bench_writer.py: what people wrote before, tcpdump's text through asyncio.

    peer_writer.py CAPTURE LOG

tcpdump prints lines, line-buffered; each is stamped with the time of its arrival and
written with a flush.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime


async def main(capture: str, log: str) -> None:
    """Copy tcpdump's lines of ``capture`` to ``log``."""
    tcpdump = await asyncio.create_subprocess_exec(
        *("tcpdump", "-l", "-e", "-n", "-tttt", "-r", capture),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert tcpdump.stdout is not None
    with open(log, "a", encoding="utf-8") as out:
        async for line in tcpdump.stdout:
            out.write(f"{datetime.now().isoformat()} {line.decode('utf-8', 'replace')}")
            out.flush()
    await tcpdump.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
