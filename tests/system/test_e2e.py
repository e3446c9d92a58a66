# SPDX-License-Identifier: GPL-2.0-or-later
"""The real fail2ban-server bans from pf's log: what an administrator sees.

Each test has a server of its own, with the distribution's programs and a private folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from tests.support import oracle
from tests.support.pflogs import (
    DATA,
    append,
    record,
    savefile_header,
    scan,
    shifted,
    syn,
)
from tests.support.server import Server, wait_for
from tests.support.wire import add_pair, in_namespace, inject, network, start_live

SCANNER, CLIENT = "198.51.100.7", "198.51.100.8"
IDLE = r"Jails with backend = pflog stay idle, .*cannot be loaded|\[pflog\] .*cannot be loaded"
"""What is logged where the package cannot be loaded."""

MakeServer = Callable[..., Server]


def jail(
    logpath: object = "", backend: str = "pflog", name: str = "pflog", **options: object
) -> str:
    """A jail with ``backend = pflog`` whose action only writes down."""
    lines = {
        "enabled": "true",
        "filter": "pflog[mode=any]",
        "backend": backend,
        "action": "recorder",
        "maxretry": 5,
        "findtime": "10m",
        "bantime": "1h",
        **({"logpath": logpath} if logpath else {}),
        **options,
    }
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def plain_jail(folder: Path) -> str:
    """An ordinary jail of the same server, as sshd's would be."""
    log = folder / "plain.log"
    log.touch()
    return jail(log, "polling", "plain", filter="plain", maxretry=1)


def intrude(folder: Path, ip: str = "192.0.2.99") -> None:
    with (folder / "plain.log").open("a") as file:
        file.write(f"{time.time():.3f} intruder {ip}\n")


@pytest.mark.parametrize("system", ["freebsd-13.2", "openbsd-7.8"])
def test_bans_the_scanner_of_a_real_capture(
    server: MakeServer, tmp_path: Path, system: str
) -> None:
    """pflogd's own file: the scanner is banned for its packets, at their own times."""
    path = tmp_path / "pflog"
    newest = time.time() - 30
    path.write_bytes(shifted(DATA / system / "block-all.pflogd.pcap", newest))
    f2b = server(jail(path, maxretry=60, maxmatches=60)).start()
    f2b.wait_for_bans("10.99.0.1")
    wait_for(lambda: "0 undecodable" in f2b.status("pflog").get("Packets", ""), "the status")
    # 203.0.113.5 sent a few packets only.
    assert "203.0.113.5" not in f2b.bans()
    lines = f2b.matches("10.99.0.1")
    assert len(lines) == 60
    tcp = [line for line in lines if "Flags [" in line]
    assert len(tcp) > 20
    if oracle.is_reference():
        command = [oracle.TCPDUMP, "-r", path, "-e", "-n", "-tttt"]
        printed = subprocess.run(command, capture_output=True, text=True).stdout
        # FreeBSD's base tcpdump reads rule identifiers out of OpenBSD's headers.
        known = set(re.sub(r" \[ridentifier \d+\]", "", printed).splitlines())
        plain = [re.sub(r" \[(uid|ridentifier) \d+\]", "", line) for line in tcp]
        assert [line for line in plain if line not in known] == []
    found = re.findall(r"Found 10\.99\.0\.1 - (\S+ \S+)", f2b.output())
    assert {line[:19] for line in lines} <= set(found)
    assert "ERROR" not in f2b.log.read_text()
    assert "current time in operation mode" not in f2b.log.read_text()


def test_growing_savefile(server: MakeServer, savefile: Path) -> None:
    """Packets appended while the server runs lead to a ban within two seconds."""
    f2b = server(jail(savefile)).start()
    wait_for(lambda: "following" in f2b.status("pflog").get(str(savefile), ""), "following")
    data = scan(SCANNER, range(1, 5), time.time())
    last = record(time.time(), syn(SCANNER, 99))
    append(savefile, data + last[:40])
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "4", "four failures")
    assert f2b.bans() == []
    append(savefile, last[40:])
    f2b.wait_for_bans(SCANNER, seconds=2)


