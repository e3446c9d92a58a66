# SPDX-License-Identifier: GPL-2.0-or-later
"""The pflog header: its dialects and number tables, as data.

Byte 0 of a frame is the header's length; it determines the dialect, and with it which
fields there are and which system's numbers they carry.  The packet starts at the length
rounded up to 4.  Four layouts exist; a longer header is read as far as it is known:

    length  written by
    45      OpenBSD 3.4-3.7, FreeBSD 5.3-6
    61      FreeBSD 7-13.0, NetBSD, DragonFly, macOS, OpenBSD 3.8-4.8; ours of Linux (nflog)
    69      FreeBSD 13.1 and newer, pfSense, OPNsense
    100     OpenBSD 4.9 and newer

rulenr, subrulenr and ridentifier are in network byte order; uid, pid, rule_uid and
rule_pid in the byte order of the host that wrote the frame: ``byteorder``, ``<`` or
``>`` as struct writes it.
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple, Optional

from ..errors import PflogError

__all__ = [
    "ACTIONS",
    "AF_INET",
    "AF_INET6",
    "DIRECTIONS",
    "KINDS",
    "MIN_LENGTH",
    "NATIVE",
    "NONE",
    "Header",
]

NATIVE = "<" if sys.byteorder == "little" else ">"
"""Byte order of this host."""

MIN_LENGTH = 45
NONE = 0xFFFF_FFFF
"""rule: the default rule; subrule: none."""

AF_INET = 2
AF_INET6 = frozenset({10, 24, 28, 30})  # Linux; OpenBSD, NetBSD; FreeBSD, DragonFly; Darwin

# The numbers that mean the same on every system; the larger ones are in ``_LATER``.
KINDS = (
    "match", "bad-offset", "fragment", "short", "normalize", "memory", "bad-timestamp",
    "congestion", "ip-option", "proto-cksum", "state-mismatch", "state-insert", "state-limit",
    "src-limit", "synproxy",
)  # fmt: skip
ACTIONS = (
    "pass", "block", "scrub", "noscrub", "nat", "nonat", "binat", "nobinat", "rdr", "nordr",
    "synproxy-drop",
)  # fmt: skip
DIRECTIONS = {"in/out": 0, "in": 1, "out": 2, "fwd": 3}
"""Name -> number; fwd is OpenBSD's alone."""

_DIRECTIONS = ("in/out", "in", "out")


class _Numbers(NamedTuple):
    """The numbers that one system added to the common ones."""

    reasons: dict[int, str]
    actions: dict[int, str]
    directions: dict[int, str]


_LATER = {
    "FreeBSD": _Numbers(
        {15: "map-failed", 16: "translate"},
        {11: "defer", 12: "match", 13: "afrt", 14: "rt"},
        {},
    ),
    "OpenBSD": _Numbers(
        {15: "translate", 16: "no-route"},
        {11: "defer", 12: "match", 13: "divert", 14: "rt", 15: "afrt"},
        {DIRECTIONS["fwd"]: "fwd"},
    ),
    "NetBSD": _Numbers({15: "state-locked"}, {}, {}),
    "Darwin": _Numbers(
        {15: "dummynet", 16: "invalid-port"},
        {11: "dummynet", 12: "nodummynet", 13: "nat64", 14: "nonat64"},
        {},
    ),
}

# Where nothing but the numbers' range is known, as many systems may have written it.
_SYSTEMS_BY_AF = {24: ("NetBSD",), 28: ("FreeBSD",), 30: ("Darwin",)}
_NO_UID = 0xFFFF_FFFF  # OpenBSD, FreeBSD, DragonFly
_NO_UID_SIGNED = 0x7FFF_FFFF  # Darwin, NetBSD

# FreeBSD 9-11.0 wrote "no subrule" as a byte 1 in front of three zero bytes.
_SUBRULE_NONE_TOO = 0x0100_0000

_START = struct.Struct("!BBBB16s16sIIB")  # up to dir at 44, as in the 45-byte header
_UIDS = {order: struct.Struct(order + "IiIiB") for order in "<>"}  # at 44, up to dir at 60
_RIDENTIFIER = struct.Struct("!I")

# Interface and anchor names come from a file that may be hostile.
_PRINTABLE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-()/@+*")
_NAME_BYTES = bytes(byte if byte in _PRINTABLE else ord("?") for byte in range(256))


def _name(raw: bytes) -> str:
    """Return a NUL padded name's text; what may not stand in a line becomes ``?``."""
    return raw.split(b"\0", 1)[0].translate(_NAME_BYTES).decode("ascii")


