# SPDX-License-Identifier: GPL-2.0-or-later
"""What `check` says of pf, its log and the network, from what the BSDs' own tools print."""

from __future__ import annotations

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
from tests.support.pflogs import record, savefile_header, scan, syn
from tests.support.tools import Tools

NOW = BEGIN + 30.0
DENIED = Answer(1, "", "pfctl: /dev/pf: Permission denied")
IGNORED = ["127.0.0.1/8", "192.0.2.0/24"]
BLOCKING = {"pf-pflog": {"name": "pflog", "where": "anchor", "anchor": "f2b",
                         "tablename": "f2b-<name>"}}  # fmt: skip


def jail(**told: Any) -> dict[str, Any]:
    """What the probe tells of a jail."""
    return {
        "name": "pflog", "backend": "pflog[distinct=port]", "options": {"distinct": "port"},
        "filter": "pflog", "logpath": "", "logpaths": [],
        "ignoreip": IGNORED, "actions": BLOCKING, **told,
    }  # fmt: skip


class Host:
    """A BSD whose tools print what stands in tests/data/tools, but for what a test changes."""

    def __init__(self, root: Path, system: str) -> None:
        self.root = root
        self.system = system
        self.tools: dict[str, Union[str, Answer]] = {}
        self.jails = [jail()]
        self.listening: Optional[str] = ""
        self.banned = {"pflog": 2}
        self.write("etc/resolv.conf", b"nameserver 192.0.2.53\nnameserver ::1\n")

    def write(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def subject(self) -> Subject:
        tools = Tools(self.system, self.tools)
        fail2ban = Fail2ban(self.root, "/etc/fail2ban", None, ("python3",), tools)
        return Subject(
            self.root, SYSTEMS[self.system], tools, NOW, lambda _name: self.listening,
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
    """All marks are ok, and a script is told so."""
    results = host.results()
    assert {each.mark for each in results} == {Mark.OK}, [each.line for each in results]
    assert exit_status(results) == 0
    assert len(results) == 8


# -- pf ------------------------------------------------------------------------------------


def test_pf_that_is_off(host: Host) -> None:
    """A disabled pf is wrong, and it is said how to enable it."""
    host.change("pfctl -s info", "Status: Enabled", "Status: Disabled")
    line = host.says(Mark.WRONG, "is disabled")
    assert ("service pf enable" if host.system == "freebsd" else "pfctl -e") in line
    assert exit_status(host.results()) == 1


def test_no_rule_that_blocks_and_logs(host: Host) -> None:
    """Without `log` there is nothing to read."""
    host.change("pfctl -s rules", "block drop in log all", "block drop in all")
    host.says(Mark.WRONG, "no rule blocks and logs", "`block drop in log all` in /etc/pf.conf")


def test_rules_in_anchors_are_not_guessed(host: Host) -> None:
    """Where other anchors may hold the rule that logs, it is not said that there is none."""
    host.change("pfctl -s rules", "block drop in log all", 'anchor "userrules/*" all')
    host.says(Mark.UNSEEN, "those in anchors were not looked at")
    assert exit_status(host.results()) == 3


def test_no_anchor(host: Host) -> None:
    """An anchor that nothing calls blocks nothing."""
    host.change("pfctl -s rules", 'anchor "f2b/*" all\n', "")
    host.says(Mark.WRONG, "lack the anchor", '`anchor "f2b/*"` in /etc/pf.conf')


def test_anchor_behind_a_rule_that_passes(host: Host) -> None:
    """A `quick` rule before the anchor lets banned sources in; not one of loopback, or out."""
    rule = "pass in log quick proto tcp from any to any port = 25 flags S/SA\n"
    host.change("pfctl -s rules", "anchor", f"pass out quick all\n{rule}anchor")
    assert rule.strip() in host.says(Mark.WRONG, "still gets in", "move the anchor")


def test_anchor_behind_a_rule_for_friends(host: Host) -> None:
    """A `quick` rule for some sources is only noted."""
    host.change("pfctl -s rules", "anchor", "pass in quick from <friends> to any\nanchor")
    host.says(Mark.NOTE, "<friends>", "is it meant so?")
    assert exit_status(host.results()) == 0


def test_rules_that_pass_without_quick_do_no_harm(host: Host) -> None:
    """pf takes the last match, or the first that is quick: the anchor's rule is quick."""
    host.change("pfctl -s rules", "anchor", "pass in proto tcp from any to any\nanchor")
    assert exit_status(host.results()) == 0


def test_a_table_in_place_of_an_anchor(host: Host) -> None:
    """With where=table the rule with the table is looked for, and the table without an anchor."""
    action = {**BLOCKING["pf-pflog"], "where": "table"}
    host.jails = [jail(actions={"pf-pflog": action})]
    host.says(Mark.WRONG, "lack a rule with <f2b-pflog>", "`table <f2b-pflog> persist`")
    rule = "block drop in quick from <f2b-pflog> to any\nanchor"
    host.change("pfctl -s rules", "anchor", rule)
    host.tools["pfctl -t f2b-pflog -T show"] = "   198.51.100.7\n   198.51.100.8\n"
    host.says(Mark.OK, "table f2b-pflog holds 2 addresses")


def test_a_table_that_lacks_addresses(host: Host) -> None:
    """fail2ban's count and pf's table must agree."""
    host.banned = {"pflog": 3}
    host.says(Mark.WRONG, "holds 2 addresses, but 3 are banned")


def test_a_table_that_is_not_there(host: Host) -> None:
    """The jail runs, and its action has no table."""
    command = "pfctl -a f2b/pflog -t f2b-pflog -T show"
    host.tools[command] = Answer(255, "", "pfctl: Table does not exist.")
    host.says(Mark.WRONG, "Table does not exist", "the action did not start")


def test_a_jail_that_does_not_run_has_no_table(host: Host) -> None:
    """Of a jail that the server does not have, no table is asked for."""
    host.banned = {}
    assert not any("table" in each.line for each in host.results())


def test_another_action_is_not_guessed(host: Host) -> None:
    """What a foreign action does is not known, and not called well."""
    host.jails = [jail(actions={"nftables": {}})]
    host.says(Mark.UNSEEN, "what its action does is not known: nftables")


def test_pf_without_permission_or_program(host: Host) -> None:
    """What cannot be asked is marked so, never as well."""
    host.tools["pfctl -s info"] = DENIED
    host.says(Mark.UNSEEN, "Permission denied", "run this as root")
    host.tools["pfctl -s info"] = Answer(None, "", "there is no pfctl")
    host.says(Mark.UNSEEN, "there is no pfctl")
    assert exit_status(host.results()) == 3


# -- the interface -------------------------------------------------------------------------


def test_interface_that_is_not_there(host: Host) -> None:
    """It is said how the system makes it."""
    host.tools["ifconfig pflog0"] = Answer(1, "", "ifconfig: interface pflog0 does not exist")
    line = host.says(Mark.WRONG, "does not exist")
    assert ("service pflog start" if host.system == "freebsd" else "ifconfig pflog0 create") in line


def test_interface_that_is_down(host: Host) -> None:
    """Nothing comes from an interface that is down."""
    host.change("ifconfig pflog0", "UP,", "")
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
    """A file with fresh packets is well; the delay of the bans is told, with what helps."""
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
    """What is to be set is told together with what is set."""
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


def test_file_that_is_not_there(host: Host) -> None:
    """fail2ban does not start at all then."""
    host.jails = [jail(logpath="/var/log/pflog")]
    host.says(Mark.WRONG, "there is no such file", "refuses its whole configuration")


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
    """pf, and who is ignored, are looked at for fail2ban-pflogd's readers as well."""
    host.jails = [jail(name="pflog-text", backend="auto", filter="pflog[mode=normal]", ignoreip=[])]
    host.says(Mark.OK, "pflog-text", "comes before all rules")
    host.says(Mark.NOTE, "192.0.2.1 can be banned")


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


# -- the network ---------------------------------------------------------------------------


def test_gateway_and_resolvers(host: Host) -> None:
    """Who must not be banned is named, loopback and link-local addresses are not."""
    host.jails = [jail(ignoreip=["127.0.0.1/8", "name.example"])]
    line = host.says(Mark.NOTE, "gateway", "192.0.2.1 can be banned", "ignoreip")
    assert "fe80" not in line
    assert "::1" not in host.says(Mark.NOTE, "resolvers", "192.0.2.53")
    host.jails = [jail(ignoreip=["192.0.2.1", "192.0.2.53/32"])]
    host.says(Mark.OK, "gateway", "192.0.2.1 cannot be banned")


def test_routes_of_linux(freebsd: Host) -> None:
    """Linux writes its default route otherwise."""
    freebsd.tools["netstat -rn"] = (
        "Kernel IP routing table\n"
        "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n"
        "0.0.0.0         203.0.113.1     0.0.0.0         UG        0 0          0 eth0\n"
        "10.0.0.0        0.0.0.0         255.0.0.0       U         0 0          0 eth0\n"
    )
    freebsd.says(Mark.NOTE, "203.0.113.1 can be banned")


def test_what_tells_of_the_network_is_missing(host: Host) -> None:
    """No routes, no resolv.conf: not looked at, not well."""
    host.tools["netstat -rn"] = Answer(None, "", "there is no netstat")
    (host.root / "etc/resolv.conf").unlink()
    host.says(Mark.UNSEEN, "gateway", "there is no netstat")
    host.says(Mark.UNSEEN, "resolvers", "/etc/resolv.conf")


def test_clock(host: Host) -> None:
    """A clock that nothing keeps right is noted; packets of the future make it wrong."""
    command, old = ("ntpq -c rv", "leap_none"), ("ntpctl -s status", "clock synced")
    name, words = command if host.system == "freebsd" else old
    host.change(name, words, "leap_alarm" if host.system == "freebsd" else "clock unsynced")
    host.says(Mark.NOTE, "clock", "is not kept right")
    host.follow(savefile_header(snaplen=160) + record(NOW + 7200, syn("198.51.100.7", 1)))
    host.says(Mark.WRONG, "clock", "2h ahead")
    host.follow(packets())
    host.tools[name] = Answer(1, "", "connection refused")
    host.says(Mark.UNSEEN, "clock", "connection refused")
