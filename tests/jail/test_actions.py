# SPDX-License-Identifier: GPL-2.0-or-later
"""What fails in an action is reported and tried again; fail2ban's own code runs the actions."""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server.action import ActionBase, CommandAction
from fail2ban.server.actions import Actions
from fail2ban.server.banmanager import BanManager
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.ticket import BanTicket
from fail2ban.server.transmitter import Transmitter

from fail2ban_pflog.jail import actions as jail_actions
from fail2ban_pflog.jail.actions import FIRST_WAIT, LONGEST_WAIT, LOOK_EVERY, ActionMonitor
from fail2ban_pflog.jail.ignorelist import ban_manager

ONE, TWO, THREE = "198.51.100.1", "198.51.100.2", "2001:db8:1:2::/64"
COMMANDS = {
    # Each writes down what it does, and fails where a file says so.
    "actionstart": "echo start >> {log}; test ! -e {folder}/no-start || {fail}",
    "actionstop": "echo stop >> {log}",
    "actionflush": "echo flush >> {log}",
    "actionban": "test ! -e {folder}/no-ban && echo ban <ip> >> {log} || {fail}",
    "actionunban": "echo unban <ip> >> {log}",
    "actionprolong": "echo prolong <ip> >> {log}",
    "actioncheck": "test ! -e {folder}/flushed",
    "actionrepair": "rm {folder}/flushed; echo repair >> {log}",
    "verify": "test ! -e {folder}/open || {fail}",
    "trykill": "test ! -e {folder}/secure || {fail}",
}

FAIL = "{ echo not permitted >&2; exit 1; }"


