# SPDX-License-Identifier: GPL-2.0-or-later
"""A page that holds everything itself: the report, pictures, and what it was made of.

It asks no other host for anything, and its content security policy lets it run one script, its
own (``page.js``), which sorts tables; without it they stand in their order.  Whatever comes from
captures, file names and configuration is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple, Optional

from ... import __version__
from ...sources.captures import Contents
from .plots import Picture, element
from .text import Document, Facts, Row, Table
from .words import count, moment

__all__ = ["Origin", "Section", "page"]

MAX_ROWS = 5_000
"""Rows of a table: browsers are slow with more, and --csv has all."""

MAX_OPEN = 1_000
"""Rows of which the lines are in the page: some four megabytes."""

LONG = 20
"""Letters of a cell that may be broken: times and IPv4 addresses are not."""

TITLE = "Sources that fail2ban would have banned"


class Origin(NamedTuple):
    """What a page was made of.

    Attributes:
        captures: what was read.
        command: how it was asked for.
        fail2ban: its version.
        made: when, seconds since the epoch.
        warnings: why it may be wrong.
    """

    captures: Sequence[Contents]
    command: str
    fail2ban: str
    made: float
    warnings: Sequence[str] = ()


class Section(NamedTuple):
    """A jail, or a sweep.

    Attributes:
        document: the report.
        pictures: drawn below its first part.
        options: in force: names and values.
    """

    document: Document
    pictures: Sequence[Picture]
    options: Sequence[tuple[str, str]]

    @property
    def heading(self) -> str:
        """The title of the document's first part."""
        first = self.document[0]
        return first if isinstance(first, str) else first.title


