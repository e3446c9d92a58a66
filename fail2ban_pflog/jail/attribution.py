# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a filter plainly counts a packet against the address that sent it."""

from __future__ import annotations

from typing import Any

from fail2ban.server.failregex import FailRegex

__all__ = ["begins_with_address"]


def begins_with_address(filter_: Any) -> bool:
    """Whether all expressions of a filter begin with the address, and it names nobody else.

    What may stand before it takes no text: ``^`` and lookaheads.
    """
    prefix = filter_.prefRegex.getRegex() if filter_.prefRegex else ""
    addresses = [FailRegex(tag).getRegex() for tag in ("<ADDR>", "<HOST>", "<IP4>", "<IP6>")]
    expressions = filter_.getFailRegex()
    if any(group in text for text in (prefix, *expressions) for group in _OTHER_NAMES):
        return False
    return all(
        any(_without_lookaheads(expression).startswith(address) for address in addresses)
        for expression in expressions
    )


_OTHER_NAMES = ("(?P<mlfid>", "(?P<fid>", "(?P<dns>")


def _without_lookaheads(expression: str) -> str:
    """An expression without what stands at its beginning and takes no text."""
    while expression.startswith(("^", "(?!", "(?=")):
        end = 1 if expression[0] == "^" else _group_end(expression)
        expression = expression[end:]
    return expression


def _group_end(expression: str) -> int:
    """Where the group ends that an expression begins with."""
    depth, at, in_class = 0, 0, False
    while at < len(expression):
        letter = expression[at]
        if letter == "\\":
            at += 1
        elif in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
            at += expression[at + 1 : at + 2] in ("]", "^")  # a ] there is no end
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(expression)
