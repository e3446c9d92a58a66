# SPDX-License-Identifier: GPL-2.0-or-later
"""`fail2ban-pflog setup`: what it writes, what it leaves alone, what it takes back."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from fail2ban_pflog.cli import main
from fail2ban_pflog.commands.host.share import Share, find_share
from fail2ban_pflog.commands.setup import command
from fail2ban_pflog.commands.setup.changes import temporary
from fail2ban_pflog.commands.setup.manifest import NAME
from tests.support import server as f2b
from tests.support.pflogs import savefile_header, scan
from tests.support.server import REPO, Server

CONFIG = "usr/local/etc/fail2ban"
LOCAL = f"{CONFIG}/jail.d/00-pflog-backend.local"
JAILS = f"{CONFIG}/jail.d/pflog.conf"
LOADER = f"{CONFIG}/action.d/pflog-backend.py"


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory: modes, contents, links' targets."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            os.readlink(path).encode() if path.is_symlink()
            else path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }  # fmt: skip


_ask = command._path
_paths: dict[Path, str] = {}


class Host:
    """A root directory that fail2ban was installed below, and `setup` for it.

    share: what the package has; a test may change it, as an upgrade does.
    """

    def __init__(self, root: Path, package: Path, capsys: Any, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._capsys = capsys
        (root / "usr/local/bin").mkdir(parents=True)
        shutil.copytree(f2b.STOCK, root / CONFIG)
        assert f2b.SERVER is not None
        shutil.copy(f2b.SERVER, root / "usr/local/bin")
        found = find_share()
        for name in ("config", "files"):
            shutil.copytree(getattr(found, name), package / name)
        self.share: Share = found._replace(config=package / "config", files=package / "files")
        patch.setattr(command, "find_share", lambda: self.share)
        patch.setattr(command, "_path", self._path)
        self.before = tree(root)
        self.errors = ""

    def _path(self, fail2ban: Any, share: Share) -> str:
        """Ask fail2ban's Python but once for each place that the package may be in."""
        if share.packages not in _paths:
            _paths[share.packages] = _ask(fail2ban, share)
        return _paths[share.packages]

    def run(self, *options: str, status: int = 0, system: str = "freebsd") -> list[str]:
        """Run setup; returns what it printed."""
        self._capsys.readouterr()
        found = main(["setup", "--root", str(self.root), "--system", system, *options])
        output = self._capsys.readouterr()
        self.errors = output.err
        assert found == status, output
        return list(output.out.splitlines())

    def said(self, lines: list[str], start: str) -> list[str]:
        """The paths of lines that begin so."""
        return [line[len(start) :].strip() for line in lines if line.startswith(start)]

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def append(self, path: str, text: str) -> None:
        with (self.root / path).open("a") as file:
            file.write(text)

    def upgrade(self) -> None:
        """A new version of the package, with another pflog.conf and another loader."""
        for name in ("jail.d/pflog.conf", "action.d/pflog-backend.py"):
            with (self.share.config / name).open("a") as file:
                file.write("# a new version\n")

    def moved(self) -> Share:
        """The package in another virtual environment."""
        there = self.share.config.parent / "bin"
        there.mkdir()
        for program in self.share.programs:
            shutil.copy(program, there)
        return self.share._replace(programs=sorted(there.iterdir()))


@pytest.fixture
def host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Host:
    if f2b.SERVER is None:
        pytest.skip("needs fail2ban-server (`make test` installs it)")
    return Host(tmp_path / "root", tmp_path / "package", capsys, monkeypatch)


# -- what is written -----------------------------------------------------------------------


def test_dry_run_lists_exactly_what_is_done(host: Host) -> None:
    """A dry run changes nothing; the run after it does what was listed, and nothing else."""
    would = host.run("--dry-run", "--writer")
    assert tree(host.root) == host.before
    done = host.run("--writer")
    listed = [line.removeprefix("would ") for line in would]
    assert done[: len(listed)] == listed
    made = {path for path in tree(host.root) if not (host.root / path).is_dir()} - {*host.before}
    paths = host.said(done, "write ") + [
        path.partition(" -> ")[0] for path in host.said(done, "link ")
    ]
    assert made == {path.lstrip("/") for path in paths} | {f"{CONFIG}/{NAME}"}


