# SPDX-License-Identifier: GPL-2.0-or-later
"""The captured bytes of one packet, read with every length checked.

Offsets count from the start of the frame.  ``end`` is where the bytes end that a
decoder may read: the end of the capture, or of the IP packet where that is sooner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..pflog.address import address

__all__ = ["Endpoints", "Text", "Truncated", "View"]

Text = Iterator[str]
"""The pieces of a line, in order."""


class Truncated(Exception):  # noqa: N818 - no error: the snaplen's usual effect
    """A field is behind the end of the captured bytes."""


class View:
    """The bytes of a frame up to ``end``, and what the decoders have in common.

    Attributes:
        layer: the protocol that is being read, as `` [|layer]`` will name it.
    """

    __slots__ = ("data", "end", "layer")

    def __init__(self, data: bytes, end: int, layer: str) -> None:
        self.data = data
        self.end = end
        self.layer = layer

    def has(self, at: int, count: int) -> bool:
        """Return whether ``count`` bytes from ``at`` may be read."""
        return at + count <= self.end

    def need(self, at: int, count: int) -> None:
        """Raise Truncated unless ``count`` bytes from ``at`` may be read."""
        if at + count > self.end:
            raise Truncated

    def raw(self, at: int, count: int) -> bytes:
        """Read ``count`` bytes; raises Truncated, as all of these do."""
        if at + count > self.end:
            raise Truncated
        return self.data[at : at + count]

    def u8(self, at: int) -> int:
        """Read an unsigned byte."""
        if at >= self.end:
            raise Truncated
        return self.data[at]

    def u16(self, at: int) -> int:
        """Read an unsigned number of 2 bytes in network order."""
        return int.from_bytes(self.raw(at, 2), "big")

    def u32(self, at: int) -> int:
        """Read an unsigned number of 4 bytes in network order."""
        return int.from_bytes(self.raw(at, 4), "big")

    def ip4(self, at: int) -> str:
        """Read an IPv4 address as text."""
        return address(self.raw(at, 4))

    def ip6(self, at: int) -> str:
        """Read an IPv6 address as text."""
        return address(self.raw(at, 16))


class Endpoints(NamedTuple):
    """What a transport protocol needs of the IP header around it.

    Attributes:
        protocol: the IP header's own protocol or next header; where it is not the
            transport's, other headers come between and the addresses were printed before.
        key: the addresses of source and destination.
    """

    version: int
    source: str
    destination: str
    protocol: int
    ttl: int
    key: tuple[bytes, bytes]
