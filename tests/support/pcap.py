# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for the module pcapy that a test steers."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from fail2ban_pflog.sources.live import LiveSource


class PcapError(Exception):
    """What pcapy raises."""


class BPFError(Exception):
    """What pcapy raises where it compiles an expression; no subclass of the other."""


class Handle:
    """What pcapy.create() returns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.filters: list[str] = []
        self.settings: dict[str, int] = {}
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("set_"):
            return lambda value: self.settings.__setitem__(name[4:], value)
        raise AttributeError(name)

    def activate(self) -> int:
        return self.world.activate

    def datalink(self) -> int:
        return self.world.linktype

    def setnonblock(self, value: int) -> None:
        self.settings["nonblock"] = value

    def setfilter(self, expression: str) -> None:
        for words, message in self.world.refused.items():
            if words in expression:
                raise PcapError(message)
        self.world.compile(expression)
        self.filters.append(expression)

    def next_batch(self, _count: int) -> tuple[bytes, bytes]:
        if self.world.gone:
            raise PcapError("The interface disappeared")
        frames, self.world.frames = self.world.frames, []
        meta, data = b"", b""
        for seconds, micros, frame in frames:
            meta += struct.pack("=IIII", seconds, micros, len(data), len(frame))
            data += frame
        return data, meta

    def stats(self) -> tuple[int, int, int]:
        return (0, self.world.dropped, self.world.unset)

    def getfd(self) -> int:
        return 7

    def close(self) -> None:
        self.closed = True


class World:
    """The module pcapy, and what its handles see."""

    PcapError, BPFError = PcapError, BPFError

    def __init__(self) -> None:
        self.activate = 0
        self.linktype = 117
        self.refused: dict[str, str] = {}
        self.gone = False
        self.frames: list[tuple[int, int, bytes]] = []
        self.dropped = self.unset = 0
        self.registers = 1 << 30
        self.handles: list[Handle] = []
        self.now = 0.0
        self.messages: list[str] = []

    def create(self, _interface: str) -> Handle:
        self.handles.append(Handle(self))
        return self.handles[-1]

    def compile(self, expression: str) -> None:
        """Take a register for each arithmetic operator, as OpenBSD's libpcap does."""
        self.registers -= expression.count("&")
        if self.registers < 0:
            raise BPFError("too many registers needed to evaluate expression")

    def BPFProgram(self, expression: str, _link_type: int) -> Any:  # noqa: N802 - pcapy's name
        """Compile an expression that takes frames of which it names the first letter."""
        self.compile(expression)
        return SimpleNamespace(filter=lambda frame: frame.decode()[0] in expression)

    def source(self, **options: Any) -> LiveSource:
        return LiveSource(
            "pflog0",
            lambda _level, message: self.messages.append(message),
            clock=lambda: self.now,
            **options,
        )