def test_restart_continues_at_the_saved_place(server: MakeServer, savefile: Path) -> None:
    """After a restart no packet is counted twice and none is lost."""
    f2b = server(jail(savefile, "pflog[hold=1]", maxretry=9)).start()
    append(savefile, scan(SCANNER, range(1, 6), time.time()))
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "5", "five failures")
    f2b.stop()
    append(savefile, scan(CLIENT, range(1, 4), time.time()))
    f2b.start()
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "3", "the three new ones")
    append(savefile, scan(CLIENT, range(4, 6), time.time()))
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "5", "the two behind them")
    assert "5 read" in f2b.status("pflog")["Packets"]


def test_kill_9_loses_nothing(server: MakeServer, savefile: Path) -> None:
    """After kill -9 at most what was not written down yet is read again."""
    f2b = server(jail(savefile, "pflog[hold=1]", maxretry=9)).start()
    append(savefile, scan(SCANNER, range(1, 6), time.time()))
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "5", "five failures")
    f2b.kill()
    append(savefile, scan(CLIENT, range(1, 4), time.time()))
    f2b.start()
    wait_for(lambda: int(f2b.status("pflog")["Total failed"]) >= 3, "the new ones")
    assert int(f2b.status("pflog")["Total failed"]) <= 8


def test_client_commands(server: MakeServer, savefile: Path, tmp_path: Path) -> None:
    """addlogpath, dellogpath, get logpath and reload behave as for a text jail."""
    second = tmp_path / "second"
    second.write_bytes(savefile_header() + scan(SCANNER, range(1, 4), time.time()))
    f2b = server(jail(savefile)).start()
    assert str(savefile) in f2b.client("get", "pflog", "logpath")
    assert str(second) in f2b.client("set", "pflog", "addlogpath", second)
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "3", "the second file's packets")
    assert f2b.status("pflog")["File list"].split() == [str(savefile), str(second)]
    assert str(second) not in f2b.client("set", "pflog", "dellogpath", second)
    assert str(second) not in f2b.client("get", "pflog", "logpath")
    f2b.client("set", "pflog", "addlogpath", second)
    assert "OK" in f2b.client("reload")
    assert str(second) not in f2b.client("get", "pflog", "logpath")
    append(savefile, scan(CLIENT, range(1, 6), time.time()))
    f2b.wait_for_bans(CLIENT)
    assert f2b.status("pflog")["Total failed"] == "8"


def test_idle_jail_reads_nothing(server: MakeServer, savefile: Path) -> None:
    """`set JAIL idle on` stops reading, `off` goes on where it was."""
    f2b = server(jail(savefile)).start()
    f2b.client("set", "pflog", "idle", "on")
    append(savefile, scan(SCANNER, range(1, 6), time.time()))
    time.sleep(1)
    assert f2b.status("pflog")["Total failed"] == "0"
    f2b.client("set", "pflog", "idle", "off")
    f2b.wait_for_bans(SCANNER)


