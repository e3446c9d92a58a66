# SPDX-License-Identifier: GPL-2.0-or-later
"""The pflog header: every dialect, every system's numbers, hostile names."""

from __future__ import annotations

from typing import Any

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog.header import ACTIONS, KINDS, NONE, Header
from tests.support.packets import pflog_header as header


def text(length: int = 69, **fields: Any) -> str:
    return Header.parse(header(length, **fields), "<").text


@pytest.mark.parametrize(
    ("length", "start"),
    [
        (45, 48),
        (61, 64),
        (62, 64),
        (63, 64),
        (64, 64),
        (69, 72),
        (100, 100),
        (101, 104),
        (255, 256),
    ],
)
def test_start(length: int, start: int) -> None:
    """The packet begins at the length rounded up to 4, in every dialect."""
    assert Header.parse(header(length), "<").start == start


@pytest.mark.parametrize("length", [45, 61, 64, 69, 100, 101])
def test_text(length: int) -> None:
    """All dialects give the same words for the same rule."""
    assert text(length) == "rule 1/0(match): block in on vtnet0"


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order(order: str) -> None:
    """The user is read in the byte order of the host that wrote, the rest in network order."""
    parsed = Header.parse(header(69, order, uid=1001, ridentifier=77), order)
    assert (parsed.uid, parsed.pid, parsed.rule_pid, parsed.rule) == (1001, -1, 7, 1)
    assert parsed.text == "rule 1/0(match) [uid 1001] [ridentifier 77]: block in on vtnet0"


def test_anchor() -> None:
    """An anchor's name and the rule in it stand between rule and reason."""
    assert text(rule=8, subrule=0, ruleset=b"sshd") == "rule 8.sshd.0/0(match): block in on vtnet0"
    assert text(subrule=3) == "rule 1..3/0(match): block in on vtnet0"


def test_default_rule() -> None:
    """The default rule has the largest number."""
    assert text(rule=NONE, subrule=3, reason=3, action=0) == (
        "rule 4294967295..3/3(short): pass in on vtnet0"
    )


def test_freebsd_9_has_no_subrule() -> None:
    """FreeBSD 9 to 11.0 wrote 16777216 for "no subrule"; with an anchor it is a number."""
    assert text(61, subrule=16777216) == "rule 1/0(match): block in on vtnet0"
    assert text(61, subrule=16777216, ruleset=b"a") == (
        "rule 1.a.16777216/0(match): block in on vtnet0"
    )


def test_numbers_that_all_systems_share() -> None:
    """Reasons 0 to 14 and actions 0 to 10 have the same names in every dialect."""
    for length in (45, 61, 69, 100):
        for number, name in enumerate(KINDS):
            assert f"/{number}({name}): " in text(length, reason=number)
        for number, name in enumerate(ACTIONS):
            assert f": {name} in on" in text(length, action=number)


@pytest.mark.parametrize(
    ("length", "fields", "reasons", "actions"),
    [
        (69, {}, ["map-failed", "translate"], ["defer", "match", "afrt", "rt", None]),
        (61, {"family": 28}, ["map-failed", "translate"], ["defer", "match", "afrt", "rt", None]),
        (100, {}, ["translate", "no-route"], ["defer", "match", "divert", "rt", "afrt"]),
        (61, {"family": 24}, ["state-locked", None], [None] * 5),
        (
            61,
            {"family": 30},
            ["dummynet", "invalid-port"],
            ["dummynet", "nodummynet", "nat64", "nonat64", None],
        ),
        (
            61,
            {"uid": 0x7FFFFFFF},
            [None, "invalid-port"],
            ["dummynet", "nodummynet", "nat64", "nonat64", None],
        ),
        (61, {}, [None, None], [None] * 5),
        (45, {}, [None, None], [None] * 5),
    ],
)
def test_numbers_of_one_system(
    length: int, fields: dict[str, int], reasons: list[str], actions: list[str]
) -> None:
    """Numbers on which systems disagree are named where the system is known, else unkn(N)."""
    for number, name in enumerate(reasons, start=15):
        words = f"{number}({name})" if name else f"unkn({number})"
        assert f"/{words}: " in text(length, reason=number, **fields)
    for number, name in enumerate(actions, start=11):
        assert f": {name or f'unkn({number})'} in on" in text(length, action=number, **fields)


def test_directions() -> None:
    """Direction 3 is known on OpenBSD only."""
    for number, name in enumerate(("in/out", "in", "out", "unkn(3)")):
        assert f" {name} on" in text(69, direction=number)
    assert ": block fwd on" in text(100, direction=3)


@pytest.mark.parametrize(
    ("length", "none"), [(61, 0x7FFFFFFF), (61, NONE), (69, NONE), (100, NONE)]
)
def test_no_user(length: int, none: int) -> None:
    """The numbers that mean "no user" print nothing."""
    assert Header.parse(header(length, uid=none), "<").uid is None


def test_user_is_a_number_where_it_means_one() -> None:
    """0x7fffffff is a user on FreeBSD 13.1 and OpenBSD."""
    assert Header.parse(header(69, uid=0x7FFFFFFF), "<").uid == 0x7FFFFFFF


@pytest.mark.parametrize("name", [b"igb0.10", b"ix0_vlan30", b"em-0", b"bbeck(20267)", b"f2b/sshd"])
def test_names(name: bytes) -> None:
    """Names that systems use pass unchanged."""
    assert Header.parse(header(ifname=name), "<").interface == name.decode()


def test_hostile_names() -> None:
    """What may not stand in a line becomes a question mark; a name without NUL ends at 16."""
    hostile = bytes(range(0x18, 0x28))
    assert Header.parse(header(ifname=hostile), "<").interface == "?" * 16
    assert Header.parse(header(ruleset=b"a b:c\n\x80\xff"), "<").ruleset == "a?b?c???"
    assert Header.parse(header(ifname=b"x" * 16), "<").interface == "x" * 16


@pytest.mark.parametrize("length", [0, 1, 17, 28, 44])
def test_too_short_a_length(length: int) -> None:
    """A length below 45 was never written by pf."""
    with pytest.raises(PflogError, match="header length") as caught:
        Header.parse(bytes((length,)) + bytes(100), "<")
    assert caught.value.layer == "pflog"


def test_cut_header() -> None:
    """A frame that ends inside its header says how much it needed."""
    for length in (45, 61, 69, 100):
        whole = header(length)
        for size in range(len(whole)):
            with pytest.raises(PflogError) as caught:
                Header.parse(whole[:size], "<")
            assert caught.value.available == size
            assert caught.value.needed == (len(whole) if size else 45)
