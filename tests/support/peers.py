# SPDX-License-Identifier: GPL-2.0-or-later
"""What others would make of a capture: the rules that people run on pf's log today.

Both are written here as their authors published them, and nothing is added.
"""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from pathlib import Path

from fail2ban_pflog.sources.captures import Captures
from lab import evaluate
from lab.labels import source_of, target_of

# pfasciilogd's README (github.com/vjt/pfasciilogd): tcpdump's lines, each blocked packet
# that has a port counts.  findtime is fail2ban's own default; usedns differs from its, for
# of a ping's "10.0.0.1 > " the expression takes "10.0.0" for a name, which fail2ban looks up.
TEXT_FILTER = r"""
[Definition]
failregex = rule \d/\d\(match\): block in on \w+: <HOST>\.\d+
ignoreregex =
"""
TEXT_JAIL = """
[pf]
enabled  = true
filter   = tcpdump
backend  = polling
logpath  = /var/log/pf.log
maxretry = 10
findtime = 10m
usedns   = no
bantime  = 10m
"""


def banned_by_text_rule(stem: Path, form: str, folder: Path) -> set[str]:
    """Return what the text rule bans, by fail2ban's own code; its configuration goes to FOLDER."""
    shutil.copytree(evaluate.CONFIG, folder, dirs_exist_ok=True)
    (folder / "filter.d/tcpdump.conf").write_text(TEXT_FILTER)
    (folder / "jail.d/pf.conf").write_text(TEXT_JAIL)
    replayed = evaluate.replay(stem, form, ["pf"], {}, folder)
    return {source.address for source in replayed if source.banned}


class Bucket:
    """CrowdSec's firewallservices/pf-scan-multi_ports, of one source.

    The scenario (github.com/crowdsecurity/hub, scenarios/firewallservices): type leaky,
    TCP that pf blocked, grouped by source, distinct destination ports, capacity 15,
    leakspeed 5 s.  What these words mean is in crowdsec's pkg/leakybucket: a token bucket
    that starts with 15, a port that the bucket already met is not poured, the event that
    finds no token makes it overflow (bucket.go, Pour), and it is gone, with the ports that
    it met, after (capacity + 1) * leakspeed without one that was poured.
    """

    CAPACITY, LEAKSPEED = 15, 5.0
    LIFETIME = (CAPACITY + 1) * LEAKSPEED

    def __init__(self) -> None:
        self._ports: set[int] = set()
        self._tokens = float(self.CAPACITY)
        self._poured = math.inf

    def overflows(self, time: float, port: int) -> bool:
        """Pour an event; time in seconds."""
        if time - self._poured >= self.LIFETIME:
            self._ports.clear()
            self._tokens = self.CAPACITY
        if port in self._ports:
            return False
        self._ports.add(port)
        leaked = max(0.0, time - self._poured) / self.LEAKSPEED
        self._tokens = min(self.CAPACITY, self._tokens + leaked)
        self._poured = time
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False


def banned_by_crowdsec(stem: Path, form: str) -> set[str]:
    """Return what CrowdSec's rule for pf bans."""
    buckets: dict[str, Bucket] = defaultdict(Bucket)
    banned = set()
    for _, records in Captures([str(evaluate.savefile(stem, form))], print):
        for seconds, micros, frame in records:
            packet = frame[(frame[0] + 3) & ~3 :]
            protocol, _, port = target_of(packet).partition("/")
            source = source_of(packet)
            if protocol != "6" or not port:
                continue
            if buckets[source].overflows(seconds + micros / 1e6, int(port)):
                banned.add(source)
    return banned
