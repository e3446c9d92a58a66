"""A pflog frame as one line of text, in tcpdump's words.

Most packets of a firewall's log are plain TCP segments and UDP datagrams, few senders
send most of them, and pf writes the same header before all of a rule's.  So the text
of a header is kept by its bytes, that of an address by the address, that of TCP
options by their bytes around the time stamp, and such a packet's line is one
unpacking, a few look-ups and one formatting.  Every other packet
takes the long way through ``wire``, which knows all protocols, lengths that lie and
captures that end too soon.  Both ways lead to the same line; tests hold that.
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple, Optional

from .header import AF_INET, AF_INET6, Header
from .wire.ip import ICMP, IP4_HEADER, IP6_HEADER, ip4, ip6
from .wire.tcp import ACK, FIN, FLAG_TEXTS, RST, SYN, TCP, URG, Conversations
from .wire.tcp import HEADER_SIZE as TCP_HEADER
from .wire.tcp_options import Template, template
from .wire.udp import UDP
from .wire.view import Truncated, View, address

__all__ = ["MAX_LINE", "NATIVE", "Formatter"]

NATIVE = "<" if sys.byteorder == "little" else ">"

MAX_LINE = 2048
"""Longest line: extension headers can hold a hundred addresses, a log must not."""

_CUT = " [...]"

MAX_HEADERS = 4096
"""Kept texts of headers: one per rule, interface and direction."""

MAX_ADDRESSES = 65_536
"""Kept texts of addresses: a flood of forged sources must not fill the memory."""

MAX_OPTIONS = 4096
"""Kept texts of TCP options: one per kind of system."""

_START = tuple((length + 3) & ~3 for length in range(256))

# An IP header without options and the first 4 bytes behind it: the ports.
_IP4 = struct.Struct("!BxHxxHxBxx4s4sHH")
_IP6 = struct.Struct("!BxxxHBx16s16sHH")
_TCP = struct.Struct("!IIBBHxxxx")  # behind the ports, to the header's end
_UDP = struct.Struct("!Hxx")
_ECHO = struct.Struct("!BxxxHH")
_FRAGMENT = 0x3FFF  # all but "do not fragment" and the reserved bit
_ECHOES = {8: "request", 0: "reply"}

_TIME_STAMP = b"\x08\x0a"  # the option's kind and length; value and echo reply follow
_TWO = struct.Struct("!II")

_ACK_OR_URG = ACK | URG
_SEQUENCED = SYN | FIN | RST  # these tell their sequence number also without data


class _Head(NamedTuple):
    """What a header's bytes say: its text with the colon, where the packet starts, af."""

    text: str
    start: int
    af: int


