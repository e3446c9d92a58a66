"""The settings of a sweep, what each came to, and which of them is the best."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from .jails import ConfigurationError
from .report import WIDTH, Document, Row, Table, duration

__all__ = ["Judged", "Outcome", "Sweep", "best", "combinations", "document", "missed"]

OTHER_COLUMNS = 48
"""How wide the table is without the settings."""

MAX_SETTINGS = 10_000
"""More combinations are a slip: each has counters of its own."""


class Sweep(NamedTuple):
    """What a process needs to know.

    config: the configuration's folder.  captures: as ``Captures`` takes them.
    settings: one dictionary of jail options per combination.  trust: as ``Trust`` takes it.
    sizes: of the captures, of which all processes are to read as much.
    """

    config: Path
    jail: str
    captures: tuple[str, ...]
    settings: list[dict[str, str]]
    trust: tuple[str, ...]
    sizes: Optional[dict[str, int]] = None


class Outcome(NamedTuple):
    """What one setting came to.

    bans: how many; prevented: packets; share: of all packets.
    delays: banned source -> seconds from when it was first counted to its first ban.
    trusted: the banned sources that are trusted.
    """

    settings: dict[str, str]
    bans: int
    prevented: int
    share: float
    delays: dict[str, float]
    trusted: list[str]


class Judged(NamedTuple):
    """What a sweep came to.

    bad: how many captures were damaged or skipped.  problems: what went wrong in fail2ban.
    interrupted: whether the outcomes are those of a part of the packets.
    """

    outcomes: list[Outcome]
    bad: int
    problems: list[str]
    interrupted: bool


# -- settings ---------------------------------------------------------------------------


def combinations(words: Sequence[str]) -> list[dict[str, str]]:
    """All combinations of what ``--sweep`` was given.

    words: ``name=value,value`` or, for whole numbers, ``name=first..last`` and
    ``name=first..last..step``; commas within brackets separate nothing.  Raises ConfigurationError.
    """
    axes: dict[str, list[tuple[str, str]]] = {}
    for word in words:
        name, _, values = word.partition("=")
        if name in axes:
            raise ConfigurationError(f"--sweep {name}= is given twice: name all values at once")
        axes[name] = [(name, value) for value in _values(name, values)]
    count = math.prod(map(len, axes.values()))
    if count > MAX_SETTINGS:
        raise ConfigurationError(f"--sweep: {count:,} settings; {MAX_SETTINGS:,} are the most")
    return [dict(chosen) for chosen in itertools.product(*axes.values())]


def _values(name: str, text: str) -> list[str]:
    values: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        if match := re.fullmatch(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?", part.strip()):
            first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
            if not step or last < first or (last - first) // step >= MAX_SETTINGS:
                raise ConfigurationError(f"--sweep {name}={text}: {part} is no range")
            values += map(str, range(first, last + 1, step))
        elif part.strip():
            values.append(part.strip())
    if not values:
        raise ConfigurationError(f"--sweep {name}={text}: there is no value")
    return list(dict.fromkeys(values))


# -- what comes of it -------------------------------------------------------------------


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
