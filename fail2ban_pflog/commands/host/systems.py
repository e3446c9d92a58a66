# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each system keeps what.  The table is all that differs between them."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

from . import HostError

__all__ = ["SYSTEMS", "Pflogd", "Shipped", "System", "add_options", "find_system"]


class Shipped(NamedTuple):
    """A file of ours below files/, and where a system wants it.

    Attributes:
        target: Its path; `{config}` is fail2ban's configuration directory.
        is_default: Written only where nothing is, and the administrator's from then on.
    """

    source: str
    target: str
    mode: int = 0o644
    is_default: bool = False


class Pflogd(NamedTuple):
    """How a system runs pflogd.

    Attributes:
        flags: A command that prints its options.
        set_flags: A command that sets them.
        start: How interface and program are started.
    """

    flags: tuple[str, ...] = ()
    set_flags: str = ""
    start: str = "ifconfig pflog0 create"


_PF_RULES = """\
block drop in log all
anchor "f2b/*"          # before the rules that pass"""


_LINUX_RULES = """\
nft add rule inet filter input log prefix drop-in group 5 queue-threshold 1 drop
nft add rule inet filter output ct state new log prefix out group 5 queue-threshold 1
# the first behind the rules that accept; with iptables, and so with ip6tables:
iptables -A INPUT -j NFLOG --nflog-group 5 --nflog-prefix drop-in --nflog-threshold 1
iptables -A INPUT -j DROP
iptables -A OUTPUT -m conntrack --ctstate NEW -j NFLOG --nflog-group 5 --nflog-prefix out \\
    --nflog-threshold 1"""


class System(NamedTuple):
    """One system.

    Attributes:
        configurations: Where fail2ban's configuration directory may be, the likeliest first.
        install: How fail2ban is installed.
        manuals: The directory with man1, man5, man8.
        completions: The directory with those of bash and zsh.
        writer: What the text log's writer needs.
        start_writer: How the writer is started.
        service: What fail2ban itself lacks on this system.
        remains: What is the administrator's to remove, beside pf.conf and jail.local; a line each.
        restart: How fail2ban is restarted.
        rules: The file with pf's rules, or where they are.
        firewall: Lines for it.
        source: Lines for the jail [pflog]: what it reads.
        action: Lines for each jail.
        enable: How pf is switched on.
        pflogd: How it runs.
        clock: A command that shows whether the clock is synchronised, and an expression for "yes".
    """

    name: str
    configurations: tuple[str, ...]
    writer: tuple[Shipped, ...]
    start_writer: str
    restart: str
    install: str
    programs: str = "/usr/local/bin"
    manuals: str = "/usr/local/share/man"
    completions: str = "/usr/local/share"
    service: tuple[Shipped, ...] = ()
    remains: tuple[str, ...] = ()
    rules: str = "/etc/pf.conf"
    firewall: str = _PF_RULES
    source: str = ""
    action: str = ""
    enable: str = "pfctl -e"
    pflogd: Pflogd = Pflogd()
    clock: tuple[tuple[str, ...], str] = ((), "")

    def next_steps(self, config: str, files: Path, *, writer: bool) -> str:
        """Return what is left to do once the files are there."""
        name, source = ("pflog-text", "") if writer else ("pflog", self.source)
        jail = filter(None, [f"[{name}]", "enabled = true", source, self.action])
        steps = [
            ("firewall", "\n".join([f"{self.rules}:", self.firewall])),
            ("log", self.pflogd.start),
            ("writer", self.start_writer.format(files=files) if writer else ""),
            ("jail", "\n".join([f"{config}/jail.local:", *jail])),
            ("fail2ban", self.restart),
        ]
        lines = [f"  {name:<10}{indent(text, ' ' * 12).lstrip()}" for name, text in steps if text]
        return "\n".join(
            ["\nNext, where it is not so yet:", *lines,
             "Then `fail2ban-pflog check` shows whether it all works."]
        )  # fmt: skip

    def last_steps(self) -> str:
        """Return what is left to do once the files are removed."""
        yours = [f"your lines in jail.local and {self.rules}", *self.remains]
        head = f"\nNow restart fail2ban: {self.restart}\nWhat remains is yours:"
        return "\n  ".join([head, *yours])


