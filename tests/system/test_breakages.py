# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever breaks in a pflog jail breaks that jail alone, says why, and can be mended.

Every row is a breakage; of every row the same is asked, at a start and at a reload:

- the text jail beside it bans;
- the jails that ran before run;
- ``fail2ban-client status`` of the pflog jail says why;
- every command of the client is answered soon;
- after the repair and a reload the pflog jail bans.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import server as f2b
from tests.support.pflogs import record, savefile_header, scan, syn
from tests.support.server import SITE_PACKAGES, UNIT, Server, wait_for

ANSWER = 40.0 * UNIT
"""Seconds until an answer: twenty times what it takes at most, and less than what it must not wait
for."""

HANGS = f"sleep {3 * ANSWER:.0f}"

LOADER = "jail.d/00-pflog-backend.local"


class Options(NamedTuple):
    """A breakage that stands in the jail's options, and a word of what the status says."""

    word: str
    options: dict[str, str]


ROWS = {
    "unknown option": Options("option iface", {"backend": "pflog[iface=em0]"}),
    "typo in mode": Options("option mode", {"backend": "pflog[mode=agressive]"}),
    "empty mode": Options("option mode", {"backend": "pflog[mode=]"}),
    "option that evaluates": Options("option silence", {"backend": "pflog[silence=9**9**9]"}),
    "number that evaluates": Options("option hold", {"backend": "pflog[hold=9**9**9]"}),
    "option named as an argument": Options("option self", {"backend": "pflog[self=x]"}),
    "unreadable options": Options("cannot be read", {"backend": "pflog[distinct="}),
    "interface as backend": Options("[interface=pflog1]?", {"backend": "pflog1"}),
    "daemon as backend": Options("did you mean", {"backend": "pflogd"}),
    "other name": Options("did you mean", {"backend": "pflog_x"}),
    "typo in the filter's mode": Options("failregex", {"filter": "pflog[mode=agressive]"}),
    "empty mode of the filter": Options("failregex", {"filter": "pflog[mode=]"}),
    "expression in the filter": Options("prefregex", {"filter": 'pflog[interface="vtnet0("]'}),
    "prefregex": Options("prefregex", {"prefregex": "^(<F-CONTENT>.*</F-CONTENT>$"}),
    "failregex": Options("failregex", {"failregex": "^<ADDR> ["}),
    "failregex without an address": Options("failregex", {"failregex": "^nobody$"}),
    "ignoreregex": Options("ignoreregex", {"ignoreregex": "(["}),
    "encoding": Options("logencoding", {"logencoding": "unknown"}),
    "time zone": Options("logtimezone", {"logtimezone": "Mars"}),
    "findtime": Options("findtime", {"findtime": "soon"}),
    "bantime": Options("bantime", {"bantime": "for ever"}),
    "ignorecache": Options("ignorecache", {"ignorecache": "key=x, max-count=many"}),
    "bantime.formula": Options("formula", {"bantime.formula": "ban.Time * ("}),
    "expression": Options("action blok", {"backend": 'pflog[bpf="action blok"]'}),
    "unclosed quote": Options("filter expression", {"backend": 'pflog[bpf="action block]'}),
    "NUL in the expression": Options("holds a NUL", {"backend": 'pflog[bpf="port\0 22"]'}),
    "long expression": Options("letters", {"backend": f'pflog[bpf="{"port 1 or " * 900}port 1"]'}),
    "junk behind the options": Options("cannot be read", {"backend": "pflog[distinct=port]x"}),
    "parentheses": Options("cannot be read", {"backend": "pflog(distinct=port)"}),
    "two backends": Options("cannot be read", {"backend": "polling, pflog"}),
    "letters swapped": Options("cannot be read", {"backend": "plfog"}),
    "letter left out": Options("cannot be read", {"backend": "plog[mode=any]"}),
    "another alphabet": Options("cannot be read", {"backend": "pflög"}),
    "quoted": Options("cannot be read", {"backend": '"pflog"'}),
    "upper case value": Options("option distinct", {"backend": "pflog[distinct=PORT]"}),
    "option twice": Options("option mode", {"backend": "pflog[mode=any, mode=bogus]"}),
    "name of no interface": Options("option interface", {"backend": "pflog[interface=pf\0]"}),
    "datepattern": Options("datepattern", {"datepattern": "^%%Q"}),
    "look-behind": Options("ignoreregex", {"ignoreregex": "(?<=a+)b"}),
    "group named twice": Options("failregex", {"failregex": "^(?P<a>x)(?P<a>y)<ADDR>"}),
    "maxlines": Options("maxlines", {"maxlines": "-5"}),
    "maxretry": Options("maxretry", {"maxretry": "many"}),
    "bantime.factor": Options("factor", {"bantime.factor": "nosuch"}),
    "bantime.multipliers": Options("multipliers", {"bantime.multipliers": "1 x 3"}),
    "action that is not there": Options("addaction", {"action": "nosuch.py"}),
}


