# SPDX-License-Identifier: GPL-2.0-or-later
"""Stories of honest hosts that only what this host asked tells from scanners.

Each is asked first, in a packet that pf passes and logs (``pass out log``); then all states are
lost, and it answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .frames import ACK, FIN, LINUX, OPENBSD, PSH, SYN, WINDOWS, System, ip, tcp, udp
from .scene import HOSTS, TCP, UDP, Scene, Source

__all__ = ["STORIES", "scan_by_an_asked_host"]


def _ask(source: Source, sport: int, dport: int, host: int = 0, protocol: int = UDP) -> None:
    """Let a host ask a source; sport: as its firewall translates it."""
    segment = tcp(sport, dport, SYN, OPENBSD.syn) if protocol == TCP else udp(sport, dport, 40)
    source.asked(ip(source.host(host), source.address, protocol, segment, 63))
    source.pause(0.02)


def _server(
    scene: Scene, what: str, port: int, ports: Sequence[int], system: System = LINUX
) -> None:
    """Add a server that is asked from ports of one host, and answers an hour's part later."""
    for six in (False, True):
        source = scene.add("bystander", what, system, six)
        for sport in ports:
            _ask(source, sport, port)
        source.pause(600)
        for sport in ports:
            source.udp(port, sport, 60)
            source.pause(0.2)


def answers_to_reserved_ports(scene: Scene) -> None:
    """RPC services to clients that bind reserved ports; time, IKE and DNS behind Linux's NAT."""
    for port, who in ((20048, "mountd"), (875, "rquotad"), (834, "NIS"), (32803, "lockd")):
        _server(scene, f"{who}: answers to reserved ports", port, range(1023, 983, -1))
    for port, who in ((123, "time server"), (500, "IKE gateway"), (53, "resolver")):
        ports = scene.random.sample(range(1, 512), 40)
        _server(scene, f"{who}: answers to ports 1-511 of a NAT", port, ports)


def answers_to_ports_in_order(scene: Scene) -> None:
    """Answers to a NAT that hands out ports in order."""
    for port, begin in itertools.product((53, 443, 5443, 1234), (1024, 5120, 9000)):
        _server(scene, f"UDP from {port} to a NAT's ports from {begin} up, in order", port,
                range(begin, begin + 60))  # fmt: skip


def to_one_port_of_many_hosts(scene: Scene) -> None:
    """Hubs of tunnels and telephone providers, whose peers all have the same port."""
    for sport, dport, who in (
        (51820, 51820, "WireGuard hub"), (51821, 51820, "WireGuard hub"),
        (41641, 41642, "Tailscale"), (500, 500, "IPsec gateway"), (4500, 4500, "IPsec gateway"),
        (5060, 5060, "telephone provider: OPTIONS"), (5080, 5060, "telephone provider: OPTIONS"),
        (123, 123, "time server"), (27015, 27005, "game server"), (1234, 161, "manager of agents"),
    ):  # fmt: skip
        source = scene.add("bystander", f"{who}, {sport} to {dport} of {HOSTS} hosts")
        for host in range(HOSTS):
            _ask(source, dport, sport, host)
        for _ in range(4):
            source.pause(30)
            for host in range(HOSTS):
                source.udp(sport, dport, 120, host)
                source.pause(0.1)


def ident(scene: Scene) -> None:
    """A mail server that asks for the user of each connection that it got."""
    for system in (LINUX, WINDOWS, OPENBSD):
        source = scene.add("bystander", f"{system.name} mail server: ident of 30 hosts", system)
        for host in range(HOSTS):
            _ask(source, source.own_port(), 25, host, TCP)
            source.syn(113, host, tries=(1, 3, 7))
            source.pause(1)


def late_segments(scene: Scene) -> None:
    """Late data and FIN of servers without time stamps to ports of a NAT, in order or reserved."""
    for port, ports in itertools.product((22, 443, 2049), (range(600, 660), range(2000, 2060))):
        for six in (False, True):
            what = f"server on port {port}: late segments to ports from {ports[0]} up"
            source = scene.add("bystander", what, WINDOWS, six)
            for sport in ports:
                _ask(source, sport, port, 0, TCP)
            source.pause(600)
            for sport in ports:
                for flags in (0, FIN):
                    source.send(TCP, tcp(port, sport, flags | ACK))
                    source.pause(0.2)
                source.late(PSH, sport, port, 0, 20)


def scan_by_an_asked_host(scene: Scene) -> None:
    """A server that is asked, answers, and scans from the port that was asked."""
    source = scene.add("scanner", "asked from 40 ports, then scans 40 services")
    for sport in range(40000, 40040):
        _ask(source, sport, 53)
    source.pause(60)
    for port in range(20, 60):
        source.udp(53, 39980 + port, 60)
        source.udp(53, port, 8)
        source.pause(0.5)


STORIES = (
    answers_to_reserved_ports, answers_to_ports_in_order, to_one_port_of_many_hosts, ident,
    late_segments,
)  # fmt: skip
