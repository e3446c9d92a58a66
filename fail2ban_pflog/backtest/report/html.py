# SPDX-License-Identifier: GPL-2.0-or-later
"""A page that holds everything itself: what is told, pictures, and what it was made of.

It asks no other host for anything, and its content security policy lets it run one script,
its own, which sorts tables; without it they stand in their order.  Whatever comes from
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
from .plots import DARK_STYLE, Picture, element
from .text import Document, Facts, Row, Table
from .words import moment

__all__ = ["Origin", "Section", "write_page"]

WIDE, NARROW = 7.2, 4.0
"""Inches of a picture, for a screen and for a phone."""

MAX_ROWS = 5_000
"""Rows of a table: browsers are slow with more, and --csv has all."""

MAX_OPEN = 1_000
"""Rows of which the lines are in the page: some four megabytes."""


LONG = 20
"""Letters of a cell that may be broken: times and IPv4 addresses are not."""


class Origin(NamedTuple):
    """What a page was made of.

    captures: what was read.  command: how it was asked for.  fail2ban: its version.
    made: when, seconds since the epoch.  warnings: why it may be wrong.
    """

    captures: Sequence[Contents]
    command: str
    fail2ban: str
    made: float
    warnings: Sequence[str] = ()


class Section(NamedTuple):
    """A jail, or a sweep.

    document: its first part tells what it is.  options: of the jail, as it was run.
    """

    document: Document
    pictures: Sequence[Picture]
    options: Sequence[tuple[str, str]]

    @property
    def heading(self) -> str:
        """What it is."""
        first = self.document[0]
        return first if isinstance(first, str) else first.title


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1e23; --quiet: #5b6470; --faint: #dde1e6;
  --paper: #fff; --mark: #b3400b }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 50rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 3px solid var(--ink) }
h3 { font-size: 1.05rem; margin: 2.25rem 0 .5rem }
p, dd { overflow-wrap: anywhere }
.lead, figcaption, .quiet { color: var(--quiet) }
.warning { border-left: 4px solid var(--mark); padding-left: .75rem }
figure { margin: 2.25rem 0 } figcaption { font-size: .94rem; margin-bottom: .6rem }
figcaption b { display: block; color: var(--ink); font-size: 1.05rem; margin-bottom: .15rem }
svg { display: block; width: 100%; height: auto } .narrow { display: none }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; vertical-align: top }
th:last-child, td:last-child { padding-right: 0 }
th { border-bottom: 1px solid var(--ink); font-weight: 600; white-space: nowrap }
tbody { border-bottom: 1px solid var(--faint) }
.n { text-align: right } .main td { white-space: nowrap }
.main .long, .facts td { white-space: normal; overflow-wrap: anywhere }
.facts th { border: 0; font-weight: 400; color: var(--quiet); width: 1% }
.facts tr { border-bottom: 1px solid var(--faint) }
.note td { padding-top: 0; font-size: .9em; color: var(--quiet) }
.marked td:first-child { border-left: 4px solid var(--mark); padding-left: .5rem }
.marked .main { background: color-mix(in srgb, var(--mark) 12%, transparent) }
summary { cursor: pointer }
pre { font: .8rem/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  margin: .5rem 0 }
th button { all: unset; cursor: pointer } th button:focus-visible { outline: 2px solid }
th button:hover { text-decoration: underline } th button::after { padding-left: .2em }
[aria-sort=ascending] button::after { content: "\\2191" }
[aria-sort=descending] button::after { content: "\\2193" }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --quiet: #a7afb9; --faint: #343a42;
  --paper: #14171b; --mark: #f0792a } }
@media (max-width: 36rem) { body { padding: 1rem .75rem 3rem; font-size: 15px }
  .wide { display: none } .narrow { display: block }
  table { font-size: .8rem } th, td { padding-right: .35rem } h1 { font-size: 1.35rem } }
@media print { :root { --ink: #000; --paper: #fff; --quiet: #444; --faint: #ccc }
  h2, h3, figure { break-after: avoid } figure { break-inside: avoid } }
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (body) => body.rows[0].cells[column].dataset.key;
      const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
      const bodies = [...table.tBodies].sort(order);
      table.append(...(down ? bodies.reverse() : bodies));
    });
  });
}
"""


HEADING = "Whom fail2ban would have banned"


