# SPDX-License-Identifier: GPL-2.0-or-later
"""Which sources have a colour in the picture of ports, and how many targets all had."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ...replay.portmap import MAX_TARGETS, PortMap
from ...replay.replay import Ban
from ...replay.run import Result
from .style import SOURCES, number_of

MOST_UNBANNED = 2
"""Colours kept for sources that had many targets and were not banned."""


class Highlight(NamedTuple):
    """A source that has a colour.

    Attributes:
        name: as fail2ban names it.
        targets: how many different ones.
        cells: as ``portmap.Seen`` has them.
        bans: of it, in order.
    """

    name: str
    targets: int
    cells: set[int]
    bans: list[Ban]

    def label(self, moment: str) -> str:
        """Say what became of it; ``moment``: of its first ban."""
        most = "+" if self.targets >= MAX_TARGETS else ""
        text = f"{self.name}: {number_of(self.targets, f'{most}target')}, "
        more = f" and {len(self.bans) - 1}× more" if len(self.bans) > 1 else ""
        return f"{text}banned {moment}{more}" if self.bans else f"{text}not banned"


class Highlights(NamedTuple):
    """The sources that have a colour, and how many targets all had.

    Attributes:
        sources: those with a colour.
        targets: (banned, number of targets) -> how many sources.
    """

    sources: list[Highlight]
    targets: Counter[tuple[bool, int]]


def choose(result: Result, portmap: PortMap) -> Highlights:
    """Choose the sources with the most targets: banned ones, and some that nearly were."""
    bans: dict[str, list[Ban]] = {}
    for ban in result.bans:
        bans.setdefault(ban.source, []).append(ban)
    close = {each.source for each in result.close}
    # With prefix6 whole networks are banned.
    lengths = {int(name.partition("/")[2]) for name in {*bans, *close} if "/" in name}
    found: dict[str, Highlight] = {}
    targets = Counter({(False, count): number for count, number in portmap.forgotten.items()})
    for source, seen in portmap.sources.items():
        name = str(ip_address(source))
        for length in lengths if ":" in name else ():
            network = str(ip_network(f"{name}/{length}", strict=False))
            name = network if network in bans or network in close else name
        if name in bans or name in close or len(seen.targets) >= result.maxretry:
            before = found.get(name, Highlight(name, 0, set(), bans.get(name, [])))
            found[name] = before._replace(
                targets=before.targets + len(seen.targets), cells=before.cells | seen.cells
            )
        else:
            targets[False, len(seen.targets)] += 1
    targets.update((bool(each.bans), each.targets) for each in found.values())
    for banned in (False, True):
        del targets[banned, 0]
    order = sorted(found.values(), key=lambda each: (-each.targets, -len(each.cells)))
    banned_ones = [each for each in order if each.bans]
    others = [each for each in order if not each.bans]
    few = others[: max(MOST_UNBANNED, len(SOURCES) - len(banned_ones))]
    return Highlights([*banned_ones[: len(SOURCES) - len(few)], *few], targets)
