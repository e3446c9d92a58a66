# SPDX-License-Identifier: GPL-2.0-or-later
"""Which sources of captures with labels would be banned, by the backtest, and which wrongly.

    python -m lab.evaluate [--jail J] [--mode M] [--form F] [--set OPTION=VALUE] STEM...

STEM is what stands before .live.pcap, .pflogd.pcap (also .xz) and .labels.json, or a
folder that has such.  Prints how many of each kind each jail banned, and each source
whose verdict is wrong.  Status 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from fail2ban_pflog.backtest.replay.configuration import Configuration
from fail2ban_pflog.backtest.replay.jail import quiet
from fail2ban_pflog.backtest.replay.replay import Replay
from fail2ban_pflog.backtest.replay.run import Run, Trust
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.sources.captures import Captures

from .labels import destination_of, source_of, target_of

__all__ = ["FORMS", "JAILS", "MODES", "Source", "replay", "savefile", "sources_of", "stems",
           "table", "wrong"]  # fmt: skip

CONFIG = Path(__file__).resolve().parents[1] / "config"
JAILS = ("pflog", "pflog-strict", "pflog-slow")
MODES, FORMS = ("normal", "aggressive"), ("live", "pflogd")

FOUND_FROM = 15
"""Different targets from which on a scanner must be found: jail pflog's maxretry."""

HONEST = ("bystander", "traceroute", "backscatter", "its attacker", "idle host")
ACK_TYPE = re.compile(r"of ACK type|-s[AMW]\b|--scanflags SYNACK")


class Source(NamedTuple):
    """One address of a capture, as its label tells it, and the jails that banned it.

    ports, targets, packets: how many of it were dropped, see ``labels``.
    tried: how many targets it had tried when jail pflog banned it; 0: it did not.
    """

    address: str
    kind: str
    what: str
    ports: int
    targets: int
    packets: int
    banned: frozenset[str] = frozenset()
    tried: int = 0

    @property
    def honest(self) -> bool:
        """Whether no jail may ban it."""
        return self.kind.startswith(HONEST)

    @property
    def must_not_be_banned_by(self) -> frozenset[str]:
        """The jails that must not ban it; what is debatable pflog-strict may ban."""
        if self.honest:
            return frozenset(JAILS)
        few = self.kind == "debatable" and self.targets < FOUND_FROM
        return frozenset({"pflog", "pflog-slow"} if few else ())

    @property
    def of_ack_type(self) -> bool:
        """Whether it scans in a way that late packets, or pings, look like."""
        return ACK_TYPE.search(f"{self.kind} {self.what}") is not None

    def must_be_banned_by(self, mode: str) -> frozenset[str]:
        """Return the jails that must find it."""
        if self.kind == "slow scanner":
            return frozenset({"pflog-slow"})
        if self.kind not in _MUST_BE_FOUND:
            return frozenset()
        if mode == "normal" and self.of_ack_type:
            return frozenset()
        enough = self.targets >= FOUND_FROM or "-sO" in self.what
        return frozenset({"pflog"} if enough else ())


_MUST_BE_FOUND = (
    "scanner", "decoy", "sweep", "scanner of ACK type", "sweep of ACK type",
    "evader", "evader, priced", "evader of ACK type",
)  # fmt: skip


def stems(names: Iterable[str]) -> Iterator[Path]:
    """Yield the stems that were named, and those of named folders."""
    for name in names:
        path = Path(name)
        found = path.glob("*.labels.json") if path.is_dir() else [path]
        for each in sorted(found):
            yield each.with_name(each.name.replace(".labels.json", ""))


def savefile(stem: Path, form: str) -> Path:
    """Return the file of a capture in a form, packed or not."""
    plain = stem.with_name(f"{stem.name}.{form}.pcap")
    return plain if plain.exists() else plain.with_suffix(".pcap.xz")


