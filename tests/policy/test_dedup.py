# SPDX-License-Identifier: GPL-2.0-or-later
"""Dedup: which packets become lines."""

from __future__ import annotations

import gc
import random
import threading
from typing import Any

import pytest
from fail2ban.server.failmanager import FailManager
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.ticket import FailTicket

from fail2ban_pflog.pflog.packet import Decoder
from fail2ban_pflog.policy import dedup as module
from fail2ban_pflog.policy.classifier import Classifier
from fail2ban_pflog.policy.lru import Memory

from ..support.packets import ACK, HOST6, SYN, echo, tcp, udp

PASS, REPEAT, MUTED, IGNORED, HELD = "pass", "repeat", "muted", "ignored", "held"
BEGIN = 1_780_000_000
ONE, TWO = "198.51.100.1", "198.51.100.2"


class Dedup:
    """Takes frames, each of which is its own item, as a pipeline would.

    released: the frames that the last one released, without itself.
    """

    def __init__(
        self, what: str = "port", mode: str = "normal", window: float = 300.0, **options: Any
    ) -> None:
        names = {"direction", "prefix4", "prefix6"}
        classifier = Classifier(mode, **{k: v for k, v in options.items() if k in names})
        rest = {k: v for k, v in options.items() if k not in names}
        inner = module.Dedup[bytes](what, window, source_of=classifier.source, **rest)
        self.__dict__.update(inner=inner, classifier=classifier, released=[])

    def verdict(self, seconds: float, frame: bytes) -> str:
        packet = Decoder("<").packet(frame)
        kind = self.classifier.kind(seconds, packet, frame)
        if not self.classifier.counts(kind):
            return IGNORED
        before = self.repeats, self.muted
        source, target = self.classifier.source(packet.source), self.inner.target(packet, kind)
        passed = self.inner.take(seconds, source, target, frame, len(frame))
        self.__dict__["released"] = list(passed[:-1])
        if passed:
            assert passed[-1] is frame
            return PASS
        repeats, muted = self.repeats - before[0], self.muted - before[1]
        return REPEAT if repeats else MUTED if muted else HELD

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def __len__(self) -> int:
        return len(self.inner)


def syn(port: int, *addresses: str, **header: int) -> bytes:
    return tcp(40000, port, SYN, *addresses, **header)


def test_each_port_passes_once() -> None:
    """Retries of one port are repeats; another port, protocol or source passes."""
    distinct = Dedup()
    assert distinct.verdict(0, syn(22)) == PASS
    assert distinct.verdict(1, syn(22)) == REPEAT
    assert distinct.verdict(2, tcp(50001, 22, SYN)) == REPEAT
    assert distinct.verdict(3, syn(23)) == PASS
    assert distinct.verdict(4, udp(40000, 22)) == PASS
    assert distinct.verdict(5, syn(22, ONE)) == PASS
    assert (distinct.passed, distinct.repeats, len(distinct)) == (4, 2, 2)


def test_host_counts_destinations() -> None:
    """With distinct=host a destination passes once, whatever port it is asked for."""
    distinct = Dedup("host")
    assert distinct.verdict(0, syn(22, ONE, "10.0.0.1")) == PASS
    assert distinct.verdict(0, syn(23, ONE, "10.0.0.1")) == REPEAT
    assert distinct.verdict(0, syn(22, ONE, "10.0.0.2")) == PASS


def test_none_passes_every_packet_that_the_mode_counts() -> None:
    """With distinct=none repeats pass; what the filter would not match still does not."""
    distinct = Dedup("none")
    assert [distinct.verdict(0, syn(22)) for _ in range(3)] == [PASS] * 3
    assert distinct.verdict(0, udp(53, 30000)) == IGNORED


