# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux' packet filters: do they log what they drop, and would they block banned sources?

nftables' rules come as JSON, those of iptables from iptables-save; both become chains of
nftables' expressions.  A SYN to a closed port is walked through them.  Of each rule it is known
whether it takes that packet always, never or perhaps; `ok` is printed only where a rule that is
always met logs to the group and the packet is then dropped.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Any, NamedTuple, Optional

from ...sources.nflog import LISTENERS, group, holder
from .blocks import holds
from .result import Result, note, ok, unseen, wrong
from .subject import Jail, Subject

__all__ = ["linux"]

ACTION = "nft-pflog"
PASSES = re.compile(r"(?<![a-z])(pass|accept|allow)(ed)?(?![a-z])", re.IGNORECASE)
"""Prefixes of rules whose packets are not taken for dropped, see pflog/nflog.py."""

MAX_DEPTH = 16
"""Chains that call each other; nftables' own limit."""

_PATHS = (("prerouting", "input"), ("prerouting", "forward"))
_FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0}
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return",
             "NFQUEUE": "queue"}  # fmt: skip
_UNCONDITIONAL = frozenset(
    {"accept", "comment", "counter", "drop", "goto", "jump", "log", "mangle", "notrack", "reject",
     "return", "vmap"}
)  # fmt: skip
_RULE = 'nft add rule inet filter input log prefix "drop-in" group {} queue-threshold 1 drop'

Rule = list[dict[str, Any]]


class Match(IntEnum):
    """Whether a rule takes the packet."""

    NEVER = 0
    PERHAPS = 1
    ALWAYS = 2


class Chain(NamedTuple):
    """A chain; `hook` is empty where only other chains call it."""

    family: str
    table: str
    name: str
    hook: str
    priority: int
    policy: str
    rules: list[Rule]


Chains = dict[tuple[str, str, str], Chain]


def linux(subject: Subject) -> Iterator[Result]:
    """Look at the groups that jails listen to, the rules, and the jails' tables."""
    names = {name: jail for jail in subject.jails for name in jail.interfaces}
    groups = {number for name in names if (number := group(name)) is not None}
    for number in sorted(groups):
        yield _listener(subject, number)
    for name in sorted(names):
        if group(name) is None:
            found = f"listens to {name}; packets come by an NFLOG group"
            yield note(names[name].name, found, "interface=nflog:5 in pflog_backend")
    answer = subject.ask("nft", "-j", "list", "ruleset")
    ruleset: list[dict[str, Any]] = []
    if not answer.problem:
        with suppress(ValueError, LookupError, TypeError):
            ruleset = json.loads(answer.out)["nftables"]
    try:
        chains = _chains(ruleset)
        for tool, family in (("iptables-save", "ip"), ("ip6tables-save", "ip6")):
            saved = _saved(subject.ask(tool).out, family)
            tables = {key[:2] for key in saved}
            chains = {key: chain for key, chain in chains.items() if key[:2] not in tables} | saved
        results = [_logs(chains, number) for number in sorted(groups)]
        results += [_questions(chains, number) for number in sorted(groups)[:1]]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        yield unseen("rules", f"cannot be read: {error!r}")
        return
    if not chains and answer.problem:
        advice = "run this as root" if "ermi" in answer.problem else ""
        yield unseen("rules", f"cannot be read: {answer.problem}", advice)
        return
    yield from results
    for jail in [*subject.jails, *subject.text_jails]:
        yield _bans(subject, jail, ruleset, chains)


def _listener(subject: Subject, number: int) -> Result:
    name = f"nflog:{number}"
    port = holder(number, subject.path(LISTENERS))
    if port is None:
        problem = subject.listen(name)
        if problem is None:
            return unseen(name, "listening was not tried: this Python has no pcapy")
        if "permission" in problem:
            return unseen(name, problem, "run this as root")
        if problem:
            return wrong(name, problem)
        return note(name, "can be listened to, but fail2ban does not", subject.system.restart)
    try:
        program = subject.path(f"/proc/{port}/comm").read_text().strip()
    except OSError:
        return unseen(name, f"netlink port {port} listens to it: is that fail2ban?")
    if "fail2ban" in program:
        return ok(name, f"{program} listens to it")
    found = f"{program} (process {port}) listens to it, so fail2ban cannot"
    return wrong(name, found, "take another group for one of them")


