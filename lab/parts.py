#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts that bystanders of the laboratory play; lab.py runs this in their namespaces.

`host` is the protected host's own part: it serves TCP 22, 25, 80 and 443, asks the servers
below, and forgets all its connections' states in mid-session, so that honest packets that
come later are dropped.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOST = "10.99.0.2"
HOSTS = [f"10.99.0.{number}" for number in range(100, 130)]
HOSTS_6 = [f"fd99::{number:x}" for number in range(0x100, 0x100 + 30)]
ME = "0.0.0.0"

FORGET_AT = (8.0, 20.0)
"""Seconds after the host's start at which it forgets all states."""

QUERIES, MANY_QUERIES, SESSIONS, TRANSFERS = 30, 100, 20, 25
UDP_SERVERS = {40: 53, 41: 123, 42: 443, 43: 3478, 44: 27015, 45: 40123}
ASKED_MUCH = {65: 7777, 66: 1234, 67: 30120}
TCP_SERVERS = {"198.51.100.46": 443, "198.51.100.47": 9443, "2001:db8:7::78": 443,
               "2001:db8:7::79": 9443}  # fmt: skip
TIME_SERVER = "198.51.100.64"
TIME_QUESTION = b"\x23" + bytes(47)

RESOLVERS = {53: 60, 5335: 61, 5353: 62, 8443: 63}
"""Port -> the resolver that answers there; each is asked about a zone of its own."""

UNBOUND = """server:
    interface: 127.0.0.1
    port: 10053
    username: ""
    chroot: ""
    directory: "{work}"
    pidfile: "{work}/unbound.pid"
    use-syslog: no
    do-daemonize: no
    do-not-query-localhost: no
    outgoing-port-permit: 1024-65535
    module-config: iterator
remote-control:
    control-enable: no
"""
ZONE = 'forward-zone:\n    name: "z{port}."\n    forward-addr: 198.51.100.{last}@{port}\n'


def host(work: str) -> None:
    """Serve, ask, forget.  work: a folder for what programs need."""
    begin = time.monotonic()
    for port in (22, 25, 80, 443):
        threading.Thread(target=_listen, args=(port,), daemon=True).start()
    resolver = Path(work, "unbound.conf")
    zones = "".join(ZONE.format(port=port, last=last) for port, last in RESOLVERS.items())
    resolver.write_text(UNBOUND.format(work=work) + zones)
    _run("unbound", "-c", str(resolver))
    Path(work, "file").write_bytes(bytes(2000))
    time.sleep(4)
    asked = _ask_all()
    sessions = []
    for address, port in TCP_SERVERS.items():
        for _ in range(SESSIONS):
            with contextlib.suppress(OSError):
                sessions.append(socket.create_connection((address, port), 2))
    threading.Thread(target=_ask_servers_that_stall, args=(begin, asked), daemon=True).start()
    _transfer()
    for when in FORGET_AT:
        time.sleep(max(0, begin + when - time.monotonic()))
        subprocess.run(["conntrack", "-F"], capture_output=True, check=True)
    time.sleep(200)
    del asked, sessions


def _run(*command: str) -> None:
    quiet: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    subprocess.Popen(command, **quiet)


def _ask_all() -> list[socket.socket]:
    several = [(last, port, QUERIES) for last, port in UDP_SERVERS.items()]
    several += [(last, port, MANY_QUERIES) for last, port in ASKED_MUCH.items()]
    return [_ask(f"198.51.100.{last}", port) for last, port, count in several for _ in range(count)]


def _ask_servers_that_stall(begin: float, asked: list[socket.socket]) -> None:
    """Ask while they are stopped, see actors.stalled."""
    time.sleep(max(0, begin + 7.5 - time.monotonic()))
    for number in range(60):
        asked.append(_ask(TIME_SERVER, 123, TIME_QUESTION))
        asked += [
            _ask("127.0.0.1", 10053, _query(number, f"n{number}", f"z{zone}")) for zone in RESOLVERS
        ]


def _query(number: int, *labels: str) -> bytes:
    """A DNS question for an address."""
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels)
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"


def _transfer() -> None:
    """Fetch files over TFTP, and over FTP whose data connections the server opens."""
    for number in range(TRANSFERS):
        for last in (70, 71):
            _run("curl", "-s", "--max-time", "12", "--ftp-port", "-", f"ftp://198.51.100.{last}/")
        _run("curl", "-s", "--max-time", "12", "tftp://198.51.100.68/file")
        time.sleep(0.05 + number % 2 * 0.1)


def _ask(address: str, port: int, question: bytes = b"question") -> socket.socket:
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.sendto(question, (address, port))
    return asking


def _listen(port: int) -> None:
    listener = socket.create_server(
        ("::", port), family=socket.AF_INET6, backlog=100, dualstack_ipv6=True
    )
    held = []
    while True:
        held.append(listener.accept())


def client(*arguments: str) -> None:
    """Open connections to the host, wait until it forgot them, then send and close or reset."""
    if "--no-timestamps" in arguments:
        subprocess.run(["sysctl", "-qw", "net.ipv4.tcp_timestamps=0"], check=True)
    ports = [int(word) for word in arguments if word.isdigit()]
    time.sleep(3)
    sessions = [socket.create_connection((HOST, port), 3) for port in ports for _ in range(3)]
    time.sleep(FORGET_AT[0] + 1)
    for session in sessions:
        if "--reset" in arguments:
            session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            session.send(b"one more question\r\n")
        session.close()
    time.sleep(30)


