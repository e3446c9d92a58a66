# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a document: facts and tables, in words.

A ``Document`` is what text, terminal and page have in common; ``text`` sets it plainly
in 80 columns, without what is only ``more``.  ``as_json`` and ``as_csv`` hold the same for
programs.
"""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Any, NamedTuple, Union

from ... import __version__
from ...sources.captures import Contents
from ..replay.evidence import Evidence
from ..replay.replay import Ban, Close
from ..replay.run import Result
from ..replay.statistics import MAX_COUNTED_EXACTLY
from .words import (
    count,
    duration,
    iso,
    moment,
    names,
    ranges,
    what_was_asked,
    zone,
)

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
    "read_dict",
    "text",
    "why",
]

WIDTH = 80

MOST_TOP = 5
"""Sources, networks and ports that sent most, or were asked for most."""

MAX_CLOSE = 20
"""Sources that came close, in words; JSON has them all."""


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        cells: one for each column.
        notes: lines below it.
        marked: whether it is to catch the eye.
        more: lines that a page opens to; text has them with ``-v``.
    """

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()
    marked: bool = False
    more: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table; columns with a name that ends in a space are set flush right."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]


class Facts(NamedTuple):
    """Names and values."""

    title: str
    facts: list[tuple[str, str]]


Document = list[Union[Facts, Table, str]]


# -- one jail ---------------------------------------------------------------------------


def jail_document(result: Result) -> Document:
    """Make the report of what a jail would have done."""
    document: Document = [Facts(f"Jail {result.jail}: {settings(result)}", _facts(result))]
    if result.trusted:
        document.append(_trusted_table(result))
    if result.bans:
        document.append(_ban_table(result))
    if result.close:
        document.append(_close_table(result))
    return document


def settings(result: Result) -> str:
    """Write the jail's three settings in one line."""
    return (
        f"{result.maxretry} in {duration(result.findtime)}, banned for {duration(result.bantime)}"
    )


def _facts(result: Result) -> list[tuple[str, str]]:
    banned = len(result.banned)
    again = len(result.bans) - banned
    about = "about " if result.sources > MAX_COUNTED_EXACTLY else ""
    sources = round(result.sources, -3) if about else result.sources
    facts = [
        (name, value)
        for name, value in result.options
        if name not in _IN_TITLE and (name, value) not in _PLAIN
    ]
    if result.packets:
        times = f"{moment(result.begin)} to {moment(result.end)} {zone(result.end)}"
        facts.append(("Time", times))
    prevented = f"{result.prevented:,} ({result.share:.1%})"
    facts += [
        ("Packets", f"{result.packets:,}, of which {prevented} would not have come"),
        ("Sources", f"{about}{sources:,}, of which {banned:,} would have been banned"),
    ]
    most = result.top.most(MOST_TOP)
    for name, key in (("Most from", "sources"), ("Networks", "networks"), ("Ports", "ports")):
        if most[key]:
            facts.append((name, ", ".join(f"{each} ({number:,})" for each, number in most[key])))
    if again:
        facts.append(("Bans", f"{len(result.bans):,}, {again:,} of them of a source that returned"))
    if result.bans:
        facts.append(("First ban", f"after {count(result.bans[0].packets, 'packet')}"))
    return facts


_IN_TITLE = frozenset({"maxretry", "findtime", "bantime"})
_PLAIN = frozenset({("ignoreip", "none"), ("ignoreself", "yes")})


def why(ban: Ban) -> str:
    """Write what a ban is for: ``15 ports (12 tcp, 3 udp) on 1 host in 4 s``."""
    words = what_was_asked(ban.evidence) or "what is not known"
    if ban.failures > ban.evidence.packets and ban.number > 1:
        words += "; so few are enough, for it was banned before"
    return words


def _ban_row(ban: Ban, trusted: bool) -> Row:
    cells = (
        moment(ban.time, "%m-%d %H:%M:%S"),
        ban.source,
        duration(ban.end - ban.time),
        f"{ban.prevented:,}",
    )
    return Row(cells, (_with_names(why(ban), ban.evidence),), trusted, tuple(ban.lines))


def _with_names(words: str, evidence: Evidence) -> str:
    more = names(evidence)
    return f"{words}: {more}" if more else words


def _ban_table(result: Result) -> Table:
    trusted = set(result.trusted)
    rows = [_ban_row(ban, ban.source in trusted) for ban in result.bans]
    return Table("Bans", ("Began", "Source", "For ", "Prevented "), rows)


def _trusted_table(result: Result) -> Table:
    first = {ban.source: ban for ban in reversed(result.bans)}
    rows = [
        Row((moment(first[source].time), source, why(first[source])), (), True)
        for source in result.trusted
    ]
    return Table("Trusted sources that would be banned", ("Began", "Source", "For"), rows)


