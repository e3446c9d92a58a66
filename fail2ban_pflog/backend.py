"""fail2ban's backend ``pflog``: the one module that imports fail2ban at import time.

``register()`` teaches fail2ban's Jail the name; ``FilterPflog`` is what a jail then gets.
Its thread asks its sources for records (savefiles by ``logpath``, the interface
otherwise), makes lines of them and hands those to fail2ban's own regular expressions
and counters, each with its packet's own time: no date is detected, and no time is
rewritten because pflogd flushed late.

Whatever is wrong with options, files or the interface is told in the log and in
``fail2ban-client status JAIL``; nothing is raised into the server or out of the thread.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import threading
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from fail2ban.helpers import extractOptions, getLogger
from fail2ban.server.filter import FileFilter
from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime

from .blame import begins_with_address
from .distinct import WHATS, Distinct
from .errors import PflogError
from .lines import Lines
from .savefile import Record
from .scan import KERNEL_FILTERS, MODES, directions
from .sources import NOTICE, bpf
from .sources.follow import Follower
from .sources.live import BUFFER_SIZE, LiveSource
from .sources.overlap import Overlap
from .sources.rotated import is_rotated

__all__ = ["FilterPflog", "register"]

logSys = getLogger("fail2ban.filterpflog")

NAME = "pflog"

_ASKED = re.compile(r"\W*pflog(?!\w)", re.IGNORECASE)
"""What is meant for us, also where it is not quite written so: it must not reach fail2ban,
which would refuse all jails for it."""

POLL = 0.25
"""Seconds between two looks at a savefile; also how long a stop may go unnoticed."""

SAVE_EVERY = 1.0
"""Seconds between two writes of positions to fail2ban's database: what a kill -9 repeats."""

LATEST_FLUSH = 3600
"""pflogd holds packets back for an hour at the most (-d); what is older by more than that
and findtime is not news, but an old file that was put in place."""

MAX_BUFFER = 2**31 - 1
"""Bytes; libpcap takes an int."""

MAX_HOLD = 1000
"""Packets of one source that wait; a jail that counts so many is for other means."""

MUTE = 5.0
"""Seconds for which a banned source is not heard, until the firewall has caught up."""

CLEAN_EVERY = 5.0
"""Seconds between two clean-ups of the failure counters, as fail2ban does it."""


class Options(NamedTuple):
    """What stands in ``backend = pflog[...]``."""

    interface: str = ""
    bpf: str = ""
    distinct: str = "none"
    mode: str = "any"
    direction: str = "in"
    prefix6: int = 128
    silence: float = 900.0
    buffer: int = BUFFER_SIZE
    hold: int = 0

    @classmethod
    def parse(cls, given: dict[str, str]) -> Options:
        """Check the options.

        Raises PflogError (layer ``option``) that names the option and what it takes.
        """
        if unknown := sorted(set(given) - set(cls._fields)):
            raise _wrong(unknown[0], f"is unknown; there are {', '.join(cls._fields)}")
        values: dict[str, Any] = dict(given)
        for name, choices in (("distinct", WHATS), ("mode", MODES)):
            if name in given and given[name] not in choices:
                raise _wrong(name, f"takes {', '.join(choices)}, not {given[name]!r}")
        for name, (convert, takes) in _CONVERT.items():
            if name in given:
                try:
                    values[name] = convert(given[name])
                except Exception:  # str2seconds evaluates, so anything can come
                    raise _wrong(name, f"takes {takes}, not {given[name]!r}") from None
        options = cls(**values)
        if options.bpf:
            bpf.check(options.bpf)
        return options


def _wrong(name: str, why: str) -> PflogError:
    return PflogError("option", 0, 0, f"option {name} of backend = {NAME}[...] {why}")


def _within(convert: Callable[[str], Any], low: int, high: float, step: int = 1) -> Any:
    """Return a function from text to a number that must be in a range."""

    def checked(text: str) -> Any:
        value = convert(text)
        if not low <= value <= high or value % step:
            raise ValueError(text)
        return value

    return checked


def _direction(text: str) -> str:
    directions(text)
    return text


