# SPDX-License-Identifier: GPL-2.0-or-later
"""A figure as an SVG element that a page can hold, and that goes with a dark screen.

matplotlib's ``style`` attributes are turned into plain ones: a page needs no permission for
styles then (content security policy), and one style sheet can give each colour its like for
a dark screen.  Who does not read that, a word processor, shows the colours of paper.  Text
stays text.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

from .paper import DARK

__all__ = ["DARK_STYLE", "as_svg"]

_RULES = "".join(
    f'[{what}="{light}"]{{{what}:{dark}}}'
    for light, dark in DARK.items()
    for what in ("fill", "stroke")
)
DARK_STYLE = f"@media screen and (prefers-color-scheme: dark) {{{_RULES}}}"


def as_svg(drawn: Any, title: str, style: bool) -> str:
    """A figure as an SVG element.

    title: what it shows, for who cannot see it.  style: whether it is to hold its own style
    sheet, a page has one for all.
    """
    out = io.StringIO()
    drawn.savefig(out, format="svg", dpi=144, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(
        r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    text = re.sub(r' style="([^"]*)"', _attributes, text)
    used = set(re.findall(r'#([\w.-]+)[")]', text))
    text = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", text)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert box is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[0][9:-1]}" role="img" font-family="system-ui, sans-serif" '
        f'stroke-linejoin="round">\n<title>{html.escape(title)}</title>\n'
    )
    if style:
        head = head.replace(" role=", f' width="{box[1]}pt" height="{box[2]}pt" role=', 1)
        head += f"<style>svg {{max-width:100%; height:auto}} {DARK_STYLE}</style>\n"
    return head + re.sub(r"\n\s*\n+", "\n", text[text.index(">") + 1 :]).lstrip()


def _attributes(style: re.Match[str]) -> str:
    """A ``style`` attribute as plain ones."""
    found = []
    for each in html.unescape(style[1]).split(";"):
        name, _, value = (part.strip() for part in each.partition(":"))
        if name == "font":
            size = re.search(r"([\d.]+)px", value)
            found.append(f'font-size="{size[1]}"' if size else "")
            if re.match(r"(bold|[6-9]00)\b", value):
                found.append('font-weight="bold"')
        elif name == "font-size":
            found.append(f'font-size="{value.removesuffix("px")}"')
        elif name and name != "font-family":
            found.append(f'{name}="{html.escape(value)}"')
    return "".join(f" {each}" for each in found if each)
