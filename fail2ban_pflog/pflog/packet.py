# SPDX-License-Identifier: GPL-2.0-or-later
"""A frame as a packet: the one decoding that text, JSON, policy and backtest start from.

Nearly all packets of a firewall's log come directly after an IP header without options,
and were captured as far as they are ever read.  These are one unpacking.  Every other one
takes ``_ip4`` or ``_ip6``: options, extension headers, fragments, what the snaplen cut and
inconsistent lengths are ``traits``; what cannot be known is unknown.  No payload is read.

pf writes the same header before all packets of a rule.  So a header is read once, and
found again by its bytes: ``Head`` holds what is derived from it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .extensions import EXTENSIONS, FRAGMENT, size_of
from .header import AF_INET, AF_INET6, NATIVE, Header

__all__ = [
    "BROKEN",
    "CHAINED",
    "CUT",
    "FIRST",
    "ICMP",
    "ICMP6",
    "LATER",
    "NATIVE",
    "NONE",
    "SCTP",
    "TCP",
    "UDP",
    "UNTOLD",
    "Decoder",
    "Head",
    "Packet",
]

MAX_HEADERS = 4096
"""Headers remembered: one per rule, interface and direction."""

ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132

NONE = -1
"""A number that the packet does not have, or that was not captured."""

# Traits; 0 is a packet without any of them.
CHAINED = 1
"""IPv4 options or IPv6 extension headers come before what IP carries."""
FIRST = 2
"""The first of several fragments, or an IPv6 fragment that is alone."""
LATER = 4
"""A later fragment: what IP carries began in another packet."""
CUT = 8
"""The transport's header was not captured as a whole."""
BROKEN = 16
"""No valid IP header: nothing behind it can be believed."""
UNTOLD = 32
"""IPv4's length is 0 (segmentation offload): the captured length is used."""


class Head:
    """What is derived from a pflog header.

    Attributes:
        header: its fields.
        text: in tcpdump's words, up to the packet.
        start: where the packet begins in the frame.
        version: 4 or 6, 0 for neither.
        direction: the header's number.
        dropped: whether pf dropped the packet.
        selectors: the bytes that an option of the filter may select by: interface,
            ruleset, rule, subrule, direction, ridentifier.
    """

    __slots__ = ("direction", "dropped", "header", "selectors", "start", "text", "version")

    def __init__(self, frame: bytes, byteorder: str) -> None:
        header = self.header = Header.parse(frame, byteorder)
        self.text = f"{header.text}: "
        self.start = header.start
        self.version = 4 if header.af == AF_INET else 6 if header.af in AF_INET6 else 0
        self.direction = header.direction
        # Dropped: block, scrub, and what FreeBSD drops as pass for a reason other than match.
        self.dropped = header.action in (_BLOCK, _SCRUB) or (
            header.action == _PASS and header.reason != _MATCH
        )
        self.selectors = b"%b%c%d" % (frame[4:44], header.direction, header.ridentifier or 0)


_PASS, _BLOCK, _SCRUB = 0, 1, 2
_MATCH = 0


class Packet(NamedTuple):
    """The decoded fields of a frame.

    Attributes:
        source, destination: 4 or 16 bytes; empty where ``traits`` has BROKEN.
        protocol: of what IP carries, behind extension headers; NONE where unknown.
        ttl: or IPv6's hop limit.
        length: bytes of what IP carries, according to the IP header.
        start: where that begins in the frame; 0 where it does not (LATER, or cut off).
        end: index in the frame behind the last byte that belongs to the packet.
        sport, dport: of TCP, UDP and SCTP.
        kind: TCP's flags, ICMP's type.
        header: bytes of TCP's header; 0 for all others and where unknown.
        traits: CHAINED, FIRST, LATER, CUT, BROKEN, UNTOLD, or none of them.
    """

    head: Head
    source: bytes
    destination: bytes
    protocol: int
    ttl: int
    length: int
    start: int
    end: int
    sport: int
    dport: int
    kind: int
    header: int
    traits: int


