# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that came with this package, wherever it is.

A clone has config/, files/, man/ and completions/ beside the package; an installation has
them in share/ of what it was installed below: a virtual environment, /usr, a directory of
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
_COMPLETIONS = {"bash": "bash-completion/completions", "zsh": "zsh/site-functions"}
"""Shell -> where its completions are below a share/ directory."""


class Share(NamedTuple):
    """What there is.

    Attributes:
        config: fail2ban's files.
        files: What the writer needs.
        completions: Name below a share/ directory -> file.
        packages: What the loader's ``path=`` takes: the virtual environment, or a directory.
    """

    config: Path
    files: Path
    manuals: list[Path]
    programs: list[Path]
    completions: dict[str, Path]
    packages: Path

    @property
    def loader(self) -> Path:
        """The action that loads the backend."""
        return self.config / _LOADER


def find_share(package: Path = _PACKAGE) -> Share:
    """Find what belongs to a package, by its directory.  Raises HostError where nothing is."""
    for above in package.parents:
        shared = above / "share" / "fail2ban-pflog"
        is_clone = not shared.is_dir()
        base, pages = (above, "man") if is_clone else (shared, "share/man/man*")
        if (base / "config" / _LOADER).is_file():
            break
    else:
        raise HostError(
            f"{package} came without share/fail2ban-pflog: install the package with pip, or from a "
            "clone"
        )
    programs = [
        directory / name
        for name in PROGRAMS
        for directory in (above / "bin", Path(sys.prefix) / "bin")
        if (directory / name).is_file()
    ]
    shells = "completions" if is_clone else "share"
    return Share(
        config=base / "config",
        files=base / "files",
        manuals=sorted(above.glob(f"{pages}/fail2ban-pflog*.[1-9]*")),
        programs=list({each.name: each for each in reversed(programs)}.values()),
        completions={
            f"{place}/{each.name}": each
            for shell, place in _COMPLETIONS.items()
            for each in sorted((above / shells).glob(f"{shell if is_clone else place}/*"))
            if "fail2ban-pflog" in each.name
        },
        packages=Path(sys.prefix) if sys.prefix != sys.base_prefix else package.parent,
    )  # fmt: skip
