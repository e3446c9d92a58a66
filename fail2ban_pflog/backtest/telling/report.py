# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a document: facts and tables, in words.

A ``Document`` is what text, terminal and page have in common; ``text`` sets it plainly
in 80 columns.  ``as_json`` and ``as_csv`` hold the same for programs.
"""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, Union

from ..judging.judge import Ban
from ..judging.run import Result
from ..judging.survey import MAX_TOLD_APART

__all__ = [
    "Document",
    "Facts",
    "Row",
    "Style",
    "Table",
    "as_csv",
    "as_json",
    "duration",
    "jail_dict",
    "jail_document",
    "lines",
    "ranges",
    "text",
]

WIDTH = 80

MAX_CLOSE = 20
"""Sources that came close, in words; JSON has them all."""


class Row(NamedTuple):
    """A row of a table: its cells, lines below it, and whether it is to catch the eye."""

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()
    marked: bool = False


class Table(NamedTuple):
    """A table; columns whose name ends in a space are set flush right."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]


class Facts(NamedTuple):
    """Names and values."""

    title: str
    facts: list[tuple[str, str]]


Document = list[Union[Facts, Table, str]]


# -- words ------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """A time span in one or two units, at most 6 letters: ``45s``, ``1h30m``, ``ever``."""
    if math.isinf(seconds) or seconds < 0:
        return "ever"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    left = round(seconds)
    words = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words[:2]) or "0s"


def ranges(ports: Iterable[int], most: int = 24) -> str:
    """Ports in short: ``21-23, 80, 443``; behind ``most`` ranges comes how many are left."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and spans[-1][1] == port - 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    words = [str(low) if low == high else f"{low}-{high}" for low, high in spans[:most]]
    left = sum(high - low + 1 for low, high in spans[most:])
    return ", ".join(words) + (f" and {left} more" if left else "")


def moment(time: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time in the local time zone."""
    return datetime.fromtimestamp(time).strftime(pattern)


def iso(time: float) -> str:
    """A time with its zone; empty where it is never."""
    return "" if math.isinf(time) else datetime.fromtimestamp(time).astimezone().isoformat()


# -- one jail ---------------------------------------------------------------------------


def jail_document(result: Result, verbose: bool = False) -> Document:
    """What a jail would have done.

    verbose: with the evidence, the lines that a ban's ticket holds.
    """
    document: Document = [
        Facts(f"Jail {result.jail}: {settings(result)}", _facts(result)),
    ]
    if result.trusted:
        document.append(_trusted_table(result))
    if result.bans:
        document.append(_ban_table(result, verbose))
    if result.close:
        document.append(_close_table(result))
    return document


def settings(result: Result) -> str:
    """The jail's three settings in one line."""
    return (
        f"{result.maxretry} in {duration(result.findtime)}, banned for {duration(result.bantime)}"
    )


def _facts(result: Result) -> list[tuple[str, str]]:
    sources = f"{result.sources:,}"
    if result.sources > MAX_TOLD_APART:
        sources = f"about {round(result.sources, -3):,}"
    banned = len(result.banned)
    bans = f"{len(result.bans):,}" + (f" of {banned:,} sources" if result.bans else "")
    facts = [
        ("Packets", f"{result.packets:,}"),
        ("Sources", sources),
        ("Bans", bans),
    ]
    if result.packets:
        facts.insert(0, ("Time", f"{moment(result.begin)} to {moment(result.end)}"))
    if result.bans:
        before = result.bans[0].packets
        facts.append(("Packets before the first ban", f"{before:,}"))
    facts.append(("Packets prevented", f"{result.prevented:,} ({result.share:.1%})"))
    return facts


def _ban_row(ban: Ban, verbose: bool, trusted: bool) -> Row:
    cells = (
        moment(ban.time, "%m-%d %H:%M:%S"),
        ban.source,
        duration(ban.end - ban.time),
        f"{ban.failures:,}",
        f"{ban.prevented:,}",
    )
    notes = [f"ports {ranges(ban.ports)}"] if ban.ports else []
    if verbose:
        notes += ban.lines
    return Row(cells, tuple(notes), trusted)


def _ban_table(result: Result, verbose: bool) -> Table:
    trusted = set(result.trusted)
    rows = [_ban_row(ban, verbose, ban.source in trusted) for ban in result.bans]
    return Table("Bans", ("Began", "Source", "For ", "Tried ", "Prevented "), rows)


def _trusted_table(result: Result) -> Table:
    first = {ban.source: ban for ban in reversed(result.bans)}
    rows = [
        Row((moment(first[source].time), source, f"{first[source].failures:,}"), (), True)
        for source in result.trusted
    ]
    return Table("Trusted sources that would be banned", ("Began", "Source", "Tried "), rows)


