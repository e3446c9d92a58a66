# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing says that a ban blocks where the packet of a banned source gets through.

Each row is a pf.conf and what happened to it.  The stand-in for pf evaluates packets by itself;
``blocks``, which ``check`` and the action ask, sees only what its pfctl prints.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from fail2ban_pflog.cli import main
from fail2ban_pflog.commands.check.blocks import LoadedRules, blocks
from fail2ban_pflog.commands.check.pf import logs
from fail2ban_pflog.commands.check.result import Mark, Result
from fail2ban_pflog.commands.check.ruleset import parse
from fail2ban_pflog.commands.check.subject import Subject
from fail2ban_pflog.commands.host.systems import SYSTEMS
from fail2ban_pflog.commands.host.tools import run
from tests.support.pf import Host, Packet, Pf

BANNED = ("198.51.100.7", "2001:db8::7")
ANCHORED = "table <f2b-pflog> persist counters\nblock drop in quick from <f2b-pflog> to any"
BLOCK = "block drop in quick from <f2b-pflog> to any"
PASS = "pass out all\npass in proto tcp to port ssh"
USUAL = frozenset({"vtnet0", "egress"})

PROTOCOLS = [
    ("tcp", 22),
    ("tcp", 80),
    ("tcp", 8080),
    ("udp", 53),
    ("udp", 514),
    ("icmp", 0),
    ("gre", 0),
]
PACKETS = [
    Packet(source, port, proto, interface, "2001:db8::1" if ":" in source else "192.0.2.7", sport)
    for source in BANNED
    for proto, port in PROTOCOLS
    for interface in ("vtnet0", "vtnet1")
    for sport in (53, 40000)
]


def around(lines: str) -> str:
    """Return a pf.conf with lines where the anchor, or the rule with the table, is to be."""
    last = "pass out all\npass in on vtnet0 proto tcp to port { ssh, http }"
    return f"block drop in log all\n{lines}\n{last}"


def loaded(conf: str, dialect: str = "freebsd", anchored: str = ANCHORED) -> Pf:
    """Make a pf with a jail's anchor, or with its table in the main ruleset; two are banned."""
    pf = Pf(dialect, conf)
    if anchored:
        pf.load("f2b/pflog", anchored)
    pf.pfctl("-a", "f2b/pflog" if anchored else "", "-t", "f2b-pflog", "-T", "add", *BANNED)
    return pf


def say(pf: Pf, anchor: str = "f2b/pflog", banned: Sequence[str] = ()) -> Result:
    """Return what is said of the jail's bans."""
    rules = LoadedRules(pf, pf.dialect != "openbsd")
    return blocks(rules, "pflog", "f2b-pflog", anchor, USUAL, banned)


def leaks(pf: Pf) -> list[str]:
    """Return the rules that let a packet of a banned source in."""
    return sorted({each.rule for each in map(pf.decide, PACKETS) if each.passes})


class Row(NamedTuple):
    """One pf.conf: what is said of it, with a word; table: bans are in the main ruleset."""

    mark: Mark
    word: str
    conf: str
    table: bool = False


