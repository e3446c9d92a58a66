# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents say of options and commands is what the program has."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban_pflog import __version__
from fail2ban_pflog.cli import main, parser
from fail2ban_pflog.options import Options, short
from fail2ban_pflog.policy.kinds import KINDS, MODES
from fail2ban_pflog.writer import options
from tests.support.pflogs import shifted

REPO = Path(__file__).resolve().parent.parent
README = (REPO / "README.md").read_text()
MANUALS = sorted((REPO / "man").iterdir())


def section(name: str) -> str:
    """A section of fail2ban-pflog.conf(5)."""
    page = (REPO / "man/fail2ban-pflog.conf.5").read_text()
    return page.split(f".Sh {name}\n")[1].split("\n.Sh ")[0]


def documented(text: str) -> dict[str, str]:
    """Options of a section, with what stands behind "Default:", in words or as a literal."""
    entries = re.findall(
        r"^\.It Cm (\w+)\n(.*?)(?=^\.It Cm |^\.El$|\Z)", text, re.MULTILINE | re.DOTALL
    )
    return {
        name: re.search(r"^Default:(?: |\n\.Ql )(.*?)(?: [.;])?$", entry, re.MULTILINE)[1]
        for name, entry in entries
    }


def settings(file: str, name: str) -> dict[str, str]:
    """What a section of a configuration file sets, as it stands there."""
    parser = configparser.RawConfigParser()
    parser.read(REPO / "config" / file)
    return dict(parser[name])


def test_manual_lists_the_backends_options() -> None:
    """fail2ban-pflog.conf(5) has each option, in order, with its default."""
    described = documented(section("THE BACKEND"))
    assert list(described) == list(Options._fields)
    words = {"interface": "pflog0", "bpf": "all packets."}
    assert described == {
        **{name: str(value) for name, value in Options()._asdict().items()},
        "silence": short(Options().silence),
        **words,
    }


def test_manual_lists_the_filters_options() -> None:
    """It has what the filter defines, but for the expressions that are made of it."""
    made = r"_.*|.*regex|mdre-.*|datepattern"
    names = [
        name
        for name in settings("filter.d/pflog.conf", "Definition")
        if not re.fullmatch(made, name)
    ]
    described = documented(section("THE FILTER"))
    assert sorted(described) == sorted(names)
    for name, default in settings("filter.d/pflog.conf", "Definition").items():
        if name in ("direction", "mode"):
            assert described[name] == default


def test_manual_lists_the_actions_options() -> None:
    """It has each of [Init] up to `verify`, in order, with the default that stands there."""
    options = settings("action.d/pf-pflog.conf", "Init")
    public = dict(list(options.items())[: list(options).index("verify")])
    assert documented(section("THE ACTION")) == public
    on_linux = documented(section("THE ACTION ON LINUX"))
    assert on_linux == settings("action.d/nft-pflog.conf", "Init")


def test_manual_lists_the_loaders_options() -> None:
    """It has what the loader's action takes."""
    loader = (REPO / "config/action.d/pflog-backend.py").read_text()
    signature = re.search(r"def __init__\(self, jail, name, (.*), \*\*unknown\)", loader)
    assert signature is not None
    assert list(documented(section("THE LOADER"))) == re.findall(r"(\w+)=", signature[1])


def test_manual_describes_the_jails() -> None:
    """It has the thresholds of each jail, and the defaults of what they are made of."""
    rows = re.findall(r"^\.It (pflog.*)$", section("THE JAILS"), re.MULTILINE)
    described = {name: values for name, *values in (row.split(" Ta ") for row in rows)}
    file = "jail.d/pflog.conf"
    jails = configparser.RawConfigParser()
    jails.read(REPO / "config" / file)
    keys = ("maxretry", "findtime", "bantime")
    assert described == {name: [jails[name][key] for key in keys] for name in jails.sections()}
    defaults = {**settings(file, "DEFAULT"), "mode": jails["pflog"]["mode"]}
    del defaults["pflog_action_mwl"]  # described in words
    assert defaults.items() <= documented(section("THE JAILS")).items()


def test_no_document_says_folder() -> None:
    """What is read by administrators, messages too, calls a directory a directory."""
    for place in ("*.md", "docs/*.md", "man/*", "config/*/*", "files/*/*"):
        for path in REPO.glob(place):
            assert "folder" not in path.read_text().lower(), path
    for path in (REPO / "fail2ban_pflog").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "folder" not in node.value.lower(), f"{path}, line {node.lineno}"


