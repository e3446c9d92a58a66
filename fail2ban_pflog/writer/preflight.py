# SPDX-License-Identifier: GPL-2.0-or-later
"""What --check sees of the source: a mistake, or what a start would wait for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..sources.live import LiveSource
from ..sources.look import is_interface, look
from .options import Options

__all__ = ["check_source"]


def check_source(options: Options) -> tuple[list[str], list[str]]:
    """What is wrong with what is to be read, and what is not there yet and waited for.

    Opening the interface needs root.
    """
    if options.read == "-":
        return [], []
    if file := options.follow or options.read:
        return _check_file(file)
    name = options.interface
    if not is_interface(name):
        return [], [f"{name}: there is no such interface (yet)"]
    if options.tcpdump:
        return [], []
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
