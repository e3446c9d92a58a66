# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings of a sweep, and what each came to."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from ...sources.captures import Contents
from .configuration import ConfigurationError
from .profile import Profile

__all__ = ["Judged", "Outcome", "Sweep", "combinations"]

MAX_SETTINGS = 10_000
"""More combinations are a slip: each has counters of its own."""


class Sweep(NamedTuple):
    """What a process needs to know.

    config: the configuration's directory.  captures: as ``Captures`` takes them.
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
    mode: the backend's.
    delays: banned source -> seconds from when it was first counted to its first ban.
    trusted: the banned sources that are trusted.
    """

    settings: dict[str, str]
    mode: str
    bans: int
    prevented: int
    share: float
    delays: dict[str, float]
    trusted: list[str]


class Judged(NamedTuple):
    """What a sweep came to.

    bad: how many captures were damaged or skipped.  problems: what went wrong in fail2ban.
    interrupted: whether the outcomes are those of a part of the packets.
    captures: what was read of each.  profiles: source -> what it does by itself.
    """

    outcomes: list[Outcome]
    bad: int
    problems: list[str]
    interrupted: bool
    captures: list[Contents]
    profiles: dict[str, Profile]


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
