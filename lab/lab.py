"""A laboratory: real scanners and real bystanders against a firewall that logs its drops.

Every host is a network namespace on one bridge.  The protected one, 10.99.0.2 and fd99::2,
serves TCP 22, 25, 80 and 443; nftables drops the rest and hands what it drops to NFLOG.
Exactly these packets are captured, get FreeBSD's pflog header, and are written as ``labels``
tells, with labels that tell what each address did.

Needs root, and nmap masscan zmap hping3 mtr-tiny traceroute iputils-tracepath nftables
conntrack tcpdump iproute2 ethtool.  All traffic stays within the namespaces; they are removed at
the end, whatever happens.  It takes about two minutes.

    python -m lab.lab FOLDER      (make lab: tests/data/lab)
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import labels
from .labels import Dropped, Label, source_of

HOST, HOST6 = "10.99.0.2", "fd99::2"
PREFIX = "pflab"
GROUP = 5
TIME_LIMIT = 100.0
"""Seconds; who is not done by then is ended."""

PACKETS_KEPT = 120
"""Per source: nothing is learnt from the ten thousandth packet of a scan."""

STRETCHED = 360.0
"""Seconds between two probes of the slow scan, which is sent faster and dated apart."""

TOOLS = ("nmap", "masscan", "zmap", "hping3", "mtr", "traceroute", "tracepath", "nft", "conntrack",
         "tcpdump", "ethtool", "ip")  # fmt: skip

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


class Actor(NamedTuple):
    """One host.  command: for a shell in its namespace; {host} and {host6} are filled in."""

    address: str
    kind: str
    what: str
    command: str


def nmap(last: int, options: str, kind: str = "scanner", address: str = "") -> Actor:
    """Make a scanner 203.0.113.LAST, or ADDRESS, that runs nmap."""
    target = "-6 {host6}" if ":" in address else "{host}"
    command = f"nmap -n -Pn --max-retries 1 {options} {target}"
    return Actor(address or f"203.0.113.{last}", kind, f"nmap {options}", command)


def part(last: int, what: str, *arguments: object, kind: str = "bystander") -> Actor:
    """Make a bystander that parts.py plays."""
    played = " ".join(map(str, arguments))
    command = f"{sys.executable} {Path(__file__).with_name('parts.py')} {played}"
    return Actor(f"198.51.100.{last}", kind, what, command)


ACTORS = (
    nmap(10, "-sS -F -T4"),
    nmap(11, "-sS -F -T5"),
    nmap(12, "-sS -F -T3"),
    nmap(13, "-sS --top-ports 60 -T2"),
    nmap(14, "-sT -F -T4"),
    nmap(15, "-sN -F -T4"),
    nmap(16, "-sF -F -T4"),
    nmap(17, "-sX -F -T4"),
    nmap(18, "-sM -F -T4", "scanner of ACK type"),
    nmap(19, "-sA -F -T4", "scanner of ACK type"),
    nmap(20, "-sW --top-ports 20 -T4", "scanner of ACK type"),
    nmap(21, "-sU --top-ports 20 -T4"),
    nmap(22, "-sU --top-ports 100 -T4"),
    nmap(23, "-sU -g 53 --top-ports 20 -T4"),
    nmap(24, "-sY -F -T4"),
    nmap(25, "-sZ -F -T4", "scanner of ACK type"),
    nmap(26, "-sO -T4 --host-timeout 60s", "scanner of ACK type"),
    nmap(27, "-sS -f -F -T4"),
    nmap(28, "-sS -g 53 -F -T4"),
    nmap(29, "-sS --scanflags SYNACK -F -T4", "scanner of ACK type"),
    nmap(30, "-sS --scanflags URGACKPSHRSTSYNFIN -F -T4", "scanner of ACK type"),
    nmap(31, "-sS --scanflags SYNFIN -F -T4"),
    nmap(32, "-sS --scanflags PSH -F -T4"),
    nmap(33, "-sS --top-ports 20 -T4 -D 203.0.113.201,203.0.113.202,ME"),
    nmap(34, "-sA -g 53 --top-ports 60 -T4", "scanner of ACK type"),
    nmap(35, "-sS --badsum -F -T4"),
    nmap(36, "-sS -p 30000-30040 -T4"),
    nmap(0, "-sS -F -T4", address="2001:db8:6::10"),
    nmap(0, "-sU --top-ports 40 -T4", address="2001:db8:6::11"),
    nmap(0, "-sA -F -T4", "scanner of ACK type", address="2001:db8:6::12"),
    nmap(0, "-sT --top-ports 40 -T4", address="2001:db8:6::13"),
    nmap(40, "-sS --top-ports 40 -T4", "slow scanner"),
    Actor("203.0.113.50", "scanner", "masscan -p1-120 --rate 60",
          "masscan -p1-120 --rate 60 --wait 1 --interface eth0 --adapter-ip 203.0.113.50"
          " --router-mac {mac} {host}"),
    Actor("203.0.113.51", "scanner", "zmap, 20 ports one after the other",
          "for p in 21 23 110 111 135 139 143 445 993 995 1433 1723 3306 3389 5432 5900 6379 8000"
          " 8080 9200; do zmap -q -b /dev/null -B 1M -c 0 -G {mac} -i eth0 -S 203.0.113.51"
          " -p $p {host}/32 -o /dev/null; done"),
    Actor("203.0.113.52", "scanner", "hping3 --scan 1-100 -S", "hping3 --scan 1-100 -S {host}"),
    Actor("203.0.113.53", "scanner of ACK type", "hping3 -A -p ++1",
          "hping3 -A -p ++1 -i u50000 -c 60 {host}"),
    Actor("203.0.113.54", "scanner", "hping3 -F -p ++1", "hping3 -F -p ++1 -i u50000 -c 60 {host}"),
    Actor("203.0.113.55", "scanner", "hping3 -2 -p ++1", "hping3 -2 -p ++1 -i u50000 -c 60 {host}"),
    Actor("203.0.113.56", "scanner", "bash, connect() to 40 ports",
          "for p in $(seq 8000 8039); do timeout 1 bash -c"
          " \"echo >/dev/tcp/{host}/$p\"& done; wait"),
    Actor("198.51.100.10", "traceroute", "traceroute", "traceroute -n -m 64 -q 3 -w 1 {host}"),
    Actor("198.51.100.11", "traceroute", "traceroute -T -p 8080",
          "traceroute -n -T -p 8080 -w 1 {host}"),
    Actor("198.51.100.12", "traceroute", "traceroute -I", "traceroute -n -I -w 1 {host}"),
    Actor("198.51.100.13", "traceroute", "mtr -u", "mtr -n -u -r -c 30 -i 0.2 -m 3 {host}"),
    Actor("198.51.100.14", "traceroute", "mtr -T -P 8080",
          "mtr -n -T -P 8080 -r -c 20 -i 0.2 -m 3 {host}"),
    Actor("198.51.100.15", "traceroute", "tracepath", "tracepath -n -m 12 {host}"),
    Actor("2001:db8:7::16", "traceroute", "traceroute -6", "traceroute -n -6 -w 1 {host6}"),
    Actor("2001:db8:7::17", "traceroute", "tracepath -6", "tracepath -n -6 -m 12 {host6}"),
    Actor("198.51.100.18", "bystander", "ping, 100 times", "ping -n -q -i 0.05 -c 100 {host}"),
    Actor("198.51.100.19", "bystander", "a web server that was sent SYNs with this host's address",
          "python3 -m http.server --bind 198.51.100.19 80"),
    Actor("198.51.100.20", "its attacker",
          "hping3 -S with this host's address to 198.51.100.19, ports 80 and 81",
          "sleep 4; hping3 -S -a {host} -p 80 -i u20000 -c 150 198.51.100.19;"
          " hping3 -S -a {host} -p 81 -i u20000 -c 150 198.51.100.19"),
    part(30, "browser whose state is gone: late data and FIN to 80 and 443",
         "client", 80, 443, 80, 443),
    part(31, "mail client without TCP timestamps: late data and FIN to 25, 80, 443",
         "client", "--no-timestamps", 25, 80, 443),
    part(32, "client that resets its connections late", "client", "--reset", 22, 25, 80, 443),
    part(33, "client that retries closed ports 8443 and 993", "retry", 8443, 993),
    part(34, "mail client that tries 993 143 995 110 587 465", "retry", 993, 143, 995, 110, 587,
         465, kind="debatable"),
    part(35, "monitor that checks 9 closed ports", "retry", 21, 110, 143, 587, 993, 995, 3306,
         5432, 8080, kind="debatable"),
    part(40, "resolver, 30 late answers", "answer", 53),
    part(41, "time server, 30 late answers", "answer", 123),
    part(42, "QUIC server, 30 late answers", "answer", 443),
    part(43, "STUN server, 30 late answers", "answer", 3478),
    part(44, "game server, 30 late answers", "answer", 27015),
    part(45, "server on a port of its own, 30 late answers", "answer", 40123),
    part(46, "web server this host is a client of, 20 late data and FIN", "serve", 443),
    part(47, "server on port 9443 this host is a client of, 20 late data and FIN", "serve", 9443),
    part(50, "FTP server, active data connections to 20 ports", "ftp"),
    part(51, "telephone: media from and to high ports", "media"),
    part(52, "peer: one port to 20 high ports (ICE)", "peer"),
    part(53, "neighbour: broadcasts and multicasts to 14 ports", "chatter")._replace(
        address="10.99.0.30"
    ),
)  # fmt: skip


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
def network() -> Iterator[None]:
    """All namespaces, gone at the end with everything that runs in them."""
    try:
        remove()
        run(f"ip netns add {PREFIX}-wire")
        run(f"ip -n {PREFIX}-wire link add br0 type bridge mcast_snooping 0")
        run(f"ip -n {PREFIX}-wire link set br0 up")
        plug(f"{PREFIX}-host", 0, f"{HOST}/24", f"{HOST6}/64")
        for index, actor in enumerate(ACTORS, 1):
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


def play(capture: Path) -> None:
    """Run everything at once; whoever talks to the host is captured as nftables drops it."""
    host = f"{PREFIX}-host"
    subprocess.run(within(host, "nft -f -"), input=RULES, text=True, check=True)
    run(f"ip netns exec {host} sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0")
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
    subprocess.Popen(within(host, f"exec {parts} host"), **quiet)
    time.sleep(1)
    actors = []
    for index, actor in enumerate(ACTORS, 1):
        command = actor.command.format(host=HOST, host6=HOST6, mac=mac)
        actors.append(subprocess.Popen(within(f"{PREFIX}-{index}", command), **quiet))
    end = time.monotonic() + TIME_LIMIT
    for process in actors:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, end - time.monotonic()))
    tcpdump.terminate()
    tcpdump.wait()


# -- NFLOG to pflog ----------------------------------------------------------------------

_PAYLOAD, _PREFIX = 9, 10  # attributes of linux/netfilter/nfnetlink_log.h


def dropped(capture: Path) -> Iterator[Dropped]:
    """Yield each packet of an NFLOG savefile in this machine's order."""
    data = capture.read_bytes()
    at = 24
    while at + 16 <= len(data):
        seconds, micros, size, _ = struct.unpack_from("=IIII", data, at)
        record, at = data[at + 16 : at + 16 + size], at + 16 + size
        attributes, cursor = {}, 4
        while cursor + 4 <= len(record):
            length, kind = struct.unpack_from("=HH", record, cursor)
            attributes[kind & 0x7FFF] = record[cursor + 4 : cursor + length]
            cursor += max(4, (length + 3) & ~3)
        inbound = attributes.get(_PREFIX, b"").startswith(b"in")
        yield Dropped(seconds + micros / 1e6, inbound, attributes[_PAYLOAD])


