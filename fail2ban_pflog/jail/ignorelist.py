# SPDX-License-Identifier: GPL-2.0-or-later
"""What a jail never bans: its ignore list, this host's addresses, and networks that hold either.

With ``prefix4`` and ``prefix6`` a source's network is banned.  The address alone is banned
where the network holds an address that is ignored, or where unrelated hosts share it by design.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fail2ban.helpers import getLogger
from fail2ban.server.filter import FileFilter
from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import FailTicket
from fail2ban.server.utils import Utils

from ..sources import NOTICE
from .host_addresses import host_addresses

__all__ = ["IgnoreList", "ban_manager", "networks_with"]

logSys = getLogger("fail2ban.filterpflog")

SHARED = tuple(IPAddr(text, bits) for text, bits in (
    ("64:ff9b::", 96),  # NAT64 (RFC 6052): all IPv4 hosts behind a translator
    ("64:ff9b:1::", 48),  # NAT64 with a local prefix (RFC 8215)
    ("2001::", 32),  # Teredo (RFC 4380): all clients of one server have its /64
))  # fmt: skip
"""IPv6 networks in which neighbours have nothing to do with each other."""

COMMAND_KEEPS = 60
"""Seconds for which an answer of ``ignorecommand`` holds."""

FRIENDS_KEEP = 86_400
"""Seconds for which a network is known to hold an address that ``ignorecommand`` ignores."""

MAX_KEPT = 1000
"""Answers, and networks, that are kept."""


class IgnoreList(FileFilter):
    """A filter that also ignores the addresses of this host's interfaces, and knows networks."""

    def __init__(self, jail: Any, /, **options: Any) -> None:
        super().__init__(jail, **options)
        self._answers = Utils.Cache(MAX_KEPT, COMMAND_KEEPS)  # address -> ignored by the command
        self._friends = Utils.Cache(MAX_KEPT, FRIENDS_KEEP)  # networks with such an address

    def _inIgnoreIPList(self, ip: Any, *args: Any, **kwargs: Any) -> bool:
        if self.ignoreSelf and _any_in(ip, _own()):
            log_ignore = kwargs.get("log_ignore", args[1] if len(args) > 1 else True)
            self.logIgnoreIp(ip, log_ignore, ignore_source="ignoreself rule")
            return True
        ignored: bool = super()._inIgnoreIPList(ip, *args, **kwargs)
        return ignored

    def addIgnoreIP(self, ipstr: str) -> None:
        """Ignore an address, a network or a name; says which banned network holds it."""
        super().addIgnoreIP(ipstr)
        if self.is_alive():
            for network in networks_with(self.jail.actions, ipstr):
                logSys.log(
                    NOTICE, "[%s] %s is within %s, which stays banned until `fail2ban-client set "
                    "%s unbanip %s`", self.jailName, ipstr, network, self.jailName, network,
                )  # fmt: skip

    def network_of(self, ip: Any, prefix4: int, prefix6: int) -> Any:
        """Return the network of a source that is to be banned with it; else the address itself.

        Args:
            ip: fail2ban's IPAddr.
            prefix4: Bits of the network of an IPv4 address.
            prefix6: Bits of the network of an IPv6 address.
        """
        bits = prefix4 if ip.isIPv4 else prefix6 if ip.isIPv6 else 128
        if not ip.isSingle or bits >= ip.plen:
            return ip
        network = IPAddr(str(ip), bits)
        if _overlaps(network, SHARED) or self._holds_ignored(network, ip):
            return ip
        return network

    def ignores(self, ticket: Any) -> bool:
        """Return whether a source is ignored, or holds an address that is."""
        source = ticket.getID()
        is_network = isinstance(source, IPAddr) and source.isValid and not source.isSingle
        if is_network and self._holds_ignored(source, source):
            return True
        return bool(self.inIgnoreIPList(ticket))

    def _holds_ignored(self, network: Any, ip: Any) -> bool:
        if self.ignoreSelf and _any_in(network, (*_own(), *DNSUtils.getSelfIPs())):
            return True
        if any(_overlaps(network, _addresses(entry)) for entry in self.getIgnoreIP()):
            return True
        return bool(self.ignoreCommand) and self._command_ignores(network, ip)

    def _command_ignores(self, network: Any, ip: Any) -> bool:
        """Ask ``ignorecommand`` for the address: fail2ban asks it for the network alone."""
        if self._friends.get(network):
            return True
        ignored = self._answers.get(ip)
        if ignored is None:
            ticket = FailTicket(ip, MyTime.time())
            ignored = self._inIgnoreIPList(ip, ticket, log_ignore=False)
            self._answers.set(ip, ignored)
        if ignored:
            self._friends.set(network, True)
        return bool(ignored)


def ban_manager(actions: Any) -> Any:
    """Return the ban manager of a jail's actions, which fail2ban 0.11 keeps to itself."""
    return getattr(actions, "banManager", None) or actions._Actions__banManager


def networks_with(actions: Any, text: str) -> list[Any]:
    """Return the banned networks of a jail that hold an address and are not banned by its name."""
    ip = IPAddr(text)
    if not ip.isValid:
        return []
    banned = ban_manager(actions).getBanList()
    return [] if ip in banned else [each for each in banned if _holds(each, ip)]


def _holds(network: Any, ip: Any) -> bool:
    return isinstance(network, IPAddr) and not network.isSingle and bool(ip.isInNet(network))


def _own() -> list[Any]:
    return [IPAddr(address) for address in host_addresses()]


def _any_in(network: Any, addresses: Iterable[Any]) -> bool:
    """Whether a network, or an address, holds one of several addresses."""
    return network.isValid and any(address.isInNet(network) for address in addresses)


def _overlaps(network: Any, others: Iterable[Any]) -> bool:
    return any(other.isInNet(network) or network.isInNet(other) for other in others)


def _addresses(entry: Any) -> Iterable[Any]:
    """Return the addresses and networks of an entry of ``ignoreip``.

    Names are resolved by fail2ban's own cache; ``file:`` of fail2ban 1.1.1 is a set.
    """
    if not isinstance(entry, IPAddr):
        if hasattr(entry, "load"):
            entry.load()
        return tuple(entry)
    resolved: Iterable[Any] = (entry,) if entry.isValid else DNSUtils.dnsToIp(entry.raw)
    return resolved