def _close_table(result: Result) -> Table:
    rows = [
        Row((f"{close.reached} of {result.maxretry}", close.source, ranges(close.ports, 8)))
        for close in result.close[:MAX_CLOSE]
    ]
    title = "Sources that came close"
    if len(result.close) > MAX_CLOSE:
        title = f"The {MAX_CLOSE} closest of {len(result.close):,} sources that came close"
    return Table(title, ("Reached", "Source", "Ports"), rows)


# -- as text ----------------------------------------------------------------------------


class Style(Enum):
    """What a line of text is; a terminal may show it."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    MARKED = "marked"
    NOTE = "note"


Line = tuple[Style, str]


def text(document: Document) -> str:
    """The document in WIDTH columns; a long address may reach beyond."""
    return "".join(f"{line}\n" for _, line in lines(document))


def lines(document: Document, width: int = WIDTH) -> Iterator[Line]:
    """The document's lines, without line feeds, in ``width`` columns."""
    for part in document:
        for style, line in _part(part, width):
            yield style, line.rstrip()
        yield Style.PLAIN, ""


def _part(part: Union[Facts, Table, str], width: int) -> Iterator[Line]:
    if isinstance(part, str):
        yield from ((Style.PLAIN, line) for line in part.splitlines())
    elif isinstance(part, Facts):
        yield Style.TITLE, part.title
        longest = max((len(name) for name, _ in part.facts), default=0)
        for name, value in part.facts:
            yield Style.PLAIN, f"  {name:<{longest}}  {value}"
    else:
        yield from _table(part, width)


def _table(table: Table, width: int) -> Iterator[Line]:
    heads = [name.strip() for name in table.columns]
    widths = [
        max(len(head), *(len(row.cells[index]) for row in table.rows), 0)
        for index, head in enumerate(heads)
    ]
    right = [name.endswith(" ") for name in table.columns]
    # Only the last column is free text: it is wrapped.
    begin = 2 + sum(each + 2 for each in widths[:-1])
    yield Style.TITLE, table.title
    yield Style.HEAD, "  " + "  ".join(_cells(heads, widths, right))
    for row in table.rows:
        cells = list(row.cells)
        rest: list[str] = []
        if not right[-1]:
            cells[-1:], rest = _wrapped(cells[-1], max(20, width - begin))
        style = Style.MARKED if row.marked else Style.PLAIN
        line = "  ".join(_cells(cells, widths, right))
        yield style, ("! " if row.marked else "  ") + line
        for more in rest:
            yield style, " " * begin + more
        for note in row.notes:
            for line in textwrap.wrap(
                note, width, initial_indent="    ", subsequent_indent="      "
            ):
                yield Style.NOTE, line


def _wrapped(cell: str, width: int) -> tuple[list[str], list[str]]:
    wrapped = textwrap.wrap(cell, width) or [""]
    return wrapped[:1], wrapped[1:]


def _cells(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if flush else cell.ljust(width)
        for cell, width, flush in zip(cells, widths, right)
    ]


# -- for programs -----------------------------------------------------------------------


def jail_dict(result: Result) -> dict[str, Any]:
    """A result as JSON has it; times are ISO 8601, spans are seconds, -1 is for ever."""
    trusted = set(result.trusted)
    return {
        "jail": result.jail,
        "maxretry": result.maxretry,
        "findtime": result.findtime,
        "bantime": result.bantime,
        "begin": iso(result.begin) if result.packets else None,
        "end": iso(result.end) if result.packets else None,
        "packets": result.packets,
        "sources": result.sources,
        "packets_before_first_ban": result.bans[0].packets if result.bans else None,
        "prevented": result.prevented,
        "prevented_share": round(result.share, 6),
        "trusted": result.trusted,
        "bans": [{**_ban_dict(ban), "trusted": ban.source in trusted} for ban in result.bans],
        "close": [close._asdict() for close in result.close],
    }


def _ban_dict(ban: Ban) -> dict[str, Any]:
    return {
        "source": ban.source,
        "number": ban.number,
        "began": iso(ban.time),
        "seconds": -1 if math.isinf(ban.end) else round(ban.end - ban.time, 6),
        "tried": ban.failures,
        "delay": round(ban.time - ban.first, 6),
        "prevented": ban.prevented,
        "ports": list(ban.ports),
        "lines": ban.lines,
    }


def as_json(value: Any) -> str:
    """JSON, readable."""
    return json.dumps(value, indent=2, ensure_ascii=False)


_BAN_COLUMNS = (
    "jail", "source", "number", "began", "seconds", "tried", "delay", "prevented", "trusted",
    "ports",
)  # fmt: skip


def as_csv(results: Iterable[Result]) -> str:
    """One line per ban."""
    rows = []
    for result in results:
        trusted = set(result.trusted)
        for ban in result.bans:
            values = {"jail": result.jail, **_ban_dict(ban)}
            values["trusted"] = int(ban.source in trusted)
            values["ports"] = " ".join(map(str, ban.ports))
            rows.append([values[name] for name in _BAN_COLUMNS])
    return table_csv(_BAN_COLUMNS, rows)


def table_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a head."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
