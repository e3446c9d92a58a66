# SPDX-License-Identifier: GPL-2.0-or-later
"""What `check` says of pf, its log and the network, from what the BSDs' own tools print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from fail2ban_pflog.commands.check.captures import captures
from fail2ban_pflog.commands.check.network import network
from fail2ban_pflog.commands.check.pf import pf
from fail2ban_pflog.commands.check.result import Mark, Result, exit_status
from fail2ban_pflog.commands.check.server import server
from fail2ban_pflog.commands.check.subject import Subject
from fail2ban_pflog.commands.host.installation import Fail2ban
from fail2ban_pflog.commands.host.systems import SYSTEMS
from fail2ban_pflog.commands.host.tools import Answer
from tests.support.backtests import BEGIN
from tests.support.pf import Packet, Pf
from tests.support.pflogs import record, savefile_header, scan, syn
from tests.support.tools import Tools

NOW = BEGIN + 30.0
DENIED = Answer(1, "", "pfctl: /dev/pf: Permission denied")
IGNORED = ["127.0.0.1/8", "192.0.2.0/24"]
BLOCKING = {"pf-pflog": {"name": "pflog", "where": "anchor", "anchor": "f2b",
                         "tablename": "f2b-<name>"}}  # fmt: skip
BANNED = ["198.51.100.7", "2001:db8::7"]
ANCHOR = "table <f2b-pflog> persist counters\nblock drop in quick from <f2b-pflog> to any"
CONF = """\
set skip on lo
block drop in log all
anchor "f2b/*"
pass out log all
pass in proto tcp to port ssh
"""


def jail(**said: Any) -> dict[str, Any]:
    """Return what the probe says of a jail."""
    return {
        "name": "pflog", "backend": "pflog[distinct=port]", "options": {"distinct": "port"},
        "filter": "pflog", "logpath": "", "logpaths": [],
        "ignoreip": IGNORED, "actions": BLOCKING, **said,
    }  # fmt: skip


class Host:
    """A BSD with a stand-in for pf; its other tools print what is in tests/data/tools."""

    def __init__(self, root: Path, system: str) -> None:
        self.root = root
        self.system = system
        self.pf = Pf(system, CONF)
        self.pf.load("f2b/pflog", ANCHOR)
        self.pf.pfctl("-a", "f2b/pflog", "-t", "f2b-pflog", "-T", "add", *BANNED)
        self.tools: dict[str, Union[str, Answer]] = {}
        self.jails = [jail()]
        self.listening: Optional[str] = ""
        self.banned = {"pflog": BANNED}
        self.write("etc/resolv.conf", b"nameserver 192.0.2.53\nnameserver ::1\n")

    def write(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def _run(self, command: Sequence[str]) -> Answer:
        if command[0] == "pfctl" and " ".join(command) not in self.tools:
            return self.pf.pfctl(*command[1:])
        return Tools(self.system, self.tools)(command)

    def subject(self) -> Subject:
        fail2ban = Fail2ban(self.root, "/etc/fail2ban", None, ("python3",), self._run)
        return Subject(
            self.root, SYSTEMS[self.system], self._run, NOW, lambda _name: self.listening,
            fail2ban, {"jails": self.jails}, banned=dict(self.banned),
        )  # fmt: skip

    def results(self) -> list[Result]:
        subject = self.subject()
        return [*captures(subject), *pf(subject), *network(subject)]

    def says(self, mark: Mark, *words: str) -> str:
        """Assert that one result has the mark and all words; returns its line."""
        results = self.results()
        found = [each.line for each in results if each.mark is mark]
        line = next((line for line in found if all(word in line for word in words)), None)
        assert line, "\n".join(each.line for each in results)
        assert "\n" not in line
        return line

    def change(self, command: str, old: str, new: str) -> None:
        """Let a tool print something else."""
        text = Tools(self.system, {})(command.split()).out
        assert old in text
        self.tools[command] = text.replace(old, new)

    def rules(self, old: str, new: str) -> None:
        """Load another pf.conf."""
        assert old in CONF
        self.pf.load("", CONF.replace(old, new))

    def follow(self, content: bytes) -> None:
        """Let the jail read pflogd's file."""
        self.write("var/log/pflog", content)
        self.jails = [jail(logpath="/var/log/pflog", logpaths=["/var/log/pflog"])]


