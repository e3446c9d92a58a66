# SPDX-License-Identifier: GPL-2.0-or-later
"""FilterPflog at fail2ban's seam, without a server: options, clocks, silence, prefixes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fail2ban", reason="needs fail2ban (`make test` installs it)")

from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime

from fail2ban_pflog import backend
from fail2ban_pflog.backend import FilterPflog, Options, register
from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.policy import kinds
from fail2ban_pflog.policy.history import LEAST_BYTES
from tests.support.pflogs import record, savefile_header, scan, syn

NOW = 1_780_000_000.0


@pytest.fixture(autouse=True)
def clock() -> Any:
    MyTime.setTime(NOW)
    yield
    MyTime.setTime(None)


def make(**options: str) -> FilterPflog:
    register()
    jail = Jail("pflog", backend="polling")
    filter_ = FilterPflog(jail, **options)
    filter_.addFailRegex(r"^ rule .* <ADDR>\.\d+ > .*$")
    filter_.setMaxRetry(5)
    filter_.active = True
    return filter_


def drain(filter_: FilterPflog) -> None:
    while filter_.inputs is not None and filter_.poll(filter_.inputs):
        pass


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"iface": "x"}, "option iface"),
        ({"distinct": "ports"}, "takes port, host, none"),
        ({"mode": "strict"}, "takes normal, aggressive, any"),
        ({"silence": "soon"}, "a time as 15m"),
        ({"silence": "-3"}, "a time as 15m"),
        ({"buffer": "2M"}, "a number of bytes"),
        ({"buffer": "99999999999999999999"}, "1 to 2147483647"),
        ({"prefix6": "65"}, "a multiple of 8"),
        ({"prefix6": "0"}, "a multiple of 8"),
        ({"direction": "up"}, "in, out or in|out"),
        ({"silence": "9**9**9"}, "a time as 15m"),
        ({"silence": "1000000y"}, "a time as 15m"),
        ({"hold": "0x10"}, "a number of packets"),
    ],
)
def test_wrong_options_are_named(given: dict[str, str], word: str) -> None:
    """Each wrong option is named with what it takes; the jail gets an idle filter."""
    with pytest.raises(PflogError) as error:
        Options.parse(given)
    assert word in error.value.reason
    assert next(iter(given)) in error.value.reason
    status = dict(make(**given).status())
    assert word in status["Idle because"]


def test_wrong_expression_is_named() -> None:
    """A wrong bpf= leaves the jail idle, with libpcap's words."""
    pytest.importorskip("pcapy")
    assert "tcp[" in dict(make(bpf="tcp[").status())["Idle because"]


def test_good_options() -> None:
    """Values arrive in the units that the docs tell."""
    options = Options.parse({"silence": "15m", "buffer": "65536", "prefix6": "64", "mode": "any"})
    assert (options.silence, options.buffer, options.prefix6) == (900, 65536, 64)


def test_register_twice_wraps_once() -> None:
    """register() may be called as often as one likes, and leaves fail2ban's list alone."""
    before = list(Jail._BACKENDS)
    register()
    register()
    assert not hasattr(Jail._setBackend.__wrapped__, "is_pflog")
    assert before == Jail._BACKENDS
    jail = Jail("one", backend="pflog")
    assert isinstance(jail.filter, FilterPflog)
    assert before == jail._BACKENDS
    assert jail.actions is not None


@pytest.mark.parametrize("text", ["pflog [distinct=port]", "PFLOG", " pflog "])
def test_spelling_is_forgiven(text: str) -> None:
    """Spaces and capitals make no difference."""
    register()
    assert "Idle because" not in dict(Jail("one", backend=text).filter.status())


@pytest.mark.parametrize("text", ["pflog]", '"pflog"', "pflog{x}", "pflog,polling", "pflog[x"])
def test_misspelt_backend_is_an_idle_jail(text: str) -> None:
    """What is meant for us never makes fail2ban refuse its configuration."""
    register()
    assert "cannot be read" in dict(Jail("one", backend=text).filter.status())["Idle because"]


