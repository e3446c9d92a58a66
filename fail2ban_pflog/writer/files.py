# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening files where others can write, and the pid file.

A path is walked directory by directory with descriptors, so that no part of it can be
exchanged meanwhile.  A symbolic link is followed only in a directory that nobody but root
and our own user can write; elsewhere somebody could point it anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Optional

__all__ = ["LOG_MODE", "open_log", "open_regular", "pid_file"]

LOG_MODE = 0o640
"""Of a new log: its owner writes, its group reads; a log that was there keeps its own."""

PID_MODE = 0o600
"""As BSD's pidfile(3): a user that cannot open the file cannot hold its lock."""

MAX_LINKS = 32
"""Symbolic links on one path, as the kernels' own limit."""

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO must not block


def open_log(path: str) -> int:
    """Open the log for appending, make it where it is missing; returns the descriptor.

    A log that ends within a line (the machine went down) gets that line's end, so that
    the next line stands alone.

    Raises:
        OSError: with the path as its file name.
    """
    fd = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, LOG_MODE)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")
    except OSError:
        pass  # a full disk: the next line that can be written does not care
    return fd


def open_regular(path: str, flags: int, mode: int) -> int:
    """Open a regular file; ``mode`` is exactly what a new one gets.

    Raises:
        OSError: with the path as its file name.
    """
    try:
        return _walk(path, flags, mode)
    except OSError as error:
        error.filename = path
        raise


def _walk(path: str, flags: int, mode: int) -> int:
    parts = deque(os.path.join(os.getcwd(), path).split("/"))
    folder = os.open("/", _FOLDER)
    links = 0
    try:
        while True:
            name = parts.popleft() or "."
            target = _link(name, folder)
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if _is_shared(folder):
                    raise OSError(
                        errno.ELOOP,
                        f"{name} is a symbolic link in a directory that others can write",
                    )
                parts.extendleft(reversed(target.split("/")))
                below = os.open("/" if target.startswith("/") else ".", _FOLDER, dir_fd=folder)
            elif parts:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            else:
                return _open(name, flags, mode, folder)
            os.close(folder)
            folder = below
    finally:
        os.close(folder)


def _open(name: str, flags: int, mode: int, folder: int) -> int:
    umask = os.umask(0)
    try:
        fd = os.open(name, flags | _FILE, mode, dir_fd=folder)
    finally:
        os.umask(umask)
    status = os.fstat(fd)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif status.st_nlink > 1 and _is_shared(folder):
        problem = "has a second name, and others can write its directory"
    if problem:
        os.close(fd)
        raise OSError(errno.EINVAL, problem)
    return fd


def _link(name: str, folder: int) -> Optional[str]:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise


def _is_shared(folder: int) -> bool:
    status = os.fstat(folder)
    return bool(status.st_mode & 0o022) or status.st_uid not in {0, os.geteuid()}


@contextlib.contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Hold a locked file with our process id; the lock, not the file, says that we run.

    Args:
        path: the file, or empty for none.

    Raises:
        OSError: the file cannot be written, or another one runs.
    """
    if not path:
        yield
        return
    fd = _lock(path)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(fd)


def _lock(path: str) -> int:
    while True:
        fd = open_regular(path, os.O_RDWR | os.O_CREAT, PID_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            is_public = bool(os.fstat(fd).st_mode & 0o077)
            os.close(fd)
            if is_public and pid.isdigit() and not _lives(int(pid)):
                os.unlink(path)  # an older version's, and another user holds it
                continue
            raise OSError(errno.EEXIST, f"already running as process {pid or '?'}", path) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                os.fchmod(fd, PID_MODE)
                return fd
        os.close(fd)  # the one that ended just now has removed it


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
