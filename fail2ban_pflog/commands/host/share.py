# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that came with this package, wherever it is.

A clone has config/, files/ and man/ beside the package; an installation has them in
share/ of what it was installed below: a virtual environment, /usr, a directory of
``pip --target``.  So they are looked for in the package's directory and all above it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from . import HostError

__all__ = ["Share", "find_share"]

_LOADER = Path("action.d/pflog-backend.py")
_PACKAGE = Path(__file__).resolve().parents[2]

PROGRAMS = ("fail2ban-pflog", "fail2ban-pflogd")


class Share(NamedTuple):
    """What there is.

    config: fail2ban's files.  files: what the writer needs.
    manuals, programs: what was found of them.
    packages: what the loader's ``path=`` takes: the virtual environment, or the directory
        that the package lies in.
    """

    config: Path
    files: Path
    manuals: list[Path]
    programs: list[Path]
    packages: Path

    @property
    def loader(self) -> Path:
        """The action that loads the backend."""
        return self.config / _LOADER


def find_share(package: Path = _PACKAGE) -> Share:
    """Find what belongs to a package.

    package: its directory.
    Raises HostError where it came without its files.
    """
    for above in package.parents:
        shared = above / "share" / "fail2ban-pflog"
        base, pages = (shared, "share/man/man*") if shared.is_dir() else (above, "man")
        if (base / "config" / _LOADER).is_file():
            break
    else:
        raise HostError(
            f"{package} came without share/fail2ban-pflog: install the package with pip, or from a "
            "clone"
        )
    in_venv = sys.prefix != sys.base_prefix
    found = [
        directory / name
        for name in PROGRAMS
        for directory in (above / "bin", Path(sys.prefix) / "bin")
        if (directory / name).is_file()
    ]
    return Share(
        config=base / "config",
        files=base / "files",
        manuals=sorted(above.glob(f"{pages}/fail2ban-pflog*.[1-9]*")),
        programs=list({each.name: each for each in reversed(found)}.values()),
        packages=Path(sys.prefix) if in_venv else package.parent,
    )
