# SPDX-License-Identifier: GPL-2.0-or-later
"""Who takes part in the laboratory: its scanners and bystanders, and what they run.

Bystanders run real programs where the firewall's loss of state is all that it takes;
what has to happen at a given moment is played by parts.py.  A server whose answers are
to be late is stopped for some seconds (``stalled``), as a busy one is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["ACTORS", "HOST", "HOST6", "HOSTS", "PARTS", "TOOLS", "Actor", "each", "host", "nmap",
           "part", "server", "tool"]  # fmt: skip

HOST, HOST6 = "10.99.0.2", "fd99::2"
TOOLS = ("chronyd", "conntrack", "curl", "dnsmasq", "ethtool", "fping", "haproxy", "hping3", "ip",
         "masscan", "mtr", "nc", "nft", "nmap", "scamper", "svmap", "tcpdump", "tracepath",
         "traceroute", "unbound", "vsftpd", "wg", "wireguard-go", "zmap")  # fmt: skip
HOSTS = 30
"""Further addresses of the protected host: what a network behind a firewall looks like."""


def host(number: int, six: bool = False) -> str:
    """Return the address of one of the protected hosts, from 0."""
    return f"fd99::{0x100 + number:x}" if six else f"10.99.0.{100 + number}"


class Actor(NamedTuple):
    """One host.

    command: for a shell in its namespace; {host}, {host6}, {mac} of the protected host,
    {config} and {work} are filled in.  config: what the file {config} holds; {config} is
    filled in there, too.  {work}: a folder that is gone at the end.
    """

    address: str
    kind: str
    what: str
    command: str
    config: str = ""


def nmap(last: int, options: str, kind: str = "scanner", address: str = "") -> Actor:
    """Make a scanner 203.0.113.LAST, or ADDRESS, that runs nmap."""
    target = "-6 {host6}" if ":" in address else "{host}"
    command = f"nmap -n -Pn --max-retries 1 {options} {target}"
    return Actor(address or f"203.0.113.{last}", kind, f"nmap {options}", command)


PARTS = f"{sys.executable} {Path(__file__).with_name('parts.py')}"


def part(last: int, what: str, *arguments: object, kind: str = "bystander") -> Actor:
    """Make a bystander that parts.py plays."""
    played = " ".join(map(str, arguments))
    return Actor(f"198.51.100.{last}", kind, what, f"{PARTS} {played}")


def tool(last: int, kind: str, command: str, what: str = "") -> Actor:
    """Make a scanner or sweeper that runs a command; {hosts} are the 30 hosts."""
    shown = command.replace("{hosts}", f"{HOSTS} hosts").replace(" {host}", "")
    filled = command.replace("{hosts}", f"{host(0)}-{100 + HOSTS - 1}")
    return Actor(f"203.0.113.{last}", kind, what or shown, filled)


def server(last: int, what: str, command: str, kind: str = "bystander", config: str = "") -> Actor:
    """Make a bystander 198.51.100.LAST that runs a command."""
    return Actor(f"198.51.100.{last}", kind, what, command, config)


DNSMASQ = "dnsmasq -k --user=root --pid-file="
ANSWERS = "--address=/#/192.0.2.1 --no-resolv --no-hosts"


def stalled(command: str) -> str:
    """Run a server that gets no processor from the 5th to the 12th second."""
    return f"{command} & sleep 5; kill -STOP $!; sleep 7; kill -CONT $!; wait"


def dnsmasq(last: int, port: int, what: str) -> Actor:
    """Make a resolver whose answers are late."""
    return server(last, what, stalled(f"{DNSMASQ} --port={port} {ANSWERS}"))


def each(hosts: int, command: str) -> str:
    """Run a command for some of the hosts; $n is the last number of its address."""
    return f"for n in $(seq 100 {100 + hosts - 1}); do {command}; done"


# What servers read from a file.
CHRONYD = "allow\nlocal stratum 1\ncmdport 0\nbindcmdaddress /\npidfile {config}.pid\n"
VSFTPD = """listen=YES
background=NO
anonymous_enable=YES
seccomp_sandbox=NO
connect_timeout=8
"""
HAPROXY = """defaults
    timeout connect 1s
    timeout client 1s
    timeout server 1s
listen checks
    bind :9999
