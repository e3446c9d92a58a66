# SPDX-License-Identifier: GPL-2.0-or-later
"""A jail's actions: what fails is reported until it works, and is tried again.

fail2ban logs that an action failed and goes on: its status counts bans that block nothing.
So the actions' methods are replaced by ones that record what failed, since when and why.  The
filter's thread calls ``look`` in its loop, which never waits:

- A ban that failed is put into the jail's queue again.  fail2ban then bans a source anew that is
  banned already, as the ban's ``banEpoch`` is older than the action's.
- An action that repaired itself (fail2ban raised its epoch) bans all banned sources again.
- Actions with ``verify`` and ``trykill`` (pf-pflog.conf) are looked after in a thread of its own:
  do their rules still stand, do bans block, can open connections be cut?

Commands of the client that name an address find the banned network that holds it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from fail2ban.server.action import CommandAction
from fail2ban.server.ipdns import IPAddr

from ..sources import NOTICE, Tell
from .ignorelist import ban_manager, networks_with

__all__ = ["ActionMonitor"]

SLOW = 3.0
"""Seconds after which the status reports a command that has not returned: fail2ban runs one
command at a time, so all jails wait for it."""

MAX_WORDS = 300
"""Letters of a reason; a script may print anything."""

MAX_FAILED = 10_000
"""Failed bans that are tried again; a table that lacks room for more needs an administrator."""

ROUND = 10
"""Bans that are tried again at a time: each may cost a few commands."""

FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
"""Seconds until what failed is tried again; they double while it fails."""

VERIFY_EVERY = 10.0
"""Seconds at least between two looks whether bans block: each starts an interpreter."""

CHECK_TIMEOUT = 60.0
"""Seconds that such a look may take."""

LOOK_EVERY = 300.0
"""Seconds after which the rules are looked for without a ban."""

START, BAN, CHECK = "did not start", "failed to ban", "lost its rules"
_DOING = {
    "start": (START, "has been starting"),
    "stop": ("did not stop", "has been stopping"),
    "ban": (BAN, "has been banning"),
    "reban": (BAN, "has been banning"),
    "prolong": ("failed to prolong", "has been prolonging"),
    "unban": ("failed to unban", "has been unbanning"),
    "flush": ("failed to flush", "has been flushing"),
    "consistencyCheck": (CHECK, "has been checking"),
}
"""Method -> what it did when it failed, and what it does while it runs."""

VERIFY, KILL = "may not block", "does not cut open connections"
"""What an action does of which the command ``verify`` or ``trykill`` fails."""


class _Stderr(logging.Handler):
    """What this thread's commands print on standard error, as fail2ban logs it meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: dict[str, None] = {}
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        _, found, words = record.getMessage().partition("stderr: ")
        if found and record.thread == self._thread:
            self.lines[words[1:-1] if words[:1] in "'\"" else words] = None  # a repr()


class _UnrepairedError(Exception):
    """An action's check failed, and nothing could mend it."""


