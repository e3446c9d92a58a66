# SPDX-License-Identifier: GPL-2.0-or-later
"""The work of a jail's thread: read the inputs, make lines, hand them to fail2ban one at a time.

A reload or a stop is noticed behind each line, and what was read and not counted by then is
given back to the inputs.  The server's thread waits for the line in progress, but not for long.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import Any

from fail2ban.helpers import getLogger
from fail2ban.server.mytime import MyTime

from ..options import short
from ..pipeline import Line, Pipeline
from ..policy.dedup import LATEST_FLUSH
from ..sources.shared import notify
from .inputs import Batch, Inputs
from .selfcheck import SelfCheck

__all__ = ["Loop"]

log = getLogger("fail2ban.filterpflog")

POLL = 0.25
"""Seconds between two looks at a savefile; also how long a stop may go unnoticed."""

PATIENCE = 1.0
"""Seconds that a reload or a stop waits for the line in progress, which may be with a command of
the administrator's: fail2ban's client is to be answered within two."""


class Loop:
    """Feeds one jail.

    Args:
        filter_: fail2ban's filter of the jail, which counts lines.
        pipeline: makes the lines.
        selfcheck: counts what comes and what becomes of it.

    Attributes:
        lag: seconds between a packet and its arrival here.
        is_introduced: whether the log says what is read, since the last reload.
        unexpected: the last error that was not expected, logged once; "" where all is well.
    """

    def __init__(self, filter_: Any, pipeline: Pipeline, selfcheck: SelfCheck) -> None:
        self._filter = filter_
        self._pipeline = pipeline
        self._selfcheck = selfcheck
        self.lag = 0.0
        self._due: deque[Line] = deque()  # lines that are to be counted
        self._caught_up = False  # everything was read once
        self._between_lines = threading.Event()
        self._between_lines.set()
        self._since = math.inf  # when the line in progress, or the stop, began
        self.is_introduced = False
        self._introduction = ""
        self.unexpected = ""
        self._wake = threading.Event()
        notify(self._wake)

    # -- for the server's thread ---------------------------------------------------------

    def stop(self) -> None:
        """Ask the thread to end; it is waited for from now on."""
        self._since = min(self._since, time.monotonic())
        self._filter.active = False
        self._wake.set()

    def wait_between_lines(self) -> None:
        """Wait until no line is in progress, if that does not take long."""
        self._between_lines.wait(self.patience)

    @property
    def patience(self) -> float:
        """Seconds for which the line in progress is still waited for."""
        return min(PATIENCE, max(0.0, self._since + PATIENCE - time.monotonic()))

    # -- for the jail's thread -----------------------------------------------------------

    def run(self) -> None:
        """Read and count until the jail is stopped, then close the inputs."""
        filter_ = self._filter
        while filter_.active:
            try:
                self._step()
                filter_.monitor.look()
                filter_.performSvc()
                filter_.ticks += 1
                self.unexpected = ""
            except BaseException as error:  # SystemExit, too: a thread that ends guards nothing
                self._log_unexpected(error)
                self._sleep(filter_.sleeptime)
        try:
            filter_.onStop()
        except Exception as error:
            self._log_unexpected(error)
        log.debug("[%s] filter terminated", filter_.jailName)

    def _step(self) -> None:
        filter_, inputs = self._filter, self._filter.inputs
        if filter_.idle or filter_.problem or inputs is None:
            self._selfcheck.excuse()
            self._sleep(POLL)
            return
        busy = filter_.poll(inputs)
        if not self.is_introduced:
            self.is_introduced = True
            counts = f"{filter_.getMaxRetry()} in {short(filter_.getFindTime())}"
            introduction = inputs.introduction(counts)
            if introduction != self._introduction:  # a reload that makes the jail anew starts it
                self._introduction = introduction
                filter_.report(logging.INFO, introduction)
        if not busy:
            inputs.wait(POLL, self._wake.wait)
            self._wake.clear()

    def _sleep(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _log_unexpected(self, error: BaseException) -> None:
        if self.unexpected != repr(error):
            self.unexpected = repr(error)
            name, debug = self._filter.jailName, log.getEffectiveLevel() <= logging.DEBUG
            log.error("[%s] unexpected, please report it: %r", name, error, exc_info=debug)

    def poll(self, inputs: Inputs) -> bool:
        """Take one batch from each input; False when none had any."""
        busy = self._count_due()
        if not self._due:
            for batch in inputs.batches(self._pipeline):
                busy = True
                self._take(inputs, batch)
                if self._is_interrupted:
                    break
            inputs.save(at_once=not busy)
        self._caught_up = self._caught_up or not busy
        self._selfcheck.heard(busy)
        self._selfcheck.counted = self._filter.failManager.getFailTotal()
        self._selfcheck.look(self._pipeline, inputs.left_out)
        return busy

    @property
    def _is_interrupted(self) -> bool:
        return bool(self._filter.idle or not self._filter.active)

    def _take(self, inputs: Inputs, batch: Batch) -> None:
        """Make lines of a batch and count them; what is left at a reload or a stop waits."""
        pipeline, due = self._pipeline, self._due
        pipeline.dedup.clock = time.monotonic()
        now = pipeline.latest = MyTime.time()
        # What is older is not news, but an old file that was put in place.
        oldest = now - self._filter.getFindTime() - LATEST_FLUSH
        first = batch.groups[0].record
        self.lag = max(0.0, now - (first[0] + first[1] / 1e6))
        for number, group in enumerate(batch.groups):
            if group.record[0] < oldest:
                inputs.passed_over += 1 + group.more
                self._warn_of_age(now - group.record[0])
                continue
            try:
                if lines := pipeline.take_group(group, batch.byteorder):
                    due.extend(lines)
                    self._count_due()
            except BaseException:  # one packet is lost, but none behind it
                inputs.give_back(batch, number + 1)
                raise
            if lines and self._is_interrupted:
                # What a stop leaves in ``due`` is never counted: its packet is read again.
                left = bool(due) and not self._filter.active
                inputs.give_back(batch, number if left else number + 1)
                return

    def _count_due(self) -> bool:
        """Hand the lines that are due to fail2ban; False where none is."""
        due, between = self._due, self._between_lines
        busy = bool(due)
        while due:
            self._since = time.monotonic()
            between.clear()
            try:
                if self._is_interrupted:
                    break
                line = due.popleft()
                self._selfcheck.lines += 1
                self._filter.processLineAndAdd(line.parts, line.time)
            finally:
                between.set()
                self._since = math.inf
        return busy

    def _warn_of_age(self, age: float) -> None:
        if self._caught_up:
            self._selfcheck.warn(
                "age",
                f"packets arrive {short(age)} after they were logged and are passed over as older "
                "than findtime and an hour: is the clock right, does pflogd hold them back (-d)?",
            )
