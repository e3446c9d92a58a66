# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``pfctl -s rules`` and ``-s nat`` print, as rules.

Only what decides whether a rule takes an incoming packet is read, by one expression in the
order of pfctl's print_rule().  Whatever else a rule says stands in ``rest``: options that
restrict nothing are known by name, all others count as a restriction of unknown effect.  A
line that is no rule of that form becomes a rule with the verb ``?``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from ipaddress import ip_network
from typing import Optional

__all__ = ["Match", "Packet", "Rule", "parse"]

_HOST = r'(?:! ?)?(?:<[^>]+>|\([^)]*\)|route "[^"]*"|\S+ (?:-|&) \S+|\S+)'
_PORT = r" port (?:[!<>=]+ \S+|\S+ (?:><|<>) \S+|\S+:\S+)"
_RULE = re.compile(
    r"(?P<verb>pass|block|match|(?:rdr-|nat-|binat-)?anchor|(?:no )?(?:rdr|nat|binat)(?: pass)?)"
    r'(?: "(?P<anchor>[^"]*)")?'
    r"(?: drop| return(?:-rst|-icmp6?)?(?:\([^)]*\))?)?"
    r"(?: (?P<direction>in|out)\b)?"
    r"(?P<log> log(?: \((?P<logged>[^)]*)\))?)?"
    r"(?P<quick> quick)?"
    r"(?: on (?P<interface>(?:! ?)?(?:rdomain )?\S+))?"
    r"(?: (?:route|reply|dup)-to (?:\{[^}]*\}|\([^)]*\)|\S+)(?: (?!inet|proto|all|from)\S+)*)?"
    r"(?: (?P<family>inet6?))?"
    r"(?: proto (?P<protocol>\S+))?"
    rf'(?: all| from (?P<source>{_HOST})(?P<ports>{_PORT})?(?: os "(?P<os>[^"]*)")?'
    rf" to (?P<target>{_HOST})(?P<port>{_PORT})?)"
    r"(?P<rest>(?: .*)?)"
)

_HARMLESS = re.compile(
    r' (?:label "[^"]*"|ridentifier \d+|(?:keep|modulate|synproxy|no) state(?: \([^)]*\))?'
    r"|flags any|allow-opts|tag \S+|set \( ?.*? ?\)|queue(?: \S+|\([^)]*\))|rtable \d+"
    r"|dn(?:pipe|queue)(?: \d+|\([^)]*\)))(?= |$)"
)
"""Options that do not decide which packets a rule takes."""

_HARMLESS_IF_PASSED = re.compile(
    r" (?:flags S/SA|scrub \([^)]*\)|->.*|(?:rdr|nat|binat|af|route|reply|dup|divert)-\w+ .*)"
    r"(?= |$)"
)
"""Those of rules that pass: a scanner's SYN has the flags S/SA."""

_LOOPBACK = re.compile(r"lo\d*$")
_WITHOUT_PORTS = re.compile(r"(?!(?:tcp|udp|sctp|6|17|132)$)")
_DHCP = re.compile(r" port = (?:67|68|546|547|bootp[sc]|dhcp\S*)$")
_WIDE = {4: 8, 6: 16}
"""IP version -> the shortest prefix that is called narrow."""


class Match(IntEnum):
    """Whether a rule takes a packet of which only some fields are known."""

    NEVER = 0
    MAYBE = 1
    ALWAYS = 2


@dataclass(frozen=True)
class Packet:
    """An incoming packet whose source is banned; all that is not said here may be anything.

    Attributes:
        family: ``inet`` or ``inet6``.
        table: the table that holds its source; "" for a source in no table.
        home: the anchor that the table is in; "" for the main ruleset.
        interfaces: where it comes in, with all groups of these; empty where it may be any.
    """

    family: str
    table: str = ""
    home: str = ""
    interfaces: frozenset[str] = frozenset()

    def means(self, path: Optional[str]) -> bool:
        """Whether a rule in an anchor means this table by its name.

        Inline anchors, whose path is not known, have no tables: they use the main ruleset's.
        """
        return bool(self.table) and (path or "") == self.home


