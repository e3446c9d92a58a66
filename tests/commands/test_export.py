# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflog export: columns, restarts, captures that grow or are damaged, and troubles."""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow (`make test` installs it)")

from pyarrow import dataset, parquet

from fail2ban_pflog.cli import main
from fail2ban_pflog.commands.export import parts
from fail2ban_pflog.commands.export.columns import table
from fail2ban_pflog.commands.export.store import Store
from fail2ban_pflog.pflog.fields import Fields, fields, measures
from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.policy.classifier import Classifier
from fail2ban_pflog.policy.kinds import MODES
from fail2ban_pflog.sources import captures
from fail2ban_pflog.sources.captures import Captures
from tests.support import corpus, oracle
from tests.support.pflogs import DATA, pcapng, record, savefile_header, syn

ROOT = Path(__file__).parents[2]
CAPTURE = DATA / "freebsd-13.2" / "block-all.pflogd.pcap"
CAPTURES = sorted(map(str, DATA.glob("*/*.pflogd.pcap*")))
DAY = 86_400
BEGIN = 1_795_305_600 + DAY // 2
"""Noon of 2026-11-22, UTC."""

Export = Callable[..., int]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Export captures of the host fw to ``tmp_path/to``."""

    def run(*arguments: object, host: str = "fw") -> int:
        return main(["export", "--to", str(tmp_path / "to"), "--host", host, *map(str, arguments)])

    return run


def savefile(path: Path, *times: float) -> Path:
    """Write a savefile with a packet at each of these times."""
    packets = [record(when, syn("198.51.100.7", 1 + n)) for n, when in enumerate(times)]
    path.write_bytes(savefile_header() + b"".join(packets))
    return path


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """All packets of the directory, in the order of their times."""
    found = dataset.dataset(tmp_path / "to", partitioning="hive", format="parquet")
    return sorted(found.to_table().to_pylist(), key=lambda row: row["time"])


def files(tmp_path: Path) -> dict[str, int]:
    """The Parquet files with their inodes."""
    top = tmp_path / "to"
    return {str(path.relative_to(top)): path.stat().st_ino for path in top.glob("host=*/day=*/*")}


# -- columns -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["freebsd-13.2/block-all", "openbsd-7.8/block-all", "labelled/scrub"]
)
def test_columns_are_those_of_json(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Each packet has the values that print --json gives, time included, in its UTC day."""
    name = str(DATA / f"{name}.pflogd.pcap")
    assert export(name) == 0
    capsys.readouterr()
    assert main(["print", "--json", name]) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    files_ = dataset.dataset(tmp_path / "to", partitioning="hive", format="parquet")
    added = ["why", "mode", "source_network", "host", "day"]
    assert files_.schema.names == ["time", *Fields._fields, *added]
    got = files_.to_table().to_pylist()
    assert len(got) == len(expected)
    for row, packet in zip(got, expected):
        assert row.pop("time") == datetime.fromisoformat(packet.pop("time"))
        assert {name: row[name] for name in packet} == packet
        assert row["host"] == "fw"
    assert {row["day"] for row in got} <= {"2026-11-22", "2026-11-24"}


def test_columns_of_odd_packets() -> None:
    """So it is with packets that are cut, fragmented, chained, or lie, in all dialects."""
    frames = [frame for some in oracle.variants(corpus.packets()[::5]) for frame, _ in some]
    decode, kind = Decoder("<").packet, Classifier().kind
    packets = [decode(frame) for frame in frames]
    found = table(
        [
            (1, 2, frame, packet, measures(packet, frame), kind(0.0, packet, frame))
            for frame, packet in zip(frames, packets)
        ]
    ).to_pylist()
    assert len(found) > 10_000
    for row, packet, frame in zip(found, packets, frames):
        expected = fields(packet, frame)._asdict()
        assert {name: row[name] for name in expected} == expected


