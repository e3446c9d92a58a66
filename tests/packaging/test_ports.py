# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports' skeletons: they name what there is, and list what they would install.

No BSD is here: bmake reads their Makefiles with a stand-in for the system's bsd.port.mk.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fail2ban_pflog import __version__
from tests.support.server import REPO

FREEBSD = REPO / "packaging/freebsd/security/py-fail2ban-pflog"
OPENBSD = REPO / "packaging/openbsd/security/fail2ban-pflog"

BSD_PORT_MK = """\
WRKSRC = {tree}
MKDIR = mkdir -p
INSTALL_DATA_DIR = install -d
INSTALL_DATA = install -m 444
INSTALL_SCRIPT = install -m 555
REINPLACE_CMD = sed -i
STAGEDIR = {stage}
WRKINST = {stage}
RCDIR = /etc/rc.d
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources, as a port unpacks them."""
    tree = tmp_path / "tree"
    for name in ("config", "files", "completions", "man", "fail2ban_pflog"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / name, tree / name, ignore=skip)
    for name in ("setup.py", "README.md"):
        shutil.copy(REPO / name, tree)
    return tree


def bmake(port: Path, tree: Path, prefix: str, *targets: str) -> Path:
    """Run a port's targets; returns the directory that it staged."""
    if shutil.which("bmake") is None:
        pytest.skip("needs bmake (`make test` installs it)")
    stage = tree.parent / "stage"
    text = BSD_PORT_MK.format(tree=tree, stage=stage) + f"PREFIX = {prefix}\n"
    (tree.parent / "bsd.port.mk").write_text(text)
    done = subprocess.run(
        ["bmake", "-r", "-m", tree.parent, "-f", port / "Makefile", *targets],
        cwd=tree.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return stage


def staged(stage: Path) -> set[str]:
    """The files below a directory."""
    return {str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()}


def plist(path: Path) -> list[str]:
    """A packing list's lines without its comments."""
    return [line for line in path.read_text().splitlines() if not line.startswith("@comment")]


@pytest.mark.parametrize("port", [FREEBSD, OPENBSD], ids=["freebsd", "openbsd"])
def test_port_knows_the_version(port: Path) -> None:
    """The port is of this version."""
    text = (port / "Makefile").read_text()
    assert re.findall(r"^(?:DISTVERSION|MODPY_DISTV)\s*=\s*(\S+)$", text, re.MULTILINE) == [
        __version__
    ]


def test_freebsd_port_installs_its_plist(tree: Path) -> None:
    """Samples for /usr/local/etc and the rc script, as files/ has it."""
    stage = bmake(FREEBSD, tree, "/usr/local", "post-patch", "post-install")
    listed = {line.removeprefix("@sample ") for line in plist(FREEBSD / "pkg-plist")}
    assert staged(stage / "usr/local") == listed
    for path in (REPO / "config").glob("*/*.*"):
        sample = stage / f"usr/local/etc/fail2ban/{path.parent.name}/{path.name}.sample"
        assert sample.read_bytes() == path.read_bytes()
    script = stage / "usr/local/etc/rc.d/fail2ban_pflogd"
    assert script.read_bytes() == (REPO / "files/freebsd/fail2ban_pflogd").read_bytes()
    assert script.stat().st_mode & 0o777 == 0o555


def test_freebsd_port_minds_its_prefix(tree: Path) -> None:
    """With another PREFIX nothing in the rc script points to /usr/local."""
    stage = bmake(FREEBSD, tree, "/opt", "post-patch", "post-install")
    script = (stage / "opt/etc/rc.d/fail2ban_pflogd").read_text()
    assert "program=/opt/bin/fail2ban-pflogd\n" in script
    assert "/usr/local" not in script


def test_openbsd_port_installs_its_plist(tree: Path) -> None:
    """All that setup.py installs but the Python modules; each file of config/ is a sample."""
    prefix = tree.parent / "stage/usr/local"
    subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "-q", "install_data", "-d", prefix],
        cwd=tree, check=True, timeout=60,
    )  # fmt: skip
    stage = bmake(OPENBSD, tree, str(prefix), "post-install")
    lines = plist(OPENBSD / "pkg/PLIST")
    listed = {line.removeprefix("@man ") for line in lines if not line.startswith(("bin/", "@"))}
    listed |= {line.removeprefix("@man ") for line in lines if line.startswith("@man ")}
    assert staged(stage / "usr/local") == listed
    for before, line in zip(lines, lines[1:]):
        name = before.removeprefix("share/fail2ban-pflog/config/")
        assert (name != before) == line.startswith("@sample "), line
        assert name == before or line == f"@sample ${{SYSCONFDIR}}/fail2ban/{name}"
    assert "@rcscript ${RCDIR}/fail2ban_pflogd" in lines
    script = stage / "etc/rc.d/fail2ban_pflogd"
    assert script.read_bytes() == (REPO / "files/openbsd/fail2ban_pflogd").read_bytes()


def test_freebsd_message_is_ucl() -> None:
    """pkg(8) takes a message for structured when it begins with a bracket."""
    text = (FREEBSD / "pkg-message").read_text()
    assert text.startswith("[\n")
    assert re.search(r"message: <<EOM\n.*\nEOM\n\}\n\]\n\Z", text, re.DOTALL)


def test_our_makefile_is_for_every_make() -> None:
    """BSD make reads the project's own Makefile."""
    if shutil.which("bmake") is None:
        pytest.skip("needs bmake (`make test` installs it)")
    done = subprocess.run(["bmake", "help"], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "make demo" in done.stdout
