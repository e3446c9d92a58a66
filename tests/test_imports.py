# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers: arrows go downward only, and the core is pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "fail2ban_pflog"
IO = ("cores", "sources", "health", "places", "intake", "host")
SHELLS = (
    "backend", "braked", "counters", "savefilefilter", "teach", "watch", "blame", "asciilog",
    "backtest", "cli", "export", "printer", "install", "doctor",
)  # fmt: skip
IMPURE = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "selectors", "shutil", "socket",
    "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def layer(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if first in SHELLS:
        return "shell"
    return "I/O" if first in IO else "core"


MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Names that a module imports; those of the package begin with a point."""
    found = set()
    package = [".", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                found.add(node.module or "")
                continue
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {"." + ".".join([*base[1:], name]) for name in names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_go_downward(path: Path) -> None:
    """The core imports nothing above it, sources import no shell."""
    mine = layer(path)
    for name in imports(path):
        top = name.split(".")
        if name.startswith("."):
            upper = top[1]
            if mine == "core":
                assert upper not in (*IO, *SHELLS), f"{path.name} imports {name}"
            elif mine == "I/O":
                assert upper not in SHELLS, f"{path.name} imports {name}"
        elif mine == "core":
            assert top[0] not in IMPURE, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_backend_and_backtest_know_fail2ban(path: Path) -> None:
    """Everything but the backend and the backtest runs where fail2ban is not."""
    # host/probe.py is run by fail2ban's own interpreter, as text.
    seam = (
        "backend.py", "backtest", "blame.py", "braked.py", "counters.py", "savefilefilter.py",
        "teach.py",
    )  # fmt: skip
    if path.relative_to(PACKAGE).parts[0] not in seam and path.name != "probe.py":
        assert not any(name.split(".")[0] == "fail2ban" for name in imports(path))


def test_package_is_small_to_import() -> None:
    """Importing the command line loads neither pcapy nor fail2ban nor a plot library."""
    code = "import sys, fail2ban_pflog.cli as c; c.main(['--version'])"
    heavy = ("pcapy", "fail2ban", "matplotlib", "pyarrow", "rich", "asyncio")
    check = (
        f"try:\n {code}\nexcept SystemExit: pass\nprint([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
