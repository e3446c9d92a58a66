# SPDX-License-Identifier: GPL-2.0-or-later
"""Our lines beside those of the installed tcpdump."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import corpus, oracle
from tests.support.pflogs import DATA

needs_tcpdump = pytest.mark.skipif(
    not oracle.is_reference(), reason="needs the tcpdump of tcpdump.org"
)

SYN4, SYN6 = corpus.ip4(6, corpus.tcp()), corpus.ip6(6, corpus.tcp())


@needs_tcpdump
def test_corpus() -> None:
    """Every packet of the corpus, in every dialect and cut, has tcpdump's line or a meant one."""
    assert oracle.compare_all(corpus.packets()).unexplained == []


@needs_tcpdump
@pytest.mark.parametrize("folder", ["freebsd-13.2", "freebsd-15.0", "openbsd-7.7", "openbsd-7.8"])
def test_real_captures(folder: str) -> None:
    """What real kernels logged has tcpdump's lines."""
    for path in sorted((DATA / folder).glob("*.pcap*")):
        records = [(frame, length) for _, frame, length in oracle.frames(path)]
        assert records
        assert oracle.compare(records).unexplained == []


@needs_tcpdump
def test_mutated() -> None:
    """Of packets that were broken at random, less than 1 in 1000 has another line."""
    changed = corpus.mutated(seed=117, count=4000)
    dialect = oracle.DIALECTS[3]
    records = [
        (oracle.header(dialect, packet.version, number) + packet.data, packet.length + 72)
        for number, packet in enumerate(changed)
    ]
    assert len(oracle.compare(records).unexplained) < len(records) / 1000


def test_a_difference_is_found() -> None:
    """The comparison is not blind: a changed number, name or address is no meant difference."""
    line = (
        "rule 1/0(match): block in on em0: 192.0.2.1.5 > 192.0.2.2.80: Flags [S], seq 1, length 0"
    )
    for old, new in ((".80", ".81"), ("seq 1", "seq 2"), ("192.0.2.1", "192.0.2.9"), ("in", "out")):
        assert not any(is_it(line, line.replace(old, new, 1)) for is_it in oracle.INTENDED.values())


@pytest.mark.parametrize(
    ("link", "head4", "head6"),
    [
        (1, bytes(12) + b"\x08\0", bytes(12) + b"\x81\0\0\1\x86\xdd"),
        (12, b"", b""),
        (101, b"", b""),
        (0, b"\2\0\0\0", b"\x1e\0\0\0"),
        (0, b"\0\0\0\2", b"\0\0\0\x18"),
        (108, b"\0\0\0\2", b"\0\0\0\x1c"),
        (113, bytes(14) + b"\x08\0", bytes(14) + b"\x86\xdd"),
        (276, b"\x08\0" + bytes(18), b"\x86\xdd" + bytes(18)),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_link_types(tmp_path: Path, order: str, link: int, head4: bytes, head6: bytes) -> None:
    """IP packets are found in captures of every link type, of both byte orders."""
    path = tmp_path / "capture"
    content = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for frame in (head4 + SYN4, head6 + SYN6, b"no"):
        content += struct.pack(order + "IIII", 0, 0, len(frame), len(frame) + 9) + frame
    path.write_bytes(content)
    found = list(oracle.packets(path))
    assert found == [(4, SYN4, len(SYN4) + 9), (6, SYN6, len(SYN6) + 9)]


def test_pcapng(tmp_path: Path) -> None:
    """IP packets are found in pcapng as well."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size

    path = tmp_path / "capture"
    path.write_bytes(
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack("<HHI", 101, 0, 0))
        + block(6, struct.pack("<IIIII", 0, 0, 0, len(SYN4), len(SYN4)) + SYN4)
        + block(3, struct.pack("<I", len(SYN6)) + SYN6)
    )
    assert list(oracle.packets(path)) == [(4, SYN4, len(SYN4)), (6, SYN6, len(SYN6))]


@needs_tcpdump
def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command compares a folder's captures in all dialects and cuts, and counts."""
    oracle.write_savefile(
        tmp_path / "pflog", [(oracle.header(oracle.DIALECTS[3], 4, 0) + SYN4, 112)]
    )
    raw = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    (tmp_path / "raw").write_bytes(raw + struct.pack("<IIII", 0, 0, len(SYN4), len(SYN4)) + SYN4)
    monkeypatch.setattr("sys.argv", ["oracle", str(tmp_path)])
    assert oracle.main() == 0
    assert capsys.readouterr().out.startswith("2 packets, 16 lines\n      16 equal\n")
