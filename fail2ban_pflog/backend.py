# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's backend ``pflog``: the module that a server imports.

``register()`` teaches fail2ban's Jail the name; ``FilterPflog`` is what a jail then gets.
Its thread asks its sources for records (``intake``), makes lines of them (``lines``) and
hands those to fail2ban's own regular expressions and counters, each with its packet's own
time: no date is detected, and no time is rewritten because pflogd flushed late.

The server's thread never waits for ours: it changes options and the table of files, which
take no time, and asks for the status.  What is read is judged a line at a time, so that a
reload or a stop is noticed behind each.

Whatever is wrong with options, files or the interface is told in the log and in
``fail2ban-client status JAIL``; nothing is raised into the server or out of the thread.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from typing import Any, Callable, Optional

from fail2ban.helpers import getLogger
from fail2ban.server.filter import FileFilter
from fail2ban.server.mytime import MyTime

from .errors import PflogError, printable
from .jail.actions import ActionMonitor
from .jail.attribution import begins_with_address
from .jail.failures import Failures
from .jail.ignorelist import IgnoreList
from .jail.inputs import Batch, Inputs
from .jail.logpaths import SavefileFilter
from .jail.positions import Positions
from .jail.ratelimited import RateLimited
from .jail.registration import teach
from .jail.selfcheck import SelfCheck
from .options import Options, short
from .pflog.packet import Packet
from .pflog.savefile import Record
from .pipeline import EARLIEST, Group, Line, Pipeline
from .policy.dedup import CLEAN_EVERY, LATEST_FLUSH, Dedup
from .sources.shared import bell

__all__ = ["FilterPflog", "register"]

logSys = getLogger("fail2ban.filterpflog")

POLL = 0.25
"""Seconds between two looks at a savefile; also how long a stop may go unnoticed."""

SAMPLES = 1000
"""Packets that are tried on the filter, to see whom it blames, before any packet may wait."""

MUTE = 5.0
"""Seconds for which a banned source is not heard, until the firewall has caught up."""

ACTIONS_SLEEP = 0.1
"""Seconds for which the jail's thread of actions sleeps; fail2ban's own 2 make it look for bans
at growing intervals, up to 0.8 s, and let a reload wait for it."""

PATIENCE = 1.0
"""Seconds that a reload or a stop waits for the line that is being judged, which may be with a
command of the administrator's: fail2ban's client is to be answered within two."""


