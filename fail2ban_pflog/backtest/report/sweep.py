# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep as a document, as JSON and as CSV: all settings, the advice, whom to look at."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..replay.profile import PLAIN_HOSTS, PLAIN_PORTS, Profile
from ..replay.settings import Outcome
from .advice import ANY, NEVER_MARKED, Advice, Doubtful, in_words
from .text import WIDTH, Document, Row, Table
from .words import count, duration, targets

__all__ = ["as_dict", "as_table", "document"]

OTHER_COLUMNS = 48
"""How wide the table is without the settings."""

MOST_LOOKED_AT = 5
"""Doubtful sources told; nobody reads a hundred.  JSON has them all."""

MOST_TRUSTED = 20
"""Trusted sources told; JSON has them all."""

AGAIN = 1.5
"""Packets per target from which on a source is told to try again."""

FEW_PORTS, MANY_HOSTS = 3, 5


def document(
    jail: str,
    common: Mapping[str, str],
    advice: Advice,
    paste: Optional[Mapping[str, str]] = None,
) -> Document:
    """The sweep as tables, and the jail to paste.

    common: settings that all have in common, from ``--set``.
    paste: the marked setting, as jail.local has it.
    """
    outcomes = advice.outcomes
    names = [name for name in (outcomes[0].settings if outcomes else {}) if name not in common]
    parts: Document = [_settings_table(jail, names, advice), LEGEND]
    if any(outcome.mode == NEVER_MARKED for outcome in outcomes):
        parts[-1] = f"{LEGEND}\n{textwrap.fill(f'{ANY}: it is never marked.', WIDTH)}"
    parts.append(textwrap.fill(advice.sentence, WIDTH))
    if advice.trusted:
        parts.append(_trusted_table(names, advice))
    if advice.look_at:
        parts.append(_doubtful_table(names, advice))
    if paste is not None:
        lines = [f"[{jail}]", "enabled = true"]
        lines += [f"{name} = " + "\n    ".join(value.splitlines()) for name, value in paste.items()]
        parts.append("For jail.local:\n\n" + "\n".join(lines))
    return parts


def _settings_table(jail: str, names: Sequence[str], advice: Advice) -> Table:
    outcomes = advice.outcomes
    settings = [[outcome.settings[name] for name in names] for outcome in outcomes]
    width = sum(max(map(len, (name, *values))) + 2 for name, values in zip(names, zip(*settings)))
    told_below = width > WIDTH - OTHER_COLUMNS
    columns = [] if told_below else names
    rows = []
    for index, outcome in enumerate(outcomes):
        late = advice.delay(index)
        cells = (
            "*" if index == advice.best else "",
            *(outcome.settings[name] for name in columns),
            f"{len(outcome.delays):,}",
            f"{advice.found(index):,}",
            f"{advice.doubtful(index):,}",
            f"{len(outcome.trusted):,}",
            "" if not advice.scanners else "never" if math.isinf(late) else duration(late),
        )
        told = "  ".join(f"{name}={outcome.settings[name]}" for name in names)
        rows.append(Row(cells, (told,) if told_below else (), bool(outcome.trusted)))
    heads = ("", *(f"{name} " for name in columns), "Banned ", "Scanners ", "Doubtful ", "Trusted ")
    title = (
        f"Jail {jail}: {count(len(rows), 'setting')}; "
        f"{count(len(advice.scanners), 'source')} plainly scan{'s' * (len(advice.scanners) == 1)}"
    )
    return Table(title, (*heads, "Delay "), rows)


def _trusted_table(names: Sequence[str], advice: Advice) -> Table:
    rows = []
    for source, by in list(advice.trusted.items())[:MOST_TRUSTED]:
        fewest = min(by, key=lambda index: len(advice.outcomes[index].delays))
        told = _settings(names, advice, fewest)
        of = f"{len(by):,} of {count(len(advice.outcomes), 'setting')}"
        rows.append(Row((source, f"{of}, the strictest: {told}"), (), True))
    title = "Trusted sources that would be banned"
    if len(advice.trusted) > MOST_TRUSTED:
        title += f" (the first {MOST_TRUSTED} of {len(advice.trusted):,})"
    return Table(title, ("Source", "By"), rows)


