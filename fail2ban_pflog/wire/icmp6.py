# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMPv6: errors with what they quote, echo, neighbour discovery, MLD.

Node information messages hold names that their sender chose: only their type and
length are printed.
"""

from __future__ import annotations

from collections.abc import Generator

from .view import Endpoints, Text, Truncated, View

__all__ = ["icmp6"]

_QUOTED = 8  # offset of the quoted IPv6 header
_DESTINATION = _QUOTED + 24

_TYPES = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded in-transit",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    132: "multicast listener done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbor solicitation",
    136: "neighbor advertisement",
    137: "redirect",
    138: "router renumbering",
    139: "node information query",
    140: "node information reply",
    141: "inverse neighbor solicitation",
    142: "inverse neighbor advertisement",
    143: "multicast listener report v2",
    144: "ha discovery request",
    145: "ha discovery reply",
    146: "mobile router solicitation",
    147: "mobile router advertisement",
    155: "RPL",
    200: "mtrace response",
    201: "mtrace message",
}
# tcpdump knows the last two but prints nothing of them beside their length.

_UNREACHABLE = {
    0: "unreachable route",
    1: " unreachable prohibited",  # so it stands in tcpdump
    2: "beyond scope",
    3: "unreachable address",
    4: "unreachable port",
}
_PROBLEMS = {
    0: "erroneous",
    1: "next header",
    2: "option",
    3: "incomplete header chain",
}
_RPL = {
    0: "DODAG Information Solicitation",
    1: "DODAG Information Object",
    2: "Destination Advertisement Object",
    3: "Destination Advertisement Object Ack",
}
_PORTS = {6: "tcp port", 17: "udp port"}

_Message = Generator[str, None, bool]
"""Pieces of text; returns whether the length follows."""


def icmp6(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print a message of ``length`` bytes, as the IPv6 header tells it, from ``at``."""
    view.layer = "icmp6"
    if not length:
        yield "ICMP6, length 0 (invalid)"
        return
    kind = view.u8(at)
    yield f"ICMP6, {_TYPES.get(kind, f'unknown icmp6 type ({kind})')}"
    code = view.u8(at + 1)
    printer = _PRINTERS.get(kind)
    complete = printer is None or (yield from printer(view, at, code, length))
    if complete:
        yield f", length {length}"


def _unreachable(view: View, at: int, code: int, _: int) -> _Message:
    yield f", {_UNREACHABLE.get(code, f'unknown unreach code ({code})')}"
    if code in (0, 1, 3):
        yield f" {view.ip6(at + _DESTINATION)}"
    elif code == 2:
        yield f" {view.ip6(at + _DESTINATION)}, source address {view.ip6(at + _QUOTED + 8)}"
    elif code == 4:
        protocol, port = _quoted_port(view, at + _QUOTED)
        yield f", {view.ip6(at + _DESTINATION)} {_PORTS[protocol]} {port}"
    return code <= 4  # of an unknown code tcpdump dumps the bytes on further lines


def _quoted_port(view: View, at: int) -> tuple[int, int]:
    """(protocol, destination port) of a quoted packet; raises Truncated if there is none."""
    following = view.u8(at + 6)
    at += 40
    while at < view.end:
        if following in _PORTS:
            return following, view.u16(at + 2)
        if following in (0, 43, 60):  # hop-by-hop, routing, destination options
            size = (view.u8(at + 1) + 1) * 8
        elif following == 44 and not view.u16(at + 2) & 0xFFF8:  # fragment, the first
            size = 8
        elif following == 51:  # AH
            size = (view.u8(at + 1) + 2) * 4
        else:
            break
        following = view.u8(at)
        at += size
    raise Truncated


def _too_big(view: View, at: int, _: int, __: int) -> _Message:
    yield f", mtu {view.u32(at + 4)}"
    return True


def _time_exceeded(view: View, at: int, code: int, _: int) -> _Message:
    if code == 0:
        yield f" for {view.ip6(at + _DESTINATION)}"
    elif code == 1:
        yield " (reassembly)"
    else:
        yield f", unknown code ({code})"
    return True


