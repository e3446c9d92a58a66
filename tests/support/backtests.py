# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of backtests share: the command, captures with known packets, their result."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.cli import main
from tests.support.pflogs import DATA, record, savefile_header, syn

CONFIG = Path(__file__).resolve().parents[2] / "config"
SCRUB = DATA / "labelled/scrub.live.pcap"
BYSTANDERS = DATA / "labelled/bystanders.live.pcap"
BEGIN = 1_790_000_000.0
SCANNER, RETRY = "203.0.113.7", "198.51.100.9"


def command(*words: object) -> list[str]:
    """A backtest of the shipped jail pflog, with the package's configuration."""
    return ["backtest", "--config", str(CONFIG), "--jail", "pflog", *map(str, words)]


def scan_records(source: str, ports: range, begin: float) -> list[tuple[float, bytes]]:
    """Two SYN packets a second."""
    return [(begin + index * 0.5, syn(source, port)) for index, port in enumerate(ports)]


def write(path: Path, records: list[tuple[float, bytes]], in_order: bool = True) -> Path:
    """Write a savefile; its packets in the order of their times, or else as given."""
    ordered = sorted(records) if in_order else records
    path.write_bytes(savefile_header() + b"".join(record(*each) for each in ordered))
    return path


def result(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What ``--json`` says of the first jail."""
    main(command("--json", *words))
    first: dict[str, Any] = json.loads(capsys.readouterr().out)["jails"][0]
    return first


def many_sources(count: int, span: float) -> list[tuple[float, bytes]]:
    """Packets to few and many ports, at all gaps that findtime and the distinct table know."""
    rnd = random.Random(3)
    records = []
    for number in range(count):
        source = f"203.0.113.{number % 250}" if number % 3 else f"198.51.100.{number % 250}"
        gaps = rnd.choice(((0.1,), (5,), (61,), (290,), (700,), (0.1, 5, 290, 700, 950)))
        when = BEGIN + rnd.uniform(0, span)
        for index in range(rnd.randrange(1, 30)):
            records.append((when, syn(source, rnd.choice((22, 23, 25, 80 + index)))))
            when += rnd.choice(gaps)
    return records
