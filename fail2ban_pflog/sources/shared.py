# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and decode once what the jails of one server read in common.

Each jail follows its files by itself, with a place of its own.  The first one that comes to
a place of a file reads on from there; what it read is kept for a while (``Common``), and
the other jails, which are woken, find it at the same place.  So none waits for another: one
that blocks or stops reads later, by itself.  An interface is listened to once (``Listener``);
what came waits for each jail up to a bound, and what was lost behind it is reported.

The locks are held while bytes are read and decoded, some milliseconds, and never over what
a jail makes of them.  Two are held at once in two places only: a file's and then that of the
events, and that of all interfaces and then an interface's; so no two threads wait for each other.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Callable, Optional, Protocol, TypeVar

from ..pflog.header import NATIVE
from ..pflog.savefile import Record
from . import Report, bpf, nflog
from .live import LiveSource

__all__ = ["Chunk", "Common", "Listener", "closed", "notify", "opened", "wait"]

MAX_CHUNKS = 24
"""Chunks kept of a file, of some two thousand packets each: as far as one jail comes before all
others had their turn.  15 MB in a flood, where more than one jail reads the file."""

MAX_BEHIND = 65_536
"""Packets of an interface that wait for a jail that is slow: 40 MB."""

FETCHES = 16
"""Reads before a kernel filter is changed: more than a buffer of the usual size holds."""

PAUSE_AHEAD, PAUSES_AHEAD = 0.005, 50
"""Seconds for which a jail that is far ahead waits for the others, and how often.  One that does
not come in that time is a straggler, and reads by itself until it has caught up."""

PAUSE = 0.05
"""Seconds to wait where the interface cannot be waited for."""

_Made = TypeVar("_Made")


