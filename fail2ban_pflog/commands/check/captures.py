# SPDX-License-Identifier: GPL-2.0-or-later
"""The sources of packets: the interface, pflogd and the file that it writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Optional

from ...errors import PflogError
from ...options import DEFAULT_INTERFACE, short
from ...sources.look import Look, look
from ...sources.nflog import group
from ..host.tools import Answer
from .result import Result, note, ok, unseen, wrong
from .subject import Jail, Subject

__all__ = ["captures", "written"]

ENOUGH = 60
"""Bytes of a packet behind pf's header: IPv6 and TCP up to its flags and window."""

FLUSH = 60
"""Seconds for which pflogd holds packets back by default."""

SILENCE = 86_400.0
"""Seconds without a packet that are rare on the Internet; for jails without `silence`."""


def captures(subject: Subject) -> Iterator[Result]:
    """Look at what the enabled jails read."""
    jails = subject.jails
    for interface in sorted({each for jail in jails for each in jail.interfaces}):
        if group(interface) is not None:  # see linux
            continue
        yield from _interface(subject, interface)
    files = {path: jail for jail in jails for path in jail.logpaths}
    for jail in subject.text_jails:
        yield from _text(subject, jail)
    for path, jail in sorted(files.items()):
        yield from _file(subject, path, jail)
    if files:
        yield from _pflogd(subject, list(files))


def _interface(subject: Subject, name: str) -> Iterator[Result]:
    answer = subject.ask("ifconfig", name)
    if answer.status is None:
        yield unseen(name, answer.problem)
        return
    if answer.problem:
        yield wrong(name, answer.problem, subject.system.pflogd.start)
        return
    flags = re.search(r"flags=\w+<([^>]*)>", answer.out)
    up = flags is not None and "UP" in flags[1].split(",")
    if not up and subject.system.name != "OpenBSD":  # where one that is down delivers as well
        yield wrong(name, "is there, but not up", f"ifconfig {name} up")
        return
    problem = subject.listen(name)
    if problem is None:
        yield unseen(name, "is there; listening was not tried: this Python has no pcapy")
    elif "permission" in problem:
        yield unseen(name, "is there; listening was not tried", "run this as root")
    elif problem:
        yield wrong(name, problem)
    else:
        yield ok(name, "can be listened to, and has pf's link type")


def _text(subject: Subject, jail: Jail) -> Iterator[Result]:
    """A savefile that a jail reads as text: its `backend` was forgotten."""
    for path in jail.logpaths:
        with suppress(OSError):
            if look(subject.path(path)).snaplen:
                found = f"{path} is a savefile, and fail2ban reads it as text"
                yield wrong(jail.name, found, "backend = %(pflog_backend)s in that jail")


def _file(subject: Subject, path: str, jail: Jail) -> Iterator[Result]:
    try:
        seen = look(subject.path(path))
    except PermissionError:
        yield unseen(path, "may not be read", "run this as root")
        return
    except OSError as error:
        yield wrong(path, str(error.strerror), subject.system.pflogd.start)
        return
    if seen.problem:
        yield wrong(path, seen.problem, "name pflogd's file, or move this one away")
        return
    yield _age(subject, path, jail, seen)
    if snaplen := _snaplen(subject, path, seen):
        yield snaplen


def _age(subject: Subject, path: str, jail: Jail, seen: Look) -> Result:
    if seen.newest is None:
        return note(path, "has no packet yet", "does pf log? does pflogd run?")
    subject.newest[path] = seen.newest
    age = subject.now - seen.newest
    try:
        limit = jail.options.silence or SILENCE
    except PflogError:
        limit = SILENCE
    if age > limit:
        return note(path, f"its newest packet is {short(age)} old", "does pf log? does pflogd run?")
    return ok(path, f"a pflog savefile, its newest packet is {short(age)} old")


def _snaplen(subject: Subject, path: str, seen: Look) -> Optional[Result]:
    packet = (seen.header_length + 3) & ~3
    if not packet or not seen.snaplen or seen.snaplen >= packet + ENOUGH:
        return None
    advice = _set_flag(subject, "-s", "160")
    if subject.system.name == "FreeBSD":
        advice = f'pflog_flags="-s 160" in rc.conf: {advice}'
    return note(
        path,
        f"snaplen {seen.snaplen} cuts the TCP flags of IPv6",
        f"{advice}; a file that is there keeps its snaplen, so move it away first",
    )


def _processes(subject: Subject) -> Answer:
    return subject.ask("ps", "-axww", "-o", "args")


def written(subject: Subject) -> dict[str, str]:
    """Return the files that a pflogd writes, each with the interface that it is logged to."""
    found = {}
    for title in re.findall(r"^pflogd: \[running\] (.*)", _processes(subject).out, re.MULTILINE):
        interface = re.search(r"-i (\S+)", title)
        if path := re.search(r"-f (/\S+)", title):
            found[path[1]] = interface[1] if interface else DEFAULT_INTERFACE
    return found


def _pflogd(subject: Subject, paths: list[str]) -> Iterator[Result]:
    answer = _processes(subject)
    if answer.problem:
        yield unseen("pflogd", answer.problem)
        return
    writes = written(subject)
    silent = [path for path in paths if path not in writes]
    if not writes and not subject.system.pflogd.flags:
        yield unseen(
            "pflogd",
            f"does not run on {subject.system.name}: another host or program writes the file",
        )
        return
    if silent:
        yield wrong("pflogd", f"no pflogd writes {', '.join(silent)}", subject.system.pflogd.start)
        return
    yield _flush(subject)


def _flags(subject: Subject) -> Answer:
    """Return pflogd's options, as the system starts it."""
    command = subject.system.pflogd.flags
    if not command:
        return Answer(None, "", f"no command of {subject.system.name} shows them")
    return subject.ask(*command)


def _set_flag(subject: Subject, name: str, value: str) -> str:
    """Return how to start pflogd with an option and all that it has."""
    answer = _flags(subject)
    given = "" if answer.problem else re.sub(rf"{name} *\S+", "", answer.out)
    flags = " ".join([*given.split(), name, value])
    return subject.system.pflogd.set_flags.format(flags) or f"pflogd {flags}"


def _flush(subject: Subject) -> Result:
    answer = _flags(subject)
    if answer.problem:
        return unseen("pflogd", f"runs; its options are not known: {answer.problem}")
    given = re.search(r"-d *(\d+)", answer.out)
    delay = int(given[1]) if given else FLUSH
    found = f"runs, and holds packets back for {short(delay)}"
    late = [jail.name for jail in subject.jails if jail.logpaths and not jail.interfaces]
    if delay >= FLUSH and late:
        advice = _set_flag(subject, "-d", "5")
        return note(
            "pflogd",
            f"{found}: bans of {', '.join(late)} come that late",
            f"{advice}; or let the jail listen: interface=pflog0",
        )
    return ok("pflogd", found)