@pytest.mark.parametrize(
    ("name", "meant"), [("pflog1", "pflog1"), ("pflogd", "pflog0"), ("pflog_x", "pflog0")]
)
def test_what_begins_with_pflog_is_meant_for_us(name: str, meant: str) -> None:
    """An interface's or a daemon's name for the backend is an idle jail that says what to write."""
    register()
    why = dict(Jail("one", backend=name).filter.status())["Idle because"]
    assert why.endswith(f"did you mean pflog[interface={meant}]?")


@pytest.mark.parametrize("backend", ["polling", "pflog"])
def test_fail2ban_hears_which_backend_it_has(backend: str) -> None:
    """What fail2ban's own code returns is handed on: 1.1 tells it in `fail2ban-client stats`."""
    register()
    known = Jail("one", backend=backend).__dict__
    assert known.get("_realBackend", backend) == backend  # 1.0 has none


def test_unknown_backends_stay_unknown() -> None:
    """All other names are fail2ban's."""
    register()
    with pytest.raises(ValueError, match="Unknown backend"):
        Jail("one", backend="nosuch")


def test_systemd_without_its_library_does_not_become_pflog(monkeypatch: Any) -> None:
    """backend = systemd fails as it would without us where python-systemd is missing."""
    register()

    def missing(*_args: object, **_options: object) -> None:
        raise ImportError("no systemd")

    monkeypatch.setattr(Jail, "_initSystemd", missing)
    with pytest.raises(RuntimeError, match="Failed to initialize any backend"):
        Jail("one", backend="systemd")


def test_counts_and_bans(tmp_path: Path) -> None:
    """Five packets make a ticket whose time is its last packet's own."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header() + scan("192.0.2.7", range(1, 6), NOW - 100, gap=1))
    filter_ = make()
    filter_.addLogPath(str(path))
    drain(filter_)
    ticket = filter_.jail.getFailTicket()
    assert (str(ticket.getID()), ticket.getTime()) == ("192.0.2.7", NOW - 96)
    assert ticket.getMatches()[0].endswith("length 0")


def test_banned_source_is_muted(tmp_path: Path) -> None:
    """What a source sends right after its ban makes no line."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header() + scan("192.0.2.7", range(1, 500), NOW - 10))
    filter_ = make(distinct="port")
    filter_.addLogPath(str(path))
    drain(filter_)
    status = dict(filter_.status())
    assert "5 lines counted" in status["Packets"]
    assert "494 of banned sources" in status["Packets"]


def test_brake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With brake=2 the third ban waits, is logged once, and comes a minute later."""
    ticks = [100.0]
    monkeypatch.setattr(backend.time, "monotonic", lambda: ticks[0])
    path = tmp_path / "pflog"
    path.write_bytes(
        savefile_header()
        + b"".join(scan(f"198.51.100.{n}", range(1, 6), NOW - 10) for n in range(4))
    )
    filter_ = make(brake="2")
    filter_.prepare()
    filter_.addLogPath(str(path))
    drain(filter_)

    def banned() -> list[str]:
        tickets = iter(filter_.jail.getFailTicket, False)
        return [str(ticket.getID()) for ticket in tickets]

    assert banned() == ["198.51.100.0", "198.51.100.1"]
    status = filter_.status()
    assert "2 bans wait" in dict(status)["Packets"]
    assert "more than 2 sources a minute" in dict(status)["Warning"]
    ticks[0] += 60
    drain(filter_)
    assert banned() == ["198.51.100.2", "198.51.100.3"]
    assert "sources a minute" not in dict(filter_.status()).get("Warning", "")


def test_late_flush_is_not_cleaned_away(tmp_path: Path) -> None:
    """A flush of packets older than findtime is counted before its failures expire."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header())
    filter_ = make()
    filter_.addLogPath(str(path))
    drain(filter_)
    noise = [(f"192.0.{i // 250}.{1 + i % 250}", 80 + i) for i in range(400)]
    packets = [("198.51.100.1", port) for port in range(1, 6)]
    mixed = noise[:200] + packets[:3] + noise[200:] + packets[3:]
    begin = NOW - 3000
    with path.open("ab") as file:
        for index, (source, port) in enumerate(mixed):
            file.write(record(begin + index / 100, syn(source, port, index)))
    drain(filter_)
    assert str(filter_.jail.getFailTicket().getID()) == "198.51.100.1"


