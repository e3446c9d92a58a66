# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as pictures, by matplotlib, and as a page that holds everything itself.

Two pictures per jail: what was logged and what would have been prevented over time, with
the bans above; and how many sources asked for how many ports, with maxretry as a line.
matplotlib is imported late; a page is written without it as well, only plainer.
"""

from __future__ import annotations

import html
import importlib
import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Optional

from ..judging.run import Result
from ..judging.survey import Survey
from .report import Document, Facts, Table

__all__ = ["problem", "write", "write_page"]

FORMATS = (".svg", ".png")

LOGGED, PREVENTED, BANS = "#0072b2", "#e69f00", "#d55e00"  # distinct to the colour-blind

MAX_BARS = 120
"""Bars of a time line as it is drawn."""


def problem(path: Optional[Path]) -> str:
    """Say why nothing can be drawn, or drawn to ``path``; empty where all is well."""
    if path is not None and path.suffix.lower() not in FORMATS:
        return f"--plot {path}: must end in {' or '.join(FORMATS)}"
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        return "plots need matplotlib: pip install 'fail2ban-pflog[backtest]'"
    return ""


def write(path: Path, results: Sequence[Result]) -> None:
    """Draw all results into one file, its format by its name's end.  Raises OSError."""
    _figure(results).savefig(path, format=path.suffix.lower()[1:])


def _figure(results: Sequence[Result]) -> Any:
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(11, 4.2 * max(1, len(results))), layout="constrained"
    )
    axes = figure.subplots(max(1, len(results)), 2, squeeze=False)
    for (left, right), result in zip(axes, results):
        if result.survey is not None:
            _draw_time(left, result, result.survey)
            _draw_ports(right, result, result.survey)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    return figure


def _draw_time(axis: Any, result: Result, survey: Survey) -> None:
    """Logged and prevented packets per bar, and the sum of bans."""
    dates = importlib.import_module("matplotlib.dates")
    # The two time lines may be of different width: a power of two apart.
    span = max(result.end - result.begin, 1.0)
    width = max(survey.packets.width, survey.prevented.width)
    while span / width > MAX_BARS:
        width *= 2
    logged, prevented = survey.packets.folded(width), survey.prevented.folded(width)
    bars = range(int(result.begin // width), int(result.end // width) + 1)
    begins = [dates.date2num(datetime.fromtimestamp(number * width)) for number in bars]
    day = width / 86400
    low = [logged.get(number, 0) for number in bars]
    high = [prevented.get(number, 0) for number in bars]
    axis.bar(begins, low, day, align="edge", color=LOGGED, label="logged")
    axis.bar(begins, high, day, low, align="edge", color=PREVENTED, label="prevented")
    axis.xaxis_date()
    locator = dates.AutoDateLocator(maxticks=6)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axis.set_ylabel(f"packets per {width:g} s")
    axis.set_title(f"{result.jail}: {len(result.bans):,} bans, {result.share:.0%} prevented")
    times = sorted(ban.time for ban in result.bans)
    sums = axis.twinx()
    sums.step(
        [dates.date2num(datetime.fromtimestamp(time)) for time in [result.begin, *times]],
        range(len(times) + 1),
        where="post",
        color=BANS,
        label="bans",
    )
    sums.set_ylim(bottom=0)
    sums.set_ylabel("bans so far")
    ticker = importlib.import_module("matplotlib.ticker")
    sums.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    handles = [*axis.get_legend_handles_labels()[0], *sums.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, frameon=False, loc="upper left")


def _draw_ports(axis: Any, result: Result, survey: Survey) -> None:
    """How many sources asked for how many different ports; banned and others."""
    banned = set(result.banned)
    # With prefix6 whole networks are banned.
    lengths = {int(source.partition("/")[2]) for source in banned if "/" in source}
    ports = survey.ports
    counts_of: dict[bool, list[int]] = {True: [], False: []}
    for source, count in ports.items():
        names = [source]
        if ":" in source:
            names += [str(ip_network(f"{source}/{length}", strict=False)) for length in lengths]
        counts_of[not banned.isdisjoint(names)].append(count)
    for label, colour, counts in (
        ("banned", BANS, counts_of[True]),
        ("not banned", LOGGED, counts_of[False]),
    ):
        points = sorted((count, sources) for count, sources in Counter(counts).items() if count)
        if points:
            axis.scatter(*zip(*points), s=18, color=colour, label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    ticker = importlib.import_module("matplotlib.ticker")
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.axvline(result.maxretry, color="grey", linestyle=":")
    axis.annotate(
        f"maxretry {result.maxretry}",
        (result.maxretry, 1),
        xycoords=("data", "axes fraction"),
        ha="center",
        fontsize="small",
    )
    axis.set_xlabel("different ports that the mode counts, bans aside")
    axis.set_ylabel("sources")
    if ports:
        axis.legend(frameon=False)


# -- the page ---------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
h2 { margin: 2em 0 .5em } h3 { margin: 1.5em 0 .3em }
table { border-collapse: collapse } th, td { text-align: left; padding: .15em 1em .15em 0 }
th { border-bottom: 1px solid; font-weight: 600 } .n { text-align: right }
td { vertical-align: top } .note td { font-size: 85%; opacity: .75; padding-left: 1.5em }
.marked { color: #d55e00; font-weight: 600 }
figure { margin: 1em 0; background: #fff } svg { width: 100%; height: auto }
pre { white-space: pre-wrap }
"""


def write_page(path: Path, documents: Sequence[Document], results: Sequence[Result]) -> None:
    """Write a page that needs nothing beside itself; pictures where there can be some.

    Raises OSError.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<title>fail2ban-pflog backtest</title>",
        f"<style>{_STYLE}</style>",
        "<h1>fail2ban-pflog backtest</h1>",
    ]
    if results and not problem(None):
        parts.append(f"<figure>{_svg(results)}</figure>")
    for document in documents:
        parts += [piece for part in document for piece in _part(part)]
    path.write_text("\n".join(parts) + "</html>\n", "utf-8")


def _svg(results: Sequence[Result]) -> str:
    out = io.StringIO()
    _figure(results).savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _part(part: Any) -> list[str]:
    if isinstance(part, Facts):
        rows = [f"<tr><th>{_e(name)}<td>{_e(value)}" for name, value in part.facts]
        return [f"<h2>{_e(part.title)}</h2>", "<table>", *rows, "</table>"]
    if isinstance(part, Table):
        return _table(part)
    return [f"<pre>{_e(part)}</pre>"]


def _table(table: Table) -> list[str]:
    kinds = [' class="n"' if name.endswith(" ") else "" for name in table.columns]
    heads = "".join(f"<th{kind}>{_e(name)}" for name, kind in zip(table.columns, kinds))
    lines = [f"<h3>{_e(table.title)}</h3>", "<table>", f"<tr>{heads}"]
    for row in table.rows:
        cells = "".join(f"<td{kind}>{_e(cell)}" for cell, kind in zip(row.cells, kinds))
        lines.append(f"<tr{' class=marked' if row.marked else ''}>{cells}")
        lines += [
            f'<tr class="note"><td colspan="{len(kinds)}">{_e(note)}</tr>' for note in row.notes
        ]
    return [*lines, "</table>"]


def _e(text: str) -> str:
    return html.escape(text.strip())
