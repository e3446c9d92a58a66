# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's configuration, with some options of a jail replaced, and the jails made of it.

It is read by fail2ban's own readers and turned into the commands that its client would send;
a server object that is never started carries them out, all but those that add actions and
log files.  So every option means what it means in production.
"""

from __future__ import annotations

import configparser
import gc
import logging
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fail2ban.client.fail2banreader import Fail2banReader
from fail2ban.client.jailreader import JailReader
from fail2ban.client.jailsreader import JailsReader
from fail2ban.server.server import Server

from ...errors import UsageError
from .jail import every_packet
from .options import BACKEND_OPTIONS, is_pflog, of_backend, unknown, with_options
from .patches import prepare, remember_bans

__all__ = [
    "Configuration",
    "ConfigurationError",
    "JailInfo",
    "choose",
    "find_configuration",
    "logged_errors",
]

HOSTS = (Path("/usr/local/etc/fail2ban"), Path("/usr/pkg/etc/fail2ban"), Path("/etc/fail2ban"))
"""Where FreeBSD, NetBSD and all others keep fail2ban's configuration."""

ANY_BACKEND = "pflog[distinct=none, mode=any]"
"""What stands in for the backend of a jail that reads text, with ``every_packet``."""

COLLECT = (50_000, 20, 20)
"""Python's garbage collection; fail2ban turns it off and collects every 30 seconds of its
own clock, which pass in an instant here."""

_SKIPPED = frozenset({"addaction", "action", "addlogpath", "addjournalmatch"})

MAX_ERRORS = 3
"""Different errors that fail2ban logs, as far as they are reported."""


class ConfigurationError(UsageError):
    """A configuration, jail or setting that cannot be used; the message says why."""


class JailInfo(NamedTuple):
    """A jail as configured."""

    name: str
    enabled: bool
    backend: str


def find_configuration() -> Path:
    """Return the configuration directory of this host that knows pflog, or else the package's own.

    Raises ConfigurationError where there is neither.
    """
    packaged = (
        Path(__file__).resolve().parents[3] / "config",
        Path(sysconfig.get_path("data")) / "share" / "fail2ban-pflog" / "config",
        Path(sys.prefix) / "etc" / "fail2ban",
    )
    for folder in (*HOSTS, *packaged):
        if (folder / "filter.d" / "pflog.conf").exists():
            return folder
    raise ConfigurationError("no configuration with filter.d/pflog.conf found; name one: --config")