@dataclass
class Rule:
    """One rule.

    Attributes:
        text: as pfctl prints it.
        verb: ``pass``, ``block``, ``rdr pass``, ...; ``?`` where the line is not understood.
        parts: the named groups of the expression above.
        inner: the rules of an inline anchor; None for all others.
        confined: whether it stands in an anchor that is not whole.
    """

    text: str
    verb: str = "?"
    parts: dict[str, Optional[str]] = field(default_factory=dict)
    inner: Optional[list[Rule]] = None
    confined: bool = False

    @property
    def anchor(self) -> Optional[str]:
        """The name of the anchor that it calls; None for an inline anchor, or no anchor."""
        return self.parts.get("anchor")

    @property
    def quick(self) -> bool:
        """Whether nothing is looked at behind it."""
        return bool(self.parts.get("quick"))

    @property
    def source(self) -> str:
        """Its source, as pfctl prints it, without the number of a table's addresses.

        ``binat`` translates both ways: a packet that comes in has its source where ``to`` is.
        """
        name = "target" if "binat" in self.verb else "source"
        return re.sub(r":[\d*]+>", ">", self.parts.get(name) or "any")

    @cached_property
    def restrictions(self) -> str:
        """Options that may restrict it in a way that is not decided here."""
        rest = _HARMLESS.sub("", self.parts.get("rest") or "")
        return (rest if self.verb == "block" else _HARMLESS_IF_PASSED.sub("", rest)).strip()

    def logs_to(self) -> str:
        """The interface that it logs to; "" where it does not log."""
        if not self.parts.get("log"):
            return ""
        to = re.search(r"to (pflog\d+)", self.parts.get("logged") or "")
        return to[1] if to else "pflog0"

    @property
    def is_narrow(self) -> bool:
        """Whether it names whose packets it takes: a table, an interface's network, a prefix."""
        source = self.source
        if source == "any" or source.startswith("!"):
            return False
        try:
            network = ip_network(source, strict=False)
        except ValueError:
            return True
        return network.prefixlen >= _WIDE[network.version]

    @property
    def is_whole(self) -> bool:
        """Whether it takes TCP from most sources to all ports, of this host at least."""
        named = [self.parts.get(name) for name in ("ports", "port", "os")]
        target = self.parts.get("target") or "any"
        return not (
            self.is_narrow
            or self.confined
            or any(named)
            or self.parts.get("protocol") not in (None, "tcp", "6")
            or self.restrictions
            or (self.verb != "block" and target != "any" and not target.startswith("("))
        )

    @property
    def is_usual(self) -> bool:
        """Whether it takes DHCP, or a protocol without ports: ping, neighbor discovery, carp."""
        protocol = self.parts.get("protocol")
        if protocol is None:
            return False
        return bool(_WITHOUT_PORTS.match(protocol) or _DHCP.match(self.parts.get("port") or ""))

    def takes(self, packet: Packet, path: Optional[str]) -> Match:
        """Whether it takes a packet.

        Args:
            packet: what is known of it.
            path: the anchor that the rule stands in; None where its name is not known.
        """
        if self.verb == "?":
            return Match.MAYBE
        if self.parts.get("direction") == "out" or (
            self.parts.get("family") not in (None, packet.family)
        ):
            return Match.NEVER
        match = min(self._on(packet.interfaces), self._from(packet, path))
        named = [self.parts.get(name) for name in ("protocol", "ports", "port", "os")]
        hosts = [self.parts.get(name) or "any" for name in ("source", "target")]
        if any(named) or hosts != [self.source, "any"] or self.restrictions:
            return min(match, Match.MAYBE)
        return match

    def _on(self, interfaces: frozenset[str]) -> Match:
        interface = self.parts.get("interface")
        if interface in (None, "any"):
            return Match.ALWAYS
        assert interface is not None
        name = interface.lstrip("! ")
        if _LOOPBACK.match(name):
            match = Match.NEVER
        elif name in interfaces:
            match = Match.ALWAYS
        elif interfaces and " " not in name:
            match = Match.NEVER
        else:
            return Match.MAYBE
        return Match(Match.ALWAYS - match) if interface.startswith("!") else match

    def _from(self, packet: Packet, path: Optional[str]) -> Match:
        source = self.source
        if source == "any":
            return Match.ALWAYS
        if packet.means(path):
            if source == f"<{packet.table}>":
                return Match.ALWAYS
            if source in (f"! <{packet.table}>", f"!<{packet.table}>"):
                return Match.NEVER
        return Match.MAYBE


def parse(text: str) -> list[Rule]:
    """Read what ``pfctl -s rules`` or ``-s nat`` prints; rules of ``scrub`` are left out."""
    found: list[Rule] = []
    open_blocks = [found]
    for line in map(str.strip, text.splitlines()):
        if line == "}" and len(open_blocks) > 1:
            open_blocks.pop()
        elif line and not re.match(r"(?:no )?(?:scrub|dummynet)\b", line):
            block = line.endswith(" {")
            said = line[:-2] if block else line
            read = _RULE.fullmatch(said)
            rule = Rule(said, read["verb"], read.groupdict()) if read else Rule(said)
            open_blocks[-1].append(rule)
            if block:
                rule.inner = []
                open_blocks.append(rule.inner)
    return found
