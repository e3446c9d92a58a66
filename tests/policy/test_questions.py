# SPDX-License-Identifier: GPL-2.0-or-later
"""What this host asked, as a rule with `pass out log` logs it, and what answers it."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.policy.classifier import Classifier
from fail2ban_pflog.policy.kinds import MODES
from fail2ban_pflog.policy.questions import HORIZON, MAX_QUESTIONS, Questions

from ..support.packets import (
    ACK,
    FIN,
    HOST,
    HOST6,
    PSH,
    SOURCE,
    SOURCE6,
    SYN,
    frame,
    segment,
    tcp,
    udp,
)

OUT = {"direction": 2, "action": 0}
ASKED = {
    "UDP": udp(700, 20048, HOST, SOURCE, **OUT),
    "TCP": tcp(40000, 25, SYN, HOST, SOURCE, **OUT),
    "TCP with ECN": tcp(40000, 25, SYN | 0xC0, HOST, SOURCE, **OUT),
    "UDP over IPv6": udp(700, 20048, HOST6, SOURCE6, **OUT),
    "TCP over IPv6, cut": frame(6, segment(40000, 25, SYN)[:4], HOST6, SOURCE6, length=40, **OUT),
}
ANSWERS = {
    "UDP": [udp(20048, 700)],
    "TCP": [tcp(25, 40000, SYN | ACK), tcp(25, 40000, FIN | ACK), tcp(41000, 113, SYN)],
    "TCP with ECN": [tcp(25, 40000, PSH | ACK)],
    "UDP over IPv6": [udp(20048, 700, SOURCE6)],
    "TCP over IPv6, cut": [tcp(25, 40000, FIN | ACK, SOURCE6), tcp(41000, 113, SYN, SOURCE6)],
}
OTHERS = {
    "UDP": [
        udp(20048, 701), udp(20049, 700), udp(20048, 700, "198.51.100.8"),
        udp(20048, 700, SOURCE, "10.99.0.3"), tcp(20048, 700, SYN), tcp(41000, 113, SYN),
    ],
    "TCP": [
        tcp(25, 40001, SYN), tcp(26, 40000, SYN), tcp(41000, 22, SYN),
        tcp(41000, 113, SYN, "198.51.100.8"), tcp(41000, 113, SYN, SOURCE, "10.99.0.3"),
        udp(25, 40000), udp(41000, 113),
    ],
}  # fmt: skip


def kinds(*packets: bytes, mode: str = "any", gap: float = 1.0) -> list[str]:
    """Return the kinds of packets that come one after the other."""
    classifier, decode = Classifier(mode), Decoder("<").packet
    return [
        classifier.kind(number * gap, decode(each), each).name
        for number, each in enumerate(packets)
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_never_counted(name: str, mode: str) -> None:
    """What answers a question exactly is ANSWER; without the question it is not."""
    for answer in ANSWERS[name]:
        assert kinds(ASKED[name], answer, mode=mode) == ["QUESTION", "ANSWER"]
        assert kinds(answer, mode=mode) != ["ANSWER"]


@pytest.mark.parametrize("name", OTHERS)
def test_who_was_asked_is_otherwise_classified_as_ever(name: str) -> None:
    """Another port, address or protocol is no answer."""
    for other in OTHERS[name]:
        assert kinds(ASKED[name], other)[1:] == kinds(other)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (udp(700, 20048, HOST, SOURCE, direction=2, action=1), "OTHER_DIRECTION"),
        (udp(700, 20048, HOST, SOURCE, direction=1, action=0), "PASSED"),
        (tcp(700, 20048, SYN | ACK, HOST, SOURCE, **OUT), "OTHER_DIRECTION"),
        (tcp(700, 20048, ACK, HOST, SOURCE, **OUT), "OTHER_DIRECTION"),
        (udp(700, 20048, HOST, SOURCE, direction=2, action=0, reason=3), "OTHER_DIRECTION"),
        (udp(700, 20048, HOST, SOURCE, direction=2, action=12), "OTHER_DIRECTION"),
    ],
    ids=["blocked", "inbound", "SYN-ACK", "ACK", "dropped as pass", "match log"],
)
def test_only_what_goes_out_and_opens_is_a_question(asked: bytes, kind: str) -> None:
    """What was blocked, came in, or answers itself asks nothing."""
    assert kinds(asked, udp(20048, 700), tcp(20048, 700, SYN)) == [kind, "UDP_SERVICE", "SYN"]


def test_direction_of_the_jail() -> None:
    """A jail that counts outgoing packets has questions, too."""
    classifier, decode = Classifier("any", "in|out"), Decoder("<").packet
    for packet, kind in ((ASKED["UDP"], "QUESTION"), (udp(20048, 700), "ANSWER")):
        assert classifier.kind(0, decode(packet), packet).name == kind


@pytest.mark.parametrize(
    ("inside", "naf", "local", "remote", "sport", "dport"),
    [
        (udp(700, 123, "10.1.1.5", SOURCE, **OUT), 0, HOST, SOURCE, 50700, 123),
        (udp(700, 123, "10.1.1.5", SOURCE, **OUT), 2, HOST, SOURCE, 50700, 123),
        (udp(700, 123, SOURCE6, HOST6, **OUT), 2, HOST, SOURCE, 50700, 53),
    ],
    ids=["nat-to, no naf", "nat-to", "af-to"],
)
def test_openbsd_behind_nat(
    inside: bytes, naf: int, local: str, remote: str, sport: int, dport: int
) -> None:
    """The answer comes to the translated address, which OpenBSD has in its header."""
    one, two = ip_address(local).packed, ip_address(remote).packed
    header = bytes([100]) + inside[1:60] + bytes([2, 1, naf, 0])
    header += one.ljust(16, b"\0") + two.ljust(16, b"\0") + struct.pack(">HH", sport, dport)
    asked = header + inside[72:]
    assert kinds(asked, udp(dport, sport, remote, local)) == ["QUESTION", "ANSWER"]
    assert kinds(asked, udp(dport, 700, remote, local))[1] != "ANSWER"


def test_questions_are_forgotten() -> None:
    """After an hour without an answer, or when there are too many; the oldest goes first."""
    answer = ANSWERS["UDP"][0]
    assert kinds(ASKED["UDP"], answer, answer, gap=HORIZON) == ["QUESTION", "ANSWER", "ANSWER"]
    assert kinds(ASKED["UDP"], answer, gap=HORIZON + 1)[1] == "UDP_SERVICE"
    questions, packet = Questions(), Decoder("<").packet(ASKED["UDP"])
    for port in range(MAX_QUESTIONS):
        questions.note(0, packet._replace(sport=port), ASKED["UDP"])
    questions.note(0, packet._replace(dport=1), ASKED["UDP"])
    assert len(questions) <= MAX_QUESTIONS
    back = packet._replace(source=packet.destination, destination=packet.source, sport=20048)
    assert not questions.answers(0, back._replace(dport=5))
    assert questions.answers(0, back._replace(dport=MAX_QUESTIONS - 1))
