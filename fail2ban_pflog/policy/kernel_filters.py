# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel can leave out: pcap-filter expressions for each mode."""

from __future__ import annotations

__all__ = ["KERNEL_FILTERS"]

# What the kernel can leave out before anybody looks: whatever was not dropped or did not
# come in, and for `normal` the plain TCP segments with ACK or RST.  IPv4 without options
# only (0x45, tcp[13] needs 34 bytes and reading behind the end refuses a packet); of IPv6
# pcap-filter knows nothing on Linux.  `inbound` reads the direction where headers of 61
# bytes and more have it.  Old libpcaps (1.9.1) have no `action scrub`.
_DROPPED = "inbound and (not action pass or not reason match)"
_LATE = (
    "(ip[0] = 0x45 and ip[9] = 6 and ip[6:2] & 0x1fff = 0 and ip[2:2] >= 40"
    " and tcp[13] & 0x14 != 0)"
)
KERNEL_FILTERS = {
    "normal": (f"{_DROPPED} and not {_LATE}", _DROPPED, "inbound"),
    "aggressive": (_DROPPED, "inbound"),
    "any": (_DROPPED, "inbound"),
}
"""Mode -> pcap-filter expressions that drop only what the mode never counts, best first."""
