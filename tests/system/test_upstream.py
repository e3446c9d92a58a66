# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/fail2ban-backends.patch on a copy of fail2ban 1.1: the proposal of docs/upstream.md.

The copy is of the package that `make compat` unpacks.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import server as f2b
from tests.support.pflogs import savefile_header, scan

REPO = Path(f2b.REPO)
PATCH = REPO / "docs/fail2ban-backends.patch"
UNPACKED = REPO / "build/compat/trixie"
LIBRARY = "usr/lib/python3/dist-packages"
SCANNER = "198.51.100.7"


@pytest.fixture
def unpatched(tmp_path: Path) -> Path:
    """A copy of fail2ban 1.1's Python package; returns the directory that it is in."""
    if not (UNPACKED / LIBRARY).is_dir():
        pytest.skip("needs fail2ban 1.1 in build/compat/trixie (`make compat` unpacks it)")
    shutil.copytree(UNPACKED / LIBRARY / "fail2ban", tmp_path / "lib/fail2ban")
    return tmp_path / "lib"


@pytest.fixture
def patched(unpatched: Path) -> Path:
    """The same with the patch."""
    if shutil.which("patch") is None:
        pytest.skip("needs patch(1)")
    done = subprocess.run(
        ["patch", "-p1", "--fuzz=0", "-i", PATCH], cwd=unpatched, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return unpatched


def install(folder: Path) -> None:
    """Put the package where that fail2ban finds it, with the entry points that setup.py gave it."""
    (folder / "fail2ban_pflog").symlink_to(REPO / "fail2ban_pflog")
    info = folder / "fail2ban_pflog-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fail2ban-pflog\nVersion: 0\n")
    points = importlib.metadata.distribution("fail2ban-pflog").read_text("entry_points.txt")
    assert points is not None
    (info / "entry_points.txt").write_text(points)


def make_server(monkeypatch: pytest.MonkeyPatch, folder: Path, library: Path) -> f2b.Server:
    """A server of that fail2ban, without the jail that loads the backend."""
    install(library)
    monkeypatch.setattr(f2b, "STOCK", UNPACKED / "etc/fail2ban")
    for name in ("SERVER", "CLIENT"):
        monkeypatch.setattr(f2b, name, UNPACKED / "usr/bin" / f"fail2ban-{name.lower()}")
    monkeypatch.setattr(f2b, "ENVIRONMENT", {**os.environ, "PYTHONPATH": str(library)})
    (folder / "server").mkdir()
    (folder / "pflog").write_bytes(savefile_header())
    server = f2b.Server(
        folder / "server",
        f"[pflog]\nenabled = true\nlogpath = {folder}/pflog\naction = recorder\n",
        packaged=False,
    )
    (server.config / "jail.d/00-pflog-backend.conf").unlink()
    (server.config / "action.d/pflog-backend.py").unlink()
    return server


def test_backend_by_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patched: Path
) -> None:
    """With the patch `backend = pflog` is found without any loader, and bans."""
    server = make_server(monkeypatch, tmp_path, patched).start()
    try:
        with (tmp_path / "pflog").open("ab") as file:
            file.write(scan(SCANNER, range(1, 16), time.time()))
        server.wait_for_bans(SCANNER)
        assert "uses fail2ban_pflog.backend:FilterPflog" in server.log.read_text()
        assert "following" in server.status("pflog")[str(tmp_path / "pflog")]
    finally:
        server.end()


def test_without_the_patch_there_is_no_such_backend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unpatched: Path
) -> None:
    """What the patch changes is what the test above sees."""
    server = make_server(monkeypatch, tmp_path, unpatched)
    with pytest.raises(AssertionError, match="Unknown backend pflog"):
        server.start()


def test_the_patchs_own_test(patched: Path) -> None:
    """The patch brings a test for fail2ban's own suite, which passes; those beside it do, too."""
    del patched  # it tells where it cannot be had
    done = subprocess.run(
        [sys.executable, REPO / "scripts/testcases.py", "--patch", PATCH, "JailTests"],
        env={**os.environ, "FAIL2BAN_ROOT": str(UNPACKED), "PYTHONPATH": str(UNPACKED / LIBRARY)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert "testBackendPlugin: passed" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