PROBLEMS = {
    "unknown option": ("pflog[iface=pflog0]", None, "option iface"),
    "wrong value": ("pflog[distinct=prot]", None, "option distinct"),
    "option named as an argument": ("pflog[jail=x]", None, "option jail"),
    "unreadable options": ("pflog[distinct=", None, "cannot be read"),
    "missing interface": ("pflog[interface=nope0]", None, "nope0"),
    "wrong filter expression": ('pflog[bpf="action blok"]', None, "action blok"),
    "no savefile": ("pflog", b"Nov 22 newsyslog[1]: logfile turned over\n" * 9, "no savefile"),
    "other link type": ("pflog", savefile_header(linktype=1), "link type 1 "),
    "OpenBSD 3.3": ("pflog", savefile_header(linktype=17), "link type 17"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_all_other_jails_run(server: MakeServer, tmp_path: Path, case: str) -> None:
    """Whatever is wrong with the jail, it says so, and an ordinary jail bans."""
    backend, content, word = PROBLEMS[case]
    path = tmp_path / "pflog"
    if content is not None:
        path.write_bytes(content)
    f2b = server(
        jail(path if content else "", backend) + plain_jail(tmp_path), expected=[re.escape(word)]
    ).start()
    intrude(tmp_path)
    f2b.wait_for_bans("192.0.2.99")
    wait_for(lambda: word in f2b.client("status", "pflog"), f"{word!r} in the status")
    assert re.search(rf"ERROR.*\[pflog\].*{re.escape(word)}", f2b.log.read_text())
    assert "Traceback" not in f2b.output()


def test_package_not_importable(server: MakeServer, savefile: Path, tmp_path: Path) -> None:
    """Without the package its jails stay idle and say what to do; the others run."""
    f2b = server(jail(savefile) + plain_jail(tmp_path), packaged=False, expected=[IDLE]).start()
    intrude(tmp_path)
    f2b.wait_for_bans("192.0.2.99")
    assert "cannot be loaded" in f2b.status("pflog")["Idle because"]
    log = f2b.log.read_text()
    assert log.count("ERROR") == 1
    assert "Install it for the Python that fail2ban runs on" in log
    assert "`fail2ban-pflog setup`" in log
    assert "OK" in f2b.client("reload")
    intrude(tmp_path, "192.0.2.98")
    f2b.wait_for_bans("192.0.2.98")
    assert f2b.stop() < 5


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "def register(): 1 / 0", "def ("])
def test_broken_package(server: MakeServer, savefile: Path, tmp_path: Path, fault: str) -> None:
    """A package that breaks while it is loaded takes nothing else down."""
    package = tmp_path / "site/fail2ban_pflog"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "backend.py").write_text(fault + "\n")
    f2b = server(jail(savefile) + plain_jail(tmp_path), packaged=False, expected=[IDLE])
    (f2b.config / "jail.d/00-pflog-backend.local").write_text(
        f'[pflog-backend]\naction = pflog-backend.py[path="{package.parent}"]\n'
    )
    f2b.start()
    intrude(tmp_path)
    f2b.wait_for_bans("192.0.2.99")
    assert "cannot be loaded" in f2b.status("pflog")["Idle because"]


def test_vanished_file_is_picked_up(server: MakeServer, savefile: Path) -> None:
    """A file that is removed and comes back is read again."""
    f2b = server(jail(savefile)).start()
    wait_for(lambda: "following" in f2b.status("pflog").get(str(savefile), ""), "following")
    savefile.unlink()
    wait_for(lambda: "gone" in f2b.status("pflog")[str(savefile)], "the status to tell")
    savefile.write_bytes(savefile_header() + scan(SCANNER, range(1, 6), time.time()))
    f2b.wait_for_bans(SCANNER)


def test_damage_is_counted_not_raised(server: MakeServer, savefile: Path) -> None:
    """Frames that are none are counted in the status; what is good is counted."""
    append(savefile, record(time.time(), b"\x03junk") * 3 + record(time.time(), b""))
    append(savefile, scan(SCANNER, range(1, 6), time.time()))
    f2b = server(jail(savefile)).start()
    f2b.wait_for_bans(SCANNER)
    assert "4 undecodable" in f2b.status("pflog")["Packets"]


def test_late_flush_keeps_its_time(server: MakeServer, savefile: Path) -> None:
    """Packets flushed half an hour late count at their own times, without a warning."""
    f2b = server(jail(savefile, bantime="-1")).start()
    wait_for(lambda: "following" in f2b.status("pflog").get(str(savefile), ""), "following")
    then = time.time() - 1800
    append(savefile, scan(SCANNER, range(1, 6), then))
    f2b.wait_for_bans(SCANNER)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
    assert f"Found {SCANNER} - {stamp}" in f2b.log.read_text()
    assert "the current time in operation mode" not in f2b.log.read_text()


