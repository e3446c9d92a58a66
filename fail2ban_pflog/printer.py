"""``fail2ban-pflog print``: savefiles as lines, with the date as ``tcpdump -tttt``.

A file is read in large pieces, each piece's whole records are printed at once and
written with one call, so a stream that pauses has told all it could tell.
"""

from __future__ import annotations

import argparse
import sys

from .errors import PflogError
from .formatter import Formatter
from .savefile import FILE_HEADER_SIZE, FileHeader, check_link_type
from .stamps import Stamps

__all__ = ["add_command"]

CHUNK = 1 << 20
"""How many bytes are read at once: larger is no faster."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``print`` to the command line."""
    parser = commands.add_parser(
        "print",
        help="print savefiles as lines",
        description="Print pflog savefiles as lines, as tcpdump -e -n -tttt does.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per packet")
    parser.add_argument("--bpf", metavar="EXPR", help="only packets that match (see pcap-filter)")
    parser.add_argument("files", metavar="FILE", nargs="+", help="a savefile; - is standard input")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    printer = _Printer()
    status = 0
    for name in arguments.files:
        status |= printer.file(name)
    return status


class _Printer:
    def __init__(self) -> None:
        self._stamps = Stamps()
        self._write = sys.stdout.write

    def file(self, name: str) -> int:
        with open(name, "rb") as stream:
            data = stream.read()
        header = FileHeader.parse(data)
        check_link_type(header.linktype)
        formatter = Formatter(header.byteorder)
        batch = header.records(data, FILE_HEADER_SIZE)
        bad = 0
        for (seconds, microseconds, frame), length in zip(batch.records, batch.lengths):
            try:
                line = formatter.line(frame, length)
            except PflogError:
                bad += 1
                continue
            self._write(f"{self._stamps.text(seconds, microseconds)} {line}\n")
        return 1 if bad or batch.damage else 0
