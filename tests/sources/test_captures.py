# SPDX-License-Identifier: GPL-2.0-or-later
"""What captures come in: packed, pcapng, several at once, damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import resource
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from fail2ban_pflog.errors import PflogError
from tests.support.backtests import BEGIN, SCANNER, command, result, scan_records, write
from tests.support.pflogs import pcapng, syn

pytest.importorskip("fail2ban")

from fail2ban_pflog.cli import main
from fail2ban_pflog.pflog.pcapng import PcapngDecoder
from fail2ban_pflog.sources.captures import Captures, sizes


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


@pytest.mark.parametrize("name", ["gz", "bz2", "xz", "zst"])
def test_cut_while_packed(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a packed file that is cut all that stands before the cut is read, and it is named."""
    rnd = random.Random(9)
    records = [
        (BEGIN + index / 10, syn(SCANNER, 1 + index, rnd.getrandbits(32))) for index in range(9000)
    ]
    data = write(tmp_path / "pflog", records).read_bytes()
    if name == "zst":
        whole = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    else:
        pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[name]
        whole = pack(data[: len(data) // 2]) + pack(data[len(data) // 2 :])
    path = tmp_path / f"cut.{name}"
    path.write_bytes(whole[:-20])
    status = main(command("--json", path))
    out, err = capsys.readouterr()
    assert status == 4
    assert str(path) in err
    assert 4_000 < json.loads(out)["jails"][0]["packets"] <= 9_000


def test_the_same_file_twice(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is named, a file is read once."""
    soft, hard = tmp_path / "soft", tmp_path / "hard"
    soft.symlink_to(capture)
    os.link(capture, hard)
    expected = result(capsys, capture)
    assert main(command("--json", capture, soft, hard, f"{tmp_path}/./{capture.name}")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["jails"] == [expected]
    assert err.count("is the same file as") == 3


def test_a_file_that_grows(tmp_path: Path) -> None:
    """It is read up to where it ended at first, and a record that is cut there is no damage."""
    records = scan_records(SCANNER, range(1, 9_000), BEGIN)
    path = write(tmp_path / "grows", records)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    limits = sizes([str(path)])
    path.write_bytes(data)
    for grown in (True, False):
        messages: list[str] = []
        captures = Captures([str(path)], messages.append, limits)
        assert sum(len(batch.records) for batch in captures) == 8_998
        assert captures.bad == (not grown)
        path.write_bytes(data[:-10])


def test_many_files_at_once(tmp_path: Path) -> None:
    """More captures that overlap than this process may open by default."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = []
    for index in range(150):
        records = [(BEGIN + index / 10, syn(SCANNER, 80)), (BEGIN + 100 + index, syn(SCANNER, 81))]
        names.append(str(write(tmp_path / str(index), records)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        captures = Captures(names, pytest.fail)
        assert sum(len(batch.records) for batch in captures) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("sweeps", [False, True])
def test_fifo(
    tmp_path: Path, capture: Path, sweeps: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be read but once is."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(capture.read_bytes(),))
    writer.start()
    words = ["--sweep", "maxretry=15,16", "--"] if sweeps else []
    assert main(command("--json", *words, path)) == 0
    writer.join()
    found = json.loads(capsys.readouterr().out)
    bans = (
        found["settings"][0]["banned"]
        if sweeps
        else [ban["source"] for ban in found["jails"][0]["bans"]]
    )
    assert bans == [SCANNER]


def test_pcapng_of_several_interfaces() -> None:
    """Other interfaces' packets are passed over; of a file that has no pflog they are refused."""
    data = pcapng(scan_records(SCANNER, range(1, 6), BEGIN))
    section, pflog, packets = data[:28], data[28:60], data[60:]
    ethernet = struct.pack("<IIHxxII", 1, 20, 1, 0, 20)

    def packet(interface: int) -> bytes:
        return struct.pack("<IIIIIII4sI", 6, 36, interface, 0, 0, 4, 4, b"abcd", 36)

    assert len(PcapngDecoder().feed(section + pflog + ethernet + packet(1) + packets)) == 5
    with pytest.raises(PflogError, match="link type 1"):
        PcapngDecoder().feed(section + ethernet + packet(0))
    # Each packet of a foreign interface looked through all of them: this took minutes.
    many = section + 50_000 * ethernet + pflog + 50_000 * packet(1)
    assert PcapngDecoder().feed(many) == []


@pytest.mark.parametrize(
    ("block", "messages"),
    [
        (struct.pack("<IIIII", 3, 20, 4, 0, 20), "no time"),
        (struct.pack("<IIIIIIII", 6, 32, 0, 0xFFFFFFFF, 0, 0, 0, 32), "time is"),
    ],
)
def test_pcapng_without_a_time(block: bytes, messages: str) -> None:
    """Packets without a time, or one that no savefile can hold, are refused."""
    data = pcapng([])
    with pytest.raises(PflogError, match=messages):
        PcapngDecoder().feed(data + block)


def test_damaged_and_foreign(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged or foreign file is named, the good ones are replayed, the status says so."""
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
