# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``setup`` has made on this host: kept beside fail2ban's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..host import HostError

__all__ = ["NAME", "Manifest"]

NAME = "fail2ban-pflog.manifest"
"""In fail2ban's configuration directory; fail2ban reads no file of that name."""


class Manifest(NamedTuple):
    """What was made.

    Attributes:
        marks: Path -> what the file or link there is recognised by; while a setup goes on, two.
        writer: Whether the text log's writer was asked for.
    """

    marks: dict[str, list[str]]
    directories: list[str]
    writer: bool = False

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read the manifest; an empty one where there is none.  Raises HostError for damage."""
        try:
            found = json.loads(path.read_text())
            links = {name: [f"-> {target}"] for name, target in found["links"].items()}
            return cls({**found["files"], **links}, found["directories"], found["writer"])
        except FileNotFoundError:
            return cls({}, [])
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise HostError(
                f"{path} cannot be read ({error}): restore it; without it, setup would take its "
                "own files for yours"
            ) from None

    def dump(self) -> bytes:
        """Return the text of its file."""
        links = {
            path: marks[0].removeprefix("-> ")
            for path, marks in self.marks.items()
            if len(marks) == 1 and marks[0].startswith("-> ")
        }
        found = {
            "files": {path: marks for path, marks in self.marks.items() if path not in links},
            "links": links,
            "directories": self.directories,
            "writer": self.writer,
        }
        return (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()
