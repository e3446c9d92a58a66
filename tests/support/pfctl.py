# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for pfctl that writes its calls down, and knows the rules that it was given."""

from __future__ import annotations

import stat
from pathlib import Path

PFCTL = """#!/bin/sh
echo "$*" >> {folder}/calls
case "$*" in
*-f\\ -) cat > {folder}/loaded ;;
*"-s rules") cat {folder}/rules {folder}/loaded 2>/dev/null ;;
esac
exit 0
"""


def stand_in(folder: Path, rules: str = 'anchor "f2b/*" all\n') -> Path:
    """Make one in a directory.  rules: pf.conf's, as ``pfctl -s rules`` would print them."""
    program = folder / "pfctl"
    program.write_text(PFCTL.format(folder=folder))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "rules").write_text(rules)
    return program


def calls(folder: Path) -> list[str]:
    """Return what it was called with, each call's arguments in a line."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []
