# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel leaves out: pcap-filter expressions for each mode.

Left out is what pf passed or what did not come in, and in ``normal`` the plain TCP segments with
ACK or RST: of IPv4 without options (``tcp[13]`` needs 34 bytes, and a filter that reads behind the
end refuses the packet); of IPv6 pcap-filter knows nothing on Linux.  What goes out, was passed and
opens a connection is kept (see ``questions``): it is there only where a rule logs it.

``inbound`` reads the direction where headers of 61 bytes and more have it.  Old libpcaps (1.9.1)
have no ``action scrub``; OpenBSD's loses one of 16 registers for each ``&`` that it compiles, so
flags are compared whole.
"""

from __future__ import annotations

__all__ = ["KERNEL_FILTERS"]

_DROPPED = "(inbound and (not action pass or not reason match))"
_FLAGS = " or ".join(f"tcp[13] = {flags}" for flags in (0x10, 0x18, 0x11, 0x19, 0x04, 0x14))
_LATE = f"(ip[0] = 0x45 and ip[9] = 6 and ip[2:2] >= 40 and ({_FLAGS}))"
_ASKED = (
    "(outbound and action pass and reason match"
    " and not (ip[9] = 6 and tcp[13] != 0x02 and tcp[13] != 0xc2))"
)
_ALL = f"{_DROPPED} or {_ASKED}"
KERNEL_FILTERS = {
    "normal": (f"({_DROPPED} and not {_LATE}) or {_ASKED}", _ALL),
    "aggressive": (_ALL,),
    "any": (_ALL,),
}
"""Mode -> pcap-filter expressions that drop only what the mode never asks for, best first."""
