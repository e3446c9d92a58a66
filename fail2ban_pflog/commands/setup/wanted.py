# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files and links a host is to have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Union

from ..host import HostError
from ..host.share import Share
from ..host.systems import System
from .changes import Link, Write

__all__ = ["LOCAL", "Wanted", "wanted"]

Wanted = Union[Write, Link]

LOCAL = "jail.d/00-pflog-backend.local"
"""Where the loader is told of the package; a .local, for a .conf is replaced by updates."""

_LOCAL_TEXT = """\
# Written by `fail2ban-pflog setup`: where fail2ban's Python finds the package fail2ban_pflog.
[pflog-backend]
action = pflog-backend.py[path="{path}"]
"""

_ON_THE_PATH = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_OF_MAN = ("/usr/share/man", "/usr/local/share/man", "/usr/local/man")

_PROGRAM = re.compile(rb"/usr/bin/fail2ban-pflogd")
_PYTHON = re.compile(rb"/usr/local/bin/python3\[0-9\.\]\*")  # in OpenBSD's pexp


def wanted(
    system: System, share: Share, config: str, path: str, *, writer: bool = False
) -> list[Wanted]:
    """What ``setup`` puts there.

    config: fail2ban's configuration directory.  path: what the loader is told; "" where
        fail2ban's Python finds the package by itself.
    writer: whether the text log's writer is asked for.
    Raises HostError for a path that cannot be told.
    """
    found: list[Wanted] = [
        Write(f"{config}/{file.relative_to(share.config)}", file.read_bytes())
        for file in sorted(share.config.glob("*.d/*"))
        if file.suffix in (".conf", ".py")
    ]
    if path:
        found.append(Write(f"{config}/{LOCAL}", local_text(path)))
    found += [
        Link(f"{system.programs}/{program.name}", str(program))
        for program in share.programs
        if str(program.parent) not in (*_ON_THE_PATH, system.programs)
    ]
    found += [
        Link(f"{system.manuals}/{_section(page)}/{page.name}", str(page))
        for page in share.manuals
        if str(page.parent.parent) not in (*_OF_MAN, system.manuals)
    ]
    if writer:
        found += [
            Write(each.target, _adapted(share, system, share.files / each.source), each.mode)
            for each in system.writer
        ]
    return found


def _section(page: Path) -> str:
    """The directory of a manual page: man8 for fail2ban-pflogd.8, packed or not."""
    return "man" + page.name.removesuffix(".gz").rpartition(".")[2]


def local_text(path: str) -> bytes:
    """The file that tells the loader of the package.  Raises HostError where that cannot be."""
    if re.search(r'["%\[\]*?\n\r]', path):
        raise HostError(
            f"{path}: fail2ban's configuration cannot name it; make the virtual environment in a "
            "directory of a plain name, as /usr/local/fail2ban-pflog"
        )
    return _LOCAL_TEXT.format(path=path).encode()


def _adapted(share: Share, system: System, file: Path) -> bytes:
    """A file of the writer, with the paths that its program has here."""
    program = next((each for each in share.programs if each.name == "fail2ban-pflogd"), None)
    content = file.read_bytes()
    if program is None:
        return content
    linked = str(program.parent) not in _ON_THE_PATH
    place = f"{system.programs}/{program.name}" if linked else str(program)
    content = _PROGRAM.sub(place.encode(), content)
    first = program.open("rb").readline().strip()
    return _PYTHON.sub(first[2:] or b"python3", content) if first.startswith(b"#!/") else content
