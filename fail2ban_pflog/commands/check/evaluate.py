# SPDX-License-Identifier: GPL-2.0-or-later
"""pf's evaluation of a packet of which only its source is known.

The last rule that takes a packet decides, or the first that is ``quick``; anchors are walked
as pf does.  As a rule may take a packet or not, the outcome is a list of rules, each of which
may decide.  ``match`` decides nothing, but one that translates sources makes all behind it
uncertain.  What cannot be read or is not understood may decide as well: nothing is blocked
for certain that pf might pass.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Optional, Protocol

from .ruleset import Match, Packet, Rule

__all__ = ["Loaded", "Outcome", "evaluate"]

DEPTH = 16
"""Anchors within anchors that are followed."""

DEFAULT = Rule("pf's default, as no rule takes it", "pass")
_REDIRECTING = ("rdr-anchor", "binat-anchor", "rdr", "binat", "no rdr", "no binat", "rdr pass",
                "binat pass", "?")  # fmt: skip
_BEFORE = Rule("what decided before an anchor")


class Loaded(Protocol):
    """What pf has loaded."""

    def rules(self, path: str, section: str = "rules") -> Optional[list[Rule]]:
        """Return an anchor's rules, "" for the main ones; None where they cannot be read."""

    def children(self, path: str) -> Optional[list[str]]:
        """Return the paths of the anchors in an anchor; None where they cannot be read."""


@dataclass
class Outcome:
    """What may become of a packet.

    Attributes:
        final: rules that may decide, in pf's order.
        pending: rules that may decide if none behind them takes the packet.
        bans: the rules that block by the banned source's table and were reached.
        partial: those of them that may not take all that the source sends.
        entered: the paths of the anchors that were entered, and those with ``/*`` that were called.
        unread: rules whose verb says nothing: not understood, not readable, or translating.
    """

    final: list[Rule] = field(default_factory=list)
    pending: list[Rule] = field(default_factory=lambda: [DEFAULT])
    bans: list[Rule] = field(default_factory=list)
    partial: list[Rule] = field(default_factory=list)
    entered: set[str] = field(default_factory=set)
    unread: list[Rule] = field(default_factory=list)

    @property
    def deciding(self) -> list[Rule]:
        """All rules that may decide."""
        return [*self.final, *self.pending]

    @property
    def passing(self) -> list[Rule]:
        """Those that let the packet in."""
        return [rule for rule in self.deciding if rule.verb.endswith("pass")]


def evaluate(loaded: Loaded, packet: Packet, translation: bool = True) -> Outcome:
    """Evaluate all rules for a packet that comes in.

    Args:
        loaded: what pf has loaded.
        packet: what is known of the packet.
        translation: whether this pf has rules of ``rdr`` in a section of their own.
    """
    walk = _Walk(loaded, packet)
    if not (translation and walk.redirect("", loaded.rules("", "nat"))):
        walk.filter("", loaded.rules(""), Match.ALWAYS)
    return walk.outcome


class _Walk:
    def __init__(self, loaded: Loaded, packet: Packet) -> None:
        self._loaded, self._packet, self._depth, self._confined = loaded, packet, 0, 0
        self.outcome = Outcome()

    def redirect(self, path: Optional[str], rules: Optional[list[Rule]]) -> bool:
        """Walk rules of ``rdr`` and ``binat``, of which the first that takes a packet decides.

        Returns:
            Whether one that passes takes every packet.
        """
        if rules is None:
            self._unread(Rule(f"rdr rules of {path or 'pf'}, which cannot be read"))
            return False
        for rule in rules:
            match = rule.takes(self._packet, path)
            if match is Match.NEVER or rule.verb not in _REDIRECTING:
                continue
            if rule.verb.endswith("anchor"):
                for child, inner in self._called(rule, path, "nat"):
                    if self.redirect(child, inner) and match is Match.ALWAYS:
                        return True
            elif rule.verb in ("rdr pass", "binat pass", "?"):
                (self.outcome.unread if rule.verb == "?" else self.outcome.final).append(rule)
                if match is Match.ALWAYS:
                    self.outcome.pending.clear()
                    return True
            elif match is Match.ALWAYS and rule.verb.endswith("rdr"):
                break  # binat rules are asked after those of rdr, wherever pfctl prints them
        return False

    def filter(self, path: Optional[str], rules: Optional[list[Rule]], floor: Match) -> bool:
        """Walk filter rules.

        Args:
            path: the anchor that they stand in; None where its name is not known.
            rules: the rules.
            floor: whether the anchor that they stand in takes the packet.

        Returns:
            Whether a ``quick`` rule takes every packet.
        """
        if rules is None:
            self._unread(Rule(f"rules of {path or 'pf'}, which cannot be read"))
            return False
        for rule in rules:
            match = min(floor, rule.takes(self._packet, path))
            if match is Match.NEVER:
                continue
            if rule.verb == "anchor":
                if self._enter(rule, path, match):
                    return True
            elif rule.verb in ("pass", "block"):
                self._decides(rule, path, match)
                if rule.quick and match is Match.ALWAYS:
                    return True
            elif rule.verb != "match" or "nat-to" in rule.text or "af-to" in rule.text:
                self._unread(rule)
        return False

    def _decides(self, rule: Rule, path: Optional[str], match: Match) -> None:
        outcome, packet = self.outcome, self._packet
        if rule.verb == "block" and packet.means(path) and rule.source == f"<{packet.table}>":
            outcome.bans.append(rule)
            outcome.partial += [rule] if match is Match.MAYBE else []
        if match is Match.ALWAYS:
            outcome.pending.clear()
        rule = replace(rule, confined=True) if self._confined else rule
        (outcome.final if rule.quick else outcome.pending).append(rule)

    def _enter(self, rule: Rule, path: Optional[str], match: Match) -> bool:
        """Walk the rules of an anchor; returns whether nothing is looked at behind it."""
        outcome, before = self.outcome, self.outcome.pending
        outcome.pending = [_BEFORE]
        self._confined += not rule.is_whole
        for child, inner in self._called(rule, path, "rules"):
            if self.filter(child, inner, match):
                return True
        self._confined -= not rule.is_whole
        within = [each for each in outcome.pending if each is not _BEFORE]
        decided = len(within) == len(outcome.pending)
        if rule.quick:
            outcome.final += within
            outcome.pending = [] if decided else before
            return decided
        outcome.pending = within if decided else before + within
        return False

    def _called(
        self, rule: Rule, path: Optional[str], section: str
    ) -> Iterator[tuple[Optional[str], Optional[list[Rule]]]]:
        """Give (path, rules) of each anchor that a rule calls."""
        name = rule.anchor
        if rule.inner is not None:
            yield (None if None in (name, path) else _join(path or "", name or "")), rule.inner
            return
        if name is None or (path is None and not name.startswith("/")) or self._depth >= DEPTH:
            self._unread(rule)
            return
        called = _join(path or "", name)
        paths: Optional[list[str]] = [called]
        if called.endswith("/*"):
            self.outcome.entered.add(called)
            called = called[:-2]
            paths = self._loaded.children(called)
            if paths is None:
                self._unread(rule)
                return
        self._depth += 1
        for each in paths or ():
            self.outcome.entered.add(each)
            yield each, self._loaded.rules(each, section)
        self._depth -= 1

    def _unread(self, rule: Rule) -> None:
        self.outcome.unread.append(rule)


def _join(path: str, name: str) -> str:
    """Return the path of an anchor that is called by a name within another."""
    return posixpath.normpath(posixpath.join("/", path, name)).lstrip("/")