def good(name: str, path: Path, **options: str) -> str:
    """A jail that bans for five ports; some of its options may be broken."""
    lines = {
        "enabled": "true",
        "filter": "pflog",
        "backend": "pflog",
        "action": "recorder",
        "logpath": str(path),
        "maxretry": "5",
        "findtime": "10m",
        "bantime": "1h",
        **options,
    }
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


class Site:
    """A server with a text jail, and a pflog jail with a savefile for each of ``names``."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.paths = {name: folder / f"{name}.pflog" for name in names}
        for path in self.paths.values():
            path.write_bytes(savefile_header())
        self.text = folder / "plain.log"
        self.text.touch()
        self.server = Server(folder, "", expected=[r"cannot be loaded\b", "this jail stays idle"])
        self._sources = (f"198.51.{1 + n // 250}.{1 + n % 250}" for n in range(10_000))

    def jails(self, **broken: dict[str, str]) -> None:
        """Write jail.local anew; options of jails that are to be broken by name."""
        plain = good("plain", self.text, filter="plain", backend="polling", maxretry="1")
        own = [good(name, path, **broken.get(name, {})) for name, path in self.paths.items()]
        self.server.jails("\n".join([plain, *own]))

    def append(self, name: str, data: bytes) -> None:
        with self.paths[name].open("ab") as file:
            file.write(data)

    def bans(self, *names: str) -> None:
        """Assert that pflog jails ban."""
        sources = [next(self._sources) for _ in names]
        for name, source in zip(names, sources):
            self.append(name, scan(source, range(1, 6), time.time()))
        self.server.wait_for_bans(*sources)

    def others_are_well(self) -> None:
        """Assert that the text jail bans, that all jails run, that answers come soon."""
        source = self.intrude()
        assert self.server.ask("ping") == "pong"
        jails = self.server.ask("status")[1][1].replace(",", " ").split()
        assert sorted(jails) == sorted(["pflog-backend", "plain", *self.paths])
        self.server.wait_for_bans(source)
        self.answers_came()

    def intrude(self) -> str:
        """Let a source fail in the text jail, which bans it."""
        source = next(self._sources)
        with self.text.open("a") as file:
            file.write(f"{time.time():.3f} intruder {source}\n")
        return source

    def answers_came(self) -> None:
        late = {words: took for words, took in self.server.took.items() if took > ANSWER}
        assert late == {}

    def says(self, name: str, word: str) -> None:
        """Assert that a jail's status says why it does not ban; the log may say it, too."""
        self.server.expected.append(re.escape(word))
        wait_for(lambda: word in self.server.client("status", name), f"{word!r} in the status")


def needs_server() -> None:
    if f2b.SERVER is None or f2b.CLIENT is None:
        pytest.skip("needs fail2ban-server and fail2ban-client (`make test` installs them)")


