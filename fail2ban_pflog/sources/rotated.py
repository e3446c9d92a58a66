"""The rotated companions of a savefile, as newsyslog and logrotate name them.

/var/log/pflog has pflog.0 (newest), pflog.1.bz2, ...; logrotate begins at .1 or puts
a date behind the name.  The order is taken from the names alone: no clock is asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from .reader import SUFFIXES

__all__ = ["rotated"]

_COMPRESSED = "(?:" + "|".join(re.escape(suffix) for suffix in SUFFIXES if suffix) + ")?"
_NUMBERED = re.compile(rf"\.(\d{{1,5}}){_COMPRESSED}")
_DATED = re.compile(rf"[-.](\d{{8}}(?:[-T.]?\d+)*){_COMPRESSED}")


def rotated(path: Path) -> list[Path]:
    """The rotated files beside ``path``, oldest first.

    While a file is being compressed it stands there twice; the plain one is taken.
    """
    found: dict[tuple[int, int, str], Path] = {}
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return []
    for name in names:
        if not name.startswith(path.name):
            continue
        rest = name[len(path.name) :]
        if numbered := _NUMBERED.fullmatch(rest):
            key = (1, -int(numbered[1]), "")
        elif dated := _DATED.fullmatch(rest):
            key = (0, 0, dated[1])
        else:
            continue
        found.setdefault(key, path.parent / name)  # sorted: the plain name comes first
    return [found[key] for key in sorted(found)]