class Host:
    """A jail with one action whose commands can be made to fail, and a clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.logged: list[str] = []
        self.unbanned: list[str] = []
        self.now = 1000.0
        monkeypatch.setattr(jail_actions.time, "monotonic", lambda: self.now)
        self.jail = Jail("pflog", backend="polling")
        self.actions = self.jail.actions
        self.actions.add("pf")
        self.action = self.actions["pf"]
        for name, text in COMMANDS.items():
            setattr(self.action, name, text.format(folder=folder, log=folder / "log", fail=FAIL))
        self.monitor = ActionMonitor(
            lambda _level, message: self.logged.append(message),
            logging.getLogger("fail2ban"),
            self.unbanned.append,
        )
        self.monitor.actions(self.actions)

    def set(self, name: str, on: bool = True) -> None:
        """Make something fail, or work again."""
        (self.folder / name).touch() if on else (self.folder / name).unlink()

    def done(self) -> list[str]:
        """What the commands have done since they were asked for it."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def start(self) -> None:
        """Start the action, as the jail's thread does."""
        with contextlib.suppress(RuntimeError):
            self.action.start()

    def ban(self, *sources: str) -> None:
        """Let sources fail, and the jail's thread ban them."""
        for source in sources:
            self.jail.putFailTicket(BanTicket(source, time.time()))
        self.run()

    def run(self) -> None:
        """Do what the threads of filter and actions do in a loop."""
        while True:
            self.monitor.look()
            with self.monitor._checking:  # the thread that checks has ended
                pass
            if self.jail.hasFailTickets:
                self.actions._Actions__checkBan()
            elif not self.monitor._again:
                return

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self.run()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A jail whose action has started."""

    class Thread:
        """Runs at once."""

        def __init__(self, target: Callable[[], None], **_options: Any) -> None:
            self.start = target

    monkeypatch.setattr(jail_actions.threading, "Thread", Thread)
    made = Host(tmp_path, monkeypatch)
    made.start()
    assert made.done() == ["start"]
    yield made
    assert made.jail.actions is made.actions


def test_a_ban_that_failed_is_tried_again(host: Host) -> None:
    """It is reported until it succeeds, whatever else is banned meanwhile."""
    host.set("no-ban")
    host.ban(ONE, TWO)
    (row,) = host.monitor.failures
    assert row.startswith("pf failed to ban since 20")
    assert row.endswith(f": not permitted ({ONE} and 1 others)")
    host.set("no-ban", False)
    host.ban(THREE)
    assert host.done() == [f"ban {THREE}"]
    assert host.monitor.failures == [row]
    host.wait(FIRST_WAIT)
    assert sorted(host.done()) == [f"ban {ONE}", f"ban {TWO}"]
    assert host.monitor.failures == []
    host.wait(10 * LONGEST_WAIT)
    assert host.done() == []


def test_tries_are_bounded(host: Host) -> None:
    """The more often a ban fails the longer it waits; a few are tried at a time."""
    host.set("no-ban")
    sources = [f"203.0.113.{n}" for n in range(1, 31)]
    host.action.actionban = f"echo try >> {host.folder}/log; false"
    host.action.actioncheck = ""
    host.ban(*sources)
    tries = [len(host.done())]
    for _ in range(8):
        host.wait(LONGEST_WAIT)
        tries.append(len(host.done()))
    each = tries[0] // len(sources)  # fail2ban 1.0 runs a command that failed once more
    assert tries == [each * len(sources), *(8 * [each * jail_actions.ROUND])]
    waits = []
    for _ in range(int(2 * LONGEST_WAIT)):
        host.wait(1)
        waits.append(bool(host.done()))
    assert sum(waits) == 2


def test_a_source_that_was_unbanned_is_not_tried_again(host: Host) -> None:
    """Neither by the client nor because its time is up."""
    host.set("no-ban")
    host.ban(ONE)
    host.actions.removeBannedIP(ONE)
    host.set("no-ban", False)
    host.wait(LONGEST_WAIT)
    assert (host.done(), host.monitor.failures, host.unbanned) == ([], [], [ONE])


def test_all_are_banned_again_after_a_repair(host: Host) -> None:
    """Rules that were flushed are put back by the next ban, or after a while, with all bans."""
    host.ban(ONE, TWO)
    host.done()
    host.set("flushed")
    host.action.actionban = f"test ! -e {host.folder}/flushed && echo ban <ip> >> {host.folder}/log"
    host.ban(THREE)
    assert host.done() == ["repair", f"ban {THREE}", f"ban {ONE}", f"ban {TWO}"]
    host.set("flushed")
    host.wait(LOOK_EVERY)
    assert host.done() == ["repair", f"ban {ONE}", f"ban {TWO}", f"ban {THREE}"]


def test_an_action_that_did_not_start(host: Host) -> None:
    """It is started again until it starts; then all sources are banned again."""
    host.action.stop()
    host.set("no-start")
    host.start()
    host.set("flushed")
    host.action.actionrepair = "false"
    host.action.actionban = f"test ! -e {host.folder}/flushed && echo ban <ip> >> {host.folder}/log"
    host.ban(ONE)
    assert host.monitor.failures[0].startswith("pf did not start since 20")
    assert "not permitted" in host.monitor.failures[0]
    assert any(f"{ONE} may not be blocked: action pf did not start" in line for line in host.logged)
    host.set("no-start", False)
    host.action.actionstart += f"; rm -f {host.folder}/flushed"
    host.done()
    host.wait(LONGEST_WAIT)
    host.wait(LONGEST_WAIT)
    assert (host.done(), host.monitor.failures) == (["start", f"ban {ONE}"], [])


def test_an_action_that_started_but_does_not_block(host: Host) -> None:
    """verify is asked after bans; what it says is reported until it says otherwise."""
    host.set("open")
    host.ban(ONE)
    (row,) = host.monitor.failures
    assert row.startswith("pf may not block since 20")
    assert row.endswith(": not permitted")
    host.wait(1)
    host.ban(TWO)
    assert sum(line.startswith("action pf may not block") for line in host.logged) == 1
    assert any(line.startswith(f"{TWO} may not be blocked") for line in host.logged)
    host.set("open", False)
    host.wait(LONGEST_WAIT)
    assert host.monitor.failures == []
    assert host.logged[-1].startswith("action pf works again")
    assert host.done() == [f"ban {ONE}", f"ban {TWO}"]


def test_states_that_cannot_be_cut_are_reported_once(host: Host) -> None:
    """The bans hold; one warning, and a row in the status."""
    host.set("secure")
    host.ban(ONE)
    host.wait(LONGEST_WAIT)
    host.ban(TWO)
    host.wait(LONGEST_WAIT)
    assert host.done() == [f"ban {ONE}", f"ban {TWO}"]
    assert len(host.monitor.failures) == len(host.logged) == 1
    assert "does not cut open connections since" in host.logged[0]
    assert host.logged[0].endswith("not permitted")


def test_what_was_banned_before_a_failure_is_unbanned_after_it(host: Host) -> None:
    """fail2ban takes an action whose check failed for one that holds nothing."""
    host.ban(ONE)
    host.set("flushed")
    host.set("no-ban")
    host.action.actionrepair = "false"
    host.ban(TWO)
    host.done()
    host.set("flushed", False)
    host.actions.removeBannedIP(ONE)
    host.action.stop()
    assert host.done() == [f"unban {ONE}", "stop"]


@pytest.mark.parametrize("address", ["2001:db8:1:2::7", IPAddr("2001:db8:1:2::7")])
def test_client_names_an_address_of_a_banned_network(host: Host, address: Any) -> None:
    """unbanip and banned find the network."""
    host.ban(THREE, ONE)
    host.done()
    assert host.actions.getBanned([str(address)]) == 1
    assert host.actions.getBanned([str(address), ONE, TWO]) == [1, 1, 0]
    assert [str(each) for each in host.actions.getBanned([])] == [THREE, ONE]
    assert host.actions.removeBannedIP(address) == 1
    assert host.actions.removeBannedIP([ONE, TWO], ifexists=True) == 1
    assert host.done() == [f"unban {THREE}", f"unban {ONE}"]
    with pytest.raises(ValueError, match="not banned"):
        host.actions.removeBannedIP(TWO)
    assert host.unbanned == [THREE, ONE]


class Python(ActionBase):  # type: ignore[misc] # fail2ban has no types
    """An action in Python, which may lack what command actions have."""

    def __init__(self, jail: Any, name: str) -> None:
        super().__init__(jail, name)
        self.calls: list[tuple[str, Any]] = []
        self.works = True

    def start(self) -> None:
        self.calls.append(("start", None))

    def stop(self) -> None:
        self.calls.append(("stop", None))

    def ban(self, aInfo: Any) -> None:  # noqa: N803
        if not self.works:
            raise OSError("no route to the firewall")
        self.calls.append(("ban", aInfo["ip"]))

    def unban(self, aInfo: Any) -> None:  # noqa: N803
        self.calls.append(("unban", aInfo["ip"]))


def call_all(action: Any) -> None:
    """Call every public method of an action, with arguments by place and by name."""
    ticket = {"ip": ONE, "family": "inet4"}
    action.start()
    for method in ("ban", "reban", "prolong", "unban"):
        if hasattr(action, method):
            getattr(action, method)(ticket)
            getattr(action, method)(aInfo=ticket) if method != "ban" else None
    if isinstance(action, CommandAction):
        action.ban(ticket, "<actionban>")
        action.ban(ticket, cmd="<actionban>")
        assert action.consistencyCheck()
        assert action.consistencyCheck(beforeRepair=lambda: True)
        action.flush()
        action.reload()
    action.stop()


def test_every_method_passes_its_arguments(host: Host) -> None:
    """A command action and one in Python do what they do without being watched."""
    call_all(host.action)
    source = f"{ONE}"
    assert host.done() == [
        "start", f"ban {source}", f"ban {source}", f"ban {source}", f"prolong {source}",
        f"prolong {source}", f"unban {source}", f"unban {source}", f"ban {source}",
        f"ban {source}", "flush", "stop",
    ]  # fmt: skip
    assert host.monitor.failures == []
    python = Python(host.jail, "python")
    host.actions._actions["python"] = python
    host.monitor.actions(host.actions)
    call_all(python)
    called = ["start", "ban", "ban", "ban", "unban", "unban", "stop"]
    assert [call[0] for call in python.calls] == called


def test_an_action_in_python_is_tried_again(host: Host) -> None:
    """Alone: the other action of the jail has banned already."""
    python = Python(host.jail, "python")
    python.works = False
    host.actions._actions["python"] = python
    host.monitor.actions(host.actions)
    python.start()
    host.ban(ONE)
    assert host.monitor.failures[0].startswith("python failed to ban since")
    python.works = True
    python.calls.clear()
    host.wait(LONGEST_WAIT)
    assert [(method, str(ip)) for method, ip in python.calls] == [("ban", ONE)]
    assert host.done() == [f"ban {ONE}"]
    assert host.monitor.failures == []


# -- What is used of fail2ban ---------------------------------------------------------------

SEAM: dict[tuple[Any, str], Optional[str]] = {
    # Replaced or overridden at run time: with its parameters.
    (Jail, "_setBackend"): "self, backend",
    (Transmitter, "_Transmitter__commandHandler"): "self, command",
    (Actions, "removeBannedIP"): "self, ip=None, db=True, ifexists=False",
    (Actions, "getBanned"): "self, ids",
    (Filter, "_inIgnoreIPList"): "self, ip, ticket, log_ignore=True",
    (Filter, "addIgnoreIP"): "self, ipstr",
    (Filter, "status"): "self, flavor='basic'",
    (CommandAction, "start"): "self",
    (CommandAction, "stop"): "self",
    (CommandAction, "ban"): "self, aInfo, cmd='<actionban>'",
    (CommandAction, "reban"): "self, aInfo",
    (CommandAction, "prolong"): "self, aInfo",
    (CommandAction, "unban"): "self, aInfo",
    (CommandAction, "flush"): "self",
    (CommandAction, "consistencyCheck"): "self, beforeRepair=None",
    # Called, though it is not public.
    (CommandAction, "_executeOperation"): "self, tag, operation, family=[], afterExec=None",
    (BanManager, "_inBanList"): "self, ticket",
    (Jail, "putFailTicket"): "self, ticket",
}


@pytest.mark.parametrize("used", SEAM, ids=lambda used: f"{used[0].__name__}.{used[1]}")
def test_fail2ban_has_what_is_replaced(used: tuple[Any, str]) -> None:
    """A function that is replaced takes what it took; another version of fail2ban may differ."""
    owner, name = used
    signature = str(inspect.signature(getattr(owner, name)))
    assert signature == f"({SEAM[used]})"


def test_fail2ban_has_the_fields_that_are_used(host: Host) -> None:
    """Counters, tables and properties that the monitor reads or sets."""
    host.ban(ONE)
    assert host.actions.banEpoch == host.action.banEpoch == 0
    host.action.invalidateBanEpoch()
    assert host.actions.banEpoch == host.action._banEpoch == host.action.banEpoch == 1
    assert host.action._CommandAction__started["inet4"] & 2
    (ticket,) = ban_manager(host.actions)
    assert (str(ticket.getID()), ticket.banEpoch) == (ONE, 0)
    assert isinstance(host.jail.hasFailTickets, bool)
    assert host.action.replaceTag("<verify>", host.action._properties).startswith("test ! -e")
