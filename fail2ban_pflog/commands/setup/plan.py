# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do on the host, and what to leave alone: decided before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from ..host import below
from .changes import Wanted, mark, missing_directories
from .manifest import Manifest

__all__ = ["Plan", "Step"]

NEW = ".new"
"""What our version is called beside a file that the administrator changed."""


class Step(NamedTuple):
    """A line for the administrator, and the change that it describes.

    Attributes:
        words: Empty for what is no news.
        path: What is changed; empty where something is left alone.
        wanted: What is put there; None where something is removed.
    """

    words: str
    path: str = ""
    wanted: Optional[Wanted] = None


class Plan:
    """What to do.

    Attributes:
        steps: In their order; after each of them fail2ban finds what it needs.
        kept: How many files and links are as they should be.
        marks: What will be ours afterwards.
    """

    def __init__(self, root: Path, before: Manifest) -> None:
        self.steps: list[Step] = []
        self.kept = 0
        self.marks: dict[str, list[str]] = {}
        self._root = root
        self._before = before

    def set_up(self, wanted: Sequence[Wanted], path: str, *, writer: bool) -> None:
        """Put what is wanted onto the host, and remove what was ours and is wanted no more.

        The manifest, at ``path``, is also written first, with what is there and what is to come:
        it is true whatever ends us meanwhile.
        """
        before = self._before
        for each in wanted:
            self._put(each)
        known = {*self.marks, *(each.path for each in wanted)}
        self._remove({path: marks for path, marks in before.marks.items() if path not in known})
        made = (missing_directories(self._root, step.path) for step in self.steps if step.wanted)
        directories = sorted({directory for each in made for directory in each})
        after = Manifest(self.marks, [*before.directories, *directories], writer)
        if not any(step.path for step in self.steps) and after == before:
            return
        both = {
            name: list(dict.fromkeys([*before.marks.get(name, ()), *self.marks.get(name, ())]))
            for name in {**before.marks, **self.marks}
        }
        first = Wanted(path, after._replace(marks=both).dump())
        self.steps.insert(0, Step("", path, first))
        self.steps.append(Step("", path, Wanted(path, after.dump())))

    def remove(self, path: str) -> None:
        """Take back all that is ours, the manifest last."""
        self._remove(self._before.marks)
        if self._before.marks or self._before.directories:
            self.steps.append(Step("", path))

    def _put(self, wanted: Wanted) -> None:
        path, target = wanted.path, wanted.target
        now, ours = mark(below(self._root, path)), self._before.marks.get(path, [])
        if wanted.is_default:
            if not now:
                self.steps.append(Step(f"write {path}; it is yours from now on", path, wanted))
            return
        if not now:
            words = f"link {path} -> {target}" if target else f"write {path}"
            self.steps.append(Step(words, path, wanted))
        elif now == wanted.mark:
            self.kept += 1
            if not ours:
                return  # somebody else put it there: so it is not ours to remove
        elif now in ours:
            words = f"link {path} -> {target}, no more {now[3:]}" if target else f"replace {path}"
            self.steps.append(Step(words, path, wanted))
        else:
            self._leave(wanted, ours)
            return
        self.marks[path] = [wanted.mark]

    def _leave(self, wanted: Wanted, ours: list[str]) -> None:
        path, beside = wanted.path, wanted.path + NEW
        if ours and not wanted.target:
            self.marks[path] = ours
        if wanted.target:
            self.steps.append(Step(f"leave {path}: it is not ours; ours is {wanted.target}"))
            return
        left = f"leave {path}: setup did not write it so, it is yours"
        now = mark(below(self._root, beside))
        if now == wanted.mark:
            self.steps.append(Step(f"{left}; the new version is in {beside}"))
        elif not now or now in self._before.marks.get(beside, []):
            # Not executable: FreeBSD's rc runs whatever is beside a script and is.
            new = Wanted(beside, wanted.content)
            self.steps.append(Step(f"{left}; write the new version to {beside}", beside, new))
        else:
            words = f"{left}, and so is {beside}; the new version is in the package"
            self.steps.append(Step(words))
            return
        self.marks[beside] = [wanted.mark]

    def _remove(self, ours: Mapping[str, list[str]]) -> None:
        """Remove files and links, jails before the filters and actions that they need."""
        for path, marks in sorted(ours.items(), reverse=True):
            place = below(self._root, path)
            now = mark(place)
            if now in marks:
                self.steps.append(Step(f"remove {path}", path))
                for cached in sorted(place.parent.glob(f"__pycache__/{place.stem}.*.pyc")):
                    name = f"{os.path.dirname(path)}/__pycache__/{cached.name}"
                    self.steps.append(Step(f"remove {name}", name))
            elif now and marks[-1].startswith("-> "):
                self.steps.append(Step(f"leave {path}: it is not ours any more"))
            elif now:
                self.steps.append(Step(f"leave {path}: setup did not write it so, it is yours"))
