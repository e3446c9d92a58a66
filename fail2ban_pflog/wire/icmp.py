# SPDX-License-Identifier: GPL-2.0-or-later
"""ICMP: what it says, and of the packet it quotes the addresses, protocol and port."""

from __future__ import annotations

from .view import Endpoints, Text, View

__all__ = ["icmp"]

_QUOTED = 8  # offset of the quoted IP header
_MAX_TEXT = 163  # tcpdump's buffer; only a router advertisement can be longer

_TYPES = {
    4: "source quench",
    10: "router solicitation",
    15: "information request",
    16: "information reply",
    17: "address mask request",
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
_PORTS = {6: "tcp port", 17: "udp port"}


def icmp(view: View, at: int, length: int, _: Endpoints) -> Text:
    """Print a message of ``length`` bytes, as the IP header tells it, from ``at``."""
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
    if code == 2:
        return f"{view.ip4(quoted + 16)} protocol {view.u8(quoted + 9)} unreachable"
    if code == 3:
        protocol = view.u8(quoted + 9)
        port = view.u16(quoted + (view.u8(quoted) & 0xF) * 4 + 2)
        name = _PORTS.get(protocol, f"protocol {protocol} port")
        return f"{view.ip4(quoted + 16)} {name} {port} unreachable"
    if code == 4:
        mtu = view.u16(at + 6)
        return f"{view.ip4(quoted + 16)} unreachable - need to frag" + (
            f" (mtu {mtu})" if mtu else ""
        )
    return _UNREACHABLE.get(code, f"{{}} unreachable - #{code}").format(view.ip4(quoted + 16))


def _redirect(view: View, at: int, code: int) -> str:
    text = _REDIRECTS.get(code, f"redirect-#{code} {{}} to {{}}")
    return text.format(view.ip4(at + _QUOTED + 16), view.ip4(at + 4))


def _router_advertisement(view: View, at: int, _: int) -> str:
    view.need(at + 4, 4)
    count, size, lifetime = view.u8(at + 4), view.u8(at + 5), view.u16(at + 6)
    if lifetime < 60:
        lasts = f"{lifetime}"
    elif lifetime < 3600:
        lasts = f"{lifetime // 60}:{lifetime % 60:02}"
    else:
        lasts = f"{lifetime // 3600}:{lifetime % 3600 // 60:02}:{lifetime % 60:02}"
    text = f"router advertisement lifetime {lasts} {count}:"
    if size != 2:
        return f"{text} [size {size}]"
    for router in range(at + 8, at + 8 + 8 * count, 8):
        view.need(router, 8)
        text += f" {{{view.ip4(router)} {view.u32(router + 4)}}}"
    return text[:_MAX_TEXT]


def _time_exceeded(view: View, at: int, code: int) -> str:
    view.need(at + _QUOTED + 16, 4)
    return _TIME_EXCEEDED.get(code, f"time exceeded-#{code}")


def _parameter_problem(view: View, at: int, code: int) -> str:
    if code:
        return f"parameter problem - code {code}"
    return f"parameter problem - octet {view.u8(at + 4)}"


def _address_mask(view: View, at: int, _: int) -> str:
    return f"address mask is 0x{view.u32(at + 8):08x}"


def _time_stamp(view: View, at: int, _: int) -> str:
    return f"time stamp query id {view.u16(at + 4)} seq {view.u16(at + 6)}"


def _time_stamp_reply(view: View, at: int, _: int) -> str:
    view.need(at + 16, 4)
    origin, received, sent = (_clock(view.u32(at + offset)) for offset in (8, 12, 16))
    return (
        f"time stamp reply id {view.u16(at + 4)} seq {view.u16(at + 6)}: "
        f"org {origin}, recv {received}, xmit {sent}"
    )


def _clock(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    minutes = seconds // 60
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds % 60:02}.{milliseconds % 1000:03}"


_PRINTERS = {
    0: _echo,
    3: _unreachable,
    5: _redirect,
    8: _echo,
    9: _router_advertisement,
    11: _time_exceeded,
    12: _parameter_problem,
    13: _time_stamp,
    14: _time_stamp_reply,
    18: _address_mask,
}