def test_old_packets_are_passed_over_at_start(server: MakeServer, savefile: Path) -> None:
    """At the start what is older than findtime is not counted."""
    append(savefile, scan(CLIENT, range(1, 6), time.time() - 700))
    append(savefile, scan(SCANNER, range(1, 6), time.time() - 60))
    f2b = server(jail(savefile)).start()
    f2b.wait_for_bans(SCANNER)
    assert CLIENT not in f2b.bans()
    assert "5 older than findtime" in f2b.status("pflog")["Packets"]


def test_distinct_ports(server: MakeServer, savefile: Path) -> None:
    """With distinct=port maxretry is a number of different ports."""
    now = time.time()
    f2b = server(jail(savefile, "pflog[distinct=port]")).start()
    append(savefile, b"".join(record(now + i / 1000, syn(CLIENT, 8443, i)) for i in range(200)))
    append(savefile, scan(SCANNER, range(1, 6), now))
    f2b.wait_for_bans(SCANNER)
    assert f2b.bans() == [SCANNER]
    assert "199 repeats" in f2b.status("pflog")["Packets"]


def test_shipped_jail(server: MakeServer, savefile: Path) -> None:
    """The jail that is shipped bans for 15 ports, and not for 14."""
    f2b = server(f"[pflog]\nenabled = true\naction = recorder\nlogpath = {savefile}\n").start()
    append(savefile, scan(CLIENT, range(1, 15), time.time()))
    append(savefile, scan(SCANNER, range(1, 16), time.time()))
    f2b.wait_for_bans(SCANNER)
    assert f2b.bans() == [SCANNER]


@pytest.mark.parametrize("increment", [False, True])
def test_who_returns(server: MakeServer, savefile: Path, increment: bool) -> None:
    """As shipped, a source that was banned before is banned anew for as much as the first time.

    With bantime.increment fail2ban counts each of its packets more than once.
    """
    extra = "bantime.increment = true\n" if increment else ""
    f2b = server(
        f"[pflog]\nenabled = true\naction = recorder\nlogpath = {savefile}\nbantime = 1\n{extra}"
    ).start()
    append(savefile, scan(SCANNER, range(1, 16), time.time()))
    f2b.wait_for_bans(SCANNER)
    wait_for(lambda: f"Unban {SCANNER}" in f2b.log.read_text(), "the end of the ban")
    append(savefile, scan(SCANNER, range(101, 115), time.time()))
    append(savefile, scan(CLIENT, range(1, 16), time.time() + 0.5))
    f2b.wait_for_bans(CLIENT)
    if increment:
        wait_for(lambda: f2b.bans().count(SCANNER) == 2, "the ban after fewer ports")
    else:
        assert f2b.bans().count(SCANNER) == 1
        append(savefile, scan(SCANNER, range(115, 116), time.time()))
        wait_for(lambda: f2b.bans().count(SCANNER) == 2, "the ban at the 15th port")


@pytest.mark.parametrize("date", ["%Y-%m-%dT%H:%M:%S.123456%z", "%Y-%m-%d %H:%M:%S.123456"])
def test_same_filter_reads_a_text_log(server: MakeServer, tmp_path: Path, date: str) -> None:
    """The filter matches the same lines, dated, in a text log of a stock backend."""
    log = tmp_path / "pflog.txt"
    log.touch()
    f2b = server(jail(log, "polling")).start()
    text = "rule 1/0(match): block in on em0: {}.1234 > 10.0.0.1.{}: Flags [S], seq 1, length 0"
    with log.open("a") as file:
        for port in range(5):
            file.write(f"{time.strftime(date)} {text.format(SCANNER, port)}\n")
    f2b.wait_for_bans(SCANNER)


