# SPDX-License-Identifier: GPL-2.0-or-later
"""One jail, replayed by fail2ban's own code on a clock that the packets turn.

A packet goes the backend's way: the pipeline decides whether it becomes a line, the jail's
filter matches and counts it, and a source that reaches maxretry is banned.  What differs
from a server is this, and nothing else:

- A ban holds from the packet that completes it.  A server's ban action comes up to a
  second later; the backend mutes the source for that long in any case.
- It ends when it is over; a server lifts it up to a second later.
- While it holds, packets from that source would not have been logged: they are counted as
  prevented and not fed to the jail.
- A server's failure counters are cleaned up every 5 seconds, by a clock that no capture
  shows; here that is when the packets' seconds are a multiple of 5.

A source's counter is cleaned up, and its ban lifted, when its next packet comes; all
others' now and then, when no step of the clock can make them needed again.  So what
becomes of a source depends on its own packets alone.
"""

from __future__ import annotations

import math
import socket
import sys
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Callable, NamedTuple, Optional

from ...errors import PflogError
from ...pflog.packet import Packet
from ...pflog.savefile import Record
from ...pipeline import Group
from ...policy import dedup, history
from ...policy.classify import classify
from .evidence import NOTHING, Counted, Evidence
from .jail import (
    BanTicket,
    EveryPacket,
    FailTicket,
    ban_manager,
    begins_with_address,
    end_of_ban,
    filter_of,
    now,
    set_time,
)
from .patches import STEP, observer, remember_strangers, take_over

__all__ = ["Ban", "Close", "Replay"]

MAX_TRACKED = 65_536
"""Sources whose packets and highest count are kept; those unseen for longest go first."""

CLEAN_ALL_EVERY = 60.0
"""Seconds after which that is done for all counters, for the memory's sake."""

PURGE_EVERY = 3600.0
"""Seconds after which a server forgets old bans in its database."""


class Ban:
    """A ban.

    Attributes:
        source: as fail2ban names it.
        number: how many bans of this source it makes.
        time, end: when it began and ends (infinity: never), seconds since the epoch.
        first: when fail2ban began to count the source.
        failures: how many it counted.
        packets: how many packets came before the one that completes it, from all sources.
        evidence: the packets that were counted within findtime.
        lines: the last matched lines, as many as the jail's maxmatches.
        prevented: how many packets would not have been logged, so far.
    """

    __slots__ = (
        "end", "evidence", "failures", "first", "lines", "number", "packets", "prevented", "source",
        "time",
    )  # fmt: skip

    def __init__(self, source: str, number: int, time: float, end: float) -> None:
        self.source = source
        self.number = number
        self.time = time
        self.end = end
        self.first = time
        self.failures = 0
        self.packets = 0
        self.evidence: Evidence = NOTHING
        self.lines: list[str] = []
        self.prevented = 0


class Close(NamedTuple):
    """A source that was never banned, the highest count that it reached, and for what."""

    source: str
    reached: int
    evidence: Evidence


_NOT_COUNTED = Counted(0)
"""Of replays that keep no evidence; nothing is added to it."""


class _Tracked:
    """What is kept of a source beside fail2ban's counters."""

    __slots__ = ("bans", "best", "count", "counted", "first", "last")

    def __init__(self, first: float, counted: Counted) -> None:
        self.first = self.last = first
        self.counted = counted
        self.count = 0.0  # fail2ban's count is no whole one where a source returns
        self.best = NOTHING  # what made the highest count
        self.bans = 0


