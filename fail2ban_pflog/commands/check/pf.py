# SPDX-License-Identifier: GPL-2.0-or-later
"""pf itself: does it log what it blocks, and would it block who is banned?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .result import Result, note, ok, unseen, wrong
from .subject import Jail, Subject

__all__ = ["pf"]

_LOGS = re.compile(r"^block\b.*\blog\b", re.MULTILINE)
_OTHER_ANCHOR = re.compile(r'^anchor "(?!f2b/)', re.MULTILINE)

_PASSES_AT_ONCE = re.compile(r"^pass(?! out\b)(?=.* quick\b)(?!.* on lo\d)")
"""A rule that ends the search for one that blocks."""


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
    answer = subject.ask("pfctl", "-s", "rules")
    if answer.problem:
        yield unseen("rules", answer.problem)
        return
    yield _logs(subject, answer.out)
    for jail in [*subject.jails, *subject.text_jails]:
        blocking = jail.blocking
        if blocking is None:
            actions = ", ".join(jail.told["actions"]) or "none"
            yield unseen(jail.name, f"what its action does is not known: {actions}")
        else:
            yield from _blocks(subject, jail, blocking, answer.out.splitlines())


def _logs(subject: Subject, rules: str) -> Result:
    found = _LOGS.search(rules)
    if found:
        line = rules[found.start() :].splitlines()[0]
        return ok("log", f"pf logs what it blocks: {line}")
    if _OTHER_ANCHOR.search(rules):
        return unseen(
            "log",
            "no rule of the main ruleset blocks and logs; those in anchors were not looked at",
            "pfctl -a '*' -s rules | grep 'block.*log'",
        )
    return wrong(
        "log",
        "no rule blocks and logs: fail2ban gets nothing to read",
        f"`block drop in log all` in {subject.system.rules}",
    )


def _blocks(
    subject: Subject, jail: Jail, blocking: dict[str, str], rules: list[str]
) -> Iterator[Result]:
    """Is the rule that blocks this jail's sources reached, and does its table hold them?"""
    name = blocking.get("name", jail.name)
    table = blocking.get("tablename", "f2b-<name>").replace("<name>", name)
    anchor = blocking.get("anchor", "f2b")
    if blocking.get("where") == "table":
        select: tuple[str, ...] = ()
        what, calls = f"a rule with <{table}>", rf"^block\b.*<{re.escape(table)}>"
        advice = f"`table <{table}> persist` and `block drop in quick from <{table}>`"
    else:
        what, calls = f'the anchor "{anchor}/*"', rf'^anchor "({re.escape(anchor)}|\*)[/"]'
        select = ("-a", f"{anchor}/{name}")
        advice = f'`anchor "{anchor}/*"`'
    at = next((number for number, rule in enumerate(rules) if re.match(calls, rule)), None)
    if at is None:
        yield wrong(
            jail.name,
            f"pf's rules lack {what}: bans block nothing",
            f"{advice} in {subject.system.rules}, before the rules that pass",
        )
        return
    before = [rule for rule in rules[:at] if _PASSES_AT_ONCE.match(rule)]
    open_to_all = [rule for rule in before if re.search(r" from any\b| all\b", rule)]
    if open_to_all:
        yield wrong(
            jail.name,
            f"who is banned still gets in: before {what} stands {open_to_all[0]}",
            f"move {what} up in {subject.system.rules}",
        )
    elif before:
        yield note(
            jail.name,
            f"before {what} stands {before[0]}",
            "whom that lets in no ban stops: is it meant so?",
        )
    else:
        yield ok(jail.name, f"{what} comes before all rules that pass at once")
    if jail.name in subject.banned:
        yield _table(subject, jail.name, table, select)


def _table(subject: Subject, jail: str, table: str, select: tuple[str, ...]) -> Result:
    answer = subject.ask("pfctl", *select, "-t", table, "-T", "show")
    where = f"table {table}" + (f" in anchor {select[1]}" if select else "")
    if answer.problem:
        return wrong(
            jail,
            f"{where}: {answer.problem}",
            f"the action did not start: {subject.system.restart}",
        )
    held, banned = len(answer.out.split()), subject.banned[jail]
    if held < banned:
        return wrong(
            jail, f"{where} holds {held} addresses, but {banned} are banned", subject.system.restart
        )
    return ok(jail, f"{where} holds {held} addresses")
