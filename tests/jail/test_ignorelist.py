# SPDX-License-Identifier: GPL-2.0-or-later
"""What is never banned: this host, the ignore list, and networks that hold either."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server import ipdns
from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import BanTicket, FailTicket

from fail2ban_pflog.backend import FilterPflog
from fail2ban_pflog.jail import host_addresses, ignorelist
from fail2ban_pflog.jail.ignorelist import ban_manager, networks_with

NOW = 1_780_000_000.0


@pytest.fixture
def filter_(monkeypatch: pytest.MonkeyPatch) -> Iterator[FilterPflog]:
    """The filter of a jail on a host with two addresses, whose name resolves to neither."""
    own = frozenset({"192.0.2.77", "2001:db8:77::7"})
    monkeypatch.setattr(ignorelist, "host_addresses", lambda: own)
    monkeypatch.setattr(DNSUtils, "getSelfIPs", set)
    MyTime.setTime(NOW)
    yield FilterPflog(Jail("pflog", backend="polling"))
    MyTime.setTime(None)


def banned_as(filter_: FilterPflog, address: str) -> str:
    """What is banned for a packet of an address, with prefix4=24 and prefix6=64."""
    return str(filter_.network_of(IPAddr(address), 24, 64))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        # This host is in the network.
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:77::1", "2001:db8:77::1"),
        # Shared by design: NAT64, local NAT64, Teredo; 6to4 is not.
        ("64:ff9b::c000:207", "64:ff9b::c000:207"),
        ("64:ff9b:1:2::c000:207", "64:ff9b:1:2::c000:207"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("2002:c000:207:1::1", "2002:c000:207:1::/64"),
    ],
)
def test_network_of(filter_: FilterPflog, address: str, network: str) -> None:
    """A source's network is banned, but where this host is in it, or strangers share it."""
    assert banned_as(filter_, address) == network


