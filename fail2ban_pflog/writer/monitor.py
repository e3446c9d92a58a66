# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that keeps its privileges: opens the log, hands on signals, starts workers.

Requests come over a socket from a worker that may have been taken over: so there is one,
"open the log", without an argument; the monitor never waits for the worker without a
limit, and keeps no descriptor of it.  Signals come here only; each kind is handed on
once, however often it came, as a byte on a second socket.

Each worker is a fork, so all that a source needs root for is done anew, as root, by the
next worker: one whose source was lost just ends, and so does one that crashes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import select
import signal
import socket
import time
import traceback

from ..errors import Exit
from .counters import Counters
from .files import open_log, pid_file
from .messages import report, report_error
from .options import Options
from .privileges import keep_only
from .worker import SIGNALS, STATUS, STOP, Worker

__all__ = ["Monitor", "Restarts"]

OK, FAILED, RETRY = Exit.OK, Exit.FAILED, Exit.RETRY

PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Seconds before the next worker is started, one after the other; the last again and again."""

SOON = 3
"""Workers that brought packets and ended all the same, until the pause grows by a step."""

CALM = 60.0
"""Seconds after which a worker has lived long: the pauses begin anew."""

PATIENCE = 10.0
"""Seconds in which a worker must end that was asked to, or that makes no requests any more; a
tcpdump has two to write the rest."""

LOOK = 0.02
"""Seconds between two looks whether it has ended."""


class Restarts:
    """How long to wait before a worker is started again."""

    def __init__(self) -> None:
        self._failures = 0  # those of productive workers count as parts of one

    def pause(self, lived: float, productive: bool) -> float:
        """Return the seconds to wait.

        Args:
            lived: seconds that the last worker lived.
            productive: whether it brought packets.
        """
        if lived >= CALM:
            self._failures = 0
        elif not productive:
            self._failures += SOON
        found = PAUSES[min(self._failures // SOON, len(PAUSES) - 1)]
        self._failures += 1 if productive else 0
        return found


class Monitor:
    """Runs workers until one is done or a signal says stop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._counters = Counters()
        self._worker = 0  # its process id
        self._signals: set[int] = set()  # that came and were not handed on yet
        self._stopping = False
        self._wake_up, self._woken = socket.socketpair()

    def run(self) -> int:
        """Run until the end; returns the exit status.

        Raises:
            OSError: another one runs, or the log cannot be opened at the start.
        """
        for end in (self._wake_up, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda number, _frame: self._signals.add(number))
        try:
            with pid_file(self._options.pid_file):
                os.close(open_log(self._options.log))
                return self._run_workers()
        finally:
            for number in SIGNALS:  # Python's own end would let them kill us
                signal.signal(number, signal.SIG_IGN)

    def _run_workers(self) -> int:
        """Run one worker after the other; returns the exit status."""
        restarts = Restarts()
        while True:
            packets, begin = self._counters["packets"], time.monotonic()
            status = self._run_worker()
            if status != RETRY:
                break
            if not self._stopping:
                productive = self._counters["packets"] > packets
                self._pause(restarts.pause(time.monotonic() - begin, productive))
            if self._stopping:
                status = OK
                break
        report(logging.INFO, f"stopped; {self._counters}")
        return status

    def _run_worker(self) -> int:
        """Start one worker, serve it, return its exit status."""
        (commands, theirs), (requests, answers) = socket.socketpair(), socket.socketpair()
        self._counters.add("starts")
        self._worker = os.fork()
        if not self._worker:
            commands.close()
            requests.close()
            _be_worker(Worker(self._options, theirs, answers, self._counters), theirs, answers)
        theirs.close()
        answers.close()
        for end in (commands, requests):
            end.setblocking(False)
        with commands, requests:
            until = self._serve(commands, requests)
        return self._reap(until)

    def _serve(self, commands: socket.socket, requests: socket.socket) -> float:
        """Hand on signals and open the log when asked, until the worker is to end.

        Returns:
            Until when it may live, by the monotonic clock.
        """
        until = math.inf
        while (now := time.monotonic()) < until:
            waiting = [commands] if self._signals else []
            left = None if until == math.inf else until - now
            readable, writable, _ = select.select([self._wake_up, requests], waiting, [], left)
            if self._wake_up in readable:
                self._wake_up.recv(4096)
            if writable:
                signals = bytes(self._take_signals())
                with contextlib.suppress(OSError):
                    commands.send(signals)
            if self._stopping or self._signals & STOP:
                until = min(until, time.monotonic() + PATIENCE)
            if requests in readable and not self._answer(requests):
                until = min(until, time.monotonic() + PATIENCE)
                break
        return until

    def _answer(self, requests: socket.socket) -> bool:
        """Open the log and pass it on; False when the worker asks no more, or reads no answer."""
        try:
            if not requests.recv(1):
                return False
            try:
                fd = open_log(self._options.log)
            except OSError as error:
                number = error.errno or errno.EIO
                if error.strerror != os.strerror(number):  # the number is not all
                    report_error(error)
                requests.sendall(b"%d" % number)
                return True
            try:
                socket.send_fds(requests, [b"0"], [fd])
            finally:
                os.close(fd)
        except OSError:
            return False
        return True

    def _take_signals(self) -> set[int]:
        """The signals that came since the last call."""
        taken, self._signals = self._signals, set()
        self._stopping = self._stopping or bool(taken & STOP)
        return taken

    def _pause(self, seconds: float) -> None:
        """Let some time go by, or less when a signal comes."""
        if not self._signals:
            select.select([self._wake_up], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            self._wake_up.recv(4096)
        if STATUS in self._take_signals():
            report(logging.INFO, f"waiting before {self._options.source} is tried again")

    def _reap(self, until: float) -> int:
        """Wait for the worker's end, kill it when its time is over; returns its exit status."""
        pid = self._worker
        ended, raw = os.waitpid(pid, os.WNOHANG)
        while not ended:
            if time.monotonic() >= until:
                report(logging.ERROR, "the worker does not end; killing it")
                os.kill(pid, signal.SIGKILL)
                ended, raw = os.waitpid(pid, 0)
            else:
                time.sleep(LOOK)
                ended, raw = os.waitpid(pid, os.WNOHANG)
        self._worker = 0
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGTERM)  # a tcpdump that outlived its worker
        status = os.waitstatus_to_exitcode(raw)
        if status in {OK, FAILED, RETRY}:
            return status
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        report(logging.ERROR, f"the worker ended {how}")
        return RETRY if self._options.read is None else FAILED


def _be_worker(worker: Worker, *sockets: socket.socket) -> None:
    """Run the worker in this process, which ends with it and keeps nothing but its sockets."""
    status: int = Exit.DEFECT
    try:
        os.setsid()  # what a terminal sends is the monitor's to hand on
        signal.set_wakeup_fd(-1)
        keep_only(*(end.fileno() for end in sockets), standard_input=worker.reads_standard_input)
        for number in SIGNALS:  # unlike SIG_IGN this is not inherited by tcpdump
            signal.signal(number, lambda _number, _frame: None)
        status = worker.run()
    except Exception:  # our bug: report it, the monitor goes on
        for line in traceback.format_exc().splitlines():
            report(logging.ERROR, line)
    finally:
        os._exit(status)
