# SPDX-License-Identifier: GPL-2.0-or-later
"""pf-pflog in a real server while pf's rules change: a ban blocks, or the status says why not.

Each row has a jail and a pf of its own in one server.  A row fails where the source that was
banned last still gets in and the status does not say so, or where it goes on to say so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import pytest

from tests.support import server as f2b
from tests.support.actions import PfServer
from tests.support.pf import Packet, Pf
from tests.support.pflogs import savefile_header
from tests.support.server import Server, wait_for

BEFORE, AFTER = "198.51.100.7", "198.51.100.8"
ANCHOR = 'anchor "f2b/*"\npass in'
TABLE = "block drop in quick from <f2b-{jail}>\npass in"


class Row(NamedTuple):
    """What happens to pf after the first ban.

    Attributes:
        change: Changes pf, given the jail's name.
        says: What the status says after the next ban; "" where nothing is to be said.
        mend: Makes it good again, before a reload of the jail; None where it stays.
    """

    change: Callable[[Pf, str], object]
    says: str = ""
    mend: Optional[Callable[[Pf, str], object]] = None
    conf: str = ANCHOR
    dialect: str = "freebsd"


def load(conf: str) -> Callable[[Pf, str], object]:
    return lambda pf, jail: pf.load("", conf.format(jail=jail))


def setting(name: str, value: int) -> Callable[[Pf, str], object]:
    return lambda pf, _jail: setattr(pf, name, value)


ROWS = {
    "flushed": Row(lambda pf, jail: pf("-a", f"f2b/{jail}", "-F", "all")),
    "rules-gone": Row(lambda pf, jail: pf("-a", f"f2b/{jail}", "-F", "rules")),
    "no-anchor": Row(load("pass in"), "failed to ban", load(ANCHOR)),
    "passes": Row(load(f"pass in quick\n{ANCHOR}"), "may not block", load(ANCHOR)),
    "full": Row(setting("full", 1), "failed to ban", setting("full", 99)),
    "mended": Row(load(ANCHOR), conf="pass in"),
    "table": Row(lambda pf, jail: pf("-t", f"f2b-{jail}", "-T", "flush"), conf=TABLE),
    "no-table": Row(load("pass in"), "failed to ban", load(TABLE), conf=TABLE),
    "secure": Row(
        setting("securelevel", 2), "does not cut open connections", conf=TABLE, dialect="openbsd"
    ),
}


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Server, dict[str, Pf]]]:
    """A server with a jail for each row, and the pf of each."""
    if f2b.SERVER is None or f2b.CLIENT is None:
        pytest.skip("needs fail2ban-server and fail2ban-client (`make test` installs them)")
    folder = Path(tempfile.mkdtemp())  # a socket's path is short
    (folder / "pflog").write_bytes(savefile_header())
    pfs, jails = {}, []
    for name, row in ROWS.items():
        (folder / name).mkdir()
        pfs[name] = PfServer(folder / name, Pf(row.dialect, row.conf.format(jail=name)))
        where = "table" if row.conf == TABLE else "anchor"
        jails.append(
            f"[{name}]\nenabled = true\nfilter = pflog\nbackend = pflog\nlogpath = {folder}/pflog\n"
            f"banaction = pf-pflog[where={where}, pfctl={pfs[name].program}]\n"
        )
    server = Server(folder, "\n".join(jails))
    try:
        yield server.start(), {name: host.pf for name, host in pfs.items()}
    finally:
        server.stop()
        for host in pfs.values():
            host.close()


@pytest.mark.parametrize("name", ROWS)
def test_a_ban_blocks_or_the_status_says_why_not(
    hosts: tuple[Server, dict[str, Pf]], name: str
) -> None:
    """What was flushed is put back with all bans; what cannot block is reported until it can."""
    server, pf, row = hosts[0], hosts[1][name], ROWS[name]

    def blocked(*sources: str) -> bool:
        return not any(pf.decide(Packet(source)).passes for source in sources)

    server.ask("set", name, "banip", BEFORE)
    wait_for(lambda: blocked(BEFORE) or "failed" in server.client("status", name), "the ban")
    row.change(pf, name)
    server.ask("set", name, "banip", AFTER)
    if row.says:
        wait_for(lambda: row.says in server.client("status", name), f"{row.says!r} in the status")
    if row.mend is not None:
        assert not blocked(AFTER)
        row.mend(pf, name)
        assert "OK" in server.client("reload", name)
    wait_for(lambda: blocked(BEFORE, AFTER), "both bans", 2 * f2b.PATIENCE)
    if row.mend is not None or not row.says:
        wait_for(lambda: "Action failed" not in server.client("status", name), "the end of it")
    if name == "secure":
        assert server.log.read_text().count(f"[{name}] action pf-pflog {row.says}") == 1
