# SPDX-License-Identifier: GPL-2.0-or-later
"""Which ports are known: services that scans ask for, and ports that traceroute probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..pflog.packet import UDP

__all__ = [
    "DOMAIN", "FIRST_RPC_CLIENT", "FIRST_UNRESERVED", "FTP_DATA", "IS_SERVED", "IS_TCP_SERVICE",
    "IS_UDP_SERVICE", "RPC", "SERVED", "SIP_PORT", "SIP_PORTS", "TCP_SERVICES", "TRACED",
    "UDP_SERVICES", "weight",
]  # fmt: skip

FIRST_UNRESERVED = 1024
"""Below it only root listens, and no system picks ports for its own connections."""

TCP_SERVICES = (
    7, 9, 13, 20, 21, 22, 23, 25, 26, 37, 53, 79, 80, 81, 82, 88, 106, 110, 111, 113, 119, 135, 139,
    143, 161, 179, 199, 389, 427, 443, 444, 445, 465, 502, 512, 513, 514, 515, 543, 544, 548, 554,
    587, 623, 631, 636, 646, 873, 902, 990, 993, 995, 1024, 1025, 1026, 1027, 1028, 1029, 1030,
    1031, 1038, 1039, 1041, 1044, 1048, 1049, 1053, 1054, 1056, 1064, 1065, 1066, 1069, 1071, 1080,
    1099, 1110, 1433, 1434, 1521, 1720, 1723, 1755, 1801, 1883, 1900, 2000, 2001, 2049, 2103, 2105,
    2107, 2121, 2222, 2375, 2376, 2379, 2380, 2601, 2717, 2869, 2967, 3000, 3001, 3128, 3268, 3306,
    3389, 3689, 3703, 3986, 4001, 4443, 4444, 4786, 4899, 5000, 5001, 5009, 5050, 5051, 5060, 5061,
    5101, 5120, 5190, 5357, 5432, 5555, 5601, 5631, 5666, 5672, 5800, 5900, 5901, 5984, 5985, 5986,
    6000, 6001, 6004, 6379, 6443, 6646, 6667, 7000, 7001, 7070, 7547, 8000, 8001, 8002, 8008, 8009,
    8010, 8031, 8080, 8081, 8082, 8083, 8086, 8089, 8090, 8161, 8181, 8291, 8443, 8500, 8545, 8728,
    8880, 8888, 8983, 9000, 9001, 9042, 9090, 9092, 9100, 9102, 9200, 9300, 9443, 9600, 9999, 10000,
    10010, 10250, 11211, 15672, 20000, 27017, 27018, 28017,
)  # fmt: skip
"""What scans ask for: the ports below 32768 among nmap-services' 150 most often open ones (nmap
7.93), and what is asked for since: databases, containers, consoles, machines."""

UDP_SERVICES = (
    7, 9, 17, 19, 49, 53, 67, 68, 69, 80, 88, 111, 123, 135, 136, 137, 138, 139, 158, 161, 162, 177,
    389, 427, 443, 445, 464, 497, 500, 514, 515, 518, 520, 593, 623, 626, 631, 664, 683, 1025, 1026,
    1027, 1028, 1029, 1030, 1194, 1433, 1434, 1604, 1645, 1646, 1701, 1718, 1719, 1812, 1813, 1900,
    2000, 2048, 2049, 2123, 2152, 2222, 2223, 2302, 3283, 3389, 3456, 3478, 3544, 3702, 3703, 4444,
    4500, 5000, 5004, 5060, 5061, 5093, 5351, 5353, 5355, 5632, 5683, 7547, 8125, 9200, 9987, 10000,
    10001, 11211, 17185, 17500, 19132, 20000, 20031, 27015, 27960, 30120, 30718, 31337, 32414,
    32771, 34964, 37810, 41794, 44818, 47808, 48899, 64738,
)  # fmt: skip
"""The same for UDP: those below 32768 among nmap-services' 100 most often open ones, and what
amplifies, controls machines or plays games."""

SERVED = (80, 443, 465, 587, 993)
"""Where most late packets of honest clients go."""

RPC = (111, 2049)  # answers go to the reserved ports that bindresvport picks
FIRST_RPC_CLIENT = 512
FTP_DATA, DOMAIN, SIP_PORT = 20, 53, 5060

TRACED = range(33434, 33700)
"""Where traceroute counts its probes up from, over UDP, with the BSDs' -P also TCP and SCTP."""

SIP_PORTS = range(5060, 5091)
"""Where telephones listen that share an address."""


LISTED, RESERVED = 25, 12
"""Strays for each packet to a listed service, or to another reserved port, that make it chance.
Of answers spread over all ports one in 400 hits a listed one, one in 70 another reserved one:
of 20,000 simulated sources none had 15 packets counted."""


def _table(values: Mapping[int, Iterable[int]]) -> bytes:
    """Return 65536 bytes, each the value of a port or 0: the fastest look-up there is."""
    table = bytearray(65536)
    for value, ports in values.items():
        for port in ports:
            table[port] = value
    return bytes(table)


_RESERVED = range(FIRST_UNRESERVED)
IS_TCP_SERVICE = _table({RESERVED: _RESERVED, LISTED: TCP_SERVICES})
IS_UDP_SERVICE = _table({RESERVED: _RESERVED, LISTED: (*UDP_SERVICES, *SIP_PORTS)})
IS_SERVED = _table({1: SERVED})


def weight(protocol: int, port: int) -> int:
    """Return the number of strays that one packet to a port outweighs."""
    table = IS_UDP_SERVICE if protocol == UDP else IS_TCP_SERVICE
    return max(RESERVED, table[port]) if port >= 0 else RESERVED
