# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflogd's worker: what it keeps, what it may, and what it cannot do to its monitor.

Kernels of other systems are stood in for by a ``sitecustomize`` that Python loads first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.writer.privileges import keep_only
from tests.support.server import REPO, wait_for
from tests.support.writers import (
    AS_ROOT,
    COMMAND,
    ROOT,
    Pflogd,
    kernel,
    numbered_records,
    numbers_in,
    open_descriptors,
    savefile,
    tcpdump,
)

Start = Callable[..., Pflogd]

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="looks into Linux's /proc"
)


FREEBSD = """\
import selectors, socket, stat, os
recvmsg = socket.socket.recvmsg
def as_freebsd(sock, size, room=0, flags=0):
    data, found, flags, address = recvmsg(sock, size, room, flags)
    if room < {room}:
        return data, [], flags | socket.MSG_CTRUNC, address
    return data, found, flags, address
socket.socket.recvmsg = as_freebsd
register = selectors.DefaultSelector.register
def kqueue(selector, file, *more):
    number = file if isinstance(file, int) else file.fileno()
    if stat.S_ISCHR(os.fstat(number).st_mode):
        raise OSError(19, "Operation not supported by device")
    return register(selector, file, *more)
selectors.DefaultSelector.register = kqueue
"""


def test_descriptor_of_a_bsd_kernel(start: Start, tmp_path: Path) -> None:
    """A kernel that counts the padding behind a descriptor (CMSG_SPACE) hands it over, too."""
    writer = start(environment=kernel(tmp_path, FREEBSD.format(room=24)))
    writer.feed(savefile(range(3)))
    writer.wait_lines(3)
    writer.rotate(tmp_path / "old")
    writer.wait_status("opened 2 times")
    writer.feed(numbered_records(range(3, 5)))
    writer.wait_lines(2)
    assert writer.stop() == 0
    assert numbers_in(tmp_path / "old", writer.log) == [0, 1, 2, 3, 4]


def test_log_that_never_opens(start: Start, tmp_path: Path) -> None:
    """A worker that gets no log ends with an error, instead of dropping every line."""
    writer = start(environment=kernel(tmp_path, FREEBSD.format(room=1000)))
    assert writer.wait() == 1
    assert "error: cannot open the log: " in writer.said()
    assert "No error" not in writer.said()


@pytest.mark.parametrize("system", ["this", "FreeBSD"])
def test_null_device(start: Start, tmp_path: Path, system: str) -> None:
    """/dev/null, which no system's event loop can wait for, is read to its end."""
    code = FREEBSD.format(room=24) if system == "FreeBSD" else ""
    writer = start(read=os.devnull, environment=kernel(tmp_path, code))
    assert writer.wait() == 0
    assert "stopped; 0 packets read" in writer.said()


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_descriptors(start: Start, tmp_path: Path, closed: str) -> None:
    """Started without standard descriptors, it writes nothing but packets to its log."""
    (tmp_path / "pcap").write_bytes(savefile(range(3)))
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh"]
    writer = start(read=tmp_path / "pcap", prefix=shell)
    assert writer.wait() == 0
    assert numbers_in(writer.log) == [0, 1, 2]


# -- what the worker keeps ------------------------------------------------------------------