def test_networks_of_the_ignore_list_are_not_banned(
    filter_: FilterPflog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address, a wider or a narrower network, or a name that resolves into it."""
    names = {"friend.example": {IPAddr("2001:db8:4::9")}}
    monkeypatch.setattr(DNSUtils, "dnsToIp", lambda name: names.get(name, set()))
    for entry in ("2001:db8:1:2::9", "2001:db8:2::/48", "2001:db8:3::/112", "friend.example"):
        filter_.addIgnoreIP(entry)
    addresses = ["2001:db8:1:2::7", "2001:db8:2:1::7", "2001:db8:3::1:7", "2001:db8:4::7"]
    assert [banned_as(filter_, each) for each in addresses] == addresses
    assert banned_as(filter_, "2001:db8:5::7") == "2001:db8:5::/64"


@pytest.mark.skipif(not hasattr(ipdns, "FileIPAddrSet"), reason="needs fail2ban 1.1.1")
def test_networks_of_a_file_are_not_banned(filter_: FilterPflog, tmp_path: Path) -> None:
    """`ignoreip = file:PATH` holds for networks."""
    (tmp_path / "friends").write_text("2001:db8:1:2::9\n203.0.113.0/28\n")
    filter_.addIgnoreIP(f"file:{tmp_path}/friends")
    assert banned_as(filter_, "2001:db8:1:2::7") == "2001:db8:1:2::7"
    assert banned_as(filter_, "203.0.113.99") == "203.0.113.99"


def test_ignorecommand_is_asked_for_the_address(filter_: FilterPflog, tmp_path: Path) -> None:
    """An address that it ignores is not banned with its network, nor are those beside it."""
    filter_.ignoreCommand = f"echo <ip> >> {tmp_path}/asked; test <ip> = 2001:db8:1:2::9"
    assert banned_as(filter_, "2001:db8:1:2::7") == "2001:db8:1:2::/64"
    for _ in range(3):
        assert banned_as(filter_, "2001:db8:1:2::9") == "2001:db8:1:2::9"
    assert banned_as(filter_, "2001:db8:1:2::7") == "2001:db8:1:2::7"
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["2001:db8:1:2::7", "2001:db8:1:2::9"]


def test_this_host_is_ignored(filter_: FilterPflog) -> None:
    """The addresses of all interfaces, and networks that hold one; not with ignoreself=false."""
    own = ["192.0.2.77", "2001:db8:77::7", "2001:db8:77::/64"]

    def ignored() -> list[bool]:
        tickets = [FailTicket(each, NOW) for each in own]
        by_ticket = [filter_._inIgnoreIPList(each.getID(), each) for each in tickets]
        assert by_ticket == [filter_.inIgnoreIPList(each) for each in own]
        return by_ticket

    assert ignored() == [True, True, True]
    assert not filter_.inIgnoreIPList("192.0.2.78")
    filter_.ignoreSelf = False
    assert ignored() == [False, False, False]
    assert banned_as(filter_, "192.0.2.78") == "192.0.2.0/24"


def test_networks_with(filter_: FilterPflog) -> None:
    """Banned networks that hold an address are found; not where the address itself is banned."""
    actions = filter_.jail.actions
    for banned in ("2001:db8:1:2::/64", "198.51.100.7", "203.0.113.0/24", "203.0.113.9"):
        ban_manager(actions).addBanTicket(BanTicket(banned, NOW))
    found = {
        text: [str(each) for each in networks_with(actions, text)]
        for text in ("2001:db8:1:2::7", "198.51.100.7", "203.0.113.8", "203.0.113.9", "a.example")
    }
    assert found == {
        "2001:db8:1:2::7": ["2001:db8:1:2::/64"],
        "198.51.100.7": [],
        "203.0.113.8": ["203.0.113.0/24"],
        "203.0.113.9": [],
        "a.example": [],
    }


# -- The addresses of this host -------------------------------------------------------------


def test_interfaces_are_read() -> None:
    """Loopback's address is among what libc says, as are those that the programs print."""
    assert "127.0.0.1" in host_addresses.read_addresses()
    if printed := host_addresses._from_programs():
        assert set(printed) <= host_addresses.read_addresses()


@pytest.mark.parametrize(
    ("platform", "head"),
    [
        ("linux", (10).to_bytes(2, sys.byteorder)),
        ("freebsd14", b"\x1c\x1c"),
        ("openbsd7", b"\x1c\x18"),
    ],
)
def test_sockaddr(monkeypatch: pytest.MonkeyPatch, platform: str, head: bytes) -> None:
    """The family is two bytes on Linux, the second byte on the BSDs, which number it otherwise."""
    monkeypatch.setattr(sys, "platform", platform)
    family = head[1] if platform != "linux" else int(socket.AF_INET6)
    monkeypatch.setattr(host_addresses, "_OFFSET", {family: (8, 16)})
    monkeypatch.setattr(host_addresses.socket, "AddressFamily", int)
    monkeypatch.setattr(host_addresses.socket, "inet_ntop", lambda _family, raw: raw.hex())
    memory = head + bytes(6) + bytes(range(16)) + bytes(4)
    found = list(host_addresses._address(head, 0, lambda at, size: memory[at : at + size]))
    assert found == [bytes(range(16)).hex()]


def test_programs_where_libc_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ifconfig of a BSD or ip of Linux print is read."""
    text = "\tinet 192.0.2.1 netmask 0xffffff00\n\tinet6 fe80::1%em0 prefixlen 64\n"
    text += "    inet6 2001:db8::1/64 scope global\n\tinet6 ::1 prefixlen 128\n"

    class Done:
        stdout = text

    monkeypatch.setattr(host_addresses, "_from_libc", lambda: 1 / 0)
    monkeypatch.setattr(host_addresses.subprocess, "run", lambda *_args, **_options: Done)
    assert host_addresses.read_addresses() == {"192.0.2.1", "fe80::1", "2001:db8::1", "::1"}


def test_addresses_are_read_again() -> None:
    """They are kept for half a minute, and for longer where they cannot be read."""
    answers: list[Any] = [{"192.0.2.1"}, {"192.0.2.2"}, set()]
    now = [100.0]
    addresses = host_addresses.HostAddresses(lambda: frozenset(answers.pop(0)), lambda: now[0])
    seen = []
    for now[0] in (100.0, 129.0, 130.0, 160.0):
        seen.append(addresses())
    assert seen == [{"192.0.2.1"}, {"192.0.2.1"}, {"192.0.2.2"}, {"192.0.2.2"}]