SYSTEMS = {
    "freebsd": System(
        name="FreeBSD",
        configurations=("/usr/local/etc/fail2ban",),
        writer=(
            Shipped("freebsd/fail2ban_pflogd", "/usr/local/etc/rc.d/fail2ban_pflogd", 0o755),
            Shipped(
                "freebsd/newsyslog.conf", "/usr/local/etc/newsyslog.conf.d/fail2ban-pflogd.conf"
            ),
        ),
        start_writer="sysrc fail2ban_pflogd_enable=YES && service fail2ban_pflogd start",
        remains=(
            "the writer, while it runs: pkill -F /var/run/fail2ban-pflogd.pid",
            "its variables: sysrc -x fail2ban_pflogd_enable fail2ban_pflogd_flags",
        ),
        restart="service fail2ban restart",
        install="pkg install security/py-fail2ban",
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
        manuals="/usr/local/man",
        writer=(Shipped("openbsd/fail2ban_pflogd", "/etc/rc.d/fail2ban_pflogd", 0o755),),
        start_writer="add the lines of {files}/openbsd/newsyslog.conf\nto /etc/newsyslog.conf, then"
        "\nrcctl enable fail2ban_pflogd && rcctl start fail2ban_pflogd",
        remains=(
            "the writer, while it runs: pkill -F /var/run/fail2ban-pflogd.pid",
            "what rcctl wrote for it: fail2ban_pflogd in /etc/rc.conf.local (pkg_scripts, flags)",
            "its line in /etc/newsyslog.conf: /var/log/pflog.log",
            "/etc/rc.d/fail2ban, which fail2ban needs: rcctl disable fail2ban before you remove it",
        ),
        service=(Shipped("openbsd/fail2ban", "/etc/rc.d/fail2ban", 0o755, is_default=True),),
        restart="rcctl restart fail2ban",
        install="there is no package, so from its sources: see docs/install.md",
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
        writer=(Shipped("freebsd/newsyslog.conf", "/etc/newsyslog.d/fail2ban-pflogd.conf"),),
        start_writer="no launchd job is shipped: run fail2ban-pflogd(8) by one of your own",
        restart="sudo brew services restart fail2ban",
        install="brew install fail2ban",
    ),
    "linux": System(
        name="Linux",
        configurations=("/etc/fail2ban",),
        writer=(
            Shipped("linux/fail2ban-pflogd.service", "/etc/systemd/system/fail2ban-pflogd.service"),
            Shipped("linux/fail2ban-pflogd.logrotate", "/etc/logrotate.d/fail2ban-pflogd"),
        ),
        start_writer="systemctl daemon-reload && systemctl enable --now fail2ban-pflogd",
        remains=(
            "the writer, while it runs: pkill -F /run/fail2ban-pflogd.pid; systemctl daemon-reload",
            "its options: /etc/default/fail2ban-pflogd",
        ),
        restart="systemctl restart fail2ban",
        install="apt install fail2ban",
        service=(Shipped("linux/pflog.linux.conf", "{config}/jail.d/pflog.linux.conf"),),
        rules="/etc/nftables.conf, or what loads your rules",
        firewall=_LINUX_RULES,
        action="banaction = nft-pflog",
        enable="systemctl enable --now nftables",
        pflogd=Pflogd(start=""),
        clock=(("timedatectl", "show", "-p", "NTPSynchronized"), "=yes"),
    ),
}

_KERNELS = {"FreeBSD": "freebsd", "DragonFly": "freebsd", "OpenBSD": "openbsd",
            "Darwin": "macos", "Linux": "linux"}  # fmt: skip


def find_system(name: str = "", kernel: str = "") -> System:
    """Return the system of a name of SYSTEMS, or of a kernel (``uname -s``): this host's.

    Raises HostError where it is none of them.
    """
    kernel = kernel or platform.system()
    name = name or _KERNELS.get(kernel, "")
    if name not in SYSTEMS:
        names = ", ".join(SYSTEMS)
        raise HostError(f"{kernel} is not known; name a system like it: --system {names}")
    return SYSTEMS[name]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the host: where fail2ban is, and on which system."""
    host = parser.add_argument_group("the host")
    host.add_argument(
        "--confdir", metavar="DIR", default="", help="fail2ban's configuration directory"
    )
    host.add_argument(
        "--python", metavar="PROGRAM", default="",
        help="fail2ban's Python (default: as the first line of fail2ban-server says)",
    )  # fmt: skip
    host.add_argument(
        "--system", choices=SYSTEMS, default="", help="where things are (default: this system)"
    )
    host.add_argument(
        "--root", metavar="DIR", type=Path, default=Path("/"),
        help="take DIR for the root directory, as DESTDIR does",
    )  # fmt: skip