class ActionMonitor:
    """Watches the actions of one jail.

    Args:
        tell: Logs a message.
        logger: fail2ban's, whose errors are the commands' words.
        unbanned: Called with the address of an unbanned source.
    """

    def __init__(self, tell: Tell, logger: logging.Logger, unbanned: Callable[[str], None]) -> None:
        self._tell = tell
        self._logger = logger
        self._unbanned = unbanned
        self._actions: Any = {}
        self._jail: Any = None
        self._started: set[str] = set()  # actions that were started, or failed to
        self._failed: dict[tuple[str, str], str] = {}  # (action, what failed) -> words
        self._failed_bans: dict[tuple[str, str], str] = {}  # (action, source) -> words
        self._running: dict[tuple[str, str], float] = {}  # what runs now -> since when
        self._again: deque[Any] = deque()  # tickets that wait for room in the jail's queue
        self._wait, self._next_round = FIRST_WAIT, 0.0
        self._checked, self._has_banned = -math.inf, False
        self._checking = threading.Lock()

    @property
    def failures(self) -> list[str]:
        """What failed, since when and why."""
        rows = [words for (name, _), words in list(self._failed.items()) if name in self._actions]
        failed = [each for each in list(self._failed_bans.items()) if each[0][0] in self._actions]
        if failed:
            others = f" and {len(failed) - 1} others" if len(failed) > 1 else ""
            rows.append(f"{failed[0][1]} ({failed[0][0][1]}{others})")
        now = time.monotonic()
        for (name, what), since in list(self._running.items()):
            if now - since >= SLOW:
                rows.append(f"{name} {what} for {int(now - since)} s: its command hangs")
        return rows

    def actions(self, actions: Any) -> None:
        """Watch all actions of a jail that are not watched yet, and try again what failed.

        Args:
            actions: fail2ban's mapping of names to actions.
        """
        self._actions, self._jail = actions, getattr(actions, "_jail", None)
        if hasattr(actions, "removeBannedIP") and not hasattr(actions.removeBannedIP, "is_pflog"):
            _find_networks(actions, self._tell)
        for name in list(actions):
            action = actions[name]
            if not hasattr(action.start, "is_watched"):
                for method in _DOING:
                    if hasattr(action, method):
                        self._watch(name, action, method)
        for name in actions:
            self._failed.pop((name, KILL), None)
        self._next_round, self._checked, self._has_banned = 0.0, -math.inf, True

    # -- recording ---------------------------------------------------------------------

    def _watch(self, name: str, action: Any, method: str) -> None:
        original = getattr(action, method)
        did, doing = _DOING[method]

        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            source = str(args[0]["ip"]) if args and method in ("ban", "reban", "unban") else ""
            self._begin(name, action, method, source)
            epoch = getattr(action, "banEpoch", 0)
            result = None
            try:
                with contextlib.suppress(_UnrepairedError), self._noting(name, did, doing, source):
                    result = original(*args, **kwargs)
                    if method == "consistencyCheck" and not result:
                        raise _UnrepairedError
                    if getattr(action, "banEpoch", 0) > epoch:  # fail2ban has repaired it
                        self._put_back()
            finally:
                if method in ("start", "ban"):
                    self._started.add(name)
            return result

        watched.is_watched = True  # type: ignore[attr-defined]
        with contextlib.suppress(AttributeError):  # an action without room for attributes
            setattr(action, method, watched)

    def _begin(self, name: str, action: Any, method: str, source: str) -> None:
        """Note what a method is about to do."""
        if method == "unban":
            self._unbanned(source)
            if self._failed_bans.pop((name, source), None) is None:
                _mark_started(action)
        elif method == "stop":
            self._started.discard(name)
            _mark_started(action)
        if method == "ban":
            self._has_banned = True
            known = [self._failed.get((name, what)) for what in (START, CHECK, VERIFY)]
            if problem := next(filter(None, known), None):
                self._tell(logging.ERROR, f"{source} may not be blocked: action {problem}")

    @contextlib.contextmanager
    def _noting(self, name: str, did: str, doing: str, source: str = "") -> Iterator[None]:
        """Record whether what runs fails; of bans each source is recorded."""
        stderr = _Stderr()
        self._logger.addHandler(stderr)
        self._running[name, doing] = time.monotonic()
        try:
            yield
        except BaseException as error:
            words = _words(name, did, stderr.lines or [str(error)])
            if did != BAN:
                self._failed.setdefault((name, did), words)
            elif len(self._failed_bans) < MAX_FAILED:
                self._failed_bans.setdefault((name, source), words)
            if isinstance(error, Exception):
                raise
            raise RuntimeError(repr(error)) from error  # SystemExit would end fail2ban's thread
        else:
            self._failed.pop((name, did), None)
            if did == BAN and self._failed_bans:  # the next may succeed as well
                self._failed_bans.pop((name, source), None)
                self._wait = FIRST_WAIT
                self._next_round = min(self._next_round, time.monotonic() + FIRST_WAIT)
        finally:
            self._running.pop((name, doing), None)
            self._logger.removeHandler(stderr)

    # -- trying again ------------------------------------------------------------------

    def look(self) -> None:
        """Try again what is due; the filter's thread calls it often."""
        if self._jail is None:
            return
        now = time.monotonic()
        if self._again and not self._jail.hasFailTickets:
            self._queue()
        failed = any(what in (START, CHECK, VERIFY) for _, what in list(self._failed))
        due = failed or bool(self._failed_bans)
        if not due:
            self._wait, self._next_round = FIRST_WAIT, now + FIRST_WAIT
        elif now >= self._next_round:
            self._next_round = now + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._ban_again()
        else:
            failed = False
        every = VERIFY_EVERY if self._has_banned else LOOK_EVERY
        if (failed or now - self._checked >= every) and not self._checking.locked():
            threading.Thread(target=self._check, name="f2b/check", daemon=True).start()
            self._checked = now

    def _put_back(self) -> None:
        """Let actions with a newer epoch than a ban's carry the ban out again."""
        self._again = deque(ban_manager(self._actions))

    def _queue(self) -> None:
        """Put a few tickets into the jail's queue."""
        banned = ban_manager(self._actions)
        for _ in range(min(ROUND, len(self._again))):
            ticket = self._again.popleft()
            if banned._inBanList(ticket):  # it may have been unbanned meanwhile
                self._jail.putFailTicket(ticket)

    def _ban_again(self) -> None:
        """Queue a few of the bans that failed."""
        tickets = {str(ticket.getID()): ticket for ticket in ban_manager(self._actions)}
        due: list[tuple[str, Any]] = []
        for name, source in list(self._failed_bans):
            if source not in tickets or name not in self._actions:
                self._failed_bans.pop((name, source), None)
            elif len(due) < ROUND:
                due.append((name, tickets[source]))
        for name in {name for name, _ in due}:
            self._raise_epoch(name)
        self._again.extend(ticket for _, ticket in due)

    def _raise_epoch(self, name: str) -> None:
        """Let this action carry out again the bans that come again."""
        action, actions = self._actions[name], self._actions
        actions.banEpoch += 1
        # A command action has a property that reads _banEpoch; others have nothing.
        attribute = "_banEpoch" if isinstance(action, CommandAction) else "banEpoch"
        setattr(action, attribute, actions.banEpoch)
        for other in actions.values():
            if not hasattr(other, "banEpoch"):  # fail2ban compares all of them
                other.banEpoch = 0

    def _check(self) -> None:
        """Start again what did not start, and ask pf-pflog whether it blocks."""
        has_banned, self._has_banned = self._has_banned, False
        busy = {name for name, _ in list(self._running)}
        if busy:  # what runs now may be about to load the rule
            self._has_banned = self._has_banned or has_banned
        with self._checking:
            for name in [each for each in self._actions if each in self._started - busy]:
                action = self._actions[name]
                with contextlib.suppress(Exception):  # it is recorded
                    self._check_one(name, action, has_banned)

    def _check_one(self, name: str, action: Any, has_banned: bool) -> None:
        did_not_start = (name, START) in self._failed
        if not hasattr(action, "verify"):
            if did_not_start and isinstance(action, CommandAction):
                self._start_again(name, action)
            return
        if did_not_start:
            try:  # it starts before it looks whether it blocks
                action._executeOperation("<actioncheck>", "checking", family=[""])
            except RuntimeError:
                self._start_again(name, action)
        elif not action.consistencyCheck():
            return
        if has_banned or did_not_start or (name, VERIFY) in self._failed:
            self._run(name, action, "verify", START if did_not_start else VERIFY)
            if (name, KILL) not in self._failed:  # until a reload: it is reported once
                self._run(name, action, "trykill", KILL)

    def _start_again(self, name: str, action: Any) -> None:
        action.start()
        self._raise_epoch(name)
        self._put_back()

    def _run(self, name: str, action: Any, command: str, did: str) -> None:
        """Run a command of an action; logs when it begins to fail, and when it works again.

        Not by fail2ban, which lets one command run at a time: bans do not wait for it.
        """
        try:
            done = subprocess.run(
                action.replaceTag(f"<{command}>", action._properties),
                shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=CHECK_TIMEOUT, check=False,
            )  # fmt: skip
            why = done.stderr.splitlines() if done.returncode else None
        except (OSError, subprocess.SubprocessError) as error:
            why = [str(error)]
        if why is not None:
            words = _words(name, did, why or ["it failed without a word"])
            if self._failed.setdefault((name, did), words) is words:
                self._tell(logging.WARNING, f"action {words}")
        elif before := self._failed.pop((name, did), None):
            self._tell(NOTICE, f"action {name} works again; it was: {before}")