def _doubtful_table(names: Sequence[str], advice: Advice) -> Table:
    look_at = advice.look_at
    rows = [
        Row((each.source, how_it_differs(each)), (_banned_by(names, advice, each),))
        for each in look_at[:MOST_LOOKED_AT]
    ]
    title = "Look at these first"
    if advice.best is not None and not advice.doubtful(advice.best):
        title = "Whom other settings ban besides"
    if len(look_at) > MOST_LOOKED_AT:
        title += f", {MOST_LOOKED_AT} of {len(look_at):,} sources that may be honest"
    return Table(title, ("Source", "What it does"), rows)


def _banned_by(names: Sequence[str], advice: Advice, each: Doubtful) -> str:
    told = _settings(names, advice, each.strictest)
    if each.by == 1:
        return f"banned by {told} alone"
    return f"the strictest of {each.by:,} settings that ban it: {told}"


def _settings(names: Sequence[str], advice: Advice, index: int) -> str:
    return in_words({name: advice.outcomes[index].settings[name] for name in names})


def how_it_differs(each: Doubtful) -> str:
    """What a source does that does not plainly scan, in words."""
    profile, is_network = each.profile, "/" in each.source
    if profile is None:
        who = "each of its addresses" if is_network else "it"
        return f"{who} came once only, or so long ago that it was forgotten"
    told = _how(profile)
    return f"its busiest address: {told}" if is_network else told


def _how(profile: Profile) -> str:
    told = [targets(profile.asked, profile.hosts, profile.full)]
    if profile.hosts >= MANY_HOSTS and len(profile.asked) <= FEW_PORTS:
        told.append("few ports of many hosts, as monitoring asks for")
    if profile.packets > AGAIN * profile.targets:
        told.append(f"it tries again, {count(profile.packets, 'packet')} in all")
    if profile.sport and profile.packets > 1:
        told.append(f"all from port {profile.sport}")
    if 2 * profile.honest >= profile.packets:
        why = max(profile.honest_reasons, key=profile.honest_reasons.__getitem__)
        share = "all" if profile.honest == profile.packets else f"{profile.honest:,} of them"
        told.append(f"{share} as honest hosts send: {why}, {why.words}")
    return "; ".join(told)


LEGEND = f"""\
Banned: sources. Scanners: those that plainly scan, {PLAIN_PORTS} ports or one port of \
{PLAIN_HOSTS}
hosts. Trusted: named by --trust. Doubtful: all others. Delay: from being first
counted to the ban, median of the scanners; one that is missed waits for ever."""


# -- for programs ----------------------------------------------------------------------------


def as_dict(jail: str, advice: Advice) -> dict[str, Any]:
    """The sweep as JSON has it; a delay of null is for ever."""
    return {
        "jail": jail,
        "advice": advice.sentence,
        "scanners": advice.scanners,
        "doubtful": [_doubtful_dict(advice, each) for each in advice.look_at],
        "settings": [_setting_dict(advice, index) for index in range(len(advice.outcomes))],
    }


def _setting_dict(advice: Advice, index: int) -> dict[str, Any]:
    outcome: Outcome = advice.outcomes[index]
    return {
        "settings": outcome.settings,
        "best": index == advice.best,
        "bans": outcome.bans,
        "banned": list(outcome.delays),
        "scanners": advice.found(index),
        "missed": len(advice.scanners) - advice.found(index),
        "doubtful": advice.doubtful(index),
        "trusted": outcome.trusted,
        "delay": None if math.isinf(late := advice.delay(index)) else round(late, 6),
        "prevented": outcome.prevented,
        "prevented_share": round(outcome.share, 6),
    }


def _doubtful_dict(advice: Advice, each: Doubtful) -> dict[str, Any]:
    reasons = each.profile.reasons if each.profile else {}
    return {
        "source": each.source,
        "what": how_it_differs(each),
        "reasons": {why.name: number for why, number in reasons.items()},
        "strictest": advice.outcomes[each.strictest].settings,
        "by": each.by,
    }


_NUMBERS = (
    "bans", "scanners", "missed", "doubtful", "trusted", "delay", "prevented", "prevented_share",
)  # fmt: skip


def as_table(advice: Advice) -> tuple[list[str], list[list[Any]]]:
    """The sweep as CSV has it: columns and rows, one per setting."""
    names = list(advice.outcomes[0].settings) if advice.outcomes else []
    rows = []
    for index in range(len(advice.outcomes)):
        each = _setting_dict(advice, index)
        each["trusted"] = len(each["trusted"])
        numbers = ("" if each[name] is None else each[name] for name in _NUMBERS)
        rows.append([*each["settings"].values(), int(each["best"]), *numbers])
    return [*names, "best", *_NUMBERS], rows
