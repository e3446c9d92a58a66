# SPDX-License-Identifier: GPL-2.0-or-later
"""How to install a package that an extra needs, for the Python that runs."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

__all__ = ["how_to_install"]


def how_to_install(name: str, debian: str = "") -> str:
    """Return the command that installs a package.

    A system's own Python may refuse pip (PEP 668), as Debian's does.

    Args:
        name: What pip calls it.
        debian: What Debian calls it, if it has it.
    """
    managed = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
    if not managed or sys.prefix != sys.base_prefix:
        return f"{sys.executable} -m pip install {name}"
    if debian and Path("/etc/debian_version").exists():
        return f"apt-get install {debian}"
    return (
        f"{sys.executable} -m venv --system-site-packages DIR && DIR/bin/pip install {name}, "
        "and run DIR/bin/python -m fail2ban_pflog"
    )