@pytest.mark.parametrize("options", [[], ["--writer"]])
def test_second_run_has_nothing_to_do(host: Host, options: list[str]) -> None:
    """Run again, also without --writer, it says so and touches nothing."""
    host.run(*options)
    before = tree(host.root)
    assert host.run()[-1] == "nothing to do"
    assert tree(host.root) == before


def test_loader_is_configured_in_a_local_file(host: Host) -> None:
    """Where the package is stands in a .local; the shipped .conf is as it was shipped."""
    host.run()
    if not (host.root / LOCAL).exists():
        pytest.skip("fail2ban's Python finds the package by itself")
    assert f'path="{host.share.packages}"' in host.text(LOCAL)
    conf = host.text(LOCAL.replace(".local", ".conf"))
    assert conf == (host.share.config / "jail.d/00-pflog-backend.conf").read_text()


BASH, ZSH = "share/bash-completion/completions/fail2ban-pflog", "share/zsh/site-functions/_"


@pytest.mark.parametrize(
    ("system", "config", "places", "steps"),
    [
        ("freebsd", CONFIG, ["usr/local/bin/fail2ban-pflog", "usr/local/share/man/man1",
                             "usr/local/etc/rc.d/fail2ban_pflogd", f"usr/local/{BASH}d",
                             "usr/local/etc/newsyslog.conf.d/fail2ban-pflogd.conf"],
         ['anchor "f2b/*"', "service pflog enable", "sysrc fail2ban_pflogd_enable=YES"]),
        ("openbsd", "etc/fail2ban", ["usr/local/bin/fail2ban-pflogd", "usr/local/man/man8",
                                     "etc/rc.d/fail2ban_pflogd", "etc/rc.d/fail2ban"],
         ["ifconfig pflog0 create", "newsyslog.conf", "rcctl restart fail2ban"]),
        ("macos", "opt/homebrew/etc/fail2ban", ["usr/local/bin/fail2ban-pflog",
                                                "etc/newsyslog.d/fail2ban-pflogd.conf"],
         ["no launchd job is shipped", "brew services restart"]),
        ("linux", "etc/fail2ban", ["usr/local/share/man/man1/fail2ban-pflog.1",
                                   "etc/systemd/system/fail2ban-pflogd.service",
                                   "etc/logrotate.d/fail2ban-pflogd",
                                   "etc/fail2ban/jail.d/pflog.linux.conf",
                                   f"usr/local/{BASH}", f"usr/local/{ZSH}fail2ban-pflog"],
         ["systemctl enable --now fail2ban-pflogd", "systemctl restart fail2ban",
          "group 5 queue-threshold 1 drop", "--nflog-threshold 1"]),
    ],
)  # fmt: skip
def test_each_system(
    host: Host, system: str, config: str, places: list[str], steps: list[str]
) -> None:
    """Each system gets its files where it looks for them, and its next steps; --remove undoes."""
    if config != CONFIG:
        (host.root / config).parent.mkdir(parents=True, exist_ok=True)
        (host.root / CONFIG).rename(host.root / config)
    before = tree(host.root)
    plain = "\n".join(host.run("--dry-run", system=system))
    assert "Next" not in plain
    text = "\n".join(host.run("--writer", system=system))
    for place in [f"{config}/jail.d/pflog.conf", *places]:
        assert os.path.lexists(host.root / place), place
    for step in [f"/{config}/jail.local", "[pflog-text]", *steps]:
        assert step in text.partition("Next, where it is not so yet:")[2]
    assert "[pflog]" not in text
    scripts = list(host.root.rglob("rc.d/*"))
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in scripts)
    assert "your lines in jail.local" in "\n".join(host.run("--remove", system=system))
    for path in ("etc/rc.d/fail2ban", "etc/rc.d") if system == "openbsd" else ():
        before[path] = tree(host.root)[path]  # which fail2ban needs
    assert tree(host.root) == before


