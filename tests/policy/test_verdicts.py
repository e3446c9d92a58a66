# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts are fail2ban's own: against a plain reference, on random jails and captures.

The reference counts each packet when it comes, cleans up at every packet and asks fail2ban's
list of bans for everything: nothing is held, no group_by_maxretry, nothing kept beside.
"""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.backtests import BEGIN, CONFIG, write
from tests.support.pflogs import syn, syn6

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay import groups as family
from fail2ban_pflog.backtest.replay import jail as jails
from fail2ban_pflog.backtest.replay import patches, run
from fail2ban_pflog.backtest.replay import replay as replaying
from fail2ban_pflog.backtest.replay.configuration import Configuration
from fail2ban_pflog.backtest.replay.jail import begins_with_address
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.sources.captures import Captures

Packet = tuple[float, bytes]


class Verdict(NamedTuple):
    """A ban: source, begin, end, failures, packets before it, prevented packets."""

    source: str
    begin: float
    end: float
    failures: int
    packets: int
    prevented: int


def packets(rnd: random.Random) -> list[Packet]:
    """Sources of all kinds, over minutes or hours."""
    found: list[Packet] = []
    for _ in range(rnd.choice((1, 3, 10, 40))):
        is_6 = rnd.random() < 0.3
        host = rnd.randrange(1, 30)
        source = f"2001:db8:{host % 3:x}::{host % 5 + 1:x}" if is_6 else f"203.0.113.{host}"
        when = BEGIN + rnd.uniform(0, rnd.choice((10, 600, 20_000)))
        gaps = rnd.choice(
            ((0,), (0.1,), (5,), (30, 61), (290, 300, 301), (0.1, 5, 290, 700, 950), (3600,))
        )
        for index in range(rnd.randrange(1, 40)):
            port = rnd.choice((22, 23, 25, 80 + index, 80 + index % 5))
            if is_6:
                frame = syn6(source, port, f"2001:db8:ffff::{rnd.randrange(2, 4)}")
            else:
                frame = syn(source, port, target=f"10.99.0.{rnd.randrange(2, 4)}")
            found.append((round(when, rnd.choice((0, 6))), frame))
            when += rnd.choice(gaps)
    return sorted(found, key=lambda packet: packet[0])


def options(rnd: random.Random) -> dict[str, str]:
    """Options of a jail; maxtime is never shorter than bantime."""
    mode = rnd.choice(("normal", "aggressive", "any"))
    backends = ("distinct=port, mode=normal", "distinct=none, mode=any", "distinct=host")
    chosen = {
        "mode": mode,
        "findtime": rnd.choice(("1", "10s", "1m", "5m", "1h", "1d", "2mo")),
        "bantime": rnd.choice(("1", "5", "10s", "1m", "10m", "1h", "-1")),
        "backend": f"pflog[{rnd.choice((*backends, 'prefix6=64', 'distinct=none, prefix6=48'))}]",
        "bantime.increment": rnd.choice(("true", "false", "false")),
    }
    if rnd.random() < 0.3:
        chosen["filter"] = rnd.choice(("pflog[mode=any, direction=in|out]", "pflog[rule=1]"))
    if rnd.random() < 0.3:
        chosen["ignoreip"] = rnd.choice(("203.0.113.0/28", "2001:db8::/48", "2001:db8:1::1"))
    if rnd.random() < 0.4:
        chosen["bantime.factor"] = rnd.choice(("1", "2", "24"))
    if rnd.random() < 0.4:
        chosen["bantime.multipliers"] = "1 2 4 8"
    if rnd.random() < 0.4:
        chosen["bantime.overalljails"] = "true"
    return chosen


def reference(jail: Any, records: list[tuple[int, int, bytes]]) -> tuple[list[Verdict], int]:
    """All bans, and how many packets they prevent."""
    filter_, manager = jail.filter, jails.ban_manager(jail)
    increments = jail.getBanTimeExtra("increment")
    observer = patches.observer() if increments else None
    filter_.pipeline.dedup.hold, filter_.mute = 1, 0.0
    decode = Decoder("<").packet
    clean = filter_.failManager.cleanup
    filter_.failManager.cleanup = lambda _: None
    bans: list[list[Any]] = []
    banned: dict[str, list[Any]] = {}
    number, prevented = 0, 0

    def ban(ticket: Any) -> None:
        ticket = jails.BanTicket.wrap(ticket)
        length = ticket.getBanTime(manager.getBanTime())
        if not manager.addBanTicket(ticket, reason={}):
            return
        if observer is not None:
            observer.banFound(ticket, jail, length)
        end = jails.end_of_ban(ticket, jail)
        source = str(ticket.getID())
        banned[source] = [source, ticket.getTime(), end, ticket.getAttempt(), number - 1, 0]
        bans.append(banned[source])

    jail.putFailTicket, jail.isAlive = ban, lambda: True
    for record in records:
        number += 1
        when = record[0] + record[1] / 1e6
        jails.set_time(when)
        for ticket in manager.unBanList(when):
            del banned[str(ticket.getID())]
        clean(when - when % 5)
        address = ip_address(decode(record[2]).source)
        held = [each for source, each in banned.items() if address in ip_network(source)]
        if held:
            prevented += 1
            held[0][5] += 1
        else:
            for line in filter_.pipeline.take([record], "<"):
                filter_.processLineAndAdd(line.parts, line.time)
    return sorted(Verdict(*each) for each in bans), prevented


def replayed(one: replaying.Replay, path: Path, holds: bool = True) -> tuple[list[Verdict], int]:
    """The same, as a backtest has it."""
    if not holds:
        one.dedup.hold = 1
    passed = run.Run([one])
    passed.read(Captures([str(path)], pytest.fail))
    return verdicts(one)


def verdicts(one: replaying.Replay) -> tuple[list[Verdict], int]:
    bans = [
        Verdict(
            ban.source,
            ban.time,
            None if ban.end == float("inf") else ban.end,  # type: ignore[arg-type]
            ban.failures,
            ban.packets,
            ban.prevented,
        )
        for ban in one.bans
    ]
    return sorted(bans), one.prevented


def without_failures(found: tuple[list[Verdict], int]) -> tuple[list[Verdict], int]:
    """A member of a family knows no more than that they were enough."""
    return [ban._replace(failures=0) for ban in found[0]], found[1]


@pytest.mark.parametrize("seed", range(24))
def test_as_the_reference(seed: int, tmp_path: Path) -> None:
    """One jail, and the same in a family with others: to the packet what fail2ban would do."""
    rnd = random.Random(seed)
    path = write(tmp_path / "pflog", packets(rnd))
    chosen = options(rnd)
    retries = [str(number) for number in rnd.sample((1, 2, 3, 4, 5, 6, 8, 10, 15, 20), 3)]
    settings = [{**chosen, "maxretry": each} for each in retries]
    configuration = Configuration(CONFIG)
    records = [each for batch in Captures([str(path)], pytest.fail) for each in batch.records]
    together = members(configuration, settings, path)
    for each, member in zip(settings, together):
        expected = reference(configuration.load("pflog", each), records)
        assert replayed(replaying.Replay(configuration.load("pflog", each)), path) == expected
        assert without_failures(verdicts(member)) == without_failures(expected)


@pytest.mark.parametrize("seed", range(100, 112))
def test_clock_steps_back(seed: int, tmp_path: Path) -> None:
    """A step of up to ten minutes makes no difference between one run and another."""
    rnd = random.Random(seed)
    found = packets(rnd)
    at, step = rnd.randrange(len(found)), rnd.choice((1, 6, 100, 500))
    moved = found[:at] + [(when - step, frame) for when, frame in found[at:]]
    path = write(tmp_path / "pflog", moved, in_order=False)
    chosen = options(rnd)
    settings = [{**chosen, "maxretry": each} for each in ("2", "5", "9")]
    configuration = Configuration(CONFIG)
    together = members(configuration, settings, path)
    for each, member in zip(settings, together):
        alone = replayed(replaying.Replay(configuration.load("pflog", each)), path)
        plain = replayed(replaying.Replay(configuration.load("pflog", each)), path, holds=False)
        assert alone == plain
        assert without_failures(verdicts(member)) == without_failures(alone)


def test_ban_of_a_younger_failure(tmp_path: Path) -> None:
    """A ban that an older packet completes forgets the ports of the younger ones as well."""
    ports = ((75, 23, 3), (80, 25, 3), (85, 22, 2), (90, 23, 2), (-905, 23, 2), (-899, 99, 2))
    later = ((110, 23, 3), (292, 94, 3), (322, 80, 2))
    found = [
        (BEGIN + when, syn6("2001:db8::3", port, f"2001:db8:ffff::{target}"))
        for when, port, target in (*ports, *later)
    ]
    path = write(tmp_path / "pflog", found, in_order=False)
    common = {"bantime": "10s", "bantime.increment": "true"}
    settings = [{**common, "maxretry": each} for each in ("3", "6")]
    configuration = Configuration(CONFIG)
    for each, member in zip(settings, members(configuration, settings, path)):
        alone = replayed(replaying.Replay(configuration.load("pflog", each)), path)
        assert len(alone[0]) >= 2
        assert without_failures(verdicts(member)) == without_failures(alone)


def members(
    configuration: Configuration, settings: list[dict[str, str]], path: Path
) -> list[replaying.Replay]:
    """The replays of a sweep, behind it."""
    together = [
        replaying.Replay(configuration.load("pflog", each), evidence=False, lines=False)
        for each in settings
    ]
    feeds = family.group_by_maxretry(configuration, "pflog", settings, together)
    run.Run(together, feeds).read(Captures([str(path)], pytest.fail))
    return together


# -- whose packets may wait -------------------------------------------------------------


def filter_config(folder: Path, failregex: str, prefix: str = "") -> Configuration:
    """The package's configuration with a filter of one's own, ``mine``."""
    (folder / "filter.d").mkdir(parents=True)
    (folder / "jail.d").mkdir()
    (folder / "filter.d/mine.conf").write_text(
        f"[Definition]\nprefregex = {prefix}\nfailregex = {failregex}\n"
    )
    (folder / "jail.conf").write_text(
        "[DEFAULT]\nmaxretry = 5\nfindtime = 5m\nbantime = 5s\nusedns = no\n"
        "[mine]\nenabled = true\nfilter = mine\nbackend = pflog[distinct=none]\n"
    )
    return Configuration(folder)


@pytest.mark.parametrize(
    ("failregex", "prefix", "begins"),
    [
        ("^<ADDR>\\.", "^.*: <F-CONTENT>\\S+ > .*</F-CONTENT>$", True),
        ("^(?!a[)(]b(?:c))(?=x\\))<HOST>", "", True),
        ("^ rule .* <ADDR>\\.\\d+ > ", "", False),
        ("^.*> <ADDR>\\.\\d+: ", "", False),
        ("^<F-ID>\\S+</F-ID> ", "", False),
        ("^<ADDR>\\.", "^.* <F-ID>\\S+</F-ID>: <F-CONTENT>.*</F-CONTENT>$", False),
    ],
)
def test_begins_with_address(tmp_path: Path, failregex: str, prefix: str, begins: bool) -> None:
    """Packets may wait only where a filter plainly finds the address that a line begins with."""
    jail = filter_config(tmp_path / "config", failregex, prefix).load("mine", {})
    assert begins_with_address(jail.filter) == begins


def test_shipped_filter_begins_with_address() -> None:
    """The package's own filter is one of them, in all its modes."""
    for mode in ("normal", "aggressive", "any"):
        jail = Configuration(CONFIG).load("pflog", {"filter": f"pflog[mode={mode}]"})
        assert begins_with_address(jail.filter)


