# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with nftables and peers around it, each a network namespace; for root on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Optional

GROUP = 5
OPEN_PORT = 22

RULES = f"""
table inet filter {{
    chain input {{
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        tcp dport {OPEN_PORT} accept
        log prefix "drop-in" group {GROUP} queue-threshold 1 drop
    }}
    chain output {{
        type filter hook output priority 0; policy accept;
        ct state new log prefix "out" group {GROUP} queue-threshold 1
    }}
}}
"""
"""What docs/nflog.md tells to load, in a firewall that serves one port."""

SERVE = f"""
import socket, threading
listener = socket.create_server(("::", {OPEN_PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
def echo(connection):
    while data := connection.recv(100):
        connection.sendall(data)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
"""
"""An echo server on the open port."""

TALK = f"""
import socket, sys
connection = socket.create_connection((sys.argv[1], {OPEN_PORT}), 5)
connection.settimeout(2)
for _ in sys.stdin:
    try:
        connection.sendall(b"hello")
        print("answered" if connection.recv(100) else "closed", flush=True)
    except OSError:
        print("cut", flush=True)
"""
"""Keeps a connection to the open port; says for each line that comes in whether it is answered."""

SCAN = """
import socket, sys, time
host, pause = sys.argv[1], float(sys.argv[2])
for port in sys.argv[3:]:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    one.setblocking(False)
    one.connect_ex((host, int(port)))
    one.close()
    print(port, time.time(), flush=True)
    time.sleep(pause)
"""
"""Sends a SYN to each port."""


FLOOD = """
import socket, struct, sys, time
host, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
begin = time.monotonic()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
tcp = struct.pack("!HHIIBBHHH", 4000, 23, 0, 0, 80, 2, 1024, 0, 0)
for number in range(count):
    source, target = struct.pack("!I", 0x14000000 + number), socket.inet_aton(host)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target)
    raw.sendto(ip + tcp, (host, 0))
    if pause:
        time.sleep(max(0, begin + number * pause - time.monotonic()))
"""
"""Sends a SYN of each of so many forged sources, with pauses between them."""


@cache
def missing() -> str:
    """Return why there can be no namespaces here; "" where there can."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if os.geteuid():
        return "needs root"
    lacking = [program for program in ("nft", "ip", "conntrack") if not shutil.which(program)]
    if lacking:
        return f"needs {', '.join(lacking)} (`scripts/setup demo` installs them)"
    name = f"f2b-try-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"needs network namespaces: {done.stderr.strip()}"
    rule = "add table t; add chain t c { type filter hook input priority 0; }\n"
    rule += "add rule t c log group 5"
    done = subprocess.run(within(name, "nft", rule), capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return f"needs a kernel with NFLOG: {done.stderr.strip()}" if done.returncode else ""


def within(namespace: str, *command: str) -> list[str]:
    """Return the command that runs another one in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def address(peer: int, version: int = 4, *, host: bool = False) -> str:
    """Return the address of a peer, or the host's that it asks for."""
    last = 1 if host else 2
    return f"198.18.{peer}.{last}" if version == 4 else f"fd98:{peer}::{last}"


class Talk:
    """A connection to the open port that is kept."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self) -> str:
        """Send something; returns ``answered``, ``closed``, ``cut``, or nothing: not connected."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write("\n")
        return self._process.stdout.readline().strip()


class Linux:
    """The host and its peers, which count from 1.

    Attributes:
        host: The host's namespace.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.host = f"{name}-host"

    def peer(self, number: int) -> str:
        """Return a peer's namespace."""
        return f"{self._name}-{number}"

    def run(self, namespace: str, *command: str, text: Optional[str] = None) -> str:
        """Run a command in a namespace, which must succeed; returns what it prints."""
        done = subprocess.run(
            within(namespace, *command), input=text, capture_output=True, text=True
        )
        assert not done.returncode, f"{command}: {done.stderr}"
        return done.stdout

    def nft(self, *command: str, text: Optional[str] = None) -> str:
        """Run nft on the host."""
        return self.run(self.host, "nft", *(command or ("-f", "-")), text=text)

    def python(
        self, namespace: str, code: str, *arguments: object, quiet: bool = False
    ) -> subprocess.Popen[str]:
        """Start a Python program in a namespace, with pipes."""
        command = within(namespace, sys.executable, "-c", code, *map(str, arguments))
        errors = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            bufsize=1,
        )

    def talk(self, peer: int, version: int = 4) -> Talk:
        """Open a connection from a peer; the server may need a moment to listen."""
        for _ in range(50):
            target = address(peer, version, host=True)
            talk = Talk(self.python(self.peer(peer), TALK, target, quiet=True))
            if talk.ask() == "answered":
                return talk
            time.sleep(0.1)
        raise AssertionError(f"peer {peer} gets no connection")

    def scan(self, peer: int, ports: range, version: int = 4, pause: float = 0.0) -> None:
        """Let a peer send a SYN to each of the ports."""
        target = address(peer, version, host=True)
        self.run(self.peer(peer), sys.executable, "-c", SCAN, target, str(pause), *map(str, ports))

    def remove(self) -> None:
        """End what runs in the namespaces, and delete them."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        for line in listed.splitlines():
            name = line.split()[0]
            if name.startswith(f"{self._name}-"):
                pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
                for pid in pids.stdout.split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
                subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def linux(name: str, peers: int = 2) -> Iterator[Linux]:
    """Make a host that serves a port behind RULES, and peers; all is gone at the end."""
    made = Linux(name)
    try:
        _ip("netns", "add", made.host)
        _ip("-n", made.host, "link", "set", "lo", "up")
        for number in range(1, peers + 1):
            _plug(made, number)
        made.nft(text=RULES)
        made.python(made.host, SERVE)
        yield made
    finally:
        made.remove()


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True)


def _plug(made: Linux, number: int) -> None:
    peer = made.peer(number)
    _ip("netns", "add", peer)
    _ip("link", "add", f"eth{number}", "netns", made.host, "type", "veth", "peer", "eth0",
        "netns", peer)  # fmt: skip
    for namespace, device, is_host in ((made.host, f"eth{number}", True), (peer, "eth0", False)):
        _ip("-n", namespace, "address", "add", f"{address(number, host=is_host)}/24", "dev", device)
        six = f"{address(number, 6, host=is_host)}/64"
        _ip("-n", namespace, "address", "add", six, "dev", device, "nodad")
        _ip("-n", namespace, "link", "set", device, "up")
