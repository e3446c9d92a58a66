# SPDX-License-Identifier: GPL-2.0-or-later
"""What `check` says of real rulesets, loaded into a namespace by nft and iptables."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.commands.check.linux import linux
from fail2ban_pflog.commands.check.result import Mark, Result
from fail2ban_pflog.commands.check.subject import Subject
from fail2ban_pflog.commands.host.systems import SYSTEMS
from fail2ban_pflog.commands.host.tools import Answer
from tests.support.linux import RULES, missing

BANNED = ["192.0.2.7", "2001:db8::7", "2001:db8:1::/64"]
ACTION = {"nft-pflog": {"name": "pflog", "actname": "nft-pflog"}}
LOG = "log prefix drop-in group 5 queue-threshold 1"
HEAD = "type filter hook input priority 0; policy"
STATES = "ct state established,related accept"

TABLE = """
table inet f2b-pflog {
    set hosts4 { type ipv4_addr; elements = { 192.0.2.7 }; }
    set hosts6 { type ipv6_addr; elements = { 2001:db8::7 }; }
    set nets4 { type ipv4_addr; flags interval; }
    set nets6 { type ipv6_addr; flags interval; elements = { 2001:db8:1::/64 }; }
    chain banned {
        type filter hook prerouting priority -310; policy accept;
        ip saddr @hosts4 drop
        ip saddr @nets4 drop
        ip6 saddr @hosts6 drop
        ip6 saddr @nets6 drop
    }
}
"""


class Tools:
    """Runs nft and iptables-save in a namespace with a ruleset; iptables: lines for each tool."""

    def __init__(self, ruleset: str, iptables: Sequence[str] = ()) -> None:
        load = f"nft -f - <<'E'\n{ruleset}\nE\n" + "\n".join(
            f"iptables {line} && ip6tables {line}" for line in iptables
        )
        shows = ("nft -j list ruleset", "iptables-save", "ip6tables-save")
        script = f"set -e\n{load}\n" + "\necho '\f'\n".join(shows)
        done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True)
        assert not done.returncode, done.stderr
        self._answers = dict(zip(shows, done.stdout.split("\f\n")))

    def __call__(self, command: Sequence[str]) -> Answer:
        return Answer(0, self._answers[" ".join(command)], "")


def results(tools: Any, root: Path, listening: str = "", **jail: Any) -> list[Result]:
    settings = {
        "name": "pflog", "backend": "pflog[interface=nflog:5]", "filter": "pflog",
        "options": {"interface": "nflog:5"}, "logpath": "", "logpaths": [], "ignoreip": [],
        "actions": ACTION, **jail,
    }  # fmt: skip
    subject = Subject(root, SYSTEMS["linux"], tools, 0.0, lambda _name: listening)
    subject.configuration = {"jails": [settings]}
    subject.banned = {"pflog": BANNED}
    return list(linux(subject))


def chain(*rules: str, policy: str = "drop", more: str = "") -> str:
    lines = "\n".join(rules)
    return f"table inet filter {{\n{more}\nchain input {{ {HEAD} {policy};\n{lines}\n}}\n}}"


NEEDS = pytest.mark.skipif(bool(missing()), reason=missing() or "never")
OK, NOTE, WRONG, UNSEEN = Mark.OK, Mark.NOTE, Mark.WRONG, Mark.UNSEEN


@NEEDS
@pytest.mark.parametrize(
    ("ruleset", "mark", "words"),
    [
        (RULES, OK, "inet filter input logs what it drops to group 5"),
        (chain(STATES, "tcp dport 22 accept", LOG), OK, "logs what it drops"),
        (chain(STATES, LOG, "drop", policy="accept"), OK, "logs what it drops"),
        (chain(f"{LOG} reject", policy="accept"), OK, "logs what it drops"),
        (chain('iifname != "lo" ct state new', f"ct state new {LOG} drop"), OK, "logs"),
        (chain("jump logdrop", more=f"chain logdrop {{ {LOG} drop\n}}"), OK, "logdrop logs"),
        (chain(STATES, "goto logdrop", more=f"chain logdrop {{ {LOG}\n}}"), OK, "logdrop logs"),
        (
            chain("ct state vmap { established : accept, new : continue }", f"{LOG} drop"),
            OK,
            "logs what it drops",
        ),
        (chain(f"tcp flags syn {LOG} drop"), NOTE, "only a part"),
        (chain(f"limit rate 5/second {LOG}"), NOTE, "only a part"),
        (chain("tcp dport 1-100 jump logdrop", more=f"chain logdrop {{ {LOG} drop\n}}"),
         NOTE, "only a part"),
        (chain(f"meta nfproto ipv4 {LOG} drop"), NOTE, "over IPv4 alone"),
        (chain("log prefix drop-in group 5 drop"), NOTE, "a second late"),
        (chain("log group 5 queue-threshold 20 drop"), NOTE, "a second late"),
        (chain("log group 6 drop"), WRONG, "no rule logs to group 5"),
        (chain("log prefix drop-in drop"), WRONG, "no rule logs to group 5"),
        ("", WRONG, "no rule logs to group 5"),
        (chain("drop", LOG), WRONG, "a rule before drops it"),
        (chain("accept", LOG), WRONG, "is not met"),
        (chain(STATES, more=f"chain unused {{ {LOG} drop\n}}"), WRONG, "no chain calls it"),
        (f"table inet x {{ flags dormant;\nchain input {{ {HEAD} drop;\n{LOG}\n}}\n}}",
         WRONG, "no rule logs"),
        (chain(LOG, policy="accept"), WRONG, "may be let in"),
        (chain(LOG, "accept"), WRONG, "may be let in"),
        (chain(LOG, "tcp dport 22 accept"), WRONG, "may be let in"),
        (chain(LOG, "tcp dport vmap { 22 : accept, 23 : drop }"), WRONG, "may be let in"),
        (chain("jump every", "tcp dport 22 accept", more=f"chain every {{ {LOG}\n}}"),
         WRONG, "may be let in"),
        (chain(f"tcp flags syn {LOG}", "tcp dport 22 accept"), WRONG, "may be let in"),
        (chain("log prefix \"pass\" group 5", "tcp dport 22 accept"), WRONG, "is not met"),
    ],
)  # fmt: skip
def test_log(tmp_path: Path, ruleset: str, mark: Mark, words: str) -> None:
    """Ok only where every packet to a closed port is logged and dropped, and no other."""
    found = next(each for each in results(Tools(ruleset), tmp_path) if each.name == "log")
    assert (found.mark, words in found.found) == (mark, True), found.line


@NEEDS
@pytest.mark.parametrize(
    ("lines", "mark", "words"),
    [
        (
            ("-A INPUT -i lo -j ACCEPT",
             "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
             "-A INPUT -p tcp --dport 22 -m comment --comment 'a -j b' -j ACCEPT",
             "-A INPUT -j NFLOG --nflog-group 5 --nflog-prefix drop-in --nflog-threshold 1",
             "-A INPUT -j DROP"),
            OK,
            "logs what it drops to group 5",
        ),
        (
            ("-N LOGDROP", "-A LOGDROP -j NFLOG --nflog-group 5 --nflog-threshold 1",
             "-A LOGDROP -j DROP", "-A INPUT -m state --state NEW -j LOGDROP"),
            OK,
            "filter LOGDROP logs",
        ),
        (("-A INPUT -j NFLOG --nflog-group 5", "-P INPUT DROP"), NOTE, "a second late"),
        (
            ("-A INPUT -p tcp -j NFLOG --nflog-group 5 --nflog-threshold 1", "-P INPUT DROP"),
            NOTE,
            "only a part",
        ),
        (("-A INPUT -j NFLOG --nflog-group 5 --nflog-threshold 1",), WRONG, "may be let in"),
        (("-A INPUT -j DROP", "-A INPUT -j NFLOG --nflog-group 5"), WRONG, "rule before drops it"),
        (("-A INPUT -j LOG", "-A INPUT -j DROP"), WRONG, "no rule logs"),
    ],
)  # fmt: skip
def test_log_by_iptables(tmp_path: Path, lines: Sequence[str], mark: Mark, words: str) -> None:
    """The same of iptables' rules."""
    found = next(each for each in results(Tools("", lines), tmp_path) if each.name == "log")
    assert (found.mark, words in found.found) == (mark, True), found.line


