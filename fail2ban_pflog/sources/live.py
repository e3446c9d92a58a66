# SPDX-License-Identifier: GPL-2.0-or-later
"""Read frames from pf's log interface through libpcap.

The handle never blocks: the owner of the loop waits for its descriptor, then ``read``
takes what the kernel has.  While the interface is absent, and again when it
vanishes, opening it is tried anew with growing pauses.
"""

from __future__ import annotations

import logging
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from ..errors import PflogError
from ..pflog.header import NATIVE
from ..pflog.savefile import DLT_PFLOG, Record
from . import NOTICE, Report, bpf, nflog

__all__ = ["LINK_TYPE", "LiveSource"]

ON_OPENBSD = sys.platform.startswith("openbsd")

LINK_TYPE = DLT_PFLOG
"""What the interface's frames must be."""

SNAPLEN = 256
"""Bytes of a frame: the longest pflog header (100), IPv6 and its usual extension headers,
a TCP header with all its options; no payload is needed."""

BUFFER_SIZE = 2 << 20
"""Bytes that the kernel keeps for us: several thousand packets."""

DELIVERY_MS = 10
"""How long the kernel may collect packets before it hands them over."""

BATCH = 1024
"""Packets per read: a few milliseconds of work, so that a stop is noticed in between."""

PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to open the interface; the last one again and again."""

STATS_EVERY = 1.0
"""Seconds between questions to the kernel how many packets it dropped."""

CALM = 600.0
"""Seconds without a drop after which new ones are warned about again."""

_ACTIVATE = {  # pcap/pcap.h
    -5: "there is no such interface (yet)",
    -8: "no permission to capture; fail2ban's server must run as root",
    -9: "the interface is not up",
    -11: "no permission to capture in promiscuous mode",
}

_META = struct.Struct("=IIII")  # seconds, microseconds, offset, captured length


class LiveSource:
    """Listen on one interface.

    Args:
        interface: Its name, pflog0 as a rule.
        report: Called once for each thing that an administrator should know.
        expression: The administrator's filter; a wrong one is reported and nothing is read.  Of
            an NFLOG group it is applied to the frames here, for libpcap compiles none.
        kernel_filters: What can be left in the kernel besides, the best first: libpcap takes the
            first that it understands, and none where it does not know pf.
        snaplen: Bytes kept of a frame.
        buffer_size: Bytes that the kernel keeps.
        clock: Returns seconds that only go forward.

    Attributes:
        state: What it is doing, in words.
        dropped: Packets that the kernel had no room for, over all handles.
        filter_expression: What the kernel selects by; "" where it hands over every packet.
    """

    def __init__(
        self,
        interface: str,
        report: Report,
        *,
        expression: str = "",
        kernel_filters: Sequence[str] = (),
        snaplen: int = SNAPLEN,
        buffer_size: int = BUFFER_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interface = interface
        self.state = f"waiting for {interface}"
        self.dropped = 0
        self.filter_expression = ""
        self.byteorder = NATIVE
        self._nflog: Optional[nflog.Group] = None
        self._matches: Optional[Callable[[bytes], bool]] = None
        self._link_type = LINK_TYPE
        if nflog.group(interface) is not None:
            self._nflog = nflog.Group(interface, self.byteorder)
            self._link_type, kernel_filters = nflog.DLT_NFLOG, ()
        self._report = report
        self._expression = expression
        self._kernel_filters = kernel_filters
        self._snaplen = snaplen
        self.buffer_size = buffer_size
        self._clock = clock
        self._handle: Any = None
        self._attempts = 0
        self._next_attempt = clock()
        self._next_stats = 0.0
        self._calm_at = 0.0
        self._dropped_before = 0  # what no handle counts any more
        self._counted = 0  # by the handle
        self._problem = ""

    @property
    def is_open(self) -> bool:
        """Whether packets can come."""
        return self._handle is not None

    def fileno(self) -> Optional[int]:
        """Return the descriptor to wait for, None while there is nothing to wait for."""
        return int(self._handle.getfd()) if self._handle is not None else None

    def select_by(self, kernel_filters: Sequence[str]) -> None:
        """Leave something else in the kernel from now on."""
        if kernel_filters == self._kernel_filters or self._nflog is not None:
            return
        self._kernel_filters = kernel_filters
        if self._handle is not None:
            self._count_drops(self._handle)  # a BSD begins anew with the filter
            try:
                self._set_filter(self._handle)
            except PflogError as error:
                self.close()
                self._wait_for_it(error.reason)

    def close(self) -> None:
        """Stop listening; the next ``read`` would begin again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._count_drops(handle)
            self._dropped_before, self._counted = self.dropped, 0
            handle.close()

    def read(self) -> list[Record]:
        """Return the packets that the kernel has now; [] where it has none."""
        if self._handle is None and not self._open():
            return []
        handle = self._handle
        try:
            if self._nflog is None:
                records = _take(handle)
            else:
                records = self._nflog.take(handle, BATCH, self._snaplen, _take)
            if self._matches is not None:
                records = [record for record in records if self._matches(record[2])]
            if self._clock() >= self._next_stats:
                self._next_stats = self._clock() + STATS_EVERY
                self._count_drops(handle)
        except Exception as error:  # PcapError, or whatever pcapy raises
            self.close()
            self._wait_for_it(f"{self.interface} is gone ({error}); waiting for it")
            return []
        return records

    def _open(self) -> bool:
        if self._clock() < self._next_attempt:
            return False
        handle = None
        try:
            pcapy = bpf.pcapy()
            handle = pcapy.create(self.interface)
            handle.set_snaplen(self._snaplen if self._nflog is None else nflog.SNAPLEN)
            handle.set_promisc(0)
            handle.set_timeout(DELIVERY_MS)
            handle.set_buffer_size(self.buffer_size)
            self._activate(handle)
            self._check_link_type(handle)
            self._set_filter(handle)
            handle.setnonblock(1)
        except Exception as error:  # ours, PcapError, or whatever pcapy raises
            if handle is not None:
                handle.close()
            waiting = f"waiting for {self.interface}: {error}"
            self._wait_for_it(error.reason if isinstance(error, PflogError) else waiting)
            return False
        self._handle = handle
        self._attempts = 0
        self.state = "listening"
        if self._problem:
            self._report(NOTICE, f"listening on {self.interface}")
            self._problem = ""
        return True

    def _activate(self, handle: Any) -> None:
        status = handle.activate()
        if status < 0:  # pcapy keeps libpcap's message to itself
            why = _ACTIVATE.get(status, f"libpcap's error {status}")
            if self._nflog is not None:
                why = self._nflog.refusal
            raise PflogError("pcap", 0, 0, f"waiting for {self.interface}: {why}")

    def _check_link_type(self, handle: Any) -> None:
        found = handle.datalink()
        if found != self._link_type:
            raise PflogError(
                "pcap",
                0,
                0,
                f"idle because {self.interface} has link type {found} instead of "
                f"{self._link_type}: it is no log interface of pf (pflog0, or what `ifconfig` "
                "shows as pflogN), nor of Linux (nflog:5)",
            )

    def _set_filter(self, handle: Any) -> None:
        self._matches = None
        if self._nflog is not None:
            try:
                self._matches = bpf.frame_filter(self._expression) if self._expression else None
            except PflogError as error:
                raise PflogError("bpf", 0, 0, f"idle because of the {error.reason}") from None
            return
        # Only pf's own frames know pf's own words.
        kernel_filters = self._kernel_filters if self._link_type == DLT_PFLOG else ()
        refused, own, failures = "", self._expression, bpf.failures()
        if ON_OPENBSD:  # whose libpcap has sixteen registers for `&` in a process
            kernel_filters = [each for each in kernel_filters if "&" not in each]
            own = self._compiled_once(own)
        for kernel_filter in (*kernel_filters, ""):
            self.filter_expression = bpf.join(kernel_filter, own) if kernel_filter else own
            try:
                if self.filter_expression:
                    handle.setfilter(self.filter_expression)
            except failures as error:
                if not kernel_filter:
                    reason = bpf.explain(own, error)
                    raise PflogError("bpf", 0, 0, f"idle because of the {reason}") from None
                refused = refused or bpf.explain(kernel_filter, error)
            else:
                break
        if refused and not kernel_filter:
            self._report(
                logging.WARNING,
                f"every packet of {self.interface} is copied, also those that cannot count: "
                + refused,
            )

    def _compiled_once(self, expression: str) -> str:
        """Return what of an expression the kernel is to be given, where compiling is limited."""
        if "&" not in expression:
            return expression
        try:
            self._matches = bpf.frame_filter(expression)
        except PflogError as error:
            raise PflogError("bpf", 0, 0, f"idle because of the {error.reason}") from None
        return ""

    def _wait_for_it(self, problem: str) -> None:
        pause = PAUSES[min(self._attempts, len(PAUSES) - 1)]
        self._attempts += 1
        self._next_attempt = self._clock() + pause
        self.state = problem
        if problem != self._problem:
            self._problem = problem
            self._report(logging.ERROR, problem)

    def _count_drops(self, handle: Any) -> None:
        """Ask the kernel; warn when drops start."""
        try:
            _, dropped, by_interface = handle.stats()
        except Exception:  # PcapError, or whatever pcapy raises
            return
        if ON_OPENBSD:  # it leaves the third figure unset
            by_interface = 0
        if dropped + by_interface < self._counted:
            self._dropped_before += self._counted
        self._counted = dropped + by_interface
        total = self._dropped_before + self._counted
        if total > self.dropped:
            if self._clock() >= self._calm_at:
                lost = total - self.dropped
                self._report(
                    logging.WARNING,
                    f"{self.interface}: the kernel dropped {lost} packets; a larger "
                    f"buffer= (now {self.buffer_size} bytes) or a narrower bpf= helps",
                )
            self._calm_at = self._clock() + CALM
            self.dropped = total


def _take(handle: Any) -> list[Record]:
    """Return at most BATCH packets that are there.

    Only pcapy-ng 2 has next_batch.  The pcapy of before, which systems have as packages
    (docs/install.md), gives one packet a call: more work for each, and all that it needs.
    """
    if hasattr(handle, "next_batch"):
        data, meta = handle.next_batch(BATCH)
        return [
            (seconds, microseconds, data[offset : offset + caplen])
            for seconds, microseconds, offset, caplen in _META.iter_unpack(meta)
        ]
    records: list[Record] = []
    while len(records) < BATCH:
        try:
            header, frame = handle.next()
        except Exception:  # of an NFLOG group that has no more
            if records:
                break
            raise
        if header is None:
            break
        records.append((*header.getts(), frame))
    return records
