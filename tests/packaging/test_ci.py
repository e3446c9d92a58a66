# SPDX-License-Identifier: GPL-2.0-or-later
"""The workflow for a public repository, and scripts/: checked as far as that goes here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import REPO


def test_workflow_is_valid() -> None:
    """.github/workflows/ci.yml is what the service takes, and its scripts are POSIX sh."""
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, of the extra [test]")
    from ruamel.yaml import YAML

    path = REPO / ".github/workflows/ci.yml"
    checker = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([sys.executable, *checker, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = YAML(typ="safe").load(path.read_text())["jobs"].values()
    steps = [step for job in jobs for step in job["steps"]]
    scripts = [where[key] for where in (*steps, *(step.get("with", {}) for step in steps))
               for key in ("run", "prepare") if key in where]  # fmt: skip
    targets = set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for script in scripts:
        done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), script
        assert set(re.findall(r"^make (\S+)", script, re.MULTILINE)) <= targets
        for name in re.findall(r"^(scripts/\S+)", script, re.MULTILINE):
            assert (REPO / name).exists()


SCRIPTS = [path for path in sorted((REPO / "scripts").iterdir()) if not path.suffix]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_posix_shell(script: Path) -> None:
    """What is no Python in scripts/ parses in sh."""
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