def test_old_file_put_in_place_is_not_news(tmp_path: Path) -> None:
    """Packets older than findtime and the longest flush are passed over and counted."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header())
    filter_ = make()
    filter_.addLogPath(str(path))
    drain(filter_)
    with path.open("ab") as file:
        file.write(scan("192.0.2.7", range(1, 9), NOW - 86400))
    drain(filter_)
    assert not filter_.jail.getFailTicket()
    assert "8 older than findtime" in dict(filter_.status())["Packets"]


def test_future_packets_count_now(tmp_path: Path) -> None:
    """A packet from a clock that is ahead is counted as of now."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header() + scan("192.0.2.7", range(1, 6), NOW + 500))
    filter_ = make()
    filter_.addLogPath(str(path))
    drain(filter_)
    assert filter_.jail.getFailTicket().getTime() == NOW


def test_rotated_files_of_a_glob_are_read_once(tmp_path: Path) -> None:
    """`logpath = pflog*` names rotated files, too; each packet still counts once."""
    (tmp_path / "pflog.0").write_bytes(savefile_header() + scan("192.0.2.7", range(1, 4), NOW - 9))
    (tmp_path / "pflog").write_bytes(savefile_header() + scan("192.0.2.7", range(4, 5), NOW - 5))
    filter_ = make()
    for name in ("pflog.0", "pflog"):
        filter_.addLogPath(str(tmp_path / name))
    drain(filter_)
    status = dict(filter_.status())
    assert status["Total failed"] == 4
    assert "rotated file of another" in status[str(tmp_path / "pflog.0")]


def test_listening_follows_the_files() -> None:
    """A jail without a savefile listens; with one it does so only when asked to."""

    def listens(filter_: FilterPflog) -> bool:
        assert filter_.inputs is not None
        filter_.poll(filter_.inputs)
        return bool(filter_.inputs.listening)

    filter_ = make()
    assert listens(filter_)
    filter_.addLogPath("/nonexistent/pflog")
    assert not listens(filter_)
    filter_.reload(begin=True)
    filter_.reload(begin=False)
    assert listens(filter_)
    asked = make(interface="pflog1")
    asked.addLogPath("/nonexistent/pflog")
    assert listens(asked)


def test_other_ids_than_addresses(tmp_path: Path) -> None:
    """A filter's own failure-id bans without an error."""
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header() + scan("192.0.2.7", range(1, 6), NOW - 9))
    filter_ = make()
    filter_.delFailRegex()
    filter_.addFailRegex(r"^ rule .* on <F-ID>\w+</F-ID>: <ADDR>.*$")
    filter_.addLogPath(str(path))
    drain(filter_)
    assert str(filter_.jail.getFailTicket().getID()) == "vtnet0"
    assert filter_._errors == 0


@pytest.mark.parametrize("flavor", ["stats", "short"])
def test_short_forms_of_status_are_fail2bans(flavor: str) -> None:
    """Where fail2ban counts columns, the status is what its own filters give."""
    filter_ = make()
    assert Filter.status(filter_, flavor) == filter_.status(flavor)


def test_silence_is_told_once(monkeypatch: Any, tmp_path: Path) -> None:
    """One warning when no packet came for `silence`, one notice when they come again."""
    ticks = [100.0]
    messages: list[str] = []
    monkeypatch.setattr(backend.time, "monotonic", lambda: ticks[0])
    path = tmp_path / "pflog"
    path.write_bytes(savefile_header())
    monkeypatch.setattr(
        FilterPflog, "report", lambda _self, _level, message: messages.append(message)
    )
    filter_ = make(silence="15m")
    filter_.addLogPath(str(path))
    for ticks[0] in (200.0, 999.0, 1001.0, 1500.0):
        drain(filter_)
    assert [message[:20] for message in messages] == ["no packet for 900 s:"]
    with path.open("ab") as file:
        file.write(scan("192.0.2.7", range(1, 2), NOW))
    drain(filter_)
    assert messages[1:] == ["packets are coming again"]