@pytest.mark.parametrize("when", ["start", "reload"])
def test_wrong_options(tmp_path: Path, when: str) -> None:
    """A wrong option leaves its jail idle with the reason; mended, the jail bans."""
    needs_server()
    names = {row: f"row{number}" for number, row in enumerate(ROWS)}
    site = Site(tmp_path, list(names.values()))
    wrong = {names[row]: ROWS[row].options for row in ROWS}
    try:
        site.jails(**(wrong if when == "start" else {}))
        site.server.start()
        if when == "reload":
            site.bans("row0")
            site.jails(**wrong)
            assert "OK" in site.server.client("reload")
            del site.server.took["reload"]  # of all these jails one after the other
        site.others_are_well()
        idle = {
            row: dict(dict(site.server.ask("status", name))["Filter"]).get("Idle because", "")
            for row, name in names.items()
        }
        assert [(row, idle[row]) for row in ROWS if ROWS[row].word not in idle[row]] == []
        site.jails()
        assert "OK" in site.server.client("reload", "row0")
        site.bans("row0")
        site.answers_came()
        assert "OK" in site.server.client("reload")
        del site.server.took["reload"]
        site.bans(*names.values())
        site.others_are_well()
    finally:
        site.server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server that is not started yet, with one pflog jail."""
    needs_server()
    made = Site(tmp_path, ["pflog"])
    made.jails()
    yield made
    made.server.end()


def break_loader(site: Site, text: str) -> None:
    (site.server.config / LOADER).write_text(f"[pflog-backend]\naction = {text}\n")


PACKAGED = f'pflog-backend.py[path="{SITE_PACKAGES}"]'


@pytest.mark.parametrize("option", ["foo", "name", "self"])
def test_unknown_option_of_the_loader(site: Site, option: str) -> None:
    """It is reported, and the backend is loaded all the same."""
    break_loader(site, f'pflog-backend.py[path="{SITE_PACKAGES}", {option}=bar]')
    site.server.start()
    site.others_are_well()
    site.says("pflog-backend", f"option {option}")
    site.bans("pflog")


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("pflog-backend.py", "name its virtual environment"),
        ('pflog-backend.py[path="/nonexistent/lib/python3.9/site-packages"]', "does not exist"),
        (
            'pflog-backend.py[path="{folder}/venv"]',
            "holds packages for Python 2.0, but fail2ban runs on Python {}.{}: install the package "
            "anew for this one, and run its `fail2ban-pflog setup`".format(*sys.version_info[:2]),
        ),
        ('pflog-backend.py[path="{folder}/raises"]', "KeyboardInterrupt"),
        ('pflog-backend.py[path="{folder}/syntax"]', "SyntaxError"),
    ],
)
def test_package_that_cannot_be_loaded(site: Site, tmp_path: Path, action: str, word: str) -> None:
    """Its jails stay idle and say what to do; with the package and a restart they ban."""
    (tmp_path / "venv/lib/python2.0/site-packages").mkdir(parents=True)
    for name, text in (("raises", "raise KeyboardInterrupt"), ("syntax", "def (")):
        (tmp_path / name / "fail2ban_pflog").mkdir(parents=True)
        (tmp_path / name / "fail2ban_pflog/__init__.py").write_text(text)
    break_loader(site, action.format(folder=tmp_path))
    site.server.start()
    site.others_are_well()
    site.says("pflog", word)
    site.says("pflog-backend", word)
    assert "OK" in site.server.client("reload")
    site.others_are_well()
    site.server.stop()
    break_loader(site, PACKAGED)
    site.server.start()
    site.bans("pflog")


@pytest.mark.parametrize("how", ["root", "other Python", "pattern"])
def test_path_finds_the_environment(site: Site, how: str) -> None:
    """path= takes an environment's root, the path of the Python before, or a pattern."""
    path = {
        "root": Path(SITE_PACKAGES).parents[2],
        "other Python": Path(SITE_PACKAGES).parents[1] / "python2.0/site-packages",
        "pattern": Path(SITE_PACKAGES).parents[1] / "python*/site-packages",
    }[how]
    break_loader(site, f'pflog-backend.py[path="{path}"]')
    site.server.start()
    site.bans("pflog")
    assert "Warning" not in site.server.client("status", "pflog-backend")


