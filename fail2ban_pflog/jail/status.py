# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows that ``fail2ban-client status JAIL`` shows of a jail with ``backend = pflog``."""

from __future__ import annotations

from typing import Any

from ..pflog.address import address

__all__ = ["rows"]

NEAR = 3
"""Sources shown that are nearest to a ban."""

LARGEST = 3
"""Kinds of packets that are named of those that do not count."""


def rows(filter_: Any) -> list[tuple[str, Any]]:
    """Return the rows of a ``FilterPflog``, behind fail2ban's own."""
    inputs, pipeline = filter_.inputs, filter_.pipeline
    found: list[tuple[str, Any]] = [("File list", filter_.getLogPaths())]
    if filter_.problem:
        found.append(("Idle because", filter_.problem))
    found += [("Action failed", failed) for failed in filter_.monitor.failures]
    warnings = [*filter_.selfcheck.warnings.values(), filter_.positions.problem]
    if filter_.loop.unexpected:
        warnings.append(f"unexpected, please report it: {filter_.loop.unexpected}")
    found += [("Warning", warning) for warning in warnings if warning]
    counts = [*pipeline.counts(), *filter_.limit.counts()]
    if inputs is not None:
        found += inputs.rows()
        counts += inputs.counts()
    found.append(("Packets", ", ".join(counts)))
    if pipeline.ignored:
        found.append(("Not counted", _largest(pipeline.ignored)))
    near = pipeline.dedup.near(NEAR)
    if near:
        most = filter_.getMaxRetry()
        words = [f"{address(source)} ({held} of {most})" for source, held in near]
        found.append(("Near a ban", ", ".join(words)))
    return found


def _largest(ignored: dict[Any, int]) -> str:
    """Return the most frequent kinds, and how many packets were of others."""
    kinds = sorted(dict(ignored).items(), key=lambda each: -each[1])
    words = [f"{count} {kind.words}" for kind, count in kinds[:LARGEST]]
    if rest := sum(count for _, count in kinds[LARGEST:]):
        words.append(f"{rest} of other kinds")
    return "; ".join(words)
