# SPDX-License-Identifier: GPL-2.0-or-later
"""Every step of the way of some packets: policy, distinct table, expressions, counter, verdict.

All packets go through the judge as in a backtest, for a verdict depends on those before;
the filter's own functions are watched from outside while one that was asked for does.
Other jails are given the source's packets as well, to be told of in the summary.
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
from ..replay.replay import Ban, Judge
from .words import duration, moment

__all__ = ["COUNTED", "Explainer", "Explanation", "Tally"]


class Explanation(NamedTuple):
    """What happened with one packet.

    number: of the packet in the captures, from 1.  time: seconds since the epoch.
    packet: None where it cannot be read.  line: with its time.
    reason: the policy's, None where it was not asked.
    steps: what was decided on the way, in sentences.  verdict: what came of it.
    fate: what became of it in a word, COUNTED and its like.
    """

    number: int
    time: float
    packet: Optional[Packet]
    line: str
    reason: Optional[Kind]
    steps: tuple[str, ...]
    verdict: str
    fate: str


class Tally:
    """What came of a source's packets in all.

    packets: how many there were.  fates: what became of them -> how many.
    let_be: those that the mode does not count, by reason.
    bans: (which of its packets brought it, the ban).  highest: what it was counted to.
    """

    def __init__(self) -> None:
        self.packets = 0
        self.fates: Counter[str] = Counter()
        self.let_be: Counter[Kind] = Counter()
        self.bans: list[tuple[int, Ban]] = []
        self.highest = 0.0


class Explainer:
    """Watches one judge.

    source: 4 or 16 bytes, the packets to explain; or None.  number: of one packet; or None.
    others: judges of other jails, which are given the source's packets alone.

    tally: of the packets that were explained.
    """

    def __init__(
        self,
        judge: Judge,
        source: Optional[bytes],
        number: Optional[int],
        others: Sequence[Judge] = (),
    ) -> None:
        self.tally = Tally()
        self._judge = judge
        self._source = source
        self._number = number
        self._others = others
        self._stamps = Stamps()
        self._formatters = {order: Formatter(order) for order in "<>"}
        self.read = 0
        self._is_new: Optional[bool] = None
        self._reason: Optional[Kind] = None
        self._found: Optional[list[Any]] = None
        self._line: Any = None
        self._ignored: list[str] = []
        self._ignoring: Optional[int] = None  # number of the ignoreregex that matched
        self._attempts = 0.0
        self._weight = 1.0  # what one packet of a source that was banned before counts as
        for other in others:
            other.dedup.hold = 1
        self._watch_policy()
        self._watch()

    def explain(
        self,
        captures: Captures,
        tell: Callable[[Explanation], None],
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Judge all packets; call ``tell`` for those that were asked for.

        report: called after each batch with the number of packets so far.
        Stops behind the packet, if it was one.
        """
        for byteorder, records in captures:
            for record in records:
                self.read += 1
                explanation = self._packet(record, byteorder)
                if explanation is not None:
                    tell(explanation)
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
        self._is_new = self._reason = self._found = self._ignoring = None
        self._ignored = []
        failed = self._judge.problem
        self._attempts, self._weight = 0.0, 1.0
        bans = len(self._judge.bans)
        prevented = self._judge.packet(record, byteorder, time, source, self.read)
        if source != self._source and self.read != self._number:
            return None
        self.tally.packets += 1
        self.tally.highest = max(self.tally.highest, self._attempts)
        for other in self._others:
            set_time(time)
            other.packet(record, byteorder, time, source, self.tally.packets)
        line = formatter.text(packet, frame) if packet else f"cannot be read: {problem}"
        fate, steps, verdict = self._tell(prevented, packet is not None)
        if self._judge.problem != failed:
            verdict = f"not judged: {self._judge.problem}"
        if len(self._judge.bans) > bans:
            ban = self._judge.bans[-1]
            self.tally.bans.append((self.tally.packets, ban))
            verdict += f": {ban.source} is banned for {duration(ban.end - ban.time)}"
        self.tally.fates[fate] += 1
        if fate == LET_BE and self._reason is not None:
            self.tally.let_be[self._reason] += 1
        line = f"{self._stamps.text(seconds, microseconds)} {line}"
        return Explanation(self.read, time, packet, line, self._reason, tuple(steps), verdict, fate)

    # -- watching ----------------------------------------------------------------------

    def _watch_policy(self) -> None:
        classifier, dedup = self._judge.pipeline.classifier, self._judge.dedup
        dedup.hold = 1  # no verdict depends on it, and each packet is told when it comes
        refine, take = classifier.refine, dedup.take

        def note_kind(*arguments: Any) -> Kind:
            self._reason = refine(*arguments)
            return self._reason

        def note_passed(*arguments: Any) -> Any:
            passed = take(*arguments)
            self._is_new = bool(passed)
            return passed

        classifier.refine = note_kind  # type: ignore[assignment,method-assign]
        dedup.take = note_passed  # type: ignore[assignment,method-assign]

    def _watch(self) -> None:
        """Put our own functions before those of the filter, to note what they return."""
        filter_: Any = self._judge.filter
        find, ignore = filter_.processLine, filter_.logIgnoreIp
        count = filter_.failManager.addFailure
        is_ignored, ignores_line = filter_._inIgnoreIPList, filter_._ignoreLine

        def note_found(line: Any, date: Any = None) -> list[Any]:
            self._line = line
            found: list[Any] = find(line, date)
            self._found = found
            return found

        def note_ignored(ip: Any, log_ignore: bool, ignore_source: str = "") -> None:
            if log_ignore:
                self._ignored.append(ignore_source)
            ignore(ip, log_ignore, ignore_source)

        def note_is_ignored(*arguments: Any) -> bool:
            ignored: bool = is_ignored(*arguments)
            if ignored and not self._ignored:
                self._ignored.append("ignorecache")
            return ignored

        def note_line(*arguments: Any) -> Optional[int]:
            number: Optional[int] = ignores_line(*arguments)
            if number is not None:
                self._ignoring = number
            return number

        def note_count(ticket: Any, number: float = 1, observed: bool = False) -> Any:
            if observed:  # once more: the source was banned before
                self._weight += number
            attempts = count(ticket, number, observed)
            # Behind the packet that completes a ban fail2ban says 0.
            self._attempts = max(self._attempts, attempts)
            return attempts

        filter_.processLine = note_found
        filter_.logIgnoreIp = note_ignored
        filter_._inIgnoreIPList = note_is_ignored
        filter_._ignoreLine = note_line
        filter_.failManager.addFailure = note_count

    # -- in words ----------------------------------------------------------------------

    def _tell(self, prevented: Optional[Ban], is_pflog: bool) -> tuple[str, list[str], str]:
        """What became of the packet, the steps to it, and the verdict."""
        if prevented is not None:
            verdict = "prevented: it would not have been logged"
            return PREVENTED, [f"banned since {moment(prevented.time)}"], verdict
        if not is_pflog:
            return NO_LINE, [], "makes no line: it is no pflog frame"
        counts = self._judge.pipeline.classifier.counts
        if self._reason is None:
            return NO_LINE, ["bpf: the backend's option does not match"], "not read"
        what = f"distinct={self._judge.dedup.what}"
        steps = [f"{self._reason}: {self._reason.words}; {self._policy(self._reason)}"]
        if not counts(self._reason):
            return LET_BE, steps, "let be: makes no line"
        if not self._is_new:
            steps.append(f"{what}: the source asked for this before")
            return REPEATED, steps, "a repeat: makes no line"
        if self._judge.dedup.what != "none":
            steps.append(f"{what}: new")
        return self._count(steps)

    def _count(self, steps: list[str]) -> tuple[str, list[str], str]:
        """The same, of a packet that made a line."""
        steps += self._expressions()
        if not self._found:
            return NOT_COUNTED, steps, "not counted"
        if self._ignored:
            return NOT_COUNTED, [*steps, f"ignored: {', '.join(self._ignored)}"], "not counted"
        within = duration(self._judge.filter.getFindTime())
        retries = self._judge.maxretry
        verdict = f"{min(self._attempts, retries):g} of {retries} within {within}"
        if self._weight > 1:
            verdict = f"counts as {self._weight:g}, for it was banned before: {verdict}"
        return COUNTED, steps, verdict

    def _policy(self, reason: Kind) -> str:
        mode = f"mode={self._judge.pipeline.classifier.mode}"
        if self._judge.pipeline.classifier.counts(reason):
            return f"{mode} counts it"
        other = _COUNTED.get(reason.rank)
        return f"{mode} does not count it" + (f", mode={other} does" if other else ", no mode does")

    def _expressions(self) -> list[str]:
        filter_: Any = self._judge.filter
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
                return [
                    f"failregex {number} of {len(expressions)} matches, but tells of no failure"
                ]
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


COUNTED, REPEATED, LET_BE = "counted", "repeats", "let be"
PREVENTED, NOT_COUNTED, NO_LINE = "would not have come", "not counted", "not read"

_COUNTED = {Rank.AGGRESSIVE: "aggressive", Rank.ANY: "any"}
