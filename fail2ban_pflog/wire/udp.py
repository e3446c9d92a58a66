# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP: ports and lengths; never what it carries."""

from __future__ import annotations

from .view import Endpoints, Text, Truncated, View

__all__ = ["udp"]

UDP = 17
HEADER_SIZE = 8
_MAX_LENGTH = 65_535  # longer only as an IPv6 jumbogram, whose UDP length is 0 (RFC 2675)


def udp(view: View, at: int, length: int, ip: Endpoints, fragmented: bool) -> Text:
    """Print a datagram of ``length`` bytes from ``at``."""
    view.layer = "udp"
    if not view.has(at, 4):
        if ip.protocol == UDP:
            yield f"{ip.source} > {ip.destination}: "
        raise Truncated
    sport, dport = view.u16(at), view.u16(at + 2)
    if ip.protocol == UDP:
        yield f"{ip.source}.{sport} > {ip.destination}.{dport}: "
    else:
        yield f"{sport} > {dport}: "
    if length < HEADER_SIZE:
        yield f"truncated-udp {length}"
        return
    own = view.u16(at + 4)
    if own == 0 and length > _MAX_LENGTH:
        own = length
    if own < HEADER_SIZE:
        yield f"truncated-udplength {own}"
        return
    view.need(at, HEADER_SIZE)
    own -= HEADER_SIZE
    length -= HEADER_SIZE
    if own > length and not fragmented:
        yield f"UDP, bad length {own} > {length}"
    else:
        yield f"UDP, length {own}"
