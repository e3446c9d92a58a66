# SPDX-License-Identifier: GPL-2.0-or-later
"""Change files on the host: all of them, or none.

Everything new is written beside its place first, so a full disk or a missing permission
changes nothing.  Then each is renamed into its place, which nobody sees half done; if that
fails for one, those before it are put back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Union

from ..host import below

__all__ = [
    "Change",
    "Link",
    "Remove",
    "Write",
    "apply",
    "missing_directories",
    "remove_directories",
]


class Write(NamedTuple):
    """A regular file; ``mode`` is that of a new one, one that is there keeps its own."""

    path: str
    content: bytes
    mode: int = 0o644


class Link(NamedTuple):
    """A symbolic link."""

    path: str
    target: str


class Remove(NamedTuple):
    """A file or a link to remove."""

    path: str


Change = Union[Write, Link, Remove]


def apply(root: Path, changes: Sequence[Change]) -> None:
    """Do all changes, in their order.  Raises OSError, with nothing changed."""
    staged: list[tuple[Path, Optional[Path]]] = []  # place, and what is to be renamed there
    aside: list[Optional[Path]] = []  # what was in their places
    with ExitStack() as undo:
        for directory in missing_directories(root, changes):
            made = below(root, directory)
            made.mkdir()
            undo.callback(_try, made.rmdir)
            made.chmod(0o755)  # whatever the umask is: man and fail2ban-client read there
        for change in changes:
            place, new = below(root, change.path), None
            if not isinstance(change, Remove):
                new = _stage(place, change)
                undo.callback(_try, new.unlink)
            staged.append((place, new))
        for place, new in staged:
            old = _set_aside(place, is_kept=new is not None)
            undo.callback(_try, _restore, place, old)
            aside.append(old)
            if new is not None:
                new.replace(place)
        undo.pop_all()
    for old in filter(None, aside):
        _try(old.unlink)


def _try(step: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(OSError):
        step(*arguments)


def remove_directories(root: Path, directories: Sequence[str]) -> None:
    """Remove those that are empty, the deepest first."""
    for directory in sorted(directories, key=len, reverse=True):
        _try(below(root, directory).rmdir)


def missing_directories(root: Path, changes: Sequence[Change]) -> list[str]:
    """The directories that have to be made for changes, each behind the one it is in."""
    parents = [Path(change.path).parent for change in changes if not isinstance(change, Remove)]
    return sorted(
        {
            str(each)
            for parent in parents
            for each in (parent, *parent.parents)
            if not below(root, str(each)).is_dir()
        }
    )


def _stage(place: Path, change: Union[Write, Link]) -> Path:
    """Write what is new under a name of its own, beside its place."""
    try:
        return _write_beside(place, change)
    except OSError as error:
        error.filename = str(place)
        raise


def _write_beside(place: Path, change: Union[Write, Link]) -> Path:
    if isinstance(change, Link):
        name = _unused(place)
        name.symlink_to(change.target)
        return name
    descriptor, text = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    name = Path(text)
    try:
        with os.fdopen(descriptor, "wb") as file:
            mode = change.mode
            if place.exists():
                was = place.stat()
                mode = was.st_mode & 0o7777
                if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), was.st_uid, was.st_gid)
            os.fchmod(file.fileno(), mode)
            file.write(change.content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        name.unlink()
        raise
    return name


def _set_aside(place: Path, *, is_kept: bool) -> Optional[Path]:
    """Give what is there another name, which is returned; None where nothing is.

    is_kept: it has its own name as well, so that its place is never empty.
    """
    if not os.path.lexists(place):
        return None
    old = _unused(place)
    if is_kept and not place.is_symlink():
        os.link(place, old)
    else:
        place.rename(old)
    return old


def _restore(place: Path, old: Optional[Path]) -> None:
    if old is None:
        place.unlink()
    else:
        old.replace(place)
        old.unlink(missing_ok=True)  # where both are the same file, a rename does nothing


def _unused(place: Path) -> Path:
    """A name beside a place; nobody else makes names like it in a directory of root's."""
    return place.with_name(f".{place.name}.{secrets.token_hex(8)}")
