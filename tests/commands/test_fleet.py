# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/fleet.md: its commands and its SQL are run, and answer what the document says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fail2ban_pflog.policy.kinds import KINDS, Count, Rank
from tests.support.pflogs import DATA

duckdb = pytest.importorskip("duckdb", reason="needs duckdb (`make test` installs it)")
pytest.importorskip("pyarrow", reason="needs pyarrow (`make test` installs it)")

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "fleet.md").read_text()
COMMAND = [sys.executable, "-m", "fail2ban_pflog"]
VIEWS = 2
"""Statements before the first question."""


def statements() -> list[str]:
    """The document's SQL, in order."""
    return re.findall(r"^```sql\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def answers() -> list[list[list[str]]]:
    """The table behind each question: its head, then its rows."""
    found = []
    for text in re.split(r"^```sql\n.*?^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)[
        VIEWS + 1 :
    ]:
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        found.append([table[0], *table[2:]])
    return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which the document's commands were run, as they stand there."""
    directory = tmp_path_factory.mktemp("fleet")
    for name in ("tests", "fail2ban_pflog"):
        (directory / name).symlink_to(ROOT / name)
    (commands,) = re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (directory / "bin").mkdir()
    for name, words in {"python3": "", "fail2ban-pflog": "-m fail2ban_pflog"}.items():
        program = directory / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("PATH", f"{directory}/bin", prepend=":")
        done = subprocess.run(["sh", "-eu", "-c", commands], capture_output=True, text=True)
        assert (done.stderr, done.returncode) == ("", 0)
        yield directory


@pytest.fixture
def database(fleet: Path) -> Any:
    """DuckDB, with the document's views, in that directory."""
    assert fleet == Path.cwd()
    connection = duckdb.connect()
    for statement in statements()[:VIEWS]:
        connection.execute(statement)
    return connection


def test_there_are_five_questions() -> None:
    """Each has a table behind it."""
    assert len(statements()) == VIEWS + 5
    assert len(answers()) == 5


@pytest.mark.parametrize("number", range(5))
def test_answers(database: Any, number: int) -> None:
    """The SQL comes to the answer that is printed."""
    done = database.execute(statements()[VIEWS + number])
    head = [column[0] for column in done.description]
    rows = [[str(cell) for cell in row] for row in done.fetchall()]
    assert [head, *rows] == answers()[number]


def test_targets_are_the_policys() -> None:
    """The view counts ports alone for the kinds for which the policy does."""
    named = re.findall(r"'(\w+)'", statements()[1].split("THEN")[0])
    expected = [
        kind.name
        for kind in KINDS.values()
        if kind.count is Count.PORT and kind.rank is Rank.NORMAL
    ]
    assert named == expected


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("freebsd", ["freebsd-13.2/block-all"]),
        ("openbsd", ["openbsd-7.8/block-all"]),
        ("server", ["labelled/bystanders", "labelled/scrub"]),
        ("lab", ["lab/lab"]),
    ],
)
def test_the_jail_agrees(database: Any, host: str, names: list[str]) -> None:
    """The backtest bans what came to maxretry targets, but for what is said to be missed."""
    pytest.importorskip("fail2ban")
    reached = "SELECT source FROM counted WHERE host = ? GROUP BY source"
    reached += " HAVING count(DISTINCT target) >= 15"
    sources = {source for (source,) in database.execute(reached, [host]).fetchall()}
    missed = {source for where, source, *_ in answers()[4][1:] if where == host}
    captures = [str(DATA / f"{name}.pflogd.pcap") for name in names]
    command = [*COMMAND, "backtest", "--config", str(ROOT / "config"), "--jail", "pflog", "--json"]
    command += ["--set", "prefix6=128"]  # the question is about addresses
    done = subprocess.run([*command, *captures], capture_output=True, text=True, cwd=ROOT)
    (jail,) = json.loads(done.stdout)["jails"]
    assert {ban["source"] for ban in jail["bans"]} == sources - missed
    assert missed <= sources


def test_the_missed_one_is_a_scanner() -> None:
    """The laboratory's labels say that the source that was missed there scans slowly."""
    labels = json.loads((DATA / "lab" / "lab.labels.json").read_text())
    missed = [source for host, source, *_ in answers()[4][1:] if host == "lab"]
    assert [labels[source]["kind"] for source in missed] == ["slow scanner"]


def test_the_network_is_one_scanner() -> None:
    """The labels say that the /64 whose addresses tried one port each is one scanner."""
    labels = json.loads((DATA / "labelled2" / "scan.labels.json").read_text())
    network, sources, _, alone = answers()[2][1]
    kinds = {label["kind"] for source, label in labels.items() if source.startswith(network[:-4])}
    assert kinds == {"scanner, each probe from another address of a /64"}
    assert (int(sources), int(alone)) == (30, 1)


def test_larger_files(database: Any) -> None:
    """The statement that makes few files of many keeps all packets, and the columns."""
    (statement,) = re.findall(r"^COPY .*;$", DOCUMENT, re.MULTILINE)
    database.execute(statement)
    describe = "SELECT host, day, why, count(*) FROM {} GROUP BY ALL ORDER BY ALL"
    large = database.execute(describe.format("'large/*/*/*.parquet'")).fetchall()
    assert large == database.execute(describe.format("packets")).fetchall()


def test_spark(fleet: Path) -> None:
    """Spark comes to DuckDB's answer with the same SQL."""
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark, which is no part of [test]")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "1")
    spark = builder.config("spark.sql.warehouse.dir", str(fleet / "spark")).getOrCreate()
    try:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        spark.read.parquet(str(fleet / "pflog")).createOrReplaceTempView("packets")
        spark.sql(statements()[1].replace("CREATE VIEW", "CREATE TEMPORARY VIEW").rstrip("\n;"))
        found = spark.sql(statements()[VIEWS].rstrip("\n;"))
        rows = [[str(cell) for cell in row] for row in found.collect()]
        assert [found.columns, *rows] == answers()[0]
    finally:
        spark.stop()
