# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of one host, one after the other: read, classified, written.

The policy knows a source by what it did before, and a jail reads on when a file is rotated.
So each capture is classified behind the one before it; where that was not just exported, it
is read for its last hour.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from ...errors import PflogError
from ...pflog.fields import measures
from ...pflog.packet import Decoder, Packet
from ...policy.classifier import Classifier
from ...policy.history import HORIZON
from ...pool import Link, Work
from ...sources.captures import Batch, Captures, is_stream
from .columns import Row
from .parts import Parts
from .store import Capture, identity, stamp

__all__ = ["Exporter", "start"]


def start(root: Path) -> Work[Sequence[tuple[str, Optional[str]]]]:
    """Return what exports captures of neighbouring times, in one of the pool's processes."""
    # A packet is some twenty objects that are gone at once, none of them in a cycle: looking
    # for cycles among them takes a third of the time.
    gc.disable()
    exporter = Exporter(root)

    def work(tasks: Sequence[tuple[str, Optional[str]]], link: Link) -> None:
        for task in tasks:
            link.send(exporter.export(*task))

    return work


class Exporter:
    """Writes captures' parts below a host's directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._classifier = Classifier()
        self._last: Optional[str] = None  # the capture that the policy has seen
        self._decoders = {order: Decoder(order).packet for order in "<>"}

    def export(self, name: str, before: Optional[str] = None) -> Capture:
        """Write the parts of a capture, under their temporary names.  May raise OSError.

        Args:
            name: The capture.
            before: The capture before it.
        """
        seen = None if is_stream(name) else stamp(name)
        messages: list[str] = []
        captures = Captures([name], messages.append)
        batches = iter(captures)
        batch = next(batches, None)
        if batch is None:
            return Capture(name, "", None, 0, 0, bool(captures.bad), [], messages)
        first = batch.records[0]
        self._prepare(before, first[0])
        self._last = None
        packets = undecodable = 0
        damaged = False
        parts = Parts(self._root, identity(first))
        try:
            while batch is not None:
                packets += len(batch.records)
                undecodable += self._take(batch, parts)
                batch = next(batches, None)
        except PflogError as error:
            messages.append(f"{name}: {error.reason}; the rest of it is skipped")
            damaged = True
        parts.close()
        self._last = name
        if undecodable:
            messages.append(f"{name}: {undecodable:,} frames could not be decoded")
        if seen and stamp(name) != seen:  # it grew, or was rotated: done anew next time
            seen = None
        return Capture(
            name, identity(first), seen, packets, first[0],
            damaged or captures.bad > 0, parts.done, messages,
        )  # fmt: skip

    def _prepare(self, before: Optional[str], begin: int) -> None:
        """Let the policy see what came before."""
        if before is not None and before == self._last:
            return
        self._classifier = Classifier()
        for batch in Captures([before] if before else [], lambda _: None):
            for seconds, microseconds, frame, packet in self._packets(batch):
                if begin - HORIZON <= seconds <= begin:
                    self._classifier.kind(seconds + microseconds / 1e6, packet, frame)

    def _packets(self, batch: Batch) -> Iterator[tuple[int, int, bytes, Packet]]:
        decode = self._decoders[batch.byteorder]
        for seconds, microseconds, frame in batch.records:
            try:
                yield seconds, microseconds, frame, decode(frame)
            except PflogError:
                continue

    def _take(self, batch: Batch, parts: Parts) -> int:
        """Add packets to their days' parts; returns how many could not be decoded."""
        classify = self._classifier.kind
        decoded = begin = end = 0
        rows: list[Row] = []
        for seconds, microseconds, frame, packet in self._packets(batch):
            decoded += 1
            if not begin <= seconds < end:
                begin, end, rows = parts.day(seconds)
            kind = classify(seconds + microseconds / 1e6, packet, frame)
            rows.append((seconds, microseconds, frame, packet, measures(packet, frame), kind))
        parts.settle()
        return len(batch.records) - decoded
