# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each system keeps what.  The table is all that differs between them."""

from __future__ import annotations

import platform
from typing import NamedTuple

from . import HostError

__all__ = ["SYSTEMS", "Pflogd", "Shipped", "System", "find_system"]


class Shipped(NamedTuple):
    """A file of ours below files/, and where a system wants it."""

    source: str
    target: str
    mode: int = 0o644


class Pflogd(NamedTuple):
    """How a system runs pflogd.

    flags: a command that prints its options.  set_flags: one that sets them.
    start: how interface and program come to be.
    """

    flags: tuple[str, ...] = ()
    set_flags: str = ""
    start: str = "ifconfig pflog0 create"


class System(NamedTuple):
    """One system.

    configurations: where fail2ban's configuration directory may be, the likeliest first.
    manuals: the directory with man1, man5, man8.
    writer: what the text log's writer needs.  writer_hint: what is left to do for it.
    restart: how fail2ban is restarted.  rules: the file with pf's rules, or where they are.
    enable: how pf is switched on.  pflogd: how it runs.
    clock: a command that tells whether the clock is kept right, and an expression for "yes".
    """

    name: str
    configurations: tuple[str, ...]
    programs: str
    manuals: str
    writer: tuple[Shipped, ...]
    writer_hint: str
    restart: str
    rules: str = "/etc/pf.conf"
    enable: str = "pfctl -e"
    pflogd: Pflogd = Pflogd()
    clock: tuple[tuple[str, ...], str] = ((), "")


SYSTEMS = {
    "freebsd": System(
        name="FreeBSD",
        configurations=("/usr/local/etc/fail2ban",),
        programs="/usr/local/bin",
        manuals="/usr/local/share/man",
        writer=(
            Shipped("freebsd/fail2ban_pflogd", "/usr/local/etc/rc.d/fail2ban_pflogd", 0o755),
            Shipped(
                "freebsd/newsyslog.conf", "/usr/local/etc/newsyslog.conf.d/fail2ban-pflogd.conf"
            ),
        ),
        writer_hint="sysrc fail2ban_pflogd_enable=YES && service fail2ban_pflogd start",
        restart="service fail2ban restart",
        rules="/etc/pf.conf (pfSense, OPNsense: docs/install.md)",
        enable="service pf enable && service pf start",
        pflogd=Pflogd(
            flags=("sysrc", "-n", "pflog_flags"),
            set_flags="sysrc pflog_flags='{}' && service pflog restart",
            start="service pflog enable && service pflog start",
        ),
        clock=(("ntpq", "-c", "rv"), r"leap_(none|add|del)"),
    ),
    "openbsd": System(
        name="OpenBSD",
        configurations=("/etc/fail2ban", "/usr/local/etc/fail2ban"),
        programs="/usr/local/bin",
        manuals="/usr/local/man",
        writer=(Shipped("openbsd/fail2ban_pflogd", "/etc/rc.d/fail2ban_pflogd", 0o755),),
        writer_hint="add the lines of {files}/openbsd/newsyslog.conf to /etc/newsyslog.conf, then "
        "rcctl enable fail2ban_pflogd && rcctl start fail2ban_pflogd",
        restart="rcctl restart fail2ban",
        pflogd=Pflogd(
            flags=("rcctl", "get", "pflogd", "flags"),
            set_flags="rcctl set pflogd flags '{}' && rcctl restart pflogd",
            start="ifconfig pflog0 create && rcctl start pflogd",
        ),
        clock=(("ntpctl", "-s", "status"), "clock synced"),
    ),
    "macos": System(
        name="macOS",
        configurations=(
            "/opt/homebrew/etc/fail2ban",
            "/usr/local/etc/fail2ban",
            "/opt/local/etc/fail2ban",
        ),
        programs="/usr/local/bin",
        manuals="/usr/local/share/man",
        writer=(Shipped("freebsd/newsyslog.conf", "/etc/newsyslog.d/fail2ban-pflogd.conf"),),
        writer_hint="no launchd job is shipped: run fail2ban-pflogd(8) by one of your own",
        restart="sudo brew services restart fail2ban",
    ),
    "linux": System(
        name="Linux",
        configurations=("/etc/fail2ban",),
        programs="/usr/local/bin",
        manuals="/usr/local/share/man",
        writer=(
            Shipped("linux/fail2ban-pflogd.service", "/etc/systemd/system/fail2ban-pflogd.service"),
            Shipped("linux/fail2ban-pflogd.logrotate", "/etc/logrotate.d/fail2ban-pflogd"),
        ),
        writer_hint="systemctl daemon-reload && systemctl enable --now fail2ban-pflogd",
        restart="systemctl restart fail2ban",
        rules="the pf.conf of the host whose log this is",
        pflogd=Pflogd(start="there is no pf here: logpath= a file that a BSD's pflogd writes"),
        clock=(("timedatectl", "show", "-p", "NTPSynchronized"), "=yes"),
    ),
}

_KERNELS = {"FreeBSD": "freebsd", "DragonFly": "freebsd", "OpenBSD": "openbsd",
            "Darwin": "macos", "Linux": "linux"}  # fmt: skip


def find_system(name: str = "", kernel: str = "") -> System:
    """The system of a name of SYSTEMS, or this host's.

    kernel: what ``uname -s`` says; this host's by default.
    Raises HostError where it is none of them.
    """
    kernel = kernel or platform.system()
    name = name or _KERNELS.get(kernel, "")
    if name not in SYSTEMS:
        names = ", ".join(SYSTEMS)
        raise HostError(f"{kernel} is not known; name a system like it: --system {names}")
    return SYSTEMS[name]
