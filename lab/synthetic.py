# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of made-up sources, in more variants than real programs give (those: lab.py).

    python -m lab.synthetic STEM [SEED]    writes STEM.live.pcap, .pflogd.pcap, .labels.json

The same seed makes the same captures.  ``scene.KINDS`` tells what is to become of whom,
``honest`` and ``scans`` what they do.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import evaders, honest, scans
from .labels import write
from .scene import Scene

__all__ = ["make"]


def make(stem: Path, seed: int = 1) -> None:
    """Write the captures and labels of all stories."""
    scene = Scene(seed)
    for story in (*honest.STORIES, *scans.STORIES, *evaders.STORIES):
        story(scene)
    write(stem, scene.dropped, scene.labels)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m lab.synthetic STEM [SEED]")
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
