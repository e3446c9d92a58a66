# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal: colour and progress, and only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional, TextIO

from ..replay.sweep import Progress
from .text import WIDTH, Document, Style, lines, text

__all__ = ["progress", "show"]

COLOURS = {Style.TITLE: "1", Style.HEAD: "4", Style.MARKED: "1;31", Style.NOTE: "2"}
"""How a terminal shows a line: bold, underlined, bold red, faint."""

EVERY = 0.5
"""Seconds between two lines of progress."""


def show(document: Document, verbose: bool = False, out: Optional[TextIO] = None) -> None:
    """Print a document, in colour where it goes to a terminal that has any.

    Args:
        document: what is printed.
        verbose: with what its rows have more.
        out: where to; standard output.
    """
    out = out or sys.stdout
    if not out.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        out.write(text(document, verbose))
    else:
        for style, line in lines(document, max(WIDTH, shutil.get_terminal_size().columns), verbose):
            colour = COLOURS.get(style)
            out.write(f"\x1b[{colour}m{line}\x1b[0m\n" if colour and line else f"{line}\n")
    out.flush()


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show how far long work has come, with rate and remaining time, on stderr's terminal only."""
    if not sys.stderr.isatty():
        yield lambda _done, _size, _packets: None
        return
    begin = due = time.monotonic()

    def report(done: int, size: int, packets: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now < due:
            return
        due = now + EVERY
        spent = max(now - begin, 1e-3)
        words = f"{title} {packets:,} packets, {packets / spent:,.0f}/s"
        if size and done:
            words += f", {done / size:.0%}, {spent * (size - done) / done:.0f} s left"
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()

    try:
        yield report
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
