# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of made-up sources, in more variants than real programs give (those: lab.py).

    python -m lab.synthetic STEM [SEED]    writes STEM.live.pcap, .pflogd.pcap, .labels.json,
                                           and STEM.asked...: hosts that this host asked

The same seed makes the same captures.  ``scene.KINDS`` says what is to become of which,
``honest`` and ``scans`` what they do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from . import asked, evaders, honest, scans
from .labels import write
from .scene import Scene

__all__ = ["make"]

STORIES = (*honest.STORIES, *scans.STORIES, *evaders.STORIES)


def make(stem: Path, seed: int = 1, stories: Sequence[Callable[[Scene], None]] = STORIES) -> None:
    """Write the captures and labels of stories."""
    scene = Scene(seed)
    for story in stories:
        story(scene)
    write(stem, scene.dropped, scene.labels)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m lab.synthetic STEM [SEED]")
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    make(Path(sys.argv[1]), seed)
    make(Path(f"{sys.argv[1]}.asked"), seed, asked.STORIES)
