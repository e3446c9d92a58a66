# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped jails in a real server, as fail2ban's own habits have them: banaction, mails,
``fail2ban-client get`` and ``set``.  pfctl and sendmail are stand-ins that write down.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog import __version__
from tests.support import server as f2b
from tests.support.actions import PfServer
from tests.support.pf import Pf
from tests.support.pflogs import append, scan
from tests.support.server import Server, wait_for

SCANNER, CLIENT = "198.51.100.7", "198.51.100.8"
MakeServer = Callable[..., Server]
JAILS = ("pflog", "pflog-strict", "pflog-slow")


@pytest.fixture
def host() -> Iterator[PfServer]:
    """A host with pf and a pfctl."""
    conf = 'anchor "f2b/*"\nblock drop in quick from <f2b-pflog-strict>\npass in'
    made = PfServer(Path(tempfile.mkdtemp()), Pf("freebsd", conf))
    yield made
    made.close()


def text(default: str, **options: object) -> str:
    """A jail.local that sets what an administrator would set of the shipped jail."""
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    return f"[DEFAULT]\n{default}\n[pflog]\nenabled = true\n{lines}"


def test_banaction(host: PfServer, server: MakeServer, savefile: Path, tmp_path: Path) -> None:
    """pf-pflog bans in each jail's own anchor or table, however it is named.

    By pflog_action for all jails, by a jail's banaction, by `action` and name= as in older
    configurations, and as banaction_allports of any jail of fail2ban.
    """
    log = tmp_path / "plain.log"
    log.touch()
    action = f"pf-pflog[pfctl={host.program}]"
    made = server(
        f"[DEFAULT]\npflog_action = {action}\nbanaction_allports = {action}\nlogpath = {savefile}\n"
        "[pflog]\nenabled = true\n"
        f"[pflog-strict]\nenabled = true\nbanaction = pf-pflog[where=table, pfctl={host.program}]\n"
        "[pflog-slow]\nenabled = true\n"
        f"action = pf-pflog[name=%(__name__)s, pfctl={host.program}]\n"
        "[plain]\nenabled = true\nfilter = plain\nbackend = polling\nmaxretry = 1\nport = ssh\n"
        f"logpath = {log}\nbanaction = %(banaction_allports)s\n"
    ).start()
    append(savefile, scan(SCANNER, range(1, 26), time.time()))
    with log.open("a") as file:
        file.write(f"{time.time():.3f} intruder {SCANNER}\n")
    anchors = [(f"f2b/{name}", f"f2b-{name}") for name in ("pflog", "pflog-slow", "plain")]
    places = [*anchors, ("", "f2b-pflog-strict")]
    wait_for(lambda: all(SCANNER in host.pf.tables.get(each, ()) for each in places), "four bans")
    wait_for(lambda: f"-K {SCANNER}" in host.pf.calls, "the end of its states")
    for path, table in anchors:
        rule = host.pf("-a", path, "-s", "rules").out
        assert rule == f"block drop in quick from <{table}> to any\n"
    assert made.ask("get", "pflog", "actions") == ["pf-pflog"]
    # What action_ hands over is taken, and means nothing.
    properties = set(made.ask("get", "pflog", "actionproperties", "pf-pflog"))
    assert {"port", "protocol", "chain"} <= properties
    assert "Action failed" not in made.client("status", "pflog")
    assert "ERROR" not in made.output()
    made.stop()  # while pf still answers


def test_text_jail_bans_by_pf_pflog(server: MakeServer, tmp_path: Path) -> None:
    """[pflog-text] has the same action."""
    log = tmp_path / "pflog.log"
    log.touch()
    no_pf = [r"pfctl", r"returned \d+$", r"Failed to st(?:art|op) jail 'pflog-text'"]
    jail = f"[pflog-text]\nenabled = true\nlogpath = {log}\n"
    made = server(jail, expected=no_pf).start()
    assert made.ask("get", "pflog-text", "actions") == ["pf-pflog"]


# -- Mails ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "has_lines"), [("action_mw", False), ("action_mwl", True)])
def test_mails(
    host: PfServer, server: MakeServer, savefile: Path, tmp_path: Path, action: str, has_lines: bool
) -> None:
    """`action = %(action_mw)s` in [DEFAULT] bans and mails, for these jails as for all others.

    With action_mwl the mail has the packets, which no text log holds.
    """
    default = f"action = %({action})s\npflog_action = pf-pflog[pfctl={host.program}]"
    f2b = server(text(default, logpath=savefile))
    mails = tmp_path / "mails"
    actions = f2b.config / "action.d"
    (actions / "sendmail-common.local").write_text(f"[Init]\nmailcmd = cat >> {mails}\n")
    (actions / "mail-whois-common.local").write_text("[DEFAULT]\n_whois_command = echo nobody\n")
    f2b.start()
    append(savefile, scan(SCANNER, range(1, 16), time.time()))
    subject = f"Subject: [Fail2Ban] pflog: banned {SCANNER} from"
    wait_for(lambda: mails.exists() and "Regards" in mails.read_text().partition(subject)[2], "it")
    mail = mails.read_text().partition(subject)[2]
    assert "nobody" in mail
    assert len(re.findall(rf"block in on \S+: {re.escape(SCANNER)}\.\d+ > ", mail)) == (
        15 if has_lines else 0
    )
    assert "ERROR" not in f2b.output()


