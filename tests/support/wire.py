# SPDX-License-Identifier: GPL-2.0-or-later
"""A veth pair in a network namespace that stands in for pflog0, and a server that listens to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import SITE_PACKAGES, Server

INTERFACE = "pflog9"

LIVE_LOADER = f"""
import site
site.addsitedir({SITE_PACKAGES!r})
import fail2ban_pflog.sources.live as live
live.LINK_TYPE = 1  # a veth's frames are Ethernet's
"""

SENDER = (
    "import socket,sys\n"
    "s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\n"
    "s.bind(('wire',0))\n"
    "for line in sys.stdin: s.send(bytes.fromhex(line))\n"
)
"""Sends frames, which come in as hexadecimal lines, as pf puts them on its log interface."""


@contextmanager
def network(name: str) -> Iterator[str]:
    """Make a namespace with the ends of a veth pair, `pflog9` and `wire`."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        add_pair(name)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def inside(name: str, *command: str) -> list[str]:
    """Return the command that runs another one in the namespace."""
    return ["ip", "netns", "exec", name, *command]


def in_namespace(name: str, *command: str) -> None:
    """Run a command in the namespace."""
    subprocess.run(inside(name, *command), check=True)


def add_pair(name: str) -> None:
    """Add the pair of interfaces."""
    in_namespace(name, "ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "wire")
    for end in (INTERFACE, "wire"):
        in_namespace(name, "sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1")
        in_namespace(name, "ip", "link", "set", end, "up")


def inject(name: str, frames: list[bytes]) -> None:
    """Send frames into the pair."""
    text = "".join(frame.hex() + "\n" for frame in frames)
    subprocess.run(inside(name, "python3", "-c", SENDER), input=text.encode(), check=True)


def start_live(server: Server, name: str) -> Server:
    """Start a server in the namespace, for which the pair is pf's."""
    loader: Path = server.config / "action.d/pflog-backend.py"
    loader.write_text(LIVE_LOADER + loader.read_text())
    return server.start(*inside(name))
