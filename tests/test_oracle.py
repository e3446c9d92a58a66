"""Our lines beside those of the installed tcpdump."""

from __future__ import annotations

import shutil

import pytest

from tests import corpus, oracle
from tests.pflogs import DATA

pytestmark = pytest.mark.skipif(not shutil.which(oracle.TCPDUMP), reason="needs tcpdump")


def test_corpus() -> None:
    """Every packet of the corpus, in every dialect and cut, has tcpdump's line or a meant one."""
    assert oracle.compare_all(corpus.packets()).unexplained == []


@pytest.mark.parametrize("folder", ["freebsd-13.2", "openbsd-7.8"])
def test_real_captures(folder: str) -> None:
    """What real kernels logged has tcpdump's lines."""
    for path in sorted((DATA / folder).glob("*.pcap")):
        records = [(frame, length) for _, frame, length in oracle.frames(path)]
        assert records
        assert oracle.compare(records).unexplained == []


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
