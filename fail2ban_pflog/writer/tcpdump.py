# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of a tcpdump that writes raw frames of an interface to a pipe.

There are several tcpdumps: OpenBSD's has neither -U (it does not buffer anyway) nor -Z
(it separates privileges by itself).  So the program is asked what it knows.
"""

from __future__ import annotations

import contextlib
import re
import subprocess

from .options import Options

__all__ = ["PATIENCE", "command", "start", "stop"]

SNAPLEN = 65535
"""Bytes per packet: OpenBSD's default cuts TCP options."""

PATIENCE = 2.0
"""Seconds that tcpdump has to print its usage, and to write the rest and end."""


def command(options: Options) -> list[str]:
    """Return the command that reads the interface, for the tcpdump that is installed."""
    program = options.tcpdump or ""
    usage = _usage(program)
    flags = re.search(r"\[-(\w+)", usage)
    known = flags[1] if flags else "U"
    made = [program, "-n", "-i", options.interface, "-s", str(SNAPLEN), "-w", "-"]
    if "U" in known:
        made.append("-U")
    if "immediate-mode" in usage:
        made.append("--immediate-mode")
    if "-Z" in usage and options.user is not None:
        made += ["-Z", options.user.pw_name]
    return [*made, "--", options.bpf] if options.bpf else made


def _usage(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "-h"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace")


def start(options: Options) -> subprocess.Popen[bytes]:
    """Start tcpdump with pipes for its frames and its messages.

    Raises:
        OSError: there is no such program.
    """
    return subprocess.Popen(
        command(options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def stop(child: subprocess.Popen[bytes]) -> None:
    """End tcpdump, if we may: it can belong to another user."""
    for end in (child.terminate, child.kill):
        with contextlib.suppress(OSError):
            end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
            return
