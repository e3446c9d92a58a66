# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that fail2ban runs on, as ``setup`` and ``check`` see it.

    systems      where each system keeps what; a table
    tools        running the host's own programs; a test passes recorded answers instead
    installation the host's fail2ban: its configuration, programs and interpreter
    probe        what that interpreter is asked; it never runs in ours
    share        the files that came with this package

Paths are the host's own; ``root`` stands before each of them where another directory is
to be taken for the host's root, as DESTDIR does.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["HostError", "below"]


class HostError(Exception):
    """What is missing on this host, and what to do; for the administrator."""


def below(root: Path, path: str) -> Path:
    """Return a path of the host as a path of ours."""
    return root / os.path.abspath(path).lstrip("/")
