# SPDX-License-Identifier: GPL-2.0-or-later
"""How a stock fail2ban learns the word ``pflog``: by wrapping what sets a jail's backend."""

from __future__ import annotations

import functools
import re
from typing import Any, Callable

from fail2ban.helpers import extractOptions
from fail2ban.server.jail import Jail

from ..options import DEFAULT_INTERFACE, NAME, is_meant, quoted

__all__ = ["register_backend"]


def register_backend(filter_class: Callable[..., Any]) -> None:
    """Teach fail2ban's Jail the backend ``pflog``; as often as one likes.

    filter_class: makes the filter of a jail, as ``FilterPflog`` does.

    Only a jail that asks for ``pflog`` sees the name: ``auto`` and all other backends
    are looked for in fail2ban's own list, in its own order.
    """
    original = Jail._setBackend
    if hasattr(original, "is_pflog"):  # ours, or the loader's stand-in
        original = original.__wrapped__

    @functools.wraps(original)
    def set_backend(jail: Any, backend: str) -> Any:
        if not is_meant(backend):
            return original(jail, backend)
        name, bracket, rest = backend.partition("[")
        text = quoted(name.strip() + bracket + rest)
        problem = _unreadable(text)
        jail._BACKENDS = [NAME]
        jail._initPflog = functools.partial(_init, filter_class, jail, problem)
        try:
            return original(jail, NAME if problem else text)
        finally:
            del jail._BACKENDS

    set_backend.is_pflog = True  # type: ignore[attr-defined]
    Jail._setBackend = set_backend


def _unreadable(backend: str) -> str:
    """What is wrong with the form of ``pflog[...]``; "" where nothing is."""
    try:
        name = str(extractOptions(backend)[0]).strip()
        # 0.11 returns None where the later ones raise.
        why = "" if name.lower() == NAME else "its form is pflog[option=value, ...]"
        if re.fullmatch(r"pflog\w+", name, re.IGNORECASE):
            interface = (
                name.lower() if re.fullmatch(r"pflog\d+", name.lower()) else DEFAULT_INTERFACE
            )
            why = f"did you mean pflog[interface={interface}]?"
    except ValueError as error:
        why = str(error)
    return f"backend = {backend} cannot be read: {why}" if why else ""


def _init(filter_class: Callable[..., Any], jail: Any, problem: str, /, **options: str) -> None:
    jail._Jail__filter = filter_class(jail, **options)
    if problem:
        jail.filter.stay_idle(problem, until_reload=False)
