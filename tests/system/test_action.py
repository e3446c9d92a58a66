# SPDX-License-Identifier: GPL-2.0-or-later
"""The action pf-pflog, run by fail2ban's own code against a pf that decides on packets."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from tests.support.actions import PfServer, info, make_action
from tests.support.pf import Packet, Pf

CHECKER = f"{sys.executable} -m fail2ban_pflog"
SOURCE, SOURCE6, OTHER = "198.51.100.7", "2001:db8:1:2::7", "203.0.113.9"
PROBES = [
    Packet(source, port, interface=interface)
    for source in (SOURCE, SOURCE6)
    for port in (22, 80)
    for interface in ("vtnet0", "vtnet1")
]
MARK = "255.255.255.255"
OURS = {"anchor": ("f2b/pflog", "f2b-pflog"), "table": ("", "f2b-pflog")}

RunPf = Callable[..., tuple[Pf, Any]]


@pytest.fixture
def run_pf() -> Iterator[RunPf]:
    """Make a host whose pf.conf says something, and the action that is to ban there."""
    servers = []

    def make(conf: str, dialect: str = "freebsd", **options: str) -> tuple[Pf, Any]:
        folder = Path(tempfile.mkdtemp())  # a socket's path is short
        servers.append(PfServer(folder, Pf(dialect, conf)))
        pfctl = str(servers[-1].program)
        return servers[-1].pf, make_action(
            "pf-pflog", **{"pfctl": pfctl, "checker": CHECKER, **options}
        )

    yield make
    for server in servers:
        server.close()


def gets_in(pf: Pf) -> bool:
    """Whether anything of what the source sends passes."""
    return any(pf.decide(packet).passes for packet in PROBES)


def fails(method: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a method of an action complains."""
    try:
        method(*arguments)
    except RuntimeError:
        return True
    return False


def ban(action: Any) -> bool:
    """Ban the source's addresses; whether the action complains."""
    complaints = [fails(action.ban, info(each)) for each in (SOURCE, SOURCE6)]
    return any(complaints)


# -- Rules that block, and that do not ------------------------------------------------------

ANCHOR, TABLE = "anchor", "table"
RULES = {
    # name: where, pf.conf, whether the action starts
    "parent": (ANCHOR, 'anchor "f2b/*"', True),
    "absolute": (ANCHOR, 'anchor "/f2b/*"', True),
    "everything": (ANCHOR, 'anchor "*"', False),  # pf takes it for an anchor of that name
    "by name": (ANCHOR, 'anchor "f2b/pflog"', True),
    "nested": (ANCHOR, 'anchor "f2b" {\nanchor "*"\n}', True),
    "no rule": (ANCHOR, 'anchor "ftp-proxy/*"', False),
    "anchor itself": (ANCHOR, 'anchor "f2b"', False),
    "another jail": (ANCHOR, 'anchor "f2b/sshd"', False),
    "outgoing": (ANCHOR, 'anchor "f2b/*" out', False),
    "one port": (ANCHOR, 'anchor "f2b/*" in proto tcp to port ssh', False),
    "after a pass": (ANCHOR, 'pass in quick proto tcp to port 22\nanchor "f2b/*"', False),
    "after an inline anchor that passes": (
        ANCHOR,
        'anchor in {\npass quick to port 22\n}\nanchor "f2b/*"',
        False,
    ),
    "after a named anchor that passes": (
        ANCHOR,
        'anchor "own" {\npass quick to port 22\n}\nanchor "f2b/*"',
        False,
    ),
    "after a redirection that passes": (
        ANCHOR,
        'rdr pass proto tcp to port 22 -> 10.0.0.1\nanchor "f2b/*"',
        False,
    ),
    "table": (TABLE, "block drop in quick from <f2b-pflog>", True),
    "no table": (TABLE, 'anchor "f2b/*"', False),
    "longer name": (TABLE, "block drop in quick from <f2b-pflog-slow>", False),
    "not quick": (TABLE, "block drop in from <f2b-pflog>", False),
    "to the table": (TABLE, "block drop out quick from any to <f2b-pflog>", False),
    "table, one port": (TABLE, "block drop in quick proto tcp from <f2b-pflog> to port 22", False),
    "not in the table": (TABLE, "block drop in quick from ! <f2b-pflog>", False),
    "other interface": (TABLE, "block drop in quick on vtnet1 from <f2b-pflog>", False),
}


@pytest.mark.parametrize("checker", [CHECKER, "/nonexistent"], ids=["evaluated", "no checker"])
@pytest.mark.parametrize("row", RULES)
def test_start_takes_only_rules_that_block(run_pf: RunPf, row: str, checker: str) -> None:
    """It starts where a banned source is blocked, complains where one gets in, and bans anyway.

    Without the package's command it knows fewer rules, and takes none that does not block.
    """
    where, conf, starts = RULES[row]
    pf, action = run_pf(f"block log all\n{conf}\npass in", where=where, checker=checker)
    complains = fails(action.start)
    ban(action)
    assert complains or not gets_in(pf)
    assert complains is not starts or (row, checker) == ("nested", "/nonexistent")


