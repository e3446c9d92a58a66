# SPDX-License-Identifier: GPL-2.0-or-later
"""The sources of one jail: several interfaces, and each packet once, also over a stop."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from fail2ban_pflog.jail.inputs import Inputs, Interface
from fail2ban_pflog.jail.positions import Positions
from fail2ban_pflog.options import Options, quoted
from fail2ban_pflog.pipeline import Item, Pipeline
from fail2ban_pflog.policy.classifier import Classifier
from fail2ban_pflog.policy.dedup import Dedup
from fail2ban_pflog.sources import bpf, shared
from tests.support.pcap import World
from tests.support.pflogs import append, number_of, numbered, savefile_header

NOW = 1_780_000_000
PIPELINE = Pipeline(Classifier("any"), Dedup[Item]("none"))


class Database:
    """fail2ban's table of logs."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, int]] = {}

    def addLog(self, _jail: object, mark: Any) -> Any:  # noqa: N802 - fail2ban's name
        found = self.rows.get(mark.getFileName())
        if found is None:
            self.updateLog(_jail, mark)
            return None
        return found[1] if found[0] == mark.getHash() else None

    def updateLog(self, _jail: object, mark: Any) -> None:  # noqa: N802
        self.rows[mark.getFileName()] = mark.getHash(), mark.getPos()


class Worlds:
    """A pcapy whose interfaces each have packets of their own."""

    PcapError, BPFError = World.PcapError, World.PcapError

    def __init__(self) -> None:
        self.of = {name: World() for name in ("pflog0", "pflog1")}

    def create(self, interface: str) -> Any:
        return self.of[interface].create(interface)

    def send(self, name: str, *numbers: int) -> None:
        for number in numbers:
            seconds, micros, caplen, _ = struct.unpack_from("<IIII", packet(number))
            self.of[name].frames.append((seconds, micros, packet(number)[16 : 16 + caplen]))


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Worlds:
    made = Worlds()
    monkeypatch.setattr(bpf, "pcapy", lambda: made)
    monkeypatch.setattr(shared, "_INTERFACES", {})
    return made


def packet(number: int) -> bytes:
    return numbered(NOW + number / 1000, number)


class Site:
    """A jail's inputs over restarts."""

    def __init__(self, path: Path, interface: str) -> None:
        self.path = path
        self.path.write_bytes(savefile_header())
        self.database = Database()
        self.interface = interface
        self.numbers: list[int] = []
        self.start()

    def start(self) -> None:
        options = Options.parse({"interface": self.interface})
        positions = Positions(SimpleNamespace(database=self.database), lambda *_: None)
        self.inputs = Inputs(lambda *_: None, options, positions, lambda: NOW + 10.0)
        self.inputs.add(str(self.path), 0.0)

    def poll(self, most: float = float("inf")) -> None:
        """Count packets; give back what is behind so many."""
        for batch in self.inputs.batches(PIPELINE):
            for index, run in enumerate(batch.groups):
                if most <= 0:
                    self.inputs.give_back(batch, index)
                    return
                most -= 1
                self.numbers.append(number_of(run.record[2]))
        self.inputs.save()

    def restart(self) -> None:
        for _ in range(2):
            self.inputs.close()
        self.start()

    def log(self, *numbers: int) -> None:
        append(self.path, b"".join(map(packet, numbers)))


@pytest.fixture
def site(tmp_path: Path, worlds: Worlds) -> Iterator[Site]:
    assert worlds.of
    made = Site(tmp_path / "pflog", "pflog0, pflog1")
    yield made
    made.inputs.close()


def test_each_of_several_interfaces_is_listened_to(site: Site, worlds: Worlds) -> None:
    """Names are separated by commas; each interface has a row of its own in the status."""
    worlds.of["pflog1"].activate = -5
    worlds.send("pflog0", 1, 2)
    site.poll()
    rows = dict(site.inputs.rows())
    assert rows["pflog0"].startswith("listening; 2 packets read")
    assert "no such interface" in rows["pflog1"]
    assert "pflog0, pflog1" in site.inputs.introduction("")
    worlds.of["pflog1"].activate = 0
    site.inputs.listening[1].listener.source._next_attempt = 0.0  # type: ignore[union-attr]
    worlds.send("pflog1", 3)
    worlds.send("pflog0", 4)
    site.poll()
    assert sorted(site.numbers) == [1, 2, 3, 4]


def test_a_file_of_one_of_several_interfaces(site: Site, worlds: Worlds) -> None:
    """What another interface delivered meanwhile leaves no packet of the file out."""
    worlds.send("pflog1", 1)
    site.poll()
    site.log(2, 3)
    worlds.send("pflog1", 4)
    site.poll()
    worlds.send("pflog0", 5, 6)
    site.poll()
    site.log(5, 6)
    site.poll()
    assert sorted(site.numbers) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("interface", ["pflog0", "pflog0,pflog1"])
@pytest.mark.parametrize("seed", range(20))
def test_a_stop_loses_nothing_of_file_and_interface(
    tmp_path: Path, worlds: Worlds, interface: str, seed: int
) -> None:
    """What was read live and not counted when the jail stopped is read from the file."""
    dice = random.Random(seed)
    site = Site(tmp_path / "pflog", interface)
    sent = logged = 0
    for _ in range(60):
        count = dice.randrange(30)
        worlds.send("pflog0", *range(sent, sent + count))
        sent += count
        if dice.random() < 0.5:
            site.poll()
            assert not worlds.of["pflog0"].frames
        if dice.random() < 0.5:  # pflogd flushes; it never is ahead of the interface
            upto = dice.randint(logged, sent)
            site.log(*range(logged, upto))
            logged = upto
        if dice.random() < 0.3:
            site.poll()
            for _ in range(3):
                worlds.send("pflog0", *range(sent, sent + 7))
                sent += 7
                site.poll(most=dice.randrange(10))
                if site.inputs._rest:
                    break
            site.restart()
            worlds.of["pflog0"].frames.clear()  # nobody listened
            if dice.random() < 0.7:  # a flush comes at least each minute
                site.log(*range(logged, sent))
                logged = sent
    site.log(*range(logged, sent))
    for _ in range(3):
        site.poll()
    site.inputs.close()
    assert sorted(site.numbers) == list(range(sent))


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("pflog[interface=pflog0,pflog1]", 'pflog[interface="pflog0,pflog1"]'),
        (
            "pflog[mode=any, interface=a0, nflog:5, hold=1]",
            'pflog[mode=any, interface="a0, nflog:5", hold=1]',
        ),
        ("pflog[interface=pflog0,mode=any]", None),
        ("pflog[interface=pflog0, mode = any]", None),
        ('pflog[interface="pflog0,pflog1"]', None),
        ("pflog[bpf=port 1, interface=]", None),
        ("pflog", None),
    ],
)
def test_several_interfaces_need_no_quotes(backend: str, expected: Optional[str]) -> None:
    """fail2ban ends a value at a comma; names of interfaces go on behind it."""
    assert quoted(backend) == (expected or backend)


def test_status_of_an_interface_that_is_just_closed() -> None:
    """The jail's thread may close it while the server's asks: nothing is raised."""
    positions: Any = SimpleNamespace(recall=lambda *_: None)
    overlap: Any = SimpleNamespace(spans=[])
    interface = Interface("nosuch0", positions, overlap)
    assert interface.status("0 packets read") == "closed; 0 packets read"
