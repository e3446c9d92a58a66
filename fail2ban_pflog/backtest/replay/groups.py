# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails that differ in maxretry alone, judged as one for as long as they agree.

How many failures of a source fail2ban counts does not depend on maxretry until it bans
the source.  So one judge that never bans, the lead, counts for all members; whom it
counts to a member's maxretry, that member bans.  From then on the source's packets come
to this member itself, which has forgotten of it what fail2ban forgets with a ban: all
that it counted, and the ports that it remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from ...pflog.savefile import Record
from .configuration import Configuration
from .replay import Judge

__all__ = ["NEVER", "Family", "families"]

ADDRESS_BITS = 128

NEVER = 2**31 - 1
"""A maxretry that no source comes to."""


class Family:
    """Feeds judges whose jails differ in nothing but maxretry.

    lead: a judge of the same jail with maxretry NEVER.
    """

    def __init__(self, lead: Judge, members: Sequence[Judge]) -> None:
        ordered = sorted(members, key=lambda judge: judge.maxretry)
        self.lead = lead
        self._members = ordered
        self._limits = [judge.maxretry for judge in ordered]
        # Source -> how many members banned it ever, those of the lowest maxretry.
        self._bans: dict[Any, int] = {}
        self._banned_by = [ordered[:count] for count in range(len(ordered) + 1)]
        lead.on_failure = self._failure
        lead.dedup.hold = min(judge.dedup.hold for judge in members)

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> None:
        """Let a packet be judged; arguments as of ``Judge.packet``."""
        count = self._bans.get(source, 0)
        for member in self._banned_by[count]:
            member.packet(record, byteorder, time, source, number)
        if count < len(self._members):
            self.lead.packet(record, byteorder, time, source, number)

    def _failure(self, ticket: Any, attempts: int) -> None:
        """Let those ban for whom it is enough."""
        key = self.lead.key(ticket)
        count = self._bans.get(key, 0)
        while count < len(self._members) and attempts >= self._limits[count]:
            self._members[count].take_over(self.lead, ticket, attempts)
            count += 1
            self._bans[key] = count


def families(
    configuration: Configuration,
    name: str,
    settings: Sequence[Mapping[str, str]],
    judges: Iterable[Judge],
) -> list[Union[Family, Judge]]:
    """Put the judges of a jail's settings together where that is possible.

    settings: of each judge, as they were loaded.  Raises ConfigurationError.
    """
    alike: dict[str, list[tuple[Mapping[str, str], Judge]]] = {}
    fed: list[Union[Family, Judge]] = []
    for each, judge in zip(settings, judges):
        # With prefix6 what is banned may be another source than what was counted.
        if judge.needs_all or judge.filter.options.prefix6 < ADDRESS_BITS:
            fed.append(judge)
        else:
            alike.setdefault(configuration.but_maxretry(name, each), []).append((each, judge))
    for key, members in alike.items():
        never = {**members[0][0], "maxretry": str(NEVER)}
        if len(members) > 1 and configuration.but_maxretry(name, never) == key:
            lead = Judge(configuration.load(name, never), evidence=False, lines=False)
            fed.append(Family(lead, [judge for _, judge in members]))
        else:
            fed += [judge for _, judge in members]
    return fed
