# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be checked before a start; nothing is changed."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import stat
from pathlib import Path

from ..errors import PflogError
from ..pflog.savefile import Decoder
from ..sources import bpf
from ..sources.live import LiveSource
from ..sources.look import is_interface, look
from . import tcpdump
from .options import Options

__all__ = ["check", "check_source"]


def check(options: Options) -> list[str]:
    """Return what is wrong with the options on this system, in words."""
    problems = []
    folder = os.path.dirname(os.path.abspath(options.log))
    if not os.path.isdir(folder):
        problems.append(f"{folder}: there is no such directory for the log")
    elif not os.access(options.log if os.path.exists(options.log) else folder, os.W_OK):
        problems.append(f"{options.log}: the log cannot be written")
    if os.path.isdir(options.log):
        problems.append(f"{options.log}: the log is a directory")
    if options.tcpdump and shutil.which(options.tcpdump) is None:
        problems.append(f"{options.tcpdump}: there is no such program; install tcpdump or pcapy-ng")
    if options.bpf and not options.tcpdump:
        try:
            bpf.check(options.bpf)
        except PflogError as error:
            problems.append(error.reason)
    if options.read and options.read != "-" and not os.path.exists(options.read):
        problems.append(f"{options.read}: there is no such file")
    if options.follow and options.user and not _may_read(options.follow, options.user):
        problems.append(
            f"{options.follow}: {options.user.pw_name} may not read it; have it made with a group "
            f"that {options.user.pw_name} is in and mode 640 (newsyslog.conf), or use --user root"
        )
    return problems


def check_source(options: Options) -> tuple[list[str], list[str]]:
    """Look at the source; opening the interface needs root.

    Returns:
        What is wrong with it, and what is not there yet and would be waited for.
    """
    name = options.interface
    if options.read == "-":
        return [], []
    if file := options.follow or options.read:
        return _check_file(file)
    if not is_interface(name):
        return [], [f"{name}: there is no such interface (yet)"]
    if options.tcpdump:
        return _check_tcpdump(options), []
    source = LiveSource(name, lambda _level, _message: None, expression=options.bpf)
    source.read()
    problems = [] if source.is_open else [source.state]
    source.close()
    return problems, []


def _check_file(file: str) -> tuple[list[str], list[str]]:
    try:
        if stat.S_ISFIFO(os.stat(file).st_mode):
            return [], []
        problem = look(Path(file)).problem
    except FileNotFoundError:
        return [], [f"{file}: there is no such file (yet)"]
    except OSError as error:
        problem = str(error.strerror)
    return [f"{file}: {problem}"] if problem else [], []


def _check_tcpdump(options: Options) -> list[str]:
    """Start tcpdump as a worker does, and look at the first bytes that it writes, if any."""
    child = tcpdump.start(options)
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        if not select.select([child.stdout], [], [], tcpdump.PATIENCE)[0]:
            return []  # OpenBSD's may write nothing before the first packet
        data = child.stdout.read(1 << 16)
        if not data:
            tcpdump.stop(child)
            said = child.stderr.read(1 << 16).decode("utf-8", "replace").splitlines()
            program = os.path.basename(options.tcpdump or "")
            return [f"{program}: {said[-1] if said else 'ended without a word'}"]
        Decoder().feed(data)
    except PflogError as error:
        return [f"{options.interface}: {error.reason}"]
    finally:
        tcpdump.stop(child)
        child.stdout.close()
        child.stderr.close()
    return []


def _may_read(path: str, user: pwd.struct_passwd) -> bool:
    """Whether the file's mode lets a user read it; a missing one is waited for."""
    try:
        status = os.stat(path)
    except OSError:
        return True
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)