class Formatter:
    """Prints frames.

    byteorder: of the header's fields that are in host order, ``<`` or ``>``.

    It remembers where TCP conversations started, as tcpdump does: use one Formatter
    per capture, from its start.
    """

    def __init__(self, byteorder: str = NATIVE) -> None:
        self._byteorder = byteorder
        self._conversations = Conversations()
        self._heads: dict[bytes, _Head] = {}
        self._addresses: dict[bytes, str] = {}
        self._options: dict[tuple[int, int, bytes, bytes], Optional[Template]] = {}

    def line(self, frame: bytes, length: Optional[int] = None) -> str:
        """Print one frame: header, colon, packet; ASCII, one line, at most MAX_LINE long.

        frame: the bytes as captured.  length: how many they were on the wire; without
        it, lengths that the packet tells are believed.
        Raises PflogError when there is no pflog header, and for no bytes anything else.
        """
        head = self._heads.get(frame[: _START[frame[0]]]) if frame else None
        if head is None:
            head = self._read_head(frame)
        try:
            line = self._common(frame, head, length)
        except struct.error:  # not captured as far as that
            line = None
        if line is None:
            line = head.text + self._packet(frame, head, length)
            if len(line) > MAX_LINE:
                line = line[: MAX_LINE - len(_CUT)] + _CUT
        return line

    def _read_head(self, frame: bytes) -> _Head:
        header = Header.parse(frame, self._byteorder)
        head = _Head(f"{header.text}: ", header.start, header.af)
        if len(self._heads) >= MAX_HEADERS:
            self._heads.clear()
        self._heads[frame[: header.start]] = head
        return head

    def _common(  # noqa: C901 - one pass: a call for each layer would cost what this saves
        self, frame: bytes, head: _Head, length: Optional[int]
    ) -> Optional[str]:
        """Print one of the commonest packets; None, or struct.error, for all others.

        These are captured as far as needed, whole, no fragments, tell their true lengths
        and have no headers between IP and transport.
        """
        text, at, af = head
        if af == AF_INET:
            first, total, fragment, protocol, source, destination, sport, dport = _IP4.unpack_from(
                frame, at
            )
            if first != 0x45 or fragment & _FRAGMENT:
                return None
            rest = total - IP4_HEADER
            end = at + total
            at += IP4_HEADER
        elif af in AF_INET6:
            first, rest, protocol, source, destination, sport, dport = _IP6.unpack_from(frame, at)
            if first >> 4 != 6 or not rest:
                return None
            at += IP6_HEADER
            end = at + rest
        else:
            return None
        if length is not None and end > length:
            return None
        key = source, destination
        addresses = self._addresses
        try:
            source, destination = addresses[source], addresses[destination]
        except KeyError:
            self._add_addresses(key)
            source, destination = addresses[source], addresses[destination]
        if protocol == TCP:
            seq, ack, offset, flags, window = _TCP.unpack_from(frame, at + 4)
            header = offset >> 4 << 2
            data = rest - header
            if (
                header < TCP_HEADER
                or data < 0
                or (data and (flags & RST or len(frame) < at + header))
            ):
                return None
            tail = f", length {data}"
            if header > TCP_HEADER:
                options = self._tcp_options(frame[at + TCP_HEADER : at + header], header, tail)
                if options is None:
                    return None
                tail = options
            acknowledged = ""
            if flags & _ACK_OR_URG:
                if flags & URG:
                    return None
                seq, ack, _ = self._conversations.relate(key, (sport, dport), seq, ack, flags)
                acknowledged = f"ack {ack}, "
            if data:
                numbers = f"seq {seq}:{seq + data & 0xFFFFFFFF}, "
            elif flags & _SEQUENCED:
                numbers = f"seq {seq}, "
            else:
                numbers = ""
            return (
                f"{text}{source}.{sport} > {destination}.{dport}: "
                f"Flags [{FLAG_TEXTS[flags]}], {numbers}{acknowledged}win {window}{tail}"
            )
        if protocol == UDP:
            (datagram,) = _UDP.unpack_from(frame, at + 4)
            if datagram != rest or rest < 8:
                return None
            return f"{text}{source}.{sport} > {destination}.{dport}: UDP, length {rest - 8}"
        if protocol == ICMP and af == AF_INET and sport >> 8 in _ECHOES and rest >= 8:
            kind, identifier, sequence = _ECHO.unpack_from(frame, at)
            return (
                f"{text}{source} > {destination}: "
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

        None where they cannot be told from the options alone.
        """
        split = block.find(_TIME_STAMP) + 2
        if split < 2 or len(block) < split + 8:
            split = len(block)
        key = (header, len(block), block[:split], block[split + 8 :])
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

    def _packet(self, frame: bytes, head: _Head, length: Optional[int]) -> str:
        start = head.start
        if length is not None:
            length -= start
        if head.af == AF_INET:
            decode = ip4
        elif head.af in AF_INET6:
            decode = ip6
        else:
            return f"unknown address family {head.af}, length {len(frame) - start}"
        view = View(frame, len(frame), "pflog")
        parts: list[str] = []
        try:
            for part in decode(view, start, length, self._conversations):
                parts.append(part)  # noqa: PERF402 - what came before a cut must stay
        except Truncated:
            parts.append(f" [|{view.layer}]")
        return "".join(parts)