_CONVERT: dict[str, tuple[Callable[[str], Any], str]] = {
    "direction": (_direction, "in, out or in|out"),
    "prefix6": (_within(int, 8, 128, 8), "a multiple of 8, 8 to 128"),
    "silence": (_within(MyTime.str2seconds, 0, math.inf), "a time as 15m, or 0"),
    "hold": (_within(int, 1, MAX_HOLD), f"a number of packets, 1 to {MAX_HOLD}"),
    "buffer": (_within(int, 1, MAX_BUFFER), f"a number of bytes, 1 to {MAX_BUFFER}"),
}


class _Place:
    """A place in a savefile, as fail2ban's database asks a log for it."""

    def __init__(self, path: str, identity: str, offset: int) -> None:
        self.getFileName = lambda: path
        self.getHash = lambda: identity
        self.getPos = lambda: offset


class _File(Follower):
    """A savefile of the jail; keeps its place in fail2ban's database."""

    def __init__(self, path: str, filter_: FilterPflog, since: float) -> None:
        self._name = path
        self._jail = filter_.jail
        self._saved: object = None
        super().__init__(Path(path), filter_.tell, since=since, recall=self._recall_place)

    def save(self) -> None:
        """Write the place down, if it moved."""
        place = self.place
        database = self._jail.database
        if place is None or place == self._saved or database is None:
            return
        mark = _Place(self._name, *place)
        if self._saved is None:
            database.addLog(self._jail, mark)  # makes the row where there is none
        database.updateLog(self._jail, mark)
        self._saved = place

    def _recall_place(self, identity: str) -> Optional[int]:
        database = self._jail.database
        if database is None:
            return None
        offset: Optional[int] = database.addLog(self._jail, _Place(self._name, identity, 0))
        return offset