@pytest.fixture(params=["freebsd", "openbsd"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    return Host(tmp_path, request.param)


@pytest.fixture
def freebsd(tmp_path: Path) -> Host:
    return Host(tmp_path, "freebsd")


def packets(snaplen: int = 160) -> bytes:
    return savefile_header(snaplen=snaplen) + scan("198.51.100.7", range(1, 20), BEGIN)


def test_a_host_that_is_well(host: Host) -> None:
    """All marks are ok, and a script sees it; OpenBSD hides some probes, which is noted."""
    results = host.results()
    notes = [each.name for each in results if each.mark is not Mark.OK]
    assert notes == ([] if host.system == "freebsd" else ["scrub"]), [each.line for each in results]
    assert exit_status(results) == 0
    assert len([each for each in results if each.mark is Mark.OK]) == 8


# -- pf ------------------------------------------------------------------------------------


def test_pf_that_is_off(host: Host) -> None:
    """A disabled pf is wrong, and the command that enables it is named."""
    host.pf.enabled = False
    line = host.says(Mark.WRONG, "is disabled")
    assert ("service pf enable" if host.system == "freebsd" else "pfctl -e") in line
    assert exit_status(host.results()) == 1


LOGS = {
    "all": (Mark.OK, "block drop log all", "block log all"),
    "behind a rule that is not quick": (Mark.OK, "log", "block in all\nblock in log all"),
    "on one interface": (Mark.OK, "on v", "block in log on { vtnet0 vio0 } all"),
    "in an anchor": (Mark.OK, "block", 'block in all\nanchor "own" {\nblock in log quick all\n}'),
    "nothing": (Mark.WRONG, "no rule blocks and logs", "block drop in all"),
    "no rule at all": (Mark.WRONG, "no rule blocks and logs", ""),
    "outgoing": (Mark.WRONG, "no rule blocks and logs", "block in all\nblock out log all"),
    "bans": (Mark.WRONG, "no rule blocks", "block in all\nblock in log quick from <f2b-pflog>"),
    "antispoof": (
        Mark.WRONG, "no rule blocks",
        "block in all\nblock in log on ! vtnet0 inet from 192.0.2.0/24 to any",
    ),
    "to another interface": (Mark.WRONG, "pflog0", "block in log (to pflog1) all"),
    "behind a quick rule": (
        Mark.WRONG, "no rule blocks", "block in quick all\nblock in log all",
    ),
    "before a rule that decides": (
        Mark.WRONG, "block drop in all", "block in log all\nblock in all",
    ),
    "IPv4": (Mark.NOTE, "a part", "block in all\nblock in log inet all"),
    "all of TCP passes": (Mark.NOTE, "a part", "block in log all\npass in proto tcp all"),
    "to this host passes": (Mark.NOTE, "a part", "block log all\npass in proto tcp to (vtnet0)"),
    "all but friends passes": (
        Mark.NOTE, "a part", "block in log all\npass in quick from ! 203.0.113.0/24",
    ),
    "behind a quick rule for TCP": (
        Mark.NOTE, "a part", "block in quick proto tcp all\nblock in log all",
    ),
    "to another host passes": (Mark.OK, "log", "block log all\npass in proto tcp to 10.0.0.1"),
    "one port": (Mark.NOTE, "a part", "block in all\nblock in log proto tcp to port http"),
    "UDP": (Mark.NOTE, "a part", "block in all\nblock in log proto udp"),
    "behind an inline anchor of unknown names": (
        Mark.UNSEEN, "cannot tell", 'anchor in {\nanchor "own"\n}\nblock log all',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOGS)
def test_what_pf_logs(host: Host, case: str) -> None:
    """Only a rule that logs what arrives at closed ports, where the jail listens, is ok."""
    mark, word, rules = LOGS[case]
    host.rules("block drop in log all", rules)
    line = host.says(mark, "log  ", word)
    assert mark is not Mark.WRONG or "`block drop in log all` in /etc/pf.conf" in line


def test_log_interface_of_the_jail(host: Host) -> None:
    """A jail on pflog1 needs a rule that logs there."""
    host.jails = [jail(options={"interface": "pflog1"}, backend="pflog[interface=pflog1]")]
    host.tools["ifconfig pflog1"] = "pflog1: flags=141<UP,RUNNING,PROMISC> mtu 33136\n"
    host.says(Mark.WRONG, "logs to pflog1", "log (to pflog1)")
    host.rules("block drop in log all", "block in log (all, to pflog1) all")
    host.says(Mark.OK, "to pflog1")
    both = {"interface": "pflog0,pflog1"}
    host.jails = [jail(options=both, backend='pflog[interface="pflog0,pflog1"]')]
    host.says(Mark.OK, "pflog1 ", "can be listened to")
    host.says(Mark.WRONG, "logs to pflog0")


def test_log_interface_of_pflogd(host: Host) -> None:
    """A jail that reads a file needs what the pflogd reads that writes it."""
    host.change("ps -axww -o args", "-i pflog0", "-i pflog3")
    host.follow(packets())
    host.says(Mark.WRONG, "logs to pflog3")


def test_outgoing_questions(host: Host) -> None:
    """Without a rule `pass out log` late answers may be counted, which is noted with its cost."""
    host.says(Mark.OK, "answers", "pass out log all")
    host.rules("pass out log", "pass out")
    host.says(Mark.NOTE, "answers", "`pass out log`", "one more packet logged per connection")
    assert exit_status(host.results()) == 0


def test_probes_that_pf_drops_unlogged(freebsd: Host) -> None:
    """FreeBSD 14 drops FIN, NULL and Xmas probes before its rules; scrub logs them."""
    freebsd.tools["uname -r"] = "15.0-RELEASE\n"
    freebsd.says(Mark.NOTE, "scrub", "`scrub in log all`")
    freebsd.pf.load("", f"scrub in log on vtnet0 all\n{CONF}")
    assert not any(each.name == "scrub" for each in freebsd.results())
    freebsd.tools["uname -r"] = "13.2-RELEASE\n"
    freebsd.pf.load("", f"scrub in all\n{CONF}")
    freebsd.says(Mark.NOTE, "scrub", "logged nowhere")


def test_rules_that_do_not_block(host: Host) -> None:
    """The jail's line says what lets banned sources in (all cases: test_check_pf.py)."""
    host.rules('anchor "f2b/*"', "")
    host.says(Mark.WRONG, "pflog", 'lack `anchor "f2b/*"`')
    host.rules('anchor "f2b/*"', 'pass in quick proto tcp to port smtp\nanchor "f2b/*"')
    host.says(Mark.WRONG, "gets in", "pass in quick proto tcp")
    host.rules('anchor "f2b/*"', 'pass in quick from 198.51.100.0/24\nanchor "f2b/*"')
    host.says(Mark.WRONG, "gets in", "198.51.100.0/24")
    host.banned = {"pflog": []}
    host.says(Mark.NOTE, "198.51.100.0/24", "is it meant so?")
    assert exit_status(host.results()) == 0


Happened = list[tuple[str, ...]]
MEANWHILE: dict[str, tuple[Mark, str, Happened]] = {
    "nothing": (Mark.OK, "blocks", []),
    "all flushed": (Mark.WRONG, "lack", [("-F", "all")]),
    "rules flushed": (Mark.WRONG, "lack", [("-F", "rules")]),
    "main tables flushed": (Mark.OK, "blocks", [("-F", "Tables")]),
    "states flushed": (Mark.OK, "blocks", [("-F", "states")]),
    "anchor's rules flushed": (
        Mark.WRONG, "no rule that blocks", [("-a", "f2b/pflog", "-F", "rules")]
    ),
    "the action did not start": (
        Mark.WRONG, "no rule that blocks",
        [("-a", "f2b/pflog", "-F", "rules"), ("-a", "f2b/pflog", "-t", "f2b-pflog", "-T", "kill")],
    ),
    "anchor flushed": (Mark.WRONG, "no rule that blocks", [("-a", "f2b/pflog", "-F", "all")]),
    "anchor's table flushed": (
        Mark.WRONG, "lacks 2 of 2", [("-a", "f2b/pflog", "-t", "f2b-pflog", "-T", "flush")]
    ),
    "an address deleted": (
        Mark.WRONG, "lacks 1 of 2",
        [("-a", "f2b/pflog", "-t", "f2b-pflog", "-T", "delete", "198.51.100.7")],
    ),
    "pf disabled": (Mark.WRONG, "is disabled", [("-d",)]),
    "pf.conf without the anchor": (Mark.WRONG, "lack", [("-f", "block log all\npass in")]),
    "pf.conf with the anchor behind": (
        Mark.WRONG, "gets in", [("-f", 'pass in quick to port 22\nanchor "f2b/*"\nblock all')]
    ),
    "pf.conf that skips the interface": (
        Mark.NOTE, "not on vtnet0", [("-f", f"set skip on {{ lo vtnet0 }}\n{CONF}")]
    ),
    "rules added last, not quick": (
        Mark.OK, "blocks", [("-f", f"{CONF}pass in proto tcp to port http\n")]
    ),
    "another anchor beside": (
        Mark.OK, "blocks", [("-a", "f2b/sshd", "-f", "block in quick from <f2b-sshd>")]
    ),
    "another anchor before, which passes": (
        Mark.WRONG, "gets in", [("-a", "f2b/aaa", "-f", "pass in quick proto tcp to port 22")]
    ),
    "an anchor for friends filled": (
        Mark.WRONG, "gets in",
        [("-f", CONF.replace('anchor "f2b', 'anchor "vip"\nanchor "f2b')),
         ("-a", "vip", "-f", "pass in quick from 198.51.100.0/24")],
    ),
    "a table for friends filled": (
        Mark.WRONG, "gets in",
        [("-f", CONF.replace('anchor "f2b', 'pass in quick from <vip>\nanchor "f2b')),
         ("-t", "vip", "-T", "add", "198.51.100.0/24")],
    ),
    "rules in the anchor's place": (
        Mark.WRONG, "gets in",
        [("-a", "f2b/pflog", "-f", "pass in quick to port 22\nblock quick from <f2b-pflog>")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MEANWHILE)
def test_what_happened_meanwhile(host: Host, case: str) -> None:
    """Nothing is ok any more once pf would let a packet of a banned source in."""
    mark, word, happened = MEANWHILE[case]
    for arguments in happened:
        if "-f" in arguments:
            host.pf.pfctl(*arguments[:-1], "-", stdin=arguments[-1])
        else:
            host.pf.pfctl(*arguments)
    host.says(mark, word)
    status = exit_status(host.results())
    passing = {host.pf.decide(Packet(source)).rule for source in BANNED
               if host.pf.decide(Packet(source)).passes}  # fmt: skip
    assert status == 1 or not passing or mark is Mark.NOTE, passing
    assert (status == 1) == (mark is Mark.WRONG)


def test_redirections_that_a_program_adds(freebsd: Host) -> None:
    """What miniupnpd loads into its anchor passes before any rule is asked."""
    freebsd.pf.load("", f'rdr-anchor "miniupnpd" all\n{CONF}')
    freebsd.says(Mark.OK, "pf blocks")
    freebsd.pf.load("miniupnpd", "rdr pass proto tcp from any to any port 8080 -> 10.0.0.1")
    freebsd.says(Mark.WRONG, "gets in", "rdr pass")


def test_a_table_in_place_of_an_anchor(host: Host) -> None:
    """With where=table the rule with the table is looked for, and the table without an anchor."""
    host.jails = [jail(actions={"pf-pflog": {**BLOCKING["pf-pflog"], "where": "table"}})]
    host.says(
        Mark.WRONG, "lack `block drop in quick from <f2b-pflog>`", "table <f2b-pflog> persist"
    )
    host.pf.load("", "table <f2b-pflog> { 198.51.100.7 2001:db8::/64 }\n" + CONF.replace(
        'anchor "f2b/*"', "block drop in quick from <f2b-pflog>"))  # fmt: skip
    host.says(Mark.OK, "table f2b-pflog holds all 2 that are banned")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-T", "delete", "2001:db8::7"), "lacks 1 of 2 that are banned: 2001:db8::7"),
        (("-T", "add", "!198.51.100.7/32"), "lacks 1 of 2 that are banned: 198.51.100.7"),
        (("-T", "flush"), "lacks 2 of 2 that are banned"),
        (("-T", "kill"), "Table does not exist"),
    ],
)
def test_a_table_that_lacks_addresses(host: Host, arguments: tuple[str, ...], words: str) -> None:
    """What fail2ban bans and pf's table holds must agree, address by address."""
    if "!" in arguments[-1]:
        host.pf.tables["f2b/pflog", "f2b-pflog"].remove("198.51.100.7")
    host.pf.pfctl("-a", "f2b/pflog", "-t", "f2b-pflog", *arguments)
    host.says(Mark.WRONG, words)


def test_a_jail_that_does_not_run_has_no_table(host: Host) -> None:
    """No table is looked for where the server does not have the jail."""
    host.banned = {}
    assert not any("table f2b" in each.line for each in host.results())


def test_another_action_is_not_guessed(host: Host) -> None:
    """What a foreign action does is not known, and not called well."""
    host.jails = [jail(actions={"nftables": {}})]
    host.says(Mark.UNSEEN, "what its action does is not known: nftables")


@pytest.mark.parametrize(
    ("command", "mark", "word"),
    [
        ("pfctl -s info", Mark.UNSEEN, "Permission denied"),
        ("pfctl -s rules", Mark.UNSEEN, "Permission denied"),
        ("pfctl -a f2b -s Anchors", Mark.UNSEEN, "cannot tell whether bans block"),
        ("pfctl -a f2b/pflog -s rules", Mark.UNSEEN, "cannot tell"),
    ],
)
def test_what_pfctl_does_not_answer(host: Host, command: str, mark: Mark, word: str) -> None:
    """What cannot be read is marked so, never as well."""
    host.tools[command] = DENIED
    host.says(mark, word)
    assert exit_status(host.results()) == 3


# -- the interface -------------------------------------------------------------------------


def test_interface_that_is_not_there(host: Host) -> None:
    """It is said how the system makes it."""
    host.tools["ifconfig pflog0"] = Answer(1, "", "ifconfig: interface pflog0 does not exist")
    line = host.says(Mark.WRONG, "does not exist")
    assert ("service pflog start" if host.system == "freebsd" else "ifconfig pflog0 create") in line


def test_interface_that_is_down(host: Host) -> None:
    """Nothing comes from an interface that is down, but on OpenBSD."""
    host.change("ifconfig pflog0", "UP,", "")
    if host.system == "openbsd":
        host.says(Mark.OK, "pflog0", "can be listened to")
    else:
        host.says(Mark.WRONG, "not up", "ifconfig pflog0 up")


@pytest.mark.parametrize(
    ("answer", "mark", "word"),
    [
        ("idle because pflog0 has link type 1 instead of 117", Mark.WRONG, "link type 1"),
        ("waiting for pflog0: no permission to capture", Mark.UNSEEN, "run this as root"),
        (None, Mark.UNSEEN, "has no pcapy"),
    ],
)
def test_interface_that_cannot_be_read(
    host: Host, answer: Optional[str], mark: Mark, word: str
) -> None:
    """Listening is tried; what could not be tried is no failure."""
    host.listening = answer
    host.says(mark, "pflog0", word)


# -- pflogd's file -------------------------------------------------------------------------


def test_pflogds_file(host: Host) -> None:
    """A file with fresh packets is well; the delay of the bans is reported, with what helps."""
    host.follow(packets())
    host.says(Mark.OK, "/var/log/pflog", "newest packet is 29s old")
    if host.system == "freebsd":
        host.says(Mark.NOTE, "holds packets back for 1m", "sysrc pflog_flags='-d 5'")
    else:
        host.says(Mark.OK, "holds packets back for 5s")


def test_snaplen_of_freebsd(freebsd: Host) -> None:
    """116 bytes cut the flags of IPv6; it is said what to write into rc.conf."""
    freebsd.follow(packets(116))
    freebsd.says(Mark.NOTE, "snaplen 116", 'pflog_flags="-s 160" in rc.conf', "move it away first")
    freebsd.follow(packets(160))
    assert not any("snaplen" in each.line for each in freebsd.results())


def test_options_of_pflogd_are_kept(freebsd: Host) -> None:
    """What is to be set is printed together with what is set."""
    freebsd.tools["sysrc -n pflog_flags"] = "-s 116 -x\n"
    freebsd.follow(packets(116))
    freebsd.says(Mark.NOTE, "snaplen 116", "sysrc pflog_flags='-x -s 160'")
    freebsd.says(Mark.NOTE, "holds packets back", "sysrc pflog_flags='-s 116 -x -d 5'")


def test_pflogd_on_a_system_that_does_not_tell_its_options(freebsd: Host) -> None:
    """macOS has no command for them; that is said."""
    freebsd.follow(packets())
    subject = replace(freebsd.subject(), system=SYSTEMS["macos"])
    lines = [each.line for each in captures(subject)]
    assert any(line.startswith("?      pflogd") and "macOS" in line for line in lines), lines


@pytest.mark.parametrize(
    ("content", "mark", "words"),
    [
        (b"* a text log *\n" * 9, Mark.WRONG, "no savefile"),
        (savefile_header(linktype=1), Mark.WRONG, "link type 1 instead of 117"),
        (savefile_header()[:20], Mark.WRONG, "/var/log/pflog"),
        (b"", Mark.NOTE, "has no packet yet"),
        (savefile_header(), Mark.NOTE, "has no packet yet"),
    ],
)
def test_files_that_are_none(host: Host, content: bytes, mark: Mark, words: str) -> None:
    """A text file, another link type, an empty file: each is called by its name."""
    host.follow(content)
    host.says(mark, words)


def test_file_that_is_a_directory(host: Host) -> None:
    """A directory is no savefile."""
    host.follow(b"")
    (host.root / "var/log/pflog").unlink()
    (host.root / "var/log/pflog").mkdir()
    host.says(Mark.WRONG, "/var/log/pflog", "is a directory")


def test_savefile_that_is_read_as_text(host: Host) -> None:
    """A jail with filter = pflog, and a savefile, lacks its backend."""
    host.write("var/log/pflog", packets())
    host.jails = [jail(backend="auto", logpath="/var/log/pflog", logpaths=["/var/log/pflog"])]
    host.says(Mark.WRONG, "reads it as text", "backend = %(pflog_backend)s")


def test_file_that_nobody_writes(host: Host) -> None:
    """An old file, and no pflogd that writes it."""
    host.follow(savefile_header(snaplen=160) + record(NOW - 90_000, syn("198.51.100.7", 1)))
    host.says(Mark.NOTE, "newest packet is 1d1h", "does pflogd run?")
    host.change("ps -axww -o args", "[running]", "[suspended]")
    host.says(Mark.WRONG, "no pflogd writes /var/log/pflog")


def test_newest_packet_of_a_large_file(host: Host) -> None:
    """Only the file's end is read."""
    old = record(BEGIN - 1000, syn("198.51.100.7", 1)) * 20_000
    host.follow(savefile_header(snaplen=160) + old + record(BEGIN, syn("198.51.100.7", 2)))
    assert (host.root / "var/log/pflog").stat().st_size > 2 << 20
    host.says(Mark.OK, "newest packet is 30s old")


def test_jail_that_reads_text(host: Host) -> None:
    """pf, and ignoreip, are looked at for fail2ban-pflogd's readers as well."""
    text = {"pf-pflog": {**BLOCKING["pf-pflog"], "name": "pflog-text"}}
    host.pf.load("f2b/pflog-text", ANCHOR.replace("f2b-pflog", "f2b-pflog-text"))
    host.jails = [jail(name="pflog-text", backend="auto", filter="pflog[mode=normal]",
                       ignoreip=[], actions=text)]  # fmt: skip
    host.says(Mark.OK, "pflog-text", "pf blocks what comes from <f2b-pflog-text>")
    host.says(Mark.NOTE, "network 192.0.2.0/24")


# -- the server ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "mark", "words"),
    [
        ("`- Backend:\tpflog 0.1.0, Python 3.11, /x", Mark.OK, "runs pflog 0.1.0"),
        ("`- Backend:\tpflog 0.0.9, Python 3.11, /x", Mark.WRONG, "but 0.1.0 is installed"),
        ("`- Idle because:\tno package", Mark.WRONG, "could not load the backend: no package"),
        ("Sorry but the jail 'pflog-backend' does not exist", Mark.WRONG, "has not loaded"),
    ],
)
def test_what_the_server_has_loaded(host: Host, status: str, mark: Mark, words: str) -> None:
    """After an upgrade without a restart the server still runs what it loaded."""
    client = f"fail2ban-client -c {host.root}/etc/fail2ban"
    host.tools[f"{client} ping"] = "Server replied: pong"
    host.tools[f"{client} status pflog-backend"] = status
    subject = host.subject()
    subject.version = "0.1.0"
    first = next(iter(server(subject)))
    assert (first.mark, words in first.line) == (mark, True)


@pytest.mark.parametrize(
    ("row", "mark", "words"),
    [
        ("pflog0:\tlistening; 3 read", Mark.OK, "runs; 1 banned now"),
        ("pflog0:\twaiting for pflog0: there is no such interface; 0 read", Mark.WRONG,
         "waits for pflog0: there is no such interface ->"),
        ("/x:\twaiting for /x, which is gone; its last file is still read; 9 read", Mark.WRONG,
         "waits for /x"),
        ("/x:\tidle because it is no savefile; waiting for the file", Mark.WRONG, "no savefile"),
        ("Action failed:\tpf-pflog", Mark.WRONG, "Action failed: pf-pflog"),
        ("Warning:\tfindtime is 0", Mark.NOTE, "findtime is 0"),
    ],
)  # fmt: skip
def test_what_the_server_says_of_a_jail(host: Host, row: str, mark: Mark, words: str) -> None:
    """What a jail's own status reports is no better here."""
    client = f"fail2ban-client -c {host.root}/etc/fail2ban"
    status = f"|- {row}\n|- Currently banned:\t1\n`- Banned IP list:\t198.51.100.7\n"
    host.tools[f"{client} ping"] = "Server replied: pong"
    host.tools[f"{client} status pflog"] = status
    subject = host.subject()
    found = [each for each in server(subject) if each.name == "pflog"]
    assert any(each.mark is mark and words in each.line for each in found), found
    assert subject.banned == {"pflog": ["198.51.100.7"]}
    assert mark is not Mark.WRONG or all(each.mark is not Mark.OK for each in found)


# -- the network ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "mark", "words"),
    [
        ([], Mark.NOTE, "network 192.0.2.0/24 "),
        (["192.0.2.1", "192.0.2.53"], Mark.NOTE, "ignoreip = 127.0.0.1/8 ::1 192.0.2.0/24"),
        (["name.example", "192.0.0.0/16"], Mark.OK, "holds this host"),
    ],
)
def test_what_is_near(host: Host, ignored: list[str], mark: Mark, words: str) -> None:
    """Networks, gateway, resolvers and this host are listed where no ignoreip holds them."""
    host.jails = [jail(ignoreip=ignored)]
    line = host.says(mark, "ignoreip", words)
    assert "fe80" not in line
    assert "127.0.0.1/8 ::1" in line or mark is Mark.OK
    assert "gateway" not in line or mark is Mark.OK  # the network holds it


def test_what_is_near_and_in_no_network(freebsd: Host) -> None:
    """A gateway and resolvers elsewhere are listed too; Linux prints its routes otherwise."""
    freebsd.tools["netstat -rn"] = (
        "Kernel IP routing table\n"
        "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n"
        "0.0.0.0         203.0.113.1     0.0.0.0         UG        0 0          0 eth0\n"
        "10.0.0.0        0.0.0.0         255.0.0.0       U         0 0          0 eth0\n"
    )
    freebsd.write("etc/resolv.conf", b"nameserver 9.9.9.9\nnameserver fe80::1%vtnet0\n")
    freebsd.says(Mark.NOTE, "ignoreip", "gateway 203.0.113.1, resolver 9.9.9.9 ")


def test_what_describes_the_network_is_missing(host: Host) -> None:
    """No routes, no interfaces, no resolv.conf: not looked at, not well."""
    host.tools["netstat -rn"] = Answer(None, "", "there is no netstat")
    (host.root / "etc/resolv.conf").unlink()
    host.says(Mark.UNSEEN, "ignoreip", "there is no netstat")
    host.says(Mark.UNSEEN, "ignoreip", "/etc/resolv.conf")


def test_clock(host: Host) -> None:
    """A clock that nothing keeps right is noted; packets of the future make it wrong."""
    command, old = ("ntpq -c rv", "leap_none"), ("ntpctl -s status", "clock synced")
    name, words = command if host.system == "freebsd" else old
    host.change(name, words, "leap_alarm" if host.system == "freebsd" else "clock unsynced")
    host.says(Mark.NOTE, "clock", "is not synchronised")
    host.follow(savefile_header(snaplen=160) + record(NOW + 7200, syn("198.51.100.7", 1)))
    host.says(Mark.WRONG, "clock", "2h ahead")
    host.follow(packets())
    host.tools[name] = Answer(1, "", "connection refused")
    host.says(Mark.UNSEEN, "clock", "connection refused")