@pytest.mark.parametrize("fault", ["raise OSError('broken')", "raise SystemExit(3)"])
def test_pcapy_that_cannot_be_imported(site: Site, tmp_path: Path, fault: str) -> None:
    """A jail that would listen says so once, with what to do; savefiles are read."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "pcapy.py").write_text(fault)
    (folder / "environment.pth").write_text(f"import site; site.addsitedir({SITE_PACKAGES!r})\n")
    break_loader(site, f'pflog-backend.py[path="{folder}"]')
    site.jails(pflog={"backend": "pflog[interface=pflog0]"})
    site.server.start()
    site.others_are_well()
    site.says("pflog", "pcapy")
    site.says("pflog-backend", "pcapy-ng cannot be imported")
    log = site.server.log.read_text()
    assert log.count("pcapy-ng cannot be imported") == 1
    assert "unexpected" not in log
    site.bans("pflog")


def test_action_that_does_not_start(site: Site) -> None:
    """The status says which action failed, since when and why; so does the log at each ban."""
    (site.server.config / "action.d/fails.conf").write_text(
        "[Definition]\nactionstart = echo 'no anchor f2b' >&2; exit 1\nactionban = true\n"
        "actionunban = true\n"
    )
    site.server.expected += ["returned 1$", "'fails'", "action fails did not start"]
    site.jails(pflog={"action": "recorder\n         fails"})
    site.server.start()
    site.others_are_well()
    site.says("pflog", "Action failed:\tfails did not start since 20")
    site.says("pflog", "no anchor f2b")
    site.bans("pflog")
    wait_for(
        lambda: "may not be blocked: action fails did not start" in site.server.log.read_text(),
        "the log to say it at the ban",
    )
    site.jails()
    assert "OK" in site.server.client("reload")
    site.bans("pflog")
    assert "Action failed" not in site.server.client("status", "pflog")


def test_slow_ignorecommand(site: Site) -> None:
    """Nobody waits for a jail whose packets take a second each."""
    site.jails(pflog={"ignorecommand": "sh -c 'sleep 1; exit 1'", "backend": "pflog[hold=1]"})
    site.server.start()
    site.append("pflog", scan("192.0.2.1", range(1, 200), time.time()))
    site.says("pflog", "199 packets read")
    for command in (
        ("set", "pflog", "addlogpath", "/nonexistent/pflog"),
        ("set", "pflog", "dellogpath", "/nonexistent/pflog"),
        ("status", "pflog"),
        ("reload",),
        ("reload", "pflog"),
    ):
        site.server.client(*command)
    site.others_are_well()
    site.jails()
    assert "OK" in site.server.client("reload")
    site.bans("pflog")
    assert site.server.stop() < ANSWER
    site.answers_came()


def test_command_that_hangs(site: Site) -> None:
    """A reload, a restart or a stop of a jail does not wait for a command that hangs."""
    site.jails(pflog={"ignorecommand": HANGS, "backend": "pflog[hold=1]"})
    site.server.start()
    site.append("pflog", scan("192.0.2.1", range(1, 9), time.time()))
    site.says("pflog", "8 packets read")
    for command in (("reload", "pflog"), ("reload", "--restart", "pflog"), ("stop", "pflog")):
        site.server.client(*command)
    assert site.server.ask("ping") == "pong"
    site.answers_came()
    site.server.kill()  # as it ends it would wait for the command


def test_stop_in_the_middle_of_a_batch(site: Site) -> None:
    """What was read and not counted when a jail was stopped is read again when it is back."""
    site.jails(pflog={"ignorecommand": "sleep 0.01; false", "maxretry": "1"})
    site.server.start()
    sources = [f"203.0.113.{n}" for n in range(1, 101)]
    now = time.time()
    site.append("pflog", b"".join(scan(source, range(1, 2), now) for source in sources))

    def found() -> set[str]:
        return set(re.findall(r"Found (203\.0\.113\.\d+)", site.server.log.read_text()))

    for some in (5, 35, 65):
        wait_for(lambda some=some: len(found()) >= some, f"{some} of the packets")
        assert "OK" in site.server.client("reload", "--restart", "pflog")
    wait_for(lambda: found() == set(sources), "all packets")
    assert "report it" not in site.server.log.read_text()


ENDS = """\
from fail2ban.server.action import ActionBase

class Action(ActionBase):
    def start(self, *_): raise SystemExit("ends")
    stop = ban = unban = start
"""


def test_action_that_ends_its_thread(site: Site) -> None:
    """An action that raises what would end fail2ban's threads is one that failed."""
    (site.server.config / "action.d/ends.py").write_text(ENDS)
    site.server.expected += ["'ends'", "action ends did not start"]
    site.jails(pflog={"action": "recorder\n         ends.py"})
    site.server.start()
    site.bans("pflog")
    site.says("pflog", "Action failed:\tends did not start since 20")
    site.says("pflog", "Action failed:\tends failed to ban since 20")
    site.server.client("unban", "--all")
    site.others_are_well()
    site.jails()
    assert "OK" in site.server.client("reload")
    site.others_are_well()
    site.bans("pflog")


@pytest.mark.parametrize("gone", ["jail/selfcheck.py", "__init__.py"])
def test_half_an_upgrade(site: Site, tmp_path: Path, gone: str) -> None:
    """With one module missing the jails stay idle; a loader that is cut goes on with the old."""
    package = tmp_path / "half/fail2ban_pflog"
    shutil.copytree(f2b.REPO / "fail2ban_pflog", package)
    (package / gone).unlink()
    break_loader(site, f'pflog-backend.py[path="{tmp_path}/half"]')
    site.server.start()
    site.others_are_well()
    site.says("pflog", "the Python package fail2ban_pflog cannot be loaded")
    site.server.stop()
    break_loader(site, PACKAGED)
    site.server.start()
    site.bans("pflog")
    loader = site.server.config / "action.d/pflog-backend.py"
    whole = loader.read_text()
    loader.write_text(whole[:3000])
    assert "OK" in site.server.client("reload")
    site.others_are_well()
    site.bans("pflog")
    site.says("pflog-backend", "addaction")
    loader.write_text(whole)
    assert "OK" in site.server.client("reload")
    site.bans("pflog")


