"""What captures come in: packed, pcapng, several at once, damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from fail2ban_pflog.errors import PflogError
from tests.backtests import BEGIN, SCANNER, command, result, scan_records, write
from tests.pflogs import syn

pytest.importorskip("fail2ban")

from fail2ban_pflog.backtest.captures import Captures
from fail2ban_pflog.backtest.pcapng import PcapngDecoder
from fail2ban_pflog.cli import main


def pcapng(records: list[tuple[float, bytes]], order: str = "<", units: int = 6) -> bytes:
    """A pcapng file: section, one interface of pflog's link type, enhanced packets."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    option = struct.pack(order + "HHB3xHH", 9, 1, units, 0, 0)
    interface = block(1, struct.pack(order + "HxxI", 117, 0) + option)
    packets = b""
    for when, frame in records:
        ticks = round(when * 10**6) * 10 ** (units - 6)
        head = struct.pack(
            order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
        )
        packets += block(6, head + frame)
    return section + interface + packets


def test_packed_captures(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file is packed in shows in its first bytes, and makes no difference."""
    data = capture.read_bytes()
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    expected = result(capsys, capture)
    for name, pack in packed.items():
        path = tmp_path / f"packed-{name}"
        path.write_bytes(pack(data))
        assert result(capsys, path) == expected


def test_zstd(tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """zstd is read by Python's own library or the package zstandard."""
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "pflog.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(capture.read_bytes()))
    assert result(capsys, path) == result(capsys, capture)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("units", [6, 9])
def test_pcapng(order: str, units: int) -> None:
    """pcapng in both byte orders and units of time, fed whole and byte by byte."""
    records = scan_records(SCANNER, range(1, 6), BEGIN)
    data = pcapng(records, order, units)
    expected = [(int(when), round(when % 1 * 1e6), frame) for when, frame in records]
    whole, bytewise = PcapngDecoder(), PcapngDecoder()
    assert whole.feed(data) == expected
    assert [each for byte in data for each in bytewise.feed(bytes((byte,)))] == expected
    assert (whole.byteorder, whole.pending, bytewise.pending) == (order, 0, 0)


def test_pcapng_noise() -> None:
    """Noise and cut files are records or our own error, never anything else."""
    rnd = random.Random(5)
    good = pcapng(scan_records(SCANNER, range(1, 6), BEGIN))
    for _ in range(3000):
        data = bytearray(good[: rnd.randrange(len(good))])
        for _ in range(rnd.randrange(6)):
            if data:
                data[rnd.randrange(len(data))] = rnd.randrange(256)
        decoder = PcapngDecoder()
        try:
            decoder.feed(bytes(data))
            decoder.feed(b"")
        except PflogError:
            pass


@pytest.mark.skipif(not shutil.which("editcap"), reason="needs editcap")
def test_pcapng_of_wireshark(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pcapng file that Wireshark's editcap wrote is read as the savefile is."""
    path = tmp_path / "pflog.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", capture, path], check=True, timeout=60)
    assert result(capsys, path) == result(capsys, capture)


def test_merged_by_time(tmp_path: Path) -> None:
    """Packets of several files come in the order of their times, whatever the files' order."""
    rnd = random.Random(7)
    times = sorted(BEGIN + rnd.uniform(0, 100) for _ in range(900))
    parts: list[list[tuple[float, bytes]]] = [[], [], [], []]
    for index, when in enumerate(times):
        part = 3 if index > 700 else rnd.randrange(3)
        parts[part].append((when, syn(SCANNER, 1 + index)))
    names = [str(write(tmp_path / f"part{index}", part)) for index, part in enumerate(parts)]
    captures = Captures(reversed(names), pytest.fail)
    merged = [each for batch in captures for each in batch.records]
    assert [each[:2] for each in merged] == sorted(each[:2] for each in merged)
    assert len(merged) == 900
    assert captures.done == captures.size


def test_damaged_and_foreign(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged or foreign file is named, the good ones are judged, the status tells."""
    foreign = tmp_path / "foreign"
    foreign.write_text("no savefile at all, but a text\n")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(capture.read_bytes())[:-40])
    status = main(command("--json", foreign, cut, capture, tmp_path / "missing"))
    out, err = capsys.readouterr()
    assert status == 4
    assert json.loads(out)["jails"][0]["packets"] >= 80
    for name in (foreign, cut, tmp_path / "missing"):
        assert str(name) in err
