# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory: real scanners and real bystanders against a firewall that logs its drops.

Every host is a network namespace on one bridge.  The protected one, 10.99.0.2 and fd99::2,
serves TCP 22, 25, 80 and 443; nftables drops the rest and hands what it drops to NFLOG.
Exactly these packets are captured, get FreeBSD's pflog header, and are written as ``labels``
tells, with labels that tell what each address did.

Needs root, and the programs that ``actors.TOOLS`` names (scripts/setup lab).  All traffic
stays within the namespaces; they are removed at the end, whatever happens.  It takes about
four minutes.

    python -m lab.lab FOLDER      (make lab: tests/data/lab)
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fail2ban_pflog.pflog.header import Header
from fail2ban_pflog.pflog.savefile import Decoder

from . import labels, more
from .actors import ACTORS, HOST, HOST6, HOSTS, TOOLS, Actor
from .actors import host as one_of_hosts
from .labels import Dropped, Label, source_of

SCENES: dict[str, Sequence[Actor]] = {"lab": ACTORS, "more": more.ACTORS}
"""One after the other: a machine has only so many programs that are in time."""

PREFIX = "pflab"
GROUP = 5
TIME_LIMIT = 100.0
"""Seconds; what is not done by then is ended."""

PACKETS_KEPT = defaultdict(lambda: 80, traceroute=600)
"""Of a source by its kind: nothing is learnt from the ten thousandth packet of a scan."""

STRETCHED = 360.0
"""Seconds between two probes of the slow scan, which is sent faster and dated apart."""

HOST_SETTINGS = (
    "net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_udp_timeout=2"
    " 'net.ipv4.ip_local_port_range=1024 65535'"
)
"""A connection whose state is gone is none; answers are late soon; ports as OpenBSD picks."""

RULES = f"""
table inet filter {{
    chain input {{
        type filter hook input priority 0; policy drop;
        iif lo accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        ct state established,related accept
        tcp flags & (fin|syn|rst|ack) == syn tcp dport {{ 22, 25, 80, 443 }} accept
        log prefix "in" group {GROUP}
    }}
    chain output {{
        type filter hook output priority 0; policy accept;
        ct state invalid log prefix "out" group {GROUP} drop
    }}
}}
"""


def run(command: str) -> None:
    """Run a shell command that must succeed."""
    subprocess.run(command, shell=True, check=True)


def within(namespace: str, command: str) -> list[str]:
    """Return the arguments that run a shell command in a namespace."""
    return ["ip", "netns", "exec", namespace, "sh", "-c", command]


def plug(namespace: str, index: int, *addresses: str) -> None:
    """Make a namespace and connect it to the bridge as its eth0."""
    run(f"ip netns add {namespace}")
    wire = f"{PREFIX}{index} netns {PREFIX}-wire"
    run(f"ip link add {wire} type veth peer name eth0 netns {namespace}")
    run(f"ip -n {PREFIX}-wire link set {PREFIX}{index} master br0 up")
    run(f"ip -n {namespace} link set lo up")
    run(f"ip -n {namespace} link set eth0 up")
    for address in addresses:
        run(f"ip -n {namespace} address add {address} dev eth0 {'nodad' if ':' in address else ''}")
    for six in ("", "-6 "):
        run(f"ip {six}-n {namespace} route add default dev eth0")
    switches = "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0"
    run(f"ip netns exec {namespace} sysctl -qw {switches}")
    # A veth leaves checksums to its other end, and nmap's --badsum would be no different.
    run(f"ip netns exec {namespace} ethtool -K eth0 tx off >/dev/null 2>&1 || true")


@contextlib.contextmanager
def network(actors: Sequence[Actor]) -> Iterator[None]:
    """All namespaces, gone at the end with everything that runs in them."""
    try:
        remove()
        run(f"ip netns add {PREFIX}-wire")
        run(f"ip -n {PREFIX}-wire link add br0 type bridge mcast_snooping 0")
        run(f"ip -n {PREFIX}-wire link set br0 up")
        others = [f"{one_of_hosts(number)}/24" for number in range(HOSTS)]
        others += [f"{one_of_hosts(number, six=True)}/64" for number in range(HOSTS)]
        plug(f"{PREFIX}-host", 0, f"{HOST}/24", f"{HOST6}/64", *others)
        for index, actor in enumerate(actors, 1):
            length = 64 if ":" in actor.address else 24
            plug(f"{PREFIX}-{index}", index, f"{actor.address}/{length}")
        yield
    finally:
        remove()


