# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes captures with labels: made-up sources, NFLOG's records, counts of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fail2ban")  # lab.evaluate needs it

from fail2ban_pflog.formatter import Formatter
from fail2ban_pflog.pflog.savefile import FILE_HEADER_SIZE, FileHeader
from lab import evaluate, frames, lab, synthetic
from lab.labels import Dropped, Label, write
from lab.scene import KINDS
from tests.support.nflog import INPUT, OUTPUT, nflog
from tests.support.pflogs import record, savefile_header

ONE, TWO = "198.18.0.1", "2001:db8::1"


def lines(path: Path) -> list[str]:
    data = path.read_bytes()
    header = FileHeader.parse(data)
    formatter = Formatter(header.byteorder)
    return [formatter.line(frame) for *_, frame in header.records(data, FILE_HEADER_SIZE).records]


def test_labels_count_what_was_dropped(tmp_path: Path) -> None:
    """Ports are counted once, targets once per host, packets each; what was let in counts 0."""
    syn = [frames.tcp(40000, port, frames.SYN) for port in (22, 22, 80)]
    dropped = [
        Dropped(9.0, True, frames.ip(ONE, host, 6, segment, 60))
        for host in ("10.99.0.2", "10.99.0.3")
        for segment in syn
    ]
    dropped.append(Dropped(8.0, True, frames.ip(ONE, "10.99.0.2", 1, frames.icmp(8), 60)))
    write(tmp_path / "x", dropped, {ONE: Label("scanner", "all"), TWO: Label("bystander", "-")})
    labels = json.loads((tmp_path / "x.labels.json").read_text())
    assert {source: list(label.values()) for source, label in labels.items()} == {
        ONE: ["scanner", "all", 2, 5, 7],
        TWO: ["bystander", "-", 0, 0, 0],
    }
    assert "ICMP echo request" in lines(tmp_path / "x.live.pcap")[0]  # by time


def test_cut_as_pflogd_cuts(tmp_path: Path) -> None:
    """Of IPv6 TCP the ports are left, of IPv4 the flags; the header tells the direction."""
    segment = frames.tcp(443, 5555, frames.ACK | frames.FIN, frames.LINUX.late)
    write(
        tmp_path / "x",
        [
            Dropped(1.0, True, frames.ip(TWO, "fd99::2", 6, segment, 60)),
            Dropped(2.0, False, frames.ip(ONE, "10.99.0.2", 6, segment, 60)),
        ],
        {ONE: Label("bystander", "-"), TWO: Label("bystander", "-")},
    )
    cut, four = lines(tmp_path / "x.pflogd.pcap")
    assert cut.endswith("block in on vtnet0: 2001:db8::1.443 > fd99::2.5555:  [|tcp]")
    assert "block out on vtnet0" in four
    assert "Flags [F.]" in four


@pytest.mark.parametrize(
    ("system", "options"),
    [
        (frames.LINUX, "mss 1460,sackOK,TS val 523124044 ecr 0,nop,wscale 7"),
        (frames.WINDOWS, "mss 1460,nop,wscale 8,nop,nop,sackOK"),
        (frames.FREEBSD, "mss 1460,nop,wscale 6,sackOK,TS val 523124044 ecr 0"),
        (frames.NMAP, "mss 1460"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_systems_send_their_own_options(
    tmp_path: Path, system: frames.System, options: str
) -> None:
    """A SYN carries what the system's does, in its order."""
    segment = frames.tcp(50000, 22, frames.SYN, system.syn)
    packet = frames.ip(ONE, "10.99.0.2", 6, segment, system.ttl)
    write(tmp_path / "x", [Dropped(1.0, True, packet)], {ONE: Label("scanner", "-")})
    (line,) = lines(tmp_path / "x.live.pcap")
    assert f"options [{options}]" in line


def test_synthetic_captures(tmp_path: Path) -> None:
    """A seed makes the same captures each time, of all kinds; scanners have enough targets."""
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        synthetic.make(tmp_path / name, seed)
    one, same, other = (
        (tmp_path / f"{name}.live.pcap").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same
    assert one != other
    sources = evaluate.sources_of(tmp_path / "one")
    assert {source.kind for source in sources} == set(KINDS)
    assert all(source.packets for source in sources)
    for source in sources:
        if source.kind.startswith(("scanner", "sweep")):
            assert source.targets >= evaluate.FOUND_FROM, source


def test_nflog_records(tmp_path: Path) -> None:
    """The packet and the direction are taken from NFLOG's records as the backend takes them."""
    packet = frames.ip(ONE, "10.99.0.2", 17, frames.udp(53, 5353, 3), 60)
    capture = tmp_path / "nflog.pcap"
    records = b"".join(record(5.25, nflog(packet, hook=hook)) for hook in (INPUT, OUTPUT))
    capture.write_bytes(savefile_header(239, 65535) + records)
    assert list(lab.dropped(capture)) == [
        Dropped(5.25, True, packet),
        Dropped(5.25, False, packet),
    ]