class Configuration:
    """fail2ban's configuration in one directory.

    Raises ConfigurationError where there is none.
    """

    def __init__(self, folder: Path) -> None:
        prepare()
        self.folder = folder
        self._reader = JailsReader(basedir=str(folder))
        try:
            read = self._reader.read()
        except (ValueError, configparser.Error, OSError) as error:
            raise ConfigurationError(str(error)) from None
        if not read:
            raise ConfigurationError(f"no jails are configured in {folder}")
        self._purge_age = self._server_option("dbpurgeage", "1d")
        self._has_database = self._server_option("dbfile", "").lower() != "none"

    def jails(self) -> list[JailInfo]:
        """Return all jails, in the order of the configuration."""
        found = []
        for name in self._reader.sections():
            if name in ("INCLUDES", "DEFAULT"):
                continue
            enabled = self._get(name, "enabled").lower() in ("true", "yes", "on", "1")
            found.append(JailInfo(name, enabled, self._get(name, "backend")))
        return found

    def logpaths(self, name: str) -> list[str]:
        """Return the patterns of the files that a jail reads."""
        return self._get(name, "logpath").split()

    def load(self, name: str, settings: Mapping[str, str]) -> Any:
        """Make fail2ban's Jail, ready to be fed.

        Args:
            name: of the jail.
            settings: options of the jail that replace those of the configuration.

        Raises:
            ConfigurationError: it cannot be made.
        """
        commands, reads_text = self._commands(name, settings)
        server = Server()
        if self._has_database and ["set", name, "bantime.increment", True] in commands:
            server.setDatabase(":memory:")
            server.getDatabase().purgeage = self._purge_age
            server.getDatabase().maxMatches = 0  # of which no verdict depends
            remember_bans(server.getDatabase())
        for command in commands:
            if command[0] == "start" or (len(command) > 2 and command[2] in _SKIPPED):
                continue
            status, answer = server._Server__transm.proceed(command)
            if status:
                raise ConfigurationError(f"jail {name}: {' '.join(map(str, command))}: {answer}")
        gc.set_threshold(*COLLECT)
        jail = server._Server__jails[name]
        if problem := jail.filter.problem:
            raise ConfigurationError(f"jail {name}: {problem}")
        if reads_text:
            jail.filter.pipeline = every_packet()
        return jail

    def but_maxretry(self, name: str, settings: Mapping[str, str]) -> str:
        """Return what makes the jail but its maxretry: equal for jails that only differ in that.

        Without its maxmatches as well, which follows maxretry and makes no verdict.
        Raises ConfigurationError.
        """
        commands = [
            command
            for command in self._commands(name, settings)[0]
            if command[2:3] not in (["maxretry"], ["maxmatches"])
        ]
        return re.sub(r",?\s*\bhold=\d+", "", repr(commands))  # which makes no verdict, too

    def _commands(self, name: str, settings: Mapping[str, str]) -> tuple[list[list[Any]], bool]:
        """Return what a client would send to the server, and whether the jail reads text."""
        names = [jail.name for jail in self.jails()]
        if name not in names:
            raise ConfigurationError(
                f"there is no jail {name} in {self.folder}; there are {', '.join(names) or 'none'}"
            )
        reader = self._merged(name, settings)
        reads_text = not is_pflog(str(reader.get(name, "backend")))
        if reads_text:
            reader.merge_section(name, {"backend": ANY_BACKEND})
        with logged_errors(settings) as errors:
            try:
                reader.getOptions()
                commands: list[list[Any]] = reader.convert(allow_no_files=True)
            except (ValueError, TypeError, configparser.Error) as error:
                what = "; ".join(errors) or str(error)
                raise ConfigurationError(f"jail {name}: {what}") from None
        if errors:
            raise ConfigurationError(f"jail {name}: {'; '.join(errors)}")
        return commands, reads_text

    def in_jail_local(self, name: str, settings: Mapping[str, str]) -> dict[str, str]:
        """Return settings as jail.local has them: the backend's alone stand in ``backend``.

        Raises ConfigurationError.
        """
        known = self._options(name)
        plain = {option: value for option, value in settings.items() if option in known}
        by_plain = str(self._read(name, plain).get(name, "backend"))
        backend = str(self._merged(name, settings).get(name, "backend"))
        if backend == by_plain:
            return plain
        maxretry = str(self._merged(name, settings).get(name, "maxretry"))
        backend = backend.replace("%", "%%")
        backend = re.sub(rf"\bhold={maxretry}\b", "hold=%(maxretry)s", backend)
        return {**plain, "backend": backend}

    def own(self, name: str, settings: Mapping[str, str], options: Iterable[str]) -> dict[str, str]:
        """Return the jail's own values of options, or those of ``settings``, where it has any.

        Raises ConfigurationError.
        """
        reader = self._merged(name, settings)
        backend = str(reader.get(name, "backend"))
        found = of_backend(backend) if is_pflog(backend) else {}
        for option in self._options(name).intersection(options):
            with suppress(configparser.Error):
                found[option] = str(reader.get(name, option))
        return {option: found[option] for option in options if option in found}

    def _options(self, name: str) -> set[str]:
        """Return the names of a jail's own options."""
        return {*JailReader._configOpts, *self._reader.options(name, withDefault=True)}

    def _merged(self, name: str, settings: Mapping[str, str]) -> Any:
        """Make a reader of a jail with its options replaced by ``settings``, its backend's as well.

        Raises ConfigurationError.
        """
        known = self._options(name)
        if strange := sorted(set(settings) - known - BACKEND_OPTIONS):
            raise ConfigurationError(unknown(name, strange[0], known))
        for option, value in settings.items():
            if JailReader._configOpts.get(option, "?")[0] == "bool" and not is_bool(value):
                raise ConfigurationError(f"jail {name}: {option}={value}: must be true or false")
        reader = self._read(
            name, {option: value for option, value in settings.items() if option in known}
        )
        try:
            of_its_backend = {
                option: str(reader.get(name, option)) if option in known else settings[option]
                for option in BACKEND_OPTIONS.intersection(settings)
            }
            backend = str(reader.get(name, "backend"))
            if of_its_backend and is_pflog(backend):
                changed = with_options(backend, of_its_backend)
                if changed != backend:
                    reader.merge_section(name, {"backend": changed.replace("%", "%%")})
        except (configparser.Error, ValueError) as error:
            raise ConfigurationError(f"jail {name}: {error}") from None
        if (lost := sorted(set(of_its_backend) - known)) and not is_pflog(backend):
            raise ConfigurationError(
                f"jail {name}: {lost[0]} is an option of backend = pflog[...], and this jail has "
                f"backend = {backend}"
            )
        return reader

    def _read(self, name: str, options: Mapping[str, str]) -> Any:
        """Make a reader of a jail with its own options replaced."""
        # Each time anew: a reader keeps what was merged into it.
        reader = JailReader(name, force_enable=True, basedir=str(self.folder))
        reader.read()
        reader.merge_section(name, {"action": "", "enabled": "true", **options})
        return reader

    def _get(self, name: str, option: str) -> str:
        try:
            return str(self._reader.get(name, option))
        except configparser.Error:
            return ""

    def _server_option(self, name: str, default: str) -> str:
        reader = Fail2banReader(basedir=str(self.folder))
        reader.read()
        try:
            return str(reader.get("Definition", name))
        except (configparser.Error, AttributeError):
            return default


class _Errors(logging.Handler):
    """Collects what fail2ban logs as errors: some it reports nowhere else.

    Args:
        options: of a value of these that it does not understand it only warns, and takes the
            default; here that is an error.
    """

    def __init__(self, options: Iterable[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._options = [repr(option) for option in options]

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        wrong = message.startswith("Wrong") and any(each in message for each in self._options)
        if message in self.messages or len(self.messages) >= MAX_ERRORS:
            return
        if wrong or record.levelno >= logging.ERROR:
            self.messages.append(message)


@contextmanager
def logged_errors(options: Iterable[str] = ()) -> Iterator[list[str]]:
    """Collect what fail2ban logs as errors meanwhile, each once and at most MAX_ERRORS."""
    handler, logger = _Errors(options), logging.getLogger("fail2ban")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def is_bool(text: str) -> bool:
    """Return whether a text says yes or no; fail2ban takes every other for no."""
    return text.lower() in ("1", "on", "true", "yes", "0", "off", "false", "no")


def choose(jails: Iterable[JailInfo]) -> list[str]:
    """The jails to replay where none was named: pflog's enabled ones, or else all of pflog's."""
    pflog = [jail for jail in jails if is_pflog(jail.backend)]
    return [jail.name for jail in pflog if jail.enabled] or [jail.name for jail in pflog]