def _words(name: str, did: str, why: Iterable[str]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{name} {did} since {since}: {'; '.join(why)[:MAX_WORDS]}"


def _mark_started(action: Any) -> None:
    """Let fail2ban run actionunban and actionstop of pf-pflog also after a ban that failed.

    It then takes the action for one that was not started and holds nothing.
    """
    started = getattr(action, "_CommandAction__started", None)
    if started is not None and hasattr(action, "verify"):
        for family in {*started, ""}:
            started[family] = started.get(family, 0) | 3


def _find_networks(actions: Any, tell: Tell) -> None:
    """Let ``unbanip``, ``unban`` and ``banned`` find the banned network of an address."""
    remove, get = actions.removeBannedIP, actions.getBanned

    @functools.wraps(remove)
    def remove_banned(ip: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(ip, (str, IPAddr)) and (networks := networks_with(actions, str(ip))):
            tell(NOTICE, f"{ip} is banned as {', '.join(map(str, networks))}")
            ip = networks
        return remove(ip, *args, **kwargs)

    @functools.wraps(get)
    def get_banned(ids: Any, *args: Any, **kwargs: Any) -> Any:
        named = [(networks_with(actions, str(each)) or [each])[0] for each in ids or ()]
        return get(named, *args, **kwargs)

    remove_banned.is_pflog = True  # type: ignore[attr-defined]
    actions.removeBannedIP, actions.getBanned = remove_banned, get_banned
