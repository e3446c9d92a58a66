# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of ``backend = pflog[...]``, and what the writer's command line shares with them.

Values are what an administrator typed: each is matched as a whole, and nothing in it is
evaluated.
"""

from __future__ import annotations

import re
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Callable, NamedTuple

from .errors import PflogError
from .policy.classify import directions
from .policy.dedup import WHATS
from .policy.kinds import MODES

__all__ = [
    "BUFFER_SIZE",
    "DEFAULT_INTERFACE",
    "MAX_HOLD",
    "MAX_NUMBER",
    "NAME",
    "Options",
    "is_meant",
    "moment",
    "quoted",
    "seconds",
    "short",
    "whole",
]

NAME = "pflog"

DEFAULT_INTERFACE = "pflog0"

BUFFER_SIZE = 2 << 20
"""Bytes that the kernel keeps for a listener: several thousand packets."""

MAX_NUMBER = 2**31 - 1
"""The largest ``buffer``, in bytes, and ``hold``: an int of C, and of fail2ban's maxretry."""

MAX_HOLD = 1000
"""Packets of one source that are held at most, however large ``hold`` is."""

MAX_BRAKE = 100_000
"""Bans a minute; no firewall's table takes more for long."""

MAX_SECONDS = 100 * 365 * 86_400
"""A hundred years: longer is a slip, and fail2ban's own times end there as well."""

_UNITS = {
    "": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86_400,
    "day": 86_400, "w": 604_800, "week": 604_800, "mo": 2_629_800, "month": 2_629_800,
    "y": 31_557_600, "year": 31_557_600,
}  # fmt: skip
_PART = r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]*)"
_TIME = re.compile(rf"(?:{_PART}\s*)+", re.IGNORECASE)


_NAMES = re.compile(r"(?<=[\[,\s]interface=)[\w:.]+(?:\s*,\s*[\w:.]+(?![\w:.]*\s*=))+")


def quoted(backend: str) -> str:
    """Quote several interfaces in ``pflog[...]``, where fail2ban takes a comma for the end."""
    return _NAMES.sub(lambda names: f'"{names[0]}"', backend)


def is_meant(backend: str) -> bool:
    """Whether a backend is meant for us, also where it is not quite written so.

    Such a one must not reach fail2ban, which would refuse all jails for it.
    """
    name = backend.partition("[")[0].lower()
    return NAME in name or bool(get_close_matches(name, [NAME], cutoff=0.7))


def seconds(text: str) -> float:
    """Read a time as fail2ban's configuration has it: ``300``, ``15m``, ``1d12h``.

    Raises ValueError for what is none, and for more than a hundred years.
    """
    text = text.strip()
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no time; times are 300, 15m, 1d12h")
    total = 0.0
    for number, unit in re.findall(_PART, text, re.IGNORECASE):
        name = unit.lower()
        factor = _UNITS.get(name, _UNITS.get(name.removesuffix("s"))) if name else 1
        if factor is None:
            raise ValueError(f"{unit!r} is no unit of time; there are s, m, h, d, w, mo, y")
        total += float(number) * factor
    if total > MAX_SECONDS:
        raise ValueError(f"{text!r} is more than a hundred years")
    return total


def moment(text: str, now: float) -> float:
    """Read a time of day, or how long ago it was.

    Args:
        text: ``2026-11-22``, ``2026-11-22 01:48`` (the local time zone, or the one it names),
            or ``7d``.
        now: Seconds since the epoch, from which ``7d`` counts back.

    Returns:
        Seconds since the epoch.

    Raises:
        ValueError: The text is neither.
    """
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return now - seconds(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time; times are 2026-11-22, '2026-11-22 01:48', 7d"
        ) from None


def short(time: float) -> str:
    """Write a time in seconds as a configuration would: ``5m``, ``1d12h``."""
    rest = max(0, int(time))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def whole(text: str, low: int, high: int, step: int = 1) -> int:
    """Read a whole number from ``low`` to ``high``, a multiple of ``step``.

    Raises ValueError for anything else.
    """
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high or int(text) % step:
        of = f", a multiple of {step}" if step > 1 else ""
        raise ValueError(f"{text!r} is no number from {low} to {high}{of}")
    return int(text)


def _interface(text: str) -> str:
    if not re.fullmatch(r"[ -~]{0,256}", text):
        raise ValueError("no name of an interface")
    return text


def _direction(text: str) -> str:
    directions(text)
    return text


class Options(NamedTuple):
    """What stands in ``backend = pflog[...]``.

    silence: seconds; 0 never warns.  buffer: bytes.  hold: packets; 1: none is held.
    brake: bans a minute; 0: any number.
    """

    interface: str = ""
    bpf: str = ""
    distinct: str = "none"
    mode: str = "any"
    direction: str = "in"
    prefix4: int = 32
    prefix6: int = 128
    silence: float = 900.0
    buffer: int = BUFFER_SIZE
    hold: int = 1
    brake: int = 0

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The names in ``interface``, which commas or blanks separate, each once."""
        return tuple(dict.fromkeys(self.interface.replace(",", " ").split()))

    @classmethod
    def parse(cls, given: dict[str, str]) -> Options:
        """Check the options.

        Raises PflogError (layer ``option``) that names the option and what it takes.
        """
        if unknown := sorted(set(given) - set(cls._fields)):
            raise _wrong(unknown[0], f"is unknown; there are {', '.join(cls._fields)}")
        values: dict[str, Any] = dict(given)
        for name, choices in (("distinct", WHATS), ("mode", MODES)):
            if name in given and given[name] not in choices:
                raise _wrong(name, f"takes {', '.join(choices)}, not {given[name]!r}")
        for name, (convert, takes) in _CONVERT.items():
            if name in given:
                try:
                    values[name] = convert(given[name])
                except ValueError:
                    raise _wrong(name, f"takes {takes}, not {given[name]!r}") from None
        return cls(**values)


_CONVERT: dict[str, tuple[Callable[[str], Any], str]] = {
    "interface": (_interface, "names of interfaces as pflog0"),
    "direction": (_direction, "in, out or in|out"),
    "prefix4": (lambda text: whole(text, 8, 32, 8), "a multiple of 8, 8 to 32"),
    "prefix6": (lambda text: whole(text, 8, 128, 8), "a multiple of 8, 8 to 128"),
    "silence": (seconds, "a time as 15m, or 0"),
    "buffer": (
        lambda text: whole(text, 1, MAX_NUMBER),
        f"a number of bytes, 1 to {MAX_NUMBER}",
    ),
    "hold": (
        lambda text: min(MAX_HOLD, whole(text, 1, MAX_NUMBER)),
        f"a number of packets, 1 to {MAX_NUMBER}",
    ),
    "brake": (lambda text: whole(text, 0, MAX_BRAKE), f"bans a minute, 0 to {MAX_BRAKE}; 0: all"),
}


def _wrong(name: str, why: str) -> PflogError:
    return PflogError("option", 0, 0, f"option {name} of backend = {NAME}[...] {why}")