def test_a_filter_must_show_whom_it_blames(tmp_path: Path) -> None:
    """One whose prefregex picks the destination is found out even where it matches late."""
    prefix = "^.*> <F-CONTENT>\\S+:.*</F-CONTENT>$"
    configuration = filter_config(tmp_path / "config", "^<ADDR>\\.22:", prefix)
    found = [(BEGIN + index / 9, syn(f"203.0.113.{index % 250}", 80)) for index in range(4000)]
    found += [(BEGIN + 900 + index / 9, syn(f"198.51.100.{index}", 22)) for index in range(40)]
    one = replaying.Replay(configuration.load("mine", {}))
    replayed(one, write(tmp_path / "pflog", found))
    assert {ban.source for ban in one.bans} == {"10.99.0.2"}


def test_filter_that_blames_the_destination(tmp_path: Path) -> None:
    """A filter that finds other addresses is replayed packet by packet, alone and swept."""
    configuration = filter_config(tmp_path / "config", "^.*> <ADDR>\\.\\d+: ")
    path = write(
        tmp_path / "pflog",
        [
            (BEGIN + index, syn(f"203.0.113.{index % 250}", 22, target="10.99.0.1"))
            for index in range(100)
        ],
    )
    settings = [{"maxretry": each} for each in ("2", "4")]
    together = [replaying.Replay(configuration.load("mine", each)) for each in settings]
    feeds = family.group_by_maxretry(configuration, "mine", settings, together)
    run.Run(together, feeds).read(Captures([str(path)], pytest.fail))
    for each, member in zip(settings, together):
        alone = replaying.Replay(configuration.load("mine", each))
        assert replayed(alone, path) == verdicts(member)
        assert len(alone.bans) > 10
        assert {ban.source for ban in alone.bans} == {"10.99.0.1"}