OK, NOTE, WRONG, UNSEEN = Mark.OK, Mark.NOTE, Mark.WRONG, Mark.UNSEEN
ROWS = {
    # The anchor's own line.
    "anchor": Row(OK, "blocks what comes", around('anchor "f2b/*"')),
    "anchor in": Row(OK, "blocks what comes", around('anchor "f2b/*" in')),
    "anchor quick": Row(OK, "blocks what comes", around('anchor "f2b/*" quick')),
    "absolute anchor": Row(OK, "blocks what comes", around('anchor "/f2b/*"')),
    "anchor of the jail": Row(OK, "blocks what comes", around('anchor "f2b/pflog"')),
    "anchor named inline": Row(OK, "blocks what comes", around('anchor "f2b" {\nanchor "*"\n}')),
    "absolute anchor in an inline one": Row(
        OK, "blocks what comes", around('anchor in {\nanchor "/f2b/*"\n}')
    ),
    "anchor behind rules that are not quick": Row(
        OK, "blocks what comes", f'block log all\n{PASS}\nanchor "f2b/*"'
    ),
    "no anchor": Row(WRONG, 'lack `anchor "f2b/*"`', around("")),
    "anchor without its children": Row(WRONG, "lack", around('anchor "f2b" all')),
    "anchor of another jail": Row(WRONG, "lack", around('anchor "f2b/sshd"')),
    "anchor with a similar name": Row(WRONG, "lack", around('anchor "f2b2/*"')),
    "anchor literally *": Row(WRONG, "lack", around('anchor "*"')),
    "anchor out": Row(WRONG, "lack", around('anchor "f2b/*" out')),
    "anchor on lo0": Row(WRONG, "lack", around('anchor "f2b/*" on lo0')),
    "anchor for one port": Row(
        WRONG,
        "does not take all",
        around('anchor "f2b/*" in proto tcp from any to any port ssh'),
    ),
    "anchor for tcp": Row(
        WRONG, "does not take all", around('anchor "f2b/*" proto tcp') + "\npass in proto udp"
    ),
    "anchor for IPv4": Row(WRONG, "gets in", around('anchor "f2b/*" inet')),
    "anchor on the interface outside": Row(
        NOTE,
        "on vtnet0 alone pf blocks",
        around('anchor "f2b/*" on vtnet0') + "\npass in on vtnet1",
    ),
    "quick pass on the group of a LAN": Row(
        NOTE,
        "on vtnet0 alone pf blocks",
        around('pass in quick on lan from any to (self) port 443\nanchor "f2b/*"'),
    ),
    "anchor on egress": Row(
        NOTE,
        "on vtnet0 alone pf blocks",
        around('anchor "f2b/*" on egress') + "\npass in on vtnet1",
    ),
    "anchor on another interface": Row(WRONG, "gets in", around('anchor "f2b/*" on vtnet1')),
    "anchor for tagged packets": Row(
        WRONG, "does not take all", around('anchor "f2b/*" in tagged LAN')
    ),
    "anchor in an inline one, by its relative name": Row(
        UNSEEN, "cannot tell", around('anchor in {\nanchor "f2b/*"\n}')
    ),
    "anchor in an inline one for a port": Row(
        WRONG,
        "does not take all",
        around('anchor in proto tcp to port 22 {\nanchor "/f2b/*"\n}'),
    ),
    # What stands before it.
    "quick pass before": Row(
        WRONG, "port = ", around('pass in quick proto tcp to port http\nanchor "f2b/*"')
    ),
    "quick pass of all before": Row(
        WRONG, "pass quick all", around('pass quick all\nanchor "f2b/*"')
    ),
    "quick pass without direction": Row(
        WRONG, "pass quick", around('pass quick proto udp to port 53\nanchor "f2b/*"')
    ),
    "quick pass from all but friends": Row(
        WRONG,
        "! 203.0.113.0/24",
        around('pass in quick from ! 203.0.113.0/24\nanchor "f2b/*"'),
    ),
    "quick pass from half of the world": Row(
        WRONG, "128.0.0.0/1", around('pass in quick from 128.0.0.0/1\nanchor "f2b/*"')
    ),
    "quick pass of answers": Row(
        WRONG,
        "port = ",
        around('pass in quick proto udp from any port 53 to any\nanchor "f2b/*"'),
    ),
    "quick pass out": Row(OK, "blocks", around('pass out quick all\nanchor "f2b/*"')),
    "quick pass on lo0": Row(OK, "blocks", around('pass quick on lo0 all\nanchor "f2b/*"')),
    "quick pass on all but lo0": Row(
        WRONG, "! lo0", around('pass in quick on ! lo0 all\nanchor "f2b/*"')
    ),
    "quick pass for friends": Row(
        NOTE, "is it meant so?", around('pass in quick from 203.0.113.0/24\nanchor "f2b/*"')
    ),
    "quick pass for a table": Row(
        NOTE,
        "<friends>",
        "table <friends> { 198.51.100.0/24 }\n"
        + around('pass in quick from <friends>\nanchor "f2b/*"'),
    ),
    "quick pass of a tag": Row(
        UNSEEN, "tagged LAN", around('pass in quick all tagged LAN\nanchor "f2b/*"')
    ),
    "inline anchor that passes": Row(
        WRONG,
        "pass in quick",
        around('anchor all {\npass in quick to port 22\n}\nanchor "f2b/*"'),
    ),
    "inline anchor that passes last": Row(
        OK, "blocks", around('anchor all {\npass in to port 22\n}\nanchor "f2b/*"')
    ),
    "quick inline anchor that passes": Row(
        WRONG, "pass in", around('anchor quick all {\npass in to port 22\n}\nanchor "f2b/*"')
    ),
    "quick inline anchor that passes and blocks": Row(
        WRONG,
        "gets in",
        around('anchor quick proto tcp {\nblock in all\npass in to port 22\n}\nanchor "f2b/*"'),
    ),
    "inline anchor within an inline anchor": Row(
        WRONG,
        "pass quick",
        around('anchor in {\nanchor on vtnet0 {\npass quick to port 80\n}\n}\nanchor "f2b/*"'),
    ),
    "named anchor that passes": Row(
        WRONG,
        "pass in quick",
        around('anchor "web" {\npass in quick proto tcp to port 80\n}\nanchor "f2b/*"'),
    ),
    "named anchor within a named anchor that passes": Row(
        WRONG,
        "pass in quick",
        around('anchor "a" {\nanchor "b" {\npass in quick to port 80\n}\n}\nanchor "f2b/*"'),
    ),
    "named anchor that passes out": Row(
        OK, "blocks", around('anchor "web" {\npass out quick all\n}\nanchor "f2b/*"')
    ),
    "named anchor out": Row(
        OK, "blocks", around('anchor "web" out {\npass quick all\n}\nanchor "f2b/*"')
    ),
    "empty named anchor": Row(OK, "blocks", around('anchor "ftp-proxy/*"\nanchor "f2b/*"')),
    "redirection that passes": Row(
        WRONG,
        "rdr pass",
        "rdr pass on vtnet0 inet proto tcp from any to any port 80 -> 10.0.0.1\n"
        + around('anchor "f2b/*"'),
    ),
    "redirection that does not pass": Row(
        OK,
        "blocks",
        "rdr on vtnet0 inet proto tcp from any to any port 80 -> 10.0.0.1\n"
        + around('anchor "f2b/*"'),
    ),
    "redirection that passes friends": Row(
        NOTE,
        "is it meant so?",
        "rdr pass inet proto tcp from 203.0.113.0/24 to any port 80 -> 10.0.0.1\n"
        + around('anchor "f2b/*"'),
    ),
    "redirection behind one that all take": Row(
        OK,
        "blocks",
        "no rdr all\nrdr pass inet proto tcp from any to any port 80 -> 10.0.0.1\n"
        + around('anchor "f2b/*"'),
    ),
    "binat that passes": Row(
        WRONG,
        "binat pass",
        "binat pass on vtnet0 inet from 10.0.0.1 to any -> 192.0.2.7\n" + around('anchor "f2b/*"'),
    ),
    "binat that passes friends": Row(
        NOTE,
        "is it meant so?",
        "binat pass on vtnet0 inet from 10.0.0.1 to 203.0.113.0/24 -> 192.0.2.7\n"
        + around('anchor "f2b/*"'),
    ),
    "nat that passes": Row(
        OK,
        "blocks",
        "nat pass on vtnet0 inet from 10.0.0.0/8 to any -> 192.0.2.7\n" + around('anchor "f2b/*"'),
    ),
    # Usual rules, which are no fault.
    "carp": Row(NOTE, "all but", around('pass quick proto carp\nanchor "f2b/*"')),
    "pfsync": Row(NOTE, "all but", around('pass quick on vtnet1 proto pfsync\nanchor "f2b/*"')),
    "DHCP": Row(
        NOTE,
        "all but",
        around('pass in quick proto udp from any port 67 to any port 68\nanchor "f2b/*"'),
    ),
    "neighbor discovery": Row(
        NOTE,
        "all but",
        around('pass quick inet6 proto ipv6-icmp all icmp6-type neighbrsol\nanchor "f2b/*"'),
    ),
    "ping": Row(
        NOTE,
        "all but",
        around('pass in quick inet proto icmp all icmp-type echoreq\nanchor "f2b/*"'),
    ),
    "skipped interface": Row(
        NOTE, "not on vtnet1", "set skip on { lo vtnet1 }\n" + around('anchor "f2b/*"')
    ),
    # where = table
    "table": Row(OK, "blocks", around(BLOCK), True),
    "table without direction": Row(OK, "blocks", around("block quick from <f2b-pflog>"), True),
    "table, return": Row(OK, "blocks", around("block return quick from <f2b-pflog>"), True),
    "table, no rule": Row(WRONG, "lack", around(""), True),
    "table, not quick, before a pass": Row(
        WRONG, "gets in", around("block in from <f2b-pflog>"), True
    ),
    "table, not quick, last": Row(OK, "blocks", around("") + "\nblock in from <f2b-pflog>", True),
    "table, outgoing": Row(WRONG, "lack", around("block out quick from <f2b-pflog>"), True),
    "table as target": Row(WRONG, "lack", around("block quick to <f2b-pflog>"), True),
    "table, negated": Row(WRONG, "lack", around("block quick from ! <f2b-pflog>"), True),
    "another table": Row(WRONG, "lack", around("block in quick from <f2b-pflog2>"), True),
    "table, ssh alone": Row(
        WRONG,
        "does not take all",
        around("block in quick proto tcp from <f2b-pflog> to any port ssh"),
        True,
    ),
    "table, tcp and udp": Row(
        WRONG,
        "gets in",
        "block log all\nblock in quick proto { tcp udp } from <f2b-pflog>\npass in",
        True,
    ),
    "table, both families": Row(
        OK,
        "blocks",
        around("block quick inet from <f2b-pflog>\nblock quick inet6 from <f2b-pflog>"),
        True,
    ),
    "table, IPv4 alone": Row(
        WRONG, "gets in", around("block in quick inet from <f2b-pflog>"), True
    ),
    "table, another interface": Row(
        WRONG, "gets in", around("block in quick on vtnet1 from <f2b-pflog>"), True
    ),
    "table, lo0": Row(WRONG, "lack", around("block in quick on lo0 from <f2b-pflog>"), True),
    "table, one target": Row(
        WRONG,
        "does not take all",
        around("block in quick from <f2b-pflog> to 192.0.2.99"),
        True,
    ),
    "table, probability": Row(UNSEEN, "cannot tell", around(f"{BLOCK} probability 50%"), True),
    "table that is passed": Row(
        WRONG, "pass in quick", around(f"pass in quick from <f2b-pflog>\n{BLOCK}"), True
    ),
    "table in an inline anchor": Row(OK, "blocks", around(f"anchor in {{\n{BLOCK}\n}}"), True),
}


