# SPDX-License-Identifier: GPL-2.0-or-later
"""Every step of the way of some packets: policy, dedup table, expressions, counter, verdict.

All packets go through the replay as in a backtest, for a verdict depends on those before; the
filter's own functions are watched from outside.  Other jails are given the source's packets as
well, for the summary.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Optional

from ...errors import PflogError
from ...formatter import Formatter
from ...pflog.packet import Packet
from ...pflog.savefile import Record
from ...policy.kinds import Kind, Rank
from ...sources.captures import Captures
from ...wire.timestamps import Stamps
from ..replay.jail import set_time
from ..replay.patches import watch
from ..replay.replay import Ban, Replay
from .words import duration, moment

__all__ = ["COUNTED", "Explainer", "Explanation", "Tally"]


class Explanation(NamedTuple):
    """What happened with one packet.

    number: of the packet in the captures, from 1.  time: seconds since the epoch.
    packet: None where it cannot be read.  line: with its time.
    kind: of the packet, None where it was not classified.
    steps: what was decided on the way, in sentences.  verdict: what came of it.
    fate: what became of it in a word, COUNTED and its like.
    """

    number: int
    time: float
    packet: Optional[Packet]
    line: str
    kind: Optional[Kind]
    steps: tuple[str, ...]
    verdict: str
    fate: str


class Tally:
    """What came of a source's packets in all.

    packets: how many there were.  fates: what became of them -> how many.
    not_counted: those that the mode does not count, by reason.
    bans: (which of its packets brought it, the ban).  highest: what it was counted to.
    """

    def __init__(self) -> None:
        self.packets = 0
        self.fates: Counter[str] = Counter()
        self.not_counted: Counter[Kind] = Counter()
        self.bans: list[tuple[int, Ban]] = []
        self.highest = 0.0


class Explainer:
    """Watches one replay.

    source: 4 or 16 bytes, the packets to explain; or None.  number: of one packet; or None.
    others: replays of other jails, which are given the source's packets alone.

    tally: of the packets that were explained.
    """

    def __init__(
        self,
        replay: Replay,
        source: Optional[bytes],
        number: Optional[int],
        others: Sequence[Replay] = (),
        since: float = 0.0,
    ) -> None:
        self.tally = Tally()
        self._replay = replay
        self._source = source
        self._number = number
        self._others = others
        self._since = since
        self._stamps = Stamps()
        self._formatters = {order: Formatter(order) for order in "<>"}
        self.read = 0
        self._is_new: Optional[bool] = None
        self._kind: Optional[Kind] = None
        self._found: Optional[list[Any]] = None
        self._line: Any = None
        self._ignored: list[str] = []
        self._ignoring: Optional[int] = None  # number of the ignoreregex that matched
        self._attempts = 0.0
        self._weight = 1.0  # what one packet of a source that was banned before counts as
        for other in others:
            other.dedup.hold = 1
        self._watch_policy()
        self._watch_filter()

    def explain(
        self,
        captures: Captures,
        add: Callable[[Explanation], None],
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Replay all packets, up to the one that was asked for.

        Args:
            captures: where they are.
            add: called with each explanation.
            report: called after each batch with the number of packets so far.
        """
        for byteorder, records in captures:
            for record in records:
                if record[0] < self._since:
                    continue
                self.read += 1
                explanation = self._packet(record, byteorder)
                if explanation is not None:
                    add(explanation)
                    if self.read == self._number:
                        return
            report(self.read)

    def _packet(self, record: Record, byteorder: str) -> Optional[Explanation]:
        seconds, microseconds, frame = record
        time = seconds + microseconds / 1e6
        formatter = self._formatters[byteorder]
        packet: Optional[Packet] = None
        source = b""
        problem = ""
        try:
            packet = formatter.decode(frame)
            source = packet.source
        except PflogError as error:
            problem = error.reason
        set_time(time)
        self._is_new = self._kind = self._found = self._ignoring = None
        self._ignored = []
        failed = self._replay.problem
        self._attempts, self._weight = 0.0, 1.0
        bans = len(self._replay.bans)
        prevented = self._replay.packet(record, byteorder, time, source, self.read)
        if source != self._source and self.read != self._number:
            return None
        self.tally.packets += 1
        self.tally.highest = max(self.tally.highest, self._attempts)
        for other in self._others:
            set_time(time)
            other.packet(record, byteorder, time, source, self.tally.packets)
        line = formatter.text(packet, frame) if packet else f"cannot be read: {problem}"
        fate, steps, verdict = self._tell(prevented, packet is not None)
        if self._replay.problem != failed:
            verdict = f"no verdict: {self._replay.problem}"
        if len(self._replay.bans) > bans:
            ban = self._replay.bans[-1]
            self.tally.bans.append((self.tally.packets, ban))
            verdict += f": {ban.source} is banned for {duration(ban.end - ban.time)}"
        self.tally.fates[fate] += 1
        if fate == NOT_COUNTED and self._kind is not None:
            self.tally.not_counted[self._kind] += 1
        line = f"{self._stamps.text(seconds, microseconds)} {line}"
        return Explanation(self.read, time, packet, line, self._kind, tuple(steps), verdict, fate)

    # -- watching ----------------------------------------------------------------------

    def _watch_policy(self) -> None:
        """Note what the functions of the pipeline return."""
        dedup = self._replay.dedup
        dedup.hold = 1  # no verdict depends on it, and each packet is explained when it comes

        def kind(_: Any, kind: Kind) -> None:
            self._kind = kind

        def passed(_: Any, lines: Any) -> None:
            self._is_new = bool(lines)

        watch(self._replay.pipeline.classifier, "refine", kind)
        watch(dedup, "take", passed)

    def _watch_filter(self) -> None:
        """Note the same of the filter's functions."""
        filter_: Any = self._replay.filter

        def found(arguments: Any, found: list[Any]) -> None:
            self._line, self._found = arguments[0], found

        def ignore(arguments: Any, _: Any) -> None:
            if arguments[1]:
                self._ignored.append(arguments[2] if len(arguments) > 2 else "")

        def is_ignored(_: Any, ignored: bool) -> None:
            if ignored and not self._ignored:
                self._ignored.append("ignorecache")

        def ignores_line(_: Any, number: Optional[int]) -> None:
            if number is not None:
                self._ignoring = number

        def count(arguments: Any, attempts: float) -> None:
            if len(arguments) > 2 and arguments[2]:  # once more: the source was banned before
                self._weight += arguments[1]
            # Behind the packet that completes a ban fail2ban says 0.
            self._attempts = max(self._attempts, attempts)

        watch(filter_, "processLine", found)
        watch(filter_, "logIgnoreIp", ignore)
        watch(filter_, "_inIgnoreIPList", is_ignored)
        watch(filter_, "_ignoreLine", ignores_line)
        watch(filter_.failManager, "addFailure", count)

    # -- in words ----------------------------------------------------------------------

    def _tell(self, prevented: Optional[Ban], is_pflog: bool) -> tuple[str, list[str], str]:
        """What became of the packet, the steps to it, and the verdict."""
        if prevented is not None:
            verdict = "prevented: it would not have been logged"
            return PREVENTED, [f"banned since {moment(prevented.time)}"], verdict
        if not is_pflog:
            return NO_LINE, [], "makes no line: it is no pflog frame"
        counts = self._replay.pipeline.classifier.counts
        if self._kind is None:
            return NO_LINE, ["bpf: the backend's option does not match"], "not read"
        what = f"distinct={self._replay.dedup.what}"
        steps = [f"{self._kind}: {self._kind.words}; {self._policy(self._kind)}"]
        if not counts(self._kind):
            return NOT_COUNTED, steps, "not counted: makes no line"
        if not self._is_new:
            steps.append(f"{what}: the source asked for this before")
            return REPEATED, steps, "a repeat: makes no line"
        if self._replay.dedup.what != "none":
            steps.append(f"{what}: new")
        return self._count(steps)

    def _count(self, steps: list[str]) -> tuple[str, list[str], str]:
        """The same, of a packet that made a line."""
        steps += self._expressions()
        if not self._found:
            return NO_FAILURE, steps, "no failure"
        if self._ignored:
            return NO_FAILURE, [*steps, f"ignored: {', '.join(self._ignored)}"], "no failure"
        within = duration(self._replay.filter.getFindTime())
        retries = self._replay.maxretry
        verdict = f"{min(self._attempts, retries):g} of {retries} within {within}"
        if self._weight > 1:
            verdict = f"counts as {self._weight:g}, for it was banned before: {verdict}"
        return COUNTED, steps, verdict

    def _policy(self, reason: Kind) -> str:
        mode = f"mode={self._replay.pipeline.classifier.mode}"
        if self._replay.pipeline.classifier.counts(reason):
            return f"{mode} counts it"
        other = _COUNTED.get(reason.rank)
        return f"{mode} does not count it" + (f", mode={other} does" if other else ", no mode does")

    def _expressions(self) -> list[str]:
        filter_: Any = self._replay.filter
        expressions = filter_.getFailRegex()
        if self._found:
            number = self._found[0][0]
            return [f"failregex {number + 1} of {len(expressions)} matches {self._found[0][1]}"]
        if self._ignoring is not None:
            return [f"ignoreregex {self._ignoring + 1} matches"]
        buffer = "".join(self._line[::2]) + "\n"
        prefix = filter_.prefRegex
        if prefix is not None:
            prefix.search([self._line])
            if not prefix.hasMatched():
                return [f"prefregex: no match; {how_far(prefix.getRegex(), buffer)}"]
            buffer = prefix.getGroups().get("content", buffer) + "\n"
        for number, expression in enumerate(expressions, 1):
            if re.search(expression, buffer, re.MULTILINE):
                return [f"failregex {number} of {len(expressions)} matches, but is no failure"]
        return [f"failregex: none of {len(expressions)} matches {buffer.strip()[:120]!r}"]


def how_far(expression: str, text: str) -> str:
    """Say up to where an expression matches a text: by ever shorter beginnings of it."""
    for end, beginning in _beginnings(expression):
        match = beginning.search(text)
        if match and match.end():
            return f"it matches up to {match[0].strip()[-60:]!r}, but not {expression[end:][:40]!r}"
    return "not even its beginning matches"


@lru_cache(maxsize=16)
def _beginnings(expression: str) -> list[tuple[int, re.Pattern[str]]]:
    """The beginnings of an expression that are expressions, the longest first."""
    found = []
    for end in range(len(expression) - 1, 0, -1):
        with contextlib.suppress(re.error):
            found.append((end, re.compile(expression[:end])))
    return found


COUNTED, REPEATED, NOT_COUNTED = "counted", "repeats", "not counted"
PREVENTED, NO_FAILURE, NO_LINE = "would not have come", "no failures", "not read"

_COUNTED = {Rank.AGGRESSIVE: "aggressive", Rank.ANY: "any"}