def many(*arguments: str) -> None:
    """The same with a connection to each of the hosts, which then are kept alive."""
    if "--windows" in arguments:
        _as_windows()
    (port,) = (int(word) for word in arguments if word.isdigit())
    time.sleep(3)
    sessions = []
    for each in HOSTS_6 if "--six" in arguments else HOSTS:
        session = socket.create_connection((each, port), 3)
        session.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3)
        sessions.append(session)
    time.sleep(FORGET_AT[0] + 1)
    for session in sessions[::2]:  # the others only keep alive
        with contextlib.suppress(OSError):
            session.send(b"one more question\r\n")
            session.close()
        time.sleep(0.05)
    time.sleep(20)
    for session in sessions[1::2]:
        session.close()
    time.sleep(10)


def _as_windows() -> None:
    settings = ("net.ipv4.tcp_timestamps=0", "net.ipv4.ip_default_ttl=128",
                "net.ipv6.conf.all.hop_limit=128",
                "net.ipv4.ip_local_port_range=49152 65535")  # fmt: skip
    subprocess.run(["sysctl", "-qw", *settings], check=True)


def retry(*ports: str) -> None:
    """Try closed ports again and again."""
    for _ in range(8):
        for port in ports:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, int(port)), 0.5)


def tries(*arguments: str) -> None:
    """connect() to ports of hosts, ADDRESS or FIRST-LAST number, each for half a second."""
    if "--windows" in arguments:
        _as_windows()
    hosts, *ports = [word for word in arguments if not word.startswith("--")]
    network, _, last = hosts.rpartition(".")
    first, _, end = last.partition("-")
    for number in range(int(first), int(end or first) + 1):
        for port in ports:
            with contextlib.suppress(OSError):
                socket.create_connection((f"{network}.{number}", int(port)), 0.5)


def same(port: str, theirs: str) -> None:
    """Send from one port to one port of all the hosts, as if they had asked from there."""
    server = _bound(int(port))
    for _ in range(3):
        for each in HOSTS:
            server.sendto(b"a late answer", (each, int(theirs)))
            time.sleep(0.02)


def in_order(port: str) -> None:
    """Answer hosts that pick ports in order, each from about the same port on."""
    server = _bound(int(port))
    next_ports = [49664 + random.randrange(40) for _ in HOSTS]
    for _ in range(150):
        number = random.randrange(len(HOSTS))
        next_ports[number] += random.choice((1, 1, 2))
        server.sendto(b"a late answer", (HOSTS[number], next_ports[number]))
        time.sleep(0.02)


def _bound(port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ME, port))
    return server


def answer(port: str) -> None:
    """Answer questions over UDP when their asker has forgotten them."""
    server = _bound(int(port))
    server.settimeout(FORGET_AT[0])
    askers: list[Any] = []
    with contextlib.suppress(OSError):
        while len(askers) < MANY_QUERIES:
            askers.append(server.recvfrom(2000)[1])
    time.sleep(FORGET_AT[0])
    for asker in askers:
        server.sendto(b"a late answer", asker)
        time.sleep(0.02)


def serve(port: str) -> None:
    """Send to the host's connections, and close them, when it has forgotten them."""
    listener = socket.create_server(
        ("::", int(port)), family=socket.AF_INET6, backlog=50, dualstack_ipv6=True
    )
    listener.settimeout(FORGET_AT[0])
    sessions: list[socket.socket] = []
    with contextlib.suppress(OSError):
        while len(sessions) < SESSIONS:
            sessions.append(listener.accept()[0])
    time.sleep(FORGET_AT[0])
    for session in sessions:
        session.send(b"late data" * 30)
        session.close()
    time.sleep(20)


def ftp() -> None:
    """Open active data connections from port 20 to ports that a client would name."""
    for _ in range(20):
        data = socket.socket()
        data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        data.bind((ME, 20))
        data.settimeout(0.4)
        with contextlib.suppress(OSError):
            data.connect((HOST, random.randint(10000, 65535)))
        data.close()


def media() -> None:
    """RTP and RTCP of four calls, from pairs of high ports to pairs of high ports."""
    calls = [
        (random.randrange(16384, 32768, 2), random.randrange(10000, 30000, 2)) for _ in range(4)
    ]
    voices = []
    for theirs, ours in calls:
        for odd in (0, 1):
            voice = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            voice.bind((ME, theirs + odd))
            voices.append((voice, ours + odd))
    for _ in range(40):
        for voice, port in voices:
            voice.sendto(bytes(160), (HOST, port))
        time.sleep(0.02)


def peer() -> None:
    """ICE: connectivity checks from one port to every candidate the host had named."""
    checking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in random.sample(range(32768, 60999), 20):
        for _ in range(3):
            checking.sendto(bytes(100), (HOST, port))
            time.sleep(0.02)


def chatter() -> None:
    """What a local net's hosts say to all: NetBIOS, mDNS, SSDP, LLMNR, WSD, Dropbox, ..."""
    groups = {
        "10.99.0.255": (137, 138, 1900, 3702, 5678, 8612, 17500, 27036, 32412, 57621),
        "255.255.255.255": (67, 1900, 10001, 17500, 9999),
        "224.0.0.251": (5353,),
        "224.0.0.252": (5355,),
        "239.255.255.250": (1900, 3702),
    }
    talking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    talking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for _ in range(4):
        for group, ports in groups.items():
            for port in ports:
                with contextlib.suppress(OSError):
                    talking.sendto(bytes(60), (group, port))
                time.sleep(0.02)


PARTS = (host, client, many, retry, tries, same, in_order, answer, serve, ftp, media, peer, chatter)

if __name__ == "__main__":
    {part.__name__: part for part in PARTS}[sys.argv[1]](*sys.argv[2:])
