# SPDX-License-Identifier: GPL-2.0-or-later
"""How many processes can work at once."""

from __future__ import annotations

import os

__all__ = ["cores"]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on a BSD
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