@pytest.mark.parametrize(
    ("mode", "verdicts"),
    [
        ("normal", [PASS, IGNORED, IGNORED]),
        ("aggressive", [PASS, PASS, IGNORED]),
        ("any", [PASS, PASS, PASS]),
    ],
)
def test_modes_count_more_and_more(mode: str, verdicts: list[str]) -> None:
    """normal counts a SYN, aggressive an echo request too, any also a late answer."""
    distinct = Dedup(mode=mode)
    packets = (syn(22), echo(), udp(53, 30000))
    assert [distinct.verdict(0, packet) for packet in packets] == verdicts
    assert distinct.verdict(0, syn(22, direction=2)) == IGNORED


def test_pings_of_one_host_are_one() -> None:
    """A packet without ports counts once per destination: a ping flood is no sweep."""
    distinct = Dedup(mode="aggressive")
    assert [distinct.verdict(second, echo()) for second in range(3)] == [PASS, REPEAT, REPEAT]
    assert distinct.verdict(3, echo(ONE, "10.99.0.3")) == PASS


def test_a_port_passes_again_after_it_was_quiet() -> None:
    """It is remembered for three windows since it was last seen."""
    distinct = Dedup(window=60)
    assert distinct.verdict(0, syn(22)) == PASS
    assert distinct.verdict(179, syn(22)) == REPEAT
    assert distinct.verdict(358, syn(22)) == REPEAT
    assert distinct.verdict(538, syn(22)) == PASS


def test_the_window_changes_at_any_time() -> None:
    """fail2ban's findtime may be set while the jail runs."""
    distinct = Dedup(window=60)
    distinct.verdict(0, syn(22))
    distinct.window = 5
    assert distinct.verdict(15, syn(22)) == PASS


def test_a_late_packet_is_a_repeat_and_a_clock_set_back_is_none() -> None:
    """Packets may arrive out of order; one from another time is new."""
    distinct = Dedup(window=60)
    assert distinct.verdict(1000, syn(22)) == PASS
    assert distinct.verdict(990, syn(22)) == REPEAT
    assert distinct.verdict(1119, syn(22)) == REPEAT
    assert distinct.verdict(10, syn(22)) == PASS
    assert distinct.verdict(11, syn(22)) == REPEAT


def test_what_the_filter_selects_by_is_told_apart() -> None:
    """A jail for one interface or rule gets its line also after another dropped the port."""
    distinct = Dedup()
    assert distinct.verdict(0, syn(22, rule=1)) == PASS
    assert distinct.verdict(0, syn(22, rule=2)) == PASS
    assert distinct.verdict(0, syn(22, rule=2)) == REPEAT


def test_directions_are_told_apart_where_both_count() -> None:
    """With direction=in|out a packet that went out does not hide one that came in."""
    distinct = Dedup(direction="in|out")
    assert distinct.verdict(0, syn(22, direction=2)) == PASS
    assert distinct.verdict(0, syn(22)) == PASS


def test_what_may_be_late_counts_ports_and_no_hosts() -> None:
    """Late packets go to few ports of many hosts: a plain ACK to one port of 30 hosts is one."""
    distinct = Dedup(mode="aggressive")
    hosts = [f"10.99.0.{last}" for last in range(2, 32)]
    verdicts = [distinct.verdict(0, tcp(40000, 3389, ACK, ONE, host)) for host in hosts]
    assert verdicts == [PASS] + [REPEAT] * 29
    assert [distinct.verdict(0, syn(3389, ONE, host)) for host in hosts] == [PASS] * 30


def test_a_banned_source_is_muted_then_counts_anew() -> None:
    """By the clock, until the firewall has caught up; ports it had tried before pass once more."""
    distinct = Dedup()
    distinct.clock = 1000.0
    distinct.verdict(10, syn(22, ONE))
    distinct.verdict(10, syn(22, TWO))
    distinct.banned(ONE, until=1005.0)
    assert distinct.verdict(12, syn(23, ONE)) == MUTED
    distinct.clock = 1004.9
    assert distinct.verdict(15.9, syn(22, ONE)) == MUTED
    distinct.clock = 1005.0
    assert distinct.verdict(12, syn(22, ONE)) == PASS
    assert distinct.verdict(12, syn(22, ONE)) == REPEAT
    assert distinct.verdict(16, syn(22, TWO)) == REPEAT
    assert distinct.muted == 2


