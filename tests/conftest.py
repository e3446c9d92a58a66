# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that several test modules share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support import server as f2b
from tests.support.backtests import BEGIN, RETRY, SCANNER, scan_records, write
from tests.support.pflogs import savefile_header, syn
from tests.support.writers import Pflogd


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> None:
    """Let SIGINT end the programs that are tested, also where pytest runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., f2b.Server]]:
    """A maker of private fail2ban servers; at the end all are stopped and their logs checked."""
    if f2b.SERVER is None or f2b.CLIENT is None:
        pytest.skip("needs fail2ban-server and fail2ban-client (`make test` installs them)")
    servers = []

    def make(jails: str, **options: Any) -> f2b.Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        servers.append(f2b.Server(folder, jails, **options))
        return servers[-1]

    yield make
    for each in servers:
        each.stop()
    for each in servers:
        each.end()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Pflogd]]:
    """A maker of running programs; all are ended at the end."""
    started: list[Pflogd] = []

    def make(*options: object, **more: object) -> Pflogd:
        started.append(Pflogd(tmp_path, *options, **more))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for each in started:
        each.end()


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    """A savefile without packets."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header())
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A scanner of 40 ports among a client that tries one port 40 times."""
    records = [
        *scan_records(SCANNER, range(1, 41), BEGIN),
        *((BEGIN + 0.5 + index, syn(RETRY, 25, index)) for index in range(40)),
    ]
    return write(tmp_path / "pflog", records)
