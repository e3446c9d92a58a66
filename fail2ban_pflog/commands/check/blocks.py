# SPDX-License-Identifier: GPL-2.0-or-later
"""Does pf, as it is loaded, block the sources in a table?  Also ``fail2ban-pflog pf-blocks``.

The action pf-pflog asks once at its start, ``check`` for each jail.  ``ok`` is said only where
pf's evaluation blocks every packet of a banned source that comes in; loopback aside.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import Callable, Optional

from ..host.systems import find_system
from ..host.tools import Answer, run
from .evaluate import Outcome, evaluate
from .result import Mark, Result, exit_status, note, ok, unseen, wrong
from .ruleset import Packet, Rule, parse

__all__ = ["FAMILIES", "LoadedRules", "add_command", "blocks", "holds", "outside"]

FAMILIES = ("inet", "inet6")


class LoadedRules:
    """pf's rules, asked of pfctl once each.

    Args:
        pfctl: runs pfctl with arguments.
        translation: whether this pf has a section of ``nat`` and ``rdr`` rules.
    """

    def __init__(self, pfctl: Callable[..., Answer], translation: bool) -> None:
        self.translation = translation
        self.ask = lru_cache(maxsize=None)(pfctl)

    def _lines(self, path: str, *words: str) -> Optional[str]:
        answer = self.ask(*(("-a", path) if path else ()), *words)
        return None if answer.problem else answer.out

    def rules(self, path: str, section: str = "rules") -> Optional[list[Rule]]:
        """Return an anchor's rules; None where they cannot be read."""
        text = self._lines(path, "-s", section)
        return None if text is None else parse(text)

    def children(self, path: str) -> Optional[list[str]]:
        """Return the paths of the anchors in an anchor; None where they cannot be read."""
        text = self._lines(path, "-s", "Anchors")
        return (
            None if text is None else [line.strip() for line in text.splitlines() if line.strip()]
        )

    def table(self, name: str, path: str = "") -> tuple[list[str], str]:
        """Return what a table holds, and why that cannot be read, or ""."""
        answer = self.ask(*(("-a", path) if path else ()), "-t", name, "-T", "show")
        return answer.out.split(), answer.problem

    def lets_in(self, rule: Rule, addresses: Sequence[str]) -> bool:
        """Return whether a rule's source, a table or a network, holds one of the addresses."""
        source = rule.source
        named = re.fullmatch(r"<(.*)>", source)
        entries = self.table(named[1])[0] if named else [source]
        return any(holds(entries, address) for address in addresses)

    def skipped(self) -> list[str]:
        """Return the interfaces other than loopback that pf ignores (``set skip``)."""
        lines = (self._lines("", "-v", "-s", "Interfaces") or "").splitlines()
        names = [line.split()[0] for line in lines if line.endswith("(skip)")]
        return [name for name in names if name.rstrip("0123456789") != "lo"]


def outside(ask: Callable[..., Answer]) -> frozenset[str]:
    """Return the interfaces of the default routes, with all of their groups."""
    rows = [line.split() for line in ask("netstat", "-rn").out.splitlines()]
    names = {row[-1] for row in rows if row and row[0] in ("default", "0.0.0.0", "::/0")}
    texts = [ask("ifconfig", name).out for name in sorted(names)]
    groups = [line.split()[1:] for line in "\n".join(texts).splitlines() if "groups:" in line]
    return frozenset({*names, *(group for each in groups for group in each)})


def holds(entries: Sequence[str], address: str) -> bool:
    """Return whether a table holds an address or network; its longest prefix decides."""
    wanted, found = ip_network(address, strict=False), (-1, False)
    for entry in entries:
        with contextlib.suppress(ValueError):  # a name
            network = ip_network(entry.lstrip("! "), strict=False)
            if wanted.network_address in network and wanted.prefixlen >= network.prefixlen:
                found = max(found, (network.prefixlen, not entry.startswith("!")))
    return found[1]


def blocks(
    loaded: LoadedRules,
    name: str,
    table: str,
    anchor: str,
    interfaces: frozenset[str],
    banned: Sequence[str] = (),
) -> Result:
    """Say whether pf blocks every packet that comes in from the sources in a table.

    Args:
        loaded: pf's rules.
        name: what the result is called.
        table: the table's name.
        anchor: the anchor that table and rule are in; "" for the main ruleset.
        interfaces: those of the default route, as outside() returns them.
        banned: addresses in the table, which no rule for others may let in.
    """
    everywhere = _outcomes(loaded, table, anchor, frozenset())
    result = _result(loaded, name, table, anchor, banned, everywhere)
    if result.mark is not Mark.WRONG or not interfaces:
        return result
    outcomes = _outcomes(loaded, table, anchor, interfaces)
    there = _result(loaded, name, table, anchor, banned, outcomes)
    if there.mark in (Mark.OK, Mark.NOTE):
        names = ", ".join(sorted(each for each in interfaces if each[-1].isdigit()))
        found = f"on {names} alone {there.found}; elsewhere {result.found}"
        return note(name, found, there.advice)
    return result


