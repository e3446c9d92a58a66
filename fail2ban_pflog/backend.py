# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's backend ``pflog``: what fail2ban calls, and nothing else.

``register()`` makes the name known to fail2ban's Jail; ``FilterPflog`` is what a jail then gets.
Its thread reads the jail's inputs (``jail.inputs``), makes lines of their packets (``pipeline``)
and hands these to fail2ban's own regular expressions and counters (``jail.loop``), each with its
packet's own time: no date is detected, and no time is rewritten because pflogd flushed late.

The server's thread never waits for ours: it changes options and the table of files, which takes
no time, and asks for the status.

Whatever is wrong with options, files or the interface is in the log and in ``fail2ban-client
status JAIL``; nothing is raised into the server or out of the thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any, Optional

from fail2ban.helpers import getLogger
from fail2ban.server.filter import FileFilter
from fail2ban.server.mytime import MyTime

from .errors import PflogError, printable
from .jail.actions import ActionMonitor
from .jail.failures import Failures
from .jail.ignorelist import IgnoreList
from .jail.inputs import Inputs
from .jail.logpaths import SavefileFilter
from .jail.loop import Loop
from .jail.positions import Positions
from .jail.ratelimit import RateLimit
from .jail.registration import register_backend
from .jail.selfcheck import SelfCheck
from .jail.status import rows
from .options import Options
from .pipeline import Item, Pipeline
from .policy.classifier import Classifier
from .policy.dedup import CLEAN_EVERY, Dedup

__all__ = ["FilterPflog", "register"]

logSys = getLogger("fail2ban.filterpflog")

MUTE = 5.0
"""Seconds for which packets of a banned source are left out, until the firewall has caught up."""

ACTIONS_SLEEP = 0.1
"""Seconds for which the jail's thread of actions sleeps; fail2ban's own 2 make it look for bans
at growing intervals, up to 0.8 s, and let a reload wait for it."""


