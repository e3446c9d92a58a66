# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban and its configuration: would the server load the backend, and with what?"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import PflogError
from ..host.installation import Fail2ban
from .result import Mark, Result, note, ok, wrong
from .subject import LOADER, Subject

__all__ = ["configuration"]

OLDEST = (0, 11)
"""What the tests run with: 0.11.2, 1.0.2, 1.1.0."""

_LOADER_FILE = "action.d/pflog-backend.py"
_SETUP = "fail2ban-pflog setup"


def configuration(subject: Subject) -> Iterator[Result]:
    """Look at what a start of the server would find."""
    fail2ban = subject.fail2ban
    if fail2ban is None:
        return
    found = subject.configuration
    yield from _version(fail2ban, found)
    if "problem" in found:
        yield wrong("config", found["problem"], "fail2ban-client -t shows where")
    for error in found.get("errors", ()):
        yield wrong("config", error, "that jail does not run: correct it")
    if not (fail2ban.directory / _LOADER_FILE).is_file():
        yield wrong("package", f"{fail2ban.config} has no {_LOADER_FILE}", _SETUP)
    else:
        yield from _package(subject, fail2ban)
    if "problem" not in found:
        yield from _loader(subject)
        yield from _overridden(fail2ban)
        yield from _options(subject)
        yield from _refused(subject, fail2ban)


def _version(fail2ban: Fail2ban, found: dict[str, Any]) -> Iterator[Result]:
    version = str(found.get("fail2ban", ""))
    if not version:
        yield wrong(
            "fail2ban",
            f"{' '.join(fail2ban.python)} cannot import it",
            "install fail2ban anew for a Python that is there",
        )
        return
    where = f"{version}, {fail2ban.config}, Python {found['python']} ({fail2ban.python[0]})"
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < OLDEST:
        yield wrong("fail2ban", where, "0.11.2 and newer are supported")
    else:
        yield ok("fail2ban", where)


def _package(subject: Subject, fail2ban: Fail2ban) -> Iterator[Result]:
    """Let that Python load it, by the loader itself."""
    path = ""
    for jail in subject.configuration.get("jails", ()):
        if jail["name"] == LOADER:
            path = "".join(options.get("path", "") for options in jail["actions"].values())
    loaded = fail2ban.ask("package", fail2ban.directory / _LOADER_FILE, path)
    if problem := loaded.get("problem"):
        yield wrong("package", problem, f"install it, then {_SETUP}")
        return
    subject.version = loaded["version"]
    found = f"{loaded['version']} from {loaded['file'].rpartition('/')[0]}"
    if loaded["version"] == __version__:
        yield ok("package", found)
    else:
        yield note("package", f"{found}, but this is {__version__}", _SETUP)
    if place := changeable(Path(loaded["file"]).parent):
        yield note(
            "package",
            f"fail2ban's server runs as root what other users may change: {place}",
            "chown it to root, and let nobody else write there",
        )
    yield _pcapy(subject, loaded)


def changeable(directory: Path) -> str:
    """Return the directory, or one above it, that others than root may change, or ""."""
    for each in (directory, *directory.parents):
        status = each.stat()
        by_group = status.st_mode & stat.S_IWGRP and status.st_gid
        shared = by_group or status.st_mode & stat.S_IWOTH
        if status.st_uid or (shared and not status.st_mode & stat.S_ISVTX):
            return str(each)
    return ""


def _pcapy(subject: Subject, loaded: dict[str, Any]) -> Result:
    """Can its Python listen and filter, and does a jail need it?"""
    jails = subject.jails
    needed = [jail.name for jail in jails if jail.interfaces or jail.bpf]
    if problem := loaded.get("pcapy_problem"):
        if not needed:
            return ok("pcapy", "not there, and no jail needs it")
        advice = f"or let {', '.join(needed)} read a file: logpath = /var/log/pflog"
        return wrong("pcapy", problem, advice)
    if problem := loaded.get("filter_problem"):
        mark = Mark.NOTE if needed else Mark.OK
        mark = Mark.WRONG if any(jail.bpf for jail in jails) else mark
        return Result(mark, "pcapy", f"{loaded['pcapy']} cannot filter pf's log: {problem}")
    return ok("pcapy", f"{loaded['pcapy']}, knows pf's filters")