def test_next_steps_on_linux(host: Host) -> None:
    """Where no pf is nothing of pf's is asked for on this host."""
    lines = host.run("--confdir", f"/{CONFIG}", system="linux")
    text = "\n".join(lines).partition("Next, where it is not so yet:")[2]
    assert "[pflog]" in text
    assert not re.search("anchor|pfctl|ifconfig|pflog-text|rcctl", text)


def test_rc_script_of_fail2ban_is_a_default(host: Host) -> None:
    """OpenBSD gets an rc script for fail2ban, where none is; another one is left, and no news."""
    script = host.root / "etc/rc.d/fail2ban"
    script.parent.mkdir(parents=True)
    script.write_text("# my own\n")
    lines = host.run("--confdir", f"/{CONFIG}", system="openbsd")
    assert not [line for line in lines if "etc/rc.d/fail2ban" in line]
    assert script.read_text() == "# my own\n"
    assert not script.with_name("fail2ban.new").exists()


def test_service_files_name_the_programs_of_this_host(host: Host) -> None:
    """The unit starts the linked program; OpenBSD's pexp has its interpreter."""
    program = next(each for each in host.share.programs if each.name == "fail2ban-pflogd")
    python = program.read_text().splitlines()[0][2:]
    options = ("--writer", "--confdir", f"/{CONFIG}")
    host.run(*options, system="linux")
    unit = host.text("etc/systemd/system/fail2ban-pflogd.service")
    assert "ExecStart=/usr/local/bin/fail2ban-pflogd $OPTIONS" in unit
    host.run("--remove", "--confdir", f"/{CONFIG}", system="linux")
    host.run(*options, system="openbsd")
    assert f'pexp="{python} ${{daemon}}.*"' in host.text("etc/rc.d/fail2ban_pflogd")


# -- what the administrator changed --------------------------------------------------------


def test_changed_file_is_left_and_the_new_one_put_beside(host: Host) -> None:
    """It is said, the new version is beside it; once they agree, that one goes away."""
    host.run()
    host.append(JAILS, "# mine\n")
    mine = host.text(JAILS)
    host.upgrade()
    lines = host.run()
    assert any(f"leave /{JAILS}" in line and f"/{JAILS}.new" in line for line in lines)
    assert host.text(JAILS) == mine
    assert host.text(JAILS + ".new").endswith("# a new version\n")
    assert host.said(lines, "replace ") == [f"/{LOADER}"]
    again = host.run()
    assert again[-1] == "nothing to do"
    assert any(f"leave /{JAILS}" in line for line in again)
    (host.root / JAILS).write_text(host.text(JAILS + ".new"))
    assert host.said(host.run(), "remove ") == [f"/{JAILS}.new"]


def test_file_beside_is_left_too_when_it_was_changed(host: Host) -> None:
    """An edited FILE.new stays as it is."""
    host.run()
    host.append(JAILS, "# mine\n")
    host.upgrade()
    host.run()
    host.append(JAILS + ".new", "# merging\n")
    host.upgrade()
    assert any(".new; the new version is in the package" in line for line in host.run())
    assert host.text(JAILS + ".new").endswith("# merging\n")


def test_file_that_was_there_before(host: Host) -> None:
    """What others put there is not ours: never written, and not removed."""
    (host.root / JAILS).write_text("# somebody's\n")
    same = host.root / f"{CONFIG}/filter.d/pflog.conf"
    shutil.copy(host.share.config / "filter.d/pflog.conf", same)
    host.run()
    assert host.text(JAILS) == "# somebody's\n"
    host.run("--remove")
    assert host.text(JAILS) == "# somebody's\n"
    assert same.exists()
    assert not (host.root / LOADER).exists()


def test_mode_of_a_file_is_kept(host: Host) -> None:
    """A mode that the administrator gave a file survives an upgrade; new ones do not depend on
    the umask.
    """
    umask = os.umask(0o077)
    try:
        host.run()
        assert (host.root / JAILS).stat().st_mode & 0o777 == 0o644
        (host.root / JAILS).chmod(0o640)
        host.upgrade()
        host.run()
    finally:
        os.umask(umask)
    assert (host.root / JAILS).stat().st_mode & 0o777 == 0o640
    assert host.text(JAILS).endswith("# a new version\n")


