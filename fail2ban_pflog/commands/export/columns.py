# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets as Arrow columns: the documented fields of ``--json``, then what SQL needs besides.

What Python must do per packet is done by ``packet``, ``fields.measures`` and the policy;
everything else here is done per column.  pf's header and addresses recur: each becomes
text once per table, and the packets refer to it (dictionary columns).

Numbers are signed: Spark has no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import pyarrow as pa
import pyarrow.compute as pc

from ...pflog.address import address
from ...pflog.fields import PROTOCOLS, TCP_FLAGS, Measures
from ...pflog.header import Header
from ...pflog.packet import ICMP, ICMP6, NONE, TCP, Packet
from ...policy.kinds import KINDS, MODES, Kind

__all__ = ["SCHEMA", "Row", "table"]

Row = tuple[int, int, bytes, Packet, Measures, Kind]
"""Seconds, microseconds, frame; the packet and its measures; its kind."""

_WORDS = pa.dictionary(pa.int32(), pa.string())

_HEADER: dict[str, tuple[pa.DataType, Callable[[Header], Any]]] = {
    "action": (_WORDS, lambda head: head.action_name),
    "direction": (_WORDS, lambda head: head.direction_name),
    "reason": (_WORDS, lambda head: head.reason_name),
    "interface": (_WORDS, lambda head: head.interface),
    "rule": (pa.int64(), lambda head: head.rule),
    "subrule": (pa.int64(), lambda head: head.subrule),
    "ruleset": (_WORDS, lambda head: head.ruleset or None),
    "ridentifier": (pa.int64(), lambda head: head.ridentifier or None),
    "uid": (pa.int64(), lambda head: head.uid),
}
"""Columns of pf's header, and how each is found in it."""

SCHEMA = pa.schema(
    {"time": pa.timestamp("us", "UTC")}
    | {name: kind for name, (kind, _) in _HEADER.items()}
    | {"ip_version": pa.int16()}
    | dict.fromkeys(("source", "destination", "protocol"), _WORDS)
    | dict.fromkeys(("source_port", "destination_port"), pa.int32())
    | {"tcp_flags": pa.list_(pa.string())}
    | dict.fromkeys(("icmp_type", "icmp_code", "ttl"), pa.int16())
    | dict.fromkeys(("fragment_offset", "length", "payload_length", "captured_length"), pa.int32())
    | dict.fromkeys(("why", "mode", "source_network"), _WORDS)
)
"""Names and types, in order; ``host`` and ``day`` are in the file's path."""

_FLAGS = pa.array(
    [[name for bit, name in enumerate(TCP_FLAGS) if flags >> bit & 1] for flags in range(256)],
    pa.list_(pa.string()),
)
_NUMBER = {kind: number for number, kind in enumerate(KINDS.values())}
_WHY = pa.array(KINDS, pa.string())
_MODE = pa.array(
    [
        next((name for name, mode in MODES.items() if kind.rank <= mode), None)
        for kind in KINDS.values()
    ],
    pa.string(),
)


def table(rows: Sequence[Row]) -> pa.Table:
    """Return the columns of at least one packet."""
    seconds, microseconds, frames, packets, measured, whys = zip(*rows)
    icmp_code, fragment_offset, length, payload_length = zip(*measured)
    heads, sources, destinations, protocols, ttls, _, _, _, sports, dports, kinds, _, _ = zip(
        *packets
    )
    distinct = {head: number for number, head in enumerate(dict.fromkeys(heads))}
    which = pa.array([distinct[head] for head in heads], pa.int32())

    protocol = pa.array(protocols, pa.int16())
    known = pc.not_equal(protocol, NONE)  # or else it is no IP packet that makes sense
    source = _where(known, pa.array(sources, pa.binary())).dictionary_encode()
    kind = _number(kinds, pa.int16())
    is_tcp = pc.equal(protocol, TCP)
    is_icmp = pc.or_(pc.equal(protocol, ICMP), pc.equal(protocol, ICMP6))
    why = pa.array([_NUMBER[kind] for kind in whys], pa.int32())
    columns = {
        "time": pc.add(
            pc.multiply(pa.array(seconds, pa.int64()), 1_000_000),
            pa.array(microseconds, pa.int64()),
        ).cast(SCHEMA.field("time").type),
        **{
            name: _dictionary([find(head.header) for head in distinct], name).take(which)
            for name, (_, find) in _HEADER.items()
        },
        "ip_version": _where(
            known, pa.array([head.version for head in distinct], pa.int16()).take(which)
        ),
        "source": _words(source, address),
        "destination": _words(_where(known, pa.array(destinations, pa.binary())), address),
        "protocol": _words(_where(known, protocol), lambda each: PROTOCOLS.get(each, str(each))),
        "source_port": _number(sports, pa.int32()),
        "destination_port": _number(dports, pa.int32()),
        "tcp_flags": _FLAGS.take(_where(is_tcp, kind)),
        "icmp_type": _where(is_icmp, kind),
        "icmp_code": pa.array(icmp_code, pa.int16()),
        "ttl": _where(known, pa.array(ttls, pa.int16())),
        "fragment_offset": pa.array(fragment_offset, pa.int32()),
        "length": pa.array(length, pa.int32()),
        "payload_length": pa.array(payload_length, pa.int32()),
        "captured_length": pc.subtract(
            pa.array(list(map(len, frames)), pa.int32()),
            pa.array([head.start for head in distinct], pa.int32()).take(which),
        ),
        "why": pa.DictionaryArray.from_arrays(why, _WHY),
        "mode": _dictionary(_MODE, "mode").take(why),
        "source_network": _words(source, _network),
    }
    return pa.table(columns, SCHEMA)


def _where(mask: pa.Array, values: pa.Array) -> pa.Array:
    """Return the values where the mask holds, null elsewhere."""
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _number(values: Sequence[int], kind: pa.DataType) -> pa.Array:
    """Return numbers of packets, null where there is none."""
    array = pa.array(values, kind)
    return _where(pc.not_equal(array, NONE), array)


def _dictionary(values: Any, name: str) -> pa.Array:
    """Return values in a column's type."""
    kind = SCHEMA.field(name).type
    if kind != _WORDS:
        return pa.array(values, kind)
    return pa.array(values, pa.string()).dictionary_encode()


def _words(values: pa.Array, word: Callable[[Any], str]) -> pa.Array:
    """Return the values as text; each different one is converted once."""
    encoded = values.dictionary_encode()
    words = _dictionary([word(each) for each in encoded.dictionary.to_pylist()], "source")
    return words.take(encoded.indices)


def _network(address_: bytes) -> str:
    """Return the network that one owner commonly has: an IPv4 /24, an IPv6 /64."""
    if len(address_) == 4:
        return f"{address(address_[:3] + bytes(1))}/24"
    return f"{address(address_[:8] + bytes(8))}/64"
