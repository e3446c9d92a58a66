# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of packets: a name, the lowest mode that counts it, and its words.

Each kind stands here once; the table in docs/jails.md is made from them (a test checks that).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

__all__ = [
    "FIRST_EPHEMERAL",
    "KINDS",
    "MODES",
    "MOST_HOSTS",
    "SWEPT_HOSTS",
    "Count",
    "Kind",
    "Rank",
]


class Rank(IntEnum):
    """The lowest mode that counts a packet; NEVER: none does."""

    NORMAL = 0
    AGGRESSIVE = 1
    ANY = 2
    NEVER = 3


MODES = {"normal": Rank.NORMAL, "aggressive": Rank.AGGRESSIVE, "any": Rank.ANY}

NORMAL, AGGRESSIVE, ANY, NEVER = Rank


class Count(IntEnum):
    """What makes two packets of a source count as two."""

    TARGET = 0
    """Another port, protocol or host."""
    PORT = 1
    """Another port or protocol: it may be late, and late packets go to few ports of many hosts."""


@dataclass(eq=False, repr=False)
class Kind:
    """What a packet is, and whether it counts.

    Attributes:
        name: in capitals, for programs.
        rank: the lowest mode that counts it.
        words: for people; they follow "counts:" or "not counted:".
        count: what is counted of it.
        asks: the lowest mode in which ``History`` has to look at its source.
        stray: whether alone it says nothing; ``History`` may find a better kind.
        walks: the port below which it may be part of a walk.
        sweeps: the number of hosts on one port that make a sweep of it; 0: no number does.
        opens: whether it opens a TCP connection, which answers do not.
        limited: whether an honest host has ``MOST_HOSTS`` such targets in one network at most.
    """

    name: str
    rank: Rank
    words: str
    count: Count = Count.TARGET
    asks: Rank = Rank.NEVER
    walks: int = 0
    sweeps: int = 0
    opens: bool = False
    limited: bool = False
    stray: bool = field(init=False)

    def __post_init__(self) -> None:
        self.stray = self.asks < self.rank
        KINDS[self.name] = self

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Pickle the name: there is one of each kind in every process."""
        return _named, (self.name,)


KINDS: dict[str, Kind] = {}
"""All reasons by name, in the order of the documents' table."""


def _named(name: str) -> Kind:
    return KINDS[name]


FIRST_EPHEMERAL = 10_000
"""From here on FreeBSD, Linux and Windows pick ports for their own connections, often one after
the other, and telephones ports for their media in pairs: a walk up there may be theirs."""

ALL = 65_536

SWEPT_HOSTS = 8
"""Hosts on one unknown port, beside few other ports, that make a sweep."""

ANSWERED_HOSTS = 32
"""Hosts that ask a service from the same port."""

MOST_HOSTS = 40
"""Targets that excuses are good for; a scanner is banned at 15 more.  Behind one firewall honest
hosts have as many at most: a hub's peers, the data connections of FTP."""

# -- normal: what only a scan sends
SYN = Kind("SYN", NORMAL, "TCP SYN: opens a connection", asks=NORMAL, opens=True)
ODD_FLAGS = Kind("ODD_FLAGS", NORMAL, "TCP FIN, NULL, Xmas: no flags that a connection has")
SCTP_INIT = Kind("SCTP_INIT", NORMAL, "SCTP INIT: opens an association")
UDP_SERVICE = Kind("UDP_SERVICE", NORMAL, "UDP to a reserved port or a known service", asks=NORMAL)
SIP = Kind("SIP", NORMAL, "UDP from port 5060 to 5060: asks for a telephone")
TCP_OPENING = Kind(
    "TCP_OPENING", NORMAL,
    "TCP with flags unknown and a SYN's length, to a reserved port or a known service",
    asks=NORMAL, opens=True,
)  # fmt: skip
TCP_BARE_OPENING = Kind(
    "TCP_BARE_OPENING", NORMAL,
    "TCP with flags unknown and a plain SYN's length, from no service, and nothing else came",
    asks=NORMAL,
)  # fmt: skip
TCP_SERVICE = Kind(
    "TCP_SERVICE", NORMAL, "TCP with flags unknown, to a reserved port or a known service",
    Count.PORT, asks=NORMAL,
)  # fmt: skip
NEAR_END = Kind(
    "NEAR_END", NORMAL, "TCP SYN or UDP to a service, with few hops to go but no traceroute",
    asks=NORMAL,
)  # fmt: skip
WALK = Kind("WALK", NORMAL, "to a port beside two others that the source tried", Count.PORT)
SWEEP = Kind("SWEEP", NORMAL, "to a port that the source tried on another host, too")
OPENS_ALL = Kind(
    "OPENS_ALL", NORMAL, "opens a connection to no known service, and others to services"
)
EXCESS = Kind("EXCESS", NORMAL, "what honest hosts send to few targets, and its source to many")
TINY_FRAGMENT = Kind(
    "TINY_FRAGMENT", NORMAL, "a TCP fragment too short for the flags, which no system sends"
)