def test_symbolic_links_of_the_administrator(host: Host) -> None:
    """A file that is a link, and a program's name that is somebody else's, are left."""
    elsewhere = host.root / "elsewhere"
    elsewhere.write_text("# mine\n")
    (host.root / JAILS).symlink_to(elsewhere)
    program = host.root / "usr/local/bin/fail2ban-pflog"
    program.symlink_to("/nowhere")
    lines = host.run()
    assert any("leave /usr/local/bin/fail2ban-pflog: it is not ours" in line for line in lines)
    host.run("--remove")
    assert (host.root / JAILS).is_symlink()
    assert elsewhere.read_text() == "# mine\n"
    assert os.readlink(program) == "/nowhere"


def test_package_that_moved(host: Host) -> None:
    """A virtual environment that was made anew elsewhere: links follow."""
    host.run()
    host.share = moved = host.moved()
    assert len(host.said(host.run(), "link ")) == 2
    assert os.readlink(host.root / "usr/local/bin/fail2ban-pflog") == str(moved.programs[0])


# -- what is taken back --------------------------------------------------------------------


def test_remove_takes_back_everything_and_nothing_else(host: Host) -> None:
    """Also what fail2ban's Python made of the loader; a second time there is nothing to do."""
    host.run("--writer")
    cache = host.root / f"{CONFIG}/action.d/__pycache__"
    cache.mkdir()
    (cache / "pflog-backend.cpython-311.pyc").touch()
    would = host.run("--remove", "--dry-run")
    done = host.run("--remove")
    assert done[: len(would)] == [line.removeprefix("would ") for line in would]
    assert tree(host.root) == host.before
    assert host.run("--remove")[-1] == "nothing to do"


def test_remove_leaves_what_was_changed(host: Host) -> None:
    """A changed file stays, and is named."""
    host.run()
    host.append(JAILS, "# mine\n")
    lines = host.run("--remove")
    assert f"leave /{JAILS}: setup did not write it so, it is yours" in lines
    assert set(tree(host.root)) - set(host.before) == {JAILS}


def test_remove_when_fail2ban_is_gone(host: Host) -> None:
    """Where fail2ban was removed first, the rest goes all the same."""
    host.run()
    (host.root / "usr/local/bin/fail2ban-server").unlink()
    host.run("--remove")
    assert set(tree(host.root)) == set(host.before) - {"usr/local/bin/fail2ban-server"}


@pytest.mark.parametrize(
    "jail",
    [
        "[pflog]\nenabled = true\n",
        "[pflog-text]\nenabled = true\n",
        "[x]\nenabled = true\nfilter = sshd\nbackend = pflgo\naction = nftables\n",
        "[x]\nenabled = true\nfilter = sshd\nbackend = polling\naction = pf-pflog\n",
    ],
)
def test_remove_does_not_disarm_the_host(host: Host, jail: str) -> None:
    """While a jail needs the files, fail2ban would refuse its whole configuration without them."""
    host.run()
    host.append(f"{CONFIG}/jail.local", jail)
    before = tree(host.root)
    host.run("--remove", status=1)
    assert jail[1:].partition("]")[0] in host.errors
    assert "Disable them" in host.errors
    assert tree(host.root) == before


# -- what goes wrong -----------------------------------------------------------------------


