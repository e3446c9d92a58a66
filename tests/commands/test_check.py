# SPDX-License-Identifier: GPL-2.0-or-later
"""`fail2ban-pflog check` against the real fail2ban: its Python, configuration and server."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from fail2ban_pflog.cli import main
from fail2ban_pflog.commands.check.command import listen
from fail2ban_pflog.commands.check.fail2ban import changeable, first_jail
from fail2ban_pflog.commands.check.subject import Subject
from fail2ban_pflog.commands.host.systems import SYSTEMS
from fail2ban_pflog.commands.host.tools import run
from tests.support.pflogs import savefile_header, scan
from tests.support.server import Server, wait_for

JAIL = """
[pflog]
enabled = true
logpath = {path}
action = recorder
"""


class Checked:
    """What check says of a private server's configuration, and of the server."""

    def __init__(self, make: Callable[..., Server], folder: Path, capsys: Any) -> None:
        self._make, self._capsys = make, capsys
        self.path = folder / "pflog"
        self.path.write_bytes(
            savefile_header(snaplen=160) + scan("198.51.100.7", range(1, 30), time.time() - 5)
        )
        self.options: list[str] = []
        self.status = 0
        self.found: list[dict[str, str]] = []

    def server(self, jails: str = "", **options: bool) -> Server:
        made = self._make((jails or JAIL).format(path=self.path), **options)
        self.options = ["--confdir", str(made.config)]
        return made

    def checks(self, *options: str) -> list[dict[str, str]]:
        self._capsys.readouterr()
        self.status = main(["check", "--json", *self.options, *options])
        printed = json.loads(self._capsys.readouterr().out)
        assert printed["status"] == self.status
        self.found = printed["checks"]
        return self.found

    def says(self, name: str, mark: str, *words: str) -> None:
        """Assert that a check has the mark and all words, in what was found or in the advice.

        Of the last look, if there was one.
        """
        checks = self.found or self.checks()
        for each in checks:
            text = each["found"] + each["advice"]
            if (each["name"], each["mark"]) == (name, mark) and all(w in text for w in words):
                return
        raise AssertionError(f"no {mark} {name} with {words} in {json.dumps(checks, indent=1)}")


