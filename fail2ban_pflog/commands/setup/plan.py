# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be done on the host, and what is let be: decided before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..host import below
from .changes import Change, Link, Remove, Write
from .manifest import Manifest, digest
from .wanted import Wanted

__all__ = ["NEW", "Plan", "plan_removal", "plan_setup"]

NEW = ".new"
"""What our version is called beside a file that the administrator changed."""


@dataclass
class Plan:
    """What is to be done.

    changes: in their order.  told: a line for each of them, and for what is let be.
    kept: how many files and links are as they should be.
    manifest: what will be ours afterwards.
    """

    manifest: Manifest
    changes: list[Change] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    kept: int = 0

    def do(self, change: Change, words: str) -> None:
        """Add a change, and the line that tells of it."""
        self.changes.append(change)
        self.told.append(words)


def plan_setup(root: Path, wanted: Sequence[Wanted], manifest: Manifest, writer: bool) -> Plan:
    """Put what is wanted onto the host, and remove what was ours and is wanted no more."""
    plan = Plan(Manifest(directories=manifest.directories, writer=writer))
    for each in wanted:
        if isinstance(each, Link):
            _link(root, each, manifest, plan)
        else:
            _write(root, each, manifest, plan)
    places = {each.path for each in wanted}
    ours = {*plan.manifest.files, *plan.manifest.links}
    stale = Manifest(
        files={
            path: digests
            for path, digests in manifest.files.items()
            if path not in ours and path not in places
        },
        links={
            path: target
            for path, target in manifest.links.items()
            if path not in ours and path not in places
        },
    )
    _remove(root, stale, plan)
    return plan


def plan_removal(root: Path, manifest: Manifest) -> Plan:
    """Take back all that is ours."""
    plan = Plan(Manifest(directories=manifest.directories))
    _remove(root, manifest, plan)
    return plan


def _content(place: Path) -> Optional[bytes]:
    """A regular file's content; None where there is none, b"" of what is no regular file."""
    if not os.path.lexists(place):
        return None
    return place.read_bytes() if place.is_file() else b""


def _write(root: Path, file: Write, manifest: Manifest, plan: Plan) -> None:
    place = below(root, file.path)
    new, now = digest(file.content), _content(place)
    ours = manifest.files.get(file.path, [])
    if now is None:
        plan.do(file, f"write {file.path}")
    elif digest(now) == new:
        plan.kept += 1
        if not ours:
            return  # somebody else put it there: so it is not ours to remove
    elif digest(now) in ours and not place.is_symlink():
        plan.do(file, f"replace {file.path}")
    else:
        if ours:
            plan.manifest.files[file.path] = ours
        _write_beside(root, file, manifest, plan)
        return
    plan.manifest.files[file.path] = [new]


def _write_beside(root: Path, file: Write, manifest: Manifest, plan: Plan) -> None:
    # Not executable: FreeBSD's rc runs whatever lies beside a script and is.
    beside = Write(file.path + NEW, file.content)
    place, new = below(root, beside.path), digest(file.content)
    now, ours = _content(place), manifest.files.get(beside.path, [])
    let_be = f"leave {file.path}: setup did not write it so, it is yours"
    if now is not None and digest(now) == new:
        plan.told.append(f"{let_be}; the new version is in {beside.path}")
        plan.manifest.files[beside.path] = [new]
    elif now is None or digest(now) in ours:
        plan.do(beside, f"{let_be}; write the new version to {beside.path}")
        plan.manifest.files[beside.path] = [new]
    else:
        plan.told.append(f"{let_be}, and so is {beside.path}; the new version is in the package")


def _link(root: Path, link: Link, manifest: Manifest, plan: Plan) -> None:
    place = below(root, link.path)
    now = os.readlink(place) if place.is_symlink() else None
    was = manifest.links.get(link.path)
    if now == link.target:
        plan.kept += 1
        if was is None:
            return
    elif not os.path.lexists(place):
        plan.do(link, f"link {link.path} -> {link.target}")
    elif now is not None and now == was:
        plan.do(link, f"link {link.path} -> {link.target}, no more {was}")
    else:
        plan.told.append(f"leave {link.path}: it is not ours; ours is {link.target}")
        return
    plan.manifest.links[link.path] = link.target


def _remove(root: Path, manifest: Manifest, plan: Plan) -> None:
    for path, digests in sorted(manifest.files.items()):
        place = below(root, path)
        now = _content(place)
        if now is None:
            continue
        if digest(now) in digests and not place.is_symlink():
            plan.do(Remove(path), f"remove {path}")
            for cached in _cached(place):
                kept = f"{os.path.dirname(path)}/__pycache__/{cached.name}"
                plan.do(Remove(kept), f"remove {kept}")
        else:
            plan.told.append(f"leave {path}: setup did not write it so, it is yours")
    for path, target in sorted(manifest.links.items()):
        place = below(root, path)
        if place.is_symlink() and os.readlink(place) == target:
            plan.do(Remove(path), f"remove {path}")
        elif os.path.lexists(place):
            plan.told.append(f"leave {path}: it is not ours any more")


def _cached(place: Path) -> list[Path]:
    """What Python keeps of a file that it imported."""
    return sorted(place.parent.glob(f"__pycache__/{place.stem}.*.pyc"))