def _loader(subject: Subject) -> Iterator[Result]:
    """The loader's jail must come before all that need it."""
    names = [jail["name"] for jail in subject.configuration["jails"]]
    ours = [jail.name for jail in subject.jails]
    if LOADER not in names:
        why = f"no jail {LOADER} is enabled"
        if ours:
            why += f": {', '.join(ours)} would make fail2ban refuse its whole configuration"
        yield wrong("loader", why, _SETUP)
        return
    early = [name for name in ours if names.index(name) < names.index(LOADER)]
    if early:
        yield wrong(
            "loader",
            f"{', '.join(early)} stands before the jail {LOADER}",
            f"move [{early[0]}] from jail.conf to jail.local",
        )
    else:
        yield ok("loader", f"the jail {LOADER} is enabled, and before all others")


def _overridden(fail2ban: Fail2ban) -> Iterator[Result]:
    """Find jails of ours that one file enables and a later one disables."""
    directory = fail2ban.directory
    enabled: dict[str, list[tuple[str, bool]]] = {}
    for end in ("conf", "local"):
        for path in [directory / f"jail.{end}", *sorted(directory.glob(f"jail.d/*.{end}"))]:
            read = RawConfigParser(strict=False, default_section="")
            with suppress(Exception):  # it is reported as what fail2ban makes of it
                read.read(path)
            for jail in read.sections():
                if jail.startswith("pflog") and read.has_option(jail, "enabled"):
                    value = read[jail]["enabled"].strip().lower() in ("1", "true", "yes", "on")
                    enabled.setdefault(jail, []).append((str(path.relative_to(directory)), value))
    for jail, said in enabled.items():
        name, last = said[-1]
        if not last and (ours := [file for file, value in said if value]):
            found = f"[{jail}] enabled = true in {ours[-1]} is overridden by {name}, read later"
            yield wrong("jails", found, "enable it in jail.local")


def _refused(subject: Subject, fail2ban: Fail2ban) -> Iterator[Result]:
    """Let fail2ban's client read the configuration, as a start of the server would."""
    answer = subject.ask(fail2ban.client, "-c", str(fail2ban.directory), "-t")
    said = re.findall(r"(?:ERROR|CRITICAL) +(\S.*)", answer.out + answer.err)
    errors = [each for each in said if "test configuration failed" not in each]
    if answer.status in (0, None) or not errors:
        return
    subject.refused = True
    jail = next((jail.name for jail in subject.jails if f"for {jail.name} jail" in errors[-1]), "")
    texts = [jail.name for jail in subject.text_jails if f"for {jail.name} jail" in errors[-1]]
    advice = "correct that jail, or disable it: a restart does not help before"
    if jail:
        advice = f"{subject.system.pflogd.start}; or correct the logpath of {jail}"
    elif texts:
        advice = f"start fail2ban-pflogd before fail2ban, or correct the logpath of {texts[0]}"
    yield wrong("config", f"fail2ban would not start: {errors[-1].strip()}", advice)


def first_jail(subject: Subject) -> str:
    """Return what to write for the first jail: of this system, and of what was set up."""
    system = subject.system
    writer = any(subject.path(each.target).exists() for each in system.writer)
    lines = ["enabled = true", "" if writer else system.source, system.action]
    said = [" ".join(line.partition("#")[0].split()) for line in lines if line]
    name = "pflog-text" if writer else "pflog"
    return f"in jail.local: [{name}], and below it " + ", ".join(f"`{line}`" for line in said)


def _options(subject: Subject) -> Iterator[Result]:
    jails = subject.jails
    if texts := ", ".join(jail.name for jail in subject.text_jails):
        yield ok("jails", f"{texts}: reads text; fail2ban-pflogd --check looks at what writes it")
    elif not jails:
        yield wrong("jails", "no enabled jail has backend = pflog", first_jail(subject))
    for jail in jails:
        try:
            options = jail.options
        except PflogError as error:
            yield wrong(jail.name, error.reason, "correct the jail's backend =")
        else:
            given = [
                f"{name} {value}"
                for name, value in zip(options._fields, options)
                if name in jail.settings["options"]
            ]
            yield ok(jail.name, f"options: {', '.join(given) or 'none'}")
