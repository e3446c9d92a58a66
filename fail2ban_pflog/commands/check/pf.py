# SPDX-License-Identifier: GPL-2.0-or-later
"""pf itself: does it log what it blocks, and would it block banned sources?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional

from ...options import DEFAULT_INTERFACE
from .blocks import FAMILIES, LoadedRules, blocks, holds, outside
from .captures import written
from .evaluate import Outcome, evaluate
from .result import Result, note, ok, unseen, wrong
from .ruleset import Packet, Rule
from .subject import Jail, Subject

__all__ = ["logs", "pf"]


def pf(subject: Subject) -> Iterator[Result]:
    """Look at pf as it is loaded, which may differ from its file."""
    answer = subject.ask("pfctl", "-s", "info")
    if answer.problem:
        advice = "run this as root" if "ermission" in answer.problem else ""
        found = f"cannot be looked at on {subject.system.name}: {answer.problem}"
        yield unseen("pf", found, advice)
        return
    if not re.search(r"^Status: Enabled", answer.out, re.MULTILINE):
        yield wrong("pf", "is disabled", subject.system.enable)
        return
    yield ok("pf", "is enabled")
    loaded = LoadedRules(
        lambda *words: subject.ask("pfctl", *words), subject.system.name != "OpenBSD"
    )
    rules = loaded.rules("")
    if rules is None:
        yield unseen("rules", loaded.ask("-s", "rules").problem)
        return
    interfaces = outside(subject.ask)
    for name in _log_interfaces(subject):
        yield logs(subject, loaded, name, interfaces)
    yield _questions(subject, rules)
    yield from _scrub(subject, loaded.ask("-s", "rules").out)
    for jail in subject.all_jails:
        yield from _bans(subject, jail, loaded, interfaces)


def _log_interfaces(subject: Subject) -> list[str]:
    """Return where the jails need what pf blocks: their interfaces, and pflogd's."""
    files = written(subject)
    found = {each for jail in subject.jails for each in jail.interfaces}
    paths = [path for jail in subject.jails if not jail.interfaces for path in jail.logpaths]
    found |= {files.get(path, DEFAULT_INTERFACE) for path in paths}
    return sorted(found or {DEFAULT_INTERFACE})


def logs(
    subject: Subject, loaded: LoadedRules, interface: str, interfaces: frozenset[str]
) -> Result:
    """Is what arrives at a closed port logged where a jail listens?"""
    outcomes = [
        evaluate(loaded, Packet(family, interfaces=interfaces), loaded.translation)
        for family in FAMILIES
    ]
    blocking = [
        rule
        for outcome in outcomes
        for rule in outcome.deciding
        if rule.verb == "block" and not rule.is_narrow
    ]
    logging = [rule for rule in blocking if rule.logs_to() == interface]
    whole = [rule for outcome in outcomes if (rule := _decisive(outcome)) in logging]
    unread = [rule.text for outcome in outcomes for rule in outcome.unread]
    if len(whole) == len(outcomes) and not unread:
        return ok("log", f"pf logs what it blocks, to {interface}: {whole[0].text}")
    if unread:
        return unseen("log", f"cannot tell whether pf logs what it blocks: {unread[0]}")
    advice = f"`block drop in log all` in {subject.system.rules}"
    if interface != DEFAULT_INTERFACE:
        advice = advice.replace("log", f"log (to {interface})", 1)
    if logging:
        return note("log", f"pf logs only a part of what it blocks: {logging[0].text}", advice)
    found = f"no rule blocks and logs to {interface}: fail2ban gets nothing to read"
    return wrong("log", f"{found} ({blocking[0].text})" if blocking else found, advice)


def _decisive(outcome: Outcome) -> Optional[Rule]:
    """Return the rule that decides on TCP from anywhere to a port that no other rule names."""
    final, pending = (
        [rule for rule in rules if rule.is_whole] for rules in (outcome.final, outcome.pending)
    )
    return next(iter(final or pending[-1:]), None)


def _questions(subject: Subject, rules: list[Rule]) -> Result:
    """Does pf log what this host asks, so that answers to it are known?"""
    for rule in _flat(rules):
        if rule.verb == "pass" and rule.logs_to() and rule.parts["direction"] != "in":
            return ok("answers", f"are known by what this host asked: {rule.text}")
    return note(
        "answers",
        "that come late may be counted, as pf does not log what this host asked",
        f"`pass out log` in {subject.system.rules}: one more packet logged per connection",
    )


def _flat(rules: list[Rule]) -> Iterator[Rule]:
    for rule in rules:
        yield rule
        yield from _flat(rule.inner or [])


def _scrub(subject: Subject, rules: str) -> Iterator[Result]:
    """Are FIN, NULL and Xmas probes logged, which pf drops before any rule?"""
    probes = "FIN, NULL and Xmas probes are dropped before any rule, and logged nowhere"
    if subject.system.name == "OpenBSD":
        yield note("scrub", probes)
    elif subject.system.name == "FreeBSD" and "\nscrub in log" not in f"\n{rules}":
        release = re.match(r"\d+", subject.ask("uname", "-r").out)
        if rules.startswith("scrub in") or (release and int(release[0]) >= 14):
            yield note("scrub", probes, f"`scrub in log all` in {subject.system.rules}")


def _bans(
    subject: Subject, jail: Jail, loaded: LoadedRules, interfaces: frozenset[str]
) -> Iterator[Result]:
    """Is the rule that blocks this jail's sources reached, and does its table hold them?"""
    options = jail.blocking
    if options is None:
        actions = ", ".join(jail.settings["actions"]) or "none"
        yield unseen(jail.name, f"what its action does is not known: {actions}")
        return
    name = options.get("name", jail.name)
    table = options.get("tablename", "f2b-<name>").replace("<name>", name)
    anchor = f"{options.get('anchor', 'f2b')}/{name}".strip("/")
    anchor = "" if options.get("where") == "table" else anchor
    banned = subject.banned.get(jail.name)
    yield blocks(loaded, jail.name, table, anchor, interfaces, banned or [])
    if banned is not None:
        yield _table(subject, jail.name, table, anchor, banned, loaded)


def _table(
    subject: Subject, jail: str, table: str, anchor: str, banned: list[str], loaded: LoadedRules
) -> Result:
    entries, problem = loaded.table(table, anchor)
    where = f"table {table}" + (f" in anchor {anchor}" if anchor else "")
    if problem:
        found = f"{where}: {problem}"
        return wrong(jail, found, f"the action did not start: {subject.system.restart}")
    missing = [address for address in banned if not holds(entries, address)]
    if missing:
        found = f"{where} lacks {len(missing)} of {len(banned)} that are banned: {missing[0]}"
        return wrong(jail, found, subject.system.restart)
    return ok(jail, f"{where} holds all {len(banned)} that are banned")