class FilterPflog(IgnoreList, SavefileFilter):
    """Filter of a jail with ``backend = pflog[...]``.

    Args:
        jail: fail2ban's Jail.
        options: see ``Options``; wrong ones leave the jail idle.

    Attributes:
        pipeline: makes lines of records.
        inputs: what is read; None where the options are wrong.
        problem: why the jail is idle; "" where it is not.
        mute: seconds for which packets of a banned source are left out.
    """

    def __init__(self, jail: Any, /, **options: str) -> None:
        super().__init__(jail)
        self.failManager = Failures()
        self.checkFindTime = False  # the inputs pass over old packets; fail2ban would rewrite them
        self.mute = MUTE
        self.options = Options()
        self._wrong_options = ""
        self._refused = ""  # by fail2ban, of the jail's other options
        self.positions = Positions(jail, self.report)
        try:
            self.options = Options.parse(options)
            self.inputs = Inputs(self.report, self.options, self.positions, MyTime.time)
        except PflogError as error:
            self.stay_idle(error.reason, until_reload=False)
        except Exception as error:
            self.stay_idle(repr(error), until_reload=False)
        given = self.options
        classifier = Classifier(given.mode, given.direction, given.prefix4, given.prefix6)
        findtime, lock = self.getFindTime(), threading.Lock()  # other threads ban as well
        dedup = Dedup[Item](given.distinct, findtime, source_of=classifier.source, lock=lock)
        self.pipeline = Pipeline(classifier, dedup)
        self.pipeline.share_memory()
        self.selfcheck = SelfCheck(self.report, given.silence, time.monotonic)
        self.monitor = ActionMonitor(self.report, logging.getLogger("fail2ban"), self._unbanned)
        self.limit = RateLimit(given.brake, self.failManager, time.monotonic)
        self.loop = Loop(self, self.pipeline, self.selfcheck)
        self._next_clean = 0.0
        logSys.debug("Created %s", self)

    def report(self, level: int, message: str) -> None:
        """Log a message that an administrator should see."""
        logSys.log(level, "[%s] %s", self.jailName, printable(message))

    @property
    def problem(self) -> str:
        """Why the jail is idle; "" where it is not."""
        return self._wrong_options or self._refused

    def stay_idle(self, problem: str, until_reload: bool = True) -> None:
        """Read nothing, and say why in the log and the status."""
        if self.problem:
            return
        if until_reload:
            self._refused = problem
            self.jail.backend = None  # so a reload makes the jail anew
        else:
            self._wrong_options = problem
        self.report(logging.ERROR, f"this jail stays idle, all others run: {problem}")

    # -- what fail2ban's server calls --------------------------------------------------

    def setMaxRetry(self, value: int) -> None:
        """Set maxretry; at most so many packets are held."""
        super().setMaxRetry(value)
        self._set_hold()

    def setFindTime(self, value: str) -> None:
        """Set findtime; repeats are recognized over the same time."""
        super().setFindTime(value)
        self.pipeline.dedup.window = float(self.getFindTime())

    def reload(self, begin: bool = True) -> None:
        """Begin or end a reload; not while a line is counted, if that does not take long."""
        if begin:
            self.loop.wait_between_lines()
            self._refused = ""
        super().reload(begin)
        if not begin:
            self.prepare()

    def status(self, flavor: str = "basic") -> list[tuple[str, Any]]:
        """Return what ``fail2ban-client status JAIL`` shows."""
        shown: list[tuple[str, Any]] = super(FileFilter, self).status(flavor=flavor)
        return shown if flavor in ("stats", "short") else shown + rows(self)

    def start(self) -> None:
        """Start the thread."""
        self.prepare()
        super().start()

    def prepare(self) -> None:
        """Do what can be done once all options, expressions and actions are known."""
        try:
            self._set_hold()
            if not self.selfcheck.look_at_jail(self):
                self.jail.backend = None  # so a reload makes the jail anew
            if self.options.brake:
                self.limit.forget_unbanned(self.jail.actions)
            self.monitor.actions(self.jail.actions)
            self.jail.actions.sleeptime = ACTIONS_SLEEP
            self.loop.is_introduced = False
        except Exception as error:  # fail2ban would drop the jail at the next reload
            self.stay_idle(repr(error))

    def _set_hold(self) -> None:
        """Hold as many packets as ``hold`` says.

        Not more than maxretry, and none where bans grow: fail2ban then bans a source that was
        banned before for fewer packets.
        """
        grows = self.jail.getBanTimeExtra("increment")
        self.pipeline.dedup.hold = 1 if grows else min(self.options.hold, self.getMaxRetry())

    def stop(self) -> None:
        """Ask the thread to end; it notices at the next line or look at the files.

        Unlike fail2ban's own this removes no files: what was read of them is not counted yet.
        """
        self.loop.stop()
        self.pipeline.leave_memory()
        if not self.is_alive():  # no thread does it
            self.onStop()

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait for the thread's end, but not long: a line that takes longer ends by itself.

        It then saves no positions: those of whatever reads on count.
        """
        if self.active is not None:
            threading.Thread.join(self, self.loop.patience if timeout is None else timeout)
            self.positions.closed = self.is_alive()

    def onStop(self) -> None:
        """Save all positions and close all sources; the thread calls it when it ends."""
        if self.inputs is not None:
            self.inputs.close()

    afterStop = onStop  # 1.1 calls it so

    def run(self) -> bool:
        """Read and count until the jail is stopped: the jail's thread."""
        self.loop.run()
        return True

    def poll(self, inputs: Inputs) -> bool:
        """Take one batch from each input; False when none had any."""
        self._set_hold()
        busy = self.loop.poll(inputs)
        if self.limit.is_waiting and not self.idle:  # a reload clears the ignore list at first
            self.limit.release(self, MyTime.time() - self.loop.lag)
        self.selfcheck.limited(self.limit.most, self.limit.is_waiting)
        return busy

    # -- fail2ban's own steps, with the packets' clock -----------------------------------

    def performSvc(self, force: bool = False) -> None:
        """Clean the failure counters up, as if it were when the newest packets came.

        By the wall clock, failures that pflogd flushed late would be gone before the flush
        that brought them was counted.
        """
        now = MyTime.time()
        if force or not 0 <= self._next_clean - now <= CLEAN_EVERY:  # clocks step back as well
            self._next_clean = now + CLEAN_EVERY
            self.failManager.cleanup(now - self.loop.lag)

    def performBan(self, ip: Any = None) -> None:
        """Ban the sources that reached maxretry, as far as ``brake`` lets them."""
        self.limit.ban(ip, self.jail.putFailTicket)
        if ip is not None:
            dedup = self.pipeline.dedup
            with contextlib.suppress(ValueError):  # a filter's own id that is no address
                dedup.banned(str(ip), time.monotonic() + self.mute if self.mute else 0.0)
        self.performSvc()

    def _unbanned(self, source: str) -> None:
        with contextlib.suppress(ValueError):
            self.pipeline.dedup.unbanned(source)

    def findFailure(self, *args: Any, **kwargs: Any) -> list[list[Any]]:
        """Find failures; a source's network fails, where ``prefix4`` or ``prefix6`` say so."""
        failures: list[list[Any]] = super().findFailure(*args, **kwargs)
        self.selfcheck.found += len(failures)
        for failure in failures:
            failure[1] = self.network_of(failure[1], self.options.prefix4, self.options.prefix6)
        return failures


def register() -> None:
    """Make the backend ``pflog`` known to fail2ban; the loader calls it, as often as it likes."""
    register_backend(FilterPflog)