def test_other_backends_are_untouched(server: MakeServer, savefile: Path, tmp_path: Path) -> None:
    """`auto` and `polling` choose as they would without us; pflog is no fallback."""
    text = jail(savefile) + plain_jail(tmp_path) + jail(savefile, "auto", "auto", filter="plain")
    f2b = server(text).start()
    log = f2b.log.read_text()
    assert "Jail 'plain' uses poller" in log
    assert re.search(r"Jail 'auto' uses (pyinotify|poller)", log)
    assert log.count("Initiated 'pflog' backend") == 1


def test_a_reload_says_once_what_is_read(server: MakeServer, savefile: Path) -> None:
    """With changed options the new jail says what it reads, and says it once."""
    f2b = server(jail(savefile)).start()
    wait_for(lambda: "mode any" in f2b.log.read_text(), "the introduction")
    f2b.jails(jail(savefile, "pflog[mode=normal]"))
    assert "OK" in f2b.client("reload")
    append(savefile, scan(SCANNER, range(1, 6), time.time()))
    f2b.wait_for_bans(SCANNER)
    assert len(re.findall(r"reads .*: mode normal", f2b.log.read_text())) == 1


# -- Live: a veth pair in a network namespace ---------------------------------------------


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with the ends of a veth pair, `pflog9` and `wire`."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 for a network namespace")
    with network(f"f2bpflog{os.getpid()}") as name:
        yield name


def live_server(server: MakeServer, jails: str, namespace: str) -> Server:
    return start_live(server(jails), namespace)


def test_live(server: MakeServer, namespace: str) -> None:
    """Packets on the interface lead to a ban; a stop while waiting is quick."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    f2b = live_server(server, jail(backend="pflog[interface=pflog9]"), namespace)
    wait_for(lambda: "listening" in f2b.status("pflog").get("pflog9", ""), "listening")
    inject(namespace, [syn(SCANNER, port) for port in range(1, 6)])
    f2b.wait_for_bans(SCANNER)
    assert f2b.stop() < 2


def test_jails_share_an_interface(server: MakeServer, namespace: str) -> None:
    """Three jails hear every packet once, each by its own thresholds; a jail that is stopped
    takes nothing from the others."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    names = ("pflog", "second", "third")
    backend = "pflog[interface=pflog9, hold=1]"
    jails = "".join(jail(name=name, backend=backend, maxretry=9) for name in names)
    f2b = live_server(server, jails, namespace)
    for name in names:
        wait_for(lambda name=name: "listening" in f2b.status(name).get("pflog9", ""), "listening")
    inject(namespace, [syn(SCANNER, port) for port in range(1, 5)])
    for name in names:
        wait_for(lambda name=name: f2b.status(name)["Total failed"] == "4", "four failures")
    f2b.client("stop", "second")
    inject(namespace, [syn(SCANNER, port) for port in range(5, 9)])
    for name in ("pflog", "third"):
        wait_for(lambda name=name: f2b.status(name)["Total failed"] == "8", "eight failures")
    assert f2b.bans() == []
    inject(namespace, [syn(SCANNER, 9)])
    wait_for(lambda: f2b.bans() == [SCANNER, SCANNER], "two bans")


