"""Seconds since the epoch as text: one look-up of the time zone per second, not per packet.

The time zone's rules come from ``datetime``, per second, so a change to or from
daylight saving time shows in the first second after it.
"""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["Stamps"]

MAX_SECONDS = 4096
"""How many seconds' texts are kept; captures run forward, so few are asked twice."""


class Stamps:
    """Both forms of a time, in the local time zone or UTC.

    utc: whether to leave the local time zone out.
    """

    def __init__(self, utc: bool = False) -> None:
        self._zone = timezone.utc if utc else None
        self._seconds: dict[int, tuple[str, str, str]] = {}

    def text(self, seconds: int, microseconds: int) -> str:
        """Return ``2026-11-22 01:48:13.748353``, as ``tcpdump -tttt`` prints it."""
        entry = self._seconds.get(seconds) or self._look_up(seconds)
        return f"{entry[0]}.{microseconds:06}"

    def second(self, seconds: int) -> str:
        """Return ``2026-11-22 01:48:13``: what ``text`` prints before the point."""
        return (self._seconds.get(seconds) or self._look_up(seconds))[0]

    def iso(self, seconds: int, microseconds: int) -> str:
        """Return ``2026-11-22T01:48:13.748353+01:00`` (ISO 8601)."""
        _, date, offset = self._seconds.get(seconds) or self._look_up(seconds)
        return f"{date}.{microseconds:06}{offset}"

    def _look_up(self, seconds: int) -> tuple[str, str, str]:
        utc = datetime.fromtimestamp(seconds, timezone.utc)
        local = utc.astimezone(self._zone)
        if len(self._seconds) >= MAX_SECONDS:
            self._seconds.clear()
        date = local.strftime("%Y-%m-%dT%H:%M:%S")
        entry = (date.replace("T", " "), date, local.isoformat()[-6:])
        self._seconds[seconds] = entry
        return entry
