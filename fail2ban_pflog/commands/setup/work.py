# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``setup`` does: look, plan, tell, and then change the host."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ... import __version__
from ...options import is_meant
from ..host import HostError, below
from ..host.installation import Fail2ban, find_fail2ban
from ..host.share import Share, find_share
from ..host.systems import System, find_system
from ..host.tools import run
from .changes import (
    Change,
    Remove,
    Write,
    apply,
    missing_directories,
    remove_directories,
)
from .manifest import NAME, Manifest
from .plan import Plan, plan_removal, plan_setup
from .wanted import wanted

__all__ = ["set_up"]

_NEXT = """
Next, where it is not so yet:
  pf's rules  {rules}:
              `block drop in log all`, and before the rules that pass `anchor "f2b/*"`
  the jail    {config}/jail.local:
              [pflog] and below it `enabled = true`
  fail2ban    {restart}
Then `fail2ban-pflog check` tells whether it all works."""

_WRITER = """
The text log's writer, fail2ban-pflogd(8): {hint}"""


def set_up(arguments: argparse.Namespace) -> None:
    """Set up or remove.  Raises HostError and OSError, with nothing changed."""
    root: Path = arguments.root.absolute()
    system = find_system(arguments.system)
    fail2ban = _find(system, root, arguments)
    path = f"{fail2ban.config}/{NAME}"
    before = Manifest.load(below(root, path))
    if arguments.remove:
        plan = _plan_removal(fail2ban, before)
        changes = [*plan.changes, Remove(path)] if before != Manifest() else []
    else:
        plan = _plan_setup(system, fail2ban, before, writer=arguments.writer or before.writer)
        changes = _with_manifest(root, plan, before, path)
    print(f"fail2ban's configuration: {fail2ban.config}; its Python: {' '.join(fail2ban.python)}")
    for line in plan.told:
        print(f"{'would ' if arguments.dry_run and not line.startswith('leave') else ''}{line}")
    if plan.kept:
        print(f"{plan.kept} files and links are as they should be")
    if not plan.changes:
        print("nothing to do")
    if arguments.dry_run:
        return
    apply(root, changes)
    _remove_directories(root, changes, before.directories)
    if plan.changes:
        _tell_next(system, fail2ban, plan, removed=arguments.remove)


def _find(system: System, root: Path, arguments: argparse.Namespace) -> Fail2ban:
    """fail2ban; for a removal it may be gone already, but for its configuration."""
    try:
        return find_fail2ban(system, root, run, arguments.confdir, arguments.python)
    except HostError:
        if not arguments.remove:
            raise
        return find_fail2ban(system, root, run, arguments.confdir, sys.executable)


def _plan_removal(fail2ban: Fail2ban, before: Manifest) -> Plan:
    if in_use := _in_use(fail2ban):
        raise HostError(
            f"jails need these files: {', '.join(in_use)}. Without them fail2ban would refuse its "
            "whole configuration. Disable them in jail.local, then try again"
        )
    return plan_removal(fail2ban.root, before)


def _plan_setup(system: System, fail2ban: Fail2ban, before: Manifest, *, writer: bool) -> Plan:
    share = find_share()
    path = _path(fail2ban, share)
    files = wanted(system, share, fail2ban.config, path, writer=writer)
    return plan_setup(fail2ban.root, files, before, writer)


def _path(fail2ban: Fail2ban, share: Share) -> str:
    """What the loader must be told so that fail2ban's Python finds the package.

    Raises HostError where it cannot: a loader that fails would be no use.
    """
    for path in ("", str(share.packages)):
        answer = fail2ban.ask("package", share.loader, path)
        if "problem" not in answer:
            if answer["version"] != __version__:
                print(f"note: fail2ban's Python loads {answer['version']} from {answer['file']}, "
                      f"but this is {__version__}")  # fmt: skip
            return path
    raise HostError(answer["problem"])


def _in_use(fail2ban: Fail2ban) -> list[str]:
    """The enabled jails that need what would be removed."""
    answer = fail2ban.ask("jails", fail2ban.directory)
    return [
        jail["name"]
        for jail in answer.get("jails", ())
        if jail["name"] != "pflog-backend"
        and (
            is_meant(jail["backend"])
            or jail["filter"].startswith("pflog")
            or "pf-pflog" in jail["actions"]
        )
    ]


def _with_manifest(root: Path, plan: Plan, before: Manifest, path: str) -> list[Change]:
    """The changes, with the manifest written before and after them.

    Before: it then knows what is there and what is to come, whatever ends us meanwhile.
    """
    plan.manifest.directories = [*before.directories, *missing_directories(root, plan.changes)]
    if not plan.changes and plan.manifest == before:
        return []
    both = Manifest(**vars(plan.manifest))
    both.files = {
        each: sorted({*before.files.get(each, ()), *plan.manifest.files.get(each, ())})
        for each in {*before.files, *plan.manifest.files}
    }
    both.links = {**before.links, **plan.manifest.links}
    return [Write(path, both.dump()), *plan.changes, Write(path, plan.manifest.dump())]


def _remove_directories(root: Path, changes: list[Change], made: list[str]) -> None:
    """Remove the directories that were made for what is gone, and what Python kept of it."""
    removed = [change.path for change in changes if isinstance(change, Remove)]
    caches = {os.path.dirname(path) for path in removed if path.endswith(".pyc")}
    if removed:
        remove_directories(root, [*made, *caches])


def _tell_next(system: System, fail2ban: Fail2ban, plan: Plan, *, removed: bool) -> None:
    if removed:
        print(f"\nNow restart fail2ban: {system.restart}")
        return
    print(_NEXT.format(rules=system.rules, config=fail2ban.config, restart=system.restart))
    if plan.manifest.writer:
        print(_WRITER.format(hint=system.writer_hint.format(files=find_share().files)))