class FilterPflog(FileFilter):
    """Filter of a jail with ``backend = pflog[...]``.

    jail: fail2ban's Jail.  options: see ``Options``; wrong ones leave the jail idle.

    lines: makes lines of records.  problem: why the jail is idle; "" where it is not.
    matches: whether ``bpf`` takes a frame of a savefile; None where all are taken.
    mute: seconds for which a banned source is not heard.
    """

    def __init__(self, jail: Any, /, **options: str) -> None:
        super().__init__(jail)
        self.checkFindTime = False  # we judge a packet's age; fail2ban would rewrite it
        self._lock = threading.RLock()  # sources belong to our thread and to the server's
        self._wake = threading.Event()
        self._files: dict[str, _File] = {}
        self._live: Optional[LiveSource] = None
        self._overlap = Overlap()
        self._saved_session: object = None
        self.matches: Optional[Callable[[bytes], bool]] = None
        self.problem = ""
        self.mute = MUTE
        self.options = Options()
        try:
            self.options = Options.parse(options)
            if self.options.bpf:
                self.matches = bpf.frame_filter(self.options.bpf)
        except PflogError as error:
            self.stay_idle(error.reason)
        except Exception as error:
            self.stay_idle(repr(error))
        self.lines = Lines(
            Distinct(
                self.options.distinct,
                self.options.mode,
                self.getFindTime(),
                self.options.direction,
                self.options.prefix6,
            )
        )
        self._too_old = 0
        self._read: dict[str, tuple[int, float]] = {}  # source -> packets, newest one's time
        self._lag = 0.0  # seconds between a packet and its arrival here
        self._next_clean = 0.0
        self._next_save = 0.0
        self._unexpected = ""  # the last error of the loop, told once
        self._heard = time.monotonic()
        self._silent = False
        logSys.debug("Created %s", self)

    def tell(self, level: int, message: str) -> None:
        """Log a message that an administrator should see."""
        logSys.log(level, "[%s] %s", self.jailName, message)

    def stay_idle(self, problem: str) -> None:
        """Read nothing, and tell why in the log and the status."""
        self.problem = problem
        self.tell(logging.ERROR, f"this jail stays idle, all others run: {problem}")

    # -- what fail2ban's server asks for -----------------------------------------------

    def setMaxRetry(self, value: int) -> None:
        """Set maxretry; how many packets wait depends on it."""
        super().setMaxRetry(value)
        self.hold_packets()

    def hold_packets(self) -> None:
        """Let a source's packets wait until they are half of what it takes to ban it.

        None waits where a filter may blame another than who sent the packet, nor where bans
        grow: fail2ban then bans who was banned before for fewer packets.
        """
        half = (self.getMaxRetry() + 1) // 2
        plain = self.getMaxLines() == 1 and begins_with_address(self)
        if not plain or self.jail.getBanTimeExtra("increment"):
            self.lines.distinct.hold = 1
        else:
            self.lines.distinct.hold = self.options.hold or half

    def setFindTime(self, value: str) -> None:
        """Set findtime; repeats are told apart over the same time."""
        super().setFindTime(value)
        self.lines.distinct.window = float(self.getFindTime())

    def addLogPath(self, path: str, tail: bool = False, autoSeek: bool = True) -> None:
        """Follow the savefile ``path``; it may come later.

        tail: begin at its end.  autoSeek: pass over packets older than findtime.
        """
        with self._lock:
            if path in self._files:
                if path in getattr(self, "_reload_logs", ()):
                    del self._reload_logs[path]
                else:
                    logSys.error("%s already exists", path)
                return
            since = MyTime.time() - self.getFindTime() if autoSeek else 0.0
            self._files[path] = _File(path, self, math.inf if tail else since)
            logSys.info("[%s] Added savefile: %r", self.jailName, path)
            if self.active:
                self._listen_or_not()

    def delLogPath(self, path: str) -> None:
        """Follow the savefile ``path`` no more; its place is kept."""
        with self._lock:
            file = self._files.pop(path, None)
            if file is not None:
                try:
                    file.save()
                finally:
                    file.close()
                logSys.info("[%s] Removed savefile: %r", self.jailName, path)

    def getLogPaths(self) -> list[str]:
        """Return the paths of the savefiles."""
        return list(self._files)

    def getLogs(self) -> list[_File]:
        """Return the savefiles."""
        return list(self._files.values())

    def getLog(self, path: str) -> Optional[_File]:
        """Return one savefile."""
        return self._files.get(path)

    def getLogCount(self) -> int:
        """Return how many savefiles there are."""
        return len(self._files)

    def containsLogPath(self, path: str) -> bool:
        """Return whether the savefile is followed."""
        return path in self._files

    def reload(self, begin: bool = True) -> None:
        """Begin or end a reload; never while a batch of packets is being judged."""
        with self._lock:
            super().reload(begin)
            if not begin:
                self._listen_or_not()

    def status(self, flavor: str = "basic") -> list[tuple[str, Any]]:
        """What ``fail2ban-client status JAIL`` shows."""
        rows: list[tuple[str, Any]] = super(FileFilter, self).status(flavor=flavor)
        if flavor in ("stats", "short"):
            return rows
        rows.append(("File list", self.getLogPaths()))
        if self.problem:
            rows.append(("Idle because", self.problem))
        for path, file in list(self._files.items()):
            rows.append((path, f"{file.state}; {self._count(path)}"))
        if self._live is not None:
            live = self._live
            count = f"{self._count(live.interface)}, {live.dropped} dropped by the kernel"
            rows.append((live.interface, f"{live.state}; {count}"))
        rows.append(("Packets", self._counts()))
        return rows

    def _count(self, source: str) -> str:
        packets, newest = self._read.get(source, (0, 0.0))
        age = f", newest {max(0, int(MyTime.time() - newest))} s ago" if newest else ""
        return f"{packets} packets read{age}"

    def _counts(self) -> str:
        lines, distinct = self.lines, self.lines.distinct
        parts = [
            f"{lines.read} read",
            f"{lines.passed} lines passed",
            f"{lines.undecodable} undecodable",
            f"{distinct.repeats} repeats",
            f"{distinct.let_be} of no interest",
            f"{distinct.muted} of banned sources",
        ]
        if too_old := self._too_old + sum(file.skipped for file in self._files.values()):
            parts.append(f"{too_old} older than findtime")
        if self._overlap.repeated:
            parts.append(f"{self._overlap.repeated} seen by file and interface")
        return ", ".join(parts)

    # -- the thread --------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self.hold_packets()  # by now the expressions are known
        self._listen_or_not()
        super().start()

    def _listen_or_not(self) -> None:
        """Listen when asked to, or when there is no savefile."""
        options = self.options
        wanted = not self.problem and bool(options.interface or not self._files)
        if wanted and self._live is None:
            self._live = LiveSource(
                options.interface or "pflog0",
                self.tell,
                expression=options.bpf,
                kernel_filter=KERNEL_FILTERS[options.mode][0] if options.direction == "in" else "",
                buffer_size=options.buffer,
            )
            self._restore_session()
        elif not wanted and self._live is not None:
            self._live.close()
            self._live = None
            self._overlap.live_ended()

    def _session_marks(self) -> list[_Place]:
        """The last time of listening, as places that fail2ban's database can keep."""
        ends = self._overlap.session or ((0, 0), (0, 0))
        interface = self.options.interface or "pflog0"
        return [
            _Place(f"{interface} {name}", "listening", seconds * 1_000_000 + microseconds)
            for name, (seconds, microseconds) in zip(("from", "to"), ends)
        ]

    def _restore_session(self) -> None:
        """Recall what was told live before a restart: the file has it as well, later."""
        database = self.jail.database
        if database is not None:
            begin, end = (database.addLog(self.jail, mark) for mark in self._session_marks())
            if begin and end:
                self._overlap.restore(divmod(begin, 1_000_000), divmod(end, 1_000_000))

    def _save_session(self) -> None:
        session, database = self._overlap.session, self.jail.database
        if session != self._saved_session and database is not None:
            self._saved_session = session
            for mark in self._session_marks():
                database.updateLog(self.jail, mark)

    def stop(self) -> None:
        """Ask the thread to end; it notices within POLL seconds."""
        self.active = False
        self._wake.set()
        super().stop()

    def onStop(self) -> None:
        """Write all places down and close all sources."""
        with self._lock:
            for path in self.getLogPaths():
                self.delLogPath(path)
            if self._live is not None:
                self._save_session()
                self._live.close()

    afterStop = onStop  # 1.1 calls it so

    def run(self) -> bool:
        """Read, judge and count until the jail is stopped."""
        while self.active:
            try:
                if self.idle:
                    self._heard = time.monotonic()
                busy = not self.idle and not self.problem and self._poll()
                self.performSvc()
                if not busy:
                    self._wait()
                self.ticks += 1
            except Exception as error:
                logSys.error(
                    "[%s] unexpected, please report it: %r",
                    self.jailName,
                    error,
                    exc_info=logSys.getEffectiveLevel() <= logging.DEBUG,
                )
                self._wake.wait(self.sleeptime)
        self.onStop()
        logSys.debug("[%s] filter terminated", self.jailName)
        return True

    def _wait(self) -> None:
        if self._live is not None and self._live.is_open and not self.idle:
            self._live.wait(POLL)
        else:
            self._wake.wait(POLL)

    def _poll(self) -> bool:
        """Take one batch from each source; False when none had any."""
        busy = False
        with self._lock:
            for file in self._followed():
                records = self._counted(str(file.path), file.read())
                busy = busy or bool(records)
                self._deliver(self._from_file(records), file.byteorder)
            if self._live is not None:
                records = self._counted(self._live.interface, self._live.read())
                busy = busy or bool(records)
                if not self._live.is_open:
                    self._overlap.live_ended()
                self._deliver(self._overlap.from_live(records), self._live.byteorder)
            self._save(busy)
        self._listen_for_silence(busy)
        return busy

    def _followed(self) -> list[_File]:
        """The savefiles but for rotated ones of others, which those read themselves."""
        files = list(self._files.values())
        if len(files) == 1:
            return files
        followed = []
        for file in files:
            if any(is_rotated(file.path, other.path) for other in files):
                file.state = "idle because it is read as a rotated file of another logpath"
            else:
                followed.append(file)
        return followed

    def _counted(self, source: str, records: list[Record]) -> list[Record]:
        if records:
            packets, newest = self._read.get(source, (0, 0.0))
            last = records[-1][0] + records[-1][1] / 1e6
            self._read[source] = (packets + len(records), max(newest, last))
        return records

    def _from_file(self, records: list[Record]) -> list[Record]:
        records = self._overlap.from_file(records)
        if self.matches is not None:
            records = [record for record in records if self.matches(record[2])]
        return records

    def _deliver(self, records: list[Record], byteorder: str) -> None:
        if not records:
            return
        self.lines.distinct.clock = time.monotonic()
        now = MyTime.time()
        oldest = now - self.getFindTime() - LATEST_FLUSH
        self._lag = max(0.0, now - (records[0][0] + records[0][1] / 1e6))
        for record in records:
            if record[0] < oldest:
                self._too_old += 1
                continue
            for parts, when, _ in self.lines.take(record, byteorder):
                self.processLineAndAdd(parts, min(when, now))

    def _save(self, busy: bool) -> None:
        now = time.monotonic()
        if now >= self._next_save or not busy:
            self._next_save = now + SAVE_EVERY
            for file in self._followed():
                file.save()
            if self._live is not None:
                self._save_session()

    def _listen_for_silence(self, busy: bool) -> None:
        """Warn once when no packet comes for ``silence`` seconds, and tell when it is over."""
        now = time.monotonic()
        if busy:
            self._heard = now
            if self._silent:
                self._silent = False
                self.tell(NOTICE, "packets are coming again")
        elif self.options.silence and now - self._heard >= self.options.silence:
            if not self._silent:
                self.tell(
                    logging.WARNING,
                    f"no packet for {int(self.options.silence)} s: does pf log (`log` in its "
                    "rules), does pflogd run?",
                )
            self._silent = True

    # -- fail2ban's own steps, with the packets' clock ---------------------------------

    def performSvc(self, force: bool = False) -> None:
        """Clean the failure counters up, as if it were when the newest packets came.

        By the wall clock, failures that pflogd flushed late would be gone before the
        flush that brought them was counted.
        """
        now = MyTime.time()
        if force or now >= self._next_clean:
            self._next_clean = now + CLEAN_EVERY
            self.failManager.cleanup(now - self._lag)

    def performBan(self, ip: Any = None) -> None:
        """Ban who has reached maxretry, and stop hearing him until he is blocked."""
        super().performBan(ip)
        if ip is not None:
            with contextlib.suppress(ValueError):  # a filter's own id that is no address
                self.lines.distinct.banned(str(ip), self.lines.distinct.clock + self.mute)

    def findFailure(self, *args: Any, **kwargs: Any) -> list[list[Any]]:
        """Find failures; of IPv6 sources the prefix fails, where ``prefix6`` says so."""
        failures: list[list[Any]] = super().findFailure(*args, **kwargs)
        if self.options.prefix6 < 128:
            for failure in failures:
                failure[1] = self._prefix(failure[1])
        return failures

    def _prefix(self, ip: Any) -> Any:
        """The network that an IPv6 address is in; the address where it holds a friend."""
        if not ip.isIPv6 or not ip.isSingle:
            return ip
        network = IPAddr(str(ip), self.options.prefix6)
        friends = [*self.getIgnoreIP(), *(DNSUtils.getSelfIPs() if self.ignoreSelf else ())]
        if any(friend.isInNet(network) or ip.isInNet(friend) for friend in friends):
            return ip
        return network