def test_why_is_what_a_jail_finds(tmp_path: Path, export: Export) -> None:
    """The reason is that of the backend; the mode is the lowest that counts it."""
    name = str(DATA / "lab" / "lab.pflogd.pcap")
    assert export(name) == 0
    classifier = Classifier()
    expected = []
    for order, records in Captures([name], pytest.fail):
        decode = Decoder(order).packet
        for seconds, microseconds, frame in records:
            packet = decode(frame)
            why = classifier.kind(seconds + microseconds / 1e6, packet, frame)
            mode = next((name for name in MODES if MODES[name] >= why.rank), None)
            expected.append((why.name, mode))
    assert [(row["why"], row["mode"]) for row in rows(tmp_path)] == expected
    assert {"WALK", "SWEEP", "CALL_BACK"} <= {why for why, _ in expected}


def test_the_policy_goes_on_over_a_rotation(tmp_path: Path, export: Export) -> None:
    """A capture in two files is classified as in one, whether or not one of them was there."""
    records = [
        each
        for batch in Captures([str(DATA / "lab" / "lab.pflogd.pcap")], pytest.fail)
        for each in batch.records
    ]
    half = len(records) // 2
    old, new, whole = (tmp_path / name for name in ("pflog.0", "pflog", "whole"))
    for path, part in ((old, records[:half]), (new, records[half:]), (whole, records)):
        packets = [record(seconds + micros / 1e6, frame) for seconds, micros, frame in part]
        path.write_bytes(savefile_header() + b"".join(packets))
    assert export(whole) == 0
    expected = [row["why"] for row in rows(tmp_path)]
    shutil.rmtree(tmp_path / "to")
    assert export(old) == export(new, old) == 0
    assert [row["why"] for row in rows(tmp_path)] == expected


# -- again and again -----------------------------------------------------------------------