def _parameter_problem(view: View, at: int, code: int, _: int) -> _Message:
    view.need(at + _DESTINATION, 16)
    if code in _PROBLEMS:
        yield f", {_PROBLEMS[code]} - octet {view.u32(at + 4)}"
    else:
        yield f", code-#{code}"
    return True


def _echo(view: View, at: int, _: int, __: int) -> _Message:
    yield f", id {view.u16(at + 4)}, seq {view.u16(at + 6)}"
    return True


def _listener(view: View, at: int, _: int, __: int) -> _Message:
    if view.has(at, 24):
        yield f"max resp delay: {view.u16(at + 4)} addr: {view.ip6(at + 8)}"
    return True


def _listener_query(view: View, at: int, code: int, length: int) -> _Message:
    if length == 24:
        return (yield from _listener(view, at, code, length))
    if length < 28:
        yield f" unknown-version (len {length}) "
        return True
    yield " v2"
    view.need(at + 4, 2)
    yield f" [gaddr {view.ip6(at + 8)}"
    sources = view.u16(at + 26)
    if sources:
        if length < 28 + sources * 16:
            yield " [invalid number of sources]"
        else:
            yield f", {sources} source(s)"
    yield "]"
    return True


def _listener_report_2(view: View, at: int, _: int, length: int) -> _Message:
    if length < 8:
        yield f" [invalid len {length}]"
    else:
        yield f", {view.u16(at + 6)} group record(s)"
    return True


def _solicitation(view: View, at: int, _: int, __: int) -> _Message:
    yield f", who has {view.ip6(at + 8)}"
    return True


def _advertisement(view: View, at: int, _: int, __: int) -> _Message:
    yield f", tgt is {view.ip6(at + 8)}"
    return True


def _redirect(view: View, at: int, _: int, __: int) -> _Message:
    yield f", {view.ip6(at + 24)}"
    yield f" to {view.ip6(at + 8)}"
    return True


_RENUMBERING = {0: ", command", 1: ", result", 255: ", sequence number reset"}
_RENUMBERING_CODES = {1: "add", 2: "change", 3: "setglobal"}


def _renumbering(view: View, at: int, code: int, _: int) -> _Message:
    """RFC 2894: the message, its match part and its use parts."""
    try:
        view.need(at + 12, 4)
        yield _RENUMBERING.get(code, f", code-#{code}")
        yield f", seq={view.u32(at + 4)}"
        if code == 0:
            yield from _renumbering_parts(view, at + 16)
    except Truncated:  # the length follows nevertheless
        yield f" [|{view.layer}]"
    return True


def _renumbering_parts(view: View, at: int) -> Text:
    view.need(at + 8, 16)
    what = view.u8(at)
    yield f" match({_RENUMBERING_CODES.get(what, f'#{what}')}"
    yield f",{view.ip6(at + 8)}/{view.u8(at + 3)})"
    count = view.u8(at + 1) - 3
    if count % 4:
        raise Truncated
    at += 24
    for _ in range(count // 4):
        view.need(at + 16, 16)
        flags = view.u8(at + 12)
        yield " use("
        if flags:
            yield ("V" if flags & 0x80 else "") + ("P" if flags & 0x40 else "") + ","
        yield f"{view.ip6(at + 16)}/{view.u8(at)}/{view.u8(at + 1)})"
        at += 32


def _identified(view: View, at: int, _: int, __: int) -> _Message:
    yield f", id 0x{view.u16(at + 4):04x}"
    return True


def _rpl(_: View, __: int, code: int, ___: int) -> _Message:
    if code & 0x80:
        yield ", (SEC) [worktodo]"
    else:
        yield f", (CLR){_RPL.get(code, f'RPL message, unknown code {code}')}"
    return True


_PRINTERS = {
    1: _unreachable,
    2: _too_big,
    3: _time_exceeded,
    4: _parameter_problem,
    128: _echo,
    129: _echo,
    130: _listener_query,
    131: _listener,
    132: _listener,
    135: _solicitation,
    136: _advertisement,
    137: _redirect,
    138: _renumbering,
    143: _listener_report_2,
    144: _identified,
    146: _identified,
    155: _rpl,
}
