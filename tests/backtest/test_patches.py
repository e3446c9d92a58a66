# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's functions that a backtest replaces still take what our replacements expect."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay import patches

SIGNATURES = {
    "BgService.service": "self, force=False, wait=False",
    "MyTime.time2str": "unixTime, format='%Y-%m-%d %H:%M:%S'",
    "IPAddr.ntoa": "self",
    "Fail2BanDb.getBan": "self, cur, ip, jail=None, forbantime=None, overalljails=None, "
    "fromtime=None",
    "Fail2BanDb.addBan": "self, cur, jail, ticket",
    "Fail2BanDb.purge": "self, cur",
    "FailManager.addFailure": "self, ticket, count=1, observed=False",
    "FailManager.cleanup": "self, time",
    "FileFilter.commonError": "self, reason='common', exc=None",
    "FileFilter.processLine": "self, line, date=None",
    "FileFilter.logIgnoreIp": "self, ip, log_ignore, ignore_source='unknown source'",
    "FileFilter._inIgnoreIPList": "self, ip, ticket, log_ignore=True",
    "FileFilter._ignoreLine": "self, buf, orgBuffer, failRegex=None",
    "Jail.putFailTicket": "self, ticket",
    "Jail.isAlive": "self",
    "ObserverThread.add": "self, *event",
    "ObserverThread.add_timer": "self, starttime, *event",
    "ObserverThread.failureFound": "self, jail, ticket",
    "ObserverThread.banFound": "self, ticket, jail, btime",
}
"""Of fail2ban's source; its database's functions are given ``cur`` by a decorator."""


def parameters(owner: Any, name: str) -> str:
    """A function's parameters in fail2ban's source: another test may have replaced it here."""
    lines = (line.strip() for line in inspect.getsource(owner).splitlines())
    head = next(line for line in lines if line.startswith(f"def {name}("))
    return head.partition("(")[2].rstrip("):").replace(" = ", "=").replace('"', "'")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in patches.REPLACED.items() for name in names],
)
def test_signature(owner: Any, name: str) -> None:
    """A function that is replaced has the parameters that its replacement knows.

    Where this fails, look whether the replacement in ``patches`` still does what it should.
    """
    defined = next(each for each in owner.__mro__ if name in vars(each))
    assert parameters(defined, name) == SIGNATURES[f"{owner.__name__}.{name}"]


def test_replacements_pass_on_all_arguments() -> None:
    """Whatever more a later fail2ban gives or asks, the wrapped function is given it."""

    calls: list[Any] = []

    class Database:
        def getBan(self, *arguments: Any, **options: Any) -> int:  # noqa: N802
            calls.append((arguments, options))
            return len(calls)

        addBan = purge = getBan  # noqa: N815

    class Named:
        name = "jail"

        def getID(self) -> str:  # noqa: N802
            return "192.0.2.1"

    database: Any = Database()
    patches.remember_bans(database)
    assert database.getBan("192.0.2.1", Named()) == database.getBan("192.0.2.1", Named()) == 1
    assert database.getBan("192.0.2.1", Named(), 1, new=2) == 2
    database.addBan(Named(), Named(), new=3)
    assert database.getBan("192.0.2.1", Named()) == 4
    database.purge(new=5)
    assert [options for _, options in calls] == [
        {},
        {"new": 2},
        {"new": 3},
        {},
        {"new": 5},
    ]


def test_nothing_else_replaces_functions() -> None:
    """No other module of the backtest puts its own functions in the place of fail2ban's."""
    folder = Path(patches.__file__).resolve().parents[1]
    names = {name for names in patches.REPLACED.values() for name in names}
    for path in folder.rglob("*.py"):
        if path.name != "patches.py":
            text = path.read_text()
            assert not [name for name in names if f".{name} = " in text], path
