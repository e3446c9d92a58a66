# SPDX-License-Identifier: GPL-2.0-or-later
"""A pflog frame as one line of text, in tcpdump's words.

Most packets of a firewall's log are plain TCP segments and UDP datagrams, few senders
send most of them, and pf writes the same header before all of a rule's.  So the text of
a header is kept with it (``packet.Head``), that of an address by the address, that of TCP
options by their bytes around the time stamp, and the line of a decoded packet is a few
look-ups and one formatting.  Every other packet takes the long way through ``wire``, which
knows all protocols, inconsistent lengths and captures that end too soon.  Both ways lead
to the same line; tests hold that.
"""

from __future__ import annotations

import struct
from typing import Optional

from .pflog.address import address
from .pflog.header import NATIVE
from .pflog.packet import CUT, ICMP, TCP, UDP, Decoder, Packet
from .wire.ip import ip4, ip6
from .wire.tcp import ACK, FIN, FLAG_TEXTS, RST, SYN, URG, Conversations
from .wire.tcp import HEADER_SIZE as TCP_HEADER
from .wire.tcp_options import Template, template
from .wire.view import Truncated, View

__all__ = ["MAX_LINE", "Formatter"]

MAX_LINE = 2048
"""Longest line: extension headers can hold a hundred addresses, a log must not."""

_CUT = " [...]"

MAX_ADDRESSES = 65_536
"""Texts of addresses that are kept: a flood of forged sources must not fill the memory."""

MAX_OPTIONS = 4096
"""Texts of TCP options that are kept: one per kind of system."""

_TCP = struct.Struct("!IIxxH")  # behind the ports: numbers, window
_UDP = struct.Struct("!H")
_ECHO = struct.Struct("!HH")
_ECHOES = {8: "request", 0: "reply"}

_TIME_STAMP = b"\x08\x0a"  # the option's kind and length; value and echo reply follow
_TWO = struct.Struct("!II")

_ACK_OR_URG = ACK | URG
_SEQUENCED = SYN | FIN | RST  # printed with their sequence number also without data