def _chains(ruleset: list[dict[str, Any]]) -> Chains:
    """Return the chains of what `nft -j list ruleset` prints; tables with flags are dormant."""
    found: Chains = {}
    dormant = {
        (table["family"], table["name"])
        for each in ruleset
        if (table := each.get("table")) and table.get("flags")
    }
    for each in ruleset:
        if (chain := each.get("chain")) and (chain["family"], chain["table"]) not in dormant:
            key = chain["family"], chain["table"], chain["name"]
            hook, policy = chain.get("hook", ""), chain.get("policy", "accept")
            found[key] = Chain(*key, hook, chain.get("prio", 0), policy, [])
        elif rule := each.get("rule"):
            key = rule["family"], rule["table"], rule["chain"]
            if key in found:
                found[key].rules.append(rule["expr"])
    return found


def _saved(text: str, family: str) -> Chains:
    """Return the chains of what iptables-save prints."""
    found: Chains = {}
    table = ""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if line.startswith("*"):
            table = words[0][1:]
        elif line.startswith(":"):
            name, policy = words[0][1:], words[1].lower()
            hook = name.lower() if policy != "-" else ""
            key = family, table, name
            found[key] = Chain(*key, hook, _PRIORITIES.get(table, 0), policy, [])
        elif line.startswith("-A "):
            chain = found[family, table, words[1]]
            targets = {key[2] for key in found if key[1] == table}
            chain.rules.append(_rule(words[2:], targets))
    return found