def write(folder: Path, capture: Path) -> None:
    """Write the captures and labels."""
    known = {actor.address: actor for actor in ACTORS}
    packets: dict[str, list[Dropped]] = defaultdict(list)
    for each in dropped(capture):
        of_source = packets[source_of(each.packet)]
        if len(of_source) < PACKETS_KEPT:
            of_source.append(each)
    end = max(theirs[-1].time for theirs in packets.values())
    for source, theirs in packets.items():
        if source in known and known[source].kind == "slow scanner":
            apart = [end - STRETCHED * back for back in reversed(range(len(theirs)))]
            packets[source] = [one._replace(time=when) for when, one in zip(apart, theirs)]
    told = {
        source: Label(known[source].kind, known[source].what)
        if source in known
        else _others(source)
        for source in (*packets, *known)
    }
    labels.write(folder / "lab", itertools.chain.from_iterable(packets.values()), told)


def _others(source: str) -> Label:
    if source.startswith("203.0.113.20"):
        return Label("decoy", "nmap -D: a forged source, which nobody can tell from its scanner")
    if source in (HOST, HOST6):
        return Label("bystander", "the protected host itself, outbound")
    return Label("bystander", "neighbour discovery, multicast listeners")


def main() -> None:
    """Run the laboratory, write its results to the folder given and print the labels."""
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if folder is None or missing or os.geteuid():
        why = f"lacks {' '.join(missing)}" if missing else "must be root"
        sys.exit("usage: python -m lab.lab FOLDER" if folder is None else f"lab: {why}")
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o777)  # tcpdump writes as a user of its own
        capture = Path(work) / "nflog.pcap"
        with network():
            play(capture)
        write(folder, capture)
    print((folder / "lab.labels.json").read_text())


if __name__ == "__main__":
    main()
