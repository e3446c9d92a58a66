# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter's options, beyond the samples in files/logs/pflog."""

from __future__ import annotations

import pytest

from fail2ban_pflog.formatter import Formatter

from .support.filters import Pflog
from .support.packets import HOST6, SOURCE, SOURCE6, SYN, frame, segment, tcp, udp


def line(packet: bytes) -> str:
    return Formatter("<").line(packet)


@pytest.mark.parametrize("mode", ["normal", "aggressive", "any"])
def test_destination_selects_in_every_mode(mode: str) -> None:
    """Only packets to the destination count, also behind extension headers."""
    pflog = Pflog(mode=mode, destination="10.99.0.2|fd99::2")
    behind = b"\6\0\1\4" + bytes(4) + segment(40000, 22, SYN)
    for packet in (
        tcp(40000, 22, SYN),
        udp(40000, 161),
        tcp(40000, 22, SYN, SOURCE6),
        frame(60, behind, SOURCE6),
    ):
        assert line(packet) in pflog
    for packet in (
        tcp(40000, 22, SYN, SOURCE, "10.99.0.22"),
        udp(40000, 161, SOURCE, "110.99.0.2"),
        tcp(40000, 22, SYN, SOURCE6, "fd99::22"),
        frame(60, behind, SOURCE6, "fd99::22"),
    ):
        assert line(packet) not in pflog


def test_the_source_is_who_counts() -> None:
    """IPv4 and IPv6 addresses are found without their port."""
    pflog = Pflog()
    assert pflog.source(line(tcp(40000, 22, SYN))) == SOURCE
    assert pflog.source(line(tcp(40000, 22, SYN, SOURCE6, HOST6))) == SOURCE6


def test_options_combine() -> None:
    """A packet counts where all options agree."""
    pflog = Pflog(interface="vtnet1", rule="7", direction="in|out")
    rule, interface = {"rule": 7}, {"ifname": "vtnet1"}
    assert line(tcp(40000, 22, SYN, **rule, **interface)) in pflog
    assert line(tcp(40000, 22, SYN, **rule, **interface, direction=2)) in pflog
    assert line(tcp(40000, 22, SYN, **rule)) not in pflog
    assert line(tcp(40000, 22, SYN, **interface)) not in pflog