@NEEDS
@pytest.mark.parametrize(
    ("ruleset", "mark", "words"),
    [
        (TABLE, OK, "drops all that is banned"),
        (TABLE.replace("drop\n", "counter drop\n"), OK, "drops all that is banned"),
        ("", WRONG, "is not loaded"),
        (TABLE.replace("{\n    set hosts4", "{\nflags dormant;\n    set hosts4"), WRONG, "loaded"),
        (TABLE.replace("ip6 saddr @nets6 drop", ""), WRONG, "does not drop all"),
        (TABLE.replace("ip saddr @hosts4 drop", "accept\nip saddr @hosts4 drop"), WRONG, "not"),
        (TABLE.replace("ip saddr @hosts4 drop", "udp dport 2 ip saddr @hosts4 drop"), WRONG, "not"),
        (TABLE.replace("ip saddr @hosts4 drop", "ip saddr @hosts4"), WRONG, "does not drop all"),
        (TABLE.replace("ip saddr @hosts4", "ip daddr @hosts4"), WRONG, "does not drop all"),
        (TABLE.replace("ip saddr @hosts4", "ip saddr != @hosts4"), WRONG, "does not drop all"),
        (TABLE.replace("hook prerouting", "hook postrouting"), WRONG, "does not drop all"),
        (TABLE.replace("elements = { 192.0.2.7 };", ""), WRONG, "lacks 1 of 3 that are banned"),
        (TABLE.replace("elements = { 2001:db8:1::/64 };", ""), WRONG, "lacks 1 of 3"),
    ],
)  # fmt: skip
def test_bans(tmp_path: Path, ruleset: str, mark: Mark, words: str) -> None:
    """Ok only where the jail's table drops every packet of all that are banned."""
    found = next(each for each in results(Tools(ruleset), tmp_path) if each.name == "pflog")
    assert (found.mark, words in found.found) == (mark, True), found.line


