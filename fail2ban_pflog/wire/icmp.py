# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP: type and code; of a quoted packet the addresses, protocol and port."""

from __future__ import annotations

from .view import Endpoints, Text, View

__all__ = ["QUOTED_PORTS", "icmp"]

_QUOTED = 8  # offset of the quoted IP header

QUOTED_PORTS = {6: "tcp port", 17: "udp port"}
"""Protocol of a quoted packet -> name of its destination port."""

_TYPES = {
    4: "source quench",
    9: "router advertisement",
    10: "router solicitation",
    14: "time stamp reply",
    15: "information request",
    16: "information reply",
    17: "address mask request",
    18: "address mask",
}
_UNREACHABLE = {
    0: "net {} unreachable",
    1: "host {} unreachable",
    5: "{} unreachable - source route failed",
    6: "net {} unreachable - unknown",
    7: "host {} unreachable - unknown",
    8: "{} unreachable - source host isolated",
    9: "net {} unreachable - admin prohibited",
    10: "host {} unreachable - admin prohibited",
    11: "net {} unreachable - tos prohibited",
    12: "host {} unreachable - tos prohibited",
    13: "host {} unreachable - admin prohibited filter",
    14: "host {} unreachable - host precedence violation",
    15: "host {} unreachable - precedence cutoff",
}
_REDIRECTS = {
    0: "redirect {} to net {}",
    1: "redirect {} to host {}",
    2: "redirect-tos {} to net {}",
    3: "redirect-tos {} to host {}",
}
_TIME_EXCEEDED = {0: "time exceeded in-transit", 1: "ip reassembly time exceeded"}


def icmp(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print a message of ``length`` bytes from ``at``."""
    view.layer = "icmp"
    kind, code = view.u8(at), view.u8(at + 1)
    printer = _PRINTERS.get(kind)
    text = printer(view, at, code) if printer else _TYPES.get(kind, f"type-#{kind}")
    yield f"ICMP {text}, length {length}"


def _echo(view: View, at: int, _: int) -> str:
    what = "request" if view.u8(at) == 8 else "reply"
    return f"echo {what}, id {view.u16(at + 4)}, seq {view.u16(at + 6)}"


def _unreachable(view: View, at: int, code: int) -> str:
    quoted = at + _QUOTED
    destination = view.ip4(quoted + 16)
    if code == 2:
        return f"{destination} protocol {view.u8(quoted + 9)} unreachable"
    if code == 3:
        protocol = view.u8(quoted + 9)
        port = view.u16(quoted + (view.u8(quoted) & 0xF) * 4 + 2)
        name = QUOTED_PORTS.get(protocol, f"protocol {protocol} port")
        return f"{destination} {name} {port} unreachable"
    if code == 4:
        mtu = view.u16(at + 6)
        return f"{destination} unreachable - need to frag" + (f" (mtu {mtu})" if mtu else "")
    return _UNREACHABLE.get(code, f"{{}} unreachable - #{code}").format(destination)


def _redirect(view: View, at: int, code: int) -> str:
    text = _REDIRECTS.get(code, f"redirect-#{code} {{}} to {{}}")
    return text.format(view.ip4(at + _QUOTED + 16), view.ip4(at + 4))


def _time_exceeded(view: View, at: int, code: int) -> str:
    view.need(at + _QUOTED + 16, 4)
    return _TIME_EXCEEDED.get(code, f"time exceeded-#{code}")


def _parameter_problem(view: View, at: int, code: int) -> str:
    return (
        f"parameter problem - code {code}"
        if code
        else f"parameter problem - octet {view.u8(at + 4)}"
    )


def _time_stamp(view: View, at: int, _: int) -> str:
    return f"time stamp query id {view.u16(at + 4)} seq {view.u16(at + 6)}"


_PRINTERS = {
    0: _echo,
    3: _unreachable,
    5: _redirect,
    8: _echo,
    11: _time_exceeded,
    12: _parameter_problem,
    13: _time_stamp,
}
