# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog print``: savefiles as lines, dated as ``tcpdump -tttt`` does.

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
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Callable, Optional, cast

from .errors import PflogError, printable
from .fields import fields
from .formatter import Formatter
from .savefile import FILE_HEADER_SIZE, Batch, FileHeader, check_link_type
from .stamps import Stamps

__all__ = ["add_command"]

CHUNK = 1 << 16
"""How many bytes are read at once: larger is no faster."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``print`` to the command line."""
    parser = commands.add_parser(
        "print",
        help="print savefiles as lines",
        description="Print pflog savefiles as tcpdump -e -n -tttt does, without any payload.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per packet")
    parser.add_argument("--bpf", metavar="EXPR", help="only packets that match, see pcap-filter(7)")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a savefile, also compressed (.gz .bz2 .xz .zst), or - for standard input, "
        "which is followed while it grows",
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
    from .sources.bpf import frame_filter  # late: it needs pcapy, printing does not

    return frame_filter(expression)


def _complain(message: str) -> None:
    sys.stderr.write(f"fail2ban-pflog: {printable(message)}\n")


def _print_file(name: str, as_json: bool, matches: Optional[Callable[[bytes], bool]]) -> int:
    """Print one file; returns 1 when it could not be read to its end, else 0."""
    try:
        with _open(name) as stream:
            reader = _Reader(stream)
            try:
                _print_batches(name, reader, as_json, matches)
            except PflogError as error:
                _complain(f"{name}: at byte {reader.offset}: {error}")
                return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        _complain(f"{name}: {error.strerror or error}")
        return 1
    return 0


def _open(name: str) -> BinaryIO:
    if name != "-" and Path(name).is_file():
        from .sources.compressed import decompressed  # late: few captures need it

        return cast(BinaryIO, decompressed(Path(name).open("rb")))
    # Unbuffered: a read returns what a pipe holds, not only a full piece.
    return os.fdopen(os.dup(0), "rb", buffering=0) if name == "-" else Path(name).open("rb", 0)


class _Reader:
    """A savefile's header and batches of records.

    offset: where in the file the records begin that were not yet given.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.offset = 0
        # Of a packed file, read1 gives all that stands before a damage.
        self._take = getattr(stream, "read1", stream.read)
        self._buffer = b""

    def header(self) -> FileHeader:
        """Read the first 24 bytes; raises PflogError when they begin no pflog savefile."""
        while len(self._buffer) < FILE_HEADER_SIZE and self._read():
            pass
        header = FileHeader.parse(self._buffer)
        check_link_type(header.linktype)
        self.offset = FILE_HEADER_SIZE
        return header

    def batches(self, header: FileHeader) -> Iterator[Batch]:
        """Give the records of each piece; raises PflogError where the file is damaged."""
        buffer = self._buffer[FILE_HEADER_SIZE:]
        while True:
            batch = header.records(buffer)
            yield batch
            self.offset += batch.end
            buffer = buffer[batch.end :]
            if batch.damage:
                raise batch.damage
            self._buffer = b""
            if not self._read():
                break
            buffer += self._buffer
        if buffer:
            reason = f"the file ends inside a record, of which it has {len(buffer)} bytes"
            raise PflogError("record", 0, len(buffer), reason)

    def _read(self) -> int:
        piece = self._take(CHUNK) or b""
        self._buffer += piece
        return len(piece)


def _print_batches(
    name: str, reader: _Reader, as_json: bool, matches: Optional[Callable[[bytes], bool]]
) -> None:
    header = reader.header()
    stamps = Stamps()
    formatter = Formatter(header.byteorder)
    bad = 0
    first_error = ""
    for batch in reader.batches(header):
        lines: list[str] = []
        for (seconds, microseconds, frame), length in zip(batch.records, batch.lengths):
            if matches and not matches(frame):
                continue
            try:
                if as_json:
                    found = fields(formatter.decode(frame), frame)
                    time = stamps.iso(seconds, microseconds)
                    line = json.dumps({"time": time, **found._asdict()}) + "\n"
                else:
                    line = f"{stamps.text(seconds, microseconds)} {formatter.line(frame, length)}\n"
            except PflogError as error:
                bad += 1
                first_error = first_error or str(error)
            else:
                lines.append(line)
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    if bad:
        _complain(f"{name}: {bad} frames could not be decoded, the first: {first_error}")
