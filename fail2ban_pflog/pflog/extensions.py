# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv6 extension headers: which there are, and where the next one starts."""

from __future__ import annotations

__all__ = [
    "DESTINATION",
    "EXTENSIONS",
    "FRAGMENT",
    "HOP_BY_HOP",
    "KNOWN_ROUTING",
    "ROUTING",
    "size_of",
]

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION})
"""Headers that are walked over; AH (51) is none of them, as in tcpdump."""

KNOWN_ROUTING = frozenset({0, 2, 4})


def size_of(kind: int, data: bytes, at: int) -> int:
    """Return the size of an extension header in bytes.

    Args:
        kind: one of ``EXTENSIONS``.
        data: holds at least the first 4 bytes of the header.
        at: where the header starts.

    Returns:
        0 for a routing header of an unknown type or an odd length: nothing behind it
        can be decoded.
    """
    if kind == FRAGMENT:
        return 8
    words = data[at + 1]
    if kind == ROUTING and (data[at + 2] not in KNOWN_ROUTING or words & 1):
        return 0
    return (words + 1) * 8
