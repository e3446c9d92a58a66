# SPDX-License-Identifier: GPL-2.0-or-later
"""Listening to an NFLOG group, and following a savefile of one."""

from __future__ import annotations

import os
import socket
from errno import EAGAIN
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.sources import bpf, live, nflog, shared
from fail2ban_pflog.sources.follow import Follower
from fail2ban_pflog.sources.live import LiveSource
from fail2ban_pflog.sources.nflog import group, holder
from fail2ban_pflog.sources.shared import Listener
from tests.support.nflog import CAPTURE
from tests.support.nflog import nflog as packet
from tests.support.pcap import Handle, PcapError, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A pcapy with a group, which raises where there is no packet, and gives one a read."""
    world = World()
    world.linktype = 239

    def one(_handle: Handle, _count: int) -> tuple[bytes, bytes]:
        if not world.frames:
            raise PcapError(f"Can't receive packet: {os.strerror(EAGAIN)}")
        rest, world.frames = world.frames[1:], world.frames[:1]
        try:
            return batch(_handle, _count)
        finally:
            world.frames = rest

    batch = Handle.next_batch
    monkeypatch.setattr(Handle, "next_batch", one)
    monkeypatch.setattr(bpf, "pcapy", lambda: world)
    monkeypatch.setattr(shared, "_INTERFACES", {})
    monkeypatch.setattr(bpf, "frame_filter", lambda words: lambda frame: words.encode() in frame)
    return world


def source(world: World, **options: Any) -> LiveSource:
    return LiveSource("nflog:5", lambda _level, message: world.messages.append(message), **options)


def heads(records: list[tuple[int, int, bytes]]) -> list[str]:
    return [Decoder("<").packet(frame).head.text for _, _, frame in records]


def test_reads_what_is_there_and_converts_it(world: World) -> None:
    """One packet a message makes one batch; where none is there the read gives none."""
    index, name = socket.if_nameindex()[0]
    world.frames = [(5, 6, packet(index=index)), (7, 8, packet(bytes(2000)))]
    listening = source(world, kernel_filters=["inbound"])
    records = listening.read()
    assert [record[:2] for record in records] == [(5, 6), (7, 8)]
    assert heads(records[:1]) == [f"rule 0.drop-in.0/0(match): block in on {name}: "]
    assert len(records[1][2]) == live.SNAPLEN
    assert (listening.read(), listening.state, world.messages) == ([], "listening", [])
    assert world.handles[0].filters == []  # libpcap has none for this link type
    assert world.handles[0].settings["snaplen"] == nflog.SNAPLEN


def test_older_pcapy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without next_batch, what came before the lack of packets was raised is not lost."""

    class Header:
        def getts(self) -> tuple[int, int]:
            return (5, 6)

    def one(_handle: Handle) -> tuple[Any, bytes]:
        if not world.frames:
            raise PcapError(os.strerror(EAGAIN))
        return Header(), world.frames.pop(0)[2]

    monkeypatch.delattr(Handle, "next_batch")
    monkeypatch.setattr(Handle, "next", one, raising=False)
    world.frames = [(0, 0, packet())] * 3
    listening = source(world)
    assert [record[:2] for record in listening.read()] == [(5, 6)] * 3
    assert (listening.read(), listening.state) == ([], "listening")


def test_a_flood_is_read_in_pieces(world: World) -> None:
    """A read ends after BATCH packets, so that a stop is noticed."""
    world.frames = [(5, 6, packet())] * (live.BATCH + 1)
    listening = source(world)
    assert [len(listening.read()) for _ in range(3)] == [live.BATCH, 1, 0]


def test_other_errors_reopen_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is no lack of packets closes the handle; packets before it are not lost."""
    world.frames = [(5, 6, packet())]
    listening = source(world)

    def fails(_handle: Handle, _count: int) -> tuple[bytes, bytes]:
        raise PcapError("Message truncated")

    assert len(listening.read()) == 1
    monkeypatch.setattr(Handle, "next_batch", fails)
    assert listening.read() == []
    assert "nflog:5 is gone (Message truncated)" in listening.state


@pytest.mark.parametrize(
    ("listeners", "why"),
    [
        ("    5   4711     0 2 65531    100  1\n", "another program listens to it already"),
        ("    6   4711     0 2 65531    100  1\n", "no permission"),
    ],
)
def test_refusal_is_explained(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listeners: str, why: str
) -> None:
    """libpcap gives no reason; the kernel's list of listeners shows whether the group is taken."""
    path = tmp_path / "nfnetlink_log"
    path.write_text(listeners)
    monkeypatch.setattr(nflog, "holder", lambda number: holder(number, path))
    world.activate = -1
    listening = source(world)
    assert listening.read() == []
    assert f"waiting for nflog:5: {why}" in listening.state


def test_expression_is_applied_to_the_frames(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """bpf= selects by the converted frame; one that libpcap refuses leaves the source idle."""
    world.frames = [(1, 0, packet(prefix=b"one")), (2, 0, packet(prefix=b"two"))]
    assert [record[0] for record in source(world, expression="two").read()] == [2]

    def refused(_words: str) -> None:
        raise PflogError("bpf", 0, 0, "filter expression 'x': syntax error")

    monkeypatch.setattr(bpf, "frame_filter", refused)
    assert "idle because of the filter expression 'x'" in _state(source(world, expression="x"))


def _state(listening: LiveSource) -> str:
    listening.read()
    return listening.state


def test_jails_with_other_expressions_share_a_group(world: World) -> None:
    """The kernel has one listener for a group; each jail gets what its expression selects."""
    jails = [
        Listener(
            "nflog:5",
            lambda _level, message: world.messages.append(message),
            expression=expression,
            kernel_filters=(),
            breadth=0,
            buffer_size=1000,
        )
        for expression in ("one", "two", "")
    ]
    world.frames = [(1, 0, packet(prefix=b"one")), (2, 0, packet(prefix=b"two"))]
    found = [[record[0] for chunk in iter(jail.read, []) for record in chunk] for jail in jails]
    assert found == [[1], [2], [1, 2]]
    assert len(world.handles) == 1
    for jail in jails:
        jail.close()


def test_names_of_groups() -> None:
    """``nflog`` is group 0; everything else is no group."""
    names = ("nflog", "nflog:5", "nflog:65535", "pflog0", "nflog:", "nflog:x", "nflog5")
    assert [group(name) for name in names] == [0, 5, 65535, None, None, None, None]


def test_savefile_is_followed(tmp_path: Path) -> None:
    """What `tcpdump -i nflog:5 -w` writes is followed while it grows, and from its place on."""
    data, path = CAPTURE.read_bytes(), tmp_path / "nflog.pcap"
    path.write_bytes(data[:3000])
    follower = Follower(path, lambda _level, message: pytest.fail(message))
    first = [record for chunk in iter(follower.read, []) for record in chunk]
    place = follower.place
    assert place is not None
    path.write_bytes(data)
    second = [record for chunk in iter(follower.read, []) for record in chunk]
    assert len(first) + len(second) == 42
    assert set(heads(first)) == {"rule 0.drop-in.0/0(match): block in on if2: "}
    again = Follower(path, lambda _level, _message: None, recall=dict([place]).get)
    assert [record for chunk in iter(again.read, []) for record in chunk] == second
