# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system's own tools print, from tests/data/tools, in place of the programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Union

from fail2ban_pflog.commands.host.tools import Answer

DATA = Path(__file__).parents[1] / "data/tools"


class Tools:
    """The tools of one system; a test says what else they print.

    changed: command -> what it prints, or the error that it ends with.
    """

    def __init__(self, system: str, changed: dict[str, Union[str, Answer]]) -> None:
        self.folder = DATA / system
        self.changed = changed

    def __call__(self, command: Sequence[str]) -> Answer:
        words = " ".join(command)
        given = self.changed.get(words)
        if isinstance(given, Answer):
            return given
        if given is not None:
            return Answer(0, given, "")
        path = self.folder / words.replace(" ", "_").replace("/", ",")
        if path.is_file():
            return Answer(0, path.read_text(), "")
        return Answer(None, "", f"there is no {command[0]}")
