# SPDX-License-Identifier: GPL-2.0-or-later
"""Every step of the way of some packets: line, distinct table, expressions, counter, verdict.

All packets go through the judge as in a backtest, for a verdict depends on those before;
the filter's own functions are watched from outside while one that was asked for does.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Optional

from ...distinct import Verdict
from ...errors import PflogError
from ...formatter import Formatter
from ...packet import Packet
from ...savefile import Record
from ...scan import Rank, Reason
from ...sources.captures import Captures
from ...stamps import Stamps
from ..judging.jails import set_time
from ..judging.judge import Ban, Judge
from .words import duration, moment

__all__ = ["Explainer", "Explanation"]


class Explanation(NamedTuple):
    """What happened with one packet.

    number: of the packet in the captures, from 1.  line: with its time.
    steps: what was decided on the way, in sentences.  verdict: what came of it.
    """

    number: int
    line: str
    steps: list[str]
    verdict: str

    @property
    def text(self) -> str:
        """As it is printed."""
        steps = "".join(f"    {step}\n" for step in self.steps)
        return f"{self.number}: {self.line}\n{steps}    -> {self.verdict}\n"


class Explainer:
    """Watches one judge.

    source: 4 or 16 bytes, the packets to explain; or None.  number: of one packet; or None.
    """

    def __init__(self, judge: Judge, source: Optional[bytes], number: Optional[int]) -> None:
        self._judge = judge
        self._source = source
        self._number = number
        self._stamps = Stamps()
        self._formatters = {order: Formatter(order) for order in "<>"}
        self._count = 0
        self._verdict: Optional[Verdict] = None
        self._reason: Optional[Reason] = None
        self._found: Optional[list[Any]] = None
        self._line: Any = None
        self._ignored: list[str] = []
        self._ignoring: Optional[int] = None  # number of the ignoreregex that matched
        self._attempts = 0
        self._watch_distinct()
        self._watch()

    def explain(
        self,
        captures: Captures,
        tell: Callable[[Explanation], None],
        report: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Judge all packets; call ``tell`` for those that were asked for.

        report: called after each batch with the number of packets so far.
        Returns how many were told.  Stops behind the packet, if it was one.
        """
        told = 0
        for byteorder, records in captures:
            for record in records:
                self._count += 1
                explanation = self._packet(record, byteorder)
                if explanation is not None:
                    told += 1
                    tell(explanation)
                    if self._count == self._number:
                        return told
            report(self._count)
        return told

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
        self._verdict = self._reason = self._found = self._ignoring = None
        self._ignored = []
        failed = self._judge.problem
        self._attempts = 0
        bans = len(self._judge.bans)
        prevented = self._judge.packet(record, byteorder, time, source, self._count)
        if source != self._source and self._count != self._number:
            return None
        line = formatter.text(packet, frame) if packet else f"cannot be read: {problem}"
        steps, verdict = self._tell(prevented, packet is not None)
        if self._judge.problem != failed:
            verdict = f"not judged: {self._judge.problem}"
        if len(self._judge.bans) > bans:
            ban = self._judge.bans[-1]
            verdict = f"{ban.source} is banned for {duration(ban.end - ban.time)}"
        stamp = self._stamps.text(seconds, microseconds)
        return Explanation(self._count, f"{stamp} {line}", steps, verdict)

    # -- watching ----------------------------------------------------------------------

    def _watch_distinct(self) -> None:
        distinct = self._judge.distinct
        distinct.hold = 1  # no verdict depends on it, and each packet is told when it comes
        judge, why = distinct.judge, distinct.why

        def note_verdict(*arguments: Any) -> Verdict:
            self._verdict = judge(*arguments)
            return self._verdict

        def note_reason(*arguments: Any) -> Reason:
            self._reason = why(*arguments)
            return self._reason

        distinct.judge = note_verdict  # type: ignore[assignment,method-assign]
        distinct.why = note_reason  # type: ignore[assignment,method-assign]

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

        def note_count(*arguments: Any) -> int:
            self._attempts = count(*arguments)
            return self._attempts

        filter_.processLine = note_found
        filter_.logIgnoreIp = note_ignored
        filter_._inIgnoreIPList = note_is_ignored
        filter_._ignoreLine = note_line
        filter_.failManager.addFailure = note_count

    # -- in words ----------------------------------------------------------------------

    def _tell(self, prevented: Optional[Ban], is_pflog: bool) -> tuple[list[str], str]:
        if prevented is not None:
            since = f"banned since {moment(prevented.time)}"
            return [f"source: {since}"], "prevented: it would not have been logged"
        if self._verdict is None:
            if not is_pflog:
                return [], "makes no line: it is no pflog frame"
            return ["bpf: the expression of the backend's option does not match"], "not read"
        distinct = self._judge.distinct
        steps = [f"distinct={distinct.what}, mode={distinct.mode}: {self._distinct()}"]
        if self._verdict is not Verdict.PASS:
            return steps, "makes no line"
        steps += self._expressions()
        if not self._found:
            return steps, "not counted"
        if self._ignored:
            steps.append(f"ignored: {', '.join(self._ignored)}")
            return steps, "not counted"
        retries = self._judge.maxretry
        steps.append(
            f"counter: {self._attempts} of {retries} within "
            f"{duration(self._judge.filter.getFindTime())}"
        )
        return steps, "counted"

    def _distinct(self) -> str:
        why = f"{self._reason}: {self._reason.words}" if self._reason else "every line"
        if self._verdict is Verdict.PASS:
            new = "new" if self._judge.distinct.what != "none" else "every packet passes"
            return f"{new}; {why}"
        if self._verdict is Verdict.REPEAT:
            return f"a repeat: this source asked for it before; {why}"
        if self._verdict is Verdict.MUTED:
            return "muted: the source was banned a moment ago"
        counted = _COUNTED.get(self._reason.rank, "") if self._reason else ""
        return f"let be; {why}{counted}"

    def _expressions(self) -> list[str]:
        filter_: Any = self._judge.filter
        expressions = filter_.getFailRegex()
        if self._found:
            number = self._found[0][0]
            return [f"failregex {number + 1} of {len(expressions)} matches: {self._found[0][1]}"]
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


_COUNTED = {Rank.AGGRESSIVE: " (mode=aggressive counts it)", Rank.ANY: " (mode=any counts it)"}
