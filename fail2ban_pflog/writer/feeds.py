# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the worker's records come from, each as a coroutine that runs until its end.

A feed opens what it needs, calls ``ready`` (from then on there are no privileges), and
hands each batch of records to ``sink`` as soon as it has them.  It ends with DONE (the
input is read, or ``stop`` was called), FAILED (it will never work this way) or RETRY
(it may work again, with the privileges of a new worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import stat
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, Optional, Union

from ..errors import PflogError
from ..pflog.pcapng import PcapngDecoder, decoder_of
from ..pflog.savefile import Decoder, Record
from ..policy.kernel_filters import KERNEL_FILTERS
from ..sources import Tell
from .messages import tell_error
from .options import Options

__all__ = ["DONE", "FAILED", "RETRY", "Feed", "Sink", "make_feed"]

DONE = 0
FAILED = 1
RETRY = 75  # sysexits' EX_TEMPFAIL

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

FAREWELL = 2.0
"""Seconds that tcpdump has to hand over the rest and go."""

MAX_MESSAGE = 1000
"""Bytes of one line that tcpdump writes to standard error."""

MAX_MESSAGES = 20
"""Lines of tcpdump's that are passed on in a minute: it may have been taken over."""

SNAPLEN = 65535
"""Bytes per packet that tcpdump takes: OpenBSD's default cuts TCP options."""


class Feed(ABC):
    """What all feeds have.

    state: what it is doing, in words.
    missed: packets that the kernel had no room for.
    """

    def __init__(self, options: Options, sink: Sink, ready: Callable[[], None], tell: Tell) -> None:
        self._options = options
        self._sink = sink
        self._ready = ready
        self._tell = tell
        self._stopping = False
        self._wake = asyncio.Event()
        self.state = f"opening {options.source}"
        self.missed = 0

    @abstractmethod
    async def run(self) -> int:
        """Deliver records until the end; returns DONE, FAILED or RETRY."""

    def stop(self) -> None:
        """Make ``run`` deliver what was read and return."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:  # noqa: B027 -- a feed that keeps nothing open has nothing to do
        """Let go of everything that is open."""

    async def _wait(self, seconds: float, fd: Optional[int] = None) -> None:
        """Wait for ``stop``, for a descriptor to become readable, or for some time."""
        loop = asyncio.get_running_loop()
        if fd is not None:
            loop.add_reader(fd, self._wake.set)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        if fd is not None:
            loop.remove_reader(fd)
        self._wake.clear()


class Live(Feed):
    """The interface, through pcapy-ng."""

    async def run(self) -> int:
        from ..sources.live import LiveSource  # only where pcapy-ng is

        name, policy = self._options.interface, self._options.policy
        self._source = LiveSource(
            name,
            self._tell,
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
                return RETRY  # only root can open it again
            if records:
                self._sink(records, self._source.byteorder)
                await asyncio.sleep(0)  # signals
            elif stopping:
                return DONE
            else:
                await self._wait(LIVE_POLL if was_open else POLL, self._source.fileno())

    def close(self) -> None:
        """Stop listening."""
        self._source.close()


class Follow(Feed):
    """The file that pflogd writes, and its successors."""

    def __init__(
        self,
        options: Options,
        sink: Sink,
        ready: Callable[[], None],
        tell: Tell,
        since: Optional[float],
    ) -> None:
        super().__init__(options, sink, ready, tell)
        self._since = None if since is None else since + JUST_AFTER

    async def run(self) -> int:
        from ..sources.follow import Follower  # others do without it

        assert self._options.follow is not None
        self._ready()
        follower = Follower(Path(self._options.follow), self._tell, since=self._since)
        while not self._stopping:
            records = follower.read()
            self.state = f"{self._options.follow}: {follower.state}"
            if records:
                self._sink(records, follower.byteorder)
                await asyncio.sleep(0)  # signals
            else:
                await self._wait(POLL)
        follower.close()
        return DONE


class Stream(Feed):
    """A capture that is read from a descriptor: a file, also a packed one, or a stream."""

    _unopened = FAILED  # what not being able to open it means

    def __init__(self, options: Options, sink: Sink, ready: Callable[[], None], tell: Tell) -> None:
        super().__init__(options, sink, ready, tell)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._decoder: Union[Decoder, PcapngDecoder, None] = None  # its first bytes tell which
        self._file: Any = None
        self._fd = -1
        self._name = options.source
        self._skipping = False  # what follows a damage in a FIFO, until its writer leaves

    async def run(self) -> int:
        try:
            self._fd = self._open()
        except OSError as error:
            tell_error(error)
            return self._unopened
        self._ready()
        self.state = f"reading {self._name}"
        mode = os.fstat(self._fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._is_fifo = stat.S_ISFIFO(mode) and self._options.read not in {None, "-"}
        self._watch()
        return await self._ended

    def stop(self) -> None:
        """Read what a pipe still holds, then end."""
        super().stop()
        if self._fd < 0 or self._ended.done():
            return
        rests = 0 if self._is_file else MAX_RESTS
        while rests and select.select([self._fd], [], [], 0)[0] and self._read():
            rests -= 1
        self._end(DONE)

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            if not self._is_file:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        path = self._options.read
        assert path is not None
        if path == "-":
            return os.dup(0)
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO without a writer is fine

    def _watch(self) -> None:
        if self._fd < 0 or self._ended.done():
            return
        if not self._is_file:
            try:
                self._loop.add_reader(self._fd, self._read)
            except OSError:  # /dev/null cannot be waited for: EPERM of Linux, ENODEV of BSD
                self._is_file = True
        if self._is_file:
            self._loop.call_soon(self._on_file)

    def _on_file(self) -> None:
        """Read a piece of a plain file, which is always readable; signals come between."""
        if self._read():
            self._watch()

    def _read(self) -> bool:
        """Read once and deliver; False when there is nothing more for now."""
        try:
            data = self._take()
            if self._decoder is None and data:
                self._decoder = decoder_of(data)
            records = self._decoder.feed(data) if self._decoder and not self._skipping else []
        except BlockingIOError:
            return False
        except (OSError, PflogError) as error:
            reason = error.reason if isinstance(error, PflogError) else str(error)
            self._tell(logging.ERROR, f"{self._name}: {reason}")
            self._damaged()
            return False
        if records:
            assert self._decoder is not None
            self._sink(records, self._decoder.byteorder)
        if not data:
            self._at_end()
        return bool(data)

    def _take(self) -> bytes:
        if not self._is_file:
            return os.read(self._fd, CHUNK)
        if self._file is None:
            from ..sources.compressed import decompressed  # late: few captures need it

            self._file = decompressed(os.fdopen(self._fd, "rb", closefd=False))
        data: bytes = self._file.read1(CHUNK)
        return data

    def _at_end(self) -> None:
        if self._decoder and self._decoder.pending and not self._skipping:
            self._tell(logging.WARNING, f"{self._name} ended within a packet")
        if not self._is_fifo:
            self._end(DONE)
            return
        self._decoder = None  # the next writer begins a capture
        self._skipping = False
        self._loop.remove_reader(self._fd)
        self._loop.call_later(POLL, self._watch)

    def _damaged(self) -> None:
        if self._is_fifo:
            self._skipping = True
        else:
            self._end(FAILED)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)


class Tcpdump(Stream):
    """The interface, through a tcpdump that writes raw frames to a pipe.

    It becomes the unprivileged user by itself, once it has opened the interface.
    """

    _unopened = RETRY

    def stop(self) -> None:
        """Ask tcpdump to go; the end of its output is the end."""
        self._stopping = True
        if self._fd < 0:
            self._end(DONE)
            return
        with contextlib.suppress(OSError):  # OpenBSD's belongs to another user
            self._child.terminate()
        self._loop.call_later(FAREWELL, super().stop)

    def close(self) -> None:
        """End tcpdump."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._errors)
        super().close()
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._child.kill()
            self._child.wait(FAREWELL)

    @property
    def _program(self) -> str:
        return os.path.basename(self._options.tcpdump or "")

    def _command(self) -> list[str]:
        options = self._options
        command = [options.tcpdump or "", "-n", "-U", "-i", options.interface]
        command += ["-s", str(SNAPLEN), "-w", "-"]
        if not sys.platform.startswith("openbsd"):  # whose tcpdump does both by itself
            command.append("--immediate-mode")
            if options.user is not None:
                command += ["-Z", options.user.pw_name]
        if options.bpf:
            command += ["--", options.bpf]
        return command

    def _open(self) -> int:
        self._child = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._errors = self._child.stderr.fileno()
        self._error_text = b""
        self._told, self._tell_again = 0, 0.0
        self._loop.add_reader(self._errors, self._read_errors)
        return os.dup(self._child.stdout.fileno())

    def _read_errors(self) -> bool:
        """Tell what tcpdump says, a line at a time; False when it can say no more."""
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
        if (now := self._loop.time()) >= self._tell_again:
            self._told, self._tell_again = 0, now + 60
        self._told += 1
        if self._told <= MAX_MESSAGES:
            self._tell(logging.INFO, f"{self._program}: {line}")
        elif self._told == MAX_MESSAGES + 1:
            self._tell(logging.WARNING, f"{self._program} says more; no more of it for a minute")

    def _at_end(self) -> None:
        if self._stopping:
            self._end(DONE)
            return
        try:
            status = self._child.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        rests = MAX_RESTS
        while rests and select.select([self._errors], [], [], 0)[0] and self._read_errors():
            rests -= 1
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        self._tell(logging.WARNING, f"{self._program} ended {how}; starting it again")
        self._end(RETRY)

    def _damaged(self) -> None:
        # Frames of another link type will not turn into pf's; a damage may be over.
        self._end(RETRY if self._decoder and self._decoder.offset else FAILED)


def make_feed(
    options: Options,
    sink: Sink,
    ready: Callable[[], None],
    tell: Tell,
    since: Callable[[], Optional[float]],
) -> Feed:
    """The feed that the options ask for.

    since: gives the time of the newest packet that the log has, where that matters.
    """
    if options.follow is not None:
        return Follow(options, sink, ready, tell, since())
    if options.read is not None:
        return Stream(options, sink, ready, tell)
    if options.tcpdump is not None:
        return Tcpdump(options, sink, ready, tell)
    return Live(options, sink, ready, tell)
