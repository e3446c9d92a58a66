# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP options, each with what it carries; lengths that lie end the list.

The texts are tcpdump's to the letter, its odd brackets included: ``[bad opt]`` where
a length cannot be, `` [|tcp]`` where the snaplen cut an option.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Callable, NamedTuple, Optional

from .view import Text, Truncated, View

__all__ = ["Template", "options", "template"]

SYN, ACK = 0x02, 0x10
_MASK = 0xFFFF_FFFF

EOL, NOP = 0, 1
_NAMES = {
    EOL: "eol",
    NOP: "nop",
    2: "mss",
    3: "wscale",
    4: "sackOK",
    5: "sack",
    6: "echo",
    7: "echoreply",
    8: "TS",
    11: "cc",
    12: "ccnew",
    13: "ccecho",
    19: "md5",
    20: "scps",
    28: "uto",
    29: "tcp-ao",
    30: "mptcp",
    34: "tfo",
    254: "exp",
}
_EXPERIMENT_FAST_OPEN = 0xF989  # RFC 7413, appendix A
_MD5_SIZE = 16


class _BadError(Exception):
    """An option whose length cannot be."""


class _CutError(Exception):
    """An option of which not all was captured."""


class _Option:
    """One option's bytes behind kind and length, and what they may hold.

    size: bytes behind kind and length, as the length byte tells.
    room: bytes there may be up to the end of the TCP header.
    used: how many bytes the printer of this kind accounts for.
    """

    __slots__ = ("at", "data", "flags", "room", "sack_base", "size", "used", "view")

    def __init__(self, view: View, flags: int, sack_base: int, data: int) -> None:
        self.view = view
        self.flags = flags
        self.sack_base = sack_base
        self.data = data
        self.at = self.size = self.room = self.used = 0

    def check(self, count: int) -> None:
        """Raise unless the first ``count`` bytes lie in the header and were captured."""
        if count > self.room:
            raise _BadError
        if not self.view.has(self.at, count):
            raise _CutError

    def take(self, count: int) -> int:
        """Account for ``count`` bytes and return their offset."""
        self.used = count
        self.check(count)
        return self.at


def options(
    view: View, at: int, end: int, flags: int, sack_base: int, data: int
) -> Generator[str, None, bool]:
    """Print the options between two offsets, without the brackets around them.

    flags: the segment's.  sack_base: what SACK blocks count from.  data: how many bytes
    the segment carries.  Returns whether the list was whole.
    """
    option = _Option(view, flags, sack_base, data)
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
            yield from _PRINTERS.get(kind, _unknown)(option)
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
    """Options' text, up to the closing bracket, for all values of a time stamp.

    before, after: the time stamp's numbers; after is None where there is no stamp.
    whole: whether the length may follow: no option was bad or cut.
    """

    before: str
    after: Optional[str]
    whole: bool


_DEPEND_ON_SEGMENT = frozenset({"sack", "md5", "mptcp"})
_PROBES = (0x5A5A_5A5A, 0xA5A5_A5A5), (0x3C3C_3C3C, 0xC3C3_C3C3)


def template(block: bytes, split: int, size: int) -> Optional[Template]:
    """Read options once for all segments whose options differ in 8 bytes at most.

    block: the options as captured.  split: where the 8 bytes start that may be the
    numbers of a time stamp, or the end of the block.  size: of the options on the wire.
    Returns None where the text depends on more than these bytes.
    """
    if split == len(block):
        pieces = _pieces(block, size)
        whole = pieces[-1] == "]"
        # tcpdump looks for the length of a last option behind the options, in the data.
        if _DEPEND_ON_SEGMENT & set(pieces) or (not whole and len(block) == size):
            return None
        return Template("".join(pieces), None, whole)
    # It is the time stamp if two different numbers come out as they were put in.
    found = set()
    for value, echo in _PROBES:
        probe = block[:split] + value.to_bytes(4, "big") + echo.to_bytes(4, "big")
        pieces = _pieces(probe + block[split + 8 :], size)
        stamp = f" val {value} ecr {echo}"
        if pieces.count(stamp) != 1 or _DEPEND_ON_SEGMENT & set(pieces):
            return None
        if pieces[-1] != "]" and len(block) == size:
            return None
        index = pieces.index(stamp)
        before, after = "".join(pieces[:index]) + " val ", "".join(pieces[index + 1 :])
        found.add(Template(before, after, pieces[-1] == "]"))
    return found.pop() if len(found) == 1 else None