def replay(
    stem: Path, form: str, names: Sequence[str], settings: Mapping[str, str], config: Path = CONFIG
) -> list[Source]:
    """Replay a capture through jails, all in one pass.

    form: live or pflogd.  settings: options of the jails, such as mode.  config: the
    folder of fail2ban's configuration.
    Raises ValueError where something went wrong in fail2ban.
    """
    configuration = Configuration(config)
    replays = [Replay(configuration.load(name, settings), lines=False) for name in names]
    run = Run(replays)
    run.read(Captures([str(savefile(stem, form))], print))
    if run.problems:
        raise ValueError("; ".join(run.problems))
    banned: dict[str, set[str]] = {}
    times: dict[str, float] = {}
    for result in run.results(Trust(())):
        for ban in result.bans:
            banned.setdefault(ban.source, set()).add(result.jail)
            if result.jail == JAILS[0]:
                times.setdefault(ban.source, ban.time)
    tried = tried_until(savefile(stem, form), times)
    return [
        # With prefix6=64 it is the network that is banned.
        each._replace(
            banned=frozenset(banned.get(each.address, ()))
            | banned.get(network_of(each.address), set()),
            tried=tried.get(each.address, 0) or tried.get(network_of(each.address), 0),
        )
        for each in sources_of(stem)
    ]


def tried_until(capture: Path, times: Mapping[str, float]) -> dict[str, int]:
    """Count the targets that each source, or its /64, had tried by a time.

    times: source or network -> seconds since the epoch.
    """
    tried: dict[str, set[tuple[bytes, str]]] = {source: set() for source in times}
    for order, records in Captures([str(capture)], print):
        decoder = Decoder(order)
        for seconds, micros, frame in records:
            packet = frame[decoder.packet(frame).head.start :]
            source = source_of(packet)
            if ":" in source and source not in times:
                source = network_of(source)
            if seconds + micros / 1e6 <= times.get(source, 0.0):
                tried[source].add((destination_of(packet), target_of(packet)))
    return {source: len(targets) for source, targets in tried.items()}


def network_of(address: str) -> str:
    """Return the /64 of an IPv6 address, as text; empty for the others."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else ""


def sources_of(stem: Path) -> list[Source]:
    """Return all sources of a capture, banned by nobody."""
    labels = json.loads(stem.with_name(f"{stem.name}.labels.json").read_text())
    sources = []
    for address, label in labels.items():
        ports = label["distinct_ports_blocked"]
        targets = label.get("distinct_targets_blocked", ports)
        packets = label["packets_blocked"]
        sources.append(Source(address, label["kind"], label["what"], ports, targets, packets))
    return sources


def table(sources: Sequence[Source], names: Sequence[str]) -> Iterator[str]:
    """Yield per kind how many sources there are and how many each jail banned."""
    for kind in sorted({source.kind for source in sources}):
        of_kind = [source for source in sources if source.kind == kind]
        counts = "".join(
            f"{sum(name in source.banned for source in of_kind):>14}" for name in names
        )
        yield f"  {kind[:50]:52}{len(of_kind):>5}{counts}"


def wrong(sources: Iterable[Source], names: Iterable[str], mode: str) -> Iterator[str]:
    """Yield the sources that were banned or missed wrongly."""
    named = set(names)
    for source in sources:
        if by := source.banned & source.must_not_be_banned_by:
            yield f"  BANNED by {', '.join(sorted(by))}: {_tell(source)}"
        elif missing := (source.must_be_banned_by(mode) & named) - source.banned:
            yield f"  MISSED by {', '.join(sorted(missing))}: {_tell(source)}"


def _tell(source: Source) -> str:
    counts = f"{source.ports} ports, {source.targets} targets"
    return f"{source.address} {source.kind}, {counts}: {source.what}"


def main() -> int:
    """Replay what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m lab.evaluate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stems", metavar="STEM", nargs="+")
    parser.add_argument("--jail", action="append", help="default: pflog")
    parser.add_argument("--mode", choices=(*MODES, "any"), action="append")
    parser.add_argument("--form", choices=FORMS, action="append")
    parser.add_argument("--set", metavar="OPTION=VALUE", nargs="+", action="extend", default=[])
    parser.add_argument("--config", metavar="FOLDER", type=Path, default=CONFIG)
    parser.add_argument("--quiet", action="store_true", help="no list of wrong verdicts")
    arguments = parser.parse_args()
    names = arguments.jail or ["pflog"]
    settings = dict(word.split("=", 1) for word in arguments.set)
    quiet()
    status = 0
    for stem in stems(arguments.stems):
        for mode in arguments.mode or MODES:
            for form in arguments.form or FORMS:
                sources = replay(stem, form, names, {**settings, "mode": mode}, arguments.config)
                bad = list(wrong(sources, names, mode))
                print(
                    f"\n{stem.name} {form} {mode}: {len(bad)} wrong; banned by {', '.join(names)}"
                )
                print(*table(sources, names), *([] if arguments.quiet else bad), sep="\n")
                status |= bool(bad)
    return status


if __name__ == "__main__":
    sys.exit(main())
