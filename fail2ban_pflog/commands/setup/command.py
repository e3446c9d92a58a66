# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line ``fail2ban-pflog setup``: look, plan, and change the host step by step."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ... import __version__
from ...errors import Exit
from ...options import is_meant
from ..host import HostError, below
from ..host.installation import Fail2ban, find_fail2ban
from ..host.share import Share, find_share
from ..host.systems import System, add_options, find_system
from ..host.tools import run
from .changes import apply, temporary
from .manifest import NAME, Manifest
from .plan import Plan, Step
from .wanted import wanted

__all__ = ["add_command"]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``setup`` to the command line."""
    parser = commands.add_parser(
        "setup",
        help="put what fail2ban needs onto this host, or take it back",
        description="Write the loader, filter, action and jails into fail2ban's configuration, "
        "with the place of this package, and link programs, manuals and shell completions. What "
        "you changed is never written over. Run it again after an upgrade of the package or of "
        "Python.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument(
        "--remove", action="store_true", help="take back what was made, but not what you changed"
    )
    parser.add_argument(
        "--writer", action="store_true",
        help="also what fail2ban-pflogd(8) needs: rc script or unit, rotation of its log",
    )  # fmt: skip
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Set up or remove; returns 0, or 1 with the reason on standard error."""
    try:
        _set_up(arguments)
    except (HostError, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"fail2ban-pflog setup: {why}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def _set_up(arguments: argparse.Namespace) -> None:
    """Set up or remove.  Raises HostError and OSError."""
    root: Path = arguments.root.absolute()
    system = find_system(arguments.system)
    fail2ban = _find(system, root, arguments)
    path = f"{fail2ban.config}/{NAME}"
    before = Manifest.load(below(root, path))
    writer = arguments.writer or before.writer
    plan = Plan(root, before)
    known = [path, *before.marks]
    if arguments.remove:
        _refuse_if_used(fail2ban)
        plan.remove(path)
    else:
        share = find_share()
        files = wanted(system, share, fail2ban.config, _path(fail2ban, share), writer=writer)
        plan.set_up(files, path, writer=writer)
        known += [each.path for each in files]
    print(f"fail2ban's configuration: {fail2ban.config}; its Python: {' '.join(fail2ban.python)}")
    changes = any(step.path for step in plan.steps)
    if not arguments.dry_run:
        _remove_leftovers(root, known)
    _carry_out(root, plan.steps, dry_run=arguments.dry_run)
    if plan.kept:
        print(f"{plan.kept} files and links are as they should be")
    if not changes:
        print("nothing to do")
    if arguments.dry_run:
        return
    _remove_directories(root, plan.steps, before.directories)
    if changes and arguments.remove:
        print(system.last_steps())
    elif changes:
        print(system.next_steps(fail2ban.config, find_share().files, writer=writer))


def _carry_out(root: Path, steps: Sequence[Step], *, dry_run: bool) -> None:
    """Take the steps, and print each once it is taken."""
    done = 0
    for step in steps:
        if step.path and not dry_run:
            try:
                apply(root, step.path, step.wanted)
            except OSError as error:
                count = sum(bool(each.path) for each in steps)
                state = f"{done} of {count} changes were made" if done else "nothing was changed"
                hint = "run it again once that is mended"
                if isinstance(error, PermissionError) and os.geteuid():
                    hint = "run it as root"
                reason = f"{error.filename}: {error.strerror}"
                raise HostError(f"{reason}; {state}; {hint}") from None
            done += 1
        if step.words:
            print(f"{'would ' if dry_run and step.path else ''}{step.words}")


def _find(system: System, root: Path, arguments: argparse.Namespace) -> Fail2ban:
    """Find fail2ban; for a removal it may be gone already, but for its configuration."""
    try:
        return find_fail2ban(system, root, run, arguments.confdir, arguments.python)
    except HostError:
        if not arguments.remove:
            raise
        return find_fail2ban(system, root, run, arguments.confdir, sys.executable)


def _path(fail2ban: Fail2ban, share: Share) -> str:
    """Return where the loader has to look so that fail2ban's Python finds the package.

    Raises HostError where it finds it nowhere: a loader that fails would be no use.
    """
    for path in ("", str(share.packages)):
        answer = fail2ban.ask("package", share.loader, path)
        if "problem" not in answer:
            if answer["version"] != __version__:
                print(f"note: fail2ban's Python loads {answer['version']} from {answer['file']}, "
                      f"but this is {__version__}")  # fmt: skip
            return path
    raise HostError(answer["problem"])


def _refuse_if_used(fail2ban: Fail2ban) -> None:
    """Raise HostError where enabled jails need what would be removed."""
    in_use = [
        jail["name"]
        for jail in fail2ban.ask("jails", fail2ban.directory).get("jails", ())
        if jail["name"] != "pflog-backend"
        and (
            is_meant(jail["backend"])
            or jail["filter"].startswith("pflog")
            or not {"pf-pflog", "nft-pflog"}.isdisjoint(jail["actions"])
        )
    ]
    if in_use:
        raise HostError(
            f"jails need these files: {', '.join(in_use)}. Without them fail2ban would refuse its "
            "whole configuration. Disable them in jail.local, then try again"
        )


def _remove_leftovers(root: Path, paths: Sequence[str]) -> None:
    """Remove the temporary file that a run may have left which was killed."""
    for path in paths:
        with suppress(OSError):
            temporary(below(root, path)).unlink(missing_ok=True)


def _remove_directories(root: Path, steps: Sequence[Step], made: Sequence[str]) -> None:
    """Remove the directories that were made for what is gone, and what Python kept of it."""
    removed = [step.path for step in steps if step.path and step.wanted is None]
    caches = {os.path.dirname(path) for path in removed if path.endswith(".pyc")}
    for directory in sorted({*made, *caches} if removed else (), key=len, reverse=True):
        with suppress(OSError):
            below(root, directory).rmdir()
