# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that is examined, and its fail2ban's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Optional

from ...errors import PflogError
from ...options import DEFAULT_INTERFACE, NAME, Options, is_meant
from ..host import below
from ..host.installation import Fail2ban
from ..host.systems import System
from ..host.tools import Answer, Run

__all__ = ["LOADER", "Jail", "Subject"]

LOADER = "pflog-backend"
"""The jail that loads the backend."""

ACTION = "pf-pflog"


@dataclass
class Jail:
    """An enabled jail that reads pf's log.

    Attributes:
        settings: What the probe found in the configuration.
    """

    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.settings["name"])

    @cached_property
    def options(self) -> Options:
        """Return the backend's options.

        Raises:
            PflogError: They are wrong.
        """
        backend = self.settings["backend"]
        problem = self.settings.get("options_problem")
        if not problem and backend.partition("[")[0].strip().lower() != NAME:
            problem = f"its form is {NAME}[option=value, ...]"
        if problem:
            raise PflogError("option", 0, 0, f"backend = {backend}: {problem}")
        return Options.parse(self.settings["options"])

    @property
    def logpaths(self) -> list[str]:
        """Return the files that it follows."""
        return list(self.settings["logpaths"])

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return what it listens on; nothing where it reads files alone, or options are wrong."""
        try:
            named = self.options.interfaces
        except PflogError:
            return ()
        return named or (() if self.settings["logpath"] else (DEFAULT_INTERFACE,))

    @property
    def bpf(self) -> str:
        """Return the administrator's filter expression."""
        return str(self.settings.get("options", {}).get("bpf", ""))

    @property
    def blocking(self) -> Optional[dict[str, str]]:
        """Return the options of its action pf-pflog; None where it has another one."""
        for name, options in self.settings["actions"].items():
            if name == ACTION or options.get("actname") == ACTION:
                return {key: str(value) for key, value in options.items()}
        return None


@dataclass
class Subject:
    """What is examined.

    Attributes:
        now: Seconds since the epoch.
        listen: Opens an interface for a moment; returns what is wrong, None where it cannot try.
        fail2ban: None where there is none.
        configuration: What the probe found.
        version: Of the package that fail2ban's Python finds, once that was looked at.
        refused: Whether fail2ban would not start with its configuration.
        banned: Jail -> the addresses that its server bans now, once that was looked at.
        newest: File -> time of its last packet, once that was looked at.
    """

    root: Path
    system: System
    run: Run
    now: float
    listen: Callable[[str], Optional[str]]
    fail2ban: Optional[Fail2ban] = None
    configuration: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    refused: bool = False
    banned: dict[str, list[str]] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)

    @property
    def jails(self) -> list[Jail]:
        """Return the enabled jails that read pf's log."""
        return [jail for jail in self._jails() if is_meant(jail.settings["backend"])]

    @property
    def text_jails(self) -> list[Jail]:
        """Return those that read fail2ban-pflogd's text log, with a backend of fail2ban's own."""
        return [
            jail
            for jail in self._jails()
            if jail.settings["filter"].startswith(NAME)
            and jail.name != LOADER
            and not is_meant(jail.settings["backend"])
        ]

    @property
    def all_jails(self) -> list[Jail]:
        """Return both kinds."""
        return [*self.jails, *self.text_jails]

    def _jails(self) -> list[Jail]:
        return [Jail(settings) for settings in self.configuration.get("jails", ())]

    def path(self, path: str) -> Path:
        """Return a path of the host as a path of ours."""
        return below(self.root, path)

    def ask(self, *command: str) -> Answer:
        """Run one of the host's programs."""
        return self.run(command)
