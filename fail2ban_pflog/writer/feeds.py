# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the worker's records come from, each as a coroutine that runs until its end.

A feed opens what it needs, calls ``ready`` (from then on there are no privileges), and
hands each batch of records to ``sink`` at once.  It ends with OK (the input is read, or
``stop`` was called), FAILED (it will never work this way) or RETRY (it may work again,
with the privileges of a new worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import stat
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, Optional, Union

from ..errors import Exit, PflogError
from ..pflog.pcapng import PcapngDecoder, decoder_of
from ..pflog.savefile import Decoder, Record
from ..policy.kernel_filters import KERNEL_FILTERS
from . import tcpdump
from .messages import report, report_error
from .options import Options

__all__ = ["Feed", "Sink", "make_feed"]

Sink = Callable[[list[Record], str], None]
"""sink(records, byteorder): takes the next records, oldest first."""

CHUNK = 1 << 16
"""Bytes per read: what a pipe holds, five hundred packets; more at once is no cheaper."""

MAX_RESTS = 16
"""Reads that still empty a pipe at the end: Linux's holds 64 KiB, a read may get less."""

POLL = 0.2
"""Seconds between two looks at a file that pflogd appends to, or at a closed FIFO."""

LIVE_POLL = 1.0
"""Seconds after which the interface is asked even if nothing says that it has packets."""

JUST_AFTER = 0.5e-6
"""Seconds between a packet that the log has and the next one that can differ from it."""

MAX_MESSAGE = 500
"""Bytes of one line that tcpdump writes to standard error."""

MAX_MESSAGES = 20
"""Lines of tcpdump's that are passed on in a minute: it may have been taken over."""


class Feed(ABC):
    """What all feeds have.

    Attributes:
        state: what it is doing, in words.
        missed: packets that the kernel had no room for.
    """

    def __init__(self, options: Options, sink: Sink, ready: Callable[[], None]) -> None:
        self._options = options
        self._sink = sink
        self._ready = ready
        self._stopping = False
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.state = f"opening {options.source}"
        self.missed = 0

    @abstractmethod
    async def run(self) -> int:
        """Deliver records until the end; returns OK, FAILED or RETRY."""

    def stop(self) -> None:
        """Make ``run`` deliver what was read and return."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:  # noqa: B027 - a feed that keeps nothing open has nothing to do
        """Close everything that is open."""

    async def _wait(self, seconds: float, fd: Optional[int] = None) -> None:
        """Wait for ``stop``, for a descriptor to become readable, or for some time."""
        if fd is not None:
            self._loop.add_reader(fd, self._wake.set)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        if fd is not None:
            self._loop.remove_reader(fd)
        self._wake.clear()


class Live(Feed):
    """The interface, through pcapy-ng."""

    async def run(self) -> int:
        from ..sources.live import LiveSource  # only where pcapy-ng is

        name, policy = self._options.interface, self._options.policy
        self._source = LiveSource(
            name,
            report,
            expression=self._options.bpf,
            kernel_filters=KERNEL_FILTERS[policy.mode] if policy else (),
        )
        was_open = False
        while True:
            stopping = self._stopping
            records = self._source.read()
            self.state = self._source.state
            self.missed = self._source.dropped
            if self._source.is_open:
                if not was_open:
                    self._ready()
                    was_open = True
            elif was_open and self._options.user is not None:
                return Exit.RETRY  # only root can open it again
            if records:
                self._sink(records, self._source.byteorder)
                await asyncio.sleep(0)  # signals
            elif stopping:
                return Exit.OK
            else:
                await self._wait(LIVE_POLL if was_open else POLL, self._source.fileno())

    def close(self) -> None:
        """Stop listening."""
        self._source.close()


class Follow(Feed):
    """The file that pflogd writes, and its successors.

    Args:
        since: time of the newest packet in the log; older ones are not delivered.
    """

    def __init__(
        self,
        options: Options,
        sink: Sink,
        ready: Callable[[], None],
        since: Optional[float],
    ) -> None:
        super().__init__(options, sink, ready)
        self._since = None if since is None else since + JUST_AFTER

    async def run(self) -> int:
        from ..sources.follow import Follower  # others do without it

        path = Path(self._options.source)
        self._ready()
        try:
            path.stat()
        except OSError as error:
            report(logging.WARNING, f"{path}: {error.strerror}; waiting for it")
        follower = Follower(path, report, since=self._since)
        while not self._stopping:
            records = follower.read()
            self.state = f"{path}: {follower.state}"
            if records:
                self._sink(records, follower.byteorder)
                await asyncio.sleep(0)  # signals
            else:
                await self._wait(POLL)
        follower.close()
        return Exit.OK


class Stream(Feed):
    """A capture that is read from a descriptor: a file, also a packed one, or a stream."""

    _unopened: int = Exit.FAILED

    def __init__(self, options: Options, sink: Sink, ready: Callable[[], None]) -> None:
        super().__init__(options, sink, ready)
        self._decoder: Union[Decoder, PcapngDecoder, None] = None  # its first bytes show which
        self._file: Any = None
        self._fd = -1
        self._skipping = False  # what follows a damage in a FIFO, until its writer leaves

    async def run(self) -> int:
        try:
            self._fd = self._open()
        except OSError as error:
            report_error(error)
            return self._unopened
        self._ready()
        self.state = f"reading {self._options.source}"
        mode = os.fstat(self._fd).st_mode
        self._is_fifo = stat.S_ISFIFO(mode) and self._options.read not in {None, "-"}
        # A kernel may refuse /dev/null as an event (Linux), or take it and stay silent (FreeBSD).
        is_device = stat.S_ISCHR(mode) and not os.isatty(self._fd)
        self._is_file = stat.S_ISREG(mode) or is_device
        if not self._is_file:
            return await self._run_stream()
        status = None
        while status is None and not self._stopping:
            status = self._read()
            await asyncio.sleep(0)  # signals
        return Exit.OK if status is None else status

    async def _run_stream(self) -> int:
        self._loop.add_reader(self._fd, self._wake.set)
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return self._drain()
            if not _is_readable(self._fd):  # it was set before the last read
                continue
            status = self._read()
            if status is not None:
                return status
            if self._decoder is None:  # a FIFO whose writer left is "readable" all the time
                self._loop.remove_reader(self._fd)
                await self._wait(POLL)
                self._loop.add_reader(self._fd, self._wake.set)
                if self._stopping:
                    return Exit.OK

    def _drain(self) -> int:
        """Read what the pipe still holds."""
        for _ in range(MAX_RESTS):
            if not _is_readable(self._fd) or self._read() is not None:
                break
        return Exit.OK

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        path = self._options.read
        assert path is not None
        if path == "-":
            return os.dup(0)
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO without a writer is fine

    def _read(self) -> Optional[int]:
        """Read once and deliver; returns how it ended, None where it goes on."""
        try:
            data = self._take()
            if self._decoder is None and data:
                self._decoder = decoder_of(data)
            records = self._decoder.feed(data) if self._decoder and not self._skipping else []
        except BlockingIOError:
            return None
        except (OSError, PflogError) as error:
            reason = error.reason if isinstance(error, PflogError) else str(error)
            report(logging.ERROR, f"{self._options.source}: {reason}")
            return self._damaged()
        if records:
            assert self._decoder is not None
            self._sink(records, self._decoder.byteorder)
        return None if data else self._ended()

    def _take(self) -> bytes:
        if not self._is_file:
            return os.read(self._fd, CHUNK)
        if self._file is None:
            from ..sources.compressed import decompressed  # late: few captures need it

            self._file = decompressed(os.fdopen(self._fd, "rb", closefd=False))
        data: bytes = self._file.read1(CHUNK)
        return data

    def _ended(self) -> Optional[int]:
        if self._decoder and self._decoder.pending and not self._skipping:
            report(logging.WARNING, f"{self._options.source} ended within a packet")
        if not self._is_fifo:
            return Exit.OK
        self._decoder = None  # the next writer begins a capture
        self._skipping = False
        return None

    def _damaged(self) -> Optional[int]:
        self._skipping = True
        return None if self._is_fifo else Exit.FAILED


class Tcpdump(Stream):
    """The interface, through a tcpdump that writes raw frames to a pipe.

    It becomes the unprivileged user by itself, once it has opened the interface.
    """

    _unopened = Exit.RETRY

    _asked = False  # whether tcpdump was asked to end

    def stop(self) -> None:
        """Ask tcpdump to end; the end of its output is the end."""
        self._asked = True
        if self._fd < 0:
            super().stop()
            return
        with contextlib.suppress(OSError):  # it may belong to another user
            self._child.terminate()
        self._loop.call_later(tcpdump.PATIENCE, super().stop)

    def close(self) -> None:
        """End tcpdump."""
        if self._fd >= 0:
            self._loop.remove_reader(self._errors)
            super().close()
            tcpdump.stop(self._child)

    def _open(self) -> int:
        self._child = tcpdump.start(self._options)
        self._name = os.path.basename(self._child.args[0])  # type: ignore[arg-type,index]
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._errors = self._child.stderr.fileno()
        self._error_text = b""
        self._passed, self._pass_again = 0, 0.0
        self._loop.add_reader(self._errors, self._read_errors)
        return os.dup(self._child.stdout.fileno())

    def _read_errors(self) -> bool:
        """Pass on what tcpdump writes, a line at a time; False at the end of it."""
        data = os.read(self._errors, MAX_MESSAGE)
        *lines, rest = (self._error_text + data).split(b"\n")
        if rest and (not data or len(rest) > MAX_MESSAGE):
            lines.append(rest)
            rest = b""
        self._error_text = rest
        for line in lines:
            self._pass_on(line.decode("utf-8", "replace"))
        if not data:
            self._loop.remove_reader(self._errors)
        return bool(data)

    def _pass_on(self, line: str) -> None:
        if (now := self._loop.time()) >= self._pass_again:
            self._passed, self._pass_again = 0, now + 60
        self._passed += 1
        if self._passed <= MAX_MESSAGES:
            report(logging.INFO, f"{self._name}: {line}")
        elif self._passed == MAX_MESSAGES + 1:
            report(logging.WARNING, f"{self._name} says more; no more of it for a minute")

    def _ended(self) -> int:
        if self._asked:
            return Exit.OK
        tcpdump.stop(self._child)
        status = self._child.returncode
        for _ in range(MAX_RESTS):
            if not _is_readable(self._errors) or not self._read_errors():
                break
        how = "closed its output"
        if status is not None:
            how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        report(logging.WARNING, f"{self._name} {how}; starting it again")
        return Exit.RETRY

    def _damaged(self) -> int:
        # Frames of another link type will not turn into pf's; a damage may be over.
        return Exit.RETRY if self._decoder and self._decoder.offset else Exit.FAILED


def _is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def make_feed(
    options: Options,
    sink: Sink,
    ready: Callable[[], None],
    since: Callable[[], Optional[float]],
) -> Feed:
    """Return the feed that the options ask for.

    Args:
        options: of the command line.
        sink: takes the records.
        ready: called once the source is open.
        since: returns the time of the newest packet that the log has.
    """
    if options.follow is not None:
        return Follow(options, sink, ready, since())
    if options.read is not None:
        return Stream(options, sink, ready)
    return (Live if options.tcpdump is None else Tcpdump)(options, sink, ready)
