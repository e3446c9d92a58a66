# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails that differ in maxretry alone, replayed as one for as long as they agree.

How many failures of a source fail2ban counts does not depend on maxretry until it bans the
source.  So one replay that never bans, the lead, counts for all members; once a source's count
comes to a member's maxretry, that member bans it.  From then on the source's packets come to this
member itself, which has forgotten what fail2ban forgets with a ban: all that it counted of the
source, and the ports that it remembered.

A source is what ``prefix4`` and ``prefix6`` make of an address.  In a network that is not banned
as one, because it holds an ignored address, addresses share ports but are counted alone: its
packets go to each member from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Optional, Union

from fail2ban.server.ipdns import IPAddr

from ...pflog.savefile import Record
from .configuration import Configuration
from .replay import Replay

__all__ = ["NEVER", "MaxretryGroup", "group_by_maxretry"]

MAX_NETWORKS = 65_536
"""Networks of which it is remembered whether they are banned as one."""

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
        options = lead.filter.options
        sizes = {4: options.prefix4 < 32, 16: options.prefix6 < 128}
        self._with_prefix = {size for size, is_shorter in sizes.items() if is_shorter}
        self._alone: dict[bytes, bool] = {}  # network -> whether its addresses are banned alone
        lead.on_failure = self._failure
        lead.dedup.hold = min(replay.dedup.hold for replay in members)

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> None:
        """Feed a packet; arguments as of ``Replay.packet``."""
        key = self._key(source)
        count = len(self._members) if key is None else self._bans.get(key, 0)
        for member in self._banned_by[count]:
            member.packet(record, byteorder, time, source, number)
        if count < len(self._members):
            self.lead.packet(record, byteorder, time, source, number)

    def _failure(self, ticket: Any, attempts: int) -> None:
        """Let the members ban that have reached their maxretry."""
        address = str(ticket.getID()).partition("/")[0]
        key = self.lead.pipeline.classifier.source(ip_address(address).packed)
        count = self._bans.get(key, 0)
        while count < len(self._members) and attempts >= self._limits[count]:
            self._members[count].take_over(self.lead, ticket, attempts)
            count += 1
            self._bans[key] = count

    def _key(self, address: bytes) -> Optional[bytes]:
        """Return the source of an address; None where its network is not banned as one."""
        source = self.lead.pipeline.classifier.source(address)
        if len(address) not in self._with_prefix:
            return source
        if source not in self._alone:
            if len(self._alone) >= MAX_NETWORKS:
                self._alone.clear()
            filter_, options = self.lead.filter, self.lead.filter.options
            ip = IPAddr(str(ip_address(address)))
            network = filter_.network_of(ip, options.prefix4, options.prefix6)
            self._alone[source] = bool(network.isSingle)
        return None if self._alone[source] else source


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
        if replay.needs_all or replay.filter.ignoreCommand:
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
