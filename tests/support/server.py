# SPDX-License-Identifier: GPL-2.0-or-later
"""A private fail2ban server: the distribution's own programs, nothing of the system's.

The stock configuration is copied into a temporary folder, the project's is laid over it,
and socket, pid file, log and database are there as well.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

REPO = Path(__file__).resolve().parents[2]
SITE_PACKAGES = sysconfig.get_paths()["purelib"]
ROOT = os.environ.get("FAIL2BAN_ROOT", "")
"""Folder that another version's package was unpacked in (`make compat`)."""

STOCK = next(
    (
        folder
        for base in ("/usr/local/etc", "/usr/pkg/etc", "/etc")  # FreeBSD, NetBSD, all others
        if (folder := Path(f"{ROOT}{base}/fail2ban")).is_dir()
    ),
    Path(f"{ROOT}/etc/fail2ban"),
)
SERVER = shutil.which(f"{ROOT}/usr/bin/fail2ban-server" if ROOT else "fail2ban-server")
CLIENT = shutil.which(f"{ROOT}/usr/bin/fail2ban-client" if ROOT else "fail2ban-client")
ENVIRONMENT = {
    **os.environ,
    **({"PYTHONPATH": f"{ROOT}/usr/lib/python3/dist-packages"} if ROOT else {}),
}
UNIT = float(os.environ.get("TEST_PATIENCE", "1"))
"""How much longer than on a usual machine everything may take; more on a slow one."""

PATIENCE = 20.0 * UNIT
"""Seconds that a test waits for what should come at once."""

RECORDER = """
[Definition]
actionban = printf 'ban %%s\\n' <ip> >> {folder}/bans
            printf '%%s\\n' "<matches>" > {folder}/matches-<ip>
actionunban =
actionstart =
actionstop =
actioncheck =
[Init]
"""

PLAIN_FILTER = "[Definition]\nfailregex = ^ ?intruder <ADDR>$\ndatepattern = ^EPOCH\n"


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> object:
    """Poll until the condition holds; fail with ``what`` when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


class Server:
    """A fail2ban server with its own folder.

    Args:
        folder: an empty directory.
        jails: the text of jail.local.
        packaged: whether the server's configuration names the package's place.
        expected: regular expressions of the errors that the test provokes; no other may be
            in the log at the end.

    Attributes:
        took: command -> seconds until fail2ban-client had its answer, at the worst.
    """

    def __init__(
        self, folder: Path, jails: str, *, packaged: bool = True, expected: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.expected = list(expected)
        self.config = folder / "config"
        self.log = folder / "fail2ban.log"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.took: dict[str, float] = {}
        shutil.copytree(STOCK, self.config)
        shutil.rmtree(self.config / "jail.d")
        shutil.copytree(REPO / "config", self.config, dirs_exist_ok=True)
        (self.config / "action.d/recorder.conf").write_text(RECORDER.format(folder=folder))
        (self.config / "filter.d/plain.conf").write_text(PLAIN_FILTER)
        (self.config / "fail2ban.local").write_text(
            f"[DEFAULT]\nloglevel = INFO\nlogtarget = {self.log}\nsyslogsocket = auto\n"
            f"socket = {folder}/f2b.sock\npidfile = {folder}/f2b.pid\ndbfile = {folder}/f2b.db\n"
        )
        if packaged:
            (self.config / "jail.d/00-pflog-backend.local").write_text(
                f'[pflog-backend]\naction = pflog-backend.py[path="{SITE_PACKAGES}"]\n'
            )
        self.jails(jails)

    def jails(self, text: str) -> None:
        """Replace jail.local."""
        (self.config / "jail.local").write_text(text)

    def start(self, *prefix: str) -> Server:
        """Start the server in the foreground and wait until its jails run.

        prefix: a command to run it under, as `ip netns exec NAME`.
        """
        command = [
            *prefix, SERVER, "-c", self.config, "-s", self.folder / "f2b.sock",
            "-p", self.folder / "f2b.pid", "-f", "start",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            list(map(str, command)),
            env=ENVIRONMENT,
            stdout=(self.folder / "server.out").open("ab"),
            stderr=subprocess.STDOUT,
        )
        wait_for(self._is_ready, f"the server; it said {self.output()}")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended: {self.output()}"
        return "Jail list" in self.client("status")

    def output(self) -> str:
        """Return what the server printed and logged."""
        texts = [self.folder / "server.out", self.log]
        return "\n".join(path.read_text() for path in texts if path.exists())

    def client(self, *command: object) -> str:
        """Run fail2ban-client; returns what it printed."""
        begin = time.monotonic()
        done = subprocess.run(
            [CLIENT, "-c", self.config, "-s", self.folder / "f2b.sock",
             "-p", self.folder / "f2b.pid", *map(str, command)],
            env=ENVIRONMENT, capture_output=True, text=True,
        )  # fmt: skip
        words = " ".join(map(str, command))
        self.took[words] = max(self.took.get(words, 0.0), time.monotonic() - begin)
        return done.stdout + done.stderr

    def ask(self, *command: str) -> Any:
        """Send a command as fail2ban-client does, without starting it; returns the answer."""
        from fail2ban.client.csocket import CSocket  # it may not be installed

        begin = time.monotonic()
        socket = CSocket(str(self.folder / "f2b.sock"), timeout=PATIENCE)
        try:
            failed, answer = socket.send(list(command))
        finally:
            socket.close()
        words = " ".join(command)
        self.took[words] = max(self.took.get(words, 0.0), time.monotonic() - begin)
        assert not failed, answer
        return answer

    def status(self, jail: str) -> dict[str, str]:
        """Return the rows of ``fail2ban-client status JAIL``."""
        rows = (line.split(":\t", 1) for line in self.client("status", jail).splitlines())
        return {row[0].strip("|`- "): row[1] for row in rows if len(row) == 2}

    def bans(self) -> list[str]:
        """Return the addresses that the recording action banned, in order."""
        path = self.folder / "bans"
        return [line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []

    def matches(self, ip: str) -> list[str]:
        """Return the lines that the ban's ticket holds."""
        return (self.folder / f"matches-{ip}").read_text().splitlines()

    def wait_for_bans(self, *ips: str, seconds: float = PATIENCE) -> None:
        """Wait until the addresses are banned."""
        wait_for(lambda: set(ips) <= set(self.bans()), f"bans of {ips}, got {self.bans()}", seconds)

    def stop(self) -> float:
        """Stop the server; returns how many seconds it took."""
        begin = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.client("stop")
            self.process.wait(PATIENCE)
        return time.monotonic() - begin

    def end(self) -> None:
        """Stop the server, and assert that it logged no error but the expected ones."""
        self.stop()
        unexpected = self.unexpected()
        assert not unexpected, "\n".join(unexpected)

    def unexpected(self) -> list[str]:
        """Return the lines of level ERROR or CRITICAL that no expected expression matches."""
        return [
            line
            for line in self.output().splitlines()
            if re.search(r"\]: (ERROR|CRITICAL) |^Traceback|^ERROR|^CRITICAL", line)
            and not any(re.search(known, line) for known in self.expected)
        ]

    def kill(self) -> None:
        """End the server as kill -9 does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for name in ("f2b.sock", "f2b.pid"):
            (self.folder / name).unlink(missing_ok=True)
