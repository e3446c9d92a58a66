# SPDX-License-Identifier: GPL-2.0-or-later
"""The running server: does each jail run, and what does its status report?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..host.installation import Fail2ban
from ..host.tools import Answer
from .result import Result, note, ok, unseen, wrong
from .subject import LOADER, Subject

__all__ = ["server"]

_IS_IDLE = re.compile(r"waiting for|idle because|.* is gone|.*trying again")
"""The state of a source from which nothing comes."""

_WRONG_ROWS = {
    "Idle because": "repair that, then fail2ban-client reload",
    "Action failed": "repair that, then fail2ban-client restart",
}


def server(subject: Subject) -> Iterator[Result]:
    """Ask the server for all jails of the configuration."""
    fail2ban = subject.fail2ban
    if fail2ban is None:
        return
    answer = _client(subject, fail2ban, "ping")
    if answer.problem and "ermission" in answer.problem:
        yield unseen("server", answer.problem, "run this as root")
        return
    if "pong" not in answer.out:
        # It logs: a date, its name, a level; then what it says.
        why = answer.problem.rpartition("ERROR")[2].strip() or answer.out.strip()
        advice = "correct its configuration first" if subject.refused else subject.system.restart
        yield wrong("server", f"does not answer: {why}", advice)
        return
    yield _loaded(subject, _client(subject, fail2ban, "status", LOADER).out)
    for jail in subject.all_jails:
        yield from _jail(subject, fail2ban, jail.name)


def _loaded(subject: Subject, status: str) -> Result:
    """Compare what the server has loaded with what is installed."""
    rows = dict(_rows(status))
    if problem := rows.get("Idle because"):
        return wrong("server", f"could not load the backend: {problem}", subject.system.restart)
    loaded = rows.get("Backend", "")
    if not loaded:
        return wrong("server", "answers, and has not loaded the backend", subject.system.restart)
    if subject.version and f"pflog {subject.version}," not in loaded:
        found = f"runs {loaded}, but {subject.version} is installed"
        return wrong("server", found, subject.system.restart)
    return ok("server", f"answers, and runs {loaded}")


def _client(subject: Subject, fail2ban: Fail2ban, *words: str) -> Answer:
    return subject.ask(fail2ban.client, "-c", str(fail2ban.directory), *words)


def _jail(subject: Subject, fail2ban: Fail2ban, name: str) -> Iterator[Result]:
    answer = _client(subject, fail2ban, "status", name)
    if answer.problem:
        yield wrong(name, f"does not run: {answer.problem}", subject.system.restart)
        return
    rows = _rows(answer.out)
    silent = [(key, text) for key, text in rows if _IS_IDLE.match(text)]
    for key, text in silent:
        found = text.partition(";")[0].removeprefix(f"waiting for {key}: ")
        yield wrong(name, f"waits for {key}: {found}", subject.system.pflogd.start)
    bad = [(key, text) for key, text in rows if key in _WRONG_ROWS]
    for key, text in bad:
        yield wrong(name, f"{key}: {text}", _WRONG_ROWS[key])
    for key, text in rows:
        if key == "Warning":
            yield note(name, text)
    figures = dict(rows)
    banned = figures.get("Currently banned", "")
    if banned.isdigit():
        subject.banned[name] = figures.get("Banned IP list", "").split()
    if not (bad or silent):
        yield ok(name, f"runs; {banned} banned now; {figures.get('Packets', '')}")


def _rows(text: str) -> list[tuple[str, str]]:
    """Return the rows of ``fail2ban-client status JAIL``."""
    found = []
    for line in text.splitlines():
        key, tab, value = line.partition(":\t")
        if tab:
            found.append((key.strip("|`- "), value.strip()))
    return found