def reasons() -> str:
    """Make the table of docs/jails.md: every reason, and the modes that count it."""
    rows = [
        "| reason | what it is | normal | aggressive | any |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in KINDS.values():
        counts = " | ".join("yes" if each.rank <= mode else "" for mode in MODES.values())
        rows.append(f"| `{each.name}` | {each.words} | {counts} |")
    return "\n".join(rows)


def test_the_modes_are_documented() -> None:
    """docs/jails.md has every reason with its words and the modes that count it."""
    assert reasons() in (REPO / "docs/jails.md").read_text()


def test_every_document_that_is_named_exists() -> None:
    """Links between documents lead somewhere."""
    for document in (*REPO.glob("*.md"), *REPO.glob("docs/*.md")):
        for name in re.findall(r"\]\(([\w./-]+)\)", document.read_text()):
            assert (document.parent / name).exists(), f"{document.name} names {name}"


def test_every_file_that_is_named_exists() -> None:
    """Files of this package that a document names in backticks are there."""
    places = [REPO / place for place in (".", "fail2ban_pflog", "config", "docs", "tests")]
    for document in (*REPO.glob("*.md"), *REPO.glob("docs/*.md")):
        for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|conf))`", document.read_text()):
            there = any((place / name).exists() for place in places)
            assert there or name == "server/jail.py", f"{document.name} names {name}"


def test_what_check_says_is_said_so() -> None:
    """Each line of check that docs/install.md explains is one that the program says."""
    text = (REPO / "docs/install.md").read_text()
    lines = re.findall(r"`(WRONG|note) ([\w/]+): ([^`]+)`", text)
    assert len(lines) > 25
    package = "".join(path.read_text() for path in (REPO / "fail2ban_pflog").rglob("*.py"))
    said = (
        re.sub(r'"\s*(?:f?")', "", package)
        + (REPO / "config/action.d/pflog-backend.py").read_text()
    )
    elsewhere = (
        "skipped, because of wrong configuration",
        "does not exist",
        "Table does not exist",
    )
    for mark, name, words in lines:
        assert words in said or words in elsewhere, (mark, name, words)


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_manual_pages_are_well_formed(page: Path) -> None:
    """mandoc has no warning."""
    if shutil.which("mandoc") is None:
        pytest.skip("needs mandoc (`make test` installs it)")
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True
    )
    assert done.stdout == ""


def test_changelog_knows_the_version() -> None:
    """The newest entry is this version."""
    entry = re.search(r"^## (\S+)", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entry is not None
    assert entry[1] == __version__


def test_each_source_file_names_its_licence() -> None:
    """All that is no prose and no data has an SPDX line in its head."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPO, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    others = {"LICENSE", "MANIFEST.in", "py.typed", ".gitignore"}
    others |= {"README.Debian", "pkg-descr", "DESCR"}  # prose
    for path in map(REPO.joinpath, listed.stdout.split()):
        if path.suffix == ".md" or path.name in others or "tests/data" in str(path):
            continue
        head = path.read_text().splitlines()[:3]
        assert any("SPDX-License-Identifier: GPL-2.0-or-later" in line for line in head), path


def examples() -> list[tuple[str, list[str]]]:
    """Commands of docs/backtest.md shown with what they print: arguments, lines."""
    blocks = re.findall(
        r"^    \$ fail2ban-pflog ((?:.*\\\n)*.*)\n((?:    .*\n|\n(?=    ))+)",
        (REPO / "docs/backtest.md").read_text(),
        re.MULTILINE,
    )
    return [
        (re.sub(r"\\\n\s+", "", words), [line[4:] for line in shown.splitlines() if line.strip()])
        for words, shown in blocks
    ]


@pytest.mark.parametrize(("words", "shown"), examples(), ids=lambda value: str(value)[:20])
def test_backtests_print_what_is_documented(
    words: str,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What docs/backtest.md shows of a command is what it prints, but for what ... stands for."""
    monkeypatch.chdir(REPO)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    name, *arguments = words.split()
    main([name, "--config", "config", *arguments])
    printed = capsys.readouterr().out.splitlines()
    monkeypatch.undo()
    time.tzset()
    assert len(shown) > 5
    for line in shown:
        begin = line.removesuffix("...").rstrip()
        assert any(each.rstrip().startswith(begin) for each in printed), line


COMMANDS = re.findall(
    r"^(?: {4}|\.Dl (?:# )?)(?:/usr/local/fail2ban-pflog/bin/)?(fail2ban-pflogd? (?:.*\\\n)*.*)$",
    "\n".join(path.read_text() for path in (REPO / "README.md", *REPO.glob("docs/*.md"), *MANUALS)),
    re.MULTILINE,
)
"""Commands of this package in all documents, with what stands behind them."""


@pytest.mark.parametrize("line", COMMANDS)
def test_documented_commands_are_taken(line: str) -> None:
    """The parsers take each command of the documents; what stands behind two blanks is prose."""
    program, *words = shlex.split(re.split(r"(?<=\S)  +|[|>]", line.replace("\\\n", ""))[0])
    known = parser() if program == "fail2ban-pflog" else options.parser()
    given = [word for word in words if word != "..."]
    assert known.parse_args(given)


READING = [each for each in COMMANDS if re.match(r"[\w-]+g \w+ .*/var/log/pflog", each, re.DOTALL)]
EXTRAS = {"--plot": "matplotlib", "--html": "matplotlib", "--bpf": "pcapy", "--to": "pyarrow"}


@pytest.mark.parametrize("line", READING)
def test_documented_commands_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads /var/log/pflog runs as it stands, on a file that has a source of each command."""
    for option, module in EXTRAS.items():
        if option in line:
            pytest.importorskip(module, reason="needs an extra")
    (tmp_path / "log").mkdir()
    scan = shifted(REPO / "tests/data/labelled/scrub.live.pcap", time.time() - 60)
    (tmp_path / "log/pflog").write_bytes(scan)
    for trusted in ("office.txt", "customers.txt"):
        (tmp_path / trusted).write_text("192.0.2.0/24\n")
    program = tmp_path / "fail2ban-pflog"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fail2ban_pflog "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    words = line.replace("/var/log/pflog", f"{tmp_path}/log/pflog")
    words = re.sub(r"\bADDRESS\b|203\.0\.113\.7\b", "203.0.113.10", words)
    done = subprocess.run(["sh", "-euc", words], capture_output=True, text=True)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")
