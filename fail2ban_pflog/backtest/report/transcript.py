# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``explain`` prints: packet by packet, runs of alike ones in one line, and the sum of it.

Steps are printed once; where they come again the packet's kind stands for them.  What fail2ban
counts is printed packet by packet; between two of these all others that came to one end are one
packet and a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, Optional

from ...policy.kinds import Kind
from ..replay.evidence import MAX_COUNTED, Counted
from ..replay.replay import Replay
from .explain import COUNTED, Explanation, Tally
from .words import clock, count, duration, moment, targets, what_was_asked

__all__ = ["Transcript", "summary"]

MOST_BANS = 3
"""Bans that the summary lists one by one."""


_End = tuple[Optional[Kind], tuple[str, ...], str, str]
"""What sets packets apart that were not counted: kind, steps, fate, verdict."""


class Transcript:
    """Prints explanations.

    Args:
        out: called with each piece of text.
    """

    def __init__(self, out: Callable[[str], object]) -> None:
        self._out = out
        self._printed: set[tuple[str, ...]] = set()
        self._ends: dict[_End, int] = {}  # since the last that was counted -> how many more
        self._last: Optional[Explanation] = None
        self._run = Counted(MAX_COUNTED)

    def add(self, each: Explanation) -> None:
        """Print a packet."""
        end = each.kind, each.steps, each.fate, each.verdict
        if each.fate == COUNTED:
            self.end()
        elif end in self._ends:
            self._ends[end] += 1
            self._last = each
            if each.packet is not None:
                self._run.add(each.time, each.packet)
            return
        else:
            self._ends[end] = 0
        self._out(f"{each.number}: {each.line}\n")
        short = f"{each.kind} " if each.kind else ""
        if each.steps not in self._printed:
            self._printed.add(each.steps)
            self._out("".join(f"    {step}\n" for step in each.steps))
            short = ""
        self._out(f"    {short}-> {each.verdict}\n")

    def end(self) -> None:
        """Print how many more there were."""
        more = {end: number for end, number in self._ends.items() if number}
        if more and self._last is not None:
            number = sum(more.values())
            like = "it" if len(self._ends) == 1 else "these"
            if len(more) > 1:
                like += f" ({', '.join(_label(end, count) for end, count in more.items())})"
            run = self._run.since(0.0)
            self._out(
                f"    and {number:,} more like {like}, up to packet {self._last.number} at "
                f"{clock(self._last.time)}: "
                f"{targets(run.asked, len(run.hosts), number > MAX_COUNTED)}\n"
            )
        self._ends = {}
        self._run = Counted(MAX_COUNTED)


def _label(end: _End, number: int) -> str:
    kind, _, fate, _ = end
    return f"{number:,} {kind} {fate}" if kind else f"{number:,} {fate}"


# -- the sum of it ---------------------------------------------------------------------------


def summary(source: str, replay: Replay, tally: Tally, others: Sequence[Replay]) -> str:
    """Sum up what came of all of a source's packets.

    Args:
        source, replay, tally: of the packets.
        others: replays of other jails that were given them.
    """
    jail = f"jail {replay.jail.name}"
    lines = [f"{source}, {count(tally.packets, 'packet')}, {jail}:"]
    for at, ban in tally.bans[:MOST_BANS]:
        why = what_was_asked(ban.evidence)
        lines.append(
            f"banned at the {_ordinal(at)} of them, {moment(ban.time)}, for "
            f"{duration(ban.end - ban.time)}{f': {why}' if why else ''}."
        )
    if len(tally.bans) > MOST_BANS:
        lines.append(f"banned {count(len(tally.bans) - MOST_BANS, 'more time')}.")
    if not tally.bans:
        lines.append(f"not banned: it came to {tally.highest:g} of {replay.maxretry}.")
    fates = [f"{number:,} {fate}" for fate, number in tally.fates.most_common()]
    lines.append(f"Packets: {', '.join(fates)}.")
    if tally.not_counted:
        kinds = [f"{kind} {number:,}" for kind, number in tally.not_counted.most_common()]
        lines.append(f"Not counted: {', '.join(kinds)}.")
    if others:
        lines.append(f"Nearest other jail: {_nearest(source, others)}.")
    return "\n    ".join(lines)


def _nearest(source: str, others: Sequence[Replay]) -> str:
    """Name the jail that bans a source soonest, or else the one that comes closest to it."""
    banning = [replay for replay in others if replay.bans]
    if banning:
        replay = min(banning, key=lambda each: each.bans[0].packets)
        return f"{replay.jail.name} bans it at the {_ordinal(replay.bans[0].packets + 1)} packet"
    replay = max(others, key=lambda each: each.highest(source) / each.maxretry)
    reached = replay.highest(source)
    return f"{replay.jail.name} comes to {reached:g} of {replay.maxretry}" if reached else "none is"


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number:,}th"
    return f"{number:,}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
