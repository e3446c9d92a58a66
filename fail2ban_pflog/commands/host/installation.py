# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's fail2ban: where its configuration is, and which Python it runs on.

The Python is the one that the first line of fail2ban-server names; what it can import
is found out by running ``probe`` in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple, Optional

from . import HostError, below
from .systems import System
from .tools import DIRECTORIES, Run

__all__ = ["Fail2ban", "find_fail2ban"]

_PROBE = Path(__file__).with_name("probe.py")


class Fail2ban(NamedTuple):
    """The host's fail2ban.

    Attributes:
        config: Its configuration directory, on the host.
        server: Its program, None where only its configuration is there.
        python: How its Python is run, as words of a command.
    """

    root: Path
    config: str
    server: Optional[Path]
    python: tuple[str, ...]
    run: Run

    @property
    def directory(self) -> Path:
        """The configuration directory, as a path of ours."""
        return below(self.root, self.config)

    @property
    def client(self) -> str:
        """The client's program."""
        if self.server is None:
            return "fail2ban-client"
        return str(self.server.with_name("fail2ban-client"))

    def ask(self, question: str, *arguments: object) -> dict[str, Any]:
        """Run ``probe`` in fail2ban's Python; ``problem`` in its answer says what failed."""
        command = [*self.python, "-c", _PROBE.read_text(), question, *map(str, arguments)]
        answer = self.run(command)
        try:
            found: dict[str, Any] = json.loads(answer.out.splitlines()[-1])
        except (ValueError, IndexError):
            why = answer.problem or "it answered nothing that can be read"
            return {"problem": f"{self.python[0]}: {why}"}
        return found


def find_fail2ban(
    system: System, root: Path, run: Run, config: str = "", python: str = ""
) -> Fail2ban:
    """Find the host's fail2ban.  Raises HostError with what was looked for.

    Args:
        system: Where its configuration may be.
        root: What is taken for the host's root directory.
        run: Runs a program.
        config: The configuration directory, if the administrator names it.
        python: The interpreter, if the administrator names it.
    """
    config = _configuration(system, root, config)
    server = _server(root)
    if python:
        words = tuple(shlex.split(python))
    elif server is not None:
        words = _interpreter(server)
    else:
        raise HostError(
            "there is no program fail2ban-server: install fail2ban, or name its Python with "
            "--python"
        )
    return Fail2ban(root, config, server, words, run)


def _configuration(system: System, root: Path, given: str) -> str:
    if given:
        # A packager's empty root gets what is missing; on a host a slip would go unnoticed.
        if root == Path("/") and not Path(given, "jail.conf").is_file():
            raise HostError(f"{given} is no configuration of fail2ban: it has no jail.conf")
        return os.path.abspath(given)
    for each in system.configurations:
        if below(root, each).is_dir():
            return each
    looked = ", ".join(system.configurations)
    if _server(root) is None:
        raise HostError(f"fail2ban is not installed, here or in {looked}: {system.install}")
    raise HostError(f"fail2ban's configuration is not in {looked}: name it with --confdir")


def _server(root: Path) -> Optional[Path]:
    directories = [*os.environ.get("PATH", "").split(":"), *DIRECTORIES]
    for directory in filter(None, directories):
        server = below(root, directory) / "fail2ban-server"
        if server.is_file():
            return server
    return None


def _interpreter(server: Path) -> tuple[str, ...]:
    """Return the Python of a program's first line, with the options there."""
    with server.open("rb") as file:
        first = file.readline(256).decode("utf-8", "replace").strip()
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
        words[:1] = [shutil.which(words[0]) or words[0]] if words else []
    if not words or not re.search(r"python[\d.]*$", words[0]):
        raise HostError(
            f"the first line of {server} names no Python: name fail2ban's with --python"
        )
    if not os.access(words[0], os.X_OK):
        raise HostError(
            f"{server} runs on {words[0]}, which is not there: install fail2ban anew for the "
            "Python that is"
        )
    return tuple(words)