def _pieces(block: bytes, size: int) -> list[str]:
    """Everything behind the window, up to the closing bracket if the options are whole."""
    view = View(block, len(block), "tcp")
    pieces = [", options ["]

    def run() -> Text:
        if (yield from options(view, 0, size, SYN, 0, 0)):
            yield "]"

    try:
        for piece in run():
            pieces.append(piece)  # noqa: PERF402 - what came before a cut must stay
    except Truncated:
        pieces.append(f" [|{view.layer}]")
    return pieces


def _nothing(_: _Option) -> Text:
    return iter(())


def _u16(option: _Option) -> Text:
    yield f" {option.view.u16(option.take(2))}"


def _u8(option: _Option) -> Text:
    yield f" {option.view.u8(option.take(1))}"


def _u32(option: _Option) -> Text:
    yield f" {option.view.u32(option.take(4))}"


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


def _md5(option: _Option) -> Text:
    at = option.take(_MD5_SIZE)
    yield " "
    # Nobody has the secret here; tcpdump says so first, if it has the data to check.
    header_end = option.at + option.room
    if option.view.has(header_end, option.data):
        yield "shared secret not supplied with -M, "
    else:
        yield "snaplen too short, "
    yield f"can't check - {option.view.raw(at, _MD5_SIZE).hex()}"


def _scps(option: _Option) -> Text:
    at = option.take(2)
    yield f" cap {option.view.u8(at):02x} id {option.view.u8(at + 1)}"


def _tcp_ao(option: _Option) -> Text:
    option.used = option.size
    if option.size < 2:
        yield " (invalid)"
        return
    option.check(1)
    yield f" keyid {option.view.u8(option.at)}"
    option.check(2)
    yield f" rnextkeyid {option.view.u8(option.at + 1)}"
    if option.size > 2:
        yield " mac 0x"
        yield from _hex(option, 2)


def _hex(option: _Option, start: int) -> Text:
    """Print the bytes from ``start`` to the option's end, as many as were captured."""
    for index in range(start, option.size):
        option.check(index + 1)
        yield f"{option.view.u8(option.at + index):02x}"


def _user_timeout(option: _Option) -> Text:
    value = option.view.u16(option.take(2))
    seconds = (value >> 1) * 60 if value & 1 else value >> 1
    yield f" 0x{value:x} {seconds}"


def _fast_open(option: _Option) -> Text:
    at = option.take(option.size)
    yield " "
    yield from _cookie(option, at, option.size)


def _cookie(option: _Option, at: int, size: int) -> Text:
    if not size:
        yield " cookiereq"
    elif size % 2 or not 4 <= size <= 16:
        yield " (invalid)"
    else:
        yield f" cookie {option.view.raw(at, size).hex()}"


def _experiment(option: _Option) -> Text:
    at = option.take(option.size)
    if option.size < 2:
        raise _BadError
    magic = option.view.u16(at)
    yield "-"
    if magic == _EXPERIMENT_FAST_OPEN:
        yield "tfo"
        yield from _cookie(option, at + 2, option.size - 2)
    else:
        yield f"{magic:04x}"


def _unknown(option: _Option) -> Text:
    option.used = option.size
    if option.size:
        yield " 0x"
    yield from _hex(option, 0)


def _mptcp(option: _Option) -> Text:
    at = option.take(option.size) - 2
    length = option.size + 2
    option.view.layer = "mptcp"  # and so it stays, for tcpdump, up to the segment's end
    if length < 3:
        raise _BadError
    subtype = option.view.u8(at + 2) >> 4
    name, printer = _MPTCP.get(subtype, ("unknown", _mp_unknown))
    yield f" {length} {name}"
    yield from printer(option.view, at, length, option.flags)


# Multipath TCP (RFC 6824, RFC 8684).  Offsets count from the option's kind byte.


def _mp_unknown(_: View, __: int, ___: int, ____: int) -> Text:
    return iter(())


def _mp_capable(view: View, at: int, length: int, flags: int) -> Text:
    on_syn = length in (4, 12) and flags & SYN
    on_ack = length in (20, 22) and flags & (SYN | ACK) == ACK
    if not (on_syn or on_ack):
        raise _BadError
    version = view.u8(at + 2) & 0xF
    if version > 1:
        yield f" Unknown Version ({version})"
        return
    yield f" v{version}"
    if view.u8(at + 3) & 0x80:
        yield " csum"
    if length >= 12:
        yield f" {{0x{view.u64(at + 4):x}"
        if length >= 20:
            yield f",0x{view.u64(at + 12):x}"
        yield "}"


