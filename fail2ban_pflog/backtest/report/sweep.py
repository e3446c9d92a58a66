# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep as a document, as JSON and as CSV: all settings, and which of them may be followed.

A setting is compared with the jail as it is configured: how many of the sources that this bans
it bans too (and misses), and which it bans besides.  These may be scanners or honest hosts: a
person has to look.  The mark goes to the setting that misses the fewest, then bans the fewest
besides, then is nearest to the jail's own.  Never to one that bans a trusted source, nor to mode
``any``, which counts what honest hosts send; nor, as long as no ``--trust`` says what must not be
banned, to one that bans any source besides.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from ipaddress import ip_network
from typing import Any, NamedTuple, Optional

from ...options import seconds
from ..replay.sweep import Outcome
from .text import WIDTH, Document, Row, Table
from .words import count, duration

__all__ = ["Advice", "Besides", "as_dict", "as_table", "distance", "document"]

NEVER_MARKED = "any"

ANY = "mode=any, which jails that read text have, counts what honest hosts send"

OTHER_COLUMNS = 44
"""How wide the table is without the settings."""

MOST_LISTED = 20
"""Sources in the report's tables; JSON has them all."""

MOST_NAMED = 3
"""Trusted sources that the advice names."""

LEGEND = textwrap.fill(
    "Kept: of the sources that the jail bans as configured. Besides: banned, but not by the jail "
    "as configured. Trusted: named by --trust. Delay: from being first counted to the ban, median "
    "of those that the jail bans as configured; one that is missed waits for ever.",
    WIDTH,
)


class Besides(NamedTuple):
    """A source that some settings ban, but not the jail as configured.

    Attributes:
        source: as fail2ban names it.
        strictest: index of the setting that bans the fewest sources, and it among them.
        by: how many settings ban it.
    """

    source: str
    strictest: int
    by: int


