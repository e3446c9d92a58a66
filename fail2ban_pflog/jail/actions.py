# SPDX-License-Identifier: GPL-2.0-or-later
"""A jail's actions, watched: an action that did not start blocks nobody, and says so once.

fail2ban logs that an action failed and goes on: its status counts bans that block nothing.
So an action's own methods are called through ours, which note what failed, since when and
why, say it again at each ban, and tell when a source was unbanned.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

from ..sources import Tell

__all__ = ["ActionMonitor"]

SLOW = 3.0
"""Seconds after which the status tells that an action does not come back: fail2ban runs one
command at a time, so all jails wait for it."""

MAX_WORDS = 300
"""Letters of a reason; a script may print anything."""


class _Heard(logging.Handler):
    """What this thread's commands print on standard error, as fail2ban logs it meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.words: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        _, found, words = record.getMessage().partition("stderr: ")
        if found and record.thread == self._thread:
            self.words.append(words[1:-1] if words[:1] in "'\"" else words)  # a repr()


class ActionMonitor:
    """Watches the actions of one jail.

    logger: fail2ban's.  unbanned: called with the address of an unbanned source.

    """

    def __init__(self, tell: Tell, logger: logging.Logger, unbanned: Callable[[str], None]) -> None:
        self._tell = tell
        self._logger = logger
        self._unbanned = unbanned
        self._actions: Any = ()
        self._failed: dict[tuple[str, str], str] = {}  # action and what failed -> in words
        self._running: dict[tuple[str, str], float] = {}  # what runs now -> since when

    @property
    def failures(self) -> list[str]:
        """What failed, since when and why, in words."""
        failed = list(self._failed.items())
        told = [words for (name, _), words in failed if name in self._actions]
        now = time.monotonic()
        for (name, what), since in list(self._running.items()):
            if now - since >= SLOW:
                told.append(f"{name} {what} for {int(now - since)} s: its command hangs")
        return told

    def actions(self, actions: Any) -> None:
        """ActionMonitor all of a jail's actions that are not watched yet.

        actions: fail2ban's mapping of names to actions.
        """
        self._actions = actions
        for name in list(actions):
            action = actions[name]
            if not hasattr(action.start, "is_watched"):
                self._wrap(name, action)

    def _wrap(self, name: str, action: Any) -> None:
        start, ban, unban, stop = action.start, action.ban, action.unban, action.stop

        def watched_start() -> Any:
            with self._noting(name, "did not start", "has been starting"):
                return start()

        def watched_ban(info: Any) -> Any:
            if problem := self._failed.get((name, "did not start")):
                self._tell(logging.ERROR, f"{info['ip']} may not be blocked: action {problem}")
            with self._noting(name, "failed to ban", "has been banning"):
                return ban(info)

        def watched_unban(info: Any) -> Any:
            self._unbanned(str(info["ip"]))
            with self._noting(name, "failed to unban", "has been unbanning"):
                return unban(info)

        def watched_stop() -> Any:
            with self._noting(name, "did not stop", "has been stopping"):
                return stop()

        watched_start.is_watched = True  # type: ignore[attr-defined]
        with contextlib.suppress(AttributeError):  # an action that lets nobody watch
            action.start, action.stop = watched_start, watched_stop
            action.ban, action.unban = watched_ban, watched_unban

    @contextlib.contextmanager
    def _noting(self, name: str, what: str, doing: str) -> Iterator[None]:
        heard = _Heard()
        self._logger.addHandler(heard)
        self._running[name, doing] = time.monotonic()
        try:
            yield
        except BaseException as error:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            why = "; ".join(heard.words) or str(error)
            told = f"{name} {what} since {since}: {why[:MAX_WORDS]}"
            self._failed.setdefault((name, what), told)
            if isinstance(error, Exception):
                raise
            raise RuntimeError(repr(error)) from error  # SystemExit would end fail2ban's thread
        else:
            self._failed.pop((name, what), None)
        finally:
            self._running.pop((name, doing), None)
            self._logger.removeHandler(heard)