@pytest.mark.parametrize("dialect", ["freebsd", "openbsd"])
@pytest.mark.parametrize("row", ROWS)
def test_what_is_said_of_a_pf_conf(row: str, dialect: str) -> None:
    """Each ruleset gets its mark, and none is ok that lets a packet in."""
    mark, word, conf, table = ROWS[row]
    if dialect == "openbsd" and " -> " in conf:
        pytest.skip("OpenBSD has no section of rdr rules")
    pf = loaded(conf, dialect, "" if table else ANCHORED)
    said = say(pf, "" if table else "f2b/pflog")
    through = leaks(pf)
    assert (said.mark, word in said.line) == (mark, True), (said.line, through)
    assert not (through and said.mark is OK)
    assert through or said.mark is not WRONG


class Random:
    """Makes small rulesets, with most of what a rule may say."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, *choices: str) -> str:
        """Return one of the choices, each a word with a space, or nothing."""
        return self.random.choice(choices)

    def condition(self) -> str:
        """Return what a rule says behind its verb and direction."""
        hosts = ("any", "any", "<f2b-pflog>", "! <f2b-pflog>", "<other>", "! <other>",
                 "198.51.100.0/24", "! 198.51.100.0/24", "0.0.0.0/1", "2001:db8::/32")  # fmt: skip
        text = self.some(
            "", "", "on vtnet0 ", "on vtnet1 ", "on lo0 ", "on ! vtnet1 ", "on egress "
        )
        source = self.some(*hosts)
        if "." in source or "::" in source:
            family = "inet6 " if "::" in source else "inet "
        else:
            family = self.some("", "", "", "inet ", "inet6 ")
        proto = self.some("", "", "", "proto tcp ", "proto udp ", "proto icmp ")
        ports = "tcp" in proto or "udp" in proto
        sport = self.some("", "", "", "port 53 ") if ports else ""
        port = self.some("", "", "port 22", "port 80", "port 1:1024") if ports else ""
        return f"{text}{family}{proto}from {source} {sport}to any {port}".strip()

    def rules(self, depth: int = 0) -> list[str]:
        """Return some rules, with anchors within anchors."""
        found = []
        for _ in range(self.random.randint(1, 4)):
            kind = self.some("rule", "rule", "rule", "rule", "inline", "named", "call", "bans")
            way = self.some("", "in ", "in ", "out ")
            quick = self.some("", "quick ")
            if kind == "rule":
                verb, log = self.some("pass ", "block ", "match "), self.some("", "log ")
                found.append(
                    f"{verb}{way}{log}{'' if 'match' in verb else quick}{self.condition()}"
                )
            elif kind == "bans":
                found.append(f"block {way}{quick}from <f2b-pflog>")
            elif kind == "call":
                name = self.some("f2b/*", "f2b/*", "/f2b/*", "f2b/pflog", "f2b", "/own", "*")
                found.append(f'anchor "{name}" {way}{quick}{self.some("", self.condition())}')
            elif depth < 2:
                name = '"own" ' if kind == "named" else ""
                head = f"anchor {name}{way}{quick}{self.some('all', self.condition())}"
                found += [f"{head} {{", *self.rules(depth + 1), "}"]
        return found

    def conf(self) -> str:
        """Return a pf.conf."""
        lines = ["table <other> { 198.51.100.0/25 }", self.some("", "", "", "set skip on vtnet1")]
        for _ in range(self.random.randint(0, 2) if self.some("", "x") else 0):
            verb = self.some("rdr ", "rdr pass ", "no rdr ", "binat pass ")
            lines.append(f"{verb}{self.condition()}" + ("" if verb[0] == "n" else " -> 10.0.0.1"))
        lines += [self.some("", "block all", "block log all"), *self.rules()]
        if self.some("", "x"):
            lines += ['anchor "f2b/*"', *self.rules()]
        return "\n".join(lines)


@pytest.mark.parametrize("table", [False, True])
def test_random_rulesets(table: bool) -> None:
    """Nothing that is ok lets a packet in; nothing that is noted does it from outside to a port."""
    marks: dict[Mark, int] = dict.fromkeys(Mark, 0)
    for seed in range(1000):
        made = Random(seed)
        pf = loaded(made.conf(), "freebsd", "" if table else made.some(ANCHORED, ANCHORED, "pass"))
        said = say(pf, "" if table else "f2b/pflog", BANNED)
        marks[said.mark] += 1
        outside = [each for each in PACKETS if each.interface == "vtnet0" and each.port]
        packets = {OK: PACKETS, NOTE: outside}.get(said.mark, [])
        assert not any(pf.decide(each).passes for each in packets), (seed, said.line, leaks(pf))
    assert marks[OK] > 100, marks  # the generator makes good rulesets as well
    assert marks[NOTE] > 10, marks


def test_random_rulesets_that_log(tmp_path: Path) -> None:
    """Where logging is ok, a packet to a closed port is logged on pflog0."""
    subject = Subject(tmp_path, SYSTEMS["freebsd"], run, 0.0, lambda _name: None)
    good = 0
    for seed in range(1000):
        pf = loaded(Random(seed).conf())
        if logs(subject, LoadedRules(pf, True), "pflog0", USUAL).mark is OK:
            good += 1
            sources = ("203.0.113.9", "192.0.2.200", "2001:db9::1")
            found = [pf.decide(Packet(source, 8081)) for source in sources]
            assert any(each.logged == "pflog0" and not each.passes for each in found), seed
    assert good > 100


@pytest.mark.parametrize(
    ("happened", "status", "word"),
    [
        ([], 0, "pf blocks what comes from <f2b-pflog>"),
        ([["-F", "all"]], 1, 'lack `anchor "f2b/*"`'),
        ([["-a", "f2b/pflog", "-F", "rules"]], 1, "f2b/pflog has no rule that blocks <f2b-pflog>"),
    ],
)
def test_command_of_the_action(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    happened: list[list[str]],
    status: int,
    word: str,
) -> None:
    """``pf-blocks`` asks pfctl, and says by its exit status and in a line what pf does."""
    pf = loaded(around('anchor "f2b/*"'))
    for arguments in happened:
        pf.pfctl(*arguments)
    host = Host(tmp_path, pf)
    options = ["--table", "f2b-pflog", "--anchor", "f2b/pflog", "--pfctl", f"env {host.program}"]
    assert main(["pf-blocks", *options]) == status
    assert word in "".join(capsys.readouterr())


PRINTED = {
    'anchor "f2b" in on em0 all {': "anchor",
    "anchor all {": "anchor",
    "block return-icmp(port-unr, port-unr) in log (all, to pflog2) quick on ! em0 all": "block",
    "block return-rst(ttl 3) in inet proto tcp from any to (em0:0) port = ssh": "block",
    "block drop in from no-route to any": "block",
    'block drop in from urpf-failed to any label "x y" ridentifier 7': "block",
    "match in all scrub (no-df random-id max-mss 1440)": "match",
    "match out on egress inet from ! (lan:network) to any nat-to (egress:0) round-robin": "match",
    "pass in on lo0 route-to { (pflog0 127.0.0.1), (pflog0 ::1) } round-robin inet all": "pass",
    "pass in on lo0 reply-to (em0 10.0.0.1) source-hash 0x0123 inet6 from any to any": "pass",
    "pass in quick proto udp from any port 1024:65535 to ! <t:3> port 1 >< 5 keep state": "pass",
    'pass in proto tcp from 10.0.0.1 - 10.0.0.9 os "OpenBSD" to any port = 22 user = 0': "pass",
    "pass in on egress inet proto tcp all flags S/SA set ( prio 3 ) rdr-to 10.0.0.1": "pass",
    'pass in from route "dtag" to (self)/40 tagged LAN': "pass",
    "pass out log (all, user) inet6 proto ipv6-icmp all icmp6-type neighbrsol keep state": "pass",
    "pass in on rdomain 1 all": "pass",
    'rdr-anchor "relayd/*" all': "rdr-anchor",
    "rdr pass log (to pflog1) on ! em0 inet proto tcp from any to 1.2.3.4 port = www -> "
    "{ 10.0.0.1, 10.0.0.2 } port 8080 round-robin": "rdr pass",
    "no binat on em0 inet from any to 10.0.0.0/8": "no binat",
    "@3 pass in all": "?",
    "pass in frobnicate all": "?",
    "action(13) in all": "?",
    "pass in from": "?",
}


@pytest.mark.parametrize("line", PRINTED)
def test_rules_as_pfctl_prints_them(line: str) -> None:
    """Each form of print_rule() is read; what has another form is no rule that is known."""
    assert [rule.verb for rule in parse(f"{line}\n")] == [PRINTED[line]]


def test_reading_any_text_ends_soon() -> None:
    """A long line, or blocks without an end, cost no more than their length."""
    assert len(parse("pass in " + "from " * 20_000)) == 1
    assert len(parse("anchor all {\n" * 500)) == 1
    assert len(parse("}\n}\npass all\n")) == 3
