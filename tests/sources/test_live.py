# SPDX-License-Identifier: GPL-2.0-or-later
"""Listening on the interface, against a stand-in for pcapy that a test steers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.sources import bpf, live
from fail2ban_pflog.sources.live import LiveSource
from tests.support.pcap import Handle, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(bpf, "pcapy", lambda: world)
    return world


def test_reads_packets_with_their_times(world: World) -> None:
    """A batch comes as records; the handle never blocks and keeps no payload."""
    world.frames = [(5, 6, b"abc"), (7, 8, b"d")]
    source = world.source()
    assert source.read() == [(5, 6, b"abc"), (7, 8, b"d")]
    assert source.read() == []
    settings = world.handles[0].settings
    assert (settings["nonblock"], settings["promisc"]) == (1, 0)
    assert settings["snaplen"] == live.SNAPLEN
    assert settings["buffer_size"] == live.BUFFER_SIZE
    assert source.state == "listening"


def test_older_pcapy_gives_one_packet_a_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without next_batch (pcapy 0.11, pcapy-ng 1) the same records come, by next()."""

    class Header:
        def getts(self) -> tuple[int, int]:
            return (5, 6)

    def one(_handle: Handle) -> tuple[Any, bytes]:
        return (Header(), world.frames.pop(0)[2]) if world.frames else (None, b"")

    monkeypatch.delattr(Handle, "next_batch")
    monkeypatch.setattr(Handle, "next", one, raising=False)
    world.frames = [(5, 6, b"abc")] * (live.BATCH + 1)
    source = world.source()
    assert source.read() == [(5, 6, b"abc")] * live.BATCH
    assert source.read() == [(5, 6, b"abc")]
    assert source.read() == []


def test_absent_interface_is_tried_with_growing_pauses(world: World) -> None:
    """It is logged once that the interface is missing; attempts become rare, never stop."""
    world.activate = -5
    source = world.source()
    attempts = []
    for step in range(400):
        world.now = step / 10
        before = len(world.handles)
        source.read()
        if len(world.handles) > before:
            attempts.append(world.now)
    gaps = [round(b - a, 1) for a, b in zip(attempts, attempts[1:])]
    assert gaps[:3] == list(live.PAUSES[:3])
    assert set(gaps[3:]) == {live.PAUSES[-1]}
    assert all(handle.closed for handle in world.handles)
    assert world.messages == ["waiting for pflog0: there is no such interface (yet)"]
    world.activate = 0
    world.now += 10
    source.read()
    assert source.state == "listening"
    assert world.messages[1:] == ["listening on pflog0"]


def test_interface_that_vanishes_is_waited_for(world: World) -> None:
    """pflog0 destroyed and made again: the handle is closed and opened anew."""
    source = world.source()
    source.read()
    world.gone = True
    assert source.read() == []
    assert world.handles[0].closed
    assert "pflog0 is gone" in source.state
    world.gone = False
    world.now += 1
    world.frames = [(1, 2, b"x")]
    assert source.read() == [(1, 2, b"x")]


def test_filter_is_joined(world: World) -> None:
    """The administrator's expression and ours go to the kernel together."""
    world.source(expression="tcp or udp", kernel_filters=["action block"]).read()
    assert world.handles[0].filters == ["(action block) and (tcp or udp)"]


def test_wrong_expression_leaves_it_idle(world: World) -> None:
    """A wrong expression is reported with libpcap's words, and nothing is read."""
    world.refused = {"blok": 'unknown PF action "blok"'}
    source = world.source(expression="action blok", kernel_filters=["inbound"])
    assert source.read() == []
    assert 'unknown PF action "blok"' in source.state
    assert not source.is_open


def test_libpcap_without_pf_support(world: World) -> None:
    """Without pf's words everything is read, and how to repair it is logged."""
    world.refused = {"inbound": "libpcap was compiled on a machine without pf support"}
    world.frames = [(1, 2, b"x")]
    source = world.source(expression="tcp", kernel_filters=["inbound"])
    assert source.read() == [(1, 2, b"x")]
    assert world.handles[0].filters == ["tcp"]
    assert "pip install --no-binary" in world.messages[0]


def test_next_best_filter(world: World) -> None:
    """A libpcap that does not know one of pf's words takes the next filter, without a word."""
    world.refused = {"scrub": "unknown PF action"}
    source = world.source(expression="tcp", kernel_filters=["action scrub", "not action pass"])
    source.read()
    assert source.filter_expression == "(not action pass) and (tcp)"
    assert world.handles[0].filters == [source.filter_expression]
    assert world.messages == []


def test_other_link_type_is_refused(world: World) -> None:
    """An interface that is not pf's is named with its link type."""
    world.linktype = 1
    source = world.source()
    assert source.read() == []
    assert "link type 1 instead of 117" in source.state


