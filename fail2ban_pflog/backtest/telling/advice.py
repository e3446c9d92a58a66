# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of a sweep's settings is the best, and all of them as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..judging.settings import Outcome
from .report import WIDTH, Document, Row, Table, duration

__all__ = ["as_dicts", "as_table", "best", "document", "missed"]

OTHER_COLUMNS = 48
"""How wide the table is without the settings."""


def scanners(outcomes: Iterable[Outcome]) -> set[str]:
    """Sources that any of the settings bans, but for those that are trusted."""
    found: set[str] = set()
    for outcome in outcomes:
        found.update(outcome.delays)
        found.difference_update(outcome.trusted)
    return found


def missed(outcome: Outcome, wanted: set[str]) -> int:
    """How many of the scanners the setting does not ban."""
    return len(wanted.difference(outcome.delays))


def delay(outcome: Outcome, wanted: set[str]) -> float:
    """The median delay of the first ban in seconds; a scanner that is missed waits for ever."""
    delays = sorted(outcome.delays.get(source, math.inf) for source in wanted)
    return delays[(len(delays) - 1) // 2] if delays else math.inf


def best(outcomes: Sequence[Outcome]) -> list[int]:
    """Indexes of the settings that ban no trusted source, at the least delay.

    Among those as quick, the ones that miss the fewest scanners.
    """
    wanted = scanners(outcomes)
    rated = [
        (delay(outcome, wanted), missed(outcome, wanted), index)
        for index, outcome in enumerate(outcomes)
        if not outcome.trusted and outcome.bans
    ]
    least = min(rated, default=None)
    return [index for *rating, index in rated if least and tuple(rating) == least[:2]]


def document(jail: str, common: dict[str, str], outcomes: Sequence[Outcome]) -> Document:
    """The sweep as a table, and the jail to paste.

    common: settings that all have in common, from ``--set``.
    """
    wanted = scanners(outcomes)
    marked = set(best(outcomes))
    names = [name for name in (outcomes[0].settings if outcomes else {}) if name not in common]
    settings = [[outcome.settings[name] for name in names] for outcome in outcomes]
    width = sum(max(map(len, (name, *values))) + 2 for name, values in zip(names, zip(*settings)))
    told_below = width > WIDTH - OTHER_COLUMNS
    columns = [] if told_below else names
    rows = []
    for index, outcome in enumerate(outcomes):
        cells = (
            "*" if index in marked else "",
            *(outcome.settings[name] for name in columns),
            f"{outcome.bans:,}",
            f"{len(outcome.trusted):,}",
            f"{missed(outcome, wanted):,}",
            "never" if math.isinf(wait_ := delay(outcome, wanted)) else duration(wait_),
            f"{outcome.share:.1%}",
        )
        told = "  ".join(f"{name}={outcome.settings[name]}" for name in names)
        notes = (told,) if told_below else ()
        rows.append(Row(cells, notes, bool(outcome.trusted)))
    heads = ("", *(f"{name} " for name in columns), "Bans ", "Trusted ", "Missed ", "Delay ")
    title = f"Jail {jail}: {len(rows):,} setting{'s' if len(rows) != 1 else ''}"
    table = Table(title, (*heads, "Prevented "), rows)
    parts: Document = [table, LEGEND]
    if marked:
        chosen = outcomes[min(marked)].settings
        lines = [f"[{jail}]", "enabled = true"]
        for name, value in chosen.items():
            lines.append(f"{name} = " + "\n    ".join(value.splitlines()))
        parts.append("For jail.local:\n\n" + "\n".join(lines))
    else:
        parts.append("No setting bans anybody without a trusted source among them.")
    return parts


def as_dicts(jail: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The sweep as JSON has it; a delay of null is for ever."""
    wanted = scanners(outcomes)
    marked = set(best(outcomes))
    return {
        "jail": jail,
        "settings": [
            {
                "settings": outcome.settings,
                "best": index in marked,
                "bans": outcome.bans,
                "banned": list(outcome.delays),
                "trusted": outcome.trusted,
                "missed": missed(outcome, wanted),
                "delay": None if math.isinf(late := delay(outcome, wanted)) else round(late, 6),
                "prevented": outcome.prevented,
                "prevented_share": round(outcome.share, 6),
            }
            for index, outcome in enumerate(outcomes)
        ],
    }


def as_table(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[Any]]]:
    """The sweep as CSV has it: columns and rows, one per setting."""
    numbers = ("bans", "trusted", "missed", "delay", "prevented", "prevented_share")
    names = list(outcomes[0].settings) if outcomes else []
    rows = []
    for each in as_dicts("", outcomes)["settings"]:
        values = {**each, "trusted": len(each["trusted"])}
        rows.append(
            [
                *each["settings"].values(),
                int(each["best"]),
                *("" if values[name] is None else values[name] for name in numbers),
            ]
        )
    return [*names, "best", *numbers], rows


LEGEND = """\
* bans no trusted source, at the least delay; then misses the fewest.
Missed: sources that another of these settings bans, but for the trusted.
Delay: median over all of those from being first counted to the first ban;
one that is missed waits for ever."""
