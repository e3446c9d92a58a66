# SPDX-License-Identifier: GPL-2.0-or-later
"""Seconds since the epoch as text: the time zone is asked once per minute, not per packet.

Offsets from UTC have been whole minutes, and changed at whole minutes, since 1972; pf
is from 2001.  So a minute's text serves all of its seconds, and a change to or from
daylight saving time shows in the first second after it.
"""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["Stamps"]

MAX_MINUTES = 4096
"""Minutes whose texts are kept; captures run forward, so old ones are rarely needed."""

_Minute = tuple[str, str, str]
"""The text before the seconds: with a space, with a ``T``; and the offset from UTC."""


class Stamps:
    """Both forms of a time, in the local time zone or UTC.

    Args:
        utc: whether to use UTC.
    """

    def __init__(self, utc: bool = False) -> None:
        self._zone = timezone.utc if utc else None
        self._minutes: dict[int, _Minute] = {}

    def text(self, seconds: int, microseconds: int) -> str:
        """Return ``2026-11-22 01:48:13.748353``, as ``tcpdump -tttt`` prints it."""
        start, _, _ = self._minutes.get(seconds // 60) or self._look_up(seconds)
        return "%s%02d.%06d" % (start, seconds % 60, microseconds)  # noqa: UP031 - faster

    def second(self, seconds: int) -> str:
        """Return ``2026-11-22 01:48:13``: what ``text`` prints before the point."""
        start, _, _ = self._minutes.get(seconds // 60) or self._look_up(seconds)
        return f"{start}{seconds % 60:02}"

    def iso(self, seconds: int, microseconds: int) -> str:
        """Return ``2026-11-22T01:48:13.748353+01:00`` (ISO 8601)."""
        _, start, offset = self._minutes.get(seconds // 60) or self._look_up(seconds)
        return f"{start}{seconds % 60:02}.{microseconds:06}{offset}"

    def _look_up(self, seconds: int) -> _Minute:
        local = datetime.fromtimestamp(seconds, timezone.utc).astimezone(self._zone)
        if len(self._minutes) >= MAX_MINUTES:
            self._minutes.clear()
        minute = self._minutes[seconds // 60] = (
            local.strftime("%Y-%m-%d %H:%M:"),
            local.strftime("%Y-%m-%dT%H:%M:"),
            local.isoformat()[19:],
        )
        return minute
