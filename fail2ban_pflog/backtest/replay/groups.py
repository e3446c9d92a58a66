# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails that differ in maxretry alone, replayed as one for as long as they agree.

How many failures of a source fail2ban counts does not depend on maxretry until it bans the
source.  So one replay that never bans, the lead, counts for all members; once a source's count
comes to a member's maxretry, that member bans it.  From then on the source's packets come to this
member itself, which has forgotten what fail2ban forgets with a ban: all that it counted of the
source, and the ports that it remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from ...pflog.savefile import Record
from .configuration import Configuration
from .replay import Replay

__all__ = ["NEVER", "MaxretryGroup", "group_by_maxretry"]

NEVER = 2**31 - 1
"""A maxretry that no source comes to."""


class MaxretryGroup:
    """Feeds replays of jails that differ in nothing but maxretry.

    Args:
        lead: a replay of the same jail with maxretry NEVER.
        members: the replays.
    """

    def __init__(self, lead: Replay, members: Sequence[Replay]) -> None:
        ordered = sorted(members, key=lambda replay: replay.maxretry)
        self.lead = lead
        self._members = ordered
        self._limits = [replay.maxretry for replay in ordered]
        # Source -> how many members banned it ever, those of the lowest maxretry.
        self._bans: dict[Any, int] = {}
        self._banned_by = [ordered[:count] for count in range(len(ordered) + 1)]
        lead.on_failure = self._failure
        lead.dedup.hold = min(replay.dedup.hold for replay in members)

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> None:
        """Feed a packet; arguments as of ``Replay.packet``."""
        count = self._bans.get(source, 0)
        for member in self._banned_by[count]:
            member.packet(record, byteorder, time, source, number)
        if count < len(self._members):
            self.lead.packet(record, byteorder, time, source, number)

    def _failure(self, ticket: Any, attempts: int) -> None:
        """Let the members ban that have reached their maxretry."""
        key = self.lead.key(ticket)
        count = self._bans.get(key, 0)
        while count < len(self._members) and attempts >= self._limits[count]:
            self._members[count].take_over(self.lead, ticket, attempts)
            count += 1
            self._bans[key] = count


def group_by_maxretry(
    configuration: Configuration,
    name: str,
    settings: Sequence[Mapping[str, str]],
    replays: Iterable[Replay],
) -> list[Union[MaxretryGroup, Replay]]:
    """Put the replays of a jail's settings together where that is possible.

    Args:
        configuration, name: of the jail.
        settings: of each replay, as they were loaded.
        replays: of the settings.

    Raises:
        ConfigurationError: the jail cannot be made.
    """
    alike: dict[str, list[tuple[Mapping[str, str], Replay]]] = {}
    fed: list[Union[MaxretryGroup, Replay]] = []
    for each, replay in zip(settings, replays):
        options = replay.filter.options
        # With prefixes what is banned may be another source than what was counted.
        if replay.needs_all or options.prefix6 < 128 or options.prefix4 < 32:
            fed.append(replay)
        else:
            alike.setdefault(configuration.but_maxretry(name, each), []).append((each, replay))
    for key, members in alike.items():
        never = {**members[0][0], "maxretry": str(NEVER), "hold": "1"}
        if len(members) > 1 and configuration.but_maxretry(name, never) == key:
            lead = Replay(configuration.load(name, never), evidence=False, lines=False)
            fed.append(MaxretryGroup(lead, [replay for _, replay in members]))
        else:
            fed += [replay for _, replay in members]
    return fed