_new = tuple.__new__  # a NamedTuple's own constructor takes twice as long

_START = tuple((length + 3) & ~3 for length in range(256))
# OpenBSD's header holds the packet's addresses and ports from here on.
_KEYED = tuple(64 if length >= 100 else start for length, start in enumerate(_START))

# An IP header without options and the first 4 bytes behind it: the ports.
_IP4 = struct.Struct("!BxHxxHBBxx4s4sHH")
_IP6 = struct.Struct("!BxxxHBB16s16sHH")
_IP4_SIZE, _IP6_SIZE = 20, 40
_PLAIN4, _IP6_VERSION = 0x45, 6  # version 4, five words long
_FRAGMENTED, _OFFSET = 0x3FFF, 0x1FFF
_TCP_SIZE, _UDP_SIZE, _SCTP_SIZE, _ICMP_SIZE = 20, 8, 12, 8
_WITH_PORTS = frozenset({TCP, UDP, SCTP})


class Decoder:
    """Decodes frames of one origin.

    Args:
        byteorder: of the header's fields that are in host order, ``<`` or ``>``.
    """

    def __init__(self, byteorder: str = NATIVE) -> None:
        self._byteorder = byteorder
        self._heads: dict[bytes, Head] = {}

    def packet(  # noqa: C901 - one pass: a call for each layer would double it
        self, frame: bytes
    ) -> Packet:
        """Decode a frame as captured, pflog header included.

        Raises:
            PflogError: there is no pflog header; no bytes raise anything else.
        """
        head = self._heads.get(frame[: _KEYED[frame[0]]]) if frame else None
        size = len(frame)
        if head is None or size < head.start:
            head = self._read_head(frame)
        at = head.start
        if head.version == 4:
            if size < at + _IP4.size:
                return _ip4(frame, head)
            first, total, fragment, ttl, protocol, source, destination, sport, dport = (
                _IP4.unpack_from(frame, at)
            )
            if first != _PLAIN4 or fragment & _FRAGMENTED:
                return _ip4(frame, head)
            start = at + _IP4_SIZE
            length = total - _IP4_SIZE
        elif head.version == 6:
            if size < at + _IP6.size:
                return _ip6(frame, head)
            first, length, protocol, ttl, source, destination, sport, dport = _IP6.unpack_from(
                frame, at
            )
            start = at + _IP6_SIZE
            if first >> 4 != _IP6_VERSION:
                return _ip6(frame, head)
        else:
            return _no_packet(frame, head)
        end = start + length
        if end > size:
            end = size
        if protocol == TCP:
            if end - start >= _TCP_SIZE:
                return _new(
                    Packet,
                    (
                        head, source, destination, TCP, ttl, length, start, end, sport, dport,
                        frame[start + 13], frame[start + 12] >> 4 << 2, 0,
                    ),
                )  # fmt: skip
        elif protocol == UDP:
            if end - start >= _UDP_SIZE:
                return _new(
                    Packet,
                    (
                        head, source, destination, UDP, ttl, length, start, end, sport, dport,
                        NONE, 0, 0,
                    ),
                )  # fmt: skip
        elif protocol == ICMP and head.version == 4 and end - start >= _ICMP_SIZE:
            return _new(
                Packet,
                (
                    head, source, destination, ICMP, ttl, length, start, end, NONE, NONE,
                    sport >> 8, 0, 0,
                ),
            )  # fmt: skip
        return _ip4(frame, head) if head.version == 4 else _ip6(frame, head)

    def _read_head(self, frame: bytes) -> Head:
        head = Head(frame, self._byteorder)
        if len(self._heads) >= MAX_HEADERS:
            self._heads.clear()
        self._heads[frame[: _KEYED[frame[0]]]] = head
        return head