def register() -> None:
    """Teach fail2ban's Jail the backend ``pflog``; as often as one likes.

    Only a jail that asks for ``pflog`` sees the name: ``auto`` and all other backends
    are looked for in fail2ban's own list, in its own order.
    """
    original = Jail._setBackend
    if hasattr(original, "is_pflog"):  # ours, or the loader's stand-in
        original = original.__wrapped__

    @functools.wraps(original)
    def set_backend(jail: Any, backend: str) -> None:
        if not _ASKED.match(backend):
            original(jail, backend)
            return
        name, bracket, rest = backend.partition("[")
        text = name.strip() + bracket + rest
        problem = _unreadable(text)
        jail._BACKENDS = [NAME]
        jail._initPflog = functools.partial(_init, jail, problem)
        try:
            original(jail, NAME if problem else text)
        finally:
            del jail._BACKENDS

    set_backend.is_pflog = True  # type: ignore[attr-defined]
    Jail._setBackend = set_backend


def _unreadable(backend: str) -> str:
    """What is wrong with the form of ``pflog[...]``; "" where nothing is."""
    try:
        name, _ = extractOptions(backend)
        # 0.11 returns None where the later ones raise.
        why = "" if str(name).strip().lower() == NAME else "its form is pflog[option=value, ...]"
    except ValueError as error:
        why = str(error)
    return f"backend = {backend} cannot be read: {why}" if why else ""


def _init(jail: Any, problem: str, /, **options: str) -> None:
    jail._Jail__filter = FilterPflog(jail, **options)
    if problem:
        jail.filter.stay_idle(problem)
