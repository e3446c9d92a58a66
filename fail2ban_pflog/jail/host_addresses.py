# SPDX-License-Identifier: GPL-2.0-or-later
"""The addresses of this host's interfaces, which are never to be banned.

fail2ban before 1.1.1 knows only those that the host's name resolves to.  Here libc is asked
(getifaddrs(3)); where Python has no ctypes, ``ifconfig`` or ``ip`` is.  The answer is kept for
REFRESH seconds, as addresses come and go with DHCP and router advertisements.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Callable

__all__ = ["HostAddresses", "host_addresses", "read_addresses"]

REFRESH = 30.0
"""Seconds until the interfaces are read again."""

_PROGRAMS = (("ifconfig", "-a"), ("ip", "-o", "addr"))
_ADDRESS = re.compile(r"\binet6? (?:addr:)?([0-9a-f.:]+)")
_OFFSET = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}
"""Family -> where the address stands in a sockaddr, and its length: the same on all systems."""


class HostAddresses:
    """Keeps the addresses of all interfaces.

    Args:
        read: Returns the addresses as text.
        clock: Gives seconds that only go forward.
    """

    def __init__(
        self, read: Callable[[], frozenset[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._addresses: frozenset[str] = frozenset()
        self._expires = -1.0

    def __call__(self) -> frozenset[str]:
        """Return the addresses; those of before where they cannot be read now."""
        now = self._clock()
        if now >= self._expires:
            self._expires = now + REFRESH
            self._addresses = self._read() or self._addresses
        return self._addresses


def read_addresses() -> frozenset[str]:
    """Read the addresses of all interfaces; empty where nothing can read them."""
    try:
        return frozenset(_from_libc())
    except Exception:  # no ctypes, no such function, a sandbox
        return frozenset(_from_programs())


def _from_programs() -> list[str]:
    for program in _PROGRAMS:
        try:
            done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=5)
        except (OSError, subprocess.SubprocessError):
            continue
        if found := _ADDRESS.findall(done.stdout):
            return found
    return []


def _from_libc() -> Iterator[str]:
    import ctypes

    class Entry(ctypes.Structure):  # struct ifaddrs begins so on Linux, the BSDs and macOS
        pass

    Entry._fields_ = [
        ("next", ctypes.POINTER(Entry)),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_uint),
        ("address", ctypes.c_void_p),
    ]
    libc = ctypes.CDLL(None)
    first = ctypes.POINTER(Entry)()
    if libc.getifaddrs(ctypes.byref(first)):
        raise OSError("getifaddrs")
    try:
        entry = first
        while entry:
            if address := entry.contents.address:
                yield from _address(ctypes.string_at(address, 2), address, ctypes.string_at)
            entry = entry.contents.next
    finally:
        libc.freeifaddrs(first)


def _address(head: bytes, at: int, read: Callable[[int, int], bytes]) -> Iterator[str]:
    """Give the address in a sockaddr, if it is one of IP."""
    # On the BSDs a byte of length stands before the family's byte.
    family = int.from_bytes(head, sys.byteorder) if sys.platform == "linux" else head[1]
    if family in _OFFSET:
        offset, length = _OFFSET[socket.AddressFamily(family)]
        yield socket.inet_ntop(family, read(at + offset, length))


host_addresses = HostAddresses(read_addresses)
"""The addresses of the host that this runs on."""
