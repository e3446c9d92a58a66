# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses: their text, and the network that one source is counted as."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["IP6_BYTES", "address", "source_of"]

IP6_BYTES = 16

MAX_ADDRESSES = 8192
"""Texts of addresses that are kept, for the packets that take the long way."""


@lru_cache(MAX_ADDRESSES)
def address(raw: bytes) -> str:
    """Return the text of an IPv4 (4 bytes) or IPv6 (16 bytes) address, as tcpdump writes it."""
    if len(raw) == 4:
        return "{}.{}.{}.{}".format(*raw)
    if not any(raw[:10]) and (
        raw[10:12] == b"\xff\xff" or (raw[10:12] == b"\0\0" and any(raw[12:14]))
    ):
        mapped = "ffff:" if raw[10] else ""
        return "::{}{}.{}.{}.{}".format(mapped, *raw[12:])
    words = [f"{raw[i] << 8 | raw[i + 1]:x}" for i in range(0, 16, 2)]
    start, count = _longest_zero_run(words)
    if count < 2:
        return ":".join(words)
    return ":".join(words[:start]) + "::" + ":".join(words[start + count :])


def _longest_zero_run(words: list[str]) -> tuple[int, int]:
    """Return index and count of the first longest run of zeros."""
    best = (0, 0)
    start = 0
    for index, word in enumerate([*words, "end"]):
        if word != "0":
            if index - start > best[1]:
                best = (start, index - start)
            start = index + 1
    return best


def source_of(raw: bytes, bytes4: int, bytes6: int) -> bytes:
    """Return the network that an address is counted as, with zeros behind its prefix.

    Args:
        raw: 4 or 16 bytes.
        bytes4: how many bytes of an IPv4 address are one source.
        bytes6: how many bytes of an IPv6 address are one source.
    """
    size = len(raw)
    kept = bytes6 if size == IP6_BYTES else bytes4
    return raw if kept >= size else raw[:kept] + bytes(size - kept)
