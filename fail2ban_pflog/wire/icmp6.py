# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMPv6: errors with the packet that they quote, echo, neighbour discovery, MLD.

Of all other messages only the type and the length are printed: node information, for
example, holds names that its sender chose.
"""

from __future__ import annotations

from ..pflog.extensions import EXTENSIONS, FRAGMENT, size_of
from .icmp import QUOTED_PORTS
from .view import Endpoints, Text, View

__all__ = ["icmp6"]

_QUOTED = 8  # offset of the quoted IPv6 header
_DESTINATION = _QUOTED + 24

_TYPES = {
    1: "destination unreachable", 2: "packet too big", 3: "time exceeded in-transit",
    4: "parameter problem", 128: "echo request", 129: "echo reply",
    130: "multicast listener query", 131: "multicast listener report",
    132: "multicast listener done", 133: "router solicitation", 134: "router advertisement",
    135: "neighbor solicitation", 136: "neighbor advertisement", 137: "redirect",
    138: "router renumbering", 139: "node information query", 140: "node information reply",
    141: "inverse neighbor solicitation", 142: "inverse neighbor advertisement",
    143: "multicast listener report v2", 144: "ha discovery request", 145: "ha discovery reply",
    146: "mobile router solicitation", 147: "mobile router advertisement", 155: "RPL",
    200: "mtrace response", 201: "mtrace message",
}  # fmt: skip
_UNREACHABLE = {
    0: "unreachable route",
    1: " unreachable prohibited",  # so it stands in tcpdump
    2: "beyond scope",
    3: "unreachable address",
    4: "unreachable port",
}


def icmp6(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print a message of ``length`` bytes from ``at``."""
    view.layer = "icmp6"
    if not length:
        yield "ICMP6, length 0 (invalid)"
        return
    kind = view.u8(at)
    yield f"ICMP6, {_TYPES.get(kind, f'unknown icmp6 type ({kind})')}"
    code = view.u8(at + 1)
    if kind in _PRINTERS:
        yield from _PRINTERS[kind](view, at, code, length)
    yield f", length {length}"


def _unreachable(view: View, at: int, code: int, _: int) -> Text:
    yield f", {_UNREACHABLE.get(code, f'unknown unreach code ({code})')}"
    if code == 4:
        yield _quoted_port(view, at + _QUOTED)
    elif code in _UNREACHABLE:
        yield f" {view.ip6(at + _DESTINATION)}"
        if code == 2:
            yield f", source address {view.ip6(at + _QUOTED + 8)}"


def _quoted_port(view: View, at: int) -> str:
    """Return the address and the port that a quoted packet was for, or '' where it has none."""
    address, following, at = view.ip6(at + 24), view.u8(at + 6), at + 40
    while following in EXTENSIONS:
        view.need(at, 4)
        if following == FRAGMENT and view.u16(at + 2) & 0xFFF8:
            return ""
        size = size_of(following, view.data, at)
        following, at = view.u8(at), at + size
        if not size:
            return ""
    if following not in QUOTED_PORTS:
        return ""
    return f", {address} {QUOTED_PORTS[following]} {view.u16(at + 2)}"


def _too_big(view: View, at: int, _: int, __: int) -> Text:
    yield f", mtu {view.u32(at + 4)}"


def _time_exceeded(view: View, at: int, code: int, _: int) -> Text:
    if code == 0:
        yield f" for {view.ip6(at + _DESTINATION)}"
    else:
        yield " (reassembly)" if code == 1 else f", unknown code ({code})"


def _echo(view: View, at: int, _: int, __: int) -> Text:
    yield f", id {view.u16(at + 4)}, seq {view.u16(at + 6)}"


def _listener_query(view: View, at: int, code: int, length: int) -> Text:
    if length == 24:  # longer ones, of version 2, list sources
        yield from _listener(view, at, code, length)


def _listener(view: View, at: int, _: int, __: int) -> Text:
    if view.has(at, 24):
        yield f"max resp delay: {view.u16(at + 4)} addr: {view.ip6(at + 8)}"


def _listener_report_2(view: View, at: int, _: int, length: int) -> Text:
    if length >= 8:
        yield f", {view.u16(at + 6)} group record(s)"


def _solicitation(view: View, at: int, _: int, __: int) -> Text:
    yield f", who has {view.ip6(at + 8)}"


def _advertisement(view: View, at: int, _: int, __: int) -> Text:
    yield f", tgt is {view.ip6(at + 8)}"


_PRINTERS = {
    1: _unreachable,
    2: _too_big,
    3: _time_exceeded,
    128: _echo,
    129: _echo,
    130: _listener_query,
    131: _listener,
    132: _listener,
    135: _solicitation,
    136: _advertisement,
    143: _listener_report_2,
}