def test_odd_paths_at_run_time(site: Site, tmp_path: Path) -> None:
    """Whatever is named as a savefile in a running jail is reported; the others are read on."""
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "loop").symlink_to(odd / "loop")
    (odd / "zero").symlink_to("/dev/zero")
    os.mkfifo(odd / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(odd / "socket"))
    site.server.start()
    site.server.expected.append(re.escape(f"[pflog] {odd}"))
    names = ["loop", "zero", "fifo", "socket", ".", "missing", "nul\0", "n" * 300, "e\x1b[31m"]
    for name in names:
        site.server.ask("set", "pflog", "addlogpath", f"{odd}/{name}")
    site.bans("pflog")
    rows = dict(dict(site.server.ask("status", "pflog"))["Filter"])
    assert not [name for name in names if rows[f"{odd}/{name}"].startswith(("starting", "follow"))]
    for name in names:
        site.server.ask("set", "pflog", "dellogpath", f"{odd}/{name}")
    site.others_are_well()
    site.bans("pflog")
    log = site.server.log.read_text()
    assert ("report it" in log, "\x1b" in log) == (False, False)


def test_locked_database(site: Site) -> None:
    """Bans go on; it is logged once, and over when it is over."""
    site.server.start()
    wait_for(lambda: "following" in site.server.client("status", "pflog"), "following")
    with contextlib.closing(sqlite3.connect(site.server.folder / "f2b.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        site.bans("pflog")
        site.says("pflog", "the database fails")
        site.others_are_well()
        other.rollback()
    assert "unexpected" not in site.server.log.read_text()
    assert "OK" in site.server.client("reload")
    site.bans("pflog")


@pytest.mark.parametrize("what", ["text", "directory", "missing", "hole", "loop", "fifo"])
def test_broken_savefile(site: Site, what: str) -> None:
    """What takes the savefile's place is reported; a savefile in its place is read."""
    site.server.start()
    path = site.paths["pflog"]
    site.bans("pflog")
    if what == "hole":
        os.truncate(path, path.stat().st_size + 50 * 2**30)
        word = "damaged"
    else:
        path.unlink()
        word = {
            "text": "no savefile",
            "directory": "irectory",
            "missing": "gone",
            "loop": "gone",
            "fifo": "no regular file",
        }[what]
    if what == "text":
        path.write_text("Nov 22 newsyslog[1]: logfile turned over\n" * 9)
    elif what == "directory":
        path.mkdir()
    elif what == "loop":
        path.symlink_to(path)
    elif what == "fifo":
        os.mkfifo(path)
    site.says("pflog", word)
    site.others_are_well()
    if what == "directory":
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(savefile_header())
    assert "OK" in site.server.client("reload")
    site.bans("pflog")
    assert site.server.stop() < ANSWER


CANNOT_BAN = {
    "other direction": ("packets none counts", {"backend": "pflog[direction=out]"}),
    "mode": ("packets none counts, most of them", {"backend": "pflog[mode=normal]"}),
    "expression that takes nothing": ("bpf= took none of ", {"backend": 'pflog[bpf="udp"]'}),
    "interface": ("found no failure", {"filter": "pflog[interface=vtnet1]"}),
    "wrong filter": ("found no failure", {"filter": "plain"}),
    "ignoreip": ("took all", {"ignoreip": "0.0.0.0/0"}),
    "no expression": ("no failregex", {"failregex": ""}),
    "no action": ("no action", {"action": ""}),
    "no time to count in": ("findtime is 0", {"findtime": "0"}),
}


@pytest.mark.parametrize("case", CANNOT_BAN)
def test_jail_that_can_never_ban(site: Site, case: str) -> None:
    """A jail that looks healthy and bans nobody says what it lacks, once."""
    word, options = CANNOT_BAN[case]
    site.jails(pflog=options)
    site.server.start()
    ack = bytearray(syn("192.0.2.1", 80))
    ack[72 + 33] = 0x10 if case == "mode" else 2
    now = time.time()
    packets = [
        record(now + n / 1e4, bytes(ack[:84]) + bytes([192, 0, 2, n % 250]) + bytes(ack[88:]))
        for n in range(1200)
    ]
    site.append("pflog", b"".join(packets))
    site.says("pflog", word)
    assert len([line for line in site.server.log.read_text().splitlines() if word in line]) == 1
    site.others_are_well()
    site.jails()
    assert "OK" in site.server.client("reload")
    site.bans("pflog")
