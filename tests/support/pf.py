# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for pf and pfctl: rules, anchors, tables and states, evaluated as the kernel does.

It reads a small part of pf.conf, prints as the pfctl of FreeBSD or OpenBSD prints, and decides
on packets by itself: translation first (FreeBSD), then the last rule that matches, or the first
that is quick; anchors by name, inline, nested and with ``/*``; tables of an anchor before those
of the main ruleset.  Nothing here is shared with the package, which is tested against it.

    pf = Pf("freebsd", 'block log all\\nanchor "f2b/*"\\npass in proto tcp to port 22')
    pf.pfctl("-a", "f2b/pflog", "-f", "-", stdin="block quick from <t>")
    pf.decide(Packet("198.51.100.7")).passes
"""

from __future__ import annotations

import fcntl
import pickle
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import Path
from typing import NamedTuple, Optional

from fail2ban_pflog.commands.host.tools import Answer

_REPO = Path(__file__).parents[2]

PORTS = {"ssh": 22, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "http": 80, "https": 443}
DEPTH = 8
"""Anchors within anchors; the kernel takes 64."""

_NAMES = {number: name for name, number in PORTS.items()}
_LO = re.compile(r"lo\d*$")


class Packet(NamedTuple):
    """A packet that comes in, by default a SYN to port 22."""

    source: str
    port: int = 22
    proto: str = "tcp"
    interface: str = "vtnet0"
    target: str = "192.0.2.7"
    from_port: int = 40000


class Decision(NamedTuple):
    """What becomes of a packet: whether it passes, by which rule, and where it is logged."""

    passes: bool
    rule: str
    logged: str


@dataclass
class Rule:
    """One rule.  verb: as pfctl prints it first; words: options that change nothing here."""

    verb: str
    direction: str = ""
    log: Optional[str] = None
    quick: bool = False
    interface: str = ""
    family: str = ""
    proto: str = ""
    source: str = "any"
    source_port: str = ""
    target: str = "any"
    port: str = ""
    words: str = ""
    anchor: Optional[str] = None
    path: str = ""

    def text(self, dialect: str) -> str:
        """Return it as pfctl prints it."""
        words = [self.verb]
        if self.anchor is not None and not self.anchor.startswith("_"):
            words.append(f'"{self.anchor}"')
        if self.verb == "block":
            words.append("return" if "return" in self.words else "drop")
        words += [self.direction]
        if self.log is not None:
            words.append(f"log ({self.log})" if self.log else "log")
        words += ["quick" if self.quick else ""]
        words += [f"on {self.interface}" if self.interface else "", self.family]
        words += [f"proto {self.proto}" if self.proto else ""]
        ends = (self.source, self.source_port, self.target, self.port)
        if ends == ("any", "", "any", ""):
            words.append("all")
        else:
            words += [f"from {self.source}", self._port(self.source_port, dialect)]
            words += [f"to {self.target}", self._port(self.port, dialect)]
        words.append(self.words.replace("return", "").strip())
        if self.verb == "pass":
            words += ["flags S/SA"] if self.proto in ("", "tcp") else []
            words += ["keep state"] if dialect == "freebsd" else []
        return " ".join(filter(None, words))

    @staticmethod
    def _port(port: str, dialect: str) -> str:
        if not port:
            return ""
        if ":" in port:
            return f"port {port}"
        name = _NAMES.get(int(port), port)
        return f"port = {name if dialect == 'freebsd' else port}"


@dataclass
class Ruleset:
    """The rules of one anchor, in the sections that pf keeps."""

    nat: list[Rule] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    scrub: list[str] = field(default_factory=list)


class Pf:
    """pf of one host.

    Args:
        dialect: ``freebsd`` or ``openbsd``.
        conf: what its pf.conf says.

    Attributes:
        groups: interface -> its groups.
        full: how many addresses all tables may hold.
    """

    def __init__(self, dialect: str = "freebsd", conf: str = "") -> None:
        self.dialect = dialect
        self.enabled = True
        self.securelevel = 0
        self.rulesets: dict[str, Ruleset] = {"": Ruleset()}
        self.tables: dict[tuple[str, str], list[str]] = {}
        self.skip: set[str] = set()
        self.groups = {"vtnet0": {"egress"}, "vtnet1": {"lan"}}
        self.states: list[str] = []
        self.calls: list[str] = []
        self.full = 1 << 30
        if conf:
            self.load("", conf)

    # -- loading ---------------------------------------------------------------------------

    def load(self, path: str, conf: str) -> None:
        """Replace the rules of an anchor by what a file says."""
        for old in [each for each in self.rulesets if re.match(rf"{re.escape(path)}/?_\d", each)]:
            del self.rulesets[old]
        self.rulesets[path] = Ruleset()
        self._number = 0
        self._block(path, iter(conf.splitlines()))
        for name in [key for key in self.tables if key[0] == path]:
            if f"<{name[1]}>" not in conf:
                del self.tables[name]

    def _block(self, path: str, lines: Iterator[str]) -> None:
        for written in lines:
            line = written.partition("#")[0].strip()
            if line == "}":
                return
            if table := re.match(r"table <([^>]+)>[^{]*(\{.*\})?", line):
                entries = (table[2] or "").strip("{}").replace(",", " ").split()
                if entries or (path, table[1]) not in self.tables:
                    self.tables[path, table[1]] = entries
            elif skip := re.match(r"set skip on (?:\{(.*)\}|(\S+))", line):
                self.skip |= set((skip[1] or skip[2]).replace(",", " ").split())
            elif line.startswith(("scrub", "no scrub")):
                self.rulesets[path].scrub.append(line)
            elif line and not line.startswith("set "):
                self._rules(path, line, lines)

    def _rules(self, path: str, line: str, lines: Iterator[str]) -> None:
        inline = line.endswith("{")
        for each in _expand(line[:-1].strip() if inline else line):
            rule = _rule(each)
            if inline and not rule.anchor:
                self._number += 1
                rule.anchor = f"_{self._number}"
            if rule.anchor is not None:
                base = "" if rule.anchor.startswith("/") else path
                rule.path = f"{base}/{rule.anchor.lstrip('/')}".lstrip("/")
                at = rule.path.removesuffix("/*") if "/" in rule.path else rule.path
                self.rulesets.setdefault(at, Ruleset())
            section = "rules" if re.match("pass|block|match|anchor", rule.verb) else "nat"
            getattr(self.rulesets[path], section).append(rule)
            if inline:
                self.rulesets[rule.path] = Ruleset()
                self._block(rule.path, lines)

    # -- evaluation ------------------------------------------------------------------------

    def decide(self, packet: Packet) -> Decision:
        """Decide on a packet as pf does, without a look at states."""
        if not self.enabled:
            return Decision(True, "pf is disabled", "")
        if packet.interface in self.skip or (_LO.match(packet.interface) and "lo" in self.skip):
            return Decision(True, f"set skip on {packet.interface}", "")
        for verbs in (("rdr", "no rdr"), ("binat", "no binat")):
            rule = self._translation("", packet, verbs)
            if rule is not None:
                if rule.verb.endswith("pass"):
                    return Decision(True, rule.text(self.dialect), "")
                break
        last: list[Rule] = []
        self._filter("", packet, last)
        if not last:
            return Decision(True, "the default", "")
        rule = last[-1]
        to = "" if rule.log is None else (re.findall(r"pflog\d+", rule.log) or ["pflog0"])[0]
        return Decision(rule.verb == "pass", rule.text(self.dialect), to)

    def _called(self, rule: Rule) -> list[str]:
        if "/" in rule.path and rule.path.endswith("/*"):
            return self.children(rule.path[:-2])
        return [rule.path]

    def children(self, path: str) -> list[str]:
        """Return the paths of the anchors in an anchor, sorted."""
        prefix = f"{path}/" if path else ""
        below = {
            prefix + each[len(prefix) :].split("/")[0]
            for each in self.rulesets
            if each.startswith(prefix) and each != path and self._is_filled(each)
        }
        return sorted(below)

    def _is_filled(self, path: str) -> bool:
        """Whether an anchor has rules or tables; the kernel forgets an empty one."""
        return self._ruleset(path) != Ruleset() or any(key[0] == path for key in self.tables)

    def _ruleset(self, path: str) -> Ruleset:
        return self.rulesets.get(path, Ruleset())

    def _translation(self, path: str, packet: Packet, verbs: tuple[str, str]) -> Optional[Rule]:
        for rule in self._ruleset(path).nat:
            if not rule.verb.startswith(verbs) or not self._matches(rule, path, packet):
                continue
            if rule.anchor is None:
                return rule
            for each in self._called(rule):
                if found := self._translation(each, packet, verbs):
                    return found
        return None

    def _filter(self, path: str, packet: Packet, last: list[Rule], depth: int = 0) -> bool:
        """Walk a ruleset; last: rules that matched.  Returns whether a quick one did."""
        for rule in self._ruleset(path).rules if depth < DEPTH else ():
            if not self._matches(rule, path, packet):
                continue
            if rule.anchor is not None:
                before = len(last)
                if any(self._filter(each, packet, last, depth + 1) for each in self._called(rule)):
                    return True
                if rule.quick and len(last) > before:
                    return True
            elif rule.verb != "match":
                last.append(rule)
                if rule.quick:
                    return True
        return False

    def _matches(self, rule: Rule, path: str, packet: Packet) -> bool:
        family = "inet6" if ":" in packet.source else "inet"
        source, target = rule.source, rule.target
        if rule.verb.endswith(("binat", "binat pass")):  # which translates both ways
            source, target = rule.target, "any"
        return (
            rule.direction != "out"
            and rule.family in ("", family)
            and rule.proto in ("", packet.proto)
            and self._on(rule.interface, packet.interface)
            and self._host(source, path, packet.source)
            and self._host(target, path, packet.target)
            and _in_ports(rule.source_port, packet.from_port)
            and _in_ports(rule.port, packet.port)
            and not re.search("tagged|probability|user|icmp6?-type", rule.words)
        )

    def _on(self, wanted: str, interface: str) -> bool:
        name = wanted.lstrip("! ")
        is_it = name in (interface, re.sub(r"\d+$", "", interface)) or name in (
            self.groups.get(interface, ())
        )
        return not wanted or is_it != wanted.startswith("!")

    def _host(self, wanted: str, path: str, address: str) -> bool:
        if wanted == "any":
            return True
        name = wanted.lstrip("! ")
        if name.startswith("<"):
            key = (path, name[1:-1])
            entries = self.tables.get(key, self.tables.get(("", name[1:-1]), []))
            is_it = holds(entries, address)
        elif name.startswith("("):
            is_it = False  # an interface's own addresses
        else:
            is_it = ip_address(address) in ip_network(name, strict=False)
        return is_it != wanted.startswith("!")

    # -- pfctl -----------------------------------------------------------------------------

    def __call__(self, *arguments: str) -> Answer:
        """Run pfctl without input."""
        return self.pfctl(*arguments)

    def pfctl(self, *arguments: str, stdin: str = "") -> Answer:
        """Run pfctl; an error ends with its sentence and exit status."""
        self.calls.append(" ".join(arguments))
        try:
            return Answer(0, self._pfctl(list(arguments), stdin), "")
        except PfctlError as error:
            return Answer(255 if self.dialect == "openbsd" else 1, "", f"pfctl: {error}\n")

    def _pfctl(self, words: list[str], stdin: str) -> str:
        given = _options(words)
        path = given.get("-a", "").strip("/")
        if "-e" in given or "-d" in given:
            self.enabled = "-e" in given
        if "-f" in given:
            self._may("DIOCXROLLBACK")
            self.load(path, stdin if given["-f"] == "-" else Path(given["-f"]).read_text())
        if "-F" in given:
            self._flush(path, given["-F"])
        if "-k" in given:
            self._may("DIOCKILLSTATES")
            net = ip_network(given["-k"], strict=False)
            self.states = [each for each in self.states if ip_address(each) not in net]
        if "-T" in given:
            return self._table(path, given["-t"], given["-T"], given["hosts"].split())
        return self._show(path, given["-s"], "-v" in given) if "-s" in given else ""

    def _may(self, what: str) -> None:
        if self.securelevel > 1:
            raise PfctlError(f"{what}: Operation not permitted")

    def _flush(self, path: str, what: str) -> None:
        self._may("DIOCXCOMMIT")
        ruleset = self._ruleset(path)
        if what in ("rules", "all"):
            ruleset.rules.clear()
        if what in ("nat", "all"):
            ruleset.nat.clear()
        if what in ("Tables", "all"):
            for key in [key for key in self.tables if key[0] == path]:
                del self.tables[key]
        if what in ("states", "all"):
            self.states.clear()

    def _table(self, path: str, name: str, command: str, hosts: list[str]) -> str:
        key = (path, name)
        if command == "add":
            if sum(map(len, self.tables.values())) + len(hosts) > self.full:
                raise PfctlError("Cannot allocate memory.")
            entries = self.tables.setdefault(key, [])
            entries += [host for host in hosts if host not in entries]
            self.rulesets.setdefault(path, Ruleset())
            return ""
        if key not in self.tables:
            raise PfctlError("Table does not exist.")
        if command == "kill":
            del self.tables[key]
        elif command == "flush":
            self.tables[key] = []
        elif command == "delete":
            self.tables[key] = [each for each in self.tables[key] if each not in hosts]
        elif command == "test":
            if not all(holds(self.tables[key], host) for host in hosts):
                raise PfctlError("no match")
        elif command == "show":
            return "".join(f"   {each}\n" for each in self.tables[key])
        return ""

    def _show(self, path: str, what: str, verbose: bool) -> str:
        if "rules".startswith(what):
            scrub = [f"{each} fragment reassemble" for each in self._ruleset(path).scrub]
            return "".join(f"{line}\n" for line in [*scrub, *self._print(path, "rules", "")])
        if "nat".startswith(what):
            if self.dialect == "openbsd":
                raise PfctlError("unknown show modifier 'nat'")
            return "".join(f"{line}\n" for line in self._print(path, "nat", ""))
        if "Anchors".startswith(what):
            found = [each for each in self.children(path) if "_" not in each.split("/")[-1][:1]]
            return "".join(f"  {each}\n" for each in found)
        if "info".startswith(what):
            return f"Status: {'Enabled' if self.enabled else 'Disabled'} for 0 days 02:14:31\n"
        if "Interfaces".startswith(what):
            names = sorted({"lo", "lo0", *self.groups} | self.skip)
            marks = {name: " (skip)" if verbose and name in self.skip else "" for name in names}
            return "".join(f"{name}{mark}\n" for name, mark in marks.items())
        raise PfctlError(f"unknown show modifier '{what}'")

    def _print(self, path: str, section: str, indent: str) -> Iterator[str]:
        for rule in getattr(self._ruleset(path), section):
            inline = rule.anchor is not None and rule.anchor.startswith("_")
            yield f"{indent}{rule.text(self.dialect)}{' {' if inline else ''}"
            if inline:
                yield from self._print(rule.path, section, indent + "  ")
                yield f"{indent}}}"


def _options(words: list[str]) -> dict[str, str]:
    """Read the command line: flags in a bundle, options with a value, the table's hosts."""
    given: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word[:2] in ("-e", "-d", "-v", "-q", "-n"):
            given[word[:2]] = ""
            words[:0] = [f"-{word[2:]}"] if len(word) > 2 else []
        elif word.startswith("-"):
            given[word[:2]] = word[2:] or words.pop(0)
            if word[:2] == "-T":
                given["hosts"], words = " ".join(words), []
    return given


class PfctlError(Exception):
    """What pfctl ends with."""


def holds(entries: list[str], address: str) -> bool:
    """Whether a table holds an address: its longest prefix decides, which may be negated."""
    found = [
        (ip_network(each.lstrip("!"), strict=False).prefixlen, not each.startswith("!"))
        for each in entries
        if ip_address(address) in ip_network(each.lstrip("!"), strict=False)
    ]
    return bool(found) and max(found)[1]


def _in_ports(wanted: str, port: int) -> bool:
    low, _, high = wanted.partition(":")
    return not wanted or int(low) <= port <= int(high or low)


def _expand(line: str) -> Iterator[str]:
    """Give the rules that a rule with lists stands for."""
    parts = re.split(r"\{([^}]*)\}", line)
    lists = [part.replace(",", " ").split() for part in parts[1::2]]
    for chosen in product(*lists):
        yield "".join(a + b for a, b in zip(parts[::2], [*chosen, ""]))


_RULE = re.compile(
    r"(?P<verb>(?:no )?(?:rdr|nat|binat)(?: pass)?(?!-)|\w+-anchor|\w+)"
    r'(?: "(?P<anchor>[^"]*)")?(?: (?P<kind>drop|return))?(?: (?P<direction>in|out)\b)?'
    r"(?P<log> log(?: \((?P<logged>[^)]*)\))?)?(?P<quick> quick)?"
    r"(?: on (?P<interface>(?:! ?)?\S+))?(?: (?P<family>inet6?))?(?: proto (?P<proto>\S+))?"
    r"(?: all)?(?: from (?P<source>(?:! ?)?\S+))?(?: port =? ?(?P<source_port>[\w:]+)(?= to))?"
    r"(?: to(?: (?P<target>(?!port)(?:! ?)?\S+))?(?: port =? ?(?P<port>[\w:]+))?)?(?P<words>.*)"
)


def _rule(line: str) -> Rule:
    read = _RULE.fullmatch(" ".join(line.split()))
    if read is None:
        raise PfctlError(f"syntax error: {line}")
    words = read["words"].strip()
    for known in ("keep state", "flags S/SA"):
        words = words.replace(known, "").strip()
    return Rule(
        read["verb"], read["direction"] or "", (read["logged"] or "") if read["log"] else None,
        bool(read["quick"]), read["interface"] or "", read["family"] or "", read["proto"] or "",
        read["source"] or "any", _number(read["source_port"]), read["target"] or "any",
        _number(read["port"]), f"{'return ' if read['kind'] == 'return' else ''}{words}".strip(),
        read["anchor"],
    )  # fmt: skip


def _number(port: Optional[str]) -> str:
    return str(PORTS.get(port or "", port or ""))


# -- the program ---------------------------------------------------------------------------

PROGRAM = """#!{python}
import sys
sys.path[:0] = [{repo!r}]
from tests.support.pf import main
sys.exit(main({folder!r}, sys.argv[1:]))
"""


class Host:
    """pf with a program ``pfctl`` in a directory, for an action that runs it.

    Attributes:
        program: the program's path.
    """

    def __init__(self, folder: Path, pf: Pf) -> None:
        self._state = folder / "pf.pickle"
        self.program = folder / "pfctl"
        self.program.write_text(
            PROGRAM.format(python=sys.executable, repo=str(_REPO), folder=str(folder))
        )
        self.program.chmod(0o755)
        self.save(pf)

    def save(self, pf: Pf) -> None:
        """Let the host have this pf."""
        self._state.write_bytes(pickle.dumps(pf))

    @property
    def pf(self) -> Pf:
        """Its pf, as it is now."""
        made: Pf = pickle.loads(self._state.read_bytes())
        return made


def main(folder: str, arguments: list[str]) -> int:
    """Run pfctl on the pf that is kept in a directory."""
    with open(f"{folder}/pf.pickle", "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pf: Pf = pickle.load(file)
        needs = "-" in arguments
        answer = pf.pfctl(*arguments, stdin=sys.stdin.read() if needs else "")
        file.seek(0)
        file.truncate()
        pickle.dump(pf, file)
    sys.stdout.write(answer.out)
    sys.stderr.write(answer.err)
    return answer.status or 0