def fail_at(
    monkeypatch: pytest.MonkeyPatch, number: int, fail: Callable[[], Any]
) -> Callable[[], bool]:
    """Let the call of that number that changes files fail; the result says whether it came."""
    left = [number]

    def counted(original: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            return fail() if left[0] == 0 else original(*arguments, **options)

        return step

    for name in ("replace", "unlink", "symlink_to", "mkdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    return lambda: left[0] <= 0


def full_disk() -> Any:
    raise OSError(errno.ENOSPC, "No space left on device", "a file")


@pytest.mark.parametrize("way", ["full disk", "killed"])
@pytest.mark.parametrize("what", ["setup", "upgrade", "remove"])
def test_each_step_is_safe(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: Any, what: str, way: str
) -> None:
    """Whichever step is the last, no file lacks what it needs, and the next run goes on."""
    monkeypatch.setattr(command, "_refuse_if_used", lambda _: None)
    options = ["--remove"] if what == "remove" else ["--writer"]
    arguments = ["setup", *options, "--root", str(host.root), "--system", "freebsd"]
    share, moved = host.share, host.moved()
    for number in range(1 if way == "killed" else 2, 200, 3):  # all would take a minute
        host.share = share
        host.run("--remove")
        assert set(tree(host.root)) == set(host.before)
        if what != "setup":
            host.run("--writer")
        if what == "upgrade":
            host.upgrade()
            host.share = moved
        pid = os.fork()
        if not pid:
            fail = full_disk if way == "full disk" else lambda: os._exit(9)
            failed = fail_at(monkeypatch, number, fail)
            status = main(arguments)
            said = "No space left on device" in capsys.readouterr().err
            os._exit(7 if not failed() else 8 if said != bool(status) else status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 7:
            break
        assert status in ((0, 1) if way == "full disk" else (9,))
        there = {path for path in tree(host.root) if "fail2ban/" in path}
        for path, needed in NEEDED.items():
            assert not {path} <= there or needed <= there, (number, path)
        temporary = [path for path in tree(host.root) if path.endswith("~")]
        assert len(temporary) <= (way == "killed")
        if what == "upgrade" and number % 2:  # it is taken back as well as finished
            host.run("--remove")
            assert set(tree(host.root)) == set(host.before)
        host.run(*options)
        assert not [path for path in tree(host.root) if path.endswith("~")]
        assert host.run(*options)[-1] == "nothing to do"
        assert (
            what == "remove"
            or host.text(JAILS) == (host.share.config / "jail.d/pflog.conf").read_text()
        )
    assert number > {"setup": 60, "upgrade": 20, "remove": 30}[what]


NEEDED = {
    f"{CONFIG}/jail.d/00-pflog-backend.conf": {LOADER},
    JAILS: {LOADER, f"{CONFIG}/filter.d/pflog.conf", f"{CONFIG}/action.d/pf-pflog.conf",
            f"{CONFIG}/jail.d/00-pflog-backend.conf"},
    f"{CONFIG}/jail.d/pflog-text.conf": {f"{CONFIG}/filter.d/pflog.conf"},
}  # fmt: skip
"""Without these fail2ban would refuse its configuration, where the jail is enabled."""


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="needs logrotate")
def test_logrotate_ignores_what_a_killed_run_left(tmp_path: Path) -> None:
    """A temporary file in logrotate's directory is no second entry for the same log."""
    text = (REPO / "files/linux/fail2ban-pflogd.logrotate").read_text()
    folder = tmp_path / "logrotate.d"
    folder.mkdir()
    for place in (folder / "x", temporary(folder / "x")):
        place.write_text(text.replace("/var/log/", f"{tmp_path}/"))
    (tmp_path / "conf").write_text(f"include {folder}\n")
    done = subprocess.run(
        ["logrotate", "--debug", "--state", tmp_path / "state", tmp_path / "conf"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "duplicate log entry" not in done.stderr
    assert "Ignoring" in done.stderr


def test_package_that_fail2bans_python_cannot_import(host: Host, tmp_path: Path) -> None:
    """Nothing is written where the loader would fail; the loader's own words say why."""
    if host_finds(host):
        pytest.skip("fail2ban's Python finds the package by itself")
    host.share = host.share._replace(packages=tmp_path / "no such environment")
    host.run(status=1)
    assert "cannot be loaded by fail2ban's Python" in host.errors
    assert tree(host.root) == host.before


def host_finds(host: Host) -> bool:
    """Whether fail2ban's Python finds the package by itself."""
    return not any(line.endswith("00-pflog-backend.local") for line in host.run("--dry-run"))


def test_environment_whose_name_cannot_be_told(host: Host, tmp_path: Path) -> None:
    """fail2ban's configuration has no way to write such a path."""
    if host_finds(host):
        pytest.skip("fail2ban's Python finds the package by itself")
    odd = tmp_path / "100%"
    odd.symlink_to(sys.prefix)
    host.share = host.share._replace(packages=odd)
    host.run(status=1)
    assert "directory of a plain name" in host.errors
    assert tree(host.root) == host.before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("option", ["--writer", "--remove"])
def test_without_permission(host: Host, tmp_path: Path, option: str) -> None:
    """It names the file and says to run it as root, and lists nothing that did not happen."""
    for path in (host.root, *host.root.parents):
        if path.stat().st_uid == 0 and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    if option == "--remove":
        host.run()
    before = tree(host.root)
    for options, expected in (([option], 1), ([option, "--dry-run"], 0)):
        with (tmp_path / "output").open("w") as output:
            pid = os.fork()
            if not pid:
                sys.stdout = sys.stderr = output
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                status = main(["setup", "--root", str(host.root), "--system", "freebsd", *options])
                output.flush()
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == expected
        lines = (tmp_path / "output").read_text().splitlines()
        if expected:
            assert "Permission denied; nothing was changed; run it as root" in lines[-1]
            assert not re.search(r"^(write|link|remove) ", "\n".join(lines), re.MULTILINE)
        assert tree(host.root) == before


def test_damaged_manifest(host: Host) -> None:
    """Without its manifest setup would take its own files for yours: it says so and stops."""
    host.run()
    (host.root / CONFIG / NAME).write_text("{")
    host.run(status=1)
    assert NAME in host.errors


def test_no_fail2ban(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where it looked, and which option helps."""
    assert main(["setup", "--root", str(tmp_path), "--system", "openbsd"]) == 1
    assert "/etc/fail2ban" in capsys.readouterr().err
    assert main(["setup", "--confdir", str(tmp_path)]) == 1
    assert "has no jail.conf" in capsys.readouterr().err


# -- where the package is ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "shared", "page"),
    [
        ("clone/fail2ban_pflog", "clone", "clone/man/fail2ban-pflog.1"),
        ("venv/lib/python3.11/site-packages/fail2ban_pflog", "venv/share/fail2ban-pflog",
         "venv/share/man/man1/fail2ban-pflog.1"),
        ("usr/lib/python3/dist-packages/fail2ban_pflog", "usr/share/fail2ban-pflog",
         "usr/share/man/man1/fail2ban-pflog.1.gz"),
        ("target/fail2ban_pflog", "target/share/fail2ban-pflog",
         "target/share/man/man1/fail2ban-pflog.1"),
    ],
    ids=["clone", "wheel", "Debian", "target"],
)  # fmt: skip
def test_package_finds_its_files(tmp_path: Path, package: str, shared: str, page: str) -> None:
    """In a clone, a wheel's environment, a distribution's package and a --target directory."""
    for name in (f"{shared}/config/action.d/pflog-backend.py", page):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    found = find_share(tmp_path / package)
    assert found.config == tmp_path / shared / "config"
    assert found.files == tmp_path / shared / "files"
    assert found.manuals == [tmp_path / page]


# -- the whole -----------------------------------------------------------------------------


def test_a_stock_fail2ban_bans_after_setup(tmp_path: Path) -> None:
    """setup, one line in jail.local, a start: the distribution's fail2ban bans."""
    if f2b.SERVER is None:
        pytest.skip("needs fail2ban-server (`make test` installs it)")
    capture = tmp_path / "pflog"
    capture.write_bytes(
        savefile_header(snaplen=160) + scan("198.51.100.9", range(1, 30), time.time() - 5)
    )
    server = Server(tmp_path, "", packaged=False)
    shutil.rmtree(server.config / "jail.d")
    for name in ("action.d/pflog-backend.py", "action.d/pf-pflog.conf", "filter.d/pflog.conf"):
        (server.config / name).unlink()
    python = Path(f2b.SERVER).read_text().splitlines()[0][2:]
    options = ["--root", str(tmp_path), "--confdir", "/config", "--python", python]
    assert main(["setup", *options]) == 0
    server.jails(f"[pflog]\nenabled = true\nlogpath = {capture}\naction = recorder\n")
    try:
        server.start()
        server.wait_for_bans("198.51.100.9")
    finally:
        server.end()
    manifest = json.loads((server.config / NAME).read_text())
    assert f"/config/{LOADER.removeprefix(CONFIG + '/')}" in manifest["files"]
