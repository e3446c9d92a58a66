# SPDX-License-Identifier: GPL-2.0-or-later
"""The one exception that the core raises, and how what others wrote is told.

Every layer checks a length once and then reads fields that cannot fail; what is
too short, or not what the layer expects, becomes a ``PflogError``.  Any other
exception that leaves the core is a bug of ours.
"""

from __future__ import annotations

__all__ = ["PflogError", "printable"]


class PflogError(ValueError):
    """Bytes that are not what a layer expects.

    layer: which layer gave up: ``savefile``, ``record``, ``pflog``, ...
    needed: how many bytes that layer needed (0 where length is not the problem).
    available: how many bytes there were.
    reason: what is wrong, in words; made from the numbers where it is left out.
    """

    def __init__(self, layer: str, needed: int, available: int, reason: str = "") -> None:
        self.layer = layer
        self.needed = needed
        self.available = available
        self.reason = reason or f"needs {needed} bytes, there are {available}"
        super().__init__(f"{layer}: {self.reason}")


def printable(text: str) -> str:
    """Return a message without what could drive a terminal: a file may have any name."""
    return "".join(char if char.isprintable() else "?" for char in text)
