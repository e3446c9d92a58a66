# SPDX-License-Identifier: GPL-2.0-or-later
"""Endurance: an hour's traffic by a faked clock, and a round of real faults."""

from __future__ import annotations

import bz2
import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime

from fail2ban_pflog.backend import FilterPflog
from tests.support.pflogs import Pflogd, newsyslog, record, syn
from tests.support.writers import open_descriptors
from tests.system.soak import missing, soaking

BEGIN = 1_780_000_000
HOUR, MINUTE = 3600, 60
RATE = 5  # packets per second, the more part from sources that come once
LEVEL = 1.25  # by how much the second half may exceed the first


def test_an_hour_of_traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rotation every five minutes and forged sources, nothing grows for ever."""
    monkeypatch.setattr(FilterPflog, "report", lambda *_: None)
    jail: Any = Jail("pflog", backend="polling")
    filter_ = FilterPflog(jail, distinct="port", mode="any")
    filter_.addFailRegex(r"^ rule .* <ADDR>\.\d+ > .*$")
    filter_.setMaxRetry(5)
    filter_.setFindTime("5m")
    filter_.active = True
    filter_.mute = 0.0  # the hour passes in seconds
    path = tmp_path / "pflog"
    pflogd = Pflogd(path)
    filter_.pipeline.dedup.max_bytes = 1 << 20
    memory, files, bans = [], [], 0
    MyTime.setTime(BEGIN)
    try:
        filter_.addLogPath(str(path))
        tracemalloc.start()
        for minute in range(HOUR // MINUTE):
            for second in range(MINUTE):
                now = BEGIN + minute * MINUTE + second
                for i in range(RATE):
                    source = f"198.{18 + minute % 2}.{second}.{i}" if i else "192.0.2.1"
                    port = (minute * MINUTE + second) % 60000 + 1
                    pflogd.write(record(now + i / 100, syn(source, port, i)))
                MyTime.setTime(now + 1)
                while filter_.inputs is not None and filter_.poll(filter_.inputs):
                    pass
                filter_.performSvc()
                while jail.getFailTicket():
                    bans += 1
            if minute % 5 == 4:
                newsyslog(path, keep=3)
                pflogd.hup()
                old = tmp_path / "pflog.0"
                (tmp_path / "pflog.0.bz2").write_bytes(bz2.compress(old.read_bytes()))
                old.unlink()
                gc.collect()
                memory.append(tracemalloc.get_traced_memory()[0])
                files.append(len(open_descriptors()))
    finally:
        tracemalloc.stop()
        MyTime.setTime(None)
        pflogd.close()
    assert filter_.pipeline.read == HOUR * RATE
    assert bans > 100
    half = len(memory) // 2
    assert max(memory[half:]) <= LEVEL * max(memory[:half])
    assert max(files) - min(files) <= 1
    filter_.onStop()


def test_a_round_of_faults() -> None:
    """Interface, file, database, clock and jails break one after the other: each time all jails
    ban afterwards, every command is answered, and no thread or descriptor is left behind."""
    if lack := missing():
        pytest.skip(lack)
    with soaking() as soak:
        first, second = soak.round(), soak.round()
    assert second.threads == first.threads
    assert second.descriptors == first.descriptors
