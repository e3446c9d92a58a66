# SPDX-License-Identifier: GPL-2.0-or-later
"""Change one file of the host: it is written beside its place, then renamed.

So a file is there whole or not at all.  A run that was killed leaves a temporary file at
most, under a name that is always the same: the next run removes it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional

from ..host import below

__all__ = ["Wanted", "apply", "mark", "missing_directories", "temporary"]

_LINK = "-> "


class Wanted(NamedTuple):
    """A file (content) or a symbolic link (target) that is to be there.

    Attributes:
        mode: Of a new file; one that is there keeps its own.
        is_default: Written only where nothing is, and the administrator's from then on.
    """

    path: str
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    is_default: bool = False

    @property
    def mark(self) -> str:
        """What it is recognised by: a digest, or a link's arrow and target."""
        return _LINK + self.target if self.target else hashlib.sha256(self.content).hexdigest()


def mark(place: Path) -> str:
    """Return what the thing at a place is recognised by; empty where there is nothing."""
    if place.is_symlink():
        return _LINK + os.readlink(place)
    if not place.is_file():
        return "no file" if place.exists() else ""
    return hashlib.sha256(place.read_bytes()).hexdigest()


def temporary(place: Path) -> Path:
    """Return the name under which a file is written first.

    No program reads it in place of the file: rc(8) and logrotate pass over names that end with
    ``~`` (logrotate not if they begin with a point), fail2ban and newsyslog read ``*.conf``.
    """
    return place.with_name(f"{place.name}.fail2ban-pflog~")


def apply(root: Path, path: str, wanted: Optional[Wanted]) -> None:
    """Put what is wanted into its place; None removes what is there.

    Raises:
        OSError: With the file's name, which was not changed.
    """
    place = below(root, path)
    new = temporary(place)
    try:
        if wanted is None:
            place.unlink(missing_ok=True)
            return
        for directory in missing_directories(root, path):
            below(root, directory).mkdir()
            below(root, directory).chmod(0o755)  # whatever the umask is: man reads there
        try:
            new.unlink(missing_ok=True)
            if wanted.target:
                new.symlink_to(wanted.target)
            else:
                _write(new, wanted, place)
            new.replace(place)
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
    except OSError as error:
        error.filename = str(place)
        raise


def _write(new: Path, wanted: Wanted, place: Path) -> None:
    with new.open("xb") as file:
        mode = wanted.mode
        if place.exists():
            was = place.stat()
            mode = was.st_mode & 0o7777
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
        os.fchmod(file.fileno(), mode)
        file.write(wanted.content)
        file.flush()
        os.fsync(file.fileno())


def missing_directories(root: Path, path: str) -> list[str]:
    """Return the directories that have to be made for a file, the outermost first."""
    parents = [str(each) for each in reversed(Path(path).parents)]
    return [each for each in parents if not below(root, each).is_dir()]
