# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG packets of Linux as pflog frames: bytes in, bytes out, no I/O.

nftables' `log group 5` and iptables' `-j NFLOG` hand packets to a listener (link type 239):
a header of 4 bytes, then attributes, each a length, a type and its value, padded to 4; see
linux/netfilter/nfnetlink_log.h.  ``convert`` puts pf's header of 61 bytes before the IP
packet, so that everything behind it reads pf's log and Linux' alike.

The kernel does not report a rule's verdict.  A packet is taken for blocked, unless the rule's
prefix says otherwise: it holds the word pass, accept or allow, or, of a packet that leaves,
begins with `out`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Callable

from ..errors import PflogError

__all__ = ["AF_INET6", "DLT_NFLOG", "UNREADABLE", "Name", "convert", "number", "records"]

DLT_NFLOG = 239

AF_INET6 = 10
"""Linux' number, so that libpcap's IPv6 expressions match these frames on Linux."""

UNREADABLE = b"\0"
"""The frame of a packet that cannot be converted; decoding it raises PflogError."""

Name = Callable[[int], str]
"""name(index) -> an interface's name."""

MAX_HEADERS = 1024
"""pflog headers remembered: one for each interface, prefix and direction."""

MAX_PREFIX = 15
"""Bytes of a rule's prefix that fit into pf's ruleset, with the NUL behind them."""

_AF_INET, _NETDEV = 2, 5
_FAMILIES = {_AF_INET: 4, AF_INET6: 6}
_PROTOCOLS = {0x0800: 4, 0x86DD: 6}
_PACKET_HEADER, _IN, _OUT, _PAYLOAD, _PREFIX = 1, 4, 5, 9, 10
_OUTGOING, _EGRESS = frozenset({3, 4}), 1  # hooks: output, postrouting; of a device: egress

_START, _ATTRIBUTE = 4, {order: struct.Struct(order + "HH") for order in "<>"}
_HOOK, _INDEX = struct.Struct("!HB"), struct.Struct("!I")
_FRAME = struct.Struct("!BBBB16s16sIIIiIiB3x")
_NO_UID, _NO_SUBRULE = 0xFFFF_FFFF, 0xFFFF_FFFF
_PASSED = re.compile(rb"(?<![a-z])(?:pass|accept|allow)(?:ed)?(?![a-z])", re.IGNORECASE)
_ODD = re.compile(rb"[^A-Za-z0-9._()/@+*-]+")


def number(index: int) -> str:
    """Return what stands for an interface whose name is not known: ``if2``."""
    return f"if{index}" if index else "?"


def records(
    raw: Iterable[tuple[int, int, bytes]], byteorder: str, name: Name = number
) -> list[tuple[int, int, bytes]]:
    """Return records with their frames converted; never raises.

    Args:
        raw: (seconds, microseconds, NFLOG packet) each.
        byteorder: As of ``convert``, and so is ``name``.
        name: See there.
    """
    converted = []
    for seconds, microseconds, frame in raw:
        try:
            converted.append((seconds, microseconds, convert(frame, byteorder, name)))
        except PflogError:
            converted.append((seconds, microseconds, UNREADABLE))
    return converted


def convert(frame: bytes, byteorder: str, name: Name = number) -> bytes:
    """Return an NFLOG packet as a pflog frame.

    Args:
        frame: The packet as captured.
        byteorder: ``<`` or ``>``, of the host that captured it.
        name: Returns an interface's name; a capture holds numbers alone.

    Raises:
        PflogError: It is no NFLOG packet, or holds no IP packet (layer ``nflog``).
    """
    size = len(frame)
    if size < _START or frame[1]:
        raise PflogError("nflog", _START, size, "" if size < _START else f"version {frame[1]}")
    values = _attributes(frame, byteorder)
    packet, head = values.get(_PAYLOAD), values.get(_PACKET_HEADER, b"")
    if packet is None or len(head) < _HOOK.size:
        missing = "payload" if packet is None else "packet header"
        raise PflogError("nflog", 0, size, f"there is no {missing}")
    protocol, hook = _HOOK.unpack_from(head)
    version = _FAMILIES.get(frame[0]) or _PROTOCOLS.get(protocol)
    if version is None:
        reason = f"family {frame[0]}, protocol {protocol:#06x}: no IP packet"
        raise PflogError("nflog", 0, size, reason)
    outgoing = hook == _EGRESS if frame[0] == _NETDEV else hook in _OUTGOING
    index = values.get(_OUT if outgoing else _IN, b"")
    interface = name(_INDEX.unpack(index)[0] if len(index) == _INDEX.size else 0)
    return _header(version, outgoing, interface, values.get(_PREFIX, b"")) + packet


def _attributes(frame: bytes, byteorder: str) -> dict[int, bytes]:
    """Return the values by type; a payload may be cut, as a snaplen does it."""
    unpack, size = _ATTRIBUTE[byteorder].unpack_from, len(frame)
    values: dict[int, bytes] = {}
    at = _START
    while at + _ATTRIBUTE["<"].size <= size:
        length, kind = unpack(frame, at)
        kind &= 0x3FFF  # the upper bits are flags
        if length < _ATTRIBUTE["<"].size:
            raise PflogError("nflog", 0, size, f"an attribute is {length} bytes long")
        if at + length > size and kind != _PAYLOAD:
            raise PflogError("nflog", at + length, size)
        values.setdefault(kind, frame[at + 4 : at + length])
        at += (length + 3) & ~3
    return values


@lru_cache(MAX_HEADERS)
def _header(version: int, outgoing: bool, interface: str, prefix: bytes) -> bytes:
    prefix = prefix.partition(b"\0")[0]
    passed = _PASSED.search(prefix) or (outgoing and prefix.lower().startswith(b"out"))
    ruleset = _ODD.sub(b"_", prefix.strip(b" :")[:MAX_PREFIX])
    return _FRAME.pack(
        61,
        _AF_INET if version == 4 else AF_INET6,
        0 if passed else 1,
        0,  # match
        interface.encode("utf-8", "replace")[:15],
        ruleset,
        0,
        0 if ruleset else _NO_SUBRULE,
        _NO_UID,
        0,
        _NO_UID,
        0,
        2 if outgoing else 1,
    )
