# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of ``fail2ban-pflogd``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Callable, NamedTuple, Optional

from .. import __version__
from ..options import DEFAULT_INTERFACE, seconds, whole
from ..policy.dedup import WHATS
from ..policy.kinds import MODES
from .messages import PROGRAM

__all__ = ["Options", "Policy", "parse", "parser"]

LOG = "/var/log/pflog.log"
PID_FILE = f"/var/run/{PROGRAM}.pid"
FINDTIME = "5m"
USERS = ("_pflogd", "nobody")
"""The first of them that exists: OpenBSD and FreeBSD have made _pflogd for the same
work, with no files of its own."""

_DESCRIPTION = """\
Writes what the packet filter pf logs to a text file, one line per packet, for programs
that read text: fail2ban with any of its own backends, grep, a log collector.

    2026-11-22T01:48:13.748353+01:00 rule 1/0(match): block in on vtnet0: 192.0.2.7...

Without options it listens on pflog0, writes /var/log/pflog.log and stays in the
foreground.  Start it as root: it opens what needs root and then works as --user.
"""

_EPILOG = """\
signals:
  HUP, USR1   open the log anew (after newsyslog or logrotate renamed it)
  TERM, INT   write what was read, then stop
  INFO        write the figures to standard error (USR2 where there is no INFO)

examples: see fail2ban-pflogd(8)
"""


class Policy(NamedTuple):
    """Which packets become lines; the backend's options of these names."""

    mode: str
    distinct: str
    findtime: float
    prefix6: int


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        user: that the worker becomes; None when not started as root, or to stay root.
        policy: None: every packet becomes a line.
    """

    interface: str
    bpf: str
    tcpdump: Optional[str]
    follow: Optional[str]
    read: Optional[str]
    policy: Optional[Policy]
    log: str
    pid_file: str
    user: Optional[pwd.struct_passwd]
    check: bool

    @property
    def source(self) -> str:
        """The source's name, for messages."""
        name = self.follow or self.read or self.interface
        return "standard input" if name == "-" else name


# fmt: off
def parser() -> argparse.ArgumentParser:
    """Make the command line's parser."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = made.add_argument_group("where packets come from (one of these)")
    one = group.add_mutually_exclusive_group().add_argument
    one("-i", "--interface", metavar="NAME", default=DEFAULT_INTERFACE,
        help=f"pf's log interface (default: {DEFAULT_INTERFACE})")
    one("-f", "--follow", metavar="FILE",
        help="the file that pflogd writes, and its successors after rotations")
    one("-r", "--read", metavar="FILE",
        help="a capture (pcap or pcapng, also .gz .bz2 .xz .zst), once; a FIFO, which is not "
        "unpacked, again and again; - is standard input")
    add = group.add_argument
    add("--tcpdump", metavar="PROGRAM", nargs="?", const="tcpdump",
        help="let tcpdump read the interface (default where pcapy-ng is not installed)")
    add("--bpf", metavar="EXPR", default="",
        help="only packets of the interface that match, see pcap-filter(7) (default: all)")
    add = made.add_argument_group(
        "which packets become lines (default: every one)",
        "As the backend's options; with any of them only what pf dropped on its way in.",
    ).add_argument
    add("--mode", choices=tuple(MODES), help="what counts, see docs/jails.md (default: any)")
    add("--distinct", choices=WHATS,
        help="one line per source and target: port, host, or none: every packet (default: none)")
    add("--findtime", metavar="TIME", type=_typed(seconds),
        help="the jail's, for --distinct: how long a target is remembered depends on it "
        f"(default: {FINDTIME})")
    add("--prefix6", metavar="BITS", type=_typed(lambda text: whole(text, 8, 128, 8)),
        help="bits of an IPv6 source that are one source, a multiple of 8 (default: 128)")
    add = made.add_argument
    add("-l", "--log", metavar="FILE", default=LOG, help=f"the text log (default: {LOG})")
    add("-p", "--pid-file", metavar="FILE", default=PID_FILE if os.geteuid() == 0 else "",
        help=f"where the process id is kept, '' for nowhere (default: {PID_FILE} for root, "
        "nowhere for others)")
    add("-u", "--user", metavar="NAME",
        help="the user to become, if started as root; root to stay root "
        f"(default: {USERS[0]} where that user exists, else {USERS[1]})")
    add("--check", action="store_true", help="check the options and the system, then stop")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return made
# fmt: on


def parse(argv: Optional[Sequence[str]]) -> Options:
    """Read the command line; exits with 2 and a hint when it makes no sense."""
    program = parser()
    arguments = program.parse_args(argv)
    reads_file = arguments.follow or arguments.read
    if reads_file and (arguments.bpf or arguments.tcpdump):
        program.error("--bpf and --tcpdump are for an interface, not for a file")
    try:
        user = _user(arguments.user)
    except ValueError as error:
        program.error(str(error))
    given: dict[str, Any] = vars(arguments)
    given = {field.name: given.get(field.name) for field in fields(Options)}
    if not reads_file and not arguments.tcpdump and importlib.util.find_spec("pcapy") is None:
        given["tcpdump"] = "tcpdump"
    return Options(**{**given, "policy": _policy(arguments), "user": user})


def _typed(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Have argparse say what is wrong with a value."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def _policy(arguments: argparse.Namespace) -> Optional[Policy]:
    given = (arguments.mode, arguments.distinct, arguments.findtime, arguments.prefix6)
    if all(each is None for each in given):
        return None
    mode, distinct, findtime, prefix6 = given
    return Policy(
        mode or "any",
        distinct or "none",
        seconds(FINDTIME) if findtime is None else findtime,
        prefix6 or 128,
    )


def _user(name: Optional[str]) -> Optional[pwd.struct_passwd]:
    if os.geteuid() != 0:
        if name is not None and name != pwd.getpwuid(os.geteuid()).pw_name:
            raise ValueError("only root can become another user")
        return None
    for candidate in USERS if name is None else (name,):
        try:
            user = pwd.getpwnam(candidate)
        except KeyError:
            continue
        return user if user.pw_uid else None
    raise ValueError(f"there is no user {name or ' or '.join(USERS)}")
