# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage-guided fuzzing of the core: python tests/fuzz/fuzz_line.py [-max_total_time=60]

Feeds bytes that atheris breeds to the printer, the typed decoder and the savefile
decoder.  Whatever they are, the outcome must be a line that keeps docs/lines.md's
promises, or PflogError.  The common packets' short way and the long way must agree.

Takes libFuzzer's options and folders; without a folder it starts from the packets of
tests/corpus.py.  Needs atheris: pip install atheris (CPython on Linux and macOS).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("the fuzzer needs atheris, which is not installed: pip install atheris")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

with atheris.instrument_imports(include=["fail2ban_pflog"]):
    from fail2ban_pflog.errors import PflogError
    from fail2ban_pflog.pflog.nflog import convert
    from tests.support.promises import check_frame, check_savefile

SEEDS = 2000
DEFAULTS = ("-max_total_time=60", "-max_len=400", "-verbosity=0", "-print_final_stats=1")


def one_input(data: bytes) -> None:
    """Check one input: as a frame with a wrong length, and as a savefile."""
    check_frame(data, None)
    if len(data) > 2:
        check_frame(data[2:], int.from_bytes(data[:2], "big"))
    check_savefile(data)
    for order in "<>":
        with contextlib.suppress(PflogError):
            check_frame(convert(data, order), None)


def seeds(folder: Path) -> None:
    """Write the corpus's packets as frames of all dialects."""
    from tests.support import corpus, oracle

    packets = corpus.packets()
    for number in range(0, len(packets), max(len(packets) // SEEDS, 1)):
        packet = packets[number]
        dialect = oracle.DIALECTS[number % len(oracle.DIALECTS)]
        frame = oracle.header(dialect, packet.version, number) + packet.data
        (folder / f"{number}").write_bytes(frame)


def main() -> None:
    """Fuzz until the time is over or something breaks."""
    with tempfile.TemporaryDirectory() as name:
        arguments = sys.argv[1:]
        if not any(not argument.startswith("-") for argument in arguments):
            seeds(Path(name))
            arguments.append(name)
        given = {argument.split("=")[0] for argument in arguments}
        defaults = [option for option in DEFAULTS if option.split("=")[0] not in given]
        atheris.Setup([sys.argv[0], *defaults, *arguments], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
