# SPDX-License-Identifier: GPL-2.0-or-later
"""Which sources have a colour in the picture of ports, and how many targets all have."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ...replay.portmap import MAX_TARGETS, Dots
from ...replay.replay import Ban
from ...replay.run import Result
from . import scales
from .paper import SOURCES
from .span import Span

__all__ = ["Actor", "Cast", "choose"]

MOST_UNBANNED = 2
"""Colours kept for sources that had many targets and were not banned."""


class Actor(NamedTuple):
    """A source of which the dots have a colour.

    name: as fail2ban names it.  targets: how many different ones.  dots: as ``Seen`` has them.
    bans: of it, in order.
    """

    name: str
    targets: int
    dots: set[int]
    bans: list[Ban]

    def told(self, span: Span) -> str:
        """What became of it."""
        most = "+" if self.targets >= MAX_TARGETS else ""
        text = f"{self.targets:,}{most} target{'' if self.targets == 1 else 's'}, "
        if not self.bans:
            return f"{text}not banned"
        time = self.bans[0].time
        moment = span.zone.moment(time)
        clock = f"{moment:%H:%M:%S}"
        if span.end - span.begin > scales.DAY:
            clock = f"{span.zone.day(time)} {moment:%H:%M}"
        if span.end - span.begin > scales.YEAR:
            clock = f"{span.zone.day(time)} {moment:%Y}"
        more = f" and {len(self.bans) - 1}× more" if len(self.bans) > 1 else ""
        return f"{text}banned {clock}{more}"


class Cast(NamedTuple):
    """Whose dots have a colour, and how many targets all have.

    targets: (banned, number of targets) -> how many sources.
    """

    actors: list[Actor]
    targets: Counter[tuple[bool, int]]


def choose(result: Result, dots: Dots) -> Cast:
    """Choose the sources with the most targets: banned ones, and some that nearly were."""
    bans: dict[str, list[Ban]] = {}
    for ban in result.bans:
        bans.setdefault(ban.source, []).append(ban)
    close = {each.source for each in result.close}
    # With prefix6 whole networks are banned.
    lengths = {int(name.partition("/")[2]) for name in {*bans, *close} if "/" in name}
    found: dict[str, Actor] = {}
    targets: Counter[tuple[bool, int]] = Counter()
    for source, seen in dots.sources.items():
        name = str(ip_address(source))
        for length in lengths if ":" in name else ():
            network = str(ip_network(f"{name}/{length}", strict=False))
            name = network if network in bans or network in close else name
        if name in bans or name in close or len(seen.targets) >= result.maxretry:
            before = found.get(name)
            count, cells = (before.targets, before.dots) if before else (0, set())
            count += len(seen.targets)
            found[name] = Actor(name, count, cells | seen.dots, bans.get(name, []))
        elif seen.targets:
            targets[False, len(seen.targets)] += 1
    for actor in found.values():
        if actor.targets:
            targets[bool(actor.bans), actor.targets] += 1
    for count, sources in dots.forgotten.items():
        if count:
            targets[False, count] += sources
    order = sorted(found.values(), key=lambda actor: (-actor.targets, -len(actor.dots)))
    banned = [actor for actor in order if actor.bans]
    others = [actor for actor in order if not actor.bans]
    room = len(SOURCES)
    few = others[: max(MOST_UNBANNED, room - len(banned))]
    return Cast([*banned[: room - len(few)], *few], targets)
