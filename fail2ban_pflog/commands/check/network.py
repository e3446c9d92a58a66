# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses must never be banned, and the clock."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Union

from ...options import short
from .blocks import holds
from .result import Result, note, ok, unseen, wrong
from .subject import Jail, Subject

__all__ = ["network"]

Network = Union[IPv4Network, IPv6Network]

_INTERFACE = re.compile(
    r"inet6? ([0-9a-f.:]+)(?:%\w+)?(?: -->? \S+)?(?:/| netmask | prefixlen )(0x[0-9a-f]+|[\d.]+)"
)
"""An address and its network, as ifconfig and ``ip addr`` print them."""

AHEAD = 60.0
"""Seconds by which a packet may be ahead of the clock."""


def network(subject: Subject) -> Iterator[Result]:
    """Look at ignoreip and the clock."""
    if jails := subject.all_jails:
        yield from _ignored(subject, jails)
    yield _clock(subject)


def _ignored(subject: Subject, jails: list[Jail]) -> Iterator[Result]:
    routes = subject.ask("netstat", "-rn")
    command = ("ip", "-o", "addr") if subject.system.name == "Linux" else ("ifconfig", "-a")
    interfaces = subject.ask(*command)
    for answer in (routes, interfaces):
        if answer.problem:
            yield unseen("ignoreip", f"is not compared with this host: {answer.problem}")
    try:
        text = subject.path("/etc/resolv.conf").read_text(errors="replace")
    except OSError as error:
        text = ""
        yield unseen("ignoreip", f"is not compared with /etc/resolv.conf: {error.strerror}")
    hosts = _INTERFACE.findall(interfaces.out)
    missing: dict[Network, str] = {}
    for what, found in (
        ("network", [f"{host}/{_length(mask)}" for host, mask in hosts]),
        ("this host", [host for host, _ in hosts]),
        ("gateway", _gateways(routes.out)),
        ("resolver", re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)),
    ):
        for network in _networks(found):
            ignored = all(_is_in(network, jail.settings["ignoreip"]) for jail in jails)
            if not ignored and not _is_in(network, map(str, missing)):
                missing[network] = what
    names = {network: f"{network}".removesuffix(f"/{network.max_prefixlen}") for network in missing}
    if missing:
        listed = ", ".join(f"{what} {names[network]}" for network, what in missing.items())
        yield note(
            "ignoreip",
            f"does not hold what is near, and could be banned: {listed}",
            f"in [DEFAULT] of jail.local: ignoreip = 127.0.0.1/8 ::1 {' '.join(names.values())}",
        )
    elif hosts:
        yield ok("ignoreip", "holds this host, its networks, gateway and resolvers")


def _gateways(routes: str) -> list[str]:
    """Return the default routes' gateways in what ``netstat -rn`` prints."""
    rows = [line.split() for line in routes.splitlines()]
    return [row[1] for row in rows if len(row) > 1 and row[0] in ("default", "0.0.0.0", "::/0")]


def _length(mask: str) -> str:
    """Return the length of a prefix that ifconfig prints as a netmask, in one of three ways."""
    if mask.startswith("0x"):
        return str(bin(int(mask, 16)).count("1"))
    return mask


def _networks(texts: list[str]) -> list[Network]:
    """Return those that can send from afar: no loopback, link-local, unspecified addresses."""
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            network = ip_network(re.sub("%[^/]*", "", text), strict=False)
            if not (network.is_loopback or network.is_link_local or network.is_unspecified):
                found.append(network)
    return found


def _is_in(network: Network, ignored: Iterable[str]) -> bool:
    """Return whether an ignoreip, which may hold names as well, has all of a network."""
    return any(holds([each], str(network)) for each in ignored)


def _clock(subject: Subject) -> Result:
    ahead = {path: time - subject.now for path, time in subject.newest.items()}
    for path, by in ahead.items():
        if by > AHEAD:
            return wrong(
                "clock",
                f"the newest packet of {path} is {short(by)} ahead of it",
                "set it right, by ntpd",
            )
    command, good = subject.system.clock
    if not command:
        return unseen("clock", f"no command of {subject.system.name} shows whether it is right")
    answer = subject.ask(*command)
    if answer.problem:
        return unseen("clock", f"{command[0]} does not answer: {answer.problem}")
    if re.search(good, answer.out):
        return ok("clock", f"is synchronised, says {command[0]}")
    return note("clock", f"is not synchronised, says {command[0]}", "let ntpd run")
