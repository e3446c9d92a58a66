# SPDX-License-Identifier: GPL-2.0-or-later
"""What the systems' own tools make of files/: rc.d, newsyslog, systemd, logrotate."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import REPO, wait_for
from tests.support.writers import (
    ROOT,
    Pflogd,
    assert_each_once,
    numbered_records,
    numbers_in,
    savefile,
)

FILES = REPO / "files"

FREEBSD_RC_SUBR = """\
# What FreeBSD's rc.subr does with the variables that the script sets.
load_rc_config() { . $RC_CONF; }
run_rc_command() {
    eval rc_flags=\\$${name}_flags
    rc_pid=
    [ -s $pidfile ] && rc_pid=$(cat $pidfile)
    if [ -n "$rc_pid" ]; then
        case "$(tr '\\0' ' ' < /proc/$rc_pid/cmdline)" in
        "$command_interpreter $procname "*) ;;
        *) rc_pid= ;;
        esac
    fi
    case $1 in
    start)
        eval [ \\$$rcvar = YES ] || exit 3
        [ -f $required_files ] || exit 4
        $start_precmd || exit 5
        eval "$command $rc_flags $command_args" ;;
    stop) kill -TERM $rc_pid ;;
    reload) kill -HUP $rc_pid ;;
    status) [ -n "$rc_pid" ] ;;
    configtest) $configtest_cmd ;;
    esac
}
"""

DAEMON = """\
#!/bin/sh
# daemon(8): -f -S -T tag program arguments
[ "$1 $2 $3" = "-f -S -T" ] || exit 64
shift 4
"$@" < /dev/null > /dev/null 2>> $MESSAGES &
"""

OPENBSD_RC_SUBR = """\
# What OpenBSD's rc.subr does with the variables that the script sets.
rc_exec() { sh -c "$@"; }
rc_cmd() {
    running() { pgrep -xf "$pexp" > /dev/null; }
    case $1 in
    start)
        rc_configtest || exit 1
        [ $rc_bg = YES ] || exit 64
        (
            exec < /dev/null > /dev/null 2>> $MESSAGES
            rc_exec "exec $daemon $daemon_flags"
        ) & ;;
    stop) pkill -TERM -xf "$pexp" ;;
    reload) pkill -HUP -xf "$pexp" ;;
    check) running ;;
    configtest) rc_configtest ;;
    esac
}
"""


class Service:
    """A system's rc.d script and its stand-ins, with every path below one folder."""

    def __init__(self, folder: Path, system: str, rc_subr: str) -> None:
        self.folder = folder
        self.log = folder / "the log/pflog.log"
        self.log.parent.mkdir()
        self.pid_file = folder / "fail2ban-pflogd.pid"
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        program = self.write("fail2ban-pflogd", PROGRAM.format(sys.executable, str(REPO)))
        flags = f'--read {self.fifo} --log \\"{self.log}\\"'
        script = (FILES / system / "fail2ban_pflogd").read_text()
        for path, ours in {
            "/usr/local/bin/fail2ban-pflogd": program,
            "/usr/local/bin/python3[0-9.]*": sys.executable,
            "/var/run/fail2ban-pflogd.pid": self.pid_file,
            "/usr/sbin/daemon": self.write("daemon", DAEMON),
            ". /etc/rc.subr": f". {self.write('rc.subr', rc_subr)}",
            ". /etc/rc.d/rc.subr": f'daemon_flags="{flags} --pid-file {self.pid_file}"\n'
            f". {self.write('rc.subr', rc_subr)}",
        }.items():
            script = script.replace(path, str(ours))
        self.script = self.write("script", script)
        conf = f'fail2ban_pflogd_enable=YES\nfail2ban_pflogd_flags="{flags}"\n'
        self.environment = {
            **os.environ,
            "RC_CONF": str(self.write("rc.conf", conf)),
            "MESSAGES": str(folder / "messages"),
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", self.script, action],
            env=self.environment, capture_output=True, text=True, timeout=20,
        )  # fmt: skip

    def runs(self) -> bool:
        return self.pid_file.exists() and self.pid_file.read_text().strip().isdigit()


PROGRAM = """\
#!{0}
import sys
sys.path.insert(0, "{1}")
from fail2ban_pflog.writer import main
sys.exit(main())
"""


@pytest.fixture(params=[("freebsd", FREEBSD_RC_SUBR), ("openbsd", OPENBSD_RC_SUBR)])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    if sys.platform != "linux" or shutil.which("pgrep") is None:
        pytest.skip("the stand-ins need /proc and pgrep")
    made = Service(tmp_path, *request.param)
    yield made
    if made.runs():
        subprocess.run(["kill", "-9", made.pid_file.read_text().strip()])


