# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that outlive a worker, in memory shared by the monitor and its workers."""

from __future__ import annotations

import mmap

__all__ = ["Counters"]

_NAMES = ("packets", "lines", "left_out", "dropped", "bad", "missed", "starts", "opened")


class Counters:
    """Numbers that only grow.

    Keys:
        packets: read from the source.
        lines: written to the log.
        left_out: packets that the policy does not count, repeats among them.
        dropped: lines that could not be written.
        bad: packets that are no pflog frames.
        missed: packets that the kernel dropped, as far as the source knows.
        starts: of workers.
        opened: how often the log was opened.
    """

    def __init__(self) -> None:
        self._values = memoryview(mmap.mmap(-1, 8 * len(_NAMES))).cast("Q")

    def __getitem__(self, name: str) -> int:
        return self._values[_NAMES.index(name)]

    def add(self, name: str, amount: int = 1) -> None:
        """Count ``amount`` more."""
        self._values[_NAMES.index(name)] += amount

    def __str__(self) -> str:
        """Return all of them in words, for the status and the last message."""
        return (
            f"{self['packets']} packets read, {self['lines']} lines written, "
            f"{self['dropped']} lines dropped, {self['bad']} packets not understood, "
            f"{self['left_out']} packets left out, "
            f"{self['missed']} missed by the kernel, log opened {self['opened']} times, "
            f"worker started {self['starts']} times"
        )
