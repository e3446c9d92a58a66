# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's functions that a backtest replaces, all of them.

What costs time and makes no verdict is left out; where fail2ban's threads would take over, the
replay does.  Every replacement passes on whatever arguments it is given.  ``REPLACED`` names the
functions, and a test holds their signatures.
"""

from __future__ import annotations

import inspect
import socket
from typing import Any, Callable
from weakref import WeakKeyDictionary

from fail2ban import helpers
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.failmanager import FailManager
from fail2ban.server.filter import FileFilter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime
from fail2ban.server.observer import Observers, ObserverThread

from ...backend import register

__all__ = [
    "REPLACED",
    "match_once",
    "observer",
    "prepare",
    "remember_bans",
    "remember_strangers",
    "replace",
    "take_over",
    "watch",
]

REPLACED: dict[Any, tuple[str, ...]] = {
    helpers.BgService: ("service",),
    MyTime: ("time2str",),
    IPAddr: ("ntoa",),
    Fail2BanDb: ("getBan", "addBan", "purge"),
    FailManager: ("addFailure", "cleanup"),
    FileFilter: ("commonError", "processLine", "logIgnoreIp", "_inIgnoreIPList", "_ignoreLine"),
    Jail: ("putFailTicket", "isAlive"),
    ObserverThread: ("add", "add_timer", "failureFound", "banFound"),
}
"""Class -> what is replaced of it, or of one of its objects."""

MAX_TEXTS = 65_536
"""Texts of addresses kept: fail2ban asks for one some eight times per failure."""

MAX_STRANGERS = 65_536
"""Sources kept that ``ignoreip`` does not name."""

STEP = 600.0
"""Seconds by which packets' times may step back without changing a verdict."""

Function = Callable[..., Any]


def replace(owner: Any, name: str, wrap: Callable[[Function], Function]) -> Function:
    """Replace a function of an object by what ``wrap`` makes of it; returns the original."""
    original: Function = getattr(owner, name)
    setattr(owner, name, wrap(original))
    return original


