# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails as fail2ban itself would run them, but without threads and actions.

What is left of a jail are its filter, its counters and its list of bans, with fail2ban's
clock stopped: ``set_time`` turns it.
"""

from __future__ import annotations

import logging
from typing import Any, Optional

from fail2ban.server.failregex import FailRegex
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import BanTicket, FailTicket
from fail2ban.version import version as FAIL2BAN  # noqa: N812 -- a constant

from ...backend import FilterPflog
from ...options import Options, short
from ...pipeline import Item, Pipeline
from ...policy.classifier import Classifier
from ...policy.dedup import Dedup
from ...policy.kinds import Kind

__all__ = [
    "FAIL2BAN",
    "BanTicket",
    "EveryPacket",
    "FailRegex",
    "FailTicket",
    "ban_manager",
    "begins_with_address",
    "end_of_ban",
    "every_packet",
    "filter_of",
    "now",
    "options_in_force",
    "quiet",
    "set_time",
]


class EveryPacket(Dedup[Item]):
    """Passes each packet, as to a jail that reads text."""

    def take(self, _time: float, _source: bytes, _target: int, item: Item, *_: int) -> tuple[Item]:
        """Pass it."""
        self.passed += 1
        return (item,)


class EveryKind(Classifier):
    """Counts each packet, whatever it is."""

    def counts(self, _: Kind) -> bool:
        """Return True."""
        return True

    def is_decided(self, _: Kind) -> bool:
        """Return False: packets of each kind count."""
        return False


def every_packet() -> Pipeline:
    """Return what a jail that reads text is given: each packet's line."""
    return Pipeline(EveryKind("any"), EveryPacket("none"))


def quiet() -> None:
    """Keep fail2ban's own log off the terminal: its errors are reported as ours."""
    logger = logging.getLogger("fail2ban")
    logger.setLevel(logging.ERROR)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


def set_time(time: float) -> None:
    """Set fail2ban's clock, seconds since the epoch."""
    MyTime.myTime = time


def now() -> float:
    """Return what fail2ban's clock shows, seconds since the epoch."""
    return float(MyTime.time())


def filter_of(jail: Any) -> FilterPflog:
    """Return the jail's filter."""
    filter_: FilterPflog = jail.filter
    return filter_


def options_in_force(jail: Any) -> list[tuple[str, str]]:
    """Return the options of a jail on which verdicts depend, with their values."""
    filter_ = filter_of(jail)
    backend = filter_.options
    ban_time = jail.actions.getBanTime()
    found = [
        ("maxretry", str(filter_.getMaxRetry())),
        ("findtime", short(filter_.getFindTime())),
        ("bantime", "for ever" if ban_time < 0 else short(ban_time)),
    ]
    if isinstance(filter_.pipeline.dedup, EveryPacket):
        found.append(("backend", "not pflog: each packet is read as a line"))
    else:
        words = [
            f"{name}={value}"
            for name, value, default in zip(backend._fields, backend, Options())
            if (value != default and name != "hold") or name in ("distinct", "mode")
        ]
        found.append(("backend", f"pflog[{', '.join(words)}]"))
    found.append(("ignoreip", " ".join(map(str, filter_.getIgnoreIP())) or "none"))
    found.append(("ignoreself", "yes" if filter_.ignoreSelf else "no"))
    if filter_.ignoreCommand:
        found.append(("ignorecommand", str(filter_.ignoreCommand)))
    if jail.getBanTimeExtra("increment"):
        extras = ("increment", "factor", "multipliers", "maxtime")
        found += [
            (f"bantime.{name}", str(value))
            for name in extras
            if (value := jail.getBanTimeExtra(name)) is not None
        ]
    return found


def ban_manager(jail: Any) -> Any:
    """Return the jail's list of bans; fail2ban 0.11 has it under a private name."""
    actions = jail.actions
    return actions.banManager if hasattr(actions, "banManager") else actions._Actions__banManager


def end_of_ban(ticket: Any, jail: Any) -> Optional[float]:
    """Return when a ban ends, seconds since the epoch; None: never."""
    end: float = ticket.getEndOfBanTime(jail.actions.getBanTime())
    return None if end >= BanTicket.MAX_TIME else end


def begins_with_address(filter_: Any) -> bool:
    """Whether all expressions of a filter begin with the address, and it names nobody else.

    What may stand before it takes no text: ``^`` and lookaheads.
    """
    prefix = filter_.prefRegex.getRegex() if filter_.prefRegex else ""
    addresses = [FailRegex(tag).getRegex() for tag in ("<ADDR>", "<HOST>", "<IP4>", "<IP6>")]
    expressions = filter_.getFailRegex()
    if any(group in text for text in (prefix, *expressions) for group in _OTHER_NAMES):
        return False
    return all(
        any(_without_lookaheads(expression).startswith(address) for address in addresses)
        for expression in expressions
    )


_OTHER_NAMES = ("(?P<mlfid>", "(?P<fid>", "(?P<dns>")


def _without_lookaheads(expression: str) -> str:
    """An expression without what stands at its beginning and takes no text."""
    while expression.startswith(("^", "(?!", "(?=")):
        end = 1 if expression[0] == "^" else _group_end(expression)
        expression = expression[end:]
    return expression


def _group_end(expression: str) -> int:
    """Where the group ends that an expression begins with."""
    depth, at, in_class = 0, 0, False
    while at < len(expression):
        letter = expression[at]
        if letter == "\\":
            at += 1
        elif in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
            at += expression[at + 1 : at + 2] in ("]", "^")  # a ] there is no end
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(expression)
