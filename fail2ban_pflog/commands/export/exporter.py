# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of one host, one after the other: read, judged, written.

The policy knows a source by what it did before, and a jail reads on when a file is rotated.
So each capture is judged behind the one before it; where that was not just exported, it is
read for its last hour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ...errors import PflogError
from ...pflog.fields import measures
from ...pflog.packet import Decoder
from ...pflog.savefile import Record
from ...policy.dedup import Dedup
from ...policy.history import HORIZON
from ...sources.captures import Captures, is_stream
from .columns import Row
from .parts import Parts
from .store import Capture, identity, stamp

__all__ = ["Exporter"]


class Exporter:
    """Writes captures' parts.

    root: the host's directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._policy: Dedup[None] = Dedup()
        self._last: Optional[str] = None  # what the policy has seen
        self._decoders = {order: Decoder(order).packet for order in "<>"}

    def export(self, name: str, before: Optional[str] = None) -> Capture:
        """Write the parts of a capture, under their temporary names.

        before: the capture before it.  Raises OSError where nothing can be written.
        """
        seen = None if is_stream(name) else stamp(name)
        told: list[str] = []
        captures = Captures([name], told.append)
        batches = iter(captures)
        batch = next(batches, None)
        if batch is None:
            return Capture(name, "", None, 0, 0, bool(captures.bad), [], told)
        start = batch.records[0]
        self._prepare(before, start[0])
        self._last = None
        packets = undecodable = 0
        damaged = False
        parts = Parts(self._root, identity(start))
        try:
            while batch is not None:
                packets += len(batch.records)
                undecodable += self._take(batch.records, batch.byteorder, parts)
                batch = next(batches, None)
        except PflogError as error:
            told.append(f"{name}: {error.reason}; the rest of it is skipped")
            damaged = True
        parts.close()
        self._last = name
        if undecodable:
            told.append(f"{name}: {undecodable:,} frames could not be decoded")
        if seen is not None and stamp(name) != seen:  # it grew, or was rotated: done anew next time
            seen = None
        damaged = damaged or captures.bad > 0
        return Capture(name, identity(start), seen, packets, start[0], damaged, parts.done, told)

    def _prepare(self, before: Optional[str], begin: int) -> None:
        """Let the policy see what came before."""
        if before is not None and before == self._last:
            return
        self._policy = Dedup()
        if before is None:
            return
        why = self._policy.why
        for byteorder, records in Captures([before], lambda _: None):
            decode = self._decoders[byteorder]
            for seconds, microseconds, frame in records:
                if begin - HORIZON <= seconds <= begin:
                    try:
                        packet = decode(frame)
                    except PflogError:
                        continue
                    why(seconds + microseconds / 1e6, packet.source, packet, frame)

    def _take(self, records: list[Record], byteorder: str, parts: Parts) -> int:
        """Add packets to their days' parts; returns how many could not be decoded."""
        decode, why = self._decoders[byteorder], self._policy.why
        undecodable = 0
        begin = end = 0  # of the day whose rows these are
        rows: list[Row] = []
        for seconds, microseconds, frame in records:
            try:
                packet = decode(frame)
            except PflogError:
                undecodable += 1
                continue
            if not begin <= seconds < end:
                begin, end, rows = parts.day(seconds)
            reason = why(seconds + microseconds / 1e6, packet.source, packet, frame)
            rows.append((seconds, microseconds, frame, packet, measures(packet, frame), reason))
        parts.settle()
        return undecodable
