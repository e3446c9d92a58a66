# SPDX-License-Identifier: GPL-2.0-or-later
"""Times, spans, ports and what a source asked for, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import ip_address

from ...pflog.packet import ICMP, ICMP6, NONE, SCTP, TCP, UDP
from ..replay.evidence import Evidence, protocol_and_port

__all__ = [
    "clock", "count", "duration", "iso", "moment", "names", "ranges", "span", "targets",
    "what_was_asked", "zone",
]  # fmt: skip

MOST_NAMED = 3
"""Ports that are named; of more only the number is given."""

SHORTEST = 0.05
"""Seconds; what lasted no longer came at once."""

MOST_HOSTS = 4
"""Hosts that are named by their addresses."""

_PORTS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
_QUESTIONS = {
    (ICMP, 8): "echo requests", (ICMP6, 128): "echo requests", (ICMP, 13): "time stamp requests",
    (ICMP, 15): "information requests", (ICMP, 17): "mask requests",
}  # fmt: skip


# -- times ------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Write a time span in one or two units, at most 6 letters: ``45s``, ``1h30m``, ``ever``."""
    if math.isinf(seconds) or seconds < 0:
        return "ever"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    return "".join(f"{number}{unit}" for number, unit in _units(seconds)) or "0s"


def span(seconds: float) -> str:
    """Write the same as prose has it: ``4 s``, ``1 h 30 min``."""
    if seconds < 10 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f} s"
    names = {"m": "min"}
    units = [f"{number} {names.get(unit, unit)}" for number, unit in _units(seconds)]
    return " ".join(units) or "0 s"


def _units(seconds: float) -> list[tuple[int, str]]:
    """Return the two largest units that a span has."""
    left = round(seconds)
    found = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            found.append((number, unit))
    return found[:2]


def moment(time: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a time in the local time zone."""
    return datetime.fromtimestamp(time).strftime(pattern)


def clock(time: float) -> str:
    """Write a time of day in the local time zone."""
    return moment(time, "%H:%M:%S")


def zone(time: float) -> str:
    """Write the local time zone at a time: ``CET (UTC+01:00)``."""
    local = datetime.fromtimestamp(time).astimezone()
    offset = local.strftime("%z")
    utc = f"UTC{offset[:3]}:{offset[3:5]}"
    name = local.tzname() or ""
    return "UTC" if name == "UTC" else f"{name} ({utc})" if name.isalpha() else utc


def iso(time: float) -> str:
    """Write a time with its zone; nothing where it is never."""
    return "" if math.isinf(time) else datetime.fromtimestamp(time).astimezone().isoformat()


# -- numbers ----------------------------------------------------------------------------


def count(number: int, thing: str, things: str = "") -> str:
    """Write a number of things: ``1 host``, ``1,200 hosts``."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def ranges(ports: Iterable[int], most: int = 24) -> str:
    """Write ports in short: ``21-23, 80, 443``; behind ``most`` ranges comes how many are left."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and spans[-1][1] == port - 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    words = [str(low) if low == high else f"{low}-{high}" for low, high in spans[:most]]
    left = sum(high - low + 1 for low, high in spans[most:])
    return ", ".join(words) + (f" and {left} more" if left else "")


# -- what a source asked for --------------------------------------------------------------


def what_was_asked(evidence: Evidence) -> str:
    """Write what was counted, so that it can be checked: ``15 tcp ports on 1 host in 4 s``."""
    if not evidence.packets:
        return ""
    words = targets(evidence.asked, len(evidence.hosts))
    lasted = evidence.end - evidence.begin
    if evidence.packets > 1:
        words += f" in {span(lasted)}" if lasted >= SHORTEST else " at once"
    # More than these can be different: some were repeats.
    if evidence.packets > len(evidence.asked) * len(evidence.hosts):
        words = f"{count(evidence.packets, 'packet')}{' to' if evidence.ports else ':'} {words}"
    return words


def targets(asked: Iterable[int], hosts: int, least: bool = False) -> str:
    """Write what was asked for: ``22/tcp on 15 hosts``, ``echo requests to 3 hosts``.

    Args:
        asked: numbers as ``evidence.asked`` returns them.
        hosts: of how many hosts.
        least: whether there may have been more of both.
    """
    ports: dict[str, list[int]] = {}
    questions: dict[str, None] = {}
    protocols: list[int] = []
    for protocol, port in map(protocol_and_port, asked):
        if protocol in (ICMP, ICMP6):
            other = f"ICMP{'' if protocol == ICMP else 'v6'} of type {port}"
            questions[_QUESTIONS.get((protocol, port), other)] = None
        elif protocol in _PORTS and port != NONE:
            ports.setdefault(_PORTS[protocol], []).append(port)
        else:
            protocols.append(protocol)
    parts = [_port_words(ports, least)] if ports else []
    parts += _few(list(questions), "kinds of ICMP")
    if protocols:
        named = ranges(protocols, MOST_NAMED)
        several = len(protocols) > MOST_NAMED
        parts.append(f"{len(protocols)} IP protocols" if several else f"IP protocol {named}")
    word = "to" if questions and not ports and not protocols else "on"
    more = "or more " if least else ""
    return f"{' and '.join(parts)} {word} {count(hosts, f'{more}host', f'{more}hosts')}"


def _port_words(ports: dict[str, list[int]], least: bool) -> str:
    number = sum(map(len, ports.values()))
    if number <= MOST_NAMED:
        return ", ".join(f"{port}/{name}" for name, some in ports.items() for port in sorted(some))
    more = "or more " if least else ""
    if len(ports) == 1:
        return f"{number:,} {more}{next(iter(ports))} ports"
    each = ", ".join(f"{len(some):,} {name}" for name, some in ports.items())
    return f"{number:,} {more}ports ({each})"


def _few(words: Sequence[str], kind: str) -> list[str]:
    return list(words) if len(words) <= MOST_NAMED else [f"{len(words)} {kind}"]


def names(evidence: Evidence) -> str:
    """Name what ``what_was_asked`` only counts: ``21-23, 80``, ``tcp 1-9; udp 53``; or nothing."""
    ports: dict[str, list[int]] = {}
    protocols = []
    for protocol, port in map(protocol_and_port, evidence.asked):
        if protocol in _PORTS and port != NONE:
            ports.setdefault(_PORTS[protocol], []).append(port)
        elif protocol not in (ICMP, ICMP6):
            protocols.append(protocol)
    parts = []
    if sum(map(len, ports.values())) > MOST_NAMED:
        alone = len(ports) == 1 and not protocols
        parts = [
            ranges(some) if alone else f"{name} {ranges(some)}" for name, some in ports.items()
        ]
    if len(protocols) > MOST_NAMED:
        parts.append(ranges(protocols) if not ports else f"protocols {ranges(protocols)}")
    hosts = evidence.hosts
    if len(hosts) > 1:
        named = ", ".join(str(ip_address(host)) for host in hosts[:MOST_HOSTS])
        left = len(hosts) - MOST_HOSTS
        parts.append(named + (f" and {left} more" if left > 0 else ""))
    return "; ".join(parts)
