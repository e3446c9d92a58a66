# SPDX-License-Identifier: GPL-2.0-or-later
"""What backtests write in words."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.replay.evidence import Counted, Evidence
from fail2ban_pflog.backtest.report import words

TCP, UDP, ICMP, ICMP6, SCTP = 6, 17, 1, 58, 132
HOST = b"\x0a\x63\x00\x02"


def evidence(*asked: tuple[int, int], hosts: int = 1, seconds: float = 4.0) -> Evidence:
    """Packets for each (protocol, port or type) to each host, evenly over some seconds."""
    packets = [
        (protocol << 17 | (port + 1), HOST[:3] + bytes([host]))
        for protocol, port in asked
        for host in range(1, hosts + 1)
    ]
    last = max(1, len(packets) - 1)
    return Evidence.of((seconds * number / last, *each) for number, each in enumerate(packets))


TWELVE = [(TCP, port) for port in range(1, 13)]


@pytest.mark.parametrize(
    ("what", "text", "names"),
    [
        (
            evidence(*TWELVE, (UDP, 53), (UDP, 67), (UDP, 161)),
            "15 ports (12 tcp, 3 udp) on 1 host in 4 s",
            "tcp 1-12; udp 53, 67, 161",
        ),
        (evidence(*TWELVE), "12 tcp ports on 1 host in 4 s", "1-12"),
        (
            evidence((TCP, 22), hosts=15),
            "22/tcp on 15 hosts in 4 s",
            "10.99.0.1, 10.99.0.2, 10.99.0.3, 10.99.0.4 and 11 more",
        ),
        (evidence((TCP, 22), (UDP, 53)), "22/tcp, 53/udp on 1 host in 4 s", ""),
        (
            evidence((ICMP, 8), hosts=25, seconds=90),
            "echo requests to 25 hosts in 1 min 30 s",
            "10.99.0.1, 10.99.0.2, 10.99.0.3, 10.99.0.4 and 21 more",
        ),
        (evidence((ICMP6, 128)), "echo requests to 1 host", ""),
        (evidence((ICMP, 5), (ICMP, 8)), "ICMP of type 5 and echo requests to 1 host in 4 s", ""),
        (evidence((47, -1)), "IP protocol 47 on 1 host", ""),
        (
            evidence(*((number, -1) for number in range(60, 80))),
            "20 IP protocols on 1 host in 4 s",
            "60-79",
        ),
        (evidence((TCP, 22), (47, -1)), "22/tcp and IP protocol 47 on 1 host in 4 s", ""),
        (evidence(*TWELVE, seconds=0.01), "12 tcp ports on 1 host at once", "1-12"),
        (evidence(), "", ""),
    ],
)  # fmt: skip
def test_what_was_asked(what: Evidence, text: str, names: str) -> None:
    """A ban shows what was counted, of how many hosts, how fast, so that it can be checked."""
    assert words.what_was_asked(what) == text
    assert words.names(what) == names


def test_repeats_are_counted() -> None:
    """Where packets were counted that asked for the same, their number stands before."""
    packets = [(float(number), TCP << 17 | 26, HOST) for number in range(30)]
    assert words.what_was_asked(Evidence.of(packets)) == "30 packets to 25/tcp on 1 host in 29 s"


def test_counted_keeps_the_last_within_findtime() -> None:
    """No more packets are kept than a ban takes, and of these the younger ones are shown."""
    from fail2ban_pflog.pflog.packet import Decoder
    from tests.support.pflogs import syn

    decode = Decoder("<").packet
    counted = Counted(10)
    for number in range(30):
        counted.add(float(number), decode(syn("203.0.113.7", 100 + number)))
    assert counted.since(0.0).ports == list(range(120, 130))
    assert counted.since(25.0).ports == list(range(125, 130))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0 s"), (0.25, "0.2 s"), (8.97, "9 s"), (9.44, "9.4 s"), (59, "59 s"),
        (90, "1 min 30 s"), (5400, "1 h 30 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_span(seconds: float, text: str) -> None:
    """Spans in prose have one unit or two."""
    assert words.span(seconds) == text


def test_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time zone is written by its name, and by what it is ahead of UTC."""
    for name, text in (
        ("UTC", "UTC"),
        ("CET-1", "CET (UTC+01:00)"),
        ("<-0330>3:30", "UTC-03:30"),
    ):
        monkeypatch.setenv("TZ", name)
        time.tzset()
        assert words.zone(1_790_000_000.0) == text
    monkeypatch.undo()
    time.tzset()