def remove() -> None:
    """Remove the laboratory's namespaces, and end what runs in them."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        name = line.split()[0]
        if name.startswith(f"{PREFIX}-"):
            pids = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=True
            )
            for pid in pids.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "delete", name], check=True)


def play(actors: Sequence[Actor], capture: Path, work: Path) -> None:
    """Run everything at once; whoever talks to the host is captured as nftables drops it.

    work: a folder for what the programs need.
    """
    host = f"{PREFIX}-host"
    subprocess.run(within(host, "nft -f -"), input=RULES, text=True, check=True)
    run(f"ip netns exec {host} sysctl -qw {HOST_SETTINGS}")
    link = subprocess.run(
        ["ip", "-n", host, "-json", "link", "show", "eth0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    mac = json.loads(link.stdout)[0]["address"]
    quiet: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    tcpdump = subprocess.Popen(
        within(host, f"exec tcpdump -q -U -i nflog:{GROUP} -w {capture}"), **quiet
    )
    parts = f"{sys.executable} {Path(__file__).with_name('parts.py')}"
    subprocess.Popen(within(host, f"exec {parts} host {work}"), **quiet)
    time.sleep(1)
    playing = []
    for index, actor in enumerate(actors, 1):
        config = work / f"config-{index}"
        config.write_text(actor.config.replace("{config}", str(config)), "latin-1")
        command = actor.command.format(host=HOST, host6=HOST6, mac=mac, config=config, work=work)
        playing.append(subprocess.Popen(within(f"{PREFIX}-{index}", command), **quiet))
    end = time.monotonic() + TIME_LIMIT
    for process in playing:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, end - time.monotonic()))
    tcpdump.terminate()
    tcpdump.wait()


def dropped(capture: Path) -> Iterator[Dropped]:
    """Yield each packet of an NFLOG savefile; as a pflog frame's IP packet and direction."""
    data = capture.read_bytes()
    decoder = Decoder()
    for seconds, micros, frame in decoder.feed(data):
        header = Header.parse(frame, decoder.byteorder)
        yield Dropped(seconds + micros / 1e6, header.direction == 1, frame[header.start :])


def write(stem: Path, actors: Sequence[Actor], capture: Path) -> None:
    """Write the captures and labels."""
    known = {actor.address: actor for actor in actors}
    packets: dict[str, list[Dropped]] = defaultdict(list)
    for each in dropped(capture):
        source = source_of(each.packet)
        kept = PACKETS_KEPT[known[source].kind if source in known else ""]
        if len(packets[source]) < kept:
            packets[source].append(each)
    end = max(theirs[-1].time for theirs in packets.values())
    for source, theirs in packets.items():
        if source in known and known[source].kind == "slow scanner":
            apart = [end - STRETCHED * back for back in reversed(range(len(theirs)))]
            packets[source] = [one._replace(time=when) for when, one in zip(apart, theirs)]
    meaning = {
        source: Label(known[source].kind, known[source].what)
        if source in known
        else _others(source)
        for source in (*packets, *known)
    }
    labels.write(stem, itertools.chain.from_iterable(packets.values()), meaning)


def _others(source: str) -> Label:
    if source.startswith("203.0.113.20"):
        return Label("decoy", "nmap -D: a forged source, which nobody can tell from its scanner")
    if source in (HOST, HOST6) or source.startswith(("10.99.0.1", "fd99::1")):
        return Label("bystander", "the protected host itself, outbound")
    return Label("bystander", "neighbour discovery, multicast listeners")


def main() -> None:
    """Run the laboratory, write its results to the folder given and print the labels."""
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if folder is None or missing or os.geteuid():
        why = f"lacks {' '.join(missing)}" if missing else "must be root"
        sys.exit("usage: python -m lab.lab FOLDER" if folder is None else f"lab: {why}")
    for name, actors in SCENES.items():
        with tempfile.TemporaryDirectory() as work:
            os.chmod(work, 0o777)  # tcpdump writes as a user of its own
            capture = Path(work) / "nflog.pcap"
            with network(actors):
                play(actors, capture, Path(work))
            write(folder / name, actors, capture)
        print((folder / f"{name}.labels.json").read_text())


if __name__ == "__main__":
    main()
