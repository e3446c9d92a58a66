# SPDX-License-Identifier: GPL-2.0-or-later
"""What is needed to build packages: the sdist's list of files, the index page's text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import REPO

pytest.importorskip("setuptools", reason="needs setuptools")


def setup_py(*arguments: object, **environment: str) -> str:
    """Run setup.py; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", *map(str, arguments)],
        cwd=REPO, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sdist_has_all_files(tmp_path: Path) -> None:
    """The sdist builds, tests and demos itself: it has each file that git has."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("needs a git checkout")
    setup_py("-q", "egg_info", "--egg-base", tmp_path)
    (sources,) = tmp_path.glob("*.egg-info/SOURCES.txt")
    packed = {line for line in sources.read_text().splitlines() if ".egg-info/" not in line}
    assert packed == set(listed.stdout.splitlines()) - {".gitignore"}


def links(text: str) -> list[str]:
    """Where a Markdown text's links lead."""
    return re.findall(r"\]\(([^)]*)\)", text)


def test_index_page_has_no_dead_link() -> None:
    """Without a public address the README's links are words, with one they lead there."""
    readme = (REPO / "README.md").read_text()
    assert links(readme)
    words = setup_py("--long-description", PROJECT_URL="")
    assert links(words) == []
    assert "docs/jails.md" in words
    linked = setup_py("--long-description", PROJECT_URL="https://example.org/project/")
    version = setup_py("--version").strip()
    base = f"https://example.org/project/blob/v{version}/"
    assert links(linked) == [link if "//" in link else base + link for link in links(readme)]
    assert setup_py("--url", PROJECT_URL="https://example.org/project/").strip() == (
        "https://example.org/project"
    )