def test_interface_comes_goes_and_comes_back(server: MakeServer, namespace: str) -> None:
    """A missing interface is waited for, also after it vanished."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    in_namespace(namespace, "ip", "link", "del", "pflog9")
    f2b = live_server(server, jail(backend="pflog[interface=pflog9]"), namespace)
    f2b.expected += ["pflog9: there is no such interface", "pflog9 is gone"]
    wait_for(lambda: "waiting for pflog9" in f2b.status("pflog")["pflog9"], "the status")
    add_pair(namespace)
    wait_for(lambda: "listening" in f2b.status("pflog")["pflog9"], "listening")
    inject(namespace, [syn(SCANNER, port) for port in range(1, 4)])
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "3", "three failures")
    in_namespace(namespace, "ip", "link", "del", "pflog9")
    wait_for(lambda: "waiting for" in f2b.status("pflog")["pflog9"], "the status")
    add_pair(namespace)
    wait_for(lambda: "listening" in f2b.status("pflog")["pflog9"], "listening again")
    inject(namespace, [syn(SCANNER, port) for port in range(4, 6)])
    f2b.wait_for_bans(SCANNER)


def test_file_and_interface_together(server: MakeServer, namespace: str, savefile: Path) -> None:
    """The file's backlog first, then live; what both saw counts once."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    append(savefile, scan(SCANNER, range(1, 4), time.time() - 5))
    f2b = live_server(server, jail(savefile, "pflog[interface=pflog9]"), namespace)
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "3", "the backlog")
    wait_for(lambda: "listening" in f2b.status("pflog").get("pflog9", ""), "listening")
    inject(namespace, [syn(SCANNER, 4)])
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "4", "the live packet")
    append(savefile, scan(SCANNER, range(4, 9), time.time()))
    wait_for(lambda: "5 seen by file and interface" in f2b.status("pflog")["Packets"], "overlap")
    assert f2b.status("pflog")["Total failed"] == "4"
    assert f2b.bans() == []


def test_what_was_told_live_is_not_told_again_after_a_restart(
    server: MakeServer, namespace: str, savefile: Path
) -> None:
    """What pflogd flushes after a restart, but was read live before it, counts no more."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    f2b = live_server(server, jail(savefile, "pflog[interface=pflog9, hold=1]"), namespace)
    wait_for(lambda: "listening" in f2b.status("pflog").get("pflog9", ""), "listening")
    inject(namespace, [syn(SCANNER, 1)])
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "1", "the first live packet")
    between = time.time()
    inject(namespace, [syn(SCANNER, 2)])
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "2", "the second live packet")
    f2b.stop()
    append(savefile, scan(SCANNER, range(1, 3), between, gap=0))
    f2b.start("ip", "netns", "exec", namespace)
    append(savefile, scan(CLIENT, range(1, 4), time.time()))
    wait_for(lambda: f2b.status("pflog")["Total failed"] == "3", "the new packets")
    assert "2 seen by file and interface" in f2b.status("pflog")["Packets"]


def test_wrong_interface(server: MakeServer, namespace: str, tmp_path: Path) -> None:
    """An interface that is not pf's is refused with its link type; other jails run."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    f2b = server(jail(backend="pflog[interface=pflog9]") + plain_jail(tmp_path))
    f2b.expected.append("link type 1 instead of 117")
    f2b.start("ip", "netns", "exec", namespace)
    wait_for(lambda: "link type 1 instead of 117" in f2b.status("pflog")["pflog9"], "the status")
    intrude(tmp_path)
    f2b.wait_for_bans("192.0.2.99")


@pytest.mark.parametrize("names", ['"pflog8, pflog9"', "pflog8,pflog9"])
def test_several_interfaces(server: MakeServer, namespace: str, names: str) -> None:
    """A jail listens to each of those that it names; one that is missing holds none up."""
    pytest.importorskip("pcapy", reason="needs pcapy-ng (`make test` builds it)")
    f2b = live_server(server, jail(backend=f"pflog[interface={names}]"), namespace)
    f2b.expected.append("pflog8: there is no such interface")
    wait_for(lambda: "listening" in f2b.status("pflog").get("pflog9", ""), "listening")
    assert "no such interface" in f2b.status("pflog")["pflog8"]
    inject(namespace, [syn(SCANNER, port) for port in range(1, 6)])
    f2b.wait_for_bans(SCANNER)
    assert "OK" in f2b.client("reload", "--restart")
    inject(namespace, [syn(CLIENT, port) for port in range(1, 6)])
    wait_for(lambda: "listening" in f2b.status("pflog").get("pflog9", ""), "listening again")
    inject(namespace, [syn(CLIENT, port) for port in range(6, 11)])
    f2b.wait_for_bans(CLIENT)