class Header(NamedTuple):
    """One pflog header.

    Attributes:
        length: byte 0.
        start: where the packet begins in the frame.
        subrule: None where there is none.
        uid: None where this dialect has no such field, as the next four, and where the
            kernel knew none.
        systems: names of the systems that may have written it.
    """

    length: int
    start: int
    af: int
    action: int
    reason: int
    interface: str
    ruleset: str
    rule: int
    subrule: Optional[int]
    direction: int
    uid: Optional[int]
    pid: Optional[int]
    rule_uid: Optional[int]
    rule_pid: Optional[int]
    ridentifier: Optional[int]
    systems: tuple[str, ...]

    @classmethod
    def parse(cls, frame: bytes, byteorder: str) -> Header:
        """Read the header in front of a frame's packet.

        Args:
            frame: the bytes as captured.
            byteorder: of the host that wrote them, ``<`` or ``>``.

        Raises:
            PflogError: the frame is too short, or the length byte is none that pf ever
                wrote (layer ``pflog``).
        """
        size = len(frame)
        if not size:
            raise PflogError("pflog", MIN_LENGTH, size)
        length = frame[0]
        if length < MIN_LENGTH:
            raise PflogError("pflog", 0, size, f"header length {length} is less than {MIN_LENGTH}")
        start = (length + 3) & ~3
        if size < start:
            raise PflogError("pflog", start, size)
        _, af, action, reason, ifname, ruleset, rule, subrule, direction = _START.unpack_from(frame)
        uid = pid = rule_uid = rule_pid = ridentifier = None
        raw_uid = _NO_UID
        if length >= 61:
            raw_uid, pid, rule_uid, rule_pid, direction = _UIDS[byteorder].unpack_from(frame, 44)
        systems = _systems(length, af, raw_uid)
        no_uid = (_NO_UID,) if length >= 69 else (_NO_UID, _NO_UID_SIGNED)
        if raw_uid not in no_uid:
            uid = raw_uid
        if 69 <= length < 100:
            (ridentifier,) = _RIDENTIFIER.unpack_from(frame, 64)
        anchor = _name(ruleset)
        none = subrule == NONE or (subrule == _SUBRULE_NONE_TOO and not anchor)
        return cls(
            length,
            start,
            af,
            action,
            reason,
            _name(ifname),
            anchor,
            rule,
            None if none else subrule,
            direction,
            uid,
            pid,
            rule_uid,
            rule_pid,
            ridentifier,
            systems,
        )

    @property
    def reason_name(self) -> str:
        """Return ``match``, ``short``, ...; the number where it has no unique name."""
        return self._named(self.reason, KINDS, 0) or str(self.reason)

    @property
    def action_name(self) -> str:
        """Return ``pass``, ``block``, ...; ``unkn(N)`` where it has no unique name."""
        return self._named(self.action, ACTIONS, 1) or f"unkn({self.action})"

    @property
    def direction_name(self) -> str:
        """Return ``in``, ``out``, ...; ``unkn(N)`` where it has no unique name."""
        return self._named(self.direction, _DIRECTIONS, 2) or f"unkn({self.direction})"

    @property
    def text(self) -> str:
        """Return the header in tcpdump's words, up to the colon before the packet.

        ``rule 1/0(match): block in on vtnet0``, with `` [uid N]`` and
        `` [ridentifier N]`` before the first colon as FreeBSD's own tcpdump prints them.
        """
        anchor = "" if self.subrule is None else f".{self.ruleset}.{self.subrule}"
        reason = self._named(self.reason, KINDS, 0)
        because = f"{self.reason}({reason})" if reason else f"unkn({self.reason})"
        uid = "" if self.uid is None else f" [uid {self.uid}]"
        ridentifier = f" [ridentifier {self.ridentifier}]" if self.ridentifier else ""
        return (
            f"rule {self.rule}{anchor}/{because}{uid}{ridentifier}: "
            f"{self.action_name} {self.direction_name} on {self.interface}"
        )

    def _named(self, number: int, common: tuple[str, ...], table: int) -> Optional[str]:
        """Look a number up; None unless all systems that use it agree."""
        if number < len(common):
            return common[number]
        names = {_LATER[system][table].get(number) for system in self.systems} - {None}
        return names.pop() if len(names) == 1 else None


def _systems(length: int, af: int, raw_uid: int) -> tuple[str, ...]:
    """Return which systems may have written a header; see PF's own header files."""
    if length >= 100:
        return ("OpenBSD",)
    if length >= 69:
        return ("FreeBSD",)
    if length < 61:
        return ()  # OpenBSD 3 and FreeBSD 5 knew none of the later numbers
    if af in _SYSTEMS_BY_AF:
        return _SYSTEMS_BY_AF[af]
    if raw_uid == _NO_UID_SIGNED:
        return ("Darwin", "NetBSD")
    return ("FreeBSD", "NetBSD", "Darwin")
