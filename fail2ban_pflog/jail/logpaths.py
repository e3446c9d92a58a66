# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's table of a jail's log files, as savefiles: its own containers read lines.

So ``logpath``, ``addlogpath``, ``dellogpath`` and a reload work as for every other jail.
The server's thread changes the table alone, which takes no time (``intake``).
"""

from __future__ import annotations

import math
from typing import Optional

from fail2ban.helpers import getLogger
from fail2ban.server.filter import FileFilter
from fail2ban.server.mytime import MyTime

from .inputs import Inputs
from .positions import File

__all__ = ["SavefileFilter"]

logSys = getLogger("fail2ban.filterpflog")


class SavefileFilter(FileFilter):
    """A FileFilter of savefiles.

    inputs: what follows them; None where the jail has wrong options.
    """

    inputs: Optional[Inputs] = None

    def addLogPath(self, path: str, tail: bool = False, autoSeek: bool = True) -> None:
        """Follow the savefile ``path``; it may come later.

        tail: begin at its end.  autoSeek: pass over packets older than findtime.
        """
        getattr(self, "_reload_logs", {}).pop(path, None)
        if self.inputs is None:
            return
        if self.containsLogPath(path):
            if not hasattr(self, "_reload_logs"):
                logSys.error("%s already exists", path)
            return
        since = MyTime.time() - self.getFindTime() if autoSeek else 0.0
        self.inputs.add(path, math.inf if tail else since)
        logSys.info("[%s] Added savefile: %r", self.jailName, path)

    def delLogPath(self, path: str) -> None:
        """Follow the savefile ``path`` no more; its place is kept."""
        if self.inputs is not None and self.inputs.remove(path):
            logSys.info("[%s] Removed savefile: %r", self.jailName, path)

    def getLogPaths(self) -> list[str]:
        """Return the paths of the savefiles."""
        return self.inputs.paths if self.inputs is not None else []

    def getLogs(self) -> list[File]:
        """Return the savefiles."""
        return list(self.inputs.files.values()) if self.inputs is not None else []

    def getLog(self, path: str) -> Optional[File]:
        """Return one savefile."""
        return self.inputs.files.get(path) if self.inputs is not None else None

    def getLogCount(self) -> int:
        """Return how many savefiles there are."""
        return len(self.getLogPaths())

    def containsLogPath(self, path: str) -> bool:
        """Return whether the savefile is followed."""
        return path in self.getLogPaths()
