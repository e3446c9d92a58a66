# SPDX-License-Identifier: GPL-2.0-or-later
"""Remember what this host asked, where a rule such as ``pass out log`` logs it.

pf then logs the first packet of each connection that goes out.  A blocked packet that comes from
exactly there to exactly there is an answer, however late; and nobody else can send one.  A host
that was asked may reach the port that asked and no other, but for ident: a server that was asked
over TCP may ask port 113 back.

Behind address translation the answer comes to the translated address.  FreeBSD logs the packet as
it is sent, translated; OpenBSD logs it as it was, and the translated addresses in its header.
"""

from __future__ import annotations

from ..pflog.packet import TCP, Packet

__all__ = ["Questions"]

HORIZON = 3600.0
"""Seconds after the question, or the last answer, for which an answer is one."""

MAX_QUESTIONS = 65_536
"""Questions remembered, 120 bytes each: an hour of 18 connections a second."""

_IDENT = 113
_ANY_PORT = -2

_REWRITTEN, _NAF, _SADDR, _DADDR, _SPORT, _HEADER = 61, 62, 64, 80, 96, 100
_AF_INET = 2


class Questions:
    """What this host asked in the last hour."""

    def __init__(self) -> None:
        # Keyed hash of question and asker -> when.  Python's hash of bytes cannot be foreseen.
        self._asked: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def note(self, time: float, packet: Packet, frame: bytes) -> None:
        """Remember a question.

        Args:
            time: of the packet, seconds since the epoch.
            packet: one of kind QUESTION.
            frame: what it was decoded from.
        """
        local, remote, sport, dport = packet.source, packet.destination, packet.sport, packet.dport
        if packet.head.header.length >= _HEADER and frame[_REWRITTEN]:
            size = 4 if (frame[_NAF] or frame[1]) == _AF_INET else 16
            local, remote = frame[_SADDR : _SADDR + size], frame[_DADDR : _DADDR + size]
            sport = int.from_bytes(frame[_SPORT : _SPORT + 2], "big")
            dport = int.from_bytes(frame[_SPORT + 2 : _HEADER], "big")
        self._add(hash((local, remote, packet.protocol, sport, dport)), time)
        if packet.protocol == TCP:
            self._add(hash((local, remote, TCP, _ANY_PORT)), time)

    def answers(self, time: float, packet: Packet) -> bool:
        """Return whether a blocked packet answers what this host asked."""
        local, remote, protocol = packet.destination, packet.source, packet.protocol
        if self._knows(hash((local, remote, protocol, packet.dport, packet.sport)), time):
            return True
        asks_back = protocol == TCP and packet.dport == _IDENT
        return asks_back and self._knows(hash((local, remote, TCP, _ANY_PORT)), time)

    def _add(self, key: int, time: float) -> None:
        asked = self._asked
        asked.pop(key, None)
        if len(asked) >= MAX_QUESTIONS:
            for old in list(asked)[: MAX_QUESTIONS // 8]:
                del asked[old]
        asked[key] = time

    def _knows(self, key: int, time: float) -> bool:
        asked = self._asked.get(key)
        if asked is None or abs(time - asked) > HORIZON:
            return False
        self._asked[key] = max(time, asked)
        return True
