# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that looks at packets: records in, lines out, in one asyncio loop.

A feed hands over a batch of records; they become one text and one write before the loop
does anything else.  The monitor's commands are callbacks as well: so the log is reopened
between two writes, never within one, however fast signals come.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from typing import Optional

from ..errors import Exit, PflogError
from ..formatter import Formatter
from ..pflog.savefile import Record
from ..pipeline import Item, Pipeline
from ..policy.classifier import Classifier
from ..policy.dedup import Dedup
from ..wire.timestamps import Stamps
from .counters import Counters
from .feeds import Feed, make_feed
from .log import Log
from .messages import report
from .options import Options
from .privileges import become

__all__ = ["SIGNALS", "STATUS", "STOP", "Worker"]

REOPEN: set[int] = {signal.SIGHUP, signal.SIGUSR1}
STOP: set[int] = {signal.SIGTERM, signal.SIGINT}
STATUS: int = getattr(signal, "SIGINFO", signal.SIGUSR2)
SIGNALS: set[int] = {*REOPEN, *STOP, STATUS}

ROOM = 2
"""Descriptors that an answer of the monitor has room for.  It brings one; but BSD kernels count
the padding behind it (CMSG_SPACE), for which `recv_fds` with room for one has none left."""

TICK = 1.0
"""Seconds between two looks at what is not an event: a log that cannot be opened."""


class Worker:
    """Reads one source until it ends.

    Args:
        options: of the command line.
        commands: socket on which the numbers of signals come that the monitor got.
        monitor: socket on which the log is asked for.
        counters: the figures.
    """

    def __init__(
        self,
        options: Options,
        commands: socket.socket,
        monitor: socket.socket,
        counters: Counters,
    ) -> None:
        self._options = options
        self._commands = commands
        self._monitor = monitor
        self._counters = counters
        self._stamp = Stamps().iso
        self._formatter = Formatter()
        self._pipeline: Optional[Pipeline] = None
        if policy := options.policy:
            classifier = Classifier(policy.mode, prefix6=policy.prefix6)
            dedup = Dedup[Item](policy.distinct, policy.findtime, source_of=classifier.source)
            self._pipeline = Pipeline(classifier, dedup, self._stamp)
        self._byteorder = ""
        self._missed = 0

    @property
    def reads_standard_input(self) -> bool:
        """Whether that is its source."""
        return self._options.read == "-"

    def run(self) -> int:
        """Run until the source ends or a signal says stop; returns the exit status."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        self._log = Log(self._open_log, report, self._counters)
        if not self._counters["opened"]:  # never yet: that will not mend itself
            return Exit.FAILED
        self._feed: Feed = make_feed(self._options, self._write, self._ready, self._log.last_time)
        loop.add_reader(self._commands, self._obey)
        ticking = loop.create_task(self._tick())
        try:
            return await self._feed.run()
        finally:
            ticking.cancel()
            self._feed.close()
            self._count_missed()
            self._log.close()

    def _write(self, records: list[Record], byteorder: str) -> None:
        """Write one batch, as lines, in one write."""
        if self._pipeline is not None:
            lines, bad = self._select(self._pipeline, records, byteorder)
        else:
            lines = self._print(records, byteorder)
            bad = len(records) - len(lines)
        self._counters.add("packets", len(records))
        self._counters.add("bad", bad)
        self._counters.add("left_out", max(0, len(records) - bad - len(lines)))
        if lines:
            self._log.write("".join(lines).encode("ascii", "backslashreplace"), len(lines))

    @staticmethod
    def _select(pipeline: Pipeline, records: list[Record], byteorder: str) -> tuple[list[str], int]:
        """Return the lines of the packets that count, and the number of invalid frames."""
        before = pipeline.undecodable
        lines = ["".join(line.parts) + "\n" for line in pipeline.take(records, byteorder)]
        return lines, pipeline.undecodable - before

    def _print(self, records: list[Record], byteorder: str) -> list[str]:
        """Return the lines of all packets."""
        if byteorder != self._byteorder:
            self._byteorder, self._formatter = byteorder, Formatter(byteorder)
        line, second = self._formatter.line, -1
        lines = []
        before = behind = ""  # the text around the microseconds, for a whole second
        for seconds, microseconds, frame in records:
            if seconds != second:
                second = seconds
                before, _, behind = self._stamp(seconds, 0).partition("000000")
            try:
                text = "%s%06d%s %s\n" % (before, microseconds, behind, line(frame))  # noqa: UP031 - faster
                lines.append(text)
            except PflogError:
                continue
        return lines

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._log.tick()
            self._count_missed()

    def _count_missed(self) -> None:
        missed = self._feed.missed
        self._counters.add("missed", missed - self._missed)
        self._missed = missed

    def _report_status(self) -> None:
        self._count_missed()
        problem = f"; {self._log.problem}" if self._log.problem else ""
        report(logging.INFO, f"{self._feed.state}; {self._counters}{problem}")

    # -- with the monitor --------------------------------------------------------------

    def _open_log(self) -> int:
        """Ask the monitor for the log; returns a descriptor of ours, or raises OSError."""
        try:
            self._monitor.sendall(b"L")
            answer, fds, _, _ = socket.recv_fds(self._monitor, 16, ROOM)
        except ConnectionError:
            answer, fds = b"", []
        if fds:
            os.set_inheritable(fds[0], False)
            return fds[0]
        number = int(answer or errno.EPIPE)
        if not number:
            raise OSError(errno.EIO, "the monitor opened it, but its descriptor did not come")
        raise OSError(number, os.strerror(number))

    def _obey(self) -> None:
        """Do what the signals ask for that the monitor got."""
        numbers = set(self._commands.recv(4096))
        if not numbers:
            report(logging.ERROR, "the monitor is gone; stopping")
            asyncio.get_running_loop().remove_reader(self._commands)
        if numbers & REOPEN:
            self._log.reopen()
        if STATUS in numbers:
            self._report_status()
        if numbers & STOP or not numbers:
            self._feed.stop()

    def _ready(self) -> None:
        """Give up what is not needed once the source is open."""
        become(self._options.user)
