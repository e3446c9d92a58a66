# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare our lines with tcpdump's: python -m tests.support.oracle [--show N] CAPTURE_OR_FOLDER...

Takes the IP packets out of ordinary captures (pcap or pcapng; Ethernet, raw IP, Linux
cooked, null and loop link types), puts pflog headers of every dialect before them, at
full length and cut at snaplens 116 and 160, and runs the installed tcpdump (or the one
that the environment variable TCPDUMP names) and our printer over them.

Every line must be equal, or differ in one of the ways of ``INTENDED``, which
docs/lines.md explains; those are counted by kind.  Anything else is shown and makes
the exit status 1.  Captures that hold pflog frames already are compared as they are.
"""

from __future__ import annotations

import argparse
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Union

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.formatter import MAX_LINE, Formatter
from tests.support.packets import NO_SUBRULE, pflog_header

TCPDUMP = os.environ.get("TCPDUMP", "tcpdump")
SNAPLENS = (65_535, 160, 116)
MAX_LENGTH = 262_000  # tcpdump prints no record with a length above 262144
EPOCH = 1_000_000_000  # packet i of a comparison is stamped EPOCH + i seconds


# -- Packets out of captures ---------------------------------------------------------


class Packet(NamedTuple):
    """An IP packet of a capture.

    version: 4 or 6, as the link layer says.  data: as captured.  length: on the wire.
    """

    version: int
    data: bytes
    length: int


def _ethertype(frame: bytes, at: int) -> Optional[tuple[int, int]]:
    """(IP version, offset of the packet), behind any VLAN tags; None if it is not IP."""
    while at + 2 <= len(frame):
        kind = int.from_bytes(frame[at : at + 2], "big")
        at += 2
        if kind in (0x8100, 0x88A8, 0x9100):
            at += 2
        else:
            version = {0x0800: 4, 0x86DD: 6}.get(kind)
            return (version, at) if version else None
    return None


def _first_nibble(frame: bytes) -> Optional[tuple[int, int]]:
    version = frame[0] >> 4 if frame else 0
    return (version, 0) if version in (4, 6) else None


def _family(frame: bytes, orders: str) -> Optional[tuple[int, int]]:
    for order in orders:
        (family,) = struct.unpack_from(order + "I", frame)
        if family in (2, 10, 24, 28, 30):
            return (4 if family == 2 else 6, 4)
    return None


LINKS: dict[int, Callable[[bytes], Optional[tuple[int, int]]]] = {
    0: lambda frame: _family(frame, "<>"),
    1: lambda frame: _ethertype(frame, 12),
    12: _first_nibble,
    14: _first_nibble,
    101: _first_nibble,
    108: lambda frame: _family(frame, ">"),
    113: lambda frame: _ethertype(frame, 14),
    228: lambda _: (4, 0),
    229: lambda _: (6, 0),
    276: lambda frame: (lambda found: found and (found[0], 20))(_ethertype(frame, 0)),
}
"""Link type -> where in its frames an IP packet starts."""


def frames(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """(link type, frame as captured, length on the wire) of a pcap or pcapng file."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(data)
        return
    orders = {b"\xa1\xb2": ">", b"\xd4\xc3": "<", b"\x4d\x3c": "<"}
    order = orders.get(data[:2])
    if order is None or len(data) < 24:
        return
    link = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    at = 24
    while at + 16 <= len(data):
        caplen, length = struct.unpack_from(order + "II", data, at + 8)
        if caplen > 262_144:
            return
        yield link, data[at + 16 : at + 16 + caplen], length
        at += 16 + caplen


