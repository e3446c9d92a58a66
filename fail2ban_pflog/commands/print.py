# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog print``: captures as lines, dated as ``tcpdump -tttt`` does.

A file is read in large pieces; the whole records of a piece are printed with one write
and a flush.  So a stream that pauses has been printed as far as it goes, and a file of
any size needs the memory of one piece.  What is wrong with one file goes to standard
error, with the place, and the next file is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from io import BufferedReader
from ipaddress import ip_network
from typing import Callable, Union, cast

from ..errors import Exit, PflogError, UsageError, printable
from ..formatter import Formatter
from ..options import moment, whole
from ..pflog.fields import fields
from ..pflog.packet import Packet
from ..pflog.pcapng import PcapngDecoder, decoder_of
from ..pflog.savefile import Decoder, Record
from ..wire.timestamps import Stamps

__all__ = ["add_command"]

CHUNK = 1 << 16
"""How many bytes are read at once: larger is no faster."""

MANY = 10**18
"""More packets than any file has."""

Test = Callable[[int, bytes, Packet], bool]
"""Whether a packet is to be printed: its second, its frame, the packet."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``print`` to the command line."""
    parser = commands.add_parser(
        "print",
        help="print captures as lines",
        description="Print captures of pflog as tcpdump -e -n -tttt does, without any payload.",
        epilog="fail2ban-regex reads no captures: fail2ban-pflog print FILE > x, then "
        "fail2ban-regex x pflog.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per packet")
    parser.add_argument("--bpf", metavar="EXPR", help="only packets that match, see pcap-filter(7)")
    parser.add_argument("--source", metavar="ADDRESS", help="only from this address or network")
    parser.add_argument("--port", metavar="PORT", help="only packets to this port")
    parser.add_argument(
        "--since", metavar="TIME", help="only since 2026-11-22, '2026-11-22 01:48', or 7d"
    )
    parser.add_argument("--until", metavar="TIME", help="only packets before that time")
    parser.add_argument("-c", "--count", metavar="N", help="stop after that many packets")
    parser.add_argument(
        "files", metavar="FILE", nargs="+",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst), or - for standard "
        "input, which is followed while it grows",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Print all files; returns 0, or 1 when one could not be read."""
    try:
        count = whole(arguments.count, 1, MANY) if arguments.count else MANY
        printer = _Printer(arguments.json, list(_tests(arguments, time.time())), count)
    except (PflogError, ValueError) as error:
        raise UsageError(str(error)) from None
    status = Exit.OK
    try:
        for name in arguments.files:
            if printer.left:
                status = max(status, printer.print_file(name))
    except BrokenPipeError:
        # The reader has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _tests(arguments: argparse.Namespace, now: float) -> Iterable[Test]:
    """Make a test of each option that selects packets.  Raises ValueError for a wrong value."""
    if arguments.since:
        since = moment(arguments.since, now)
        yield lambda second, _frame, _packet: second >= since
    if arguments.until:
        until = moment(arguments.until, now)
        yield lambda second, _frame, _packet: second < until
    if arguments.port:
        port = whole(arguments.port, 0, 65_535)
        yield lambda _second, _frame, packet: packet.dport == port
    if arguments.source:
        network = ip_network(arguments.source, strict=False)
        size, bits = network.max_prefixlen // 8, network.max_prefixlen - network.prefixlen
        first = int(network.network_address) >> bits
        yield (
            lambda _second, _frame, packet: (
                len(packet.source) == size and int.from_bytes(packet.source, "big") >> bits == first
            )
        )
    if arguments.bpf:
        from ..sources.bpf import frame_filter  # late: it needs pcapy, printing does not

        matches = frame_filter(arguments.bpf)
        yield lambda _second, frame, _packet: matches(frame)


def _complain(message: str) -> None:
    sys.stderr.write(f"fail2ban-pflog: {printable(message)}\n")


class _Printer:
    """Prints files.

    Attributes:
        left: How many packets may be printed yet.
    """

    def __init__(self, as_json: bool, tests: list[Test], left: int) -> None:
        self.left = left
        self._as_json = as_json
        self._tests = tests
        self._stamps = Stamps()
        self._formatters = {order: Formatter(order) for order in "<>"}
        self._bad = 0
        self._first_error = ""

    def print_file(self, name: str) -> Exit:
        """Print one file; returns FAILED when it could not be read to its end."""
        try:
            with _open(name) as stream:
                decoder = decoder_of(stream.peek(1))
                try:
                    self._print_stream(name, stream, decoder)
                except PflogError as error:
                    _complain(f"{name}: at byte {decoder.offset}: {error}")
                    return Exit.FAILED
        except BrokenPipeError:
            raise
        except OSError as error:
            _complain(f"{name}: {error.strerror or error}")
            return Exit.FAILED
        return Exit.OK

    def _print_stream(
        self, name: str, stream: BufferedReader, decoder: Union[Decoder, PcapngDecoder]
    ) -> None:
        self._bad = 0
        piece = b"no end yet"
        while piece and self.left:
            # What a pipe holds, and of a compressed file all that stands before a damage.
            piece = stream.read1(CHUNK)
            records = decoder.feed(piece)
            while records and self.left:
                lines = self._lines(self._formatters[decoder.byteorder], records, decoder.lengths)
                sys.stdout.write("".join(lines))
                sys.stdout.flush()
                records = decoder.feed(b"")  # a damage behind them is raised at once
        if self._bad:
            found = f"{self._bad} frames could not be decoded, the first: {self._first_error}"
            _complain(f"{name}: {found}")
        if self.left:
            decoder.end()

    def _lines(
        self, formatter: Formatter, records: Iterable[Record], lengths: Iterable[int]
    ) -> list[str]:
        lines: list[str] = []
        tests, stamp = self._tests, self._stamps.text
        for (seconds, microseconds, frame), length in zip(records, lengths):
            try:
                packet = formatter.decode(frame)
                if tests and not all(test(seconds, frame, packet) for test in tests):
                    continue
                if self._as_json:
                    found = fields(packet, frame)._asdict()
                    line = json.dumps({"time": self._stamps.iso(seconds, microseconds), **found})
                else:
                    line = f"{stamp(seconds, microseconds)} {formatter.text(packet, frame, length)}"
            except PflogError as error:
                self._first_error = self._first_error if self._bad else str(error)
                self._bad += 1
                continue
            lines.append(line + "\n")
            if len(lines) == self.left:
                break
        self.left -= len(lines)
        return lines


def _open(name: str) -> BufferedReader:
    from ..sources.compressed import decompressed  # late: few captures need it

    return cast(BufferedReader, decompressed(open(os.dup(0) if name == "-" else name, "rb")))