@pytest.fixture
def checked(
    server: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Checked:
    return Checked(server, tmp_path, capsys)


def test_a_server_that_is_well(checked: Checked) -> None:
    """From fail2ban's version to the jail's counters, all is seen to be well."""
    server = checked.server().start()
    server.wait_for_bans("198.51.100.7")
    checked.says("fail2ban", "ok", str(server.config), "Python 3.")
    checked.says("package", "ok", "fail2ban_pflog")
    checked.says("loader", "ok", "before all others")
    checked.says("pflog", "ok", "options: distinct port, mode normal")
    checked.says("server", "ok", "answers, and runs pflog ")
    checked.says("pflog", "ok", "runs; 1 banned now", "29 read")
    checked.says(str(checked.path), "ok", "newest packet is")
    # What this machine has not, or is not known of the action that only writes down.
    wrong = [each for each in checked.found if each["mark"] == "WRONG"]
    assert wrong == []
    assert checked.status == 3


def test_lines_are_one_a_check(checked: Checked, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json each check is a line: mark, name, what was found, and what to do."""
    checked.server()
    assert main(["check", *checked.options]) == 1
    lines = capsys.readouterr().out.splitlines()
    names = [(each["mark"], each["name"]) for each in checked.checks()]
    assert [tuple(line.split()[:2]) for line in lines] == names
    assert any(line.startswith("WRONG  server") and " -> " in line for line in lines)


def test_server_that_does_not_run(checked: Checked) -> None:
    """The configuration is looked at all the same."""
    checked.server()
    checked.says("server", "WRONG", "does not answer", "restart")
    checked.says("package", "ok")
    assert checked.status == 1


def test_package_that_its_python_does_not_find(checked: Checked) -> None:
    """It is loaded by fail2ban's Python, not by ours, and by the loader's own words."""
    server = checked.server(packaged=False)
    if "ok" in [each["mark"] for each in checked.checks() if each["name"] == "package"]:
        pytest.skip("fail2ban's Python finds the package by itself")
    checked.says("package", "WRONG", "cannot be loaded by fail2ban's Python", "setup")
    (server.config / "action.d/pflog-backend.py").unlink()
    checked.checks()
    checked.says("package", "WRONG", "has no action.d/pflog-backend.py", "fail2ban-pflog setup")


def test_package_that_others_may_change(tmp_path: Path) -> None:
    """What root's server runs should be root's alone; a sticky directory above it is no harm."""
    package = tmp_path / "site/package"
    package.mkdir(parents=True)
    if os.geteuid() == 0:
        assert changeable(package) == ""
        os.chown(package.parent, 1000, 1000)
        assert changeable(package) == str(package.parent)
        os.chown(package.parent, 0, 0)
        package.chmod(0o777)
    assert changeable(package) == str(package)


def test_loader_that_is_not_enabled(checked: Checked) -> None:
    """Without it fail2ban would refuse all jails."""
    server = checked.server()
    (server.config / "jail.d/00-pflog-backend.conf").unlink()
    (server.config / "jail.d/00-pflog-backend.local").unlink()
    checked.says("loader", "WRONG", "pflog would make fail2ban refuse its whole configuration")


def test_jail_that_stands_before_the_loader(checked: Checked) -> None:
    """A jail of jail.conf comes before all of jail.d."""
    server = checked.server("[DEFAULT]\n")
    with (server.config / "jail.conf").open("a") as file:
        file.write(f"\n[own]\nenabled = true\nbackend = pflog\nlogpath = {checked.path}\n")
        file.write("filter = pflog\naction = recorder\n")
    checked.says("loader", "WRONG", "own stands before", "jail.local")


@pytest.mark.parametrize(
    ("backend", "word"),
    [
        ("pflog[iface=em0]", "option iface"),
        ("pflog[mode=agressive]", "option mode"),
        ("pflog[hold=", "hold"),
        ("pflog1", "its form is pflog[option=value, ...]"),
        ("pflgo[mode=normal]", "its form is pflog[option=value, ...]"),
    ],
)
def test_options_of_the_backend(checked: Checked, backend: str, word: str) -> None:
    """Options are read as the backend reads them."""
    checked.server(JAIL + f"backend = {backend}\n")
    checked.says("pflog", "WRONG", word)


def test_no_jail_at_all(checked: Checked) -> None:
    """All jails are disabled as shipped; the lines that enable one are this system's."""
    server = checked.server("[DEFAULT]\n")
    checked.says("jails", "WRONG", "no enabled jail", "[pflog]", "`enabled = true`", "nft")
    checked.checks("--system", "freebsd")
    checked.says("jails", "WRONG", "[pflog], and below it `enabled = true`")
    assert not any("nft" in each["advice"] for each in checked.found)
    writer = server.folder / "usr/local/etc/rc.d/fail2ban_pflogd"
    writer.parent.mkdir(parents=True)
    writer.touch()
    subject = Subject(server.folder, SYSTEMS["freebsd"], run, 0.0, listen)
    assert first_jail(subject) == "in jail.local: [pflog-text], and below it `enabled = true`"


def test_jail_that_reads_text(checked: Checked) -> None:
    """A host that uses fail2ban-pflogd alone gets that said, not that it has no jail."""
    checked.server("[pflog-text]\nenabled = true\nlogpath = {path}\naction = recorder\n")
    checked.says("jails", "ok", "pflog-text: reads text", "fail2ban-pflogd --check")


def test_configuration_that_cannot_be_read(checked: Checked) -> None:
    """What stops the client is reported."""
    server = checked.server()
    (server.config / "jail.local").write_text("this is no configuration\n")
    checked.says("config", "WRONG", "jail.local")
    assert checked.status == 1


MISSING = {
    "savefile": ("", "for pflog jail", "correct the logpath of pflog"),
    "text log": (
        "[pflog-text]\nenabled = true\naction = recorder\nlogpath = {path}\n",
        "for pflog-text jail", "start fail2ban-pflogd before fail2ban",
    ),
    "another jail's log": (
        "[sshd]\nenabled = true\nbackend = polling\nlogpath = {path}\n",
        "for sshd jail", "correct that jail, or disable it: a restart does not help before",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISSING)
def test_log_that_is_not_there(checked: Checked, what: str) -> None:
    """A logpath that matches nothing keeps fail2ban from starting, as its client says."""
    jails, sentence, advice = MISSING[what]
    checked.server(jails)
    checked.path.unlink()
    checked.says(
        "config", "WRONG", f"would not start: Failed during configuration: Have not found any log "
        f"file {sentence}", advice,
    )  # fmt: skip
    checked.says("server", "WRONG", "does not answer", "correct its configuration first")


def test_jail_that_another_file_disables(checked: Checked) -> None:
    """`enabled = true` in a file that is read before the shipped one: the winner is named."""
    server = checked.server("[DEFAULT]\n")
    (server.config / "jail.d/aaa.conf").write_text("[pflog]\nenabled = true\n")
    checked.says(
        "jails", "WRONG", "[pflog] enabled = true in jail.d/aaa.conf", "by jail.d/pflog.conf",
        "jail.local",
    )  # fmt: skip
    (server.config / "jail.local").write_text("[pflog]\nenabled = yes\naction = recorder\n")
    assert not any("overridden" in each["found"] for each in checked.checks())


def test_what_a_jail_says_of_itself(checked: Checked) -> None:
    """An idle jail, a failed action: the status's own words, with what to do."""
    server = checked.server(
        JAIL.replace("recorder", "broken") + JAIL.replace("[pflog]", "[idle]")
        + "filter = pflog\nbackend = pflog[mode=some]\n"
    )  # fmt: skip
    (server.config / "action.d/broken.conf").write_text(
        "[Definition]\nactionstart = echo no such table >&2; exit 1\nactionban = exit 1\n"
    )
    server.expected += [
        r"option mode",
        r"fail2ban\.utils",
        r"fail2ban\.actions",
        r"may not be blocked",
    ]
    server.start()
    wait_for(lambda: "Action failed" in server.client("status", "pflog"), "the failure")
    checked.says("pflog", "WRONG", "Action failed", "no such table")
    checked.says("idle", "WRONG", "Idle because", "option mode")


def test_jail_that_the_server_does_not_have(checked: Checked) -> None:
    """A jail that was enabled after the start is in the configuration alone."""
    server = checked.server("[pflog-strict]\nenabled = true\nlogpath = {path}\naction = recorder\n")
    server.expected.append("UnknownJailException")
    server.start()
    server.jails(JAIL.format(path=checked.path))
    checked.says("pflog", "WRONG", "does not run", "restart")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to listen")
def test_listening_is_tried() -> None:
    """An interface is opened for an instant; what is wrong with it is reported."""
    pytest.importorskip("pcapy")
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    assert "it is no log interface of" in str(listen(loopback))
    assert "pflog99" in str(listen("pflog99"))


def test_host_without_fail2ban(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that installs it is named; pf is looked at all the same."""
    assert main(["check", "--root", str(tmp_path), "--system", "freebsd"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WRONG  fail2ban")
    assert "is not installed" in lines[0]
    assert "/usr/local/etc/fail2ban" in lines[0]
    assert "pkg install security/py-fail2ban" in lines[0]
    assert any("pf " in line for line in lines[1:])


def test_interpreter_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After an upgrade of Python the first line of fail2ban-server names one that is not there."""
    (tmp_path / "usr/local/etc/fail2ban").mkdir(parents=True)
    (tmp_path / "usr/local/bin").mkdir()
    server = tmp_path / "usr/local/bin/fail2ban-server"
    server.write_text("#!/usr/local/bin/python3.1\n")
    assert main(["check", "--root", str(tmp_path), "--system", "freebsd"]) == 1
    assert "/usr/local/bin/python3.1, which is not there" in capsys.readouterr().out
    server.write_text("#!/bin/sh\n")
    assert main(["check", "--root", str(tmp_path), "--system", "freebsd"]) == 1
    assert "names no Python" in capsys.readouterr().out