def write_page(path: Path, sections: Sequence[Section], origin: Origin) -> None:
    """Write the page.  Raises OSError."""
    style = _STYLE + DARK_STYLE
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(_SCRIPT)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{HEADING}</title>",
        f"<style>{style}</style></head><body>",
        f"<header><h1>{HEADING}</h1>",
        f'<p class="lead">{_e(_lead(origin))}</p>',
        *(f'<p class="warning">{_e(warning)}</p>' for warning in origin.warnings),
        "</header>",
    ]
    for number, section in enumerate(sections):
        parts += ["<section>", *_section(section, number), "</section>"]
    parts += ["<footer>", *_origin(origin), "</footer>"]
    text = "\n".join([*parts, f"<script>{_SCRIPT}</script>", "</body></html>", ""])
    path.write_text(text, "utf-8")


def _hash(text: str) -> str:
    """As a content security policy names what may stand inline."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lead(origin: Origin) -> str:
    packets = sum(each.packets for each in origin.captures)
    count = len(origin.captures)
    words = f"{packets:,} packets of {count:,} capture{'s' if count != 1 else ''}"
    times = [time for each in origin.captures if each.packets for time in (each.begin, each.end)]
    if times:
        words += f", {moment(min(times))} to {moment(max(times))}"
    return f"{words}, judged by fail2ban {origin.fail2ban}'s own code."


def _section(section: Section, number: int) -> list[str]:
    """Numbers first, then pictures, then tables."""
    parts = [piece for part in section.document for piece in _part(part)]
    first = section.document[0]
    count = len(_part(first)) if isinstance(first, Facts) else 1
    parts[0] = parts[0].replace("h3>", "h2>")
    parts[count:count] = [
        piece
        for index, picture in enumerate(section.pictures)
        for piece in _figure(picture, f"{number}.{index}")
    ]
    if section.options:
        parts += ["<h3>Options in force</h3>", *_facts(section.options)]
    return parts


def _figure(picture: Picture, salt: str) -> list[str]:
    words = f"<b>{_e(picture.title)}</b> {_e(picture.words)}"
    drawn = [
        f'<div class="{name}">{element(picture, width, name + salt)}</div>'
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    return [f"<figure><figcaption>{words}</figcaption>", *drawn, "</figure>"]


def _origin(origin: Origin) -> list[str]:
    rows = [
        Row(
            (
                each.name,
                f"{each.packets:,}",
                moment(each.begin) if each.packets else "",
                moment(each.end) if each.packets else "",
            ),
            (each.problem,) if each.problem else (),
        )
        for each in origin.captures
    ]
    facts = [
        ("Made", datetime.fromtimestamp(origin.made).astimezone().isoformat(" ", "seconds")),
        ("By", f"fail2ban-pflog {__version__}, fail2ban {origin.fail2ban}"),
        ("Command", origin.command),
    ]
    table = Table("Captures", ("File", "Packets ", "First", "Last"), rows)
    return ["<h2>How this was made</h2>", *_facts(facts), *_table(table)]


def _part(part: object) -> list[str]:
    if isinstance(part, Facts):
        return [f"<h3>{_e(part.title)}</h3>", *_facts(part.facts)]
    if isinstance(part, Table):
        return _table(part)
    return [f"<pre>{_e(str(part))}</pre>"]


def _facts(facts: Sequence[tuple[str, str]]) -> list[str]:
    rows = [
        f'<tr><th scope="row">{_e(name)}</th><td>{_e(value)}</td></tr>' for name, value in facts
    ]
    return ['<table class="facts">', *rows, "</table>"]


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
            lines.append(
                f'<tr class="note"><td colspan="{len(kinds)}">{_notes(row, index)}</td></tr>'
            )
        lines.append("</tbody>")
    lines.append("</table></div>")
    if (left := len(table.rows) - MAX_ROWS) > 0:
        lines.append(f'<p class="quiet">And {left:,} more; --csv and --json have all.</p>')
    return lines


def _notes(row: Row, index: int) -> str:
    """The first note, which opens to the others and to what there is more."""
    first, *others = map(_e, (*row.notes, *row.more))
    if not others:
        return first
    if index >= MAX_OPEN:
        return f"{first} (its lines: --json)"
    lines = "\n".join(others)
    return f"<details><summary>{first}</summary><pre>{lines}</pre></details>"


# -- sorting ----------------------------------------------------------------------------

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def _key(cell: str, index: int) -> str:
    """What a cell is sorted by, letter by letter: numbers are padded, so that size decides."""
    cell = cell.strip()
    if re.fullmatch(r"\d\d-\d\d \d\d:\d\d:\d\d", cell):  # tells no year: rows stand in its order
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
    if cell and (match := _SPAN.fullmatch(cell)):
        return sum(float(part or 0) * size for part, size in zip(match.groups(), _UNITS.values()))
    return None


# -- escaping ---------------------------------------------------------------------------


def _e(text: str) -> str:
    """Text for HTML; what cannot be shown, or turns the reading direction, as ``\\x1b``."""
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1]
        for letter in text.strip(" ")
    )
    return html.escape(shown)