def _rule(words: list[str], chains: set[str]) -> Rule:
    """Return a rule of iptables as nftables' expressions."""
    jump = next((at for at, word in enumerate(words) if word in ("-j", "-g")), len(words))
    rule: Rule = []
    conditions = " ".join(words[:jump])
    conditions = re.sub(r"-m (comment|conntrack|state)( --comment .*?(?= -|$))?", "", conditions)
    for state in re.findall(r"(?<!! )--(?:ct)?state (\S+)", conditions):
        right = state.lower().split(",")
        rule.append({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": right}})
    for sign, name in re.findall(r"(! )?-i (\S+)", conditions):
        match = {"op": "!=" if sign else "==", "left": {"meta": {"key": "iif"}}, "right": name}
        rule.append({"match": match})
    if re.sub(r"(?<!! )--(ct)?state \S+|(! )?-i \S+", "", conditions).strip():
        rule.append({"xt": None})
    target = words[jump + 1] if jump < len(words) else ""
    options = dict(zip(words[jump + 2 :], words[jump + 3 :]))
    if target == "NFLOG":
        log = {"prefix": options.get("--nflog-prefix", ""),
               "group": int(options.get("--nflog-group", 0)),
               "queue-threshold": int(options.get("--nflog-threshold", 0))}  # fmt: skip
        rule.append({"log": log})
    elif target in _VERDICTS:
        rule.append({_VERDICTS[target]: None})
    elif target in chains:
        rule.append({"jump" if words[jump] == "-j" else "goto": {"target": target}})
    return rule


class _Walk:
    """Walks a SYN to a closed port through the chains of a path.

    Attributes:
        dropped: The log statements after which the packet was dropped, with whether all such
            packets meet them, and where they stand.
        accepted: Where a packet was logged that may be accepted.
    """

    def __init__(self, chains: Chains, version: int, number: int) -> None:
        self._chains, self._version, self._number = chains, version, number
        self.dropped: list[tuple[dict[str, Any], bool, str]] = []
        self.accepted = ""

    def path(self, hooks: tuple[str, ...]) -> None:
        """Walk all base chains of a path."""
        pending: list[tuple[dict[str, Any], bool, str]] = []
        for hook in hooks:
            bases = [chain for chain in self._chains.values() if chain.hook == hook]
            for chain in sorted(bases, key=lambda each: each.priority):
                if chain.family not in _FAMILIES[self._version]:
                    continue
                verdict = self._chain(chain, True, pending, 0) or chain.policy
                if verdict == "drop":
                    self.dropped += pending
                    return
        if pending:
            self.accepted = pending[0][2]

    def _chain(
        self, chain: Chain, sure: bool, pending: list[tuple[dict[str, Any], bool, str]], depth: int
    ) -> str:
        """Walk a chain; returns the verdict of which a packet in it is sure, or nothing."""
        where = f"{chain.family} {chain.table} {chain.name}"
        for rule in chain.rules if depth < MAX_DEPTH else ():
            match = min((_match(each, self._version) for each in rule), default=Match.ALWAYS)
            if match is Match.NEVER:
                continue
            taken = pending if match is Match.ALWAYS else list(pending)
            verdict = self._take(rule, chain, sure and match is Match.ALWAYS, taken, depth, where)
            if verdict == "drop":
                self.dropped += [each for each in taken if each not in pending or taken is pending]
            elif verdict == "accept" and taken:
                self.accepted = self.accepted or taken[0][2]
            elif not verdict and taken is not pending:
                pending += [each for each in taken if each not in pending]
            if verdict and match is Match.ALWAYS:
                if verdict == "drop":
                    pending.clear()
                return "" if verdict == "return" else verdict
        return ""

    def _take(
        self, rule: Rule, chain: Chain, sure: bool,
        pending: list[tuple[dict[str, Any], bool, str]], depth: int, where: str,
    ) -> str:  # fmt: skip
        """Take a rule's statements one after the other; returns their verdict."""
        for kind, value in (item for each in rule for item in each.items()):
            if kind == "log" and value and value.get("group") == self._number:
                if not PASSES.search(value.get("prefix", "")):
                    pending.append((value, sure, where))
            elif kind in ("drop", "reject"):
                return "drop"
            elif kind in ("accept", "return"):
                return str(kind)
            elif kind in ("queue", "fwd", "tproxy"):
                return "accept"  # whoever takes it may
            elif kind in ("jump", "goto"):
                inner = self._chains[chain.family, chain.table, value["target"]]
                verdict = self._chain(inner, sure, pending, depth + 1)
                if verdict or kind == "goto":
                    return verdict or "return"
            elif kind == "vmap":
                self._map(value, chain, pending, depth)
        return ""

    def _map(
        self, value: Any, chain: Chain, pending: list[tuple[dict[str, Any], bool, str]], depth: int
    ) -> None:
        """Take each verdict of a map as one that the packet may meet."""
        data = value.get("data")
        unknown: list[Any] = [[0, {"accept": None}]]
        verdicts = data.get("set", []) if isinstance(data, dict) else unknown
        for _, verdict in verdicts:
            taken = list(pending)
            ends = self._take([verdict], chain, False, taken, depth, "")
            if ends == "accept" and taken:
                self.accepted = self.accepted or taken[0][2]
            elif ends == "drop":
                self.dropped += [each for each in taken if each not in pending]


def _match(statement: dict[str, Any], version: int) -> Match:
    """Return whether a statement lets a SYN to a closed port go on."""
    kind, value = next(iter(statement.items()))
    if kind != "match":
        return Match.ALWAYS if kind in _UNCONDITIONAL else Match.PERHAPS
    left, right, differs = value["left"], value["right"], value["op"] == "!="
    meta, payload = left.get("meta", {}).get("key"), left.get("payload", {}).get("protocol")
    holds: Optional[bool] = None
    if left.get("ct", {}).get("key") == "state":
        names = right.get("set", []) if isinstance(right, dict) else right
        holds = "new" in ([names] if isinstance(names, str) else names)
    elif meta in ("iif", "iifname") and right == "lo":
        holds = False
    elif meta == "nfproto":
        holds = right == f"ipv{version}"
    elif (payload in ("ip", "icmp") and version == 6) or (
        payload in ("ip6", "icmpv6") and version == 4
    ):
        return Match.NEVER
    if holds is None:
        return Match.PERHAPS
    return Match.ALWAYS if holds is not differs else Match.NEVER


def _logs(chains: Chains, number: int) -> Result:
    """Is what arrives at a closed port logged to the group and dropped, over IPv4 and IPv6?"""
    advice = f"{_RULE.format(number)}, behind the rules that accept"
    walks = [(version, _Walk(chains, version, number)) for version in _FAMILIES for _ in _PATHS]
    for (_, walk), hooks in zip(walks, _PATHS * len(_FAMILIES)):
        walk.path(hooks)
    if accepted := next((walk.accepted for _, walk in walks if walk.accepted), ""):
        found = f"{accepted} logs to group {number} what may be let in: honest hosts are banned"
        return wrong("log", found, "log and drop in one rule, behind those that accept")
    met = [(version, *each) for version, walk in walks for each in walk.dropped]
    whole = {version: (log, where) for version, log, sure, where in met if sure}
    if not whole:
        return _unmet(chains, number, next((where for *_, where in met), ""), advice)
    where = next(where for _, where in whole.values())
    if len(whole) < len(_FAMILIES):
        found = f"{where} logs what it drops, but over IPv{next(iter(whole))} alone"
        return note("log", found, advice)
    if any(log.get("queue-threshold") != 1 for log, _ in whole.values()):
        found = f"{where} logs what it drops; packets come up to a second late"
        return note("log", found, "queue-threshold 1 in that rule (iptables: --nflog-threshold 1)")
    return ok("log", f"{where} logs what it drops to group {number}, at once")


def _questions(chains: Chains, number: int) -> Result:
    """Is what this host asks logged, so that answers to it are known?"""
    for chain in chains.values():
        logs = [each.get("log") for rule in chain.rules for each in rule]
        if chain.hook == "output" and any(log and "group" in log for log in logs):
            where = f"{chain.family} {chain.table} {chain.name}"
            return ok("answers", f"are known by what this host asked: {where} logs it")
    rule = f"nft add rule inet filter output ct state new log prefix out group {number}"
    return note(
        "answers",
        "that come late may be counted, as no rule logs what this host asked",
        f"{rule} queue-threshold 1: one more packet logged per connection",
    )


def _unmet(chains: Chains, number: int, partial: str, advice: str) -> Result:
    if partial:
        return note("log", f"{partial} logs to group {number} only a part of what is dropped")
    rules = [each for chain in chains.values() for rule in chain.rules for each in rule]
    if any((each.get("log") or {}).get("group") == number for each in rules):
        found = f"the rule that logs to group {number} is not met by what is dropped"
        return wrong("log", f"{found}: a rule before drops it, or no chain calls it", advice)
    return wrong("log", f"no rule logs to group {number}: fail2ban gets nothing to read", advice)


def _bans(subject: Subject, jail: Jail, ruleset: list[dict[str, Any]], chains: Chains) -> Result:
    """Would the table of a jail's action drop what its banned sources send?"""
    for name, options in jail.settings["actions"].items():
        if ACTION in (name, options.get("actname")):
            break
    else:
        actions = ", ".join(jail.settings["actions"]) or "none"
        return unseen(jail.name, f"what its action does is not known: {actions}",
                      f"banaction = {ACTION}")  # fmt: skip
    table = str(options.get("table", "f2b-<name>")).replace(
        "<name>", options.get("name", jail.name)
    )
    chain = chains.get(("inet", table, "banned"))
    where = f"table inet {table}"
    if chain is None:
        return wrong(jail.name, f"{where} is not loaded: bans block nothing until the next one. "
                     "Was the ruleset flushed?", subject.system.restart)  # fmt: skip
    blocked = _blocked(chain)
    if chain.hook not in ("prerouting", "input") or len(blocked) < 4:
        return wrong(jail.name, f"{where} does not drop all that is banned", subject.system.restart)
    networks = []
    for each in ruleset:
        found = each.get("set", {})
        if (found.get("family"), found.get("table")) == ("inet", table) and found[
            "name"
        ] in blocked:
            networks += [_network(entry) for entry in found.get("elem", ())]
    banned = subject.banned.get(jail.name, [])
    missing = [address for address in banned if not holds(networks, address)]
    if missing:
        found = f"{where} lacks {len(missing)} of {len(banned)} that are banned: {missing[0]}"
        return wrong(jail.name, found, subject.system.restart)
    return ok(jail.name, f"{where} drops all that is banned, before any other chain")


def _blocked(chain: Chain) -> set[str]:
    """Return the sets of which a chain drops every packet."""
    blocked = set()
    for rule in chain.rules:
        kinds = [next(iter(each)) for each in rule if "counter" not in each]
        match = rule[0].get("match", {}) if rule else {}
        if kinds not in (["match", "drop"], ["match", "reject"]):
            break  # whatever it does may come before the drop
        if match["op"] == "==" and match["left"].get("payload", {}).get("field") == "saddr":
            blocked.add(str(match["right"]).removeprefix("@"))
    return blocked


def _network(entry: Any) -> str:
    if isinstance(entry, dict):
        entry = entry.get("elem", {}).get("val", entry)
    if isinstance(entry, dict) and "prefix" in entry:
        return f"{entry['prefix']['addr']}/{entry['prefix']['len']}"
    return str(entry)