def test_an_unbanned_source_is_heard_at_once() -> None:
    """Who is unbanned by hand while it is muted counts from the next packet on."""
    distinct = Dedup()
    distinct.banned(ONE, until=5.0)
    distinct.unbanned(ONE)
    assert distinct.verdict(12, syn(23, ONE)) == PASS


# -- Holding -------------------------------------------------------------------------------


def test_packets_wait_until_their_source_may_matter() -> None:
    """With hold=3 two targets wait; the third gives back both, oldest first, and passes."""
    distinct = Dedup(hold=3)
    frames = [syn(port, ONE) for port in (21, 22, 23, 24)]
    assert [distinct.verdict(when, frame) for when, frame in enumerate(frames[:2])] == [HELD, HELD]
    assert distinct.verdict(2, frames[0]) == REPEAT
    assert (distinct.waiting, distinct.released) == (2, [])
    assert distinct.verdict(3, frames[2]) == PASS
    assert (distinct.waiting, distinct.released) == (0, frames[:2])
    assert distinct.verdict(4, frames[3]) == PASS
    assert (distinct.passed, distinct.released) == (2, [])


def test_a_source_that_was_quiet_waits_again() -> None:
    """When nothing remembers a source any more its packets wait as at first."""
    distinct = Dedup(window=60, hold=2)
    assert distinct.verdict(0, syn(22)) == HELD
    assert distinct.verdict(800, syn(23)) == HELD
    assert distinct.verdict(801, syn(24)) == PASS
    assert distinct.verdict(1600, syn(25)) == HELD
    assert distinct.waiting == 1


