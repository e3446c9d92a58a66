# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``setup`` has made on this host: kept beside fail2ban's configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..host import HostError

__all__ = ["NAME", "Manifest", "digest"]

NAME = "fail2ban-pflog.manifest"
"""In fail2ban's configuration directory; fail2ban reads no file of that name."""


def digest(content: bytes) -> str:
    """What a file is recognised by."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Manifest:
    """What was made.

    files: path -> digests of what was written there.  More than one only while a setup goes
        on: the file is then one of them.
    links: path -> what it points to.  directories: those that were made.
    writer: whether the text log's writer was asked for.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    writer: bool = False

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read it; an empty one where none is.  Raises HostError where it is damaged."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, OSError) as error:
            raise HostError(
                f"{path} cannot be read ({error}): restore it; without it, setup would take its "
                "own files for yours"
            ) from None

    def dump(self) -> bytes:
        """As it is written."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()