def _mp_join(view: View, at: int, length: int, flags: int) -> Text:
    both = flags & (SYN | ACK)
    if not (
        (length == 12 and flags & SYN)
        or (length == 16 and both == SYN | ACK)
        or (length == 24 and flags & ACK)
    ):
        raise _BadError
    if length == 24:
        yield f" hmac 0x{view.raw(at + 4, 20).hex()}"
        return
    if view.u8(at + 2) & 0x01:
        yield " backup"
    yield f" id {view.u8(at + 3)}"
    if length == 12:
        yield f" token 0x{view.u32(at + 4):x} nonce 0x{view.u32(at + 8):x}"
    else:
        yield f" hmac 0x{view.u64(at + 4):x} nonce 0x{view.u32(at + 12):x}"


def _mp_dss(view: View, at: int, length: int, flags: int) -> Text:
    if length < 4 or flags & SYN:
        raise _BadError
    dss = view.u8(at + 3)
    if dss & 0x10:
        yield " fin"
    end = at + length
    at += 4

    def number(size: int) -> int:
        nonlocal at
        if end - at < size:
            raise _BadError
        at += size
        return int.from_bytes(view.raw(at - size, size), "big")

    if dss & 0x01:
        yield " ack "
        yield str(number(8 if dss & 0x02 else 4))
    if dss & 0x04:
        yield " seq "
        yield str(number(8 if dss & 0x08 else 4))
        yield f" subseq {number(4)}"
        yield f" len {number(2)}"
        if end - at >= 2:
            yield f" csum 0x{number(2):x}"
    if at != end:
        raise _BadError


_ADD_ADDRESS = {0x6: "v0-ip6", 0x4: "v0-ip4", 0x1: "v1-echo", 0x0: "v1"}


def _mp_add_address(view: View, at: int, length: int, _: int) -> Text:
    if length not in (8, 10, 16, 18, 20, 22, 28, 30):
        raise _BadError
    yield f" {_ADD_ADDRESS.get(view.u8(at + 2) & 0xF, '[bad version/echo]')}"
    yield f" id {view.u8(at + 3)}"
    size = 4 if length < 20 else 16
    yield f" {view.ip4(at + 4) if size == 4 else view.ip6(at + 4)}"
    at += 4 + size
    rest = length - 4 - size
    if rest in (2, 10):
        yield f":{view.u16(at)}"
        at += 2
    if rest >= 8:
        yield f" hmac 0x{view.u64(at):x}"


def _mp_remove_address(view: View, at: int, length: int, _: int) -> Text:
    if length < 4:
        raise _BadError
    yield " id"
    for index in range(3, length):
        yield f" {view.u8(at + index)}"


def _mp_priority(view: View, at: int, length: int, _: int) -> Text:
    if length not in (3, 4):
        raise _BadError
    yield " backup" if view.u8(at + 2) & 0x01 else " non-backup"
    if length == 4:
        yield f" id {view.u8(at + 3)}"


def _mp_fail(view: View, at: int, length: int, _: int) -> Text:
    if length != 12:
        raise _BadError
    yield f" seq {view.u64(at + 4)}"


def _mp_fast_close(view: View, at: int, length: int, _: int) -> Text:
    if length != 12:
        raise _BadError
    yield f" key 0x{view.u64(at + 4):x}"


_MPTCP: dict[int, tuple[str, Callable[[View, int, int, int], Text]]] = {
    0: ("capable", _mp_capable),
    1: ("join", _mp_join),
    2: ("dss", _mp_dss),
    3: ("add-addr", _mp_add_address),
    4: ("rem-addr", _mp_remove_address),
    5: ("prio", _mp_priority),
    6: ("fail", _mp_fail),
    7: ("fast-close", _mp_fast_close),
}

_PRINTERS: dict[int, Callable[[_Option], Text]] = {
    EOL: _nothing,
    NOP: _nothing,
    2: _u16,
    3: _u8,
    4: _nothing,
    5: _sack,
    6: _u32,
    7: _u32,
    8: _timestamp,
    11: _u32,
    12: _u32,
    13: _u32,
    19: _md5,
    20: _scps,
    28: _user_timeout,
    29: _tcp_ao,
    30: _mptcp,
    34: _fast_open,
    254: _experiment,
}
