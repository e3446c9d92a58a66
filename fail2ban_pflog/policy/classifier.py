# SPDX-License-Identifier: GPL-2.0-or-later
"""Classify a jail's packets: the one place that knows what a packet is and whether it counts.

A packet's own kind comes from ``classify``; what its source did before may give it a better
one (``history``).  The mode says which kinds count.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..pflog.address import source_of
from ..pflog.packet import Packet
from .classify import classify, directions
from .history import History
from .kinds import ANSWER, MODES, QUESTION, Kind, Rank
from .questions import Questions

__all__ = ["Classifier"]


class Classifier:
    """Classifies the packets of one jail, in the order in which they came.

    Args:
        mode: ``normal``, ``aggressive`` or ``any``.
        direction: ``in``, ``out`` or ``in|out``, as the filter's option.
        prefix4, prefix6: how many bits of an address are one source, multiples of 8; a
            scanner commonly owns all addresses of an IPv6 /64.

    Attributes:
        key: equal for classifiers that give each packet the same kind before its source's
            history is looked at.
        questions: what this host asked, where pf logs it.

    Raises:
        ValueError: an option has a value that does not exist.
    """

    def __init__(
        self, mode: str = "normal", direction: str = "in", prefix4: int = 32, prefix6: int = 128
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode={mode}: must be one of {', '.join(MODES)}")
        for name, bits, most in (("prefix4", prefix4, 32), ("prefix6", prefix6, 128)):
            if bits % 8 or not 8 <= bits <= most:
                raise ValueError(f"{name}={bits}: must be a multiple of 8, 8 to {most}")
        self.mode = mode
        self.rank = MODES[mode]
        self.directions = directions(direction)
        self._key = self.directions, self.rank, prefix4, prefix6
        self.key: Hashable = self._key
        self._bytes4, self._bytes6 = prefix4 // 8, prefix6 // 8
        self.history = History()
        self.questions = Questions()

    def source(self, address: bytes) -> bytes:
        """Return the address that a packet's source is counted as, 4 or 16 bytes."""
        return source_of(address, self._bytes4, self._bytes6)

    def kind(self, time: float, packet: Packet, frame: bytes) -> Kind:
        """Return what a packet is, and remember what its source did.

        Args:
            time: of the packet, seconds since the epoch.
            packet: what ``frame`` was decoded to.
            frame: with its pflog header.
        """
        return self.refine(time, packet, classify(packet, frame, self.directions), frame)

    def refine(self, time: float, packet: Packet, kind: Kind, frame: bytes) -> Kind:
        """Return the kind of a packet in the light of its source's history, or of this host's.

        Args:
            time: of the packet, seconds since the epoch.
            packet: the packet.
            kind: what ``classify`` returned for it.
            frame: what it was decoded from.
        """
        if kind is QUESTION:
            self.questions.note(time, packet, frame)
            self.key = (*self._key, True)
            return kind
        if self.questions and kind.rank < Rank.NEVER and self.questions.answers(time, packet):
            return ANSWER
        if kind.asks > self.rank:
            return kind
        return self.history.refine(time, self.source(packet.source), packet, kind)

    def counts(self, kind: Kind) -> bool:
        """Return whether the mode counts packets of this kind."""
        return kind.rank <= self.rank

    def is_decided(self, kind: Kind) -> bool:
        """Return whether packets of this kind never count, whatever their source did."""
        return kind.rank > self.rank and kind.asks > self.rank