class Formatter:
    """Prints frames.

    It remembers where TCP conversations started, as tcpdump does: use one Formatter
    per capture, from its start.

    Args:
        byteorder: of the header's fields that are in host order, ``<`` or ``>``.
    """

    def __init__(self, byteorder: str = NATIVE) -> None:
        self.decode = Decoder(byteorder).packet
        self._conversations = Conversations()
        self._addresses: dict[bytes, str] = {}
        self._options: dict[tuple[int, bytes, Optional[bytes]], Optional[Template]] = {}

    def line(self, frame: bytes, length: Optional[int] = None) -> str:
        """Print one frame: header, colon, packet; ASCII, one line, at most MAX_LINE long.

        Args:
            frame: the bytes as captured.
            length: how many they were on the wire; without it, the lengths in the packet's
                own headers are believed.

        Raises:
            PflogError: there is no pflog header; no bytes raise anything else.
        """
        return self.text(self.decode(frame), frame, length)

    def text(self, packet: Packet, frame: bytes, length: Optional[int] = None) -> str:
        """Print a frame that was decoded to ``packet``; see ``line``."""
        return self._common(packet, frame, length) or self._long(packet, frame, length)

    def _common(  # noqa: C901 - one pass: a call for each layer would cost what this saves
        self, packet: Packet, frame: bytes, length: Optional[int]
    ) -> Optional[str]:
        """Print one of the commonest packets; None for all others.

        Their lengths are consistent, and they have no traits, except TCP of which only the
        ports were captured.
        """
        (
            head, source, destination, protocol, _, rest, at, _, sport, dport, kind, header, traits,
        ) = packet  # fmt: skip
        if traits and (traits != CUT or protocol != TCP or sport < 0):
            return None
        if length is not None and at + rest > length:
            return None
        key = source, destination
        addresses = self._addresses
        try:
            source_text, target = addresses[source], addresses[destination]
        except KeyError:
            self._add_addresses(key)
            source_text, target = addresses[source], addresses[destination]
        if protocol == TCP:
            if traits:  # FreeBSD's pflogd leaves of IPv6 TCP the ports
                return f"{head.text}{source_text}.{sport} > {target}.{dport}:  [|tcp]"
            data = rest - header
            if header < TCP_HEADER or data < 0:
                return None
            if data and (kind & RST or len(frame) < at + header):
                return None
            seq, ack, window = _TCP.unpack_from(frame, at + 4)
            tail = f", length {data}"
            if header > TCP_HEADER:
                options = self._tcp_options(frame[at + TCP_HEADER : at + header], header, tail)
                if options is None:
                    return None
                tail = options
            acknowledged = ""
            if kind & _ACK_OR_URG:
                if kind & URG:
                    return None
                seq, ack, _ = self._conversations.relate(key, (sport, dport), seq, ack, kind)
                acknowledged = f"ack {ack}, "
            if data:
                numbers = f"seq {seq}:{seq + data & 0xFFFFFFFF}, "
            elif kind & _SEQUENCED:
                numbers = f"seq {seq}, "
            else:
                numbers = ""
            return (
                f"{head.text}{source_text}.{sport} > {target}.{dport}: "
                f"Flags [{FLAG_TEXTS[kind]}], {numbers}{acknowledged}win {window}{tail}"
            )
        if protocol == UDP:
            if _UDP.unpack_from(frame, at + 4)[0] != rest:
                return None
            return f"{head.text}{source_text}.{sport} > {target}.{dport}: UDP, length {rest - 8}"
        if protocol == ICMP and kind in _ECHOES and len(source) == 4:
            identifier, sequence = _ECHO.unpack_from(frame, at + 4)
            return (
                f"{head.text}{source_text} > {target}: "
                f"ICMP echo {_ECHOES[kind]}, id {identifier}, seq {sequence}, length {rest}"
            )
        return None

    def _add_addresses(self, key: tuple[bytes, bytes]) -> None:
        if len(self._addresses) >= MAX_ADDRESSES:
            self._addresses.clear()
        for raw in key:
            self._addresses[raw] = address(raw)

    def _tcp_options(self, block: bytes, header: int, length: str) -> Optional[str]:
        """Print a segment's options, as far as captured, and the length if they are whole.

        Returns:
            None where the text depends on more than the options.
        """
        split = block.find(_TIME_STAMP) + 2
        behind: Optional[bytes] = None
        if split < 2 or len(block) < split + 8:
            split = len(block)
        else:
            behind = block[split + 8 :]
        key = header, block[:split], behind
        try:
            known = self._options[key]
        except KeyError:
            if len(self._options) >= MAX_OPTIONS:
                self._options.clear()
            known = self._options[key] = template(block, split, header - TCP_HEADER)
        if known is None:
            return None
        before, after, whole = known
        if not whole:
            length = ""
        if after is None:
            return before + length
        value, echo = _TWO.unpack_from(block, split)
        return f"{before}{value} ecr {echo}{after}{length}"

    def _long(self, packet: Packet, frame: bytes, length: Optional[int]) -> str:
        """Print any packet."""
        head = packet.head
        if not head.version:
            size = len(frame) - head.start
            return f"{head.text}unknown address family {head.header.af}, length {size}"
        if length is not None:
            length -= head.start
        decode = ip4 if head.version == 4 else ip6
        view = View(frame, len(frame), "pflog")
        parts = [head.text]
        try:
            for part in decode(view, head.start, length, self._conversations):
                parts.append(part)  # noqa: PERF402 - what came before a cut must stay
        except Truncated:
            parts.append(f" [|{view.layer}]")
        line = "".join(parts)
        return line if len(line) <= MAX_LINE else line[: MAX_LINE - len(_CUT)] + _CUT