def test_prefix6_bans_the_network() -> None:
    """With prefix6=64 an IPv6 source fails as its /64; one with a friend in it does not."""
    filter_ = make(prefix6="64")
    line = " rule 1/0(match): block in on em0: {}.1 > 2001:db8::2.22: Flags [S], length 0"

    def source(address: str) -> str:
        return str(filter_.processLine(("", "", line.format(address)), NOW)[0][1])

    assert source("2001:db8:1:2::7") == "2001:db8:1:2::/64"
    assert source("192.0.2.7") == "192.0.2.7"
    filter_.addIgnoreIP("2001:db8:1:2::9")
    assert source("2001:db8:1:2::7") == "2001:db8:1:2::7"
    filter_.addIgnoreIP("2001:db8:5::/48")
    assert source("2001:db8:5:2::7") == "2001:db8:5:2::7"
    assert filter_.inIgnoreIPList(IPAddr("2001:db8:5:2::7"))


def test_unexpected_errors_do_not_end_the_thread(monkeypatch: Any) -> None:
    """Whatever goes wrong in the loop is logged, and the loop goes on."""
    filter_ = make()
    filter_.sleeptime = 0.01
    polls = []

    def broken(_: object) -> bool:
        polls.append(1)
        if len(polls) == 3:
            filter_.active = False
        raise RuntimeError("boom")

    monkeypatch.setattr(filter_, "poll", broken)
    assert filter_.run() is not False
    assert len(polls) == 3


def test_stop_is_noticed_at_once() -> None:
    """A jail that waits for packets ends well within a second."""
    filter_ = make(interface="nosuch0")
    filter_.start()
    begin = time.monotonic()
    filter_.stop()
    filter_.join()
    assert not filter_.is_alive()
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("broken", [False, True])
def test_a_jail_that_does_nothing_sleeps(monkeypatch: Any, broken: bool) -> None:
    """An idle jail, or one with an error, is woken once for what others read, and not for ever."""
    filter_ = make(interface="nosuch0")
    filter_.idle, filter_.sleeptime = not broken, 0.01
    if broken:
        monkeypatch.setattr(filter_, "poll", lambda _: 1 / 0)
    waits: list[bool] = []
    wake = filter_.loop._wake

    def wait(_: float) -> None:
        waits.append(wake.is_set())
        filter_.active = len(waits) < 3

    monkeypatch.setattr(wake, "wait", wait)
    wake.set()
    filter_.run()
    assert waits == [True, False, False]


def test_a_jail_that_ends_leaves_its_memory_to_the_others() -> None:
    """At once: a restart makes the jail anew before the old one's objects are collected."""
    one, two = make(interface="nosuch0"), make(interface="nosuch0")
    tables = [one.pipeline.dedup, one.pipeline.classifier.history]
    before = [table.max_bytes for table in tables]
    two.stop()
    two.stop()
    assert tables[0].max_bytes > before[0]
    assert tables[1].max_bytes > before[1] or before[1] == LEAST_BYTES


def test_packets_that_were_held_counted() -> None:
    """A calm site bans nobody for days: that all held packets were forgotten is no fault."""
    filter_ = make(interface="nosuch0", silence="0")
    pipeline, check = filter_.pipeline, filter_.selfcheck
    pipeline.read, pipeline.ignored = 5000, {kinds.RESET: 4990}
    check.look(pipeline, 0)
    assert check.warnings == {}
    pipeline.ignored[kinds.RESET] = 5000
    check.look(pipeline, 0)
    assert "of 5000 packets none counts" in check.warnings["packets"]
