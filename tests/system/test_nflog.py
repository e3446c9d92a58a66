# SPDX-License-Identifier: GPL-2.0-or-later
"""The real fail2ban-server on Linux: NFLOG to ban, against a real nftables in a namespace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.sources.nflog import LISTENERS
from tests.support.linux import FLOOD, Linux, address, linux, missing, within
from tests.support.server import REPO, Server, wait_for

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "never")

SCANNER, CLIENT = 1, 2
MakeServer = Callable[..., Server]


@pytest.fixture
def net() -> Iterator[Linux]:
    """A host, a scanner and an honest client."""
    with linux(f"f2b{os.getpid()}") as made:
        yield made


def jail(folder: Path, **options: object) -> str:
    """The shipped jail as a user enables it on Linux, but for the state's directory."""
    lines = {
        "enabled": "true",
        "banaction": f'nft-pflog[state="{folder}/state"]',
        "action": "%(action_)s\n         recorder",
        **options,
    }
    return "[pflog]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


@pytest.fixture
def f2b(server: MakeServer, net: Linux, tmp_path: Path) -> Server:
    """The server on the host, listening; at the end of the test its log is read."""
    made = server(jail(tmp_path))
    shutil.copy(REPO / "files/linux/pflog.linux.conf", made.config / "jail.d")
    made.start(*within(net.host))
    wait_for(lambda: "listening" in made.status("pflog").get("nflog:5", ""), "listening")
    return made


def banned(f2b: Server, *addresses: str) -> None:
    wait_for(lambda: set(addresses) <= set(f2b.status("pflog").get("Banned IP list", "").split()),
             f"bans of {addresses}; {f2b.output()[-2000:]}")  # fmt: skip


def elements(net: Linux, name: str = "hosts4") -> list[str]:
    """Addresses in a set of the jail's table."""
    found = re.search(r"elements = \{([^}]*)\}", net.nft("list", "set", "inet", "f2b-pflog", name))
    return sorted(re.split(r"[,\s]+", found[1].strip())) if found else []


@pytest.mark.parametrize("version", [4, 6])
def test_scanner_is_banned_and_cut_off(f2b: Server, net: Linux, version: int) -> None:
    """15 closed ports are a ban: its open connection and its conntrack entries are cut.

    The honest client, which tried 3 closed ports, keeps its connection and makes new ones.
    """
    scanner, client = net.talk(SCANNER, version), net.talk(CLIENT, version)
    source = address(SCANNER, version)
    assert source in net.run(net.host, "conntrack", "-L", "-f", f"ipv{version}")
    net.scan(CLIENT, range(1, 4), version)
    net.scan(SCANNER, range(1, 16), version)
    banned(f2b, source)
    wait_for(lambda: source in elements(net, f"hosts{version}"), "the element")
    assert scanner.ask() == "cut"
    assert source not in net.run(net.host, "conntrack", "-L", "-f", f"ipv{version}")
    assert client.ask() == "answered"
    assert net.talk(CLIENT, version).ask() == "answered"
    assert f2b.status("pflog")["Banned IP list"].split() == [source]
    f2b.client("set", "pflog", "unbanip", source)
    assert elements(net, f"hosts{version}") == []
    assert net.talk(SCANNER, version).ask() == "answered"


def test_lines_name_interface_and_prefix(f2b: Server, net: Linux) -> None:
    """The lines of a ban name the rule by its prefix and the interface by its name."""
    net.scan(SCANNER, range(1, 16))
    f2b.wait_for_bans(address(SCANNER))
    wait_for(lambda: len(f2b.matches(address(SCANNER))) == 15, "the lines")
    lines = f2b.matches(address(SCANNER))
    head = f"rule 0.drop-in.0/0(match): block in on eth{SCANNER}: {address(SCANNER)}."
    assert all(head in line for line in lines), lines
    status = f2b.status("pflog")
    assert "0 dropped by the kernel" in status["nflog:5"]
    assert "0 undecodable" in status["Packets"]


