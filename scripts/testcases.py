# SPDX-License-Identifier: GPL-2.0-or-later
"""Run fail2ban's own tests without and with ``backend = pflog``, and compare.

    testcases.py [--patch FILE] [NAME ...]

--patch: run them a third time, with that patch of fail2ban and nothing registered.
NAME: only these tests (regular expressions).

Each run is a process of its own, in a directory with a copy of fail2ban and of its stock
configuration; ``make compat`` does it with fail2ban 1.1.  Exits 1 when the runs have different
outcomes, or a test that the patch brings fails.  Equal outcomes are no failure: some of the tests
fail on any host that lacks what they look for.  A test that differs is run again alone, ATTEMPTS
times at the most, for some depend on how busy the host is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fail2ban

from tests.support.server import CLIENT, SERVER, STOCK

ATTEMPTS = 3

Outcomes = dict[str, str]


class Recorder(unittest.TestResult):
    """Keeps what became of each test, in a word."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: Outcomes = {}

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Keep that it passed."""
        self.outcomes[test.id()] = "passed"

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: ARG002, N802
        """Keep that it raised, which is a failure like another."""
        self.outcomes[test.id()] = "failed"

    addFailure = addError  # noqa: N815

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: ARG002, N802
        """Keep that it was left out."""
        self.outcomes[test.id()] = "skipped"


def child(registered: bool, names: list[str]) -> None:
    """Run the tests in this process; writes their outcomes to outcomes.json."""
    sys.path[0] = str(Path("bin").resolve())  # there fail2ban's tests look for its programs
    from fail2ban.tests.utils import gatherTests, getOptParser, initProcess

    if registered:
        from fail2ban_pflog.backend import register

        register()
    options, _ = getOptParser("").parse_args(["--no-network"])
    recorder = Recorder()
    gatherTests(names or None, initProcess(options)).run(recorder)
    Path("outcomes.json").write_text(json.dumps(recorder.outcomes))


def run(names: list[str], *options: str, patch: Optional[Path] = None) -> Outcomes:
    """Run the tests in a directory that looks like fail2ban's sources."""
    with tempfile.TemporaryDirectory(prefix="f2b-testcases-") as name:
        place = Path(name)
        shutil.copytree(Path(fail2ban.__file__).parent, place / "fail2ban")
        shutil.copytree(STOCK, place / "config", ignore=shutil.ignore_patterns("jail.d"))
        if patch is not None:
            subprocess.run(["patch", "-s", "-p1", "-i", patch.resolve()], cwd=place, check=True)
        (place / "bin").mkdir()
        for program in (SERVER, CLIENT):
            shutil.copy(str(program), place / "bin")
        (place / "bin/fail2ban-python").symlink_to(sys.executable)
        path = os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, Path(__file__).resolve(), "--child", *options, *names],
            cwd=place, env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if not (place / "outcomes.json").exists():
            sys.exit(f"the tests did not end: {done.stdout[-2000:].decode(errors='replace')}")
        outcomes: Outcomes = json.loads((place / "outcomes.json").read_text())
        # Some have the name of a temporary file in theirs.
        return {re.sub(r"\(/.*\)", "", test): outcome for test, outcome in outcomes.items()}


def in_words(outcomes: Outcomes) -> str:
    """Count the outcomes, in words."""
    counts = Counter(outcomes.values())
    return f"{len(outcomes)} tests: " + ", ".join(f"{counts[key]} {key}" for key in sorted(counts))


def different(one: Outcomes, other: Outcomes) -> list[str]:
    """The tests of ``one`` that have another outcome in ``other``."""
    return sorted(test for test in one if one[test] != other.get(test))


def compare(plain: Outcomes, other: Outcomes, *options: str, patch: Optional[Path] = None) -> bool:
    """Tell which tests have another outcome than in the plain run, also when run again."""
    differ = different(plain, other)
    for _ in range(ATTEMPTS):
        if differ:
            again = [f"{test.rpartition('.')[2]}$" for test in differ]
            one, two = run(again), run(again, *options, patch=patch)
            differ = [test for test in different(one, two) if test in differ]
    for test in differ:
        print(f"  differs: {test}: {plain[test]}, {other.get(test, 'is missing')}")
    new = {test: other[test] for test in other if test not in plain}
    for test, outcome in new.items():
        print(f"  new: {test}: {outcome}")
    return not differ and set(new.values()) <= {"passed"}


def main() -> int:
    """Run, compare, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patch", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--registered", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if given.child:
        child(given.registered, given.names)
        return 0
    plain = run(given.names)
    print(f"without the backend     {in_words(plain)}")
    registered = run(given.names, "--registered")
    print(f"with it registered      {in_words(registered)}")
    same = compare(plain, registered, "--registered")
    if given.patch is not None:
        patched = run(given.names, patch=given.patch)
        print(f"with {given.patch.name} {in_words(patched)}")
        same = compare(plain, patched, patch=given.patch) and same
    print("the same, test for test" if same else "NOT the same")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
