# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP options: tcpdump's words for the common ones, bytes in hexadecimal for all others.

The texts are tcpdump's to the letter, its odd brackets included: ``[bad opt]`` where
a length cannot be, `` [|tcp]`` where the snaplen cut an option.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Callable, NamedTuple, Optional

from .view import Text, Truncated, View

__all__ = ["Template", "options", "template"]

_MASK = 0xFFFF_FFFF

EOL, NOP = 0, 1
_NAMES = {
    EOL: "eol", NOP: "nop", 2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 6: "echo",
    7: "echoreply", 8: "TS", 11: "cc", 12: "ccnew", 13: "ccecho", 19: "md5", 20: "scps",
    28: "uto", 29: "tcp-ao", 30: "mptcp", 34: "tfo", 254: "exp",
}  # fmt: skip


class _BadError(Exception):
    """An option whose length is impossible."""


class _CutError(Exception):
    """An option that was not captured completely."""


class _Option:
    """The bytes of one option behind its kind and length.

    Attributes:
        size: bytes behind kind and length, according to the length byte.
        room: bytes up to the end of the TCP header.
        used: bytes that the printer of this kind accounts for.
    """

    __slots__ = ("at", "room", "sack_base", "size", "used", "view")

    def __init__(self, view: View, sack_base: int) -> None:
        self.view = view
        self.sack_base = sack_base
        self.at = self.size = self.room = self.used = 0

    def check(self, count: int) -> None:
        """Raise unless the first ``count`` bytes are in the header and were captured."""
        if count > self.room:
            raise _BadError
        if not self.view.has(self.at, count):
            raise _CutError

    def take(self, count: int) -> int:
        """Account for ``count`` bytes and return their offset."""
        self.used = count
        self.check(count)
        return self.at


def options(view: View, at: int, end: int, sack_base: int) -> Generator[str, None, bool]:
    """Print the options between two offsets, without the brackets around them.

    Args:
        view: the packet.
        at: offset of the first option.
        end: offset behind the last one.
        sack_base: number that SACK blocks are relative to.

    Returns:
        Whether the list was complete and valid.
    """
    option = _Option(view, sack_base)
    first = at
    while at < end:
        if at > first:
            yield ","
        kind = view.u8(at)
        room = end - at
        length = 1
        if kind not in (EOL, NOP):
            length = view.u8(at + 1)
            if length < 2 or length > room:
                yield "[bad opt]" + ("]" if at > first else "")
                return False
        head = 1 if kind in (EOL, NOP) else 2
        option.at, option.size, option.room, option.used = at + head, length - head, room - head, 0
        yield _NAMES.get(kind, f"unknown-{kind}")
        try:
            yield from _PRINTERS.get(kind, _bytes)(option)
        except _BadError:
            yield "[bad opt]" + ("]" if at > first else "")
            return False
        except _CutError:
            yield f" [|{view.layer}]" + (">" if at > first else "")
            return False
        if option.used != option.size:
            yield f"[len {length}]"
        at += head + option.used
        if kind == EOL:
            break
    return True


class Template(NamedTuple):
    """Text of options, up to the closing bracket, for all values of a time stamp.

    Attributes:
        before: text before the numbers of the time stamp.
        after: text behind them; None where there is no time stamp.
        whole: whether the length follows: no option was bad or cut.
    """

    before: str
    after: Optional[str]
    whole: bool


_PROBES = (0x5A5A_5A5A, 0xA5A5_A5A5), (0x3C3C_3C3C, 0xC3C3_C3C3)


def template(block: bytes, split: int, size: int) -> Optional[Template]:
    """Print options once for all segments whose options differ in at most 8 bytes.

    Args:
        block: the options as captured.
        split: where the 8 bytes start that may be the numbers of a time stamp, or the
            end of the block.
        size: bytes of the options on the wire.

    Returns:
        None where the text depends on more than these bytes.
    """
    if split == len(block):
        pieces = _pieces(block, size)
        whole = pieces[-1] == "]"
        # SACK blocks are relative; the length of a last option may be looked up in the data.
        if "sack" in pieces or (not whole and len(block) == size):
            return None
        return Template("".join(pieces), None, whole)
    # It is the time stamp if two different numbers come out as they were put in.
    found = set()
    for value, echo in _PROBES:
        probe = block[:split] + value.to_bytes(4, "big") + echo.to_bytes(4, "big")
        pieces = _pieces(probe + block[split + 8 :], size)
        stamp = f" val {value} ecr {echo}"
        if pieces.count(stamp) != 1 or "sack" in pieces:
            return None
        if pieces[-1] != "]" and len(block) == size:
            return None
        index = pieces.index(stamp)
        before, after = "".join(pieces[:index]) + " val ", "".join(pieces[index + 1 :])
        found.add(Template(before, after, pieces[-1] == "]"))
    return found.pop() if len(found) == 1 else None


def _pieces(block: bytes, size: int) -> list[str]:
    """Print everything behind the window, up to the closing bracket if the options are whole."""
    view = View(block, len(block), "tcp")
    pieces = [", options ["]

    def run() -> Text:
        if (yield from options(view, 0, size, 0)):
            yield "]"

    try:
        for piece in run():
            pieces.append(piece)  # noqa: PERF402 - what came before a cut must stay
    except Truncated:
        pieces.append(f" [|{view.layer}]")
    return pieces


def _nothing(_: _Option) -> Text:
    return iter(())


def _number(size: int) -> Callable[[_Option], Text]:
    def printed(option: _Option) -> Text:
        at = option.take(size)
        yield f" {int.from_bytes(option.view.raw(at, size), 'big')}"

    return printed


def _sack(option: _Option) -> Text:
    option.used = option.size
    if option.size % 8:
        yield " invalid sack"
        return
    yield f" {option.size // 8} "
    for index in range(0, option.size, 8):
        option.check(index + 8)
        start = (option.view.u32(option.at + index) - option.sack_base) & _MASK
        end = (option.view.u32(option.at + index + 4) - option.sack_base) & _MASK
        yield f"{{{start}:{end}}}"


def _timestamp(option: _Option) -> Text:
    at = option.take(8)
    yield f" val {option.view.u32(at)} ecr {option.view.u32(at + 4)}"


def _fast_open(option: _Option) -> Text:
    at, size = option.take(option.size), option.size
    if not size:
        yield "  cookiereq"
    elif size % 2 or not 4 <= size <= 16:
        yield "  (invalid)"
    else:
        yield f"  cookie {option.view.raw(at, size).hex()}"


def _bytes(option: _Option) -> Text:
    """Print an option of any kind: its bytes, as many as were captured."""
    option.used = option.size
    if option.size:
        yield " 0x"
    for index in range(option.size):
        option.check(index + 1)
        yield f"{option.view.u8(option.at + index):02x}"


_PRINTERS: dict[int, Callable[[_Option], Text]] = {
    EOL: _nothing,
    NOP: _nothing,
    2: _number(2),
    3: _number(1),
    4: _nothing,
    5: _sack,
    6: _number(4),
    7: _number(4),
    8: _timestamp,
    11: _number(4),
    12: _number(4),
    13: _number(4),
    34: _fast_open,
}