@pytest.mark.parametrize("each", [1, 2, 7])
def test_forged_sources_push_out_one_another(each: int) -> None:
    """A slow scanner passes in time among forged sources that each ask for a few targets."""
    distinct = Dedup(hold=15)
    distinct.max_bytes = 1 << 20
    flood = iter(range(1 << 24))
    for port in range(1, 15):
        assert distinct.verdict(port, syn(port, ONE)) == HELD
        for number in (next(flood) for _ in range(900 // each)):
            source = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            for forged in range(each):
                distinct.verdict(port, syn(20 + forged, source))
    assert distinct.verdict(15, syn(15, ONE)) == PASS
    assert len(distinct.released) == 14
    assert distinct.evicted > 1000
    assert bool(distinct.evicted_early) == (each > 1)


def test_who_came_long_ago_is_forgotten() -> None:
    """A quiet firewall's table stays small: none is kept that came too long ago to matter."""
    distinct = Dedup(window=100, hold=8)
    for number in range(500):
        source = f"10.1.{number >> 8}.{number & 255}"
        distinct.verdict(0, syn(22, source))
        if number % 2:
            distinct.verdict(0, syn(23, source))
    assert (len(distinct), distinct.waiting) == (500, 750)
    distinct.clock = 5000
    distinct.verdict(0, syn(24, "10.1.0.1"))
    assert (len(distinct), distinct.waiting) == (500, 751)
    distinct.clock = 9000
    assert (len(distinct), distinct.waiting) == (1, 3)
    assert distinct.evicted == 0


@pytest.mark.parametrize("wrong", [1e9, -1e9, -1500, 7200])
def test_no_packets_time_makes_others_be_forgotten(wrong: float) -> None:
    """A record of the year 2054, or one that is very late, is of its own source alone."""
    distinct = Dedup(window=60, hold=2)
    for port in range(1, 8):
        distinct.verdict(port, syn(port, ONE))
    assert distinct.verdict(8 + wrong, syn(22, TWO)) == HELD
    assert [distinct.verdict(9, syn(port, ONE)) for port in range(1, 8)] == [REPEAT] * 7


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_forgotten_who_still_counts(seed: int) -> None:
    """What becomes of packets is the same as if nobody was ever forgotten for time, even where
    pflogd holds them back for an hour and the clock steps back by ten minutes."""
    dice = random.Random(seed)
    forgetful, never = (Dedup(window=100, hold=3) for _ in range(2))
    clock, fewer = 0.0, 0
    for _ in range(6000):
        clock += dice.expovariate(0.2) if dice.random() < 0.99 else dice.uniform(600, 6000)
        forgetful.clock = clock
        time = BEGIN + clock - (dice.uniform(0, 4200) if dice.random() < 0.1 else 0)
        frame = syn(dice.randrange(6), f"10.1.0.{dice.randrange(200)}")
        assert forgetful.verdict(time, frame) == never.verdict(time, frame)
        assert forgetful.released == never.released
        fewer += len(forgetful) < len(never)
    assert fewer > 1000


@pytest.mark.parametrize("what", ["port", "none"])
def test_a_new_hold_loses_and_doubles_nothing(what: str) -> None:
    """What waited counts, and what did not wait does not count again, when hold is changed."""
    distinct = Dedup(what, hold=8)
    assert distinct.verdict(0, syn(22, ONE)) == HELD
    distinct.hold = 1
    assert distinct.verdict(1, syn(23, ONE)) == PASS
    assert (distinct.released, distinct.waiting) == ([syn(22, ONE)], 0)
    assert distinct.verdict(2, syn(22, TWO)) == PASS
    distinct.hold = 8
    assert distinct.verdict(3, syn(23, TWO)) == PASS
    assert (distinct.released, distinct.waiting) == ([], 0)


def test_what_waits_is_bounded_whatever_counts() -> None:
    """With distinct=none and a high maxretry sources hold no more than there is room for."""
    distinct = Dedup("none", "any", hold=500)
    distinct.max_bytes = 500_000
    for number in range(400):
        for last in range(10):
            distinct.verdict(number, syn(22, f"10.1.0.{last}"))
    assert 500 < distinct.waiting < 500_000 / module._HELD
    assert distinct.evicted > 0


def test_tables_of_a_process_share_memory() -> None:
    """Each of them has its part, and gets the others' when these are gone."""
    memory = Memory(30_000)
    tables = [module.Dedup[bytes]() for _ in range(3)]
    for table in tables:
        memory.share(table)
    assert [table.max_bytes for table in tables] == [10_000] * 3
    del tables[:2], table
    gc.collect()
    memory.share(tables[0])
    assert tables[0].max_bytes == 30_000


def test_a_prefix_is_one_source() -> None:
    """With prefix6=64 addresses of one /64 share their ports, and are banned together."""
    distinct = Dedup(prefix6=64)
    assert distinct.verdict(0, syn(22, "2001:db8:1:2::a")) == PASS
    assert distinct.verdict(0, syn(22, "2001:db8:1:2:ffff::b")) == REPEAT
    assert distinct.verdict(0, syn(22, "2001:db8:1:3::a")) == PASS
    distinct.banned("2001:db8:1:2::/64", until=5)
    assert distinct.verdict(2, syn(23, "2001:db8:1:2::c")) == MUTED
    assert distinct.verdict(2, syn(23, "2001:db8:1:3::c", HOST6)) == PASS


def test_banned_takes_packed_addresses_too() -> None:
    """4 or 16 bytes do as well as text."""
    distinct = Dedup()
    distinct.banned(bytes((198, 51, 100, 1)), until=5)
    assert distinct.verdict(1, syn(22, ONE)) == MUTED


def test_memory_is_bounded_and_says_what_it_forgot() -> None:
    """At the limits the source that was not seen for longest goes, and of one source the target
    that it tried first."""
    distinct = Dedup()
    distinct.max_bytes = 10 * (module._SOURCE + 2 * module._TARGET)
    for last in range(100):
        distinct.verdict(0, syn(22, f"198.51.100.{last}"))
        distinct.verdict(0, syn(23, f"198.51.100.{last}"))
    assert len(distinct) == 10
    assert distinct.evicted == distinct.evicted_early == 90
    distinct.inner.MAX_TARGETS_EACH = 5
    for port in range(100):
        distinct.verdict(0, syn(port, TWO))
    assert max(len(known.targets) for _, known in distinct._sources.highest(100)) == 5


def test_near_names_the_sources_that_hold_most() -> None:
    """The sources nearest to a ban come first; those with one packet are not named."""
    distinct = Dedup(hold=15)
    for last, count in ((1, 3), (2, 9), (3, 1), (4, 14)):
        for port in range(count):
            distinct.verdict(0, syn(100 + port, f"198.51.100.{last}"))
    assert [(source[-1], held) for source, held in distinct.near(3)] == [(4, 14), (2, 9), (1, 3)]


def test_banned_sources_are_bounded() -> None:
    """At the limit the one banned first is forgotten."""
    distinct = Dedup()
    distinct.inner.MAX_BANNED = 2
    for last in (1, 2, 3):
        distinct.banned(f"198.51.100.{last}", until=5)
    verdicts = [distinct.verdict(1, syn(22, f"198.51.100.{last}")) for last in (1, 2, 3)]
    assert verdicts == [PASS, MUTED, MUTED]


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("distinct=ports: .* port, host, none", {"what": "ports"}),
        ("mode=ddos: .* normal, aggressive, any", {"mode": "ddos"}),
        ("prefix6=63: .* multiple of 8", {"prefix6": 63}),
        ("direction=inbound: .* in, out", {"direction": "inbound"}),
    ],
)
def test_options_that_do_not_exist_are_refused(message: str, options: dict[str, str]) -> None:
    """And the message names the option and what it may be."""
    with pytest.raises(ValueError, match=message):
        Dedup(**options)


