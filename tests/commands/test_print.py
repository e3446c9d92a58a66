# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban-pflog print: files, streams, filters, and what it says when something is wrong."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from fail2ban_pflog.cli import main
from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.pflog.fields import Fields
from fail2ban_pflog.sources.bpf import frame_filter
from tests.support import oracle
from tests.support.corpus import ip4, ip6
from tests.support.packets import pflog_header
from tests.support.pflogs import DATA, pcapng, record, savefile_header, syn, syn6

CAPTURE = DATA / "freebsd-13.2" / "block-all.pflogd.pcap"
COMMAND = [sys.executable, "-m", "fail2ban_pflog.cli", "print"]
ROOT = Path(__file__).parents[2]
PACKET = record(1795312093.748353, syn("198.51.100.7", 22))


def savefile(path: Path, *records: bytes) -> str:
    path.write_bytes(savefile_header() + b"".join(records))
    return str(path)


Print = Callable[..., tuple[str, str]]


@pytest.fixture(name="printed")
def fixture_printed(capsys: pytest.CaptureFixture[str]) -> Print:
    """Run `print`; returns what it wrote to standard output and standard error."""

    def run(*arguments: object, status: int = 0) -> tuple[str, str]:
        assert main(["print", *map(str, arguments)]) == status
        return tuple(capsys.readouterr())  # type: ignore[return-value]

    return run


def has_pf_filters() -> bool:
    """Whether pcapy is there and was built with pf's filter expressions."""
    try:
        frame_filter("action block")
    except PflogError:
        return False
    return True


@pytest.mark.skipif(not shutil.which(oracle.TCPDUMP), reason="needs tcpdump")
def test_dates_as_tcpdump(printed: Print) -> None:
    """Date and time stand before each line as tcpdump -tttt writes them."""
    ours = [line[:26] for line in printed(CAPTURE)[0].splitlines()]
    command = [oracle.TCPDUMP, "-tttt", "-e", "-n", "-r", str(CAPTURE)]
    theirs = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
    assert ours == [line[:26] for line in theirs.splitlines() if line[:2] == "20"]


@pytest.mark.parametrize("compress", [bz2.compress, gzip.compress, lzma.compress])
def test_compressed_files(
    tmp_path: Path, printed: Print, compress: Callable[[bytes], bytes]
) -> None:
    """A rotated file prints as it did before; one that is cut is named."""
    path = tmp_path / "pflog.0"
    data = compress(CAPTURE.read_bytes())
    path.write_bytes(data)
    assert printed(path) == printed(CAPTURE)
    path.write_bytes(data[: len(data) // 2])
    assert str(path) in printed(path, status=1)[1]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_pcapng(tmp_path: Path, printed: Print, pack: Callable[..., bytes]) -> None:
    """pcapng prints as a savefile does, also packed, and from a stream; a cut one is named."""
    packets = [(1795312093.748353 + number, syn("198.51.100.7", number)) for number in range(1, 9)]
    expected = printed(savefile(tmp_path / "savefile", *(record(*each) for each in packets)))
    data = pcapng(packets)
    path = tmp_path / "pflog.pcapng"
    path.write_bytes(pack(data))
    assert printed(path) == expected
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        done = subprocess.run([*COMMAND, "-"], stdin=cat.stdout, capture_output=True, cwd=ROOT)
    assert (done.stdout.decode(), done.returncode) == (expected[0], 0)
    path.write_bytes(pack(data[:-30]))
    output, errors = printed(path, status=1)
    assert output == "".join(expected[0].splitlines(True)[:-1])
    size = len(data) - len(pcapng(packets[:1])) + len(pcapng([]))
    assert f"{path}: at byte {size}: pcapng: the file ends inside a block" in errors


def test_several_files(tmp_path: Path, printed: Print) -> None:
    """Files are printed one after the other; one that is missing does not stop the rest."""
    good, missing = savefile(tmp_path / "good", PACKET), tmp_path / "missing"
    output, errors = printed(good, missing, good, status=1)
    assert output.count("198.51.100.7.40000 > 10.99.0.2.22: Flags [S]") == 2
    assert errors == f"fail2ban-pflog: {missing}: No such file or directory\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at byte 0: savefile: needs 24 bytes, there are 0"),
        (b"logfile turned over", "at byte 0: savefile: no savefile"),
        (savefile_header(linktype=1), "at byte 0: savefile: link type 1 instead of 117"),
        (savefile_header() + PACKET[:30], "at byte 24: record: the file ends inside a record"),
        (savefile_header() + PACKET + bytes(16), "byte 152: record: record header is all zero"),
    ],
)
def test_errors_name_file_and_place(
    tmp_path: Path, printed: Print, content: bytes, words: str
) -> None:
    """What is wrong with a file goes to standard error with its name and the offset."""
    path = tmp_path / "pflog"
    path.write_bytes(content)
    errors = printed(path, status=1)[1]
    assert f"{path}: " in errors
    assert words in errors


def test_undecodable_frames_are_counted(tmp_path: Path, printed: Print) -> None:
    """Frames without a pflog header are counted; those around them are printed."""
    path = savefile(tmp_path / "pflog", PACKET, record(1, b"\x07x"), record(2, b"\x45"), PACKET)
    output, errors = printed(path)
    assert len(output.splitlines()) == 2
    assert "2 frames could not be decoded, the first: pflog: header length 7" in errors


