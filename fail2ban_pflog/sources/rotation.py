# SPDX-License-Identifier: GPL-2.0-or-later
"""The rotated companions of a savefile, as newsyslog and logrotate name them.

/var/log/pflog has pflog.0 (newest), pflog.1.bz2, ...; logrotate begins at .1 or puts
a date behind the name.  The order is taken from the names alone: no clock is asked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

__all__ = ["is_rotated", "rotated"]

_COMPRESSED = r"(?:\.(?:gz|bz2|xz|zst))?"
_NUMBERED = re.compile(rf"\.(\d{{1,5}}){_COMPRESSED}")
_DATED = re.compile(rf"[-.](\d{{8}}(?:[-T.]?\d+)*){_COMPRESSED}")


_Key = tuple[int, int, str]


def rotated(path: Path) -> list[Path]:
    """Return the rotated files beside ``path``, oldest first.

    While a file is being compressed it stands there twice; the plain one is taken.

    Raises:
        OSError: The directory cannot be read now.
    """
    found: dict[_Key, Path] = {}
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    for name in names:
        key = _key(name, path.name)
        if key is not None:
            found.setdefault(key, path.parent / name)  # sorted: the plain name comes first
    return [found[key] for key in sorted(found)]


def is_rotated(path: Path, of: Path) -> bool:
    """Return whether ``path`` is, by its name, a rotated file of another one."""
    return path.parent == of.parent and _key(path.name, of.name) is not None


def _key(name: str, base: str) -> Optional[_Key]:
    """Return what rotated files are sorted by; None for the name of something else."""
    if not name.startswith(base):
        return None
    rest = name[len(base) :]
    if numbered := _NUMBERED.fullmatch(rest):
        return (1, -int(numbered[1]), "")
    if dated := _DATED.fullmatch(rest):
        return (0, 0, dated[1])
    return None