def _pcapng(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    links: list[int] = []
    order, at = "<", 0
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or at + size > len(data):
            return
        if kind == 1:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == 6 and size >= 32:
            interface, _, _, caplen, length = struct.unpack_from(order + "IIIII", data, at + 8)
            if interface < len(links):
                yield links[interface], data[at + 28 : at + 28 + caplen], length
        elif kind == 3 and links:
            (length,) = struct.unpack_from(order + "I", data, at + 8)
            yield links[0], data[at + 12 : at + size - 4][:length], length
        at += size


def packets(path: Path) -> Iterator[Packet]:
    """The IP packets of a capture."""
    for link, frame, length in frames(path):
        if link not in LINKS or len(frame) < 4:
            continue
        found = LINKS[link](frame)
        if found and found[1] <= len(frame):
            version, at = found
            wire = min(max(length, len(frame)) - at, MAX_LENGTH)
            yield Packet(version, frame[at:], wire)


# -- Frames of all dialects ----------------------------------------------------------


class Dialect(NamedTuple):
    """A header length and the address families of one system."""

    length: int
    af6: int
    uid: int


DIALECTS = (
    Dialect(61, 24, 0x7FFFFFFF),  # NetBSD
    Dialect(61, 28, 0xFFFFFFFF),  # FreeBSD 7-13.0
    Dialect(61, 30, 0x7FFFFFFF),  # macOS
    Dialect(69, 28, 0xFFFFFFFF),
    Dialect(100, 24, 0xFFFFFFFF),
)
"""Those that tcpdump 4.99 reads; the 45-byte header has tests of its own."""


def header(dialect: Dialect, version: int, number: int) -> bytes:
    """Build a header; its values vary with ``number``, among those that all systems know."""
    reasons = (0, 0, 0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)  # not 3 and 4, see INTENDED
    actions = (0, 1, 1, 1, 2, 4, 5, 6, 7, 8, 9, 10)
    return pflog_header(
        dialect.length,
        family=2 if version == 4 else dialect.af6,
        action=actions[number % len(actions)],
        reason=reasons[number % len(reasons)],
        ifname=("vtnet0", "igb0.10", "ix0_vlan30")[number % 3],
        ruleset=(b"", b"sshd", b"bbeck(20267)")[number % 3],
        rule=number % 50,
        subrule=NO_SUBRULE if number % 3 == 0 else number,
        uid=dialect.uid,
        direction=number % 3,
    )


def write_savefile(path: Path, records: Iterable[tuple[bytes, int]]) -> None:
    """Write (frame as captured, length on the wire), a second apart from EPOCH on."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 117))
        for index, (frame, length) in enumerate(records):
            out.write(struct.pack("<IIII", EPOCH + index, 0, len(frame), length) + frame)


# -- Both printers -------------------------------------------------------------------


@lru_cache(1)
def _version() -> tuple[int, ...]:
    result = subprocess.run([TCPDUMP, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"tcpdump version ([\d.]+)", result.stdout + result.stderr)
    return tuple(map(int, found.group(1).split("."))) if found else ()


def is_reference() -> bool:
    """Return whether the installed tcpdump is tcpdump.org's; OpenBSD's has other words."""
    return shutil.which(TCPDUMP) is not None and bool(_version())


def theirs(path: Path) -> dict[int, str]:
    """tcpdump's first line of each record, by the record's number."""
    result = subprocess.run(
        [TCPDUMP, "-e", "-n", "-tt", "-r", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    lines: dict[int, str] = {}
    for line in result.stdout.decode("latin-1").split("\n"):
        found = re.match(r"(\d+)\.000000 ", line)
        if found:
            lines.setdefault(int(found.group(1)) - EPOCH, line[found.end() :])
    return lines


def ours(records: Iterable[tuple[bytes, int]]) -> Iterator[str]:
    """Our line of each record."""
    formatter = Formatter("<")
    for frame, length in records:
        try:
            yield formatter.line(frame, length)
        except PflogError as error:
            yield f"[{error}]"


# -- What may differ -----------------------------------------------------------------

_ADDRESS = r"[0-9a-f.:]+"
_PORTS = rf"({_ADDRESS}\.)?\d+ > ({_ADDRESS}\.)?\d+: "


def _application_udp(mine: str, other: str) -> bool:
    """UDP: we print the length, tcpdump what the ports promise."""
    found = re.search(rf"{_PORTS}(?=UDP, )", mine)
    return bool(found) and other.startswith(mine[: found.end()])  # type: ignore[union-attr]


def _application_tcp(mine: str, other: str) -> bool:
    """TCP: tcpdump goes on into the data."""
    return (
        ": Flags [" in mine
        and bool(re.search(r", length [1-9]\d*$", mine))
        and other.startswith(mine)
    )


def _inside(mine: str, other: str) -> bool:
    """Another protocol's inside: we end with its own header's words."""
    if "proto unknown (0x" in mine:  # GRE's: we name few
        other = re.sub(r"proto [^(]+ (?=\(0x)", "proto unknown ", other, count=1)
    return other.startswith(mine) and bool(re.search(r" GREv\d| igmp |: sctp", mine))


_LIES = r"HBH .*(\(invalid\)|invalid len \d+|\[\|hbhopt\]|truncated-ip6 )|(HBH|DSTOPT) +\[\|ip6\]"


def _hop_by_hop(mine: str, other: str) -> bool:
    """Invalid hop-by-hop options, and jumbograms: we do not look at them."""
    found = re.search(r"HBH | \[\|(hbh|dstopt)\]$", mine)
    if not found or not (found[1] or re.search(_LIES, other)):
        return False
    return other.startswith(mine[: found.start()])


def _generic(mine: str, other: str) -> bool:
    """A protocol that tcpdump decodes and we do not."""
    found = re.search(r" ip-proto-(\d+) \d+$", mine)
    if mine.endswith((": igmp-30", ": igmp-31")):  # traces
        return other.startswith(mine[: -len("igmp-30")])
    if not found:
        return False
    protocol = int(found.group(1))
    before = mine[: found.start()]
    # DCCP's printer writes the addresses, with ports, itself.
    return protocol in GENERIC and (other.startswith(before) or protocol == 33)


GENERIC = frozenset({4, 8, 9, 33, 41, 46, 55, 62, 88, 103, 113, 135, 143})
"""IP protocols that have the generic form here and a printer in tcpdump."""


def _generic_icmp(mine: str, other: str) -> bool:
    """ICMP messages of which we print the type and the length, and tcpdump more."""
    more = r"(?:, unknown unreach code \(\d+\)|, unreachable port)?"
    found = re.search(rf" ICMP(6,)? [A-Za-z0-9 #()-]+{more}(?=, length \d+$)", mine)
    if not found:
        return False
    cut = other.startswith(mine[: found.start()]) and other.endswith("[|icmp]")
    return cut or other.startswith(mine[: found.end()])


def _generic_option(mine: str, other: str) -> bool:
    """TCP options that we print as bytes, and tcpdump decodes."""
    found = re.search(r", options \[(.*?,)??(md5|scps|uto|tcp-ao|mptcp|exp)(?= 0x|,|\])", mine)
    return bool(found) and other.startswith(mine[: found.start(2)])  # type: ignore[union-attr]


def _long(mine: str, other: str) -> bool:
    """Lines of more than MAX_LINE characters are cut."""
    return len(mine) == MAX_LINE and other.startswith(mine[: MAX_LINE - len(" [...]")])


_HEADER = re.compile(
    r"(?P<rule>rule \S+/)(?P<reason>[^ :]+)( \[\w+ \d+\])*: (?P<action>\S+) (?P<way>\S+) on "
)


def _header_words(mine: str, other: str) -> bool:
    """Names of numbers that this tcpdump does not know, and fields that it does not print.

    Before 4.99.5 it had the names of reasons 3 and 4 wrong.
    """
    ours, its = _HEADER.match(mine), _HEADER.match(other)
    if not ours or not its or ours["rule"] != its["rule"]:
        return False
    known = ("reason", "action", "way")
    same = all(ours[name] == its[name] or its[name].startswith("unkn(") for name in known)
    wrong = (ours["reason"], its["reason"]) == ("4(normalize)", "3(short)")
    rest = its[0] + mine[ours.end() :]
    return (same or wrong) and ours[0] != its[0] and (rest == other or bool(_kind(rest, other)))


def _kind(mine: str, other: str) -> Optional[str]:
    """Which intended difference there is between two lines; None where it is none."""
    return next((name for name, is_it in INTENDED.items() if is_it(mine, other)), None)


def _missing(found: re.Match[str]) -> str:
    return str(int(found.group(1)) - int(found.group(2)))


OLDER_WORDS: tuple[tuple[str, Union[str, Callable[[re.Match[str]], str]]], ...] = (
    (r"\[total length \d+ > length \d+\] \(invalid\)  (\[\|ip\])$", r" \1"),
    (
        r"\[total length (\d+) > length (\d+)\] \(invalid\) ",
        lambda found: f"truncated-ip - {_missing(found)} bytes missing! ",
    ),
    (
        r"\[header\+payload length (\d+) > length (\d+)\] \(invalid\) ",
        lambda found: f"truncated-ip6 - {_missing(found)} bytes missing!",
    ),
    (r"\[total length (\d+) < header length \d+\] \(invalid\)", r"bad-len \1"),
    (r" \[header length (\d+) < 20\] \(invalid\)", r"bad-hlen \1"),
    (r" \[version 6 != 4\] \(invalid\)", "IP6, wrong link-layer encapsulation (invalid)"),
    (r" \[version (\d+) != 4\] \(invalid\)", r"IP\1 (invalid)"),
    (r" \[version (\d+) != 6\] \(invalid\)", r"version error: \1 != 6"),
    (r" \[length \d+ < 20\] \(invalid\)$", " [|ip]"),
    (r" \[length \d+ < 40\] \(invalid\)$", " [|ip6]"),
    (r"ICMP6, node information (query|reply)(?=[, ])", r"ICMP6, who-are-you \1"),
    (r"who-are-you query", "who-are-you request"),
    (r"(?<=[\[,])ccecho", ""),
    (r" \[length (\d+)\] \(invalid\)$", r" (invalid length \1) (invalid)"),
    (r"(, length \d+) \[\|(?:mp)?tcp\]>?$", r"\1"),
)
"""What 4.99.6 says in other words than tcpdump before it did: (4.99.6's, the older)."""


def _older(mine: str, other: str) -> bool:
    """tcpdump before 4.99.6, in other words or before a check that it lacked."""
    if _version() >= (4, 99, 6):
        return False
    older = mine
    for new, old in OLDER_WORDS:
        older = re.sub(new, old, older)
    if other == older or any(
        is_it(older, other) for name, is_it in INTENDED.items() if is_it is not _older
    ):
        return True
    packet = other.split(" on ", 1)[-1].split(": ", 1)[-1]
    return (
        # A total length of 0 and a version were looked at later, or not at all.
        packet in ("bad-len 0", " [|ip]", " [|ip6]")
        or re.fullmatch(r"IP\d+(, wrong link-layer encapsulation)? \(invalid\)", packet) is not None
        or (packet.startswith("truncated-ip") and packet.endswith("bad-len 0"))
        # Invalid hop-by-hop options and fragments.
        or ("[|hbhopt]" in other and other.startswith(mine.split(" [")[0].rstrip()))
        or ("frag (" in older and other.startswith(older[: older.index("frag (")]))
    )


INTENDED: dict[str, Callable[[str, str], bool]] = {
    "UDP application data": _application_udp,
    "TCP application data": _application_tcp,
    "inside of another protocol": _inside,
    "hop-by-hop options and jumbograms": _hop_by_hop,
    "generic form": _generic,
    "generic ICMP": _generic_icmp,
    "generic TCP option": _generic_option,
    "cut at MAX_LINE": _long,
    "header: numbers and fields that tcpdump does not know": _header_words,
    "words of tcpdump before 4.99.6": _older,
}
"""Kinds of differences that are meant: from our line and tcpdump's to whether it is one."""


# -- The comparison ------------------------------------------------------------------


class Result(NamedTuple):
    """What a comparison found.

    equal: how many lines were.  intended: how many differ, by kind.
    unexplained: (our line, tcpdump's) of all others.
    """

    equal: int
    intended: Counter[str]
    unexplained: list[tuple[str, str]]


def compare(records: list[tuple[bytes, int]]) -> Result:
    """Run both printers over (frame as captured, length on the wire)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.pcap"
        write_savefile(path, records)
        reference = theirs(path)
    equal = 0
    intended: Counter[str] = Counter()
    unexplained = []
    for index, mine in enumerate(ours(records)):
        other = reference.get(index, "")
        if mine == other:
            equal += 1
            continue
        kind = _kind(mine, other)
        if kind:
            intended[kind] += 1
        else:
            unexplained.append((mine, other))
    return Result(equal, intended, unexplained)


def variants(source: list[Packet]) -> Iterator[list[tuple[bytes, int]]]:
    """The packets as frames of every dialect and snaplen."""
    for dialect in DIALECTS:
        built = [
            (header(dialect, packet.version, number) + packet.data, packet.length)
            for number, packet in enumerate(source)
        ]
        size = (dialect.length + 3) & ~3
        for snaplen in SNAPLENS:
            yield [(frame[:snaplen], length + size) for frame, length in built]


def compare_all(source: list[Packet]) -> Result:
    """Compare the packets in every dialect and at every snaplen."""
    total = Result(0, Counter(), [])
    for records in variants(source):
        found = compare(records)
        total.intended.update(found.intended)
        total = Result(
            total.equal + found.equal, total.intended, total.unexplained + found.unexplained
        )
    return total


def _files(names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def main() -> int:
    """Compare what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--show", type=int, default=20, help="how many unexplained lines to show")
    parser.add_argument("paths", nargs="+", metavar="CAPTURE_OR_FOLDER")
    arguments = parser.parse_args()
    source: list[Packet] = []
    pflog: list[tuple[bytes, int]] = []
    for path in _files(arguments.paths):
        source += packets(path)
        pflog += [(frame, length) for link, frame, length in frames(path) if link == 117]
    if not source and not pflog:
        sys.exit("no IP packets found")
    found = compare_all(source)
    as_they_are = compare(pflog)
    found.intended.update(as_they_are.intended)
    unexplained = found.unexplained + as_they_are.unexplained
    equal = found.equal + as_they_are.equal
    lines = equal + sum(found.intended.values()) + len(unexplained)
    print(f"{len(source) + len(pflog)} packets, {lines} lines")
    print(f"{equal:8} equal")
    for kind, count in found.intended.most_common():
        print(f"{count:8} differ as intended: {kind}")
    print(f"{len(unexplained):8} differ unexplained ({100 * len(unexplained) / lines:.3f} %)")
    for mine, other in unexplained[: arguments.show]:
        print(f"ours:   {mine}\ntheirs: {other}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
