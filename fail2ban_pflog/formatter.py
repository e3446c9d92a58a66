"""A pflog frame as one line of text, in tcpdump's words."""

from __future__ import annotations

import sys
from typing import Optional

from .header import AF_INET, AF_INET6, Header
from .wire.ip import ip4, ip6
from .wire.tcp import Conversations
from .wire.view import Truncated, View

__all__ = ["MAX_LINE", "NATIVE", "Formatter"]

NATIVE = "<" if sys.byteorder == "little" else ">"

MAX_LINE = 2048
"""Longest line: extension headers can hold a hundred addresses, a log must not."""

_CUT = " [...]"


class Formatter:
    """Prints frames.

    byteorder: of the header's fields that are in host order, ``<`` or ``>``.

    It remembers where TCP conversations started, as tcpdump does: use one Formatter
    per capture, from its start.
    """

    def __init__(self, byteorder: str = NATIVE) -> None:
        self._byteorder = byteorder
        self._conversations = Conversations()

    def line(self, frame: bytes, length: Optional[int] = None) -> str:
        """Print one frame: header, colon, packet; ASCII, one line, at most MAX_LINE long.

        frame: the bytes as captured.  length: how many they were on the wire; without
        it, lengths that the packet tells are believed.
        Raises PflogError when there is no pflog header, and for no bytes anything else.
        """
        header = Header.parse(frame, self._byteorder)
        line = f"{header.text}: {self._packet(frame, header, length)}"
        return line if len(line) <= MAX_LINE else line[: MAX_LINE - len(_CUT)] + _CUT

    def _packet(self, frame: bytes, header: Header, length: Optional[int]) -> str:
        start = header.start
        if length is not None:
            length -= start
        if header.af == AF_INET:
            decode = ip4
        elif header.af in AF_INET6:
            decode = ip6
        else:
            return f"unknown address family {header.af}, length {len(frame) - start}"
        view = View(frame, len(frame), "pflog")
        parts: list[str] = []
        try:
            parts.extend(decode(view, start, length, self._conversations))
        except Truncated:
            parts.append(f" [|{view.layer}]")
        return "".join(parts)