# -- aggressive: what a late packet may look like, and what asks for hosts
ACK_PROBE = Kind(
    "ACK_PROBE", AGGRESSIVE,
    "TCP ACK or FIN-ACK without data and options, to a reserved port or a known service",
    Count.PORT, asks=AGGRESSIVE,
)  # fmt: skip
SYN_ACK_PROBE = Kind(
    "SYN_ACK_PROBE", AGGRESSIVE, "TCP SYN-ACK to a reserved port or a known service",
    Count.PORT, asks=AGGRESSIVE,
)  # fmt: skip
IMPOSSIBLE_FLAGS = Kind("IMPOSSIBLE_FLAGS", AGGRESSIVE, "TCP flags that never go together")
SCTP_COOKIE = Kind("SCTP_COOKIE", AGGRESSIVE, "SCTP COOKIE ECHO")
ECHO_REQUEST = Kind("ECHO_REQUEST", AGGRESSIVE, "echo request")
ICMP_QUESTION = Kind("ICMP_QUESTION", AGGRESSIVE, "ICMP time stamp, mask or information request")
PROTOCOL = Kind("PROTOCOL", AGGRESSIVE, "an IP protocol that nobody speaks")

# -- any: what honest hosts send, or may have sent
LATE_PACKET = Kind("LATE_PACKET", ANY, "a late packet of a TCP connection", asks=AGGRESSIVE)
LATE_PLAIN = Kind(
    "LATE_PLAIN", ANY,
    "a TCP SYN-ACK, or ACK without data and options, to a port of this host's own",
    asks=AGGRESSIVE, walks=FIRST_EPHEMERAL,
)  # fmt: skip
RESET = Kind("RESET", ANY, "TCP RST: a late packet or backscatter")
LATE_ANSWER = Kind(
    "LATE_ANSWER", ANY, "UDP from a service to a port of this host's own: an answer",
    asks=NORMAL, walks=FIRST_EPHEMERAL, sweeps=ANSWERED_HOSTS,
)  # fmt: skip
STRAY_UDP = Kind(
    "STRAY_UDP", ANY,
    "UDP from a port of its own to one of this host's own: media, peers, an answer",
    asks=NORMAL, walks=FIRST_EPHEMERAL, sweeps=SWEPT_HOSTS,
)  # fmt: skip
LATE_SEGMENT = Kind(
    "LATE_SEGMENT", ANY, "TCP with flags unknown, to a port of this host's own",
    asks=NORMAL, walks=FIRST_EPHEMERAL,
)  # fmt: skip
RAW_OPENING = Kind(
    "RAW_OPENING", ANY, "TCP with flags unknown and a plain SYN's length, to no known service",
    asks=NORMAL, walks=ALL, sweeps=SWEPT_HOSTS, opens=True,
)  # fmt: skip
CLIENT = Kind("CLIENT", ANY, "may be a late packet, and its source sends data as well")
CHANCE = Kind(
    "CHANCE", ANY, "to a known port, but the source's packets go to ports all over the range"
)
CALL_BACK = Kind(
    "CALL_BACK", ANY, "an ordinary system's TCP SYN to no known service: active FTP, calls back",
    asks=NORMAL, walks=FIRST_EPHEMERAL, sweeps=SWEPT_HOSTS, opens=True, limited=True,
)  # fmt: skip
TRACEROUTE = Kind("TRACEROUTE", ANY, "traceroute, mtr, tracepath", asks=NORMAL)
PEER = Kind(
    "PEER", ANY, "UDP between equal ports: time servers, tunnels, routers",
    asks=NORMAL, walks=FIRST_EPHEMERAL, sweeps=MOST_HOSTS,
)  # fmt: skip
RPC_ANSWER = Kind(
    "RPC_ANSWER", ANY, "an answer of NFS or the port mapper", asks=NORMAL, limited=True
)
FRAGMENT = Kind("FRAGMENT", ANY, "a later fragment, which tells no port")
BROADCAST = Kind("BROADCAST", ANY, "broadcast or multicast")
ICMP_OTHER = Kind("ICMP_OTHER", ANY, "ICMP errors and answers")
OTHER = Kind("OTHER", ANY, "another protocol, or ports that were not captured")

# -- never: not blocked, not the source's doing, or wanted
QUESTION = Kind("QUESTION", NEVER, "opens a connection to outside, as pf logged it", asks=NORMAL)
ANSWER = Kind("ANSWER", NEVER, "an answer to what this host asked, as pf logged it")
PASSED = Kind("PASSED", NEVER, "pf did not drop it")
OTHER_DIRECTION = Kind("OTHER_DIRECTION", NEVER, "went the other way")
NOBODY = Kind(
    "NOBODY", NEVER, "from an address that nobody can ban: 0/8, loopback, link-local, this host"
)
UNREADABLE = Kind("UNREADABLE", NEVER, "no IP packet that makes sense")