class FilterPflog(IgnoreList, SavefileFilter):
    """Filter of a jail with ``backend = pflog[...]``.

    jail: fail2ban's Jail.  options: see ``Options``; wrong ones leave the jail idle.

    lines: makes lines of records.  problem: why the jail is idle; "" where it is not.
    intake: its sources; None where the options are wrong.
    mute: seconds for which a banned source is not heard.
    blames_source: whether the filter blames who sent a packet; None: it has blamed nobody yet.
    """

    def __init__(self, jail: Any, /, **options: str) -> None:
        super().__init__(jail)
        self.failManager = Failures()
        self.checkFindTime = False  # we judge a packet's age; fail2ban would rewrite it
        self.mute = MUTE
        self.blames_source: Optional[bool] = None
        self._source = b""  # who sent the packet whose blame is to be seen
        self._samples = SAMPLES
        self.options = Options()
        self.intake: Optional[Inputs] = None
        self._wrong_options = ""
        self._refused = ""  # by fail2ban, of the jail's other options
        self._places = Positions(jail, self.tell)
        try:
            self.options = Options.parse(options)
            self.intake = Inputs(self.tell, self.options, self._places, MyTime.time)
        except PflogError as error:
            self.stay_idle(error.reason, until_reload=False)
        except Exception as error:
            self.stay_idle(repr(error), until_reload=False)
        self.lines = Pipeline(
            Dedup(
                self.options.distinct,
                self.options.mode,
                self.getFindTime(),
                self.options.direction,
                self.options.prefix6,
            )
        )
        self._health = SelfCheck(self.tell, self.options.silence, time.monotonic)
        self._watch = ActionMonitor(self.tell, logging.getLogger("fail2ban"), self._unbanned)
        self._wake = threading.Event()
        bell(self._wake)
        self._between_lines = threading.Event()
        self._between_lines.set()
        self._waited_for = math.inf  # since when: the line that is being judged, or the end
        self._brake: Optional[RateLimited] = None
        self._due: deque[Line] = deque()  # lines that are to be judged
        self._introduced = False
        self._caught_up = False  # everything was read once
        self._lag = 0.0  # seconds between a packet and its arrival here
        self._next_clean = 0.0
        self._unexpected = ""  # the last error of the loop, told once
        logSys.debug("Created %s", self)

    def tell(self, level: int, message: str) -> None:
        """Log a message that an administrator should see."""
        logSys.log(level, "[%s] %s", self.jailName, printable(message))

    @property
    def matches(self) -> Optional[Callable[[bytes], bool]]:
        """Whether ``bpf`` takes a frame of a savefile; None where all are taken."""
        return self.intake.matches if self.intake is not None else None

    @property
    def problem(self) -> str:
        """Why the jail is idle; "" where it is not."""
        return self._wrong_options or self._refused

    def stay_idle(self, problem: str, until_reload: bool = True) -> None:
        """Read nothing, and tell why in the log and the status."""
        if self.problem:
            return
        if until_reload:
            self._refused = self._idle_because(problem)
            self._make_anew_at_reload()
        else:
            self._wrong_options = self._idle_because(problem)

    def _make_anew_at_reload(self) -> None:
        """Let a reload that mends the jail make it anew: fail2ban would drop what it adds.

        It does so where the configuration has another backend.
        """
        self.jail.backend = None

    def _idle_because(self, problem: str) -> str:
        self.tell(logging.ERROR, f"this jail stays idle, all others run: {problem}")
        return problem

    # -- what fail2ban's server asks for -----------------------------------------------

    def setMaxRetry(self, value: int) -> None:
        """Set maxretry; how many packets wait depends on it."""
        super().setMaxRetry(value)
        self.hold_packets()

    def hold_packets(self) -> None:
        """Let a source's packets wait until they are half of what it takes to ban it.

        None waits before the filter has shown that it blames who sent a packet, where it may
        blame another, nor where bans grow: fail2ban then bans who was banned before for fewer
        packets.
        """
        half = (self.getMaxRetry() + 1) // 2
        plain = self.blames_source and self.getMaxLines() == 1 and begins_with_address(self)
        if not plain or self.jail.getBanTimeExtra("increment"):
            self.lines.distinct.hold = 1
        else:
            self.lines.distinct.hold = min(self.options.hold or half, self.getMaxRetry())

    def addFailRegex(self, value: str) -> None:
        """Add an expression; whom it blames decides whether packets may wait."""
        super().addFailRegex(value)
        self.hold_packets()

    def setMaxLines(self, value: int) -> None:
        """Set how many lines an expression sees; where it sees several no packet waits."""
        super().setMaxLines(value)
        self.hold_packets()

    def setFindTime(self, value: str) -> None:
        """Set findtime; repeats are told apart over the same time."""
        super().setFindTime(value)
        self.lines.distinct.window = float(self.getFindTime())

    def reload(self, begin: bool = True) -> None:
        """Begin or end a reload; never while a line is being judged, if that can be had soon."""
        if begin:
            self._between_lines.wait(self._patience())
            self._refused = ""
        super().reload(begin)
        if not begin:
            self._prepare()

    def status(self, flavor: str = "basic") -> list[tuple[str, Any]]:
        """What ``fail2ban-client status JAIL`` shows."""
        rows: list[tuple[str, Any]] = super(FileFilter, self).status(flavor=flavor)
        if flavor in ("stats", "short"):
            return rows
        rows.append(("File list", self.getLogPaths()))
        if self.problem:
            rows.append(("Idle because", self.problem))
        rows += [("Action failed", failed) for failed in self._watch.failures]
        rows += [("Warning", warning) for warning in list(self._health.warnings.values())]
        if self._places.problem:
            rows.append(("Warning", self._places.problem))
        if self._unexpected:
            rows.append(("Warning", f"unexpected, please report it: {self._unexpected}"))
        if self.intake is not None:
            rows += self.intake.rows()
        counts = self.lines.counts()
        if self._brake is not None:
            counts += self._brake.counts()
        if self.intake is not None:
            counts += self.intake.counts()
        rows.append(("Packets", ", ".join(counts)))
        if let_be := self.lines.let_be():
            rows.append(("Of no interest", let_be))
        return rows

    def start(self) -> None:
        """Start the thread."""
        self._prepare()
        super().start()

    def _prepare(self) -> None:
        """Do what can be done once all options, expressions and actions are known."""
        try:
            self._prepare_all()
        except Exception as error:  # fail2ban would drop the jail at the next reload
            self.stay_idle(repr(error))

    def _prepare_all(self) -> None:
        self.hold_packets()
        self._health.warnings.pop("options", None)
        if not getattr(self.jail.actions, "_reload_actions", list(self.jail.actions)):
            self._health.warn("options", "the jail has no action: nobody is blocked")
            self._make_anew_at_reload()
        elif not self.getFailRegex():
            self._health.warn("options", "the filter has no failregex: nothing is ever a failure")
        elif self.getFindTime() < 1:
            self._health.warn("options", "findtime is 0: packets are too old before they are read")
        self._watch.actions(self.jail.actions)
        self.jail.actions.sleeptime = ACTIONS_SLEEP
        if self.options.brake and self._brake is None:
            self._brake = RateLimited(self, self.options.brake, self._warn_of_the_brake)
        self._introduced = False

    def stop(self) -> None:
        """Ask the thread to end; it notices within POLL seconds.

        Unlike fail2ban's own this removes no files: what was read of them is not judged yet.
        """
        self._waited_for = min(self._waited_for, time.monotonic())
        self.active = False
        self._wake.set()
        if not self.is_alive():  # no thread does it
            self.onStop()

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait for the thread's end, but not long: a line that takes longer ends it alone.

        Then its places are those of who reads on, and it writes none down.
        """
        if self.active is not None:
            threading.Thread.join(self, self._patience() if timeout is None else timeout)
            self._places.closed = self.is_alive()

    def _patience(self) -> float:
        """Seconds for which the thread is still waited for."""
        return min(PATIENCE, max(0.0, self._waited_for + PATIENCE - time.monotonic()))

    def onStop(self) -> None:
        """Write all places down and close all sources; the thread calls it when it ends."""
        if self.intake is not None:
            self.intake.close()

    afterStop = onStop  # 1.1 calls it so

    # -- the thread --------------------------------------------------------------------

    def run(self) -> bool:
        """Read, judge and count until the jail is stopped."""
        while self.active:
            try:
                if self.idle or self.problem or self.intake is None:
                    self._health.excuse()
                    self._wake.wait(POLL)
                else:
                    busy = self._poll()
                    if not self._introduced:
                        self._introduce(self.intake)
                    if not busy:
                        self.intake.wait(POLL, self._wake.wait)
                        self._wake.clear()
                self.performSvc()
                self.ticks += 1
                self._unexpected = ""
            except BaseException as error:  # SystemExit, too: a thread that ends guards nothing
                self._report(error)
                self._wake.wait(self.sleeptime)
        try:
            self.onStop()
        except Exception as error:
            self._report(error)
        logSys.debug("[%s] filter terminated", self.jailName)
        return True

    def _report(self, error: BaseException) -> None:
        """Tell what nobody has thought of, but only once."""
        if self._unexpected != repr(error):
            self._unexpected = repr(error)
            logSys.error(
                "[%s] unexpected, please report it: %r",
                self.jailName,
                error,
                exc_info=logSys.getEffectiveLevel() <= logging.DEBUG,
            )

    def _introduce(self, intake: Inputs) -> None:
        """Say once what the jail reads, and what it counts."""
        self._introduced = True
        counts = f"{self.getMaxRetry()} in {short(self.getFindTime())}"
        self.tell(logging.INFO, intake.introduction(counts))

    def _poll(self) -> bool:
        """Take one batch from each source; False when none had any."""
        intake = self.intake
        assert intake is not None
        busy = self._count_due()
        if not self._due:
            for batch in intake.batches(self.lines.distinct):
                busy = True
                self._judge(intake, batch)
                if self.idle or not self.active:
                    break
            intake.save(at_once=not busy)
        if self._brake is not None:
            self._brake.release(MyTime.time() - self._lag)
            if not self._brake.waiting:
                self._health.warnings.pop("brake", None)
        self._caught_up = self._caught_up or not busy
        self._health.heard(busy)
        self._health.counted = self.failManager.getFailTotal()
        self._health.look(self.lines, intake.left_out)
        return busy

    def _judge(self, intake: Inputs, batch: Batch) -> None:
        """Make lines of a batch and count them; what is left at a reload or a stop waits."""
        self.lines.distinct.clock = time.monotonic()
        now = self.lines.latest = MyTime.time()
        # What is older is not news, but an old file that was put in place.
        oldest = now - self.getFindTime() - LATEST_FLUSH
        first = batch.runs[0].record
        self._lag = max(0.0, now - (first[0] + first[1] / 1e6))
        byteorder, take, due = batch.byteorder, self.lines.take_run, self._due
        for number, run in enumerate(batch.runs):
            if run.record[0] < oldest:
                intake.passed_over += 1 + run.more
                self._warn_of_age(now - run.record[0])
                continue
            try:
                if self.blames_source is None:
                    self._try_filter(run, byteorder)
                lines = take(run, byteorder)
            except BaseException:  # one packet is lost, but none behind it
                intake.give_back(batch, number + 1)
                raise
            if lines:
                due.extend(lines)
                self._count_due()
                if self.idle or not self.active:
                    # What a stop leaves in ``due`` is never counted: its packet is read again.
                    left = bool(due) and not self.active
                    intake.give_back(batch, number if left else number + 1)
                    return

    def _count_due(self) -> bool:
        """Hand the lines that are due to fail2ban; False where none is."""
        due, between = self._due, self._between_lines
        busy = bool(due)
        while due:
            self._waited_for = time.monotonic()
            between.clear()
            try:
                if self.idle or not self.active:
                    break
                line = due.popleft()
                self._source = line.packet.source
                self._health.lines += 1
                self.processLineAndAdd(line.parts, line.time)
            finally:
                between.set()
                self._waited_for = math.inf
        return busy

    def _warn_of_age(self, age: float) -> None:
        if self._caught_up:
            self._health.warn(
                "age",
                f"packets come {short(age)} after they were logged and are passed over as older "
                "than findtime and an hour: is the clock right, does pflogd hold them back (-d)?",
            )

    # -- fail2ban's own steps, with the packets' clock ---------------------------------

    def performSvc(self, force: bool = False) -> None:
        """Clean the failure counters up, as if it were when the newest packets came.

        By the wall clock, failures that pflogd flushed late would be gone before the
        flush that brought them was counted.
        """
        now = MyTime.time()
        if force or not 0 <= self._next_clean - now <= CLEAN_EVERY:  # clocks step back as well
            self._next_clean = now + CLEAN_EVERY
            self.failManager.cleanup(now - self._lag)

    def performBan(self, ip: Any = None) -> None:
        """Ban who has reached maxretry, and stop hearing him until he is blocked."""
        super().performBan(ip)
        if ip is not None:
            with contextlib.suppress(ValueError):  # a filter's own id that is no address
                self.lines.distinct.banned(str(ip), self.lines.distinct.clock + self.mute)

    def _warn_of_the_brake(self) -> None:
        self._health.warn(
            "brake",
            f"more than {self.options.brake} sources a minute are to be banned; the others "
            "wait (brake=): are sources forged?",
        )

    def _unbanned(self, source: str) -> None:
        with contextlib.suppress(ValueError):
            self.lines.distinct.unbanned(source)

    def findFailure(self, *args: Any, **kwargs: Any) -> list[list[Any]]:
        """Find failures; a source's network fails, where ``prefix4`` or ``prefix6`` say so."""
        failures: list[list[Any]] = super().findFailure(*args, **kwargs)
        self._health.found += len(failures)
        if self._source:
            for failure in failures:
                self._see_blame(failure[1])
        prefix4, prefix6 = getattr(self.options, "prefix4", 32), self.options.prefix6
        for failure in failures:
            failure[1] = self.network_of(failure[1], prefix4, prefix6)
        return failures

    def _try_filter(self, run: Group, byteorder: str) -> None:
        """Let the filter show whom it blames before any packet waits."""
        if self._samples and run.packet is not None:
            self._samples -= 1
            self._source = run.packet.source
            self.blamed(run.packet, run.record, byteorder)

    def blamed(self, packet: Packet, record: Record, byteorder: str) -> list[Any]:
        """Whom the filter would blame for a packet, as fail2ban names them; nothing is counted."""
        if self.getMaxLines() > 1:  # it would join the line with others
            return []
        text = self.lines.formatters[byteorder].text(packet, record[2])
        time = record[0] + record[1] / 1e6 or EARLIEST
        return [failure[1] for failure in self.processLine(("", "", " " + text), time)]

    def _see_blame(self, ip: Any) -> None:
        """Look whom a packet was blamed on, and whether bans grow by now."""
        shown = bool(ip.isValid) and ip.addr == int.from_bytes(self._source, "big")
        changes = self.blames_source is None or self.blames_source > shown
        if changes:
            self.blames_source = shown
        if changes or (self.lines.distinct.hold > 1 and self.jail.getBanTimeExtra("increment")):
            self.hold_packets()


def register() -> None:
    """Teach fail2ban the backend ``pflog``; the loader calls it, as often as it likes."""
    teach(FilterPflog)
