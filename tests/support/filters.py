# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped filter, as fail2ban itself reads and applies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from fail2ban.client.filterreader import FilterReader
from fail2ban.server.filter import Filter

CONFIG = Path(__file__).parents[2] / "config"


class Pflog:
    """The filter `pflog` with options, given lines as the backend gives them."""

    def __init__(self, **options: str) -> None:
        reader = FilterReader("pflog", "jail", options, basedir=str(CONFIG))
        reader.read()
        reader.getOptions({})
        self.filter: Any = Filter(None)
        self.filter.checkAllRegex = True  # so that a line which two match is noticed
        self.filter.checkFindTime = False
        setters = {
            "prefregex": lambda value: setattr(self.filter, "prefRegex", value),
            "addfailregex": self.filter.addFailRegex,
            "datepattern": self.filter.setDatePattern,
        }
        for command in reader.convert():
            for value in command[3] if command[0] == "multi-set" else [command[3]]:
                setters.get(command[2], lambda _: None)(value)

    def source(self, line: str) -> Optional[str]:
        """Return the address that the line counts against; None where no expression matches."""
        found = self.filter.findFailure(("", "", line), 0)
        assert len(found) <= 1, f"{len(found)} expressions match {line}"
        return str(found[0][1]) if found else None

    def __contains__(self, line: str) -> bool:
        return self.source(line) is not None
