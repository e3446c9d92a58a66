"""The process that keeps its privileges: opens the log, hands on signals, starts workers.

What it is asked for comes over a socket from a worker that may have been taken over:
so it knows one request, "open the log", and takes no argument from it.

Each worker is a fork, so all that a source needs root for is done anew, as root, when
the worker is: a worker whose source was lost just ends, and so does one that crashes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import sys
import traceback
from types import FrameType
from typing import Optional

from .counters import Counters
from .files import open_log
from .options import Options
from .tell import tell, tell_error
from .worker import DONE, FAILED, RETRY, SIGNALS, STATUS, STOP, Worker

__all__ = ["Monitor"]

PAUSES = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Seconds before the next worker is started: after one that brought packets the first,
after each further one that did not the next of them."""


class Monitor:
    """Runs workers until one is done or a signal says stop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._counters = Counters()
        self._worker = 0  # its process id
        self._stopping = False

    def run(self) -> int:
        """Run until the end; returns the exit status.

        Raises OSError when the log cannot be opened at the start.
        """
        os.close(open_log(self._options.log))
        wake_up, woken = socket.socketpair()
        for end in (wake_up, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        failures = 0
        while True:
            packets = self._counters["packets"]
            status = self._run_worker()
            if self._stopping or status in {DONE, FAILED}:
                break
            failures = 0 if self._counters["packets"] > packets else failures + 1
            select.select([wake_up], [], [], PAUSES[min(failures, len(PAUSES) - 1)])
            with contextlib.suppress(BlockingIOError):
                while wake_up.recv(4096):
                    pass
            if self._stopping:
                status = DONE
                break
        tell(logging.INFO, f"stopped; {self._counters}")
        return status

    def _on_signal(self, number: int, _frame: Optional[FrameType]) -> None:
        if number in STOP:
            self._stopping = True
        if self._worker:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, number)
        elif number == STATUS:
            tell(logging.INFO, f"waiting before {self._options.source} is tried again")

    def _run_worker(self) -> int:
        """Start one worker, serve it, return its exit status."""
        ours, theirs = socket.socketpair()
        # The signals wait until the worker has its handlers.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if self._stopping:
            return DONE
        self._counters.add("starts")
        self._worker = os.fork()
        if not self._worker:
            ours.close()
            _be_worker(Worker(self._options, theirs, self._counters))
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        with ours:
            self._serve(ours)
        return self._reap()

    def _serve(self, connection: socket.socket) -> None:
        """Open the log as often as the worker asks; returns when the worker is gone."""
        with contextlib.suppress(ConnectionError):
            while connection.recv(1):
                try:
                    fd = open_log(self._options.log)
                except OSError as error:
                    connection.sendall(b"%d\n" % (error.errno or errno.EIO))
                    if error.strerror != os.strerror(error.errno or 0):
                        tell_error(error)
                    continue
                with contextlib.closing(os.fdopen(fd, "rb", 0)):
                    socket.send_fds(connection, [b"0\n"], [fd])

    def _reap(self) -> int:
        pid = self._worker
        _, raw = os.waitpid(pid, 0)
        self._worker = 0
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGTERM)  # a tcpdump that outlived its worker
        status = os.waitstatus_to_exitcode(raw)
        if status in {DONE, FAILED, RETRY}:
            return status
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        tell(logging.ERROR, f"the worker ended {how}")
        return RETRY if self._options.read is None else FAILED


def _be_worker(worker: Worker) -> None:
    """Run the worker in this process, which ends with it."""
    status = 70  # sysexits' EX_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()  # what a terminal sends is the monitor's to hand on
        status = worker.run()
    except Exception:  # our bug: tell it, the monitor goes on
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