@pytest.mark.parametrize("mta", ["sendmail", "mail"])
@pytest.mark.parametrize("action", ["action_", "action_mw", "action_mwl"])
def test_mails_need_no_logpath(server: MakeServer, action: str, mta: str) -> None:
    """A jail that listens has no logpath; fail2ban's action_mwl would refuse everything for it."""
    enabled = "".join(f"[{jail}]\nenabled = true\n" for jail in JAILS)
    f2b = server(f"[DEFAULT]\naction = %({action})s\nmta = {mta}\n{enabled}")
    assert "OK: configuration test is successful" in f2b.client("-t")


# -- fail2ban-client get, set, status -------------------------------------------------------

ANSWERS = [
    # command, argument of set, what get answers then
    ("maxretry", "7", 7),
    ("findtime", "90", 90),
    ("bantime", "2h", 7200),
    ("maxmatches", "3", 3),
    ("ignoreself", "false", False),
    ("usedns", "no", "no"),
]


@pytest.fixture
def running(server: MakeServer, savefile: Path) -> Server:
    """A server with the shipped jail and an action that writes down."""
    return server(text("", logpath=savefile, action="recorder")).start()


def test_set_and_get(running: Server) -> None:
    """What is set is answered, and is what get returns."""
    for name, value, answer in ANSWERS:
        assert (name, running.ask("set", "pflog", name, value)) == (name, answer)
        assert (name, running.ask("get", "pflog", name)) == (name, answer)


def test_what_is_set_counts_at_once(running: Server, savefile: Path) -> None:
    """maxretry, ignoreip and idle hold for the next packet; attempts and bans can be set."""
    assert str(running.ask("set", "pflog", "addignoreip", CLIENT)[0]) == CLIENT
    running.ask("set", "pflog", "maxretry", "3")
    append(savefile, scan(CLIENT, range(1, 16), time.time()))
    append(savefile, scan(SCANNER, range(1, 4), time.time()))
    running.wait_for_bans(SCANNER)
    assert running.bans() == [SCANNER]
    running.ask("set", "pflog", "delignoreip", CLIENT)
    assert running.ask("get", "pflog", "ignoreip") == []
    running.ask("set", "pflog", "banip", CLIENT)
    running.wait_for_bans(CLIENT)
    assert sorted(running.ask("get", "pflog", "banip")) == [SCANNER, CLIENT]
    assert running.ask("set", "pflog", "unbanip", SCANNER, CLIENT) == 2
    assert running.ask("set", "pflog", "idle", "on") is True
    assert running.ask("set", "pflog", "idle", "off") is False


def test_actions_properties(running: Server) -> None:
    """An action's properties are read and set as those of any jail."""
    assert running.ask("get", "pflog", "actions") == ["recorder"]
    assert "actionban" in running.ask("get", "pflog", "actionproperties", "recorder")
    assert running.ask("set", "pflog", "action", "recorder", "timeout", "5") == 5
    assert running.ask("get", "pflog", "action", "recorder", "timeout") == 5


def test_options_of_the_backend_change_with_a_reload(running: Server, savefile: Path) -> None:
    """No command sets them; a reload makes the jail anew with those that the file says."""
    running.jails(
        text("", logpath=savefile, action="recorder", backend="pflog[distinct=host, mode=any]")
    )
    assert "OK" in running.client("reload", "pflog")
    append(savefile, scan(SCANNER, range(1, 5), time.time()))
    wait_for(lambda: "3 repeats" in running.status("pflog")["Packets"], "hosts to count")


def test_the_loaders_jail_tells_what_is_loaded(running: Server) -> None:
    """Version, interpreter, directory; pcapy, libpcap, and whether they know pf's words."""
    status = running.status("pflog-backend")
    package = (Path(f2b.REPO) / "fail2ban_pflog").resolve()
    assert re.fullmatch(
        rf"pflog {re.escape(__version__)}, Python 3\.\d+, {package}", status["Backend"]
    )
    assert re.fullmatch(r"pcapy-ng [\d.]+, libpcap version .*, filters pf's log", status["Capture"])


def test_bans_of_an_old_jail_are_carried_over(server: MakeServer, tmp_path: Path) -> None:
    """docs/migrating.md: what one jail's `get banip` prints is what another's `set` takes."""
    log = tmp_path / "plain.log"
    log.touch()
    old = f"enabled = true\nfilter = plain\nbackend = polling\nlogpath = {log}\naction =\n"
    jails = f"[pf]\n{old}\n{text('', action='recorder')}"
    made = server(jails, expected=["waiting for pflog0"]).start()
    made.ask("set", "pf", "banip", SCANNER, CLIENT)
    wait_for(lambda: len(made.ask("get", "pf", "banip")) == 2, "the old bans")
    made.client("set", "pflog", "banip", *made.client("get", "pf", "banip").split())
    made.wait_for_bans(SCANNER, CLIENT)