def test_the_rule_is_for_every_protocol(run_pf: RunPf) -> None:
    """The rule in the jail's own anchor names no protocol and no port, and is quick."""
    pf, action = run_pf('anchor "f2b/*"')
    action.start()
    assert pf("-a", "f2b/pflog", "-s", "rules").out == (
        "block drop in quick from <f2b-pflog> to any\n"
    )
    assert pf.rulesets[""].rules[0].anchor == "f2b/*"


# -- Bans -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", OURS)
@pytest.mark.parametrize("source", [SOURCE, SOURCE6, "2001:db8:1:2::/64", "198.51.100.0/24"])
def test_ban_and_unban(run_pf: RunPf, where: str, source: str) -> None:
    """An address or a network enters the table, its states end, and it leaves the table again."""
    conf = {ANCHOR: 'anchor "f2b/*"', TABLE: "block drop in quick from <f2b-pflog>"}[where]
    pf, action = run_pf(f"table <f2b-pflog> persist\n{conf}", where=where, checker="true")
    pf.states = [SOURCE, SOURCE6, OTHER]
    action.start()
    before = len(pf.calls)
    action.ban(info(source))
    assert [each for each in pf.tables[OURS[where]] if each != MARK] == [source]
    assert OTHER in pf.states
    assert len(pf.states) == 2
    assert len(pf.calls) - before <= 5  # is it loaded, is it called or marked, add, -k, -K
    action.unban(info(source))
    assert source not in pf.tables[OURS[where]]


class Change(NamedTuple):
    """What happens to pf after the first ban, and what the second does then.

    blocks: whether it blocks.  repairs: whether it also puts the rule back.
    """

    change: Callable[[Pf], Any]
    blocks: bool
    where: str = ANCHOR


def reload_pf(conf: str) -> Callable[[Pf], Any]:
    return lambda pf: pf.load("", conf)


CHANGES = {
    "anchor emptied": Change(lambda pf: pf("-a", "f2b/pflog", "-F", "all"), True),
    "anchor's rules flushed": Change(lambda pf: pf("-a", "f2b/pflog", "-F", "rules"), True),
    "main rules flushed": Change(lambda pf: pf("-F", "rules"), False),
    "loaded without the anchor": Change(reload_pf("pass in"), False),
    "loaded with anchor out": Change(reload_pf('anchor "f2b/*" out\npass in'), False),
    "loaded again": Change(reload_pf('anchor "f2b/*"\npass in'), True),
    "table emptied": Change(lambda pf: pf("-t", "f2b-pflog", "-T", "flush"), True, TABLE),
    "loaded without the table": Change(reload_pf("pass in"), False, TABLE),
    "table killed and rules flushed": Change(lambda pf: pf("-F", "all"), False, TABLE),
    "table is full": Change(lambda pf: setattr(pf, "full", 1), False),
}


@pytest.mark.parametrize("row", CHANGES)
def test_ban_after_a_change(run_pf: RunPf, row: str) -> None:
    """A ban puts back what was flushed; where it cannot block it fails."""
    change = CHANGES[row]
    conf = {ANCHOR: 'anchor "f2b/*"', TABLE: "block drop in quick from <f2b-pflog>"}
    pf, action = run_pf(f"{conf[change.where]}\npass in", where=change.where, checker="true")
    action.start()
    action.ban(info(OTHER))
    change.change(pf)
    assert ban(action) is not change.blocks
    assert gets_in(pf) is not change.blocks


def test_states_that_cannot_be_killed(run_pf: RunPf) -> None:
    """At OpenBSD's securelevel 2 the ban holds, and trykill says what cannot be done."""
    pf, action = run_pf("block in quick from <f2b-pflog>\npass", "openbsd", where=TABLE)
    pf.securelevel = 2
    assert not ban(action)
    assert not gets_in(pf)
    assert fails(action._executeOperation, "<trykill>", "checking", [""])


# -- The end --------------------------------------------------------------------------------


def test_stop_removes_its_own_anchor(run_pf: RunPf) -> None:
    """Rule and table go; the anchor of another jail stays as it is."""
    pf, action = run_pf('anchor "f2b/*"')
    pf.pfctl("-a", "f2b/sshd", "-f", "-", stdin="block quick from <f2b-sshd>")
    pf("-a", "f2b/sshd", "-t", "f2b-sshd", "-T", "add", OTHER)
    action.start()
    ban(action)
    assert action.actionflush
    action.flush()
    action.stop()
    assert (pf("-a", "f2b/pflog", "-s", "rules").out, pf.tables) == (
        "",
        {("f2b/sshd", "f2b-sshd"): [OTHER]},
    )


def test_stop_leaves_what_others_put_into_the_table(run_pf: RunPf) -> None:
    """With where=table fail2ban unbans each source, and the action deletes nothing else."""
    pf, action = run_pf("block drop in quick from <f2b-pflog>", where=TABLE)
    action.start()
    ban(action)
    pf("-t", "f2b-pflog", "-T", "add", OTHER)
    assert not action.actionflush
    for source in (SOURCE, SOURCE6):
        action.unban(info(source))
    action.stop()
    assert pf.tables[OURS[TABLE]] == [OTHER]


def test_start_empties_the_table_of_a_server_that_was_killed(run_pf: RunPf) -> None:
    """What was banned by a server that ended without a stop is not blocked for good."""
    pf, action = run_pf('anchor "f2b/*"')
    action.start()
    ban(action)
    action.start()
    assert pf.tables[OURS[ANCHOR]] == []
