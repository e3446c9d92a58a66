# SPDX-License-Identifier: GPL-2.0-or-later
"""Records decoded once for all jails, with alike packets of a source told as one run.

A flood is mostly repeats: one source, one target, again and again.  What a jail makes of
the second of them it makes of all others as well, as long as nothing else of that source
came in between; and what a mode lets be, whoever sent it, is let be a thousand times.  So a
jail looks at the first and the last packet of a run, and counts the rest; a test holds that
it comes to the same lines as packet by packet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, Optional

from .errors import PflogError
from .packet import TCP, Packet
from .savefile import Record
from .scan import Reason, reason

__all__ = ["SPAN", "Run", "runs"]

SPAN = 1
"""Seconds that a run spans at the most, so that no jail forgets within it what it has seen.
(Jails with a findtime of less look at each packet.)"""

_IP6 = 16


class Run:
    """Alike packets of one source.

    record, packet: the first; packet is None where the frame cannot be decoded.
    reason: what ``scan.reason`` says of each.
    last: the last record; ``record`` where there is but one.  more: how many come after the first.
    """

    __slots__ = ("last", "more", "packet", "reason", "record")

    def __init__(self, record: Record, packet: Optional[Packet], found: Optional[Reason]) -> None:
        self.record = self.last = record
        self.packet = packet
        self.reason = found
        self.more = 0


def runs(
    records: Iterable[Record],
    decode: Callable[[bytes], Packet],
    directions: frozenset[int],
    highest: int,
    prefix6_bytes: Optional[int],
) -> list[Run]:
    """Decode records, and put alike ones together.

    decode: raises PflogError for what is no frame.  directions: as ``scan.reason`` takes them.
    highest: the mode; what it lets be whoever sent it is one run for each reason.
    prefix6_bytes: how many bytes of an IPv6 source are one source; None: no other record is
    put together with another.
    """
    made: list[Run] = []
    latest: dict[bytes, Run] = {}
    let_be: dict[Reason, Run] = {}
    for record in records:
        frame = record[2]
        try:
            packet = decode(frame)
        except PflogError:
            made.append(Run(record, None, None))
            continue
        found = reason(packet, frame, directions)
        if found.rank > highest and found.asks > highest:
            before = let_be.get(found)
            if before is None:
                let_be[found] = run = Run(record, packet, found)
                made.append(run)
            else:
                before.more += 1
            continue
        if prefix6_bytes is None:
            made.append(Run(record, packet, found))
            continue
        source = packet.source
        if len(source) == _IP6:
            source = source[:prefix6_bytes]
        before = latest.get(source)
        if (
            before is not None
            and before.reason is found
            and _alike(before.packet, packet)
            and 0 <= record[0] - before.record[0] <= SPAN
        ):
            before.last = record
            before.more += 1
        else:
            latest[source] = run = Run(record, packet, found)
            made.append(run)
    return made


def _alike(one: Optional[Packet], two: Packet) -> bool:
    """Whether all that judging asks for is the same of two packets with the same reason."""
    return (
        one is not None
        and one.dport == two.dport
        and one.head is two.head
        and one.destination == two.destination
        and one.source == two.source
        and one.protocol == two.protocol
        and one.ttl == two.ttl
        and (one.protocol != TCP or (one.length == two.length and one.header == two.header))
    )
