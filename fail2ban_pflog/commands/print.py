# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog print``: captures as lines, dated as ``tcpdump -tttt`` does.

A file is read in large pieces; each piece's whole records are printed with one write
and a flush.  So a stream that pauses has told all that it could tell, and a file of
any size needs the memory of one piece.  What is wrong with one file goes to standard
error, with the place, and the next file is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from io import BufferedReader
from typing import Callable, Optional, Union, cast

from ..errors import PflogError, printable
from ..formatter import Formatter
from ..pflog.fields import fields
from ..pflog.pcapng import PcapngDecoder, decoder_of
from ..pflog.savefile import Decoder
from ..wire.timestamps import Stamps

__all__ = ["add_command"]

CHUNK = 1 << 16
"""How many bytes are read at once: larger is no faster."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``print`` to the command line."""
    parser = commands.add_parser(
        "print",
        help="print captures as lines",
        description="Print captures of pflog as tcpdump -e -n -tttt does, without any payload.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per packet")
    parser.add_argument("--bpf", metavar="EXPR", help="only packets that match, see pcap-filter(7)")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst), or - for standard "
        "input, which is followed while it grows",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Print all files; returns 0, 1 when one could not be read, 2 for a bad filter."""
    try:
        matches = _filter(arguments.bpf) if arguments.bpf else None
    except PflogError as error:
        _complain(str(error))
        return 2
    status = 0
    try:
        for name in arguments.files:
            status = max(status, _print_file(name, arguments.json, matches))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _filter(expression: str) -> Callable[[bytes], bool]:
    from ..sources.bpf import frame_filter  # late: it needs pcapy, printing does not

    return frame_filter(expression)


def _complain(message: str) -> None:
    sys.stderr.write(f"fail2ban-pflog: {printable(message)}\n")


def _print_file(name: str, as_json: bool, matches: Optional[Callable[[bytes], bool]]) -> int:
    """Print one file; returns 1 when it could not be read to its end, else 0."""
    try:
        with _open(name) as stream:
            decoder = decoder_of(stream.peek(1))
            try:
                _print_stream(name, stream, decoder, as_json, matches)
            except PflogError as error:
                _complain(f"{name}: at byte {decoder.offset}: {error}")
                return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        _complain(f"{name}: {error.strerror or error}")
        return 1
    return 0


def _open(name: str) -> BufferedReader:
    from ..sources.compressed import decompressed  # late: few captures need it

    return cast(BufferedReader, decompressed(open(os.dup(0) if name == "-" else name, "rb")))


def _print_stream(
    name: str,
    stream: BufferedReader,
    decoder: Union[Decoder, PcapngDecoder],
    as_json: bool,
    matches: Optional[Callable[[bytes], bool]],
) -> None:
    stamps = Stamps()
    formatters = {order: Formatter(order) for order in "<>"}
    bad = 0
    first_error = ""
    piece = b"no end yet"
    while piece:
        # What a pipe holds, and of a packed file all that stands before a damage.
        piece = stream.read1(CHUNK)
        records = decoder.feed(piece)
        while records:
            formatter = formatters[decoder.byteorder]
            lines: list[str] = []
            for (seconds, microseconds, frame), length in zip(records, decoder.lengths):
                if matches and not matches(frame):
                    continue
                try:
                    if as_json:
                        found = fields(formatter.decode(frame), frame)
                        time = stamps.iso(seconds, microseconds)
                        line = json.dumps({"time": time, **found._asdict()}) + "\n"
                    else:
                        text = formatter.line(frame, length)
                        line = f"{stamps.text(seconds, microseconds)} {text}\n"
                except PflogError as error:
                    bad += 1
                    first_error = first_error or str(error)
                else:
                    lines.append(line)
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
            records = decoder.feed(b"")  # tells a damage behind them at once
    if bad:
        _complain(f"{name}: {bad} frames could not be decoded, the first: {first_error}")
    decoder.end()