def _close_table(result: Result) -> Table:
    rows = [
        Row(
            (
                f"{close.reached} of {result.maxretry}",
                close.source,
                _with_names(what_was_asked(close.evidence), close.evidence),
            )
        )
        for close in result.close[:MAX_CLOSE]
    ]
    title = "Sources that came close"
    if len(result.close) > MAX_CLOSE:
        title = f"The {MAX_CLOSE} closest of {len(result.close):,} sources that came close"
    return Table(title, ("Reached", "Source", "With"), rows)


# -- as text ----------------------------------------------------------------------------


class Style(Enum):
    """What a line of text is; a terminal may show it."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    MARKED = "marked"
    NOTE = "note"


Line = tuple[Style, str]


def text(document: Document, verbose: bool = False) -> str:
    """Write the document in WIDTH columns; a long address may reach beyond."""
    return "".join(f"{line}\n" for _, line in lines(document, WIDTH, verbose))


def lines(document: Document, width: int = WIDTH, verbose: bool = False) -> Iterator[Line]:
    """Yield the document's lines, without line feeds, in ``width`` columns.

    Args:
        document: the report.
        width: columns.
        verbose: with what rows have ``more``.
    """
    for part in document:
        for style, line in _part(part, width, verbose):
            yield style, line.rstrip()
        yield Style.PLAIN, ""


def _part(part: Union[Facts, Table, str], width: int, verbose: bool) -> Iterator[Line]:
    if isinstance(part, str):
        yield from ((Style.PLAIN, line) for line in part.splitlines())
    elif isinstance(part, Facts):
        yield Style.TITLE, part.title
        longest = max((len(name) for name, _ in part.facts), default=0)
        for name, value in part.facts:
            begin = f"  {name:<{longest}}  "
            for line in textwrap.wrap(
                value, width, initial_indent=begin, subsequent_indent=" " * len(begin)
            ):
                yield Style.PLAIN, line
    else:
        yield from _table(part, width, verbose)


def _table(table: Table, width: int, verbose: bool) -> Iterator[Line]:
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
        for note in (*row.notes, *(row.more if verbose else ())):
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
    """Return a result as JSON has it; times are ISO 8601, spans are seconds, -1 is for ever."""
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
        "top": {
            key: [{"name": name, "packets": number} for name, number in found]
            for key, found in result.top.most(MOST_TOP).items()
        },
        "options": dict(result.options),
        "trusted": result.trusted,
        "bans": [{**_ban_dict(ban), "trusted": ban.source in trusted} for ban in result.bans],
        "close": [_close_dict(close) for close in result.close],
    }


def read_dict(captures: Sequence[Contents], made: float) -> dict[str, Any]:
    """Return what was read as JSON has it."""
    return {
        "version": __version__,
        "made": iso(made),
        "captures": [
            {
                "name": each.name,
                "packets": each.packets,
                "begin": iso(each.begin) if each.packets else None,
                "end": iso(each.end) if each.packets else None,
                "problem": each.problem,
            }
            for each in captures
        ],
    }


def _ban_dict(ban: Ban) -> dict[str, Any]:
    return {
        "source": ban.source,
        "number": ban.number,
        "began": iso(ban.time),
        "seconds": -1 if math.isinf(ban.end) else round(ban.end - ban.time, 6),
        "tried": ban.evidence.packets,
        "counted": ban.failures,
        "delay": round(ban.time - ban.first, 6),
        "prevented": ban.prevented,
        "why": why(ban),
        "ports": ban.evidence.ports,
        "hosts": [str(ip_address(host)) for host in ban.evidence.hosts],
        "lines": ban.lines,
    }


def _close_dict(close: Close) -> dict[str, Any]:
    return {
        "source": close.source,
        "reached": close.reached,
        "why": what_was_asked(close.evidence),
        "ports": close.evidence.ports,
    }


def as_json(value: Any) -> str:
    """Return JSON, readable, in ASCII: a file's name may hold what drives a terminal."""
    return json.dumps(value, indent=2)


_BAN_COLUMNS = (
    "jail", "source", "number", "began", "seconds", "tried", "delay", "prevented", "trusted",
    "ports", "why",
)  # fmt: skip


def as_csv(results: Iterable[Result]) -> str:
    """Write one line per ban."""
    rows = []
    for result in results:
        trusted = set(result.trusted)
        for ban in result.bans:
            values = {"jail": result.jail, **_ban_dict(ban)}
            values["trusted"] = int(ban.source in trusted)
            values["ports"] = " ".join(map(str, ban.evidence.ports))
            rows.append([values[name] for name in _BAN_COLUMNS])
    return table_csv(_BAN_COLUMNS, rows)


def table_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write CSV with a head."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
