"""Records to the lines that a jail is given: what repeats, or cannot count, makes none.

The backend and the backtest share this path, so that both come to the same bans.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from .distinct import Distinct, Verdict
from .errors import PflogError
from .formatter import Formatter
from .savefile import Record
from .stamps import Stamps

__all__ = ["EARLIEST", "Line", "Lines"]


EARLIEST = 1e-6
"""The time given for 0, which to fail2ban is none."""


class Line(NamedTuple):
    """What fail2ban's ``processLineAndAdd`` takes: (before, time, behind), epoch.

    parts: the line, split around its time; fail2ban joins them for a ticket's matches.
    time: the packet's own time, seconds since the epoch.
    """

    parts: tuple[str, str, str]
    time: float


class Lines:
    """Make lines of one jail's records.

    read: records that came in.  passed: lines that came out.
    undecodable: frames that are no pflog frames.
    formatters: byte order -> Formatter; stamps: Stamps; both may be shared by jails.
    """

    def __init__(self, distinct: Distinct) -> None:
        self.distinct = distinct
        self.read = 0
        self.passed = 0
        self.undecodable = 0
        self.stamps = Stamps()
        self.formatters = {order: Formatter(order) for order in "<>"}

    def line(self, record: Record, byteorder: str) -> Optional[Line]:
        """Return the record's line, or None where it makes none.  Never raises.

        byteorder: of the savefile that the record is from, or of this machine.
        """
        seconds, microseconds, frame = record
        time = seconds + microseconds / 1e6
        self.read += 1
        if self.distinct.judge(time, frame) is not Verdict.PASS:
            return None
        try:
            text = self.formatters[byteorder].line(frame)
        except PflogError:
            self.undecodable += 1
            return None
        self.passed += 1
        stamp = self.stamps.text(seconds, microseconds)
        return Line(("", stamp, " " + text), time or EARLIEST)