"""


def haproxy(last: int, what: str, targets: list[str], kind: str) -> Actor:
    """Make a load balancer that checks targets, ADDRESS:PORT, every two seconds."""
    checks = "".join(
        f"    server s{n} {target} check inter 2s\n" for n, target in enumerate(targets)
    )
    return server(last, what, "timeout 40 haproxy -db -f {config}", kind, HAPROXY + checks)


def wireguard(last: int, what: str, port: str) -> Actor:
    """Make a hub that sends handshakes to a peer on each of the hosts; port: for a shell."""
    peer = (
        f"wg set wg{last} peer $(wg genkey | wg pubkey) endpoint 10.99.0.$n:{port}"
        " allowed-ips 10.200.0.$n/32 persistent-keepalive 5"
    )
    hub = f"wg set wg{last} listen-port 51820 private-key {{config}}; ip link set wg{last} up"
    command = f"wg genkey >{{config}}; wireguard-go wg{last}; {hub}; {each(HOSTS, peer)}; sleep 40"
    return server(last, what, command)


def forger(last: int, victim: int, sport: int, dport: int, question: str) -> Actor:
    """Make one that asks a server in the host's name, from ports that count up from SPORT."""
    command = (
        f"sleep 4; hping3 -2 -a {{host}} -s {sport} -p {dport} -d {len(question)} -E {{config}}"
        f" -i u20000 -c 120 198.51.100.{victim}"
    )
    return server(last, "its attacker", command, "its attacker", question)