class Advice:
    """What follows from a sweep.

    Args:
        outcomes: of all settings.
        configured: of the jail as it is configured.
        own: what the jail itself says of the options that were swept.
        knows_trust: whether anything is trusted.

    Attributes:
        now: the sources that the jail bans as configured, but for trusted ones.
    """

    def __init__(
        self, outcomes: Sequence[Outcome], configured: Outcome, own: Mapping[str, str],
        knows_trust: bool,
    ) -> None:  # fmt: skip
        self.outcomes = outcomes
        self.now = [source for source in configured.delays if source not in configured.trusted]
        self._own = own
        self._knows_trust = knows_trust
        banned = {source for outcome in outcomes for source in outcome.delays}
        self._lengths = {int(name.partition("/")[2]) for name in banned.union(self.now)
                         if "/" in name}  # fmt: skip
        self._kept = [self._overlapping(self.now, outcome.delays) for outcome in outcomes]
        self._besides = [
            set(outcome.delays) - self._overlapping(outcome.delays, self.now) - set(outcome.trusted)
            for outcome in outcomes
        ]

    def kept(self, index: int) -> int:
        """How many of the sources that are banned now a setting bans too."""
        return len(self._kept[index])

    def besides(self, index: int) -> int:
        """How many others it bans."""
        return len(self._besides[index])

    def delay(self, index: int) -> float:
        """The median delay of the sources that are banned now; infinity where it is missed."""
        delays = self.outcomes[index].delays
        found = sorted(
            min((delays[name] for name in self._names(source) if name in delays), default=math.inf)
            for source in self.now
        )
        return found[(len(found) - 1) // 2] if found else math.inf

    def _overlapping(self, sources: Iterable[str], others: Iterable[str]) -> set[str]:
        """Return those of the sources that are among others, or in a network with one."""
        those = set(others)
        if not self._lengths:
            return those.intersection(sources)
        around = {name for other in those for name in self._names(other)}
        return {
            each for each in sources if each in around or not those.isdisjoint(self._names(each))
        }

    def _names(self, source: str) -> list[str]:
        """Return a source and the IPv6 networks that it is in, as fail2ban names them."""
        if ":" not in source or not self._lengths:
            return [source]
        network = ip_network(source)
        larger = [length for length in self._lengths if length < network.prefixlen]
        return [source, *(str(network.supernet(new_prefix=length)) for length in larger)]

    @cached_property
    def best(self) -> Optional[int]:
        """Index of the setting that gets the mark, or None."""
        allowed = [
            index
            for index, outcome in enumerate(self.outcomes)
            if outcome.mode != NEVER_MARKED
            and not outcome.trusted
            and self._kept[index]
            and (self._knows_trust or not self._besides[index])
        ]
        return min(allowed, key=self._rating, default=None)

    def _rating(self, index: int) -> tuple[int, int, float, int]:
        apart = distance(self.outcomes[index].settings, self._own)
        return -self.kept(index), self.besides(index), apart, len(self.outcomes[index].delays)

    @cached_property
    def sentence(self) -> str:
        """What to do, and why."""
        if self.best is not None:
            return self._why_this(self.best)
        none = "No setting is recommended"
        usable = [index for index, each in enumerate(self.outcomes) if each.mode != NEVER_MARKED]
        if not usable:
            return f"{none}: {ANY}."
        if all(self.outcomes[index].trusted for index in usable):
            fewest = min(usable, key=lambda each: len(self.outcomes[each].trusted))
            hit = self.outcomes[fewest].trusted
            named = ", ".join(hit[:MOST_NAMED]) + (" ..." if len(hit) > MOST_NAMED else "")
            return (
                f"{none}: each bans trusted sources. The fewest are banned by "
                f"{self.words(fewest)}, {len(hit):,}: {named}. Name them in ignoreip, or sweep "
                "stricter settings."
            )
        if not self.now:
            return (
                f"{none}: as configured the jail bans no source here, so nothing shows whether "
                "those that other settings ban are scanners. They may be honest."
            )
        if not any(self._kept):
            return f"{none}: none bans any of the {len(self.now):,} sources that are banned now."
        return (
            f"{none}: each bans other sources than the jail as configured. Look at them, then name "
            "what no jail may ban: --trust with your own networks, customers and monitoring."
        )

    def _why_this(self, index: int) -> str:
        kept, of, besides = self.kept(index), len(self.now), self.besides(index)
        words = f"* {self.words(index)} bans "
        words += f"all {of:,}" if kept == of else f"{kept:,} of {of:,}"
        words += " sources that the jail bans as configured, and "
        words += f"{besides:,} besides: look at them before you paste." if besides else "no other."
        return words if self._knows_trust else f"{words} No --trust says what must not be banned."

    def words(self, index: int) -> str:
        """A setting in one line: ``maxretry=5 findtime=1m``."""
        settings = self.outcomes[index].settings
        return " ".join(f"{name}={value}" for name, value in settings.items())

    @cached_property
    def trusted(self) -> dict[str, list[int]]:
        """Trusted source -> indexes of the settings that ban it."""
        return _by_source(outcome.trusted for outcome in self.outcomes)

    @cached_property
    def look_at(self) -> list[Besides]:
        """All sources that are banned besides, those of the marked setting first.

        Then come those that most settings ban, last those that mode ``any`` alone bans.
        """
        marked = self._besides[self.best] if self.best is not None else set()

        def strictness(index: int) -> tuple[bool, int]:
            outcome = self.outcomes[index]
            return outcome.mode == NEVER_MARKED, len(outcome.delays)

        found = [
            Besides(source, min(by, key=strictness), len(by))
            for source, by in _by_source(self._besides).items()
        ]
        return sorted(
            found,
            key=lambda each: (
                each.source not in marked, strictness(each.strictest)[0], -each.by, each.source
            ),
        )  # fmt: skip


def _by_source(sources: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    by: dict[str, list[int]] = {}
    for index, some in enumerate(sources):
        for source in some:
            by.setdefault(source, []).append(index)
    return by


def distance(settings: Mapping[str, str], own: Mapping[str, str]) -> float:
    """Return how far settings are from the jail's own: the sum of the options' ratios."""
    return sum(_apart(value, own.get(name, "")) for name, value in settings.items())


def _apart(one: str, other: str) -> float:
    if one.strip() == other.strip():
        return 0.0
    try:
        return abs(math.log(seconds(one) / seconds(other)))  # numbers are times as well
    except (ValueError, ZeroDivisionError):
        return 1.0


# -- for people ------------------------------------------------------------------------------


def document(
    jail: str, common: Mapping[str, str], advice: Advice, paste: Optional[Mapping[str, str]] = None
) -> Document:
    """Make the sweep's tables, and the jail to paste.

    Args:
        jail: its name.
        common: settings that all have in common, from ``--set``.
        advice: on the sweep.
        paste: the marked setting, as jail.local has it.
    """
    outcomes = advice.outcomes
    names = [name for name in outcomes[0].settings if name not in common]
    parts: Document = [_settings_table(jail, names, advice), LEGEND]
    if any(outcome.mode == NEVER_MARKED for outcome in outcomes):
        parts[-1] = f"{LEGEND}\n{textwrap.fill(f'{ANY}: it is never marked.', WIDTH)}"
    parts.append(textwrap.fill(advice.sentence, WIDTH))
    of = count(len(outcomes), "setting")
    if advice.trusted:
        strictest = {
            source: min(by, key=lambda index: len(outcomes[index].delays))
            for source, by in advice.trusted.items()
        }
        rows = [
            Row((source, f"{len(by):,} of {of}, the strictest: {advice.words(strictest[source])}"),
                (), True)
            for source, by in advice.trusted.items()
        ]  # fmt: skip
        parts.append(_short_table("Trusted sources that would be banned", "By", rows))
    if advice.look_at:
        rows = [
            Row(
                (each.source, f"{each.by:,} of {of}, the strictest: {advice.words(each.strictest)}")
            )
            for each in advice.look_at
        ]
        title = "Banned besides; explain --source shows what each did"
        parts.append(_short_table(title, "By", rows))
    if paste is not None:
        lines = [f"[{jail}]", "enabled = true"]
        lines += [f"{name} = " + "\n    ".join(value.splitlines()) for name, value in paste.items()]
        parts.append("For jail.local:\n\n" + "\n".join(lines))
    return parts


def _short_table(title: str, last: str, rows: list[Row]) -> Table:
    if len(rows) > MOST_LISTED:
        title += f" (the first {MOST_LISTED} of {len(rows):,})"
    return Table(title, ("Source", last), rows[:MOST_LISTED])


def _settings_table(jail: str, names: Sequence[str], advice: Advice) -> Table:
    settings = [[outcome.settings[name] for name in names] for outcome in advice.outcomes]
    width = sum(max(map(len, (name, *values))) + 2 for name, values in zip(names, zip(*settings)))
    below = width > WIDTH - OTHER_COLUMNS  # where there is no room beside the numbers
    rows = []
    for index, (outcome, values) in enumerate(zip(advice.outcomes, settings)):
        late = advice.delay(index)
        cells = (
            "*" if index == advice.best else "",
            *(() if below else values),
            f"{len(outcome.delays):,}",
            f"{advice.kept(index):,}",
            f"{advice.besides(index):,}",
            f"{len(outcome.trusted):,}",
            "" if not advice.now else "never" if math.isinf(late) else duration(late),
        )
        note = "  ".join(f"{name}={value}" for name, value in zip(names, values))
        rows.append(Row(cells, (note,) if below else (), bool(outcome.trusted)))
    heads = [f"{name} " for name in (() if below else names)]
    title = (
        f"Jail {jail}: {count(len(rows), 'setting')}; as configured it bans "
        f"{count(len(advice.now), 'source')}"
    )
    return Table(title, ("", *heads, "Banned ", "Kept ", "Besides ", "Trusted ", "Delay "), rows)


# -- for programs ----------------------------------------------------------------------------


def as_dict(jail: str, advice: Advice) -> dict[str, Any]:
    """Return the sweep as JSON has it; a delay of null is for ever."""
    return {
        "jail": jail,
        "advice": advice.sentence,
        "now": advice.now,
        "besides": [
            {**each._asdict(), "strictest": advice.outcomes[each.strictest].settings}
            for each in advice.look_at
        ],
        "settings": [_setting_dict(advice, index) for index in range(len(advice.outcomes))],
    }


def _setting_dict(advice: Advice, index: int) -> dict[str, Any]:
    outcome: Outcome = advice.outcomes[index]
    return {
        "settings": outcome.settings,
        "best": index == advice.best,
        "bans": outcome.bans,
        "banned": list(outcome.delays),
        "kept": advice.kept(index),
        "missed": len(advice.now) - advice.kept(index),
        "besides": advice.besides(index),
        "trusted": outcome.trusted,
        "delay": None if math.isinf(late := advice.delay(index)) else round(late, 6),
        "prevented": outcome.prevented,
        "prevented_share": round(outcome.share, 6),
    }


_NUMBERS = (
    "bans", "kept", "missed", "besides", "trusted", "delay", "prevented", "prevented_share",
)  # fmt: skip


def as_table(advice: Advice) -> tuple[list[str], list[list[Any]]]:
    """Return the sweep as CSV has it: columns and rows, one per setting."""
    rows = []
    for index in range(len(advice.outcomes)):
        each = _setting_dict(advice, index)
        each["trusted"] = len(each["trusted"])
        numbers = ("" if each[name] is None else each[name] for name in _NUMBERS)
        rows.append([*each["settings"].values(), int(each["best"]), *numbers])
    return [*advice.outcomes[0].settings, "best", *_NUMBERS], rows