class Chunk(list[Record]):
    """Records that were read at once, with what was made of them for all jails.

    Attributes:
        tail: The last bytes of them, as they are in the file.
    """

    tail = b""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        super().__init__(records)
        self._lock = threading.Lock()
        self._made: dict[Hashable, Any] = {}

    def cached(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """Return what ``make`` made of the records for the first jail that asked with this key."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: _Made = self._made[key]
        return made


class Reader(Protocol):
    """What reads a file.

    Attributes:
        offset: Where it reads on.
    """

    offset: int


class Common:
    """Keeps what was last read of one file, for all that read it.

    Attributes:
        lock: To be held while looking for a chunk, or else reading it: so none reads what
            another is reading.
        opened: How many have opened the file; guarded by the lock of all files.
        readers: What reads it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.opened = 0
        self.readers: list[Reader] = []
        self._stragglers: list[Reader] = []  # none waits for them
        self._chunks: OrderedDict[tuple[bytes, int], tuple[Chunk, int]] = OrderedDict()

    def wait_for_others(self, reader: Reader) -> None:
        """Let the others come where the next chunk would be one too many; but not for long."""
        for _ in range(PAUSES_AHEAD):
            with self.lock:
                if not self._behind(reader):
                    return
            time.sleep(PAUSE_AHEAD)
        with self.lock:
            self._stragglers += self._behind(reader)

    def _behind(self, reader: Reader) -> list[Reader]:
        if len(self._chunks) < MAX_CHUNKS or reader in self._stragglers:
            return []
        _, oldest = next(iter(self._chunks))
        last = next(reversed(self._chunks.values()))[1]
        if reader.offset != last:
            return []
        return [
            each
            for each in self.readers
            if each.offset <= oldest and each is not reader and each not in self._stragglers
        ]

    def get(self, reader: Reader, prefix: bytes) -> Optional[tuple[Chunk, int]]:
        """Return what another found where the reader is, and where that ends.

        Args:
            reader: What reads.
            prefix: The file's first bytes; after a truncation they are others.
        """
        kept = self._chunks.get((prefix, reader.offset))
        if kept is not None and reader in self._stragglers:
            self._stragglers.remove(reader)
        return kept

    def keep(self, reader: Reader, begin: int, prefix: bytes, chunk: Chunk, end: int) -> None:
        """Keep what was read for the other readers, and wake them."""
        if len(self.readers) < 2 or reader in self._stragglers:
            return
        self._chunks[prefix, begin] = chunk, end
        if len(self._chunks) > MAX_CHUNKS:
            self._chunks.popitem(last=False)
        _notify_all()

    def leave(self, reader: Reader) -> None:
        """Note that a reader reads the file no more."""
        self.readers.remove(reader)
        if reader in self._stragglers:
            self._stragglers.remove(reader)
        if len(self.readers) < 2:
            self._chunks.clear()


_FILES: dict[tuple[int, int], Common] = {}
_FILES_LOCK = threading.Lock()
_EVENTS: weakref.WeakSet[threading.Event] = weakref.WeakSet()
_EVENTS_LOCK = threading.Lock()


def opened(inode: tuple[int, int], reader: Reader) -> Common:
    """Return what the readers of a file, (device, inode), have in common."""
    with _FILES_LOCK:
        common = _FILES.setdefault(inode, Common())
        common.opened += 1
    with common.lock:
        common.readers.append(reader)
    return common


def closed(inode: tuple[int, int], reader: Reader) -> None:
    """Note that a reader reads a file no more."""
    common = _FILES[inode]
    with common.lock:
        common.leave(reader)
    with _FILES_LOCK:
        common.opened -= 1
        if not common.opened:
            del _FILES[inode]


def notify(event: threading.Event) -> None:
    """Set an event whenever a chunk of a file was read, for as long as the event exists."""
    with _EVENTS_LOCK:
        _EVENTS.add(event)


def _notify_all() -> None:
    with _EVENTS_LOCK:
        events = list(_EVENTS)
    for event in events:
        event.set()


class _Interface:
    """An interface with all that listen to it."""

    def __init__(self, name: str, expression: str) -> None:
        self.lock = threading.Lock()
        self.listeners: list[Listener] = []
        self.source = LiveSource(name, self._report, expression=expression)
        self._chunks: deque[Chunk] = deque()  # those that some listener has not had yet
        self._end = 0  # how many chunks there were
        self._packets = 0  # in the chunks that are kept

    def _report(self, level: int, message: str) -> None:
        for listener in self.listeners:
            listener.report(level, message)

    def add(self, listener: Listener) -> None:
        """Let a listener listen."""
        self._fetch_all()
        self.listeners.append(listener)
        listener.had = self._end
        self._select()

    def remove(self, listener: Listener) -> None:
        """Let a listener listen no more."""
        self.listeners.remove(listener)
        if self.listeners:
            self._fetch_all()
            self._drop()
            self._select()
        else:
            self.source.close()

    def _select(self) -> None:
        """Ask the kernel for what the listener with the widest filter wants."""
        widest = max(self.listeners, key=lambda each: each.breadth)
        self.source.buffer_size = max(each.buffer_size for each in self.listeners)
        self.source.select_by(widest.kernel_filters)

    def read(self, listener: Listener) -> Chunk:
        """Return what the listener has not had yet, or else what the kernel has."""
        if listener.had < self._end:
            chunk = self._chunks[listener.had - self._end]
        else:
            chunk = self._fetch()
            if not chunk:
                return chunk
            self._wake_all(listener)
        listener.had += 1
        self._drop()
        return chunk

    def _fetch(self) -> Chunk:
        """Take what the kernel has, and keep it for all."""
        chunk = Chunk(self.source.read())
        if chunk:
            self._chunks.append(chunk)
            self._packets += len(chunk)
            self._end += 1
        return chunk

    def _fetch_all(self) -> None:
        """Take all that the kernel has: a BSD's forgets it where the filter changes (BIOCSETF)."""
        if self.listeners and self.source.is_open:
            for _ in range(FETCHES):
                if not self._fetch():
                    break
            self._wake_all()

    def _wake_all(self, reader: Optional[Listener] = None) -> None:
        """Wake all but the one that reads."""
        for each in self.listeners:
            if each is not reader:
                each.wake()

    def _drop(self) -> None:
        """Drop the chunks that all had, and those that some listener is too slow for."""
        least = min(listener.had for listener in self.listeners)
        while self._chunks:
            oldest = self._end - len(self._chunks)
            if oldest >= least and self._packets <= MAX_BEHIND:
                break
            packets = len(self._chunks.popleft())
            self._packets -= packets
            for listener in self.listeners:
                if listener.had == oldest:
                    listener.had += 1
                    listener.lose(packets)


_INTERFACES: dict[tuple[str, str], _Interface] = {}
_INTERFACES_LOCK = threading.Lock()


class Listener:
    """One jail's share of an interface; ``LiveSource`` to the jail.

    Args:
        interface: Its name.
        report: As of ``LiveSource``, and the following.
        expression: The administrator's filter.
        kernel_filters: What can be left in the kernel besides.
        breadth: Of the listeners' kernel filters that of the largest is used.
        buffer_size: Bytes.

    Attributes:
        had: How many chunks it has had.
        lost: Packets that came while it was too far behind.
        collects: Seconds in which packets collect before they are read.
    """

    byteorder = NATIVE

    def __init__(
        self,
        interface: str,
        report: Report,
        *,
        expression: str,
        kernel_filters: Sequence[str],
        breadth: int,
        buffer_size: int,
    ) -> None:
        self.interface = interface
        self.report = report
        self.kernel_filters = kernel_filters
        self.breadth = breadth
        self.buffer_size = buffer_size
        self.had = self.lost = 0
        self._is_behind = False
        self._is_closed = False
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        # One program alone may listen to an NFLOG group, and libpcap filters none.
        is_group = nflog.group(interface) is not None
        self.collects = nflog.DELIVERY if is_group else 0.0
        self._matches = bpf.frame_filter(expression) if is_group and expression else None
        self._key = interface, "" if is_group else expression
        with _INTERFACES_LOCK:
            shared = _INTERFACES.get(self._key)
            if shared is None:
                shared = _INTERFACES[self._key] = _Interface(*self._key)
            self._shared = shared
            with shared.lock:
                shared.add(self)

    @property
    def source(self) -> LiveSource:
        """What is listened with, in common."""
        return self._shared.source

    def read(self) -> Chunk:
        """Return the next packets; an empty chunk where there are none by now."""
        with self._shared.lock:
            chunk = self._shared.read(self)
            while chunk and self._matches is not None:
                found = Chunk(record for record in chunk if self._matches(record[2]))
                if found:
                    return found
                chunk = self._shared.read(self)
            return chunk

    def lose(self, packets: int) -> None:
        """Note that packets were dropped for want of room."""
        self.lost += packets
        if not self._is_behind:
            self._is_behind = True
            self.report(
                logging.WARNING,
                f"{self.interface}: this jail is too slow, its packets are dropped: does an "
                "ignorecommand or a name server take long?",
            )

    def wait(self, seconds: float) -> None:
        """Wait until packets may be there, for ``seconds`` at the most."""
        wait([self], seconds)

    def register(self, selector: selectors.BaseSelector) -> bool:
        """Let a selector wait for this listener; False where the interface cannot be waited for."""
        self._is_behind = False
        selector.register(self._woken, selectors.EVENT_READ)
        with self._shared.lock:
            descriptor = self.source.fileno()
        if descriptor is None:  # another jail saw that the interface is gone
            return False
        try:
            selector.register(descriptor, selectors.EVENT_READ)
        except (OSError, ValueError, KeyError):  # it was closed, another may have its number
            return False
        return True

    def calm(self) -> None:
        """Take what ``wake`` sent."""
        with suppress(OSError):
            self._woken.recv(4096)

    def wake(self) -> None:
        """End a wait: another jail has read what this one waits for."""
        with suppress(OSError):  # it was closed, or was woken often enough
            self._waker.send(b"!")

    def close(self) -> None:
        """Listen no more; closing twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        self._woken.close()
        self._waker.close()
        with _INTERFACES_LOCK, self._shared.lock:
            self._shared.remove(self)
            if not self._shared.listeners:
                del _INTERFACES[self._key]


def wait(listeners: Sequence[Listener], seconds: float) -> None:
    """Wait until one of the listeners may have packets, for ``seconds`` at the most."""
    with selectors.DefaultSelector() as selector:
        if not all(listener.register(selector) for listener in listeners):
            seconds = min(seconds, PAUSE)
        try:
            if selector.select(seconds):
                time.sleep(max(listener.collects for listener in listeners))
        except OSError:  # one was closed meanwhile
            time.sleep(min(seconds, PAUSE))
    for listener in listeners:
        listener.calm()