def test_rc_script(service: Service, tmp_path: Path) -> None:
    """start, check, reload after a rename, stop: as an administrator does."""
    assert service.run("configtest").returncode == 0
    started = service.run("start")
    assert (started.returncode, started.stderr) == (0, "")
    wait_for(service.runs, "the pid file")
    assert service.run("status").returncode == 0 or service.run("check").returncode == 0
    service.fifo.write_bytes(savefile(range(2)))
    wait_for(lambda: service.log.read_bytes().count(b"\n") == 2, "lines")
    service.log.rename(tmp_path / "old")
    assert service.run("reload").returncode == 0
    wait_for(service.log.exists, "the new log")
    assert service.run("stop").returncode == 0
    wait_for(lambda: not service.pid_file.exists(), "the end")
    assert numbers_in(tmp_path / "old", service.log) == [0, 1]


def test_rc_script_refuses_wrong_options(service: Service) -> None:
    """configtest says what is wrong, and start does not start."""
    for path in (service.script, Path(service.environment["RC_CONF"])):
        path.write_text(path.read_text().replace("/the log/", "/no such folder/"))
    checked = service.run("configtest")
    assert checked.returncode != 0
    assert "there is no such directory for the log" in checked.stdout + checked.stderr
    assert service.run("start").returncode != 0
    assert not service.runs()


def test_rc_script_is_valid_shell() -> None:
    """Both scripts parse, and name what rcorder(8) needs."""
    for script in FILES.glob("*/fail2ban_pflogd"):
        assert subprocess.run(["sh", "-n", script]).returncode == 0
    text = (FILES / "freebsd/fail2ban_pflogd").read_text()
    assert "# PROVIDE: fail2ban_pflogd\n# REQUIRE: FILESYSTEMS pflog\n" in text


# -- newsyslog -----------------------------------------------------------------------------


def newsyslog_line(system: str) -> list[str]:
    lines = (FILES / system / "newsyslog.conf").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#")]
    return line.split()


@pytest.mark.parametrize(("system", "flags"), [("freebsd", set("JCB")), ("openbsd", set("ZB"))])
def test_newsyslog_line(tmp_path: Path, system: str, flags: set[str]) -> None:
    """newsyslog renames, makes the new file with the line's mode, and sends HUP."""
    log, mode, _count, _size, when, found, pid_file = newsyslog_line(system)
    assert (log, when, set(found)) == ("/var/log/pflog.log", "*", flags)
    assert pid_file == "/var/run/fail2ban-pflogd.pid"
    writer = Pflogd(tmp_path)
    writer.feed(savefile(range(3)))
    writer.wait_lines(3)
    writer.log.rename(tmp_path / "pflog.log.0")
    writer.log.touch()
    writer.log.chmod(int(mode, 8))
    writer.feed(numbered_records(range(3, 5)))  # between the rename and the signal
    writer.wait_lines(5, tmp_path / "pflog.log.0")
    os.kill(int(writer.pid_file.read_text()), 1)
    writer.wait_status("opened 2 times")
    writer.feed(numbered_records(range(5, 7)))
    writer.end_of_input()
    assert writer.wait() == 0
    assert numbers_in(tmp_path / "pflog.log.0", writer.log) == list(range(7))
    assert writer.log.stat().st_mode & 0o777 == 0o640


# -- Linux ---------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_unit(tmp_path: Path) -> None:
    """systemd finds nothing to complain about."""
    unit = (FILES / "linux/fail2ban-pflogd.service").read_text()
    copy = tmp_path / "fail2ban-pflogd.service"
    copy.write_text(unit.replace("/usr/bin/fail2ban-pflogd", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="needs logrotate")
@pytest.mark.skipif(not ROOT, reason="logrotate makes the new log root's")
def test_logrotate_under_load(tmp_path: Path) -> None:
    """200,000 packets while logrotate runs with our snippet again and again: each line once."""
    total = 200_000
    text = (FILES / "linux/fail2ban-pflogd.logrotate").read_text()
    for path, ours in {
        "/var/log/pflog.log": tmp_path / "pflog.log",
        "/run/fail2ban-pflogd.pid": tmp_path / "pid",
        "rotate 7": "rotate 1000",
    }.items():
        assert path in text
        text = text.replace(path, str(ours))
    conf = tmp_path / "logrotate.conf"
    conf.write_text(text)
    writer = Pflogd(tmp_path).ready()
    data = savefile(range(total))
    rotations = 0
    piece = len(data) // 12 + 1
    for at in range(0, len(data), piece):
        writer.feed(data[at : at + piece])
        done = subprocess.run(
            ["logrotate", "--force", "--state", tmp_path / "state", conf],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        rotations += 1
    writer.end_of_input()
    assert writer.wait() == 0
    files = sorted(tmp_path.glob("pflog.log*"))
    for path in files:
        if path.suffix == ".gz":
            subprocess.run(["gunzip", path], check=True)
    files = sorted(tmp_path.glob("pflog.log*"))
    assert len(files) > rotations // 2
    assert_each_once(numbers_in(*files), total)
    assert writer.log.stat().st_mode & 0o777 == 0o640