class Denied:
    """Tools that may not be run."""

    def __call__(self, _command: Sequence[str]) -> Answer:
        return Answer(1, "", "netlink: Error: Operation not permitted")


def test_without_permission(tmp_path: Path) -> None:
    """What cannot be looked at is never ok."""
    found = results(Denied(), tmp_path, "no permission (CAP_NET_ADMIN)")
    assert {each.mark for each in found} == {UNSEEN}
    assert all(each.advice == "run this as root" for each in found)


@pytest.mark.parametrize(
    ("port", "program", "listening", "mark", "words"),
    [
        (4711, "fail2ban-server", "", OK, "fail2ban-server listens to it"),
        (4711, "ulogd", "", WRONG, "ulogd (process 4711) listens to it, so fail2ban cannot"),
        (4711, "", "", UNSEEN, "netlink port 4711 listens to it"),
        (0, "", "", NOTE, "can be listened to, but fail2ban does not"),
        (0, "", "waiting for nflog:5: neither", WRONG, "neither"),
    ],
)
def test_listener(
    tmp_path: Path, port: int, program: str, listening: str, mark: Mark, words: str
) -> None:
    """The kernel's list names what listens; where nothing does it is tried."""
    if port:
        path = tmp_path / "proc/net/netfilter/nfnetlink_log"
        path.parent.mkdir(parents=True)
        path.write_text(f"    5 {port:6}     0 2 65531    100  1\n")
    if program:
        path = tmp_path / f"proc/{port}/comm"
        path.parent.mkdir()
        path.write_text(program + "\n")
    found = results(Denied(), tmp_path, listening)[0]
    assert (found.mark, words in found.found) == (mark, True), found.line


@NEEDS
@pytest.mark.parametrize(("ruleset", "mark"), [(RULES, OK), (chain(LOG), NOTE)])
def test_questions(tmp_path: Path, ruleset: str, mark: Mark) -> None:
    """A rule that logs what this host asks is looked for, and recommended where there is none."""
    assert [each.mark for each in results(Tools(ruleset), tmp_path) if each.name == "answers"] == [
        mark
    ]


@NEEDS
def test_each_group_and_other_interfaces(tmp_path: Path) -> None:
    """Of several groups each is looked at; an interface of pf's is no group."""
    options = {"interface": "nflog:5,nflog:6"}
    found = [each.line for each in results(Tools(RULES), tmp_path, options=options)]
    assert any("what it drops to group 5" in line for line in found)
    assert any("no rule logs to group 6" in line for line in found)
    (line,) = [each.line for each in results(Tools(RULES), tmp_path, options={})
               if each.name == "pflog" and each.mark is NOTE]  # fmt: skip
    assert "listens to pflog0" in line


def test_other_actions_are_not_guessed(tmp_path: Path) -> None:
    """Of an action that is not ours nothing is said but that."""
    tools = Answer(0, '{"nftables": []}', "")
    found = results(lambda _command: tools, tmp_path, actions={"nftables": {}})[-1]
    assert (found.mark, "not known: nftables" in found.found) == (UNSEEN, True)