DNS_QUESTION = "\1\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"
TIME_QUESTION = "\x23" + "\0" * 47


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
    # Servers of the host's, whose answers come late; parts.py asks them.
    dnsmasq(60, 53, "dnsmasq, late answers to unbound (ports from 1024 up)"),
    dnsmasq(61, 5335, "dnsmasq on port 5335, late answers to unbound (ports from 1024 up)"),
    dnsmasq(62, 5353, "dnsmasq on port 5353, late answers to unbound (ports from 1024 up)"),
    dnsmasq(63, 8443, "dnsmasq on port 8443, as DNSCrypt's, late answers to unbound"),
    server(64, "chronyd, 60 late answers to ports from 1024 up",
           stalled("chronyd -x -u root -d -f {config}"), config=CHRONYD),
    part(65, "game server on port 7777, 100 late answers to ports from 1024 up", "answer", 7777),
    part(66, "server on port 1234, 100 late answers to ports from 1024 up", "answer", 1234),
    part(67, "server on port 30120, 100 late answers to ports from 1024 up", "answer", 30120),
    server(68, "dnsmasq's TFTP, 25 transfers from ports of its own to ports from 1024 up",
           DNSMASQ + " --port=0 --enable-tftp --tftp-root={work}"),
    # FTP: curl on the host asks for active data.
    server(70, "vsftpd: 25 active data connections, not from port 20", "vsftpd {config}",
           config=VSFTPD + "connect_from_port_20=NO\n"),
    server(71, "vsftpd: 25 active data connections from port 20", "vsftpd {config}",
           config=VSFTPD + "connect_from_port_20=YES\n"),
    # Load balancers and tunnels.
    haproxy(72, "haproxy, checks of 4 closed ports",
            [f"{HOST}:{port}" for port in (8080, 8081, 8443, 9000)], "bystander"),
    haproxy(73, "haproxy, checks of port 8080 of 30 hosts",
            [f"{host(number)}:8080" for number in range(HOSTS)], "debatable"),
    wireguard(74, "wireguard-go, hub of 30 peers on ports of their own",
              "$(shuf -n1 -i 1024-65535)"),
    wireguard(75, "wireguard-go, hub of 30 peers on port 51820", "51820"),
    # Clients whose state is gone, of all hosts.
    part(76, "ssh to 30 hosts without time stamps: late data, FIN, keepalives",
         "many", "--windows", 22),
    part(77, "mail relay to 30 hosts: late data, FIN, keepalives", "many", 25),
    part(78, "web client without time stamps, 30 hosts: late data, FIN, keepalives",
         "many", "--windows", 80),
    part(0, "ssh to 30 hosts: late data, FIN, keepalives", "many", "--six", 22)._replace(
        address="2001:db8:7::76"),
    part(0, "mail relay without time stamps to 30 hosts: late data, FIN, keepalives",
         "many", "--six", "--windows", 25)._replace(address="2001:db8:7::77"),
    part(0, "web server this host is a client of, 20 late data and FIN", "serve", 443)._replace(
        address="2001:db8:7::78"),
    part(0, "server on port 9443 this host is a client of, 20 late data and FIN",
         "serve", 9443)._replace(address="2001:db8:7::79"),
    # Pings and routes to many hosts.
    server(80, "fping, 4 hosts, 10 times", f"fping -q -c 10 -p 500 -g {host(0)} {host(3)}"),
    server(81, "traceroute -I to 20 hosts",
           each(20, "traceroute -n -I -w 1 -m 8 10.99.0.$n & :") + "; wait", "traceroute"),
    server(82, "mtr to 20 hosts",
           each(20, "mtr -n -r -c 5 -i 0.5 10.99.0.$n & :") + "; wait", "traceroute"),
    server(83, "traceroute -T -p 8080 to 20 hosts",
           each(20, "traceroute -n -T -p 8080 -w 1 -m 8 10.99.0.$n & :") + "; wait", "traceroute"),
    server(84, "scamper, paris traceroute to 20 hosts",
           f"scamper -p 200 -c 'trace -P udp-paris' -i {' '.join(map(host, range(20)))}",
           "traceroute"),
    # Victims of one that forges the host's address; the forger's ports count up.
    server(85, "dnsmasq that was asked in this host's name from ports 20000 and up",
           f"{DNSMASQ} --port=53 {ANSWERS}", "backscatter"),
    forger(86, 85, 20000, 53, DNS_QUESTION),
    server(87, "chronyd that was asked in this host's name from ports 30000 and up",
           "chronyd -x -u root -d -f {config}", "backscatter", CHRONYD),
    forger(88, 87, 30000, 123, TIME_QUESTION),
    # Scanners that look like answers, and sweeps.
    tool(60, "sweep", "HOME={work} svmap {hosts}", "svmap, 30 hosts"),
    tool(61, "scanner", "HOME={work} svmap -p5060-5090 {host}", "svmap -p5060-5090"),
    tool(62, "scanner", "nmap -n -Pn -sU -g 5060 -p 1194,1434,1604,1701,1812,1900,2049,3283,3478,"
         "3702,4500,5060,5353,5683,9200,10001,11211,17185,19132,27015 -T4 {host}",
         "nmap -sU -g 5060, 20 services above 1024"),
    tool(63, "scanner", "nmap -n -Pn -sU -g 123 --top-ports 30 -T4 {host}"),
    tool(64, "scanner", "nmap -n -Pn -sU -g 4500 -p 1000-1040 -T4 {host}"),
    tool(65, "scanner", "nmap -n -Pn -sS -g 443 -p 8000-8040 -T4 {host}"),
    tool(66, "scanner", "nmap -n -Pn -sT -p 20000-20040 -T4 {host}"),
    tool(67, "scanner", "nmap -n -Pn -sT --top-ports 60 -T4 {host}"),
    tool(68, "sweep", "nmap -n -Pn -sU -p 47808 -T4 {hosts}"),
    tool(69, "sweep", "nmap -n -Pn -sU -g 53 -p 37810 -T4 {hosts}"),
    tool(70, "sweep", "nmap -n -Pn -sS -p 8728 -T4 {hosts}"),
    tool(71, "sweep", "nmap -n -Pn -sT -p 23,2323 -T4 {hosts}"),
    tool(72, "sweep of ACK type", "nmap -n -sn --send-ip --disable-arp-ping -PP {hosts}"),
    tool(73, "sweep of ACK type", "nmap -n -sn --send-ip --disable-arp-ping -PM {hosts}"),
    tool(74, "sweep of ACK type", f"fping -q -r 1 -g {host(0)} {host(HOSTS - 1)}"),
    tool(75, "sweep of ACK type, documented as not found",
         "nmap -n -sn --send-ip --disable-arp-ping -PA3389 {hosts}"),
    tool(76, "sweep", f"masscan -p5555 --rate 60 --wait 1 --interface eth0 --adapter-ip"
         f" 203.0.113.76 --router-mac {{mac}} {host(0)}-{host(HOSTS - 1)}", "masscan, port 5555"),
    nmap(0, "-sS -p 20000-20040 -T4", address="2001:db8:6::14"),
    nmap(0, "-sS -g 443 --top-ports 60 -T4", address="2001:db8:6::15"),
    nmap(0, "-sT -p 8000-8040 -T4", address="2001:db8:6::16"),
)  # fmt: skip