def test_keeps_only_what_it_is_told() -> None:
    """Of all descriptors the kept ones and standard error stay open."""
    reader, writer = os.pipe()
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    child = os.fork()
    if not child:
        keep_only(writer, standard_input=False)
        os.write(writer, repr(open_descriptors()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 4096).decode() == repr(sorted({0, 1, 2, writer}))
    for descriptor in (reader, writer, *others):
        os.close(descriptor)


def descriptors(pid: int) -> list[str]:
    """What a process's descriptors lead to, but for sockets' and pipes' numbers."""
    folder = Path(f"/proc/{pid}/fd")
    return sorted(os.readlink(path).split(":[")[0] for path in folder.iterdir())


@needs_linux
def test_worker_keeps_log_source_and_sockets(start: Start, tmp_path: Path) -> None:
    """Neither the pid file nor anything else of the monitor's is open in the worker."""
    writer = start("--follow", tmp_path / "pflog", *AS_ROOT, source=False)
    (tmp_path / "pflog").write_bytes(savefile(range(2)))
    writer.wait_lines(2)
    found = descriptors(writer.worker)
    own = [os.devnull] * 2 + [str(writer.messages), str(writer.log), str(tmp_path / "pflog")]
    # Two sockets to the monitor; asyncio's selector and the pair that wakes it up.
    assert found == sorted([*own, *["socket"] * 4, "anon_inode"])
    monitor = descriptors(writer.process.pid)
    assert str(writer.pid_file) in monitor


@needs_linux
@pytest.mark.parametrize("user", ["nobody", "root"])
def test_no_new_privileges(start: Start, user: str) -> None:
    """No set-user-id program gives the worker any rights, whatever its user."""
    if not ROOT:
        pytest.skip("only root can become another user")
    writer = start("--user", user)
    writer.feed(savefile(range(1)))
    writer.wait_lines(1)
    status = Path(f"/proc/{writer.worker}/status").read_text()
    assert "NoNewPrivs:\t1\n" in status


# -- a worker that was taken over -------------------------------------------------------------

TAKEN_OVER = """\
import contextlib, os, sys, time
from fail2ban_pflog.writer import main, monitor

class Worker(monitor.Worker):
    def run(self):
        os.write(2, b"taken over\\n")
        with contextlib.suppress(OSError):
            {does}
        time.sleep(1000)

monitor.Worker = Worker
monitor.PATIENCE = 0.5
raise SystemExit(main(sys.argv[1:]))
"""

DOES = {
    "asks without reading": "[self._monitor.send(b'L' * 1000) for _ in range(10**9)]",
    "says nothing any more": "self._monitor.close(); self._commands.close()",
    "does not obey": "pass",
    "asks for what is not there": "self._monitor.sendall(b'no such request' * 100)",
}


@pytest.mark.parametrize("does", DOES)
def test_monitor_is_not_held_up(start: Start, does: str) -> None:
    """Whatever a worker does, TERM ends the monitor and its worker."""
    code = TAKEN_OVER.format(does=DOES[does])
    writer = start(program=[sys.executable, "-c", code])
    writer.wait_said("taken over")
    time.sleep(0.2)  # it is at it
    writer.kill(signal.SIGTERM)
    writer.wait()
    assert "the worker does not end; killing it" in writer.said()
    assert not writer.pid_file.exists()


def test_chatter_of_tcpdump(start: Start, tmp_path: Path) -> None:
    """Of what tcpdump writes to standard error a limited number of lines is passed on."""
    chatter = "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); echo a line of many >&2; done\n"
    program = tcpdump(tmp_path, chatter + "echo >{folder}/done; exec sleep 1000\n")
    writer = start("--tcpdump", program, source=False)
    writer.wait_said("no more of it for a minute")
    wait_for((tmp_path / "done").exists, "the last line")
    assert 20 < writer.said().count("\n") < 40
    assert writer.stop() == 0


def test_expression_is_no_option(start: Start, tmp_path: Path) -> None:
    """What --bpf says is an expression for tcpdump, never one of its options."""
    program = tcpdump(tmp_path, 'printf "%s\\n" "$@" >&2\nexec sleep 1000\n')
    writer = start("--tcpdump", program, "--bpf=-z/bin/sh", source=False)
    writer.wait_said("-z/bin/sh")
    said = [line.split("tcpdump: ")[-1] for line in writer.said().splitlines()]
    assert said[said.index("-z/bin/sh") - 1] == "--"


def test_escape_sequences_in_names(tmp_path: Path) -> None:
    """A file's name on standard error has no control characters: they could drive a terminal."""
    name = "pflog\x1b[31m\n"
    (tmp_path / name).write_text("no savefile\n")
    for command in (
        [*COMMAND, "--read", str(tmp_path / name), "--log", str(tmp_path / "log"), "-p", ""],
        [sys.executable, "-m", "fail2ban_pflog.cli", "print", str(tmp_path / name)],
    ):
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=20)
        assert done.returncode != 0
        assert "\x1b" not in done.stderr
        assert "\n: " not in done.stderr