def watch(owner: Any, name: str, note: Callable[[tuple[Any, ...], Any], None]) -> None:
    """Call ``note`` with the arguments and the result of each call of an object's function."""

    def wrap(original: Function) -> Function:
        parameters = inspect.signature(original)

        def watched(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            bound = parameters.bind(*arguments, **options)
            note(tuple(bound.args), result)
            return result

        return watched

    replace(owner, name, wrap)


# -- in this process -----------------------------------------------------------------------

_texts: dict[tuple[int, int, int], str] = {}
_make_text = IPAddr.ntoa.fget


def _address_text(address: Any) -> str:
    """Return an address as text, as fail2ban writes it, made once."""
    key = address._family, address._addr, address._plen
    text = _texts.get(key)
    if text is None:
        text = str(_make_text(address))
        if key[0] not in (socket.AF_INET, socket.AF_INET6):  # a name: its text is its own
            return text
        if len(_texts) >= MAX_TEXTS:
            _texts.clear()
        _texts[key] = text
    return text


def prepare() -> None:
    """Make this process's fail2ban know pflog and leave out what makes no verdict."""
    register()
    helpers.BgService.service = lambda *_, **__: False  # it only collects garbage
    MyTime.time2str = staticmethod(lambda *_, **__: "")  # all of that goes to the log
    IPAddr.ntoa = property(_address_text)


class _Observer(ObserverThread):  # type: ignore[misc] # fail2ban has no types
    """fail2ban's observer (it makes bans of known sources longer), at once in one thread.

    There is one for all jails, as in a server.
    """

    def __init__(self) -> None:
        super().__init__()
        # Jail -> the sources that it ever banned.
        self._known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()

    def add(self, *event: Any, **options: Any) -> None:
        """Do at once what a server does in another thread."""
        getattr(self, event[0])(*event[1:], **options)

    def failureFound(self, *event: Any, **options: Any) -> None:  # noqa: N802 -- fail2ban's name
        """Ask the database only for sources that it can know."""
        jail, ticket = event[-2:]
        if str(ticket.getID()) in self._known.get(jail, ()):
            super().failureFound(*event, **options)

    def banFound(self, ticket: Any, jail: Any, *others: Any, **options: Any) -> None:  # noqa: N802
        """Make a ban longer, and write it down."""
        super().banFound(ticket, jail, *others, **options)
        self._known.setdefault(jail, set()).add(str(ticket.getID()))

    def add_timer(self, *event: Any, **options: Any) -> None:
        """Do nothing: later the observer would only inform actions that a ban was prolonged."""


def observer() -> Any:
    """Return fail2ban's observer; puts one in place that works at once."""
    if not isinstance(Observers.Main, _Observer):
        Observers.Main = _Observer()
    return Observers.Main


# -- of one jail -----------------------------------------------------------------------------


def take_over(jail: Any, failure: Function, failed: Function, ban: Function) -> Function:
    """Let the replay do what fail2ban's threads would.

    Args:
        jail: fail2ban's.
        failure: called instead of the failure manager's ``addFailure``.
        failed: called when fail2ban fails on a line; it would sleep and go on, too.
        ban: called with the ticket of a source that is to be banned.

    Returns:
        The failure manager's own ``addFailure``.
    """
    manager = jail.filter.failManager
    replace(manager, "cleanup", lambda clean: lambda time, *a, **k: clean(time - STEP, *a, **k))
    replace(jail.filter, "commonError", lambda _: failed)
    replace(jail, "putFailTicket", lambda _: ban)
    replace(jail, "isAlive", lambda _: lambda *_, **__: True)
    return replace(manager, "addFailure", lambda _: failure)


def remember_bans(database: Any) -> None:
    """Keep what the database says of a source's bans until that changes.

    fail2ban asks for each failure of a source that was ever banned.
    """
    known: dict[tuple[str, str], Any] = {}

    def wrap_get(ask: Function) -> Function:
        def get_ban(ip: Any, jail: Any = None, *others: Any, **options: Any) -> Any:
            if jail is None or any(others) or any(options.values()):
                return ask(ip, jail, *others, **options)
            key = str(ip), jail.name
            if key not in known:
                known[key] = ask(ip, jail)
            return known[key]

        return get_ban

    def wrap_add(add: Function) -> Function:
        def add_ban(jail: Any, ticket: Any, *others: Any, **options: Any) -> None:
            known.pop((str(ticket.getID()), jail.name), None)
            add(jail, ticket, *others, **options)

        return add_ban

    def wrap_purge(purge: Function) -> Function:
        def forget(*others: Any, **options: Any) -> None:
            known.clear()
            purge(*others, **options)

        return forget

    replace(database, "getBan", wrap_get)
    replace(database, "addBan", wrap_add)
    replace(database, "purge", wrap_purge)


def remember_strangers(filter_: Any) -> None:
    """Ask ``ignoreip`` once for a source that it does not name: that cannot change here."""
    strangers: set[str] = set()

    def wrap(ask: Function) -> Function:
        def is_ignored(ip: Any, *others: Any, **options: Any) -> bool:
            source = str(ip)
            if source in strangers:
                return False
            ignored: bool = ask(ip, *others, **options)
            if not ignored and len(strangers) < MAX_STRANGERS:
                strangers.add(source)
            return ignored

        return is_ignored

    replace(filter_, "_inIgnoreIPList", wrap)


def match_once(filters: Any) -> None:
    """Find a line's failures once for all of these filters, which have the same expressions."""
    asked: Any = None
    found: list[Any] = []
    find = filters[0].processLine

    def process_line(*arguments: Any, **options: Any) -> list[Any]:
        nonlocal asked, found
        if asked != (arguments, options):
            asked, found = (arguments, options), find(*arguments, **options)
        return found

    for each in filters:
        replace(each, "processLine", lambda _: process_line)