class Replay:
    """Feeds a jail.

    Args:
        jail: from ``Configuration.load``.
        evidence, lines: whether bans are to hold these.

    Attributes:
        maxretry: the jail's.
        lead: itself, see ``run.Feed``.
        prevented: how many packets would not have been logged.
        bans: in the order in which they began.
        on_failure: called with each failure's ticket and the count that it made.
        group: a record and its byte order -> the pipeline's group; replays may share it.
    """

    def __init__(self, jail: Any, evidence: bool = True, lines: bool = True) -> None:
        self.jail = jail
        self.lead = self
        self.filter = filter_of(jail)
        self.filter.mute = 0.0  # here the firewall catches up at once
        self.maxretry = int(self.filter.getMaxRetry())
        self.prevented = 0
        self.bans: list[Ban] = []
        self._errors = 0
        self._first_error = ""
        self.on_failure: Optional[Callable[[Any, int], None]] = None
        self._keeps_evidence = evidence
        self._half = max(2, self.maxretry / 2)
        if not lines:
            self.filter.failManager.maxMatches = 0
        self.pipeline = self.filter.pipeline
        self.dedup = self.pipeline.dedup
        # However many replays there are, each has the tables of one jail.
        self.dedup.max_bytes = dedup.MAX_BYTES
        self.pipeline.classifier.history.max_bytes = history.MAX_BYTES
        self.filter.prepare()
        # Sources that come close are reported, so they may not be held up to maxretry.
        self.dedup.hold = min(self.dedup.hold, math.ceil(self._half))
        self.group: Callable[[Record, str], Group] = self._group
        inputs = self.filter.inputs
        self._matches = inputs.matches if inputs is not None else None
        self._count = self.filter.processLineAndAdd
        self._observer = observer() if jail.getBanTimeExtra("increment") else None
        self._banned: dict[Any, tuple[Ban, Any]] = {}  # key -> ban, and fail2ban's name of it
        self._networks: set[tuple[int, int]] = set()  # (bytes of an address, prefix length)
        self._tracked: OrderedDict[str, _Tracked] = OrderedDict()
        self._packet: Optional[Packet] = None
        self._number = 0
        self._next_clean = -math.inf
        forgets = self._observer is not None and jail.database is not None
        self._next_purge = -math.inf if forgets else math.inf
        if not self.filter.ignoreCommand and self.filter.ignoreCache is None:
            remember_strangers(self.filter)
        self._add_failure = take_over(jail, self._failure, self._failed, self._ban)

    def _group(self, record: Record, byteorder: str) -> Group:
        """Return what ``Pipeline.group`` makes of one record."""
        frame, pipeline = record[2], self.pipeline
        try:
            packet = pipeline.formatters[byteorder].decode(frame)
        except PflogError:
            return Group(record, None, None)
        return Group(record, packet, classify(packet, frame, pipeline.classifier.directions))

    @property
    def mode(self) -> str:
        """The policy's mode in force."""
        return self.pipeline.classifier.mode

    @property
    def group_key(self) -> Hashable:
        """Equal for replays of which ``group`` returns the same."""
        return type(self.pipeline.classifier), self.pipeline.classifier.key

    @property
    def needs_all(self) -> bool:
        """Whether one packet's failure may depend on another source's packets.

        So it is with filters that join lines, and with expressions that do not plainly begin with
        the source's address.
        """
        return (
            self._matches is not None
            or isinstance(self.dedup, EveryPacket)
            or self.filter.getMaxLines() > 1
            or not begins_with_address(self.filter)
        )

    @property
    def problem(self) -> str:
        """What went wrong in fail2ban: verdicts are missing then.  Empty where nothing did."""
        if not self._errors:
            return ""
        return (
            f"jail {self.jail.name}: fail2ban failed on {self._errors:,} lines, first with "
            f"{self._first_error}"
        )

    @property
    def close(self) -> list[Close]:
        """The sources that came to half of maxretry, but to no ban; the closest first."""
        found = [
            Close(source, int(tracked.count), tracked.best)
            for source, tracked in self._tracked.items()
            if not tracked.bans and tracked.count >= self._half
        ]
        found.sort(key=lambda close: -close.reached)
        return found

    def highest(self, source: str) -> float:
        """Return what a source, as fail2ban names it, was counted to at most."""
        tracked = self._tracked.get(source)
        return tracked.count if tracked is not None else 0.0

    def packet(
        self, record: Record, byteorder: str, time: float, source: bytes, number: int
    ) -> Optional[Ban]:
        """Replay one packet.

        Args:
            record, byteorder: of the packet.
            time: of the packet, to which fail2ban's clock was set.
            source: of the packet, 4 or 16 bytes; empty where there is none.
            number: of the packet in the captures, from 1.

        Returns:
            The ban that prevents it.
        """
        if self._matches is not None and not self._matches(record[2]):
            return None
        while (held := self._held(source)) is not None:
            ban, banned = held
            if time <= ban.end:
                self.prevented += 1
                ban.prevented += 1
                return ban
            self._lift(banned)
        if time >= self._next_clean:
            self._clean(time)
        self._number = number
        group = self.group(record, byteorder)
        for parts, when, packet in self.pipeline.take_group(group, byteorder):
            self._packet = packet
            self._count(parts, when)
        return None

    # -- what fail2ban's threads would do ----------------------------------------------

    def _failure(
        self, ticket: Any, count: int = 1, observed: bool = False, *others: Any, **options: Any
    ) -> int:
        """Count a failure, and keep what the report says of its source."""
        source, time = str(ticket.getID()), ticket.getTime()
        tracked = self._tracked.get(source)
        if tracked is None:
            if len(self._tracked) >= MAX_TRACKED:
                self._tracked.popitem(last=False)
            tracked = self._tracked[source] = _Tracked(time, self._new_count())
        else:
            self._tracked.move_to_end(source)
        attempts: int = self._add_failure(ticket, count, observed, *others, **options)
        tracked.last = max(tracked.last, time)
        if not observed:
            if attempts == 1:  # fail2ban has forgotten what came before
                tracked.first, tracked.counted = time, self._new_count()
            if self._keeps_evidence and self._packet is not None:
                tracked.counted.add(time, self._packet)
        if attempts > tracked.count:
            tracked.count = attempts
            if attempts >= self._half and self._keeps_evidence:
                tracked.best = self._evidence(tracked, time)
        if self.on_failure is not None:
            self.on_failure(ticket, attempts)
        return attempts

    def _new_count(self) -> Counted:
        """Make what is kept of a source that fail2ban begins to count."""
        return Counted(self.maxretry) if self._keeps_evidence else _NOT_COUNTED

    def _evidence(self, tracked: _Tracked, time: float) -> Evidence:
        """Return what fail2ban counts of a source by then."""
        return tracked.counted.since(time - float(self.filter.getFindTime()))

    def _failed(self, *_: Any, **__: Any) -> None:
        """Note that fail2ban failed on a line."""
        self._errors += 1
        self._first_error = self._first_error or repr(sys.exc_info()[1])

    def take_over(self, other: Replay, ticket: Any, attempts: int) -> None:
        """Ban a source for what ``other`` counted of it, ``ticket`` being the last of that."""
        source = str(ticket.getID())
        theirs = other._tracked[source]
        self._tracked[source] = _Tracked(theirs.first, self._new_count())
        if len(self._tracked) > MAX_TRACKED:
            self._tracked.popitem(last=False)
        self._number = other._number
        data = {**ticket.getData(), "failures": attempts}
        self._add_failure(FailTicket(ticket.getID(), theirs.last, data=data))
        self.filter.performBan(ticket.getID())

    def _ban(self, ticket: Any, *_: Any, **__: Any) -> None:
        """Ban, as the thread of the jail's actions does."""
        # After a step of the clock the ticket may be younger than the packet: its ports, too.
        set_time(max(now(), ticket.getTime()))
        key = self.key(ticket)
        held = self._banned.get(key)
        if held is not None and now() > held[0].end:
            self._lift(held[1])
        manager = ban_manager(self.jail)
        ticket = BanTicket.wrap(ticket)
        ban_time = ticket.getBanTime(manager.getBanTime())
        if not manager.addBanTicket(ticket, reason={}):
            return
        if self._observer is not None:
            self._observer.banFound(ticket, self.jail, ban_time)
        source = str(ticket.getID())
        tracked = self._tracked.get(source) or _Tracked(ticket.getTime(), self._new_count())
        tracked.bans += 1
        end = end_of_ban(ticket, self.jail)
        ban = Ban(source, tracked.bans, ticket.getTime(), math.inf if end is None else end)
        ban.first, ban.evidence = tracked.first, self._evidence(tracked, ban.time)
        tracked.counted = self._new_count()
        ban.failures, ban.packets = ticket.getAttempt(), self._number - 1
        ban.lines = ticket.getMatches() or []
        self.bans.append(ban)
        self._banned[key] = ban, ticket.getID()

    def _lift(self, banned: Any) -> None:
        """Lift a ban that is over, as the thread of the jail's actions does."""
        ticket = ban_manager(self.jail).getTicketByID(banned)
        del self._banned[self.key(ticket)]

    def _clean(self, time: float) -> None:
        """Clean up, as the threads of filter, actions and observer do."""
        self.filter.failManager.cleanup(time)
        for ticket in ban_manager(self.jail).unBanList(time - STEP):
            self._banned.pop(self.key(ticket), None)
        if time >= self._next_purge:
            due = time - time % PURGE_EVERY
            self._next_purge = due + PURGE_EVERY
            set_time(due)
            self.jail.database.purge()
            set_time(time)
        self._next_clean = min(time + CLEAN_ALL_EVERY, self._next_purge)

    # -- sources that fail2ban bans as networks ----------------------------------------

    def key(self, ticket: Any) -> Any:
        """Return what a ticket's source is found by: its address, or its network."""
        return self._address_key(ticket.getIP())

    def _held(self, source: bytes) -> Optional[tuple[Ban, Any]]:
        """Return the ban of a source or its network, and fail2ban's name of that."""
        held = self._banned.get(source)
        if held is None and self._networks:
            for size, length in self._networks:
                if size == len(source) and (held := self._banned.get(_network(source, length))):
                    return held
        return held

    def _address_key(self, address: Any) -> Any:
        if not address.isValid:
            return str(address)  # a failure-id that is no address: prevents nothing
        if address.isSingle:
            return socket.inet_pton(address.family, str(address))
        network, _, length = str(address).partition("/")
        packed = socket.inet_pton(address.family, network)
        self._networks.add((len(packed), int(length)))
        return _network(packed, int(length))


def _network(address: bytes, length: int) -> tuple[int, int, int]:
    bits = 8 * len(address)
    return bits, length, int.from_bytes(address, "big") >> (bits - length)
