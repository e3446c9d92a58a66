# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups of alike packets lead to the same lines as packet by packet."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fail2ban_pflog.pflog.savefile import Record
from fail2ban_pflog.pipeline import Item, Line, Pipeline
from fail2ban_pflog.policy.classifier import Classifier
from fail2ban_pflog.policy.dedup import Dedup
from tests.support.packets import ACK, HOST, SOURCE, SYN, echo, segment, tcp, udp
from tests.support.packets import frame as packed
from tests.support.pflogs import syn

SETTINGS = [
    ("port", "normal", 300.0, "in", 128, 8),
    ("port", "aggressive", 1.0, "in", 64, 3),
    ("port", "any", 60.0, "in|out", 48, 1),
    ("host", "aggressive", 60.0, "in", 128, 2),
    ("none", "normal", 60.0, "in", 64, 4),
    ("none", "any", 0.1, "in", 128, 1),
    ("port", "normal", 0.1, "in", 128, 2),
]


def traffic(dice: random.Random, count: int) -> list[Record]:
    """A mix of retries, scans, late packets and noise of few sources; the clock may step."""
    sources = [f"198.51.100.{last}" for last in range(6)]
    sources += [f"2001:db8:{net}::{last}" for net in (1, 2) for last in (1, 2)]
    now = 1_780_000_000.0
    made = []
    for _ in range(count):
        source = dice.choice(sources)
        host = "" if ":" in source else dice.choice([HOST, HOST, "10.99.0.3"])
        port = dice.choice([22, 8443, 40000, dice.randrange(1, 65536)])
        ttl = dice.choice([64, 64, 3, 4])
        kind = dice.randrange(7)
        own = packed(6, segment(40000, port, SYN, options=bytes(8)), source, host, ttl=ttl)
        frame = (
            syn(source, port) if ":" not in source else tcp(40000, port, SYN, source),
            own,
            tcp(40000, 443, ACK, source, host),
            udp(53, port, source, host, ttl=ttl),
            udp(40000, port, source, host),
            echo(source, host),
            dice.choice([b"", b"no frame", own[:90], tcp(1, port, SYN, source, direction=2)]),
        )[kind]
        repeats = dice.choice([1, 1, 2, 5, 20])
        for _ in range(repeats):
            now += dice.choice([0.0, 0.0, 0.001, 0.4, 0.4, 2.0])
            made.append((int(now), int(now % 1 * 1e6), frame))
        if dice.random() < 0.01:
            now += dice.choice([-700.0, -3.0, 400.0])
    return made


def make(what: str, mode: str, window: float, direction: str, prefix6: int, hold: int) -> Pipeline:
    classifier = Classifier(mode, direction, prefix6=prefix6)
    return Pipeline(classifier, Dedup[Item](what, window, hold, classifier.source))


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_groups_come_to_the_same_lines(setting: tuple[Any, ...], seed: int) -> None:
    """The lines, and what became of how many packets, are those of packet by packet."""
    dice = random.Random(seed)
    records = traffic(dice, 700)
    one, two = make(*setting), make(*setting)
    single = [line for record in records for line in one.take([record], "<")]
    merged: list[Line] = []
    groups = at = 0
    while at < len(records):
        end = at + dice.randrange(1, 300)
        for group in two.group(records[at:end], "<"):
            groups += 1
            merged += two.take_group(group, "<")
        at = end
    assert [line[:2] for line in merged] == [line[:2] for line in single]
    for name in ("read", "passed", "undecodable", "ignored"):
        assert getattr(two, name) == getattr(one, name), name
    for name in ("passed", "repeats", "muted", "waiting", "evicted"):
        assert getattr(two.dedup, name) == getattr(one.dedup, name), name
    assert groups < len(records)


def test_a_group_is_of_one_source_and_target() -> None:
    """Whatever differs but for ports of the sender and numbers ends a group."""
    frames = [
        *[syn("198.51.100.1", 22, number) for number in range(5)],
        *[syn("198.51.100.1", 23, number) for number in range(3)],
        *[syn("198.51.100.2", 23, number) for number in range(2)],
        syn("198.51.100.2", 23, 0, "10.99.0.3"),
        syn("198.51.100.2", 23, 0, "10.99.0.3", rule=9),
        tcp(40000, 443, ACK, "198.51.100.3"),
        syn("198.51.100.2", 23, 0, "10.99.0.3", rule=9),
        tcp(40000, 443, ACK, "198.51.100.4"),
    ]
    records = [(1, number, frame) for number, frame in enumerate(frames)]
    groups = make("port", "normal", 300.0, "in", 128, 1).group(records, "<")
    assert [1 + group.more for group in groups] == [5, 3, 2, 1, 2, 2]
    assert groups[0].last == records[4]


def test_an_answer_hides_no_packet_from_another_port() -> None:
    """Also where the first question was read at once with what came for it."""
    asked = udp(700, 20048, HOST, SOURCE, direction=2, action=0)
    frames = [asked, udp(20048, 700), udp(20050, 700), udp(20050, 700)]
    pipeline = make("port", "any", 60.0, "in", 128, 1)
    lines = pipeline.take([(1, number, frame) for number, frame in enumerate(frames)], "<")
    assert [line.packet.sport for line in lines] == [20050]
    assert (pipeline.dedup.passed, pipeline.dedup.repeats) == (1, 1)
