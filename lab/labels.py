# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures with labels: packets that a firewall dropped, and what each source is.

NAME.live.pcap      as a live reader of pflog0 sees them
NAME.pflogd.pcap    cut at 116 bytes, as FreeBSD's pflogd writes them
NAME.labels.json    address -> kind, what it did, how many ports, targets and packets of it
                    were dropped; a target is a protocol and port of one host,
                    or a protocol without ports
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Union

__all__ = ["Dropped", "Label", "destination_of", "source_of", "target_of", "write"]

SNAPLEN = 116
"""What FreeBSD's pflogd keeps of a frame."""

_WITH_PORTS = (6, 17, 132)


class Dropped(NamedTuple):
    """A packet that the firewall dropped: seconds since the epoch, direction, from IP on.

    passed: whether it was not dropped, but logged all the same.
    """

    time: float
    inbound: bool
    packet: bytes
    passed: bool = False


class Label(NamedTuple):
    """What a source is and did."""

    kind: str
    what: str


def source_of(packet: bytes) -> str:
    """Return the source address of an IP packet, as text."""
    return str(ip_address(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]))


def destination_of(packet: bytes) -> bytes:
    """Return the destination address of an IP packet."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


def target_of(packet: bytes) -> str:
    """Return protocol and, where there plainly is one, destination port: ``6/22``, ``1/``."""
    four = packet[0] >> 4 == 4
    protocol, at = (packet[9], (packet[0] & 15) * 4) if four else (packet[6], 40)
    if protocol not in _WITH_PORTS or (four and packet[6] & 0x1F | packet[7]):
        return f"{protocol}/"
    return f"{protocol}/{int.from_bytes(packet[at + 2 : at + 4], 'big')}"


def pflog(packet: bytes, inbound: bool, passed: bool = False) -> bytes:
    """Put FreeBSD 14's header before an IP packet: rule 0 blocked or passed it on vtnet0."""
    family = 2 if packet[0] >> 4 == 4 else 28
    header = struct.pack(
        ">BBBB16s16sII", 69, family, not passed, 0, b"vtnet0", b"", 0, 0xFFFFFFFF
    ) + struct.pack("<IiIi", 0xFFFFFFFF, 100000, 0, 0)
    return header + struct.pack(">BxxxI4x", 1 if inbound else 2, 0) + packet


def write(stem: Path, dropped: Iterable[Dropped], labels: Mapping[str, Label]) -> None:
    """Write the two savefiles and the labels; STEM's folder is made.

    labels: source -> what it is; a source of which nothing was dropped stays in.
    """
    ports: dict[str, set[str]] = defaultdict(set)
    targets: dict[str, set[tuple[bytes, str]]] = defaultdict(set)
    packets: dict[str, int] = defaultdict(int)
    records = sorted(dropped)
    for _, _, packet, passed in records:
        source = source_of(packet)
        if passed:
            continue
        packets[source] += 1
        target = target_of(packet)
        targets[source].add((destination_of(packet), target))
        if not target.endswith("/"):
            ports[source].add(target)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for form, snaplen in (("live", 65535), ("pflogd", SNAPLEN)):
        with stem.with_name(f"{stem.name}.{form}.pcap").open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, 117))
            for time, inbound, packet, passed in records:
                whole, micros = divmod(round(time * 1_000_000), 1_000_000)
                frame = pflog(packet, inbound, passed)
                cut = frame[:snaplen]
                file.write(struct.pack("<IIII", whole, micros, len(cut), len(frame)) + cut)
    labelled: dict[str, dict[str, Union[str, int]]] = {
        source: {
            **labels[source]._asdict(),
            "distinct_ports_blocked": len(ports[source]),
            "distinct_targets_blocked": len(targets[source]),
            "packets_blocked": packets[source],
        }
        for source in sorted(set(packets) | set(labels))
    }
    stem.with_name(f"{stem.name}.labels.json").write_text(json.dumps(labelled, indent=1) + "\n")
