# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files and links a host is to have, in the order in which they are made."""

from __future__ import annotations

import re
from pathlib import Path

from ..host import HostError
from ..host.share import Share
from ..host.systems import Shipped, System
from .changes import Wanted

__all__ = ["LOCAL", "wanted"]

LOCAL = "jail.d/00-pflog-backend.local"
"""Says where the package is; a .local, for a .conf is replaced by updates."""

_LOCAL_TEXT = """\
# Written by `fail2ban-pflog setup`: where fail2ban's Python finds the package fail2ban_pflog.
[pflog-backend]
action = pflog-backend.py[path="{path}"]
"""

_SEARCHED = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/share/",
             "/usr/local/share/", "/usr/local/man/")  # fmt: skip
"""Where programs, manuals and completions are found without a link."""

_PROGRAM = re.compile(rb"/usr/bin/fail2ban-pflogd")
_PYTHON = re.compile(rb"/usr/local/bin/python3\[0-9\.\]\*")  # in OpenBSD's pexp


def wanted(
    system: System, share: Share, config: str, path: str, *, writer: bool = False
) -> list[Wanted]:
    """Return what ``setup`` puts onto the host: what is needed stands before what needs it.

    Args:
        system: Where this system keeps things.
        share: What the package has.
        config: fail2ban's configuration directory.
        path: Where the loader finds the package; empty where fail2ban's Python finds it by itself.
        writer: Whether the text log's writer is asked for.
    """
    files = [
        Wanted(f"{config}/{file.relative_to(share.config)}", file.read_bytes())
        for file in share.config.glob("*.d/*")
        if file.suffix in (".conf", ".py")
    ]
    if path:
        files.append(Wanted(f"{config}/{LOCAL}", _local_text(path)))
    # Actions, filters, the loader's jail, which needs its .local, then the other jails.
    files.sort(key=lambda file: file.path.replace(".local", ".a"))
    links = [
        *((f"{system.programs}/{program.name}", program) for program in share.programs),
        *((f"{system.manuals}/{_section(page)}/{page.name}", page) for page in share.manuals),
        *((f"{system.completions}/{name}", page) for name, page in share.completions.items()),
    ]
    files += [
        Wanted(place, target=str(target))
        for place, target in links
        if not str(target).startswith(_SEARCHED)
    ]
    shipped = [*system.service, *(system.writer if writer else ())]
    return [*files, *(_adapted(share, system, each, config) for each in shipped)]


def _section(page: Path) -> str:
    """Return the directory of a manual page: man8 for fail2ban-pflogd.8, compressed or not."""
    return "man" + page.name.removesuffix(".gz").rpartition(".")[2]


def _local_text(path: str) -> bytes:
    """Name the package's place to the loader.  Raises HostError where that cannot be done."""
    if re.search(r'["%\[\]*?\n\r]', path):
        raise HostError(
            f"{path}: fail2ban's configuration cannot name it; make the virtual environment in a "
            "directory of a plain name, as /usr/local/fail2ban-pflog"
        )
    return _LOCAL_TEXT.format(path=path).encode()


def _adapted(share: Share, system: System, shipped: Shipped, config: str) -> Wanted:
    """Put the paths that our program has here into a file of the writer."""
    content = (share.files / shipped.source).read_bytes()
    program = next((each for each in share.programs if each.name == "fail2ban-pflogd"), None)
    if program is not None and not shipped.is_default:
        linked = not str(program).startswith(_SEARCHED)
        place = f"{system.programs}/{program.name}" if linked else str(program)
        content = _PROGRAM.sub(place.encode(), content)
        first = program.open("rb").readline().strip()
        if first.startswith(b"#!/"):
            content = _PYTHON.sub(first[2:] or b"python3", content)
    target = shipped.target.format(config=config)
    return Wanted(target, content, mode=shipped.mode, is_default=shipped.is_default)
