# SPDX-License-Identifier: GPL-2.0-or-later
"""Jails as fail2ban itself would run them, but without threads and actions.

What is left of a jail are its filter, its counters and its list of bans, with fail2ban's
clock stopped: ``set_time`` turns it.  What costs time and makes no verdict is taken out of
fail2ban, in this process (``prepare``).
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Optional
from weakref import WeakKeyDictionary

from fail2ban import helpers
from fail2ban.server.failregex import FailRegex
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.mytime import MyTime
from fail2ban.server.observer import Observers, ObserverThread
from fail2ban.server.ticket import BanTicket, FailTicket
from fail2ban.version import version as FAIL2BAN  # noqa: N812 -- a constant

from ...backend import FilterPflog, register
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
    "end_of_ban",
    "every_packet",
    "filter_of",
    "now",
    "observer",
    "options_in_force",
    "prepare",
    "quiet",
    "remember_bans",
    "set_time",
]


def _no_service(*_: Any) -> bool:
    """Stand in for fail2ban's background service, which only collects garbage."""
    return False


def _no_text(*_: Any, **__: Any) -> str:
    """Stand in for what fail2ban writes times with: all of that goes to its log."""
    return ""


MAX_TEXTS = 65_536
"""Texts of addresses kept: fail2ban asks for one some eight times per failure."""

_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_texts: dict[tuple[int, int, int], str] = {}
_make_text = IPAddr.ntoa.fget


def _address_text(address: Any) -> str:
    """An address as text, as fail2ban writes it, made once."""
    key = address._family, address._addr, address._plen
    text = _texts.get(key)
    if text is None:
        text = str(_make_text(address))
        if key[0] not in _FAMILIES:  # a name: its text is its own
            return text
        if len(_texts) >= MAX_TEXTS:
            _texts.clear()
        _texts[key] = text
    return text


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


def prepare() -> None:
    """Make this process's fail2ban know pflog and leave out what makes no verdict."""
    register()
    helpers.BgService.service = _no_service
    MyTime.time2str = staticmethod(_no_text)
    IPAddr.ntoa = property(_address_text)


def remember_bans(database: Any) -> None:
    """Keep what the database says of a source's bans until it is told something else.

    fail2ban asks for each failure of a source that was ever banned.
    """
    ask, add, purge = database.getBan, database.addBan, database.purge
    known: dict[tuple[str, str], Any] = {}

    def get_ban(ip: Any, jail: Any = None, **others: Any) -> Any:
        if jail is None or any(others.values()):
            return ask(ip, jail, **others)
        key = str(ip), jail.name
        if key not in known:
            known[key] = ask(ip, jail)
        return known[key]

    def add_ban(jail: Any, ticket: Any) -> None:
        known.pop((str(ticket.getID()), jail.name), None)
        add(jail, ticket)

    def forget() -> None:
        known.clear()
        purge()

    database.getBan, database.addBan, database.purge = get_ban, add_ban, forget


def quiet() -> None:
    """Keep fail2ban's own log off the terminal: its errors are told as ours."""
    logger = logging.getLogger("fail2ban")
    logger.setLevel(logging.ERROR)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


def set_time(time: float) -> None:
    """Set fail2ban's clock, seconds since the epoch."""
    MyTime.myTime = time


def now() -> float:
    """What fail2ban's clock shows, seconds since the epoch."""
    return float(MyTime.time())


class _Observer(ObserverThread):  # type: ignore[misc] # fail2ban has no types
    """fail2ban's observer (it makes bans of known sources longer), at once in one thread.

    There is one for all jails, as in a server.
    """

    def __init__(self) -> None:
        super().__init__()
        # Jail -> the sources that it ever banned.
        self._known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()

    def add(self, *event: Any) -> None:
        """Do at once what a server does in another thread."""
        getattr(self, event[0])(*event[1:])

    def failureFound(self, *event: Any) -> None:  # noqa: N802 -- fail2ban's name
        """Ask the database only for sources that it can know."""
        jail, ticket = event[-2:]
        if str(ticket.getID()) in self._known.get(jail, ()):
            super().failureFound(*event)

    def banFound(self, ticket: Any, jail: Any, time: float) -> None:  # noqa: N802 -- fail2ban's
        """Make a ban longer, and write it down."""
        super().banFound(ticket, jail, time)
        self._known.setdefault(jail, set()).add(str(ticket.getID()))

    def add_timer(self, starttime: float, *event: Any) -> None:
        """Later the observer would only tell actions that a ban was prolonged."""


def observer() -> Any:
    """fail2ban's observer; puts one in place that works at once."""
    if not isinstance(Observers.Main, _Observer):
        Observers.Main = _Observer()
    return Observers.Main


def filter_of(jail: Any) -> FilterPflog:
    """The jail's filter."""
    filter_: FilterPflog = jail.filter
    return filter_


def options_in_force(jail: Any) -> list[tuple[str, str]]:
    """The options of a jail on which verdicts depend, with their values."""
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
            if name != "hold" and (value != default or name in ("distinct", "mode"))
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
    """The jail's list of bans; fail2ban 0.11 has it under a private name."""
    actions = jail.actions
    return actions.banManager if hasattr(actions, "banManager") else actions._Actions__banManager


def end_of_ban(ticket: Any, jail: Any) -> Optional[float]:
    """When a ban ends, seconds since the epoch; None: never."""
    end: float = ticket.getEndOfBanTime(jail.actions.getBanTime())
    return None if end >= BanTicket.MAX_TIME else end