def test_json(printed: Print) -> None:
    """Each line is an object that has every documented field, in their order."""
    rows = [json.loads(line) for line in printed("--json", CAPTURE)[0].splitlines()]
    assert len(rows) == 334
    assert all(tuple(row) == ("time", *Fields._fields) for row in rows)
    fields = (ROOT / "docs" / "lines.md").read_text().split("## JSON")[1]
    assert all(f"| `{name}` |" in fields for name in rows[0])


def test_json_of_fragments(tmp_path: Path, printed: Print) -> None:
    """A fragment's place in the whole packet is given in bytes, also behind IPv6 headers."""
    later = struct.pack("!BBHI", 6, 0, 1480 | 1, 7) + bytes(16)
    chained = struct.pack("!BB6x", 44, 0) + later
    frames = [pflog_header(family=28) + ip6(*each) for each in ((44, later), (60, chained))]
    frames.append(pflog_header() + ip4(17, bytes(24), fragment=0x2000 | 185))
    path = savefile(tmp_path / "pflog", *(record(1, frame) for frame in frames))
    rows = [json.loads(line) for line in printed("--json", path)[0].splitlines()]
    assert [row["fragment_offset"] for row in rows] == [1480, 1480, 1480]


@pytest.mark.skipif(not has_pf_filters(), reason="needs pcapy with pf's filter expressions")
def test_filter(tmp_path: Path, printed: Print) -> None:
    """--bpf selects packets; a wrong expression is refused in libpcap's words."""
    path = savefile(tmp_path / "pflog", PACKET, record(1, syn("198.51.100.8", 80)))
    lines = printed("--bpf", "action block and dst port 80", path)[0].splitlines()
    assert [line.split()[8] for line in lines] == ["198.51.100.8.40000"]
    assert "syntax error" in printed("--bpf", "tcp port and", path, status=2)[1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c 2", [0, 1]),
        ("-c 9", [0, 1, 2, 3, 4, 5]),
        ("--source 198.51.100.7", [0, 1, 2]),
        ("--source 198.51.100.0/24", [0, 1, 2, 3]),
        ("--source 2001:db8::/32", [4, 5]),
        ("--port 80", [1, 3, 4, 5]),
        ("--port 80 --source 198.51.100.7 --json", [1]),
        ("--since 2026-11-22T02:00:10+00:00", [1, 2, 3, 4, 5]),
        ("--until 2026-11-22T02:00:30+00:00", [0, 1, 2]),
        ("--since 50y --until 10s", [0, 1, 2, 3, 4, 5]),
        ("-c 1 --port 80 --until 10s", [1]),
    ],
)
def test_selection(tmp_path: Path, printed: Print, options: str, expected: list[int]) -> None:
    """Source, port and time select; -c counts what is printed, over all files."""
    packets = [
        syn("198.51.100.7", 22), syn("198.51.100.7", 80), syn("198.51.100.7", 443),
        syn("198.51.100.8", 80), syn6("2001:db8::1", 80), syn6("2001:db8:1::1", 80),
    ]  # fmt: skip
    begin = 1_795_312_800  # 2026-11-22 02:00 UTC
    records = [record(begin + 10 * number, packet) for number, packet in enumerate(packets)]
    names = [savefile(tmp_path / "a", *records[:2]), savefile(tmp_path / "b", *records[2:])]
    rows = printed("--json", *names)[0].splitlines()
    found = printed("--json", *options.split(), *names)[0].splitlines()
    assert [rows.index(row) for row in found] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-c 0", "'0' is no number from 1"),
        ("--port ssh", "'ssh' is no number"),
        ("--source here", "'here' does not appear to be an IPv4 or IPv6 network"),
        ("--since noon", "'noon' is no time; times are 2026-11-22, '2026-11-22 01:48', 7d"),
    ],
)
def test_wrong_selection(printed: Print, options: str, words: str) -> None:
    """What selects nothing sensible is wrong usage, said in a line."""
    _, errors = printed(*options.split(), CAPTURE, status=2)
    assert errors.startswith(f"fail2ban-pflog print: {words}")
    assert errors.count("\n") == 1


@pytest.mark.skipif(not shutil.which("fail2ban-regex"), reason="needs fail2ban-regex")
def test_fail2ban_regex_reads_what_is_printed(tmp_path: Path, printed: Print) -> None:
    """The way that the documents give for fail2ban-regex finds the dates and the failures."""
    lines = printed(CAPTURE)[0]
    (tmp_path / "x").write_text(lines)
    command = ["fail2ban-regex", "-c", ROOT / "config", tmp_path / "x", "pflog"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(lines.splitlines())
    assert re.search(rf"Lines: {count} lines, \d+ ignored, [1-9]\d* matched", done.stdout)


def started() -> subprocess.Popen[bytes]:
    """`print -`, with pipes to and from it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, "-"], stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, bufsize=0
    )


def test_stream_is_followed() -> None:
    """A stream's packets are printed while it is still open, those of a piece at once."""
    with started() as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(savefile_header() + PACKET + PACKET[:40])
        first = process.stdout.readline()
        assert b"198.51.100.7.40000 > 10.99.0.2.22" in first
        process.stdin.write(PACKET[40:])
        assert process.stdout.readline() == first
        assert process.communicate() == (b"", b"")
    assert process.returncode == 0


def test_interrupt_is_quiet() -> None:
    """Ctrl-C ends a stream with the exit status that shells expect, and no traceback."""
    process = started()
    assert process.stdin
    assert process.stdout
    process.stdin.write(savefile_header() + PACKET)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b""
    assert process.returncode == 130


def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    """The reader may stop; nothing is said about it."""
    path = savefile(tmp_path / "pflog", *([PACKET] * 5000))
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, path], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")
