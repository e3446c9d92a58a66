# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of a jail and of its backend, by name.

``--set distinct=none`` names an option of ``backend = pflog[...]`` by itself.  ``mode`` is both:
the shipped jails make the backend's of the jail's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from fail2ban.helpers import extractOptions

from ...options import Options, quoted

__all__ = ["BACKEND_OPTIONS", "is_pflog", "of_backend", "unknown", "with_options"]

BACKEND_OPTIONS = frozenset(Options._fields)


def is_pflog(backend: str) -> bool:
    """Return whether a jail's option ``backend`` asks for pflog."""
    return backend.partition("[")[0].strip().lower() == "pflog"


def of_backend(backend: str) -> dict[str, str]:
    """Return the options in ``pflog[name=value, ...]``.  Raises ValueError."""
    options: dict[str, str] = extractOptions(quoted(backend))[1]
    return options


def with_options(backend: str, changes: Mapping[str, str]) -> str:
    """Return ``pflog[...]`` with some options replaced; itself where it says all of them.

    Raises ValueError.
    """
    given = of_backend(backend)
    if all(given.get(name) == value for name, value in changes.items()):
        return backend
    words = [f"{name}={_quoted(value)}" for name, value in {**given, **changes}.items()]
    return f"{backend.partition('[')[0].strip()}[{', '.join(words)}]"


def _quoted(value: str) -> str:
    plain = value.replace("-", "").replace(".", "").replace("_", "").isalnum()
    return value if plain else f"'{value}'" if '"' in value else f'"{value}"'


def unknown(jail: str, name: str, known: Iterable[str]) -> str:
    """Say that a jail has no such option, and which one may be meant."""
    own = sorted(set(known) - BACKEND_OPTIONS)
    close = difflib.get_close_matches(name, (*own, *BACKEND_OPTIONS), 1)
    hint = (
        f"is {close[0]} meant?"
        if close
        else f"its own are {', '.join(own)}; its backend's are {', '.join(Options._fields)}"
    )
    return f"jail {jail} has no option {name}; {hint}"
