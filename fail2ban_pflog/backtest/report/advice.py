# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of a sweep's settings may be followed, and whom to look at before.

Banned sources are of three kinds: those that plainly scan by the policy (``judging.profile``),
those that are trusted, and all others, which are *doubtful*.  The mark goes to the setting
that bans the most of those that plainly scan, then the fewest doubtful, then is nearest to
what the jail says by itself.  Never to one that bans a trusted source, nor to mode ``any``,
which counts what honest hosts send; nor, as long as nobody said whom not to hit, to one that
bans a doubtful source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Optional

from ...options import seconds
from ..replay.profile import Profile, networks, with_networks
from ..replay.run import Trust
from ..replay.settings import Outcome

__all__ = ["Advice", "Doubtful", "in_words"]

NEVER_MARKED = "any"

MOST_NAMED = 3
"""Trusted sources that the advice names; a table has more."""


class Doubtful(NamedTuple):
    """A banned source that does not plainly scan.

    profile: what it does; None where it came but once, or too long ago to be remembered.
    strictest: index of the setting that bans the fewest sources, and it among them.
    by: how many settings ban it.
    """

    source: str
    profile: Optional[Profile]
    strictest: int
    by: int


class Advice:
    """What follows from a sweep.

    outcomes: of all settings.  profiles: source -> what it does.  trust: the trusted sources.
    own: what the jail says by itself of the options that were swept.

    scanners: those that plainly scan and are not trusted.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        profiles: Mapping[str, Profile],
        trust: Trust,
        own: Mapping[str, str],
    ) -> None:
        self.outcomes = outcomes
        self._knows_trust = bool(trust)
        self._own = own
        banned = {source for outcome in outcomes for source in outcome.delays}
        self._lengths = {name.partition("/")[2] for name in banned if "/" in name}
        self._profiles = with_networks(profiles, self._lengths)
        self.scanners = [
            source for source, each in profiles.items() if each.plain and source not in trust
        ]
        self._found = [self._of_scanners(outcome) for outcome in outcomes]
        self._doubtful = [self._doubtful_of(outcome) for outcome in outcomes]

    # -- of each setting -----------------------------------------------------------------

    def found(self, index: int) -> int:
        """How many of the scanners a setting bans."""
        return len(self._found[index])

    def doubtful(self, index: int) -> int:
        """How many doubtful sources it bans."""
        return len(self._doubtful[index])

    def delay(self, index: int) -> float:
        """The median delay of the scanners' first bans in seconds; of a missed one for ever."""
        found = self._found[index]
        delays = sorted(found.get(source, math.inf) for source in self.scanners)
        return delays[(len(delays) - 1) // 2] if delays else math.inf

    def _of_scanners(self, outcome: Outcome) -> dict[str, float]:
        """The scanners that a setting bans, by themselves or with their network -> the delay."""
        delays = outcome.delays
        found = {source: delays[source] for source in self.scanners if source in delays}
        if self._lengths:
            for source in self.scanners:
                for network in networks(source, self._lengths):
                    if network in delays:
                        found.setdefault(source, delays[network])
        return found

    def _doubtful_of(self, outcome: Outcome) -> set[str]:
        plain = {source for source in outcome.delays if self._is_plain(source)}
        return set(outcome.delays) - plain - set(outcome.trusted)

    def _is_plain(self, source: str) -> bool:
        profile = self._profiles.get(source)
        return profile is not None and profile.plain

    # -- of all ------------------------------------------------------------------------------

    @cached_property
    def best(self) -> Optional[int]:
        """Index of the setting that gets the mark, or None."""
        allowed = [
            index
            for index, outcome in enumerate(self.outcomes)
            if outcome.mode != NEVER_MARKED
            and not outcome.trusted
            and self._found[index]
            and (self._knows_trust or not self._doubtful[index])
        ]
        return min(allowed, key=self._rating, default=None)

    def _rating(self, index: int) -> tuple[int, int, float, int, int]:
        outcome = self.outcomes[index]
        return (
            -self.found(index),
            self.doubtful(index),
            distance(outcome.settings, self._own),
            len(outcome.delays),
            index,
        )

    @cached_property
    def sentence(self) -> str:
        """What to do, and why."""
        if self.best is not None:
            return self._why_this(self.best)
        counted = [index for index, each in enumerate(self.outcomes) if each.mode != NEVER_MARKED]
        if not counted:
            return f"No setting is recommended: {ANY}."
        if all(self.outcomes[index].trusted for index in counted):
            return self._none_is_clean(counted)
        if not self.scanners:
            return (
                "No setting is recommended: nobody here plainly scans, so this capture cannot "
                "tell which setting finds scanners. Whoever these settings ban may be honest."
            )
        if not any(self._found):
            return (
                f"No setting is recommended: none bans any of the {len(self.scanners):,} sources "
                "that plainly scan."
            )
        return (
            "No setting is recommended: each bans sources that may be honest. Look at them, then "
            "say whom no jail may ban: --trust with your own networks, customers and monitoring."
        )

    def _why_this(self, index: int) -> str:
        found, of = self.found(index), len(self.scanners)
        scanners = f"all {of:,} sources that plainly scan" if found == of else (
            f"{found:,} of {of:,} sources that plainly scan"
        )  # fmt: skip
        doubtful = self.doubtful(index)
        and_who = (
            f"{doubtful:,} that may be honest: look at them before you paste"
            if doubtful
            else "nobody else"
        )
        told = f"* {in_words(self.outcomes[index].settings)} bans {scanners}, and {and_who}."
        if not self._knows_trust:
            told += " It was not told whom it must not ban: --trust."
        return told

    def _none_is_clean(self, indexes: Sequence[int]) -> str:
        """Say which setting bans the fewest trusted sources, and which."""
        outcomes = self.outcomes
        best = min(indexes, key=lambda each: (len(outcomes[each].trusted), self._rating(each)))
        hit = outcomes[best].trusted
        named = ", ".join(hit[:MOST_NAMED]) + (" ..." if len(hit) > MOST_NAMED else "")
        return (
            "No setting is recommended: each bans trusted sources. The fewest are banned by "
            f"{in_words(outcomes[best].settings)}, {len(hit):,}: {named}. Name them in ignoreip, "
            "or sweep stricter settings."
        )

    @cached_property
    def trusted(self) -> dict[str, list[int]]:
        """Trusted source -> indexes of the settings that ban it."""
        by: dict[str, list[int]] = {}
        for index, outcome in enumerate(self.outcomes):
            for source in outcome.trusted:
                by.setdefault(source, []).append(index)
        return by

    @cached_property
    def look_at(self) -> list[Doubtful]:
        """All doubtful sources, whom to look at first first.

        That is whom the marked setting bans; then whom no mode but ``any`` bans comes last;
        then whom the policy itself names honest, then who is banned by the fewest settings.
        """
        by: dict[str, list[int]] = {}
        for index, sources in enumerate(self._doubtful):
            for source in sources:
                by.setdefault(source, []).append(index)
        found = [
            Doubtful(source, self._profiles.get(source), min(of, key=self._strictness), len(of))
            for source, of in by.items()
        ]
        marked = self._doubtful[self.best] if self.best is not None else set()
        return sorted(found, key=lambda each: (each.source not in marked, *self._urgency(each)))

    def _strictness(self, index: int) -> tuple[bool, int, int]:
        outcome = self.outcomes[index]
        return outcome.mode == NEVER_MARKED, len(outcome.delays), index

    def _urgency(self, each: Doubtful) -> tuple[bool, float, int, str]:
        profile = each.profile
        honest = profile.honest / profile.packets if profile else 0.0
        only_any = self.outcomes[each.strictest].mode == NEVER_MARKED
        return only_any, -honest, each.by, each.source


ANY = "mode=any, which jails that read text have, counts what honest hosts send"


def in_words(settings: Mapping[str, str]) -> str:
    """Settings in one line: ``maxretry=5 findtime=1m``."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def distance(settings: Mapping[str, str], own: Mapping[str, str]) -> float:
    """How far settings are from what the jail says by itself: the sum of the options' ratios."""
    return sum(_apart(value, own.get(name, "")) for name, value in settings.items())


def _apart(one: str, other: str) -> float:
    if one.strip() == other.strip():
        return 0.0
    try:
        first, second = seconds(one), seconds(other)  # numbers are times as well
        return abs(math.log(first / second))
    except (ValueError, ZeroDivisionError):
        return 1.0