def _outcomes(
    loaded: LoadedRules, table: str, anchor: str, interfaces: frozenset[str]
) -> list[Outcome]:
    packets = [Packet(family, table, anchor, interfaces) for family in FAMILIES]
    return [evaluate(loaded, packet, loaded.translation) for packet in packets]


def _result(
    loaded: LoadedRules,
    name: str,
    table: str,
    anchor: str,
    banned: Sequence[str],
    outcomes: list[Outcome],
) -> Result:
    rule = f"block drop in quick from <{table}>"
    bans = [ban for outcome in outcomes for ban in outcome.bans]
    unread = [rule.text for outcome in outcomes for rule in outcome.unread]
    names = {anchor, f"{anchor.rpartition('/')[0]}/*"}
    entered = any(names & outcome.entered for outcome in outcomes)
    if anchor and entered and not (bans or unread):
        found = f"the anchor {anchor} has no rule that blocks <{table}>: bans block nothing"
        return wrong(name, found, "fail2ban-client reload --restart")
    what = f'anchor "{anchor.rpartition("/")[0]}/*"' if anchor else rule
    passed_before = any(outcome.passing and not outcome.pending for outcome in outcomes)
    if not (bans or unread or passed_before):
        lines = f"`{what}`" if anchor else f"`table <{table}> persist` and `{what}`"
        found = f"pf's rules lack `{what}`: bans block nothing"
        return wrong(name, found, f"{lines} in pf.conf, before the rules that pass")
    passing = {each.text: each for outcome in outcomes for each in outcome.passing}.values()
    unusual = [each for each in passing if not each.is_usual]
    wide = [
        each.text
        for each in unusual
        if not (each.is_narrow or each.restrictions)
        or each.source == f"<{table}>"
        or (each.is_narrow and loaded.lets_in(each, banned))
    ]
    unclear = unread + [ban.text for ban in bans if ban.restrictions]
    if wide and not unclear:
        partial = [ban.text for outcome in outcomes for ban in outcome.partial]
        found = f"a banned source still gets in: {wide[0]}"
        found += f"; what blocks it does not take all: {partial[0]}" if partial else ""
        advice = f"`{what}` in pf.conf, before the rules that pass"
        if wide[0].startswith(("rdr", "binat")):
            advice = f"{wide[0].split()[0]} without `pass`, and a rule that passes, in pf.conf"
        return wrong(name, found, advice)
    unclear += [each.text for each in unusual if each.restrictions]
    if unclear:
        return unseen(name, f"cannot tell whether bans block: {unclear[0]}", "see pf.conf(5)")
    if unusual:
        found = f"before `{what}` stands {unusual[0].text}"
        return note(name, found, "sources that it lets in are not blocked: is it meant so?")
    if skipped := ", ".join(loaded.skipped()):
        return note(name, f"bans block, but not on {skipped}, which pf skips (set skip)")
    if usual := [each.text for each in passing]:
        return note(name, f"bans block all but {usual[0]}")
    return ok(name, f"pf blocks what comes from <{table}>, before all rules that pass it")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``pf-blocks``, which the action pf-pflog calls, to the command line."""
    parser = commands.add_parser(
        "pf-blocks",
        description="Say whether pf, as it is loaded, blocks the sources in a table. The exit "
        "status is 0 where it does, 1 where it does not, 3 where that is not known.",
    )
    parser.add_argument("--table", required=True, help="the table that holds banned sources")
    parser.add_argument("--anchor", default="", help="the anchor that it is in, as f2b/pflog")
    parser.add_argument("--pfctl", default="pfctl", help="the command, e.g. 'doas pfctl'")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Print one line."""
    words = shlex.split(arguments.pfctl)
    translation = find_system().name != "OpenBSD"
    loaded = LoadedRules(lambda *more: run([*words, *more]), translation)
    interfaces = outside(lambda *command: run(command))
    result = blocks(loaded, "pf", arguments.table, arguments.anchor.strip("/"), interfaces)
    print(result.line, file=sys.stdout if result.mark is Mark.OK else sys.stderr)
    return exit_status([result])
