"""Who is banned: the shipped jails, in a real fail2ban server, on captures with labels.

Each capture is what pf (or the laboratory's firewall, see lab/lab.py) dropped, whole as a
live reader sees it and cut as pflogd writes it.  Its times are shifted to now, it is
appended to a savefile that the jails follow, and behind it comes one more scanner: once
that is banned, all that came before was judged.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from fail2ban_pflog import scan
from fail2ban_pflog.savefile import FILE_HEADER_SIZE, FileHeader
from tests import f2b
from tests.packets import SYN, tcp
from tests.pflogs import record, shifted

DATA = Path(__file__).parent / "data"
CAPTURES = ("labelled/bystanders", "labelled/scrub", "lab/lab")
JAILS = ("pflog", "pflog-strict", "pflog-slow")
LAST = "192.0.2.99"

RECORDER = """
[Definition]
actionban = printf '%%s %%s %%s\\n' <name> <ip> <time> >> {folder}/verdicts
"""

HONEST = ("bystander", "traceroute", "its attacker")
ACK_TYPE = re.compile(r"scanner of ACK type|-s[AMW]\b|--scanflags SYNACK")
FOUND_FROM = 15
"""Different ports from which on a scanner must be found."""


class Source(NamedTuple):
    """One address of a capture, and which jails banned it after how many packets."""

    address: str
    kind: str
    what: str
    ports: int
    banned: dict[str, int]

    @property
    def must_be_banned_by(self) -> set[str]:
        """The jails that must find it in mode aggressive; in normal unless of ACK type."""
        if self.kind == "slow scanner":
            return {"pflog-slow"}
        scans = self.kind.startswith(("scanner", "decoy")) and self.ports >= FOUND_FROM
        return {"pflog"} if scans or "-sO" in self.what else set()

    @property
    def may_be_banned_by(self) -> set[str]:
        """Nobody bans the honest; six ports in a minute are for pflog-strict to judge."""
        if self.kind in HONEST:
            return set()
        return {"pflog-strict"} if self.kind == "debatable" else set(JAILS)


class Judgement(NamedTuple):
    """What became of one capture in one form and mode."""

    capture: str
    form: str
    mode: str
    sources: list[Source]


@pytest.fixture(scope="module")
def judgements(request: pytest.FixtureRequest) -> Iterator[list[Judgement]]:
    """Collect what was judged, and print the tables at the end."""
    collected: list[Judgement] = []
    yield collected
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(*table(collected), sep="\n")


def table(judgements: list[Judgement]) -> Iterator[str]:
    """Yield how many of each kind were banned by each jail, then how soon scanners were."""
    head = f"{'capture':12}{'form':8}{'mode':12}{'kind':22}{'sources':>8}"
    yield f"\n{head}  banned by {', '.join(JAILS)}"
    for capture, form, mode, sources in judgements:
        for kind in sorted({source.kind for source in sources}):
            of_kind = [source for source in sources if source.kind == kind]
            banned = [sum(jail in source.banned for source in of_kind) for jail in JAILS]
            counts = "".join(f"{count:>6}" for count in banned)
            yield f"{Path(capture).name:12}{form:8}{mode:12}{kind:22}{len(of_kind):>8}  {counts}"
    yield "\npackets until banned by " + ", ".join(JAILS) + "; - is never"
    for _, form, mode, sources in judgements:
        for source in sources:
            if source.banned and form == "live" and mode == "aggressive":
                after = "".join(f"{source.banned.get(jail, '-'):>6}" for jail in JAILS)
                yield f"{source.kind:22}{source.ports:>4} ports {after}  {source.what[:60]}"


def wait_until_followed(server: f2b.Server, jail: str, savefile: Path) -> None:
    f2b.wait_for(lambda: "following" in server.status(jail).get(str(savefile), ""), jail)


def judge(server: f2b.Server, capture: str, form: str, mode: str) -> Judgement:
    """Let the shipped jails judge a capture."""
    savefile = server.folder / "pflog"
    savefile.write_bytes((DATA / f"{capture}.{form}.pcap").read_bytes()[:FILE_HEADER_SIZE])
    (server.config / "action.d/verdicts.conf").write_text(RECORDER.format(folder=server.folder))
    server.jails(
        "".join(
            f"[{jail}]\nenabled = true\nmode = {mode}\nlogpath = {savefile}\n"
            "action = verdicts[name=%(__name__)s]\n"
            for jail in JAILS
        )
    )
    server.start()
    for jail in JAILS:
        wait_until_followed(server, jail, savefile)
    now = time.time()
    data = shifted(DATA / f"{capture}.{form}.pcap", now - 1)
    last = [record(now - 0.5, tcp(40000, port, SYN, LAST)) for port in range(100, 130)]
    with savefile.open("ab") as file:
        file.write(data[FILE_HEADER_SIZE:] + b"".join(last))
    verdicts = server.folder / "verdicts"
    f2b.wait_for(
        lambda: verdicts.exists() and verdicts.read_text().count(LAST) == len(JAILS),
        f"the last scanner's ban; {server.output()[-2000:]}",
    )
    banned: dict[str, dict[str, float]] = {}
    for line in verdicts.read_text().splitlines():
        jail, address, when = line.split()
        banned.setdefault(address, {})[jail] = float(when)
    times: dict[str, list[float]] = {}
    for seconds, micros, frame in FileHeader.parse(data).records(data, FILE_HEADER_SIZE).records:
        packet = scan.read(frame)
        if packet is not None and packet.source:
            times.setdefault(str(ip_address(packet.source)), []).append(seconds + micros / 1e6)
    labels: dict[str, Any] = json.loads((DATA / f"{capture}.labels.json").read_text())
    sources = [
        Source(
            address,
            label["kind"],
            label["what"],
            label["distinct_ports_blocked"],
            {
                jail: sum(each <= when for each in times[address])
                for jail, when in banned.get(address, {}).items()
            },
        )
        for address, label in labels.items()
    ]
    assert set(banned) <= {LAST, *labels}
    return Judgement(capture, form, mode, sources)


@pytest.mark.parametrize("mode", ["normal", "aggressive"])
@pytest.mark.parametrize("form", ["live", "pflogd"])
@pytest.mark.parametrize("capture", CAPTURES)
def test_scanners_are_banned_and_nobody_else(
    server: Callable[..., f2b.Server],
    judgements: list[Judgement],
    capture: str,
    form: str,
    mode: str,
) -> None:
    """No honest source is banned by any jail; every scan of 15 ports is found by [pflog].

    Scans of ACK type are found in mode aggressive.
    """
    judgement = judge(server(""), capture, form, mode)
    judgements.append(judgement)
    for source in judgement.sources:
        assert set(source.banned) <= source.may_be_banned_by, source
        if mode == "aggressive" or not ACK_TYPE.search(f"{source.kind} {source.what}"):
            assert set(source.banned) >= source.must_be_banned_by, source
