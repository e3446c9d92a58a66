"""Which packets tell fail2ban something new.

fail2ban counts lines; a scan is many ports, a client that tries again is many packets to
one.  So of each source's packets only the first to each port becomes a line, until the
port was quiet for a while, and ``maxretry`` reads "this many different ports".  It is
decided on raw bytes: a flood of repeats costs no line.  What no expression of the filter's
mode would match is left out as well, and so are the packets of a source that was banned,
until the firewall has caught up.

All times are the packets' own.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from ipaddress import ip_network
from typing import Optional, Union

from .scan import MODES, NOTHING, directions, read

__all__ = ["WHATS", "Distinct", "Verdict", "selectors"]


class Verdict(IntEnum):
    """What is to happen with a packet; only PASS becomes a line."""

    PASS = 0
    REPEAT = 1
    MUTED = 2
    LET_BE = 3


WHATS = ("port", "host", "none")

_PASS, _REPEAT, _MUTED, _LET_BE = Verdict


class Distinct:
    """Judges packets; one per jail.

    what: ``port``: one packet passes per source, destination, protocol and port; ``host``:
    one per source and destination (sweeps); ``none``: all that the mode counts.
    mode: the filter's mode, ``normal``, ``aggressive`` or ``any``.
    window: seconds, the jail's findtime; may be set at any time.
    direction: ``in``, ``out`` or ``in|out``, as the filter's option.
    prefix6: how many bits of an IPv6 source are one source, a multiple of 8; a scanner
    commonly owns all addresses of a /64.

    directions: the header's numbers of them.  prefix6_bytes: prefix6 in bytes.
    passed, repeats, muted, let_be: how many packets were judged so.  evicted: how many
    ports were forgotten early, for want of room.  unreadable: how many frames without a
    pflog header passed, for the formatter to tell what is wrong with them.

    Raises ValueError for options that do not exist.
    """

    MAX_KEYS = 65_536
    """Ports remembered, of all sources: 15 MB when full.  A flood of forged sources pushes the
    longest unseen ones out, and never those of a client that keeps trying."""

    MAX_BANNED = 16_384
    """Banned sources remembered, until as many others were banned."""

    REMEMBER = 3
    """A port is remembered for this many windows after it was last seen.  With one, a
    monitor that tries the same ten ports once per findtime would count twenty: fail2ban
    estimates what lies beyond the edge of its own window from the rate before."""

    def __init__(
        self,
        what: str = "port",
        mode: str = "normal",
        window: float = 300.0,
        direction: str = "in",
        prefix6: int = 128,
    ) -> None:
        if what not in WHATS:
            raise ValueError(f"distinct={what}: must be one of {', '.join(WHATS)}")
        if mode not in MODES:
            raise ValueError(f"mode={mode}: must be one of {', '.join(MODES)}")
        if prefix6 % 8 or not 8 <= prefix6 <= 128:
            raise ValueError(f"prefix6={prefix6}: must be a multiple of 8, 8 to 128")
        self.what = what
        self.mode = mode
        self.window = window
        self.passed = self.repeats = self.muted = self.let_be = 0
        self.evicted = self.unreadable = 0
        self._highest = MODES[mode]
        self.directions = directions(direction)
        self.prefix6_bytes = prefix6 // 8
        # Key -> (when last seen, the lowest rank that passed), longest unseen first.
        self._seen: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        # Source -> until when it is muted; what was seen of it before then is forgotten.
        self._banned: dict[bytes, float] = {}

    def __len__(self) -> int:
        """How many ports are remembered."""
        return len(self._seen)

    def judge(self, seconds: float, frame: bytes) -> Verdict:
        """Tell what is to happen with a frame, captured at ``seconds`` since the epoch.

        frame: as captured, pflog header included.  Never raises.
        """
        packet = read(frame, self.directions)
        if packet is None:
            self.unreadable += 1
            return _PASS
        rank, source, destination, protocol, port = packet
        if rank > self._highest or packet is NOTHING:
            self.let_be += 1
            return _LET_BE
        if len(source) == 16:
            source = source[: self.prefix6_bytes]
        muted_until = self._banned.get(source)
        if muted_until is not None and seconds < muted_until:
            self.muted += 1
            return _MUTED
        if self.what != "none":
            key = source + destination + selectors(frame)
            if self.what == "port":
                key += b"%c" % protocol + port
            if self._is_repeat(key, seconds, rank, muted_until):
                self.repeats += 1
                return _REPEAT
        self.passed += 1
        return _PASS

    def _is_repeat(
        self, key: bytes, seconds: float, rank: int, forgotten_before: Optional[float]
    ) -> bool:
        seen = self._seen
        known = seen.get(key)
        if known is None:
            if len(seen) >= self.MAX_KEYS:
                seen.popitem(last=False)
                self.evicted += 1
            seen[key] = (seconds, rank)
            return False
        last, lowest = known
        # A packet much older than the last one is as new as one much younger: clocks jump.
        repeat = abs(seconds - last) < self.window * self.REMEMBER and (
            forgotten_before is None or last >= forgotten_before
        )
        if repeat:
            # A filter in a lower mode than this may have let be what passed before.
            seen[key] = (max(last, seconds), min(lowest, rank))
            repeat = rank >= lowest
        else:
            seen[key] = (seconds, rank)
        seen.move_to_end(key)
        return repeat

    def banned(self, source: Union[bytes, str], now: float, mute_seconds: float) -> None:
        """Note that a source was banned at ``now``: mute it, and forget its ports.

        source: 4 or 16 bytes, or text, IPv6 also with its prefix length as in
        ``2001:db8:1:2::/64``.  Packets captured before ``now + mute_seconds`` are muted;
        after the ban ports count anew.
        Raises ValueError when the text is no address.
        """
        if isinstance(source, str):
            source = ip_network(source, strict=False).network_address.packed
        if len(source) == 16:
            source = source[: self.prefix6_bytes]
        self._banned.pop(source, None)
        if len(self._banned) >= self.MAX_BANNED:
            del self._banned[next(iter(self._banned))]
        self._banned[source] = now + mute_seconds


def selectors(frame: bytes) -> bytes:
    """Return the header's fields that an option of the filter may select by.

    Interface, ruleset, rule, subrule and direction, and the ridentifier where there is one.
    """
    length = frame[0]
    if length < 61:
        return frame[4:45]
    if 69 <= length < 100:
        return frame[4:44] + frame[60:61] + frame[64:68]
    return frame[4:44] + frame[60:61]
