# SPDX-License-Identifier: GPL-2.0-or-later
"""The action pf-pflog, run by fail2ban's own code against a pfctl that records its calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fail2ban.client.actionreader import ActionReader
from fail2ban.server.action import CommandAction

from tests.support.pfctl import calls, stand_in

CONFIG = Path(__file__).parents[2] / "config"

Action = Callable[..., Any]


@pytest.fixture
def action(tmp_path: Path) -> Action:
    """Make the action of jail `pflog` with options; pf.conf's rules are in the file `rules`."""

    def make(rules: str = 'anchor "f2b/*" all\n', **options: str) -> Any:
        pfctl = stand_in(tmp_path, rules)
        reader = ActionReader(
            "pf-pflog",
            "pflog",
            {"name": "pflog", "pfctl": str(pfctl), **options},
            basedir=str(CONFIG),
        )
        reader.read()
        reader.getOptions({})
        made = CommandAction(None, "pf-pflog")
        for name, value in reader.convert()[1][4]:
            setattr(made, name, value)
        return made

    return make


def info(ip: str) -> dict[str, str]:
    return {"ip": ip, "family": "inet6" if ":" in ip else "inet4"}


def test_start_loads_a_rule_for_every_protocol_into_the_jails_own_anchor(
    action: Action, tmp_path: Path
) -> None:
    """The rule names no protocol and no port, is quick, and stands in f2b/pflog."""
    action().start()
    assert calls(tmp_path) == ["-s rules", "-a f2b/pflog -f -"]
    assert (tmp_path / "loaded").read_text().splitlines() == [
        "table <f2b-pflog> persist counters",
        "block drop in quick from <f2b-pflog> to any",
    ]


@pytest.mark.parametrize("ip", ["198.51.100.7", "2001:db8::7", "2001:db8:1:2::/64"])
def test_ban_adds_to_the_table_and_cuts_states(action: Action, tmp_path: Path, ip: str) -> None:
    """An address or a prefix goes into the table; its states and source tracking are killed."""
    made = action()
    made.start()
    (tmp_path / "calls").unlink()
    made.ban(info(ip))
    assert calls(tmp_path) == [
        f"-a f2b/pflog -t f2b-pflog -T add {ip}",
        f"-k {ip}",
        f"-K {ip}",
    ]


def test_unban_deletes_from_the_table(action: Action, tmp_path: Path) -> None:
    """Nothing but the one address is deleted again."""
    made = action()
    made.start()
    made.ban(info("198.51.100.7"))
    made.unban(info("198.51.100.7"))
    assert calls(tmp_path)[-1] == "-a f2b/pflog -t f2b-pflog -T delete 198.51.100.7"


def test_stop_touches_only_its_own_anchor(action: Action, tmp_path: Path) -> None:
    """Every call that changes something names the jail's anchor."""
    made = action()
    made.start()
    made.ban(info("198.51.100.7"))
    made.stop()
    changing = [call for call in calls(tmp_path) if call.split()[0] not in ("-s", "-k", "-K")]
    assert changing[-2:] == ["-a f2b/pflog -F rules", "-a f2b/pflog -t f2b-pflog -T kill"]
    assert [call for call in changing if not call.startswith("-a f2b/pflog ")] == []


@pytest.mark.parametrize(
    "rules", ['anchor "f2b/*" all\n', 'anchor "f2b" all {\n', 'pass\nanchor "*" all\n']
)
def test_start_accepts_every_rule_that_calls_the_anchor(action: Action, rules: str) -> None:
    """`f2b/*`, `f2b` with anchors inside, and `*` all reach f2b/pflog."""
    action(rules).start()


@pytest.mark.parametrize("where", ["anchor", "table"])
def test_start_fails_where_pf_conf_would_ignore_the_bans(
    action: Action, tmp_path: Path, where: str
) -> None:
    """Rules that nothing calls block nothing: the action says so instead of starting."""
    with pytest.raises(RuntimeError):
        action('block drop in log all\nanchor "ftp-proxy/*" all\n', where=where).start()
    assert calls(tmp_path) == ["-s rules"]


@pytest.mark.parametrize("table", ["<f2b-pflog>", "<f2b-pflog:3>"])
def test_start_accepts_the_table_as_pfctl_prints_it(action: Action, table: str) -> None:
    """Some pfctls print the number of addresses with the table's name."""
    action(f"block drop in quick from {table} to any\n", where="table").start()


def test_start_wants_that_very_table(action: Action) -> None:
    """A table whose name only begins like it is another one."""
    with pytest.raises(RuntimeError):
        action("block drop in quick from <f2b-pflog-slow> to any\n", where="table").start()


def test_a_table_of_pf_conf_is_used_without_any_anchor(action: Action, tmp_path: Path) -> None:
    """With where=table addresses go into the main table, and no rule is loaded."""
    made = action("block drop in quick from <f2b-pflog> to any\n", where="table")
    made.start()
    made.ban(info("198.51.100.7"))
    made.stop()
    assert calls(tmp_path) == [
        "-s rules",
        "-t f2b-pflog -T add 198.51.100.7",
        "-k 198.51.100.7",
        "-K 198.51.100.7",
        "-t f2b-pflog -T flush",
    ]
