# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures through replays, in one pass; what is counted beside them is bounded.

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
from .replay import Ban, Close, Replay
from .statistics import Statistics, Top

__all__ = ["Result", "Run", "Trust"]


class Trust:
    """Networks that must never be banned.

    Args:
        words: each is a network, an address, or a file with one per line (# begins a comment).

    Raises:
        ConfigurationError: a word is neither.
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
        """Whether anything is trusted."""
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

    Attributes:
        maxretry, findtime, bantime: as the jail was run, times in seconds.
        packets: how many were read.
        prevented, bans, close: as ``Replay`` has them.
        begin, end: times of the first and last packet, 0.0 where there is none.
        trusted: the banned sources that are trusted.
        top: which sources, ports and networks sent most.
        statistics: what pictures need, where that was asked for.
        options: of the jail, as it was run.
    """

    jail: str
    maxretry: int
    findtime: float
    bantime: float
    packets: int
    prevented: int
    bans: list[Ban]
    begin: float
    end: float
    close: list[Close]
    trusted: list[str]
    top: Top
    statistics: Optional[Statistics] = None
    options: Sequence[tuple[str, str]] = ()

    @property
    def sources(self) -> int:
        """How many sources there were; more than MAX_COUNTED_EXACTLY is an estimate."""
        return self.top.sources

    @property
    def banned(self) -> list[str]:
        """The sources that were banned, each once, in order."""
        return list(dict.fromkeys(ban.source for ban in self.bans))

    @property
    def share(self) -> float:
        """The prevented packets' share of all, 0 to 1."""
        return self.prevented / self.packets if self.packets else 0.0


class Feed(Protocol):
    """What takes packets: a replay, or several that are fed as one.

    Attributes:
        lead: the replay that counts.
    """

    lead: Replay

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> Optional[Ban]:
        """As ``Replay.packet``."""


class Run:
    """One pass over captures, by one or several replays.

    Args:
        replays: what results are made of.
        feeds: what feeds the replays, where they do not do it themselves.
        statistics: whether to gather what the pictures need.
        since: packets before this time, seconds since the epoch, are passed over.

    Attributes:
        packets: how many were read so far.
    """

    def __init__(
        self,
        replays: Sequence[Replay],
        feeds: Optional[Sequence[Feed]] = None,
        statistics: bool = False,
        since: float = 0.0,
    ) -> None:
        self.replays = replays
        self._since = since
        self._feeds: Sequence[Feed] = feeds or replays
        self.packets = 0
        self._statistics = [
            Statistics(replay.filter.options) if statistics else None for replay in replays
        ]
        self._top = Top()
        self._logged: list[str] = []
        self._begin, self._end = math.inf, 0.0
        leads = [feed.lead for feed in self._feeds if feed.lead not in replays]
        self._formatters = share([*replays, *leads])

    def read(self, captures: Captures, report: Callable[[int], None] = lambda _: None) -> None:
        """Replay all packets.

        Args:
            captures: where they are.
            report: called after each batch with the number of packets so far.
        """
        with logged_errors() as self._logged:
            for byteorder, records in captures:
                self._batch(byteorder, records)
                report(self.packets)

    def _batch(self, byteorder: str, records: list[Record]) -> None:
        count, decode = self._top.add, self._formatters[byteorder].decode
        feeds, since, number = self._feeds, self._since, self.packets
        begin, end = self._begin, self._end
        with_statistics = self._statistics[0] is not None
        try:
            for record in records:
                time = record[0] + record[1] / 1e6
                if time < since:
                    continue
                number += 1
                if time < begin:
                    begin = time
                if time > end:
                    end = time
                packet: Optional[Packet] = None
                source = b""
                try:
                    packet = decode(record[2])
                    source = packet.source
                except PflogError:
                    pass
                count(source, packet)
                set_time(time)
                prevented = [
                    feed.packet(record, byteorder, time, source, number) is not None
                    for feed in feeds
                ]
                if with_statistics and packet is not None:
                    for statistics, banned in zip(self._statistics, prevented):
                        if statistics is not None:
                            statistics.packet(time, record[2], packet, banned)
        finally:  # also when Ctrl-C was pressed
            self.packets, self._begin, self._end = number, begin, end

    @property
    def problems(self) -> list[str]:
        """What went wrong in fail2ban, each jail's once."""
        problems = [replay.problem for replay in self.replays if replay.problem]
        problems += [
            f"fail2ban: {message}"
            for message in self._logged
            if not message.startswith("Failed to process line")  # which the replay counts
        ]
        return list(dict.fromkeys(problems))

    def results(self, trust: Trust) -> list[Result]:
        """Return what the replays found so far, in their order."""
        return [
            Result(
                jail=replay.jail.name,
                maxretry=replay.maxretry,
                findtime=float(replay.filter.getFindTime()),
                bantime=float(replay.jail.actions.getBanTime()),
                packets=self.packets,
                prevented=replay.prevented,
                bans=replay.bans,
                begin=self._begin if self.packets else 0.0,
                end=self._end,
                close=replay.close,
                trusted=[
                    source
                    for source in dict.fromkeys(ban.source for ban in replay.bans)
                    if source in trust
                ],
                top=self._top,
                statistics=statistics,
                options=options_in_force(replay.jail),
            )
            for replay, statistics in zip(self.replays, self._statistics)
        ]
