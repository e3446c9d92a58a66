# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures through judges, in one pass; what is counted beside them is bounded.

A result is plain data: it can be sent from one process to another, and printed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Protocol, Union

from ...errors import PflogError
from ...pflog.packet import Packet
from ...pflog.savefile import Record
from ...sources.captures import Captures
from .caches import share
from .configuration import ConfigurationError, logged_errors
from .jail import options_in_force, set_time
from .profile import Profiles
from .replay import Ban, Close, Judge
from .statistics import SourceCounter, Statistics

__all__ = ["Result", "Run", "Trust"]

SAMPLED = 2_000
"""Packets on which a filter must show that it blames the source of a packet."""


class Trust:
    """Networks that must never be banned.

    words: each is a network, an address, or a file with one per line (# begins a comment).
    Raises ConfigurationError for what is neither.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._networks: list[Union[IPv4Network, IPv6Network]] = []
        for word in words:
            self._networks += self._read(word)

    def _read(self, word: str) -> list[Union[IPv4Network, IPv6Network]]:
        with contextlib.suppress(ValueError):
            return [ip_network(word, strict=False)]
        try:
            text = Path(word).read_text("utf-8-sig")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--trust {word}: no network, and no file ({error})") from None
        networks = []
        for number, line in enumerate(text.splitlines(), 1):
            if entry := line.partition("#")[0].strip():
                try:
                    networks.append(ip_network(entry, strict=False))
                except ValueError as error:
                    raise ConfigurationError(f"--trust {word}, line {number}: {error}") from None
        return networks

    def __bool__(self) -> bool:
        """Whether anybody is trusted."""
        return bool(self._networks)

    def __contains__(self, source: str) -> bool:
        try:
            network = ip_network(source)
        except ValueError:
            return False
        return any(
            network.version == trusted.version and network.overlaps(trusted)
            for trusted in self._networks
        )


class Result(NamedTuple):
    """What one jail made of the captures.

    maxretry, findtime, bantime: as the jail was run, times in seconds.
    packets: how many were read.  prevented, bans: see ``Judge``.  sources: how many there
    were, see ``SourceCounter``.  begin, end: times of the first and last packet, 0.0 where none.
    close: the sources that came close.  trusted: the banned ones that are trusted.
    statistics: where it was asked for.  options: of the jail, as it was run.
    """

    jail: str
    maxretry: int
    findtime: float
    bantime: float
    packets: int
    prevented: int
    bans: list[Ban]
    sources: int
    begin: float
    end: float
    close: list[Close]
    trusted: list[str]
    statistics: Optional[Statistics] = None
    options: Sequence[tuple[str, str]] = ()

    @property
    def banned(self) -> list[str]:
        """The sources that were banned, each once, in order."""
        return list(dict.fromkeys(ban.source for ban in self.bans))

    @property
    def share(self) -> float:
        """The prevented packets' share of all, 0 to 1."""
        return self.prevented / self.packets if self.packets else 0.0


class Feed(Protocol):
    """What takes packets: a judge, or some that are judged as one.

    lead: the judge that counts.
    """

    lead: Judge

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> Optional[Ban]:
        """As ``Judge.packet``."""


class Run:
    """One pass over captures, by one or several judges.

    feeds: what feeds the judges, where they do not do it themselves.
    statistics: whether to gather what the pictures need.
    profiles: what sources do by themselves; it is told of each packet.
    packets: how many were read so far.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        feeds: Optional[Sequence[Feed]] = None,
        statistics: bool = False,
        profiles: Optional[Profiles] = None,
    ) -> None:
        self.judges = judges
        self._profiles = profiles
        self._feeds: Sequence[Feed] = feeds or judges
        self.packets = 0
        self._statistics = [
            Statistics(judge.filter.options) if statistics else None for judge in judges
        ]
        self._sources = SourceCounter()
        self._logged: list[str] = []
        self._begin, self._end = math.inf, 0.0
        leads = [feed.lead for feed in self._feeds if feed.lead not in judges]
        self._formatters = share([*judges, *leads])

    def read(self, captures: Captures, report: Callable[[int], None] = lambda _: None) -> None:
        """Judge all packets.

        report: called after each batch with the number of packets so far.
        """
        with logged_errors() as self._logged:
            for byteorder, records in captures:
                self._batch(byteorder, records)
                report(self.packets)

    def _batch(self, byteorder: str, records: list[Record]) -> None:
        count, decode = self._sources.add, self._formatters[byteorder].decode
        number = self.packets
        lowest, end = math.inf, self._end
        surveyed, profiles = self._statistics[0] is not None, self._profiles
        try:
            for record in records:
                number += 1
                time = record[0] + record[1] / 1e6
                if time < lowest:
                    lowest = time
                if time > end:
                    end = time
                packet: Optional[Packet] = None
                source = b""
                with contextlib.suppress(PflogError):
                    packet = decode(record[2])
                    source = packet.source
                    if profiles is not None:
                        profiles.packet(time, record[2], packet)
                count(source)
                set_time(time)
                prevented = [
                    feed.packet(record, byteorder, time, source, number) is not None
                    for feed in self._feeds
                ]
                if surveyed and packet is not None:
                    self._survey(time, record[2], packet, prevented)
        finally:  # also when Ctrl-C was pressed
            self.packets = number
            self._begin, self._end = min(self._begin, lowest), end

    def _survey(self, time: float, frame: bytes, packet: Packet, prevented: Sequence[bool]) -> None:
        for survey, banned in zip(self._statistics, prevented):
            if survey is not None:
                survey.packet(time, frame, packet, banned)

    @property
    def problems(self) -> list[str]:
        """What went wrong in fail2ban, each jail's once."""
        problems = [judge.problem for judge in self.judges if judge.problem]
        problems += [
            f"fail2ban: {message}"
            for message in self._logged
            if not message.startswith("Failed to process line")  # told by the judge
        ]
        return list(dict.fromkeys(problems))

    def results(self, trust: Trust) -> list[Result]:
        """What the judges found so far, in their order."""
        return [
            self._result(judge, each, trust) for judge, each in zip(self.judges, self._statistics)
        ]

    def _result(self, judge: Judge, statistics: Optional[Statistics], trust: Trust) -> Result:
        banned = dict.fromkeys(ban.source for ban in judge.bans)
        return Result(
            jail=judge.jail.name,
            maxretry=judge.maxretry,
            findtime=float(judge.filter.getFindTime()),
            bantime=float(judge.jail.actions.getBanTime()),
            packets=self.packets,
            prevented=judge.prevented,
            bans=judge.bans,
            sources=self._sources.count,
            begin=self._begin if self.packets else 0.0,
            end=self._end,
            close=judge.close,
            trusted=[source for source in banned if source in trust],
            statistics=statistics,
            options=options_in_force(judge.jail),
        )