@pytest.mark.parametrize("period", [60, 299, 301, 450, 599, 601, 899, 901, 1800])
def test_a_monitor_of_ten_closed_ports_never_counts_fifteen(period: int) -> None:
    """However often it comes, and although fail2ban's own window only estimates."""
    distinct, failures = Dedup(window=300), FailManager()
    failures.setMaxTime(300)
    for check in range(50):
        for number, port in enumerate((21, 23, 110, 143, 587, 993, 995, 3306, 5432, 8080)):
            seconds = check * period + number * 0.5
            if distinct.verdict(seconds, syn(port, ONE)) == PASS:
                count = failures.addFailure(FailTicket(IPAddr(ONE), seconds, []))
                assert count < 15


def test_held_packets_count_by_their_own_size() -> None:
    """A small packet behind large ones does not make these small."""
    dedup = module.Dedup[bytes](hold=100)
    for target, size in enumerate([1400] * 20 + [60]):
        dedup.take(BEGIN, b"1234", target, b"", size)
    assert dedup._sources._total > 20 * 1400
    for target in range(100, 200):
        dedup.take(BEGIN, b"1234", target, b"", 60)
    assert (dedup.waiting, dedup._sources._total < 20_000) == (0, True)


def test_a_ban_by_another_thread_waits_for_the_packet_in_progress() -> None:
    """The server and the observer ban, too: sums stay true, and nothing is raised."""
    dedup, started = module.Dedup[bytes](hold=9, lock=threading.Lock()), threading.Event()
    dedup.take(BEGIN, b"1234", 0, b"", 60)
    other = threading.Thread(target=lambda: (started.set(), dedup.banned(b"1234")))
    is_new = dedup._is_new

    def slow(*args: Any) -> bool:
        other.start()
        started.wait()
        other.join(0.05)
        return is_new(*args)

    dedup._is_new = slow  # type: ignore[method-assign]
    dedup.take(BEGIN, b"1234", 1, b"", 60)
    other.join()
    assert (len(dedup), dedup.waiting, dedup._sources._total) == (0, 0, 0)


def test_near_a_ban_is_no_source_that_was_quiet() -> None:
    """What was held for longer than findtime counts no more."""
    dedup = module.Dedup[bytes](window=300.0, hold=9)
    dedup.clock = 1000.0
    for target in range(3):
        dedup.take(BEGIN, b"1234", target, b"")
    dedup.clock = 1300.0
    assert dedup.near(3) == [(b"1234", 3)]
    dedup.clock = 1310.0
    assert dedup.near(3) == []