def test_what_is_there_is_not_done_again(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run writes nothing, also of captures that were renamed or packed meanwhile."""
    paths = [tmp_path / Path(name).name for name in CAPTURES[:3]]
    for name, path in zip(CAPTURES, paths):
        shutil.copy(name, path)
    assert export(*paths) == 0
    before = files(tmp_path)
    packets = rows(tmp_path)
    capsys.readouterr()
    paths[0].rename(renamed := tmp_path / "pflog.0")
    assert export(renamed, *paths[1:]) == 0
    assert capsys.readouterr().out == "0 captures exported, 0 packets; 3 were there already\n"
    assert files(tmp_path) == before
    packed = tmp_path / "pflog.1.gz"
    packed.write_bytes(gzip.compress(renamed.read_bytes()))
    assert export(packed, *paths[1:]) == 0
    assert set(files(tmp_path)) == set(before)
    assert rows(tmp_path) == packets
    capsys.readouterr()
    assert export(packed, renamed, *paths[1:]) == 0
    assert capsys.readouterr().out.endswith("; 4 were there already\n")


@pytest.mark.parametrize("convert", [bytes, gzip.compress, lzma.compress, None])
def test_a_capture_that_grew(
    tmp_path: Path, export: Export, convert: Optional[Callable[[bytes], bytes]]
) -> None:
    """A capture that grew, and was packed or became pcapng, is done anew; no packet is twice."""
    times = [BEGIN + 3600 * number for number in range(40)]
    path = savefile(tmp_path / "pflog", *times[:20])
    assert export(path) == 0
    assert [row["destination_port"] for row in rows(tmp_path)] == list(range(1, 21))
    savefile(path, *times)
    if convert is None:
        path.write_bytes(
            pcapng([(when, syn("198.51.100.7", 1 + n)) for n, when in enumerate(times)])
        )
    else:
        path.write_bytes(convert(path.read_bytes()))
    assert export(path) == 0
    assert [row["destination_port"] for row in rows(tmp_path)] == list(range(1, 41))
    assert {row["day"] for row in rows(tmp_path)} == {"2026-11-22", "2026-11-23", "2026-11-24"}


def test_a_capture_with_fewer_packets(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy that begins alike and has fewer packets takes nothing away, and is named once."""
    whole = savefile(tmp_path / "whole", *range(BEGIN, BEGIN + 30))
    copy = savefile(tmp_path / "copy", *range(BEGIN, BEGIN + 10))
    assert export(whole) == export(copy) == 0
    assert len(rows(tmp_path)) == 30
    message = f"{copy}: begins as {whole} did and has fewer packets, 10 instead of 30: those stay\n"
    assert capsys.readouterr().err == message
    assert export(copy) == 0
    assert capsys.readouterr().err == ""


def test_a_day_that_was_removed_comes_back(tmp_path: Path, export: Export) -> None:
    """Captures of which a part is missing are done again."""
    path = savefile(tmp_path / "pflog", BEGIN, BEGIN + DAY)
    assert export(path) == 0
    before = set(files(tmp_path))
    shutil.rmtree(tmp_path / "to" / "host=fw" / "day=2026-11-23")
    assert export(path) == 0
    assert set(files(tmp_path)) == before


def test_hosts_are_apart(tmp_path: Path, export: Export) -> None:
    """The same capture of two hosts is two."""
    path = savefile(tmp_path / "pflog", BEGIN)
    assert export(path, host="a") == export(path, host="b.example.net") == 0
    assert [row["host"] for row in rows(tmp_path)] == ["a", "b.example.net"]


class _Killed(BaseException):
    """As if the machine went down."""


@pytest.mark.parametrize("step", range(12))
def test_interrupted_anywhere(
    tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whatever is interrupted is done by the next run: all packets are there, each once."""
    path = savefile(tmp_path / "pflog", *(BEGIN + DAY * number / 2 for number in range(6)))
    assert export(path) == 0
    savefile(path, *(BEGIN + DAY * number / 2 for number in range(8)))
    calls = 0

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise _Killed
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing(Path.replace))
        patch.setattr(os, "fsync", failing(os.fsync))
        with contextlib.suppress(_Killed):
            export(path)
    assert calls > step
    for name in files(tmp_path):
        assert parquet.read_table(tmp_path / "to" / name, partitioning=None).num_rows > 0
    ports = [row["destination_port"] for row in rows(tmp_path)]
    assert ports == sorted(set(ports))
    assert len(ports) >= 6
    assert export(path) == 0
    assert [row["destination_port"] for row in rows(tmp_path)] == list(range(1, 9))
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]


def test_killed_process(tmp_path: Path) -> None:
    """A run that is killed leaves whole files only; the next one completes them."""
    paths = []
    for number in range(20):
        path = tmp_path / f"pflog.{number}"
        paths.append(savefile(path, *range(BEGIN + number * 5000, BEGIN + number * 5000 + 2000)))
    command = [sys.executable, "-m", "fail2ban_pflog.cli", "export", "--to", tmp_path / "to"]
    command += ["--host", "fw", *paths]
    for number in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        ) as process:
            assert process.stdout
            process.stdout.readline()
            os.killpg(process.pid, number)
            assert process.wait(20) == (130 if number == signal.SIGINT else -number)
        done = [name for name in files(tmp_path) if name.endswith(".parquet")]
        assert done
        for name in done:
            assert parquet.read_table(tmp_path / "to" / name, partitioning=None).num_rows > 0
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (finished.stderr, finished.returncode) == ("", 0)
    assert len(rows(tmp_path)) == 40_000
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]


def test_two_runs_at_once(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run for the same host says so and ends; one for another host works."""
    path = savefile(tmp_path / "pflog", BEGIN)
    with Store(tmp_path / "to", "fw").open():
        assert export(path) == 2
        held = f"{tmp_path}/to/host=fw: another export is writing there"
        assert capsys.readouterr().err == f"fail2ban-pflog export: {held}\n"
        assert export(path, host="other") == 0
    assert export(path) == 0


# -- captures of all kinds, and what is wrong with them --------------------------------------


def test_several_days_and_row_groups(
    tmp_path: Path, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day's packets are in its file, in order, however many row groups it takes."""
    monkeypatch.setattr(parts, "PIECE", 7)
    monkeypatch.setattr(parts, "ROW_GROUP", 100)
    monkeypatch.setattr(captures, "CHUNK", 1000)
    path = savefile(tmp_path / "pflog", *(BEGIN + 300 * number for number in range(1000)))
    assert export(path) == 0
    assert [row["destination_port"] for row in rows(tmp_path)] == list(range(1, 1001))
    found = [parquet.ParquetFile(tmp_path / "to" / name) for name in sorted(files(tmp_path))]
    assert [each.metadata.num_rows for each in found] == [144, 288, 288, 280]
    assert [each.metadata.num_row_groups for each in found] == [2, 3, 3, 3]


def test_clock_that_jumps(
    tmp_path: Path,
    export: Export,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Packets of a day that was closed make another part of it; endless jumps are reported."""
    times = [BEGIN + DAY * (number * 7 % 10) for number in range(40)]
    path = savefile(tmp_path / "pflog", *times)
    assert export(path) == 0
    assert len(files(tmp_path)) == 40
    assert sorted(row["destination_port"] for row in rows(tmp_path)) == list(range(1, 41))
    monkeypatch.setattr(parts, "MAX_PARTS", 15)
    shutil.rmtree(tmp_path / "to")
    assert export(path) == 4
    assert "jump from day to day 15 times; the rest of it is skipped" in capsys.readouterr().err
    assert sorted(row["destination_port"] for row in rows(tmp_path)) == list(range(1, 16))


def test_damaged_captures(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are named, each time; what stands before the damage and the others are exported."""
    good = savefile(tmp_path / "good", BEGIN, BEGIN + 1)
    damaged = savefile(tmp_path / "damaged", BEGIN + 2, BEGIN + 3)
    damaged.write_bytes(damaged.read_bytes() + bytes(64))
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(b"A" * 100))
    missing = tmp_path / "missing"
    for _ in range(2):
        assert export(good, damaged, packed, missing) == 4
        assert sorted(capsys.readouterr().err.splitlines()) == [
            f"{damaged}: record header is all zero; the rest of it is skipped",
            f"{missing}: No such file or directory; skipped",
            f"{packed}: no savefile: starts with 41414141; skipped",
        ]
        assert len(rows(tmp_path)) == 4
    savefile(damaged, BEGIN + 2, BEGIN + 3, BEGIN + 4)
    assert export(damaged) == 0
    assert len(rows(tmp_path)) == 5


def test_frames_that_are_no_pflog(
    tmp_path: Path, export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames without a header are counted and left out; an empty file is nothing at all."""
    path = savefile(tmp_path / "pflog", BEGIN)
    with path.open("ab") as file:
        file.write(record(BEGIN, b"\x07x"))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert export(path, empty) == 0
    assert capsys.readouterr().err == f"{path}: 1 frames could not be decoded\n"
    assert len(rows(tmp_path)) == 1


def test_standard_input(tmp_path: Path) -> None:
    """A stream is exported as the file is; doing both counts nothing twice."""
    command = [sys.executable, "-m", "fail2ban_pflog.cli", "export", "--to", tmp_path / "to", "-"]
    for _ in range(2):
        with (
            CAPTURE.open("rb") as file,
            subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat,
        ):
            done = subprocess.run(command, stdin=cat.stdout, cwd=ROOT, capture_output=True)
        assert (done.stderr, done.returncode) == (b"", 0)
    assert len(rows(tmp_path)) == 334


# -- troubles --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["", "../etc", "a b", ".hidden", "x" * 300])
def test_host_becomes_a_directory(
    export: Export, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    """A name that cannot be a directory's is refused."""
    assert export(CAPTURE, host=host) == 2
    assert f"--host {host}: a name of letters" in capsys.readouterr().err


def test_without_pyarrow(tmp_path: Path) -> None:
    """It is said what is missing and how to install it; nothing is made."""
    code = "import sys; sys.modules['pyarrow'] = None; from fail2ban_pflog.cli import main; "
    code += f"sys.exit(main(['export', '--to', {str(tmp_path / 'to')!r}, {str(CAPTURE)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "export needs pyarrow" in done.stderr
    assert f"{sys.executable} -m pip install pyarrow" in done.stderr
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("count", [1, 4])
def test_full_disk(tmp_path: Path, count: int) -> None:
    """Where nothing can be written that is said once, status 2; no half file is left."""
    for number in range(count):
        savefile(tmp_path / f"pflog{number}", *range(BEGIN + number, BEGIN + 3000))
    code = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
    code += "from fail2ban_pflog.cli import main; sys.exit(main(sys.argv[1:]))"
    names = [str(tmp_path / f"pflog{number}") for number in range(count)]
    command = [sys.executable, "-c", code, "export", "--to", str(tmp_path / "to"), "--host", "fw"]
    done = subprocess.run([*command, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == f"fail2ban-pflog export: {tmp_path}/to: File too large\n"
    assert done.returncode == 2
    assert not files(tmp_path)
