# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks, in the order in which a packet becomes a ban."""

from __future__ import annotations

from collections.abc import Iterator

from .captures import captures
from .fail2ban import configuration
from .linux import linux
from .network import network
from .pf import pf
from .result import Result
from .server import server
from .subject import Subject

__all__ = ["examine"]


def examine(subject: Subject) -> Iterator[Result]:
    """Yield the results as they come."""
    firewall = linux if subject.system.name == "Linux" else pf
    for check in (configuration, server, captures, firewall, network):
        yield from check(subject)