def page(sections: Sequence[Section], origin: Origin) -> str:
    """Make the page."""
    style, script = (
        Path(__file__).with_name(name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{TITLE}</title>",
        f"<style>{style}</style></head><body>",
        f'<header><h1>{TITLE}</h1><p class="lead">{_e(_lead(origin))}</p>',
        *(f'<p class="warning">{_e(warning)}</p>' for warning in origin.warnings),
        "</header>",
    ]
    for number, section in enumerate(sections):
        parts += ["<section>", *_section(section, number), "</section>"]
    parts += ["<footer>", *_origin(origin), "</footer>"]
    return "\n".join([*parts, f"<script>{script}</script>", "</body></html>", ""])


def _hash(text: str) -> str:
    """Name a text as a content security policy allows it inline."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lead(origin: Origin) -> str:
    packets = sum(each.packets for each in origin.captures)
    words = f"{count(packets, 'packet')} of {count(len(origin.captures), 'capture')}"
    times = [time for each in origin.captures if each.packets for time in (each.begin, each.end)]
    if times:
        words += f", {moment(min(times))} to {moment(max(times))}"
    return f"{words}, replayed by the code of fail2ban {origin.fail2ban}."


def _section(section: Section, number: int) -> list[str]:
    """Numbers first, then pictures, then tables."""
    blocks = [_part(part) for part in section.document]
    blocks[0][0] = blocks[0][0].replace("h3>", "h2>")
    figures = [
        f"<figure><figcaption><b>{_e(picture.title)}</b> {_e(picture.words)}</figcaption>"
        f"{element(picture, f'{number}.{index}')}</figure>"
        for index, picture in enumerate(section.pictures)
    ]
    blocks.insert(1, figures)
    if section.options:
        blocks.append(_part(Facts("Options in force", list(section.options))))
    return [line for block in blocks for line in block]


def _origin(origin: Origin) -> list[str]:
    rows = []
    for each in origin.captures:
        times = (moment(each.begin), moment(each.end)) if each.packets else ("", "")
        problem = (each.problem,) if each.problem else ()
        rows.append(Row((each.name, f"{each.packets:,}", *times), problem))
    facts = [
        ("Made", datetime.fromtimestamp(origin.made).astimezone().isoformat(" ", "seconds")),
        ("By", f"fail2ban-pflog {__version__}, fail2ban {origin.fail2ban}"),
        ("Command", origin.command),
    ]
    table = Table("Captures", ("File", "Packets ", "First", "Last"), rows)
    return ["<h2>How this was made</h2>", *_part(Facts("", facts))[1:], *_part(table)]


def _part(part: object) -> list[str]:
    if isinstance(part, Table):
        return _table(part)
    if not isinstance(part, Facts):
        text = str(part)  # a jail to paste has an empty line
        return [f"<pre>{_e(text)}</pre>" if "\n\n" in text else f"<p>{_e(text)}</p>"]
    rows = (
        f'<tr><th scope="row">{_e(name)}</th><td>{_e(value)}</td></tr>'
        for name, value in part.facts
    )
    return [f"<h3>{_e(part.title)}</h3>", '<table class="facts">', *rows, "</table>"]


def _table(table: Table) -> list[str]:
    kinds = [' class="n"' if name.endswith(" ") else "" for name in table.columns]
    heads = "".join(
        f'<th scope="col"{kind}>{_e(name)}</th>' for name, kind in zip(table.columns, kinds)
    )
    lines = [
        f"<h3>{_e(table.title)}</h3>",
        f'<div class="scroll"><table class="sorts"><thead><tr>{heads}</tr></thead>',
    ]
    for index, row in enumerate(table.rows[:MAX_ROWS]):
        cells = "".join(
            f'<td{" class=long" if len(cell) > LONG else kind} data-key="{_e(_key(cell, index))}">'
            f"{_e(cell)}</td>"
            for cell, kind in zip(row.cells, kinds)
        )
        lines.append(f'<tbody{" class=marked" if row.marked else ""}><tr class="main">{cells}</tr>')
        if row.notes:
            notes = _notes(row, index)
            lines.append(f'<tr class="note"><td colspan="{len(kinds)}">{notes}</td></tr>')
        lines.append("</tbody>")
    lines.append("</table></div>")
    if (left := len(table.rows) - MAX_ROWS) > 0:
        lines.append(f'<p class="quiet">And {left:,} more; --csv and --json have all.</p>')
    return lines


def _notes(row: Row, index: int) -> str:
    """Show the first note, which opens to the others and to what there is more."""
    first, *others = map(_e, (*row.notes, *row.more))
    if not others:
        return first
    if index >= MAX_OPEN:
        return f"{first} (its lines: --json)"
    lines = "\n".join(others)
    return f"<details><summary>{first}</summary><pre>{lines}</pre></details>"


def _e(text: str) -> str:
    r"""Escape a text for HTML; what does not show, or turns the direction, as ``\x1b``."""
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1]
        for letter in text.strip(" ")
    )
    return html.escape(shown)


# -- sorting ----------------------------------------------------------------------------

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def _key(cell: str, index: int) -> str:
    """Return what a cell is sorted by, letter by letter: numbers are padded."""
    cell = cell.strip()
    if re.fullmatch(r"\d\d-\d\d \d\d:\d\d:\d\d", cell):  # has no year: rows stand in its order
        return f"{index:09}"
    number = _number(cell)
    if number is not None:
        return "~" if math.isinf(number) else f"{number:018.3f}"
    try:
        network = ip_network(cell)
    except ValueError:
        return cell
    return f"{network.version}.{int(network.network_address):032x}"


def _number(cell: str) -> Optional[float]:
    if cell in ("ever", "never"):
        return math.inf
    if match := re.match(r"(\d[\d,]*(?:\.\d+)?)(?: of |%|$)", cell):
        return float(match[1].replace(",", ""))
    if re.fullmatch(r"(?:\d+(?:\.\d+)?[dhms])+", cell):
        spans = re.findall(r"([\d.]+)([dhms])", cell)
        return sum(float(number) * _UNITS[unit] for number, unit in spans)
    return None
