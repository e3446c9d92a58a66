# SPDX-License-Identifier: GPL-2.0-or-later
"""Who must never be banned, and the clock."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Union

from ...options import short
from .result import Result, note, ok, unseen, wrong
from .subject import Jail, Subject

__all__ = ["network"]

Address = Union[IPv4Address, IPv6Address]

AHEAD = 60.0
"""Seconds by which a packet may be ahead of the clock."""


def network(subject: Subject) -> Iterator[Result]:
    """Look at ignoreip and the clock."""
    if jails := [*subject.jails, *subject.text_jails]:
        yield from _ignored(subject, jails)
    yield _clock(subject)


def _ignored(subject: Subject, jails: list[Jail]) -> Iterator[Result]:
    answer = subject.ask("netstat", "-rn")
    gateways = _gateways(answer.out)
    if answer.problem:
        yield unseen("gateway", answer.problem)
    try:
        text = subject.path("/etc/resolv.conf").read_text(errors="replace")
        resolvers = _addresses(re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE))
    except OSError as error:
        resolvers = []
        yield unseen("resolvers", f"/etc/resolv.conf: {error.strerror}")
    for what, addresses in (("gateway", gateways), ("resolvers", resolvers)):
        if not addresses:
            continue
        names = ", ".join(map(str, addresses))
        missing = {
            str(address)
            for jail in jails
            for address in addresses
            if not _is_in(address, jail.told["ignoreip"])
        }
        if missing:
            yield note(
                what,
                f"{', '.join(sorted(missing))} can be banned, and its address may be forged",
                "name it in ignoreip in jail.local",
            )
        else:
            yield ok(what, f"{names} cannot be banned")


def _gateways(routes: str) -> list[Address]:
    """The default routes' gateways in what ``netstat -rn`` prints."""
    rows = [line.split() for line in routes.splitlines()]
    return _addresses(
        [row[1] for row in rows if len(row) > 1 and row[0] in ("default", "0.0.0.0", "::/0")]
    )


def _addresses(texts: list[str]) -> list[Address]:
    """Those that can send from afar: no loopback, link-local, unspecified addresses."""
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            address = ip_address(text.partition("%")[0])
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                found.append(address)
    return list(dict.fromkeys(found))


def _is_in(address: Address, ignored: list[str]) -> bool:
    """Whether an ignoreip, which may hold names as well, has the address."""
    for each in ignored:
        with contextlib.suppress(ValueError):
            if address in ip_network(each, strict=False):
                return True
    return False


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
        return unseen("clock", f"no command on {subject.system.name} tells whether it is right")
    answer = subject.ask(*command)
    if answer.problem:
        return unseen("clock", f"{command[0]} does not tell: {answer.problem}")
    if re.search(good, answer.out):
        return ok("clock", f"is kept right, says {command[0]}")
    return note("clock", f"is not kept right, says {command[0]}", "let ntpd run")