def test_ban_outlives_reload_restart_and_flush(f2b: Server, net: Linux) -> None:
    """A reload and a restart keep the ban; after `nft flush ruleset` the next ban restores all."""
    first, second = address(SCANNER), address(CLIENT)
    net.scan(SCANNER, range(1, 16))
    banned(f2b, first)
    wait_for(lambda: elements(net) == [first], "the element")
    f2b.client("reload")
    assert elements(net) == [first]
    f2b.stop()
    assert "f2b-pflog" not in net.nft("list", "ruleset")  # its own table is gone, no other
    assert "inet filter" in net.nft("list", "ruleset")
    f2b.start(*within(net.host))
    banned(f2b, first)
    wait_for(lambda: elements(net) == [first], "the ban restored")
    rules = net.nft("list", "table", "inet", "filter")
    net.nft("flush", "ruleset")
    net.nft(text=rules)
    net.scan(CLIENT, range(1, 16))
    banned(f2b, second)
    wait_for(lambda: elements(net) == [first, second], "both bans")


def test_several_groups(f2b: Server, net: Linux, tmp_path: Path) -> None:
    """A jail listens to two groups: the packets of both count together."""
    net.nft("insert", "rule", "inet", "filter", "input", "tcp", "dport", "1000-2000",
            "log", "prefix", "high", "group", "6", "queue-threshold", "1", "drop")  # fmt: skip
    backend = 'pflog[interface="nflog:5,nflog:6", distinct=port, mode=normal]'
    f2b.jails(jail(tmp_path, backend=backend))
    f2b.client("reload")
    wait_for(lambda: "listening" in f2b.status("pflog").get("nflog:6", ""), "listening")
    net.scan(SCANNER, range(1, 9))
    net.scan(SCANNER, range(1000, 1008))
    banned(f2b, address(SCANNER))


def test_group_that_is_taken_is_waited_for(f2b: Server, net: Linux) -> None:
    """While another program has the group the status says so; then it is listened to."""
    f2b.expected.append("another program listens to it already")
    f2b.stop()
    other = subprocess.Popen(
        within(net.host, "tcpdump", "-q", "-i", "nflog:5", "-w", "/dev/null"),
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: net.run(net.host, "cat", LISTENERS), "tcpdump")
    f2b.start(*within(net.host))
    wait_for(lambda: "another program" in f2b.status("pflog").get("nflog:5", ""), "the reason")
    other.terminate()
    other.wait()
    wait_for(lambda: "listening" in f2b.status("pflog").get("nflog:5", ""), "listening")
    net.scan(SCANNER, range(1, 16))
    banned(f2b, address(SCANNER))


def test_flood(f2b: Server, net: Linux) -> None:
    """Among 20,000 forged sources the scanner is banned, and no other.

    What the kernel had no room for is counted; the scanner has to come again then.
    """
    net.run(net.host, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0",
            f"net.ipv4.conf.eth{CLIENT}.rp_filter=0")  # fmt: skip
    flood = net.python(net.peer(CLIENT), FLOOD, address(CLIENT, host=True), 20_000, 0)
    net.scan(SCANNER, range(1, 31), pause=0.05)
    flood.wait()
    net.scan(SCANNER, range(31, 46), pause=0.05)
    banned(f2b, address(SCANNER))
    assert f2b.status("pflog")["Banned IP list"].split() == [address(SCANNER)]


def test_demo_shows_ban_and_cut() -> None:
    """`make demo` bans the scanner, cuts its connection and leaves the honest client alone."""
    done = subprocess.run(
        [sys.executable, REPO / "scripts/demo.py"], capture_output=True, text=True, timeout=60
    )
    assert not done.returncode, done.stderr
    for words in (f"BANNED {address(SCANNER)}", "the scanner's open connection:   cut",
                  "the honest client's connection:  answered",
                  "a new one of the honest client:  answered"):  # fmt: skip
        assert words in done.stdout, done.stdout


def test_demo_without_nft_plays_a_capture(tmp_path: Path) -> None:
    """Where something is missing it is named, and a capture is played."""
    for program in ("fail2ban-server", "fail2ban-client", "sh"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    done = subprocess.run(
        [sys.executable, REPO / "scripts/demo.py"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert "needs nft, ip, conntrack" in done.stdout, done.stdout + done.stderr
    assert "BANNED 10.99.0.1" in done.stdout
