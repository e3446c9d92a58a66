# SPDX-License-Identifier: GPL-2.0-or-later
"""An NFLOG group of Linux as an interface: ``nflog:5``; ``pflog.nflog`` converts its packets.

libpcap differs here in four ways.  A read hands over what one message of the kernel holds, with
`queue-threshold 1` a single packet, and raises where there is none.  A message longer than the
snaplen and 128 bytes ends the capture, so the snaplen is the largest.  No filter expression
compiles, so whoever has one applies it to the converted frames.  One program alone may listen
to a group.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from pathlib import Path
from typing import Any, Callable, Optional

from ..pflog import nflog
from ..pflog.nflog import DLT_NFLOG
from ..pflog.savefile import Record

__all__ = ["DELIVERY", "DLT_NFLOG", "LISTENERS", "SNAPLEN", "Group", "group", "holder"]

SNAPLEN = 65535

DELIVERY = 0.01
"""Seconds in which packets collect before they are read, as the kernel does it for pflog0."""

NAMES_FOR = 1.0
"""Seconds for which an interface's name is believed: it may be renamed."""

LISTENERS = "/proc/net/netfilter/nfnetlink_log"

_NAME = re.compile(r"nflog(?::(\d{1,5}))?")
_AGAIN = os.strerror(errno.EAGAIN)


def group(interface: str) -> Optional[int]:
    """Return the group's number, None where the interface is another one."""
    match = _NAME.fullmatch(interface)
    return int(match[1] or 0) if match else None


def holder(number: int, listeners: Path = Path(LISTENERS)) -> Optional[int]:
    """Return the netlink port, mostly a process id, that listens to a group, None for nobody."""
    try:
        rows = [line.split() for line in listeners.read_text().splitlines()]
    except OSError:
        return None
    return next((int(row[1]) for row in rows if row[:1] == [str(number)]), None)


class Group:
    """Reads a group through a libpcap handle."""

    def __init__(self, interface: str, byteorder: str) -> None:
        self._interface = interface
        self._byteorder = byteorder
        self._names: dict[int, str] = {}
        self._names_until = 0.0

    @property
    def refusal(self) -> str:
        """Why libpcap could not open it, as far as that can be found out."""
        port = holder(group(self._interface) or 0)
        if port is not None:
            return f"another program listens to it already, netlink port {port}; choose a group"
        return "no permission (CAP_NET_ADMIN), or neither kernel nor libpcap has NFLOG"

    def take(
        self, handle: Any, most: int, snaplen: int, take: Callable[[Any], list[Record]]
    ) -> list[Record]:
        """Return about ``most`` packets that are there, with pflog frames.

        Args:
            handle: libpcap's.
            most: No further message is asked for once there are so many.
            snaplen: Bytes kept of a frame.
            take: Takes what one message holds.

        Raises:
            Exception: What pcapy raises for anything but a lack of packets.
        """
        raw: list[Record] = []
        while len(raw) < most:
            try:
                more = take(handle)
            except Exception as error:  # pcapy's own class
                if raw or _AGAIN in str(error):
                    break  # another error comes again with the next read
                raise
            if not more:
                break
            raw += more
        found = nflog.records(raw, self._byteorder, self._name)
        return [(seconds, micros, frame[:snaplen]) for seconds, micros, frame in found]

    def _name(self, index: int) -> str:
        now = time.monotonic()
        if now >= self._names_until:
            self._names, self._names_until = {}, now + NAMES_FOR
        if index not in self._names:
            try:
                self._names[index] = socket.if_indextoname(index)
            except (OSError, OverflowError):  # it is gone by now
                self._names[index] = nflog.number(index)
        return self._names[index]
