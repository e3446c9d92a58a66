# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal: colour and progress, by rich where it is installed, and only on a terminal."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional, TextIO

from ..replay.workers import Progress
from .text import WIDTH, Document, Style, lines, text

__all__ = ["progress", "show"]

STYLES = {
    Style.PLAIN: None,
    Style.TITLE: "bold",
    Style.HEAD: "underline",
    Style.MARKED: "bold red",
    Style.NOTE: "dim",
}
"""How rich shows a line."""

EVERY = 0.5
"""Seconds between two lines of progress without rich."""


def _rich(name: str) -> Any:
    """A module of rich, or None."""
    try:
        return importlib.import_module(f"rich.{name}")
    except ImportError:
        return None


def show(document: Document, verbose: bool = False, out: Optional[TextIO] = None) -> None:
    """Print a document; plainly where it does not go to a terminal or rich is missing.

    verbose: with what its rows have more.
    """
    out = out or sys.stdout
    console_module = _rich("console") if out.isatty() else None
    if console_module is None:
        out.write(text(document, verbose))
        out.flush()
        return
    console = console_module.Console(file=out, highlight=False, markup=False, emoji=False)
    for style, line in lines(document, max(WIDTH, console.width), verbose):
        console.print(line, style=STYLES[style], soft_wrap=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """How far long work has come, with rate and remaining time, on stderr's terminal only."""
    if not sys.stderr.isatty():
        yield lambda _done, _size, _packets: None
        return
    module = _rich("progress")
    if module is None:
        try:
            yield _PlainProgress(title)
        finally:
            sys.stderr.write("\r\x1b[K")
        return
    bar = module.Progress(
        module.TextColumn("{task.description}"),
        module.BarColumn(),
        module.TaskProgressColumn(),
        module.TextColumn("{task.fields[rate]}"),
        module.TimeRemainingColumn(),
        console=importlib.import_module("rich.console").Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task(title, total=None, rate="")
        begin = time.monotonic()

        def report(done: int, size: int, packets: int) -> None:
            rate = packets / max(time.monotonic() - begin, 1e-3)
            bar.update(task, completed=done, total=size or None, rate=f"{rate:,.0f} packets/s")

        yield report


class _PlainProgress:
    """One line that is written over."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begin = self._next = time.monotonic()

    def __call__(self, done: int, size: int, packets: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        spent = max(now - self._begin, 1e-3)
        words = f"{self._title} {packets:,} packets, {packets / spent:,.0f}/s"
        if size and done:
            left = spent * (size - done) / done
            words += f", {done / size:.0%}, {left:.0f} s left"
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()
