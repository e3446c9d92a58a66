# SPDX-License-Identifier: GPL-2.0-or-later
"""A second scene of the laboratory: routes traced to the end, answers to many hosts, more scans.

See ``actors``.
"""

from __future__ import annotations

from .actors import PARTS, each, nmap, part, server, tool

__all__ = ["ACTORS"]

FASHIONABLE = (3000, 5000, 5173, 5601, 5984, 6379, 7474, 8000, 8008, 8080, 8081, 8088, 8161, 8443,
               8500, 8888, 8983, 9000, 9090, 9091, 9200, 9443, 15672, 27017)  # fmt: skip
"""What scripts of our days ask for."""

ACTORS = (
    # Nobody answers, so they go on for 30 hops.
    server(89, "traceroute -6 -T -p 8443, 30 hops, to 20 hosts",
           each(20, "traceroute -n -T -p 8443 -q 1 -w 1 fd99::$(printf %x $((n + 156))) & :")
           + "; wait", "traceroute")._replace(address="2001:db8:7::89"),
    server(90, "traceroute -T -p 3389, 30 hops, to 20 hosts",
           each(20, "traceroute -n -T -p 3389 -q 1 -w 1 10.99.0.$n & :") + "; wait", "traceroute"),
    server(91, "traceroute -U -p 53, 30 hops, to 20 hosts",
           each(20, "traceroute -n -U -p 53 -q 1 -w 1 10.99.0.$n & :") + "; wait", "traceroute"),
    server(92, "traceroute -p 5000, ports count up", "traceroute -n -p 5000 -w 1 {host}",
           "traceroute"),
    server(93, "mtr -T -P 3306 to 20 hosts",
           each(20, "mtr -n -T -P 3306 -r -c 5 -i 0.5 10.99.0.$n & :") + "; wait", "traceroute"),
    # Answers to hosts that pick the same ports.
    part(96, "game server on port 27015, late answers to port 27005 of 30 hosts",
         "same", 27015, 27005),
    part(97, "resolver, late answers to ports that 30 Windows hosts pick in order",
         "in_order", 53),
    part(98, "resolver on port 5443, late answers to ports that 30 Windows hosts pick in order",
         "in_order", 5443),
    # Few hops to go, from a port to its own number, lists of fashion, connect() of all kinds.
    nmap(80, "-sS --ttl 6 --top-ports 40 -T4"),
    nmap(81, "-sS --ttl 20 --top-ports 40 -T4"),
    nmap(82, "-sS -g 88 -F -T4 --data-length 25"),
    nmap(83, "-sS -F -T4 --mtu 16"),
    nmap(84, "-sU -T4 -p 1-60"),
    nmap(85, "-sSU --top-ports 15 -T4"),
    nmap(86, "-sT -r -p 1-60 -T4"),
    tool(87, "scanner", "hping3 -2 -s 1000 -p ++1000 -i u50000 -c 60 {host}"),
    tool(88, "scanner", "hping3 -S -s 5000 -p ++20 -i u50000 -c 60 {host}"),
    tool(89, "scanner", "nc -zn -w 1 {host} 20-45"),
    tool(91, "scanner", f"{PARTS} tries {{host}} {' '.join(map(str, FASHIONABLE))}",
         "Python, connect() to 24 web and data base ports"),
    tool(92, "scanner", f"{PARTS} tries --windows {{host}} {' '.join(map(str, FASHIONABLE))}",
         "Python without time stamps, connect() to 24 web and data base ports"),
    tool(93, "sweep", f"{PARTS} tries 10.99.0.100-129 3389",
         "Python, connect() to 3389 of 30 hosts"),
    tool(94, "sweep", "nmap -n -sn --send-ip --disable-arp-ping -PS445,3389 {hosts}"),
    tool(95, "sweep", "nmap -n -sn --send-ip --disable-arp-ping -PU40125 {hosts}"),
    tool(96, "sweep", "nmap -n -Pn -sS -T4 -p 23,80,8080,8443 10.99.0.100-107",
         "nmap -sS, 4 ports of 8 hosts"),
    tool(97, "sweep", "nmap -n -Pn -sU -T4 -p 123,161 10.99.0.100-109",
         "nmap -sU, 2 ports of 10 hosts"),
    tool(98, "scanner", "masscan -pU:53,69,111,123,137,161,389,500,1194,1434,1900,3478,3702,5060,"
         "5353,11211,27015 --source-port 53 --rate 60 --wait 1 --interface eth0"
         " --adapter-ip 203.0.113.98 --router-mac {mac} {host}",
         "masscan, 17 UDP services from port 53"),
    tool(99, "sweep", "zmap -q -b /dev/null -B 1M -c 0 -G {mac} -i eth0 -S 203.0.113.99 -M udp"
         " --probe-args=hex:00 -p 1900 10.99.0.96/27 -o /dev/null", "zmap -M udp -p 1900"),
    nmap(0, "-sT -p 1-60 -T4", address="2001:db8:6::17"),
    nmap(0, "-sF --top-ports 40 -T4", address="2001:db8:6::18"),
)  # fmt: skip