def test_kernel_drops_are_counted_over_all_handles(world: World) -> None:
    """One warning when drops start; the count goes on when the handle is made anew."""
    source = world.source()
    source.read()
    world.dropped = 3
    world.now = 2
    source.read()
    assert source.dropped == 3
    world.dropped = 5
    world.now = 4
    source.read()
    assert len([message for message in world.messages if "dropped" in message]) == 1
    world.gone = True
    source.read()
    assert source.dropped == 5
    world.gone, world.dropped = False, 2
    world.now = 10
    source.read()
    assert source.dropped == 7


@pytest.mark.parametrize("error", [OSError("libpcap.so.1 not found"), SystemExit(3), ValueError()])
def test_broken_pcapy_is_told_once(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A pcapy that raises whatever it likes when it is imported is a reason in the state."""

    def broken(_name: str) -> None:
        raise error

    messages: list[str] = []
    monkeypatch.setattr(bpf.importlib, "import_module", broken)
    source = LiveSource("pflog0", lambda _level, message: messages.append(message))
    for _ in range(3):
        assert source.read() == []
    assert repr(error) in source.state
    assert messages == [source.state]


def test_pcapy_of_another_python_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an upgrade of Python it is said for which one pcapy-ng is there."""
    for version in ("2.0", "2.1"):
        (tmp_path / f"python{version}/site-packages").mkdir(parents=True)
    (tmp_path / "python2.0/site-packages/pcapy.so").touch()
    monkeypatch.setattr(bpf.sys, "path", [str(tmp_path / "python2.1/site-packages")])
    monkeypatch.setattr(bpf.importlib, "import_module", _missing)
    with pytest.raises(PflogError, match=r"it is there for python2\.0, but this is python3"):
        bpf.pcapy()


def _missing(_name: str) -> None:
    raise ImportError("No module named 'pcapy'")


def test_giant_expression_is_refused(world: World) -> None:
    """libpcap is not asked to compile a megabyte."""
    with pytest.raises(PflogError, match="more than 4096"):
        bpf.check("tcp or " * 100_000 + "tcp")
    assert world.handles == []


def test_missing_pcapy_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pcapy-ng the state tells how to get it; nothing is raised."""
    monkeypatch.setattr(bpf.importlib, "import_module", _missing)
    source = LiveSource("pflog0", lambda _level, _message: None)
    assert source.read() == []
    assert "pip install --no-binary pcapy-ng" in source.state


@pytest.mark.parametrize("expression", ["port 22", "tcp[13] & 2 != 0 and x"])
def test_openbsd_has_sixteen_registers(
    world: World, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    """However often an interface is opened there, its own expression selects, and the best kernel
    filter that needs no arithmetic; the figure that it leaves unset counts nothing."""
    monkeypatch.setattr(live, "ON_OPENBSD", True)
    monkeypatch.setattr(bpf, "_PROGRAMS", {})
    world.registers, world.unset = 16, 12_345
    source = world.source(expression=expression, kernel_filters=["a & 1 = 1", "inbound"])
    for opening in range(1, 31):
        world.frames = [(1, 2, b"x"), (1, 2, b"-")]
        taken = len(source.read())
        assert taken == (1 if "&" in expression else 2)  # else the kernel selects
        own = "" if "&" in expression else f" and ({expression})"
        assert source.filter_expression == f"(inbound){own}"
        assert len(world.handles) == opening
        source.close()
        world.now += 60
    assert source.dropped == 0
    assert world.messages == []


@pytest.mark.parametrize("error", ["PcapError", "BPFError"])
def test_both_errors_of_pcapy_are_caught(world: World, error: str) -> None:
    """A wrong expression is reported, whichever of its errors pcapy raises."""
    world.refused = {"blok": "unknown"}
    world.registers = 1 << 30 if error == "PcapError" else -1
    source = world.source(expression="blok" if error == "PcapError" else "port & 1")
    assert source.read() == []
    assert "filter expression" in source.state


@pytest.mark.parametrize(
    ("system", "command"), [("openbsd7", "pkg_add py3-pcapy"), ("freebsd14", "pkg install py3")]
)
def test_package_of_the_system(monkeypatch: pytest.MonkeyPatch, system: str, command: str) -> None:
    """Where pcapy is missing the system's own package is named."""
    monkeypatch.setattr(bpf.importlib, "import_module", _missing)
    monkeypatch.setattr(bpf.sys, "platform", system)
    with pytest.raises(PflogError, match=command):
        bpf.pcapy()


def test_needs_no_library_before_it_is_used() -> None:
    """Every module can be imported where Python was built without bz2, lzma and ctypes."""
    code = (
        "import sys\n"
        "for n in ('bz2', 'lzma', 'ctypes'): sys.modules[n] = sys.modules['_' + n] = None\n"
        "import fail2ban_pflog.sources.captures, fail2ban_pflog.sources.follow\n"
        "import fail2ban_pflog.sources.shared, fail2ban_pflog.writer.monitor, fail2ban_pflog.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
