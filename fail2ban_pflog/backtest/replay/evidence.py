# SPDX-License-Identifier: GPL-2.0-or-later
"""What was counted of a source: which ports and protocols of which hosts, and when.

The last packets are kept one by one, no more of them than a ban takes; once there is a ban
they become an ``Evidence``, of those within findtime.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from ...pflog.packet import ICMP, ICMP6, NONE, Packet

__all__ = ["NOTHING", "Counted", "Evidence", "asked", "protocol_and_port"]

MAX_COUNTED = 1024
"""Packets kept of one source; a jail counts far fewer."""

_PORT_BITS = 17


def asked(packet: Packet) -> int:
    """Return what a packet asked for as a number: protocol, and port or type of ICMP."""
    what = packet.kind if packet.protocol in (ICMP, ICMP6) else packet.dport
    return max(packet.protocol, 0) << _PORT_BITS | (what + 1)


def protocol_and_port(number: int) -> tuple[int, int]:
    """Return the protocol, and the port or type of ICMP (NONE: none), of such a number."""
    return number >> _PORT_BITS, (number & (1 << _PORT_BITS) - 1) - 1


class Evidence(NamedTuple):
    """Packets of one source, as far as they were counted.

    Attributes:
        packets: how many.
        begin, end: when the first and the last came, seconds since the epoch.
        asked: what they asked for, see ``asked``; each once.
        hosts: the addresses asked, 4 or 16 bytes; each once.
    """

    packets: int
    begin: float
    end: float
    asked: array[int]
    hosts: tuple[bytes, ...]

    @property
    def ports(self) -> list[int]:
        """The ports of all protocols, each once, the lowest first."""
        pairs = map(protocol_and_port, self.asked)
        return sorted(
            {port for protocol, port in pairs if port != NONE and protocol not in (ICMP, ICMP6)}
        )

    @classmethod
    def of(cls, counted: Iterable[tuple[float, int, bytes]]) -> Evidence:
        """Make it of packets: when each came, what it asked for, of which host."""
        times, numbers, hosts = tuple(zip(*counted)) or ((), (), ())
        return cls(
            len(times),
            min(times, default=0.0),
            max(times, default=0.0),
            array("I", sorted(set(numbers))),
            tuple(sorted(set(hosts))),
        )


NOTHING = Evidence.of(())


class Counted:
    """The last packets that were counted of one source.

    Args:
        most: how many are kept, at most MAX_COUNTED.
    """

    __slots__ = ("_most", "_packets")

    def __init__(self, most: int) -> None:
        self._most = min(most, MAX_COUNTED)
        self._packets: list[tuple[float, int, bytes]] = []

    def add(self, time: float, packet: Packet) -> None:
        """Keep a packet."""
        self._packets.append((time, asked(packet), packet.destination))
        if len(self._packets) > self._most:
            del self._packets[0]

    def since(self, time: float) -> Evidence:
        """Return those that came no earlier."""
        return Evidence.of(each for each in self._packets if each[0] >= time)
