# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: what it says, that it needs nothing else, that nothing in it runs but its script."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.support.backtests import CONFIG, RETRY, SCANNER, command, scan_records, write

pytest.importorskip("fail2ban")

from fail2ban_pflog import __version__
from fail2ban_pflog.backtest.replay import replay, run
from fail2ban_pflog.backtest.report import html as page
from fail2ban_pflog.backtest.report.text import Row, Table
from fail2ban_pflog.cli import main

VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """A page, taken apart.

    elements: name and attributes of each, in order.  held: name -> texts in such elements.
    unclosed: those that were not closed, or closed without being open.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Optional[str]]]] = []
        self.held: dict[str, list[str]] = {}
        self.unclosed: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.held.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.held[tag][-1] += data


def made(tmp_path: Path, *words: object, status: int = 0) -> tuple[str, Page]:
    """The page of a backtest, as text and taken apart."""
    path = tmp_path / "page.html"
    assert main(command("--html", path, *words)) == status
    text = path.read_text("utf-8")
    return text, Page(text)


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let matplotlib be missing."""
    real = importlib.import_module

    def missing(name: str, *others: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *others)

    monkeypatch.setattr(importlib, "import_module", missing)


def test_holds_everything_itself(tmp_path: Path, capture: Path) -> None:
    """The page is well-formed and loads nothing; its policy allows its own style and its own
    script, by their sums, and no attribute asks for more."""
    pytest.importorskip("matplotlib")
    text, parts = made(tmp_path, capture)
    assert parts.unclosed == []
    for name, attributes in parts.elements:
        assert name not in ("link", "iframe", "object", "base", "form", "img", "image")
        for attribute, value in attributes.items():
            assert attribute != "style"
            assert not attribute.startswith("on")
            if attribute in ("src", "href", "xlink:href"):
                assert value is not None
                assert value.startswith(("#", "data:image/png;base64,"))
    (policy,) = (
        str(attributes["content"])
        for name, attributes in parts.elements
        if name == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name in ("style", "script"):
        (held,) = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_pictures(tmp_path: Path, capture: Path) -> None:
    """Each picture is there with what it shows in words; all ids are different."""
    pytest.importorskip("matplotlib")
    text, parts = made(tmp_path, capture)
    assert [name for name, _ in parts.elements].count("svg") == 3
    assert len(parts.held["figcaption"]) == 3
    assert "1 source of 2 would have been banned" in parts.held["figcaption"][0]
    ids = [attributes["id"] for _, attributes in parts.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    assert "@media (prefers-color-scheme: dark)" in text
    assert "max-width: 36rem" in text


def test_names_what_it_was_made_of(tmp_path: Path, capture: Path) -> None:
    """It names captures with their packets and times, options in force, versions, when it was
    made and by which command."""
    broken = tmp_path / "broken"
    broken.write_bytes(capture.read_bytes()[:-7])
    words = ["--set", "maxretry=12", "ignoreip=192.0.2.0/24", "--", capture, broken]
    _, parts = made(tmp_path, *words, status=4)
    cells = parts.held["td"]
    for name, packets in ((capture, "80"), (broken, "79")):
        at = cells.index(str(name))
        assert cells[at + 1] == packets
        assert all(
            re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", cell) for cell in cells[at + 2 : at + 4]
        )
    assert "ends within a record" in cells
    rows = {}
    for row in parts.held["tr"]:
        for name in ("maxretry", "findtime", "backend", "ignoreip", "By", "Made", "Command"):
            if row.startswith(name):
                rows[name] = row.removeprefix(name)
    assert rows["maxretry"] == "12"
    assert rows["findtime"] == "5m"
    assert rows["backend"] == "pflog[distinct=port, mode=normal, prefix6=64]"
    assert rows["ignoreip"] == "192.0.2.0/24"
    assert __version__ in rows["By"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d$", rows["Made"])
    assert rows["Command"]


def test_warns(
    tmp_path: Path,
    capture: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What makes the verdicts incomplete stands at the top: fail2ban failed, Ctrl-C was pressed."""

    def broken(*_: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(replay.Replay, "_ban", broken)
    _, parts = made(tmp_path, capture, status=4)
    assert "jail pflog: fail2ban failed on 2 lines" in parts.held["header"][0]
    monkeypatch.undo()
    batch = run.Run._batch

    def interrupted(*arguments: Any) -> None:
        batch(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "_batch", interrupted)
    _, parts = made(tmp_path, capture, status=130)
    assert "This was interrupted" in parts.held["header"][0]
    capsys.readouterr()


def test_ban_opens_to_its_lines(tmp_path: Path, capture: Path) -> None:
    """Each ban opens to the lines that made it, oldest first; it opens without the script."""
    _, parts = made(tmp_path, capture)
    (details,) = parts.held["details"]
    (lines,) = (text.splitlines() for text in parts.held["pre"])
    assert len(lines) == 15
    assert all(f": {SCANNER}." in line or f" {SCANNER}." in line for line in lines)
    assert details.startswith(parts.held["summary"][0])


def test_nothing_of_others_gets_in(tmp_path: Path, capture: Path) -> None:
    """A capture's name is text, whatever it holds: markup, quotes, bytes that are no UTF-8, and
    letters that turn the reading direction."""
    name = b"<img src=x onerror=alert(1)>\"'&amp;\xff\xe2\x80\xaeevil\x1b[2J.pcap"
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(capture.read_bytes())
    text, parts = made(tmp_path, os.fsdecode(path))
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    shown = [cell for cell in parts.held["td"] if "onerror" in cell]
    assert shown
    assert "<img src=x onerror=alert(1)>\"'&amp;\\udcff\\u202eevil\\x1b[2J.pcap" in shown[-1]


@pytest.mark.usefixtures("without_matplotlib")
def test_without_matplotlib(
    tmp_path: Path, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without matplotlib the page has no pictures, which is said; a picture is refused."""
    _, parts = made(tmp_path, capture)
    assert "the page comes without pictures" in capsys.readouterr().err
    assert "svg" not in parts.held
    assert SCANNER in "".join(parts.held["td"])
    assert main(command("--plot", tmp_path / "plot.svg", capture)) == 2
    assert "plots need matplotlib" in capsys.readouterr().err


def test_sweep_has_a_page(tmp_path: Path, capture: Path) -> None:
    """The page of a sweep has its picture, its settings and what was swept."""
    pytest.importorskip("matplotlib")
    words = ["--trust", RETRY, "--sweep", "maxretry=5,10,50", "findtime=1m,5m", "--", capture]
    _, parts = made(tmp_path, *words)
    assert len(parts.held["figcaption"]) == 1
    assert any(row.startswith("maxretry5,10,50") for row in parts.held["tr"])
    assert str(capture) in parts.held["td"]


def test_several_jails(tmp_path: Path, capture: Path) -> None:
    """Each jail has its own section, with its own options."""
    path = tmp_path / "page.html"
    words = ["backtest", "--config", str(CONFIG), "--html", str(path), str(capture)]
    assert main(words) == 0
    parts = Page(path.read_text())
    assert len(parts.held["section"]) == 3
    assert len([row for row in parts.held["tr"] if row.startswith("maxretry")]) == 3


def test_long_tables_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of thousands of bans the page has the first, and says how many more there are."""
    monkeypatch.setattr(page, "MAX_ROWS", 20)
    monkeypatch.setattr(page, "MAX_OPEN", 5)
    records = []
    for number in range(30):
        records += scan_records(f"198.51.100.{number}", range(1, 20), 1_790_000_000.0 + number)
    _, parts = made(tmp_path, write(tmp_path / "pflog", records))
    capsys.readouterr()
    assert len(parts.held["details"]) == 5
    assert len([row for row in parts.held["tr"] if "its lines: --json" in row]) == 15
    assert any("10 more" in text for text in parts.held["p"])


@pytest.mark.parametrize(
    "cells",
    [
        ["0.2s", "45s", "5m", "1h30m", "2h", "1d12h", "ever"],
        ["0", "9", "1,234", "20,000"],
        ["8 of 15", "12 of 15"],
        ["0.0%", "9.5%", "100.0%"],
        ["9.0.0.1", "10.0.0.1", "192.0.2.7", "2001:db8::1", "2001:db8:1::/64"],
        ["12-31 23:59:59", "01-01 00:00:01"],
        ["aggressive", "normal"],
    ],
)
def test_sorts(cells: list[str]) -> None:
    """Spans, numbers, shares and addresses sort by size; times without a year as they came."""
    keys = [page._key(cell, index) for index, cell in enumerate(cells)]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_every_cell_has_a_key() -> None:
    """What the script sorts by stands in each cell of a table with a head."""
    rows = [Row(("1h", "a <b>"), ("note",)), Row(("5m", "c"), (), True)]
    parts = Page("".join(page._table(Table("Title", ("For ", "Name"), rows))))
    cells = [attributes for name, attributes in parts.elements if name == "td"]
    assert [("data-key" in each) for each in cells] == [True, True, False, True, True]
    assert "a <b>" in parts.held["td"]
    assert parts.unclosed == []
