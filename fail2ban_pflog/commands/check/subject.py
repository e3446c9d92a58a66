# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that is examined, and what its fail2ban is told to do."""

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
    """An enabled jail that reads pf's log, as its configuration has it.

    told: what the probe says of it.
    """

    told: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.told["name"])

    @cached_property
    def options(self) -> Options:
        """The backend's options.  Raises PflogError where they are wrong."""
        backend = self.told["backend"]
        problem = self.told.get("options_problem")
        if not problem and backend.partition("[")[0].strip().lower() != NAME:
            problem = f"its form is {NAME}[option=value, ...]"
        if problem:
            raise PflogError("option", 0, 0, f"backend = {backend}: {problem}")
        return Options.parse(self.told["options"])

    @property
    def logpaths(self) -> list[str]:
        """The files that it follows."""
        return list(self.told["logpaths"])

    @property
    def interface(self) -> str:
        """What it listens on; "" where it follows files alone, or its options are wrong."""
        try:
            named = self.options.interface
        except PflogError:
            return ""
        return named or ("" if self.told["logpath"] else DEFAULT_INTERFACE)

    @property
    def bpf(self) -> str:
        """The administrator's filter expression."""
        return str(self.told.get("options", {}).get("bpf", ""))

    @property
    def blocking(self) -> Optional[dict[str, str]]:
        """The options of its action pf-pflog; None where it has another one."""
        for name, options in self.told["actions"].items():
            if name == ACTION or options.get("actname") == ACTION:
                return {key: str(value) for key, value in options.items()}
        return None


@dataclass
class Subject:
    """What is examined.

    now: seconds since the epoch.  listen: tries an interface; returns what is wrong, None where it
        cannot try.
    fail2ban: None where there is none.
    told: what the probe says of the configuration.
    version: of the package that fail2ban's Python finds; filled by the configuration's check.
    banned: jail -> the addresses that its server bans now; filled by the server's check.
    newest: file -> seconds since the epoch of its last packet; filled by the captures' check.
    """

    root: Path
    system: System
    run: Run
    now: float
    listen: Callable[[str], Optional[str]]
    fail2ban: Optional[Fail2ban] = None
    told: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    banned: dict[str, list[str]] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)

    @property
    def jails(self) -> list[Jail]:
        """The enabled jails that read pf's log."""
        return [Jail(told) for told in self.told.get("jails", ()) if is_meant(told["backend"])]

    @property
    def text_jails(self) -> list[Jail]:
        """Those that read the text log of fail2ban-pflogd(8), with a backend of fail2ban's own."""
        return [
            Jail(told)
            for told in self.told.get("jails", ())
            if told["filter"].startswith(NAME)
            and told["name"] != LOADER
            and not is_meant(told["backend"])
        ]

    def path(self, path: str) -> Path:
        """A path of the host as a path of ours."""
        return below(self.root, path)

    def ask(self, *command: str) -> Answer:
        """Run one of the host's programs."""
        return self.run(command)