def _no_packet(frame: bytes, head: Head) -> Packet:
    return Packet(head, b"", b"", NONE, 0, 0, 0, len(frame), NONE, NONE, NONE, 0, BROKEN)


def _ip4(frame: bytes, head: Head) -> Packet:
    at, size = head.start, len(frame)
    if size < at + _IP4_SIZE or not 0x45 <= frame[at] <= 0x4F:
        return _no_packet(frame, head)
    header = (frame[at] & 0xF) * 4
    length = frame[at + 2] << 8 | frame[at + 3]
    total = length or size - at
    if total < header:
        return _no_packet(frame, head)
    fragment = frame[at + 6] << 8 | frame[at + 7]
    traits = (CHAINED if header > _IP4_SIZE else 0) | (0 if length else UNTOLD)
    if fragment & _OFFSET:
        traits |= LATER
    elif fragment & _FRAGMENTED:
        traits |= FIRST
    addresses = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    end = min(size, at + total)
    inside = at + header, end, total - header
    return _carried(frame, head, addresses, frame[at + 9], frame[at + 8], inside, traits)


def _ip6(frame: bytes, head: Head) -> Packet:
    at, size = head.start, len(frame)
    if size < at + _IP6_SIZE or frame[at] >> 4 != 6:
        return _no_packet(frame, head)
    length = frame[at + 4] << 8 | frame[at + 5]
    end = min(size, at + _IP6_SIZE + length)
    protocol, start, traits = _walk(frame, frame[at + 6], at + _IP6_SIZE, end)
    addresses = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    inside = start, end, length - (start - at - _IP6_SIZE)
    return _carried(frame, head, addresses, protocol, frame[at + 7], inside, traits)


def _walk(frame: bytes, protocol: int, at: int, end: int) -> tuple[int, int, int]:
    """Walk over IPv6 extension headers.

    Returns:
        The protocol behind them, where it starts (0 for a later fragment, or cut off), traits.
    """
    traits = 0
    while protocol in EXTENSIONS:
        traits |= CHAINED
        if at + 8 > end:
            return protocol, 0, traits | CUT
        if protocol == FRAGMENT:
            if frame[at + 2] or frame[at + 3] & 0xF8:
                return frame[at], 0, traits | LATER
            traits |= FIRST
        size = size_of(protocol, frame, at)
        if not size:
            return protocol, 0, traits
        protocol = frame[at]
        at += size
    return (protocol, at, traits) if at <= end else (protocol, 0, traits | CUT)


def _carried(
    frame: bytes,
    head: Head,
    addresses: tuple[bytes, bytes],
    protocol: int,
    ttl: int,
    inside: tuple[int, int, int],
    traits: int,
) -> Packet:
    """Make the packet, with the fields of the transport's header that were captured.

    Args:
        inside: where that header begins, where the captured bytes end, how many there were.
    """
    start, end, length = inside
    sport = dport = kind = NONE
    header = 0
    if traits & LATER or not start:
        start = length = 0
    elif start > end:
        start, traits = 0, traits | CUT
    else:
        if protocol in _WITH_PORTS:
            if start + 4 <= end:
                sport, dport = _PORTS.unpack_from(frame, start)
            if protocol == TCP and start + 14 <= end:
                header, kind = frame[start + 12] >> 4 << 2, frame[start + 13]
        elif protocol in (ICMP, ICMP6) and start < end:
            kind = frame[start]
        if start + _NEEDED.get(protocol, 0) > end:
            traits |= CUT
    source, destination = addresses
    return Packet(
        head, source, destination, protocol, ttl, length, start, end, sport, dport, kind, header,
        traits,
    )  # fmt: skip


_PORTS = struct.Struct("!HH")
_NEEDED = {TCP: _TCP_SIZE, UDP: _UDP_SIZE, SCTP: _SCTP_SIZE, ICMP: _ICMP_SIZE, ICMP6: 1}
