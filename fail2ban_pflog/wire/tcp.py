# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP: flags, numbers and options; never what it carries.

Sequence numbers are relative, as tcpdump prints them without -S: the first segment with
ACK of a conversation has absolute numbers, the following ones count from it.
"""

from __future__ import annotations

from typing import NamedTuple

from .tcp_options import options
from .view import Endpoints, Text, Truncated, View

__all__ = ["FLAG_TEXTS", "Conversations", "tcp"]

TCP = 6
HEADER_SIZE = 20
FIN, SYN, RST, ACK, URG = 0x01, 0x02, 0x04, 0x10, 0x20
_FLAGS = ("F", "S", "R", "P", ".", "U", "E", "W")

FLAG_TEXTS = tuple(
    "".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1) or "none"
    for flags in range(256)
)
"""Flag byte -> what stands between the brackets of ``Flags [S.]``."""

_MASK = 0xFFFF_FFFF


class Relative(NamedTuple):
    """A segment's numbers as they are printed, and what its SACK blocks count from."""

    seq: int
    ack: int
    sack_base: int


class Conversations:
    """The numbers that each TCP conversation started with.

    Forgets all of them at ``MAX_CONVERSATIONS``: the numbers start absolute again, and a
    flood of forged segments cannot fill memory.
    """

    MAX_CONVERSATIONS = 65_536

    def __init__(self) -> None:
        self._starts: dict[tuple[bytes, bytes, int, int], tuple[int, int]] = {}

    def relate(
        self, key: tuple[bytes, bytes], ports: tuple[int, int], seq: int, ack: int, flags: int
    ) -> Relative:
        """Return the relative numbers of a segment that has ACK set.

        Args:
            key: the addresses of source and destination.
            ports: of source and destination.
            seq: the sequence number.
            ack: the acknowledgement number.
            flags: of the segment.
        """
        source, destination = key
        sport, dport = ports
        reverse = sport > dport or (sport == dport and source > destination)
        name = (
            (destination, source, dport, sport) if reverse else (source, destination, sport, dport)
        )
        start = self._starts.get(name)
        if start is None or flags & SYN:
            if len(self._starts) >= self.MAX_CONVERSATIONS:
                self._starts.clear()
            before = (ack - 1) & _MASK
            self._starts[name] = start = (before, seq) if reverse else (seq, before)
        else:
            own, peer = start[::-1] if reverse else start
            seq, ack = (seq - own) & _MASK, (ack - peer) & _MASK
        return Relative(seq, ack, start[0] if reverse else start[1])


def tcp(view: View, at: int, length: int, ip: Endpoints, conversations: Conversations) -> Text:
    """Print a segment of ``length`` bytes from ``at``."""
    view.layer = "tcp"
    if not view.has(at, 4):
        yield f"{ip.source} > {ip.destination}:"
        raise Truncated
    ports = view.u16(at), view.u16(at + 2)
    if ip.protocol == TCP:
        yield f"{ip.source}.{ports[0]} > {ip.destination}.{ports[1]}: "
    else:
        yield f"{ports[0]} > {ports[1]}: "
    view.need(at, HEADER_SIZE)
    header = (view.u8(at + 12) >> 4) * 4
    if header < HEADER_SIZE:
        rest = (length - header) & _MASK
        yield f" tcp {rest} [bad hdr length {header} - too short, < {HEADER_SIZE}]"
        return
    flags = view.u8(at + 13)
    yield f"Flags [{FLAG_TEXTS[flags]}]"
    numbers = Relative(view.u32(at + 4), view.u32(at + 8), 0)
    if flags & ACK:
        numbers = conversations.relate(ip.key, ports, numbers.seq, numbers.ack, flags)
    if header > length:
        yield f" [bad hdr length {header} - too long, > {length}]"
        return
    length -= header
    yield _numbers(view, at, length, numbers)
    if header > HEADER_SIZE:
        yield ", options ["
        if not (yield from options(view, at + HEADER_SIZE, at + header, numbers.sack_base)):
            return
        yield "]"
    yield f", length {length}"
    if length:
        yield from _data(view, at, header, length)


def _numbers(view: View, at: int, length: int, numbers: Relative) -> str:
    """Return the text from the sequence number up to the options."""
    flags = view.u8(at + 13)
    text = f", win {view.u16(at + 14)}"
    if flags & ACK:
        text = f", ack {numbers.ack}{text}"
    if length > 0:
        text = f", seq {numbers.seq}:{(numbers.seq + length) & _MASK}{text}"
    elif flags & (SYN | FIN | RST):
        text = f", seq {numbers.seq}{text}"
    if flags & URG:
        text += f", urg {view.u16(at + 18)}"
    return text


def _data(view: View, at: int, header: int, length: int) -> Text:
    """Print what tcpdump prints before it decodes data."""
    if not view.has(at, header):
        yield f" [remaining caplen({view.end - at}) < header length({header})]"
        raise Truncated
    if view.u8(at + 13) & RST and not view.has(at + header, length):
        # tcpdump takes this for a cut in the options, whose bracket it closes thus.
        yield f" [|{view.layer}]" + (">" if header > HEADER_SIZE else "")
