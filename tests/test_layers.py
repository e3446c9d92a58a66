# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers: a room imports only the rooms listed for it, and the core is pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "fail2ban_pflog"

CORE = {
    "errors": set(),
    "pflog": {"errors"},
    "wire": {"errors", "pflog"},
    "formatter": {"errors", "pflog", "wire"},
    "policy": {"errors", "pflog"},
    "options": {"errors", "policy"},
    "pipeline": {"errors", "pflog", "wire", "formatter", "policy"},
}
"""Room -> the rooms that it may import; the order is from below to above."""

CORE_ROOMS = set(CORE)
ALLOWED: dict[str, set[str]] = {
    **CORE,
    "pool": set(),
    "sources": {"errors", "pflog"},
    "jail": {*CORE_ROOMS, "sources"},
    "backend": {*CORE_ROOMS, "sources", "jail"},
    "writer": {*CORE_ROOMS, "sources"},
    "commands": {*CORE_ROOMS, "sources", "pool"},
    "backtest": {*CORE_ROOMS, "sources", "jail", "backend", "pool"},
    "cli": {"errors"},
    "__main__": {"cli"},
}

IMPURE = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "selectors", "shutil", "socket",
    "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip

FAIL2BAN = {"backend", "jail", "backtest"}
"""The rooms that may import fail2ban; commands/host/probe.py is run by fail2ban's interpreter."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for each import; names of this package begin with a point."""
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.lineno, "." + ".".join([*base, name])) for name in names)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "probe.py"]


def test_imports_go_downward() -> None:
    """Each room imports only the rooms listed for it, and the list has no circle."""
    wrong = []
    for path in MODULES:
        room = room_of(path)
        if room == "__init__":
            continue
        for line, name in imports(path):
            target = name.split(".")[1] if name.startswith(".") else room
            if target not in (room, "__version__") and target not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert wrong == []
    seen: set[str] = set()
    for room, below in ALLOWED.items():
        assert below <= seen, f"{room} stands before {below - seen}"
        seen.add(room)


def test_core_is_pure_and_only_the_seam_imports_fail2ban() -> None:
    """The core imports no I/O, and nothing but backend, jail and backtest imports fail2ban."""
    wrong = []
    for path in MODULES:
        room = room_of(path)
        for line, name in imports(path):
            top = name.split(".")[0]
            if (room in CORE_ROOMS and top in IMPURE) or (
                top == "fail2ban" and room not in FAIL2BAN
            ):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert wrong == []


def test_package_is_small_to_import() -> None:
    """Importing the command line loads neither pcapy nor fail2ban nor a plot library."""
    code = "import sys, fail2ban_pflog.cli as c; c.main(['--version'])"
    heavy = ("pcapy", "fail2ban", "matplotlib", "pyarrow", "asyncio")
    check = (
        f"try:\n {code}\nexcept SystemExit: pass\nprint([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
