# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines ``backtest`` and ``explain``.

Exit status, the sum of what applies: 1 a trusted source would be banned (in a sweep: by
every setting); 2 wrong usage or configuration, or the output cannot be written; 4 a
capture was damaged or skipped, or fail2ban failed on a line or logged an error.
70: a defect of this program.  130: interrupted, with what was known by then printed.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import re
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .judging.jails import Configuration
    from .judging.run import Result
    from .judging.workers import Progress
    from .telling.explain import Explanation

__all__ = ["add_command"]

TRUSTED, USAGE, DAMAGED, DEFECT, INTERRUPTED = 1, 2, 4, 70, 130
BROKEN_PIPE = 141

NEEDS_FAIL2BAN = """\
fail2ban cannot be imported ({error}): backtest and explain run its own code.
Install fail2ban for {python}, or run this with the Python that has it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``backtest`` and ``explain`` to the command line."""
    parser = commands.add_parser(
        "backtest",
        help="try jails on old captures",
        description="Say who jails would have banned, by fail2ban's own code on the packets' "
        "clock. Without --jail the enabled jails with backend = pflog are tried, or all of "
        "these where none is enabled.",
        epilog="Exit status: 1 a trusted source would be banned, 2 wrong usage, 4 a capture was "
        "damaged or skipped or fail2ban failed (5: 1 and 4), 70 a defect, 130 interrupted.",
    )
    _add_common(parser)
    parser.add_argument(
        "--sweep",
        metavar="OPTION=VALUES",
        nargs="+",
        action="extend",
        default=[],
        help="try all combinations: maxretry=5..30 findtime=1m,5m,1h mode=normal,aggressive",
    )
    parser.add_argument(
        "--trust",
        metavar="FILE|CIDR",
        action="append",
        default=[],
        help="networks that must not be banned, or a file with one per line; may be repeated",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="with each ban's last lines")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--csv", action="store_true", help="print CSV: bans, or swept settings")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="draw bans over time and ports: .svg or .png"
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with all of it")
    parser.set_defaults(run=functools.partial(_guard, _backtest, parser))

    parser = commands.add_parser(
        "explain",
        help="say what becomes of a source's packets, and why",
        description="Say of packets what line they make, what the distinct table, the filter's "
        "expressions and the counter say, and what comes of it.",
    )
    _add_common(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", metavar="IP", help="the packets of this source")
    which.add_argument("--packet", metavar="N", type=int, help="the N-th packet, from 1")
    parser.set_defaults(run=functools.partial(_guard, _explain, parser))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "captures",
        metavar="CAPTURE",
        nargs="*",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst); - is standard input",
    )
    parser.add_argument(
        "--config",
        metavar="DIRECTORY",
        type=Path,
        help="fail2ban's configuration; by default this host's, or else the package's own",
    )
    parser.add_argument(
        "--jail", metavar="NAME", action="append", default=[], help="the jail to try"
    )
    parser.add_argument(
        "--set",
        metavar="OPTION=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="options of the jail, as in jail.local: maxretry=10 findtime=1h filter=...",
    )


class _UsageError(Exception):
    """What is wrong with the command line."""


class _OutputError(Exception):
    """What came of it cannot be written."""


def _guard(run: Any, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run a command; what is wrong with usage or configuration becomes one message."""
    try:
        return _run(run, parser, arguments)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _drop_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:  # before there was anything to print
        return INTERRUPTED
    except _OutputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        _drop_output()
        return USAGE
    except Exception:  # status 1 would say that a trusted source was banned
        traceback.print_exc()
        return DEFECT


def _drop_output() -> None:
    """Let Python's own flush at the end find nothing to complain about."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(run: Any, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    try:
        from .judging import jails
    except ImportError as error:
        print(NEEDS_FAIL2BAN.format(error=error, python=sys.executable), file=sys.stderr)
        return USAGE
    jails.quiet()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may hold what the locale cannot
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _sort_words(arguments)
        status: int = run(arguments)
    except (_UsageError, jails.ConfigurationError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return USAGE
    return status


def _sort_words(arguments: argparse.Namespace) -> None:
    """Of `--set a=1 FILE`, make FILE a capture: it is no option's name and value."""
    for name in ("set", "sweep"):
        words = getattr(arguments, name, [])
        setattr(arguments, name, [word for word in words if _is_setting(word)])
        arguments.captures += [word for word in words if not _is_setting(word)]
    if not arguments.captures:
        raise _UsageError("there is no CAPTURE")
    if arguments.captures.count("-") > 1:
        raise _UsageError("standard input (-) can be read but once")


def _is_setting(word: str) -> bool:
    if os.path.exists(word):
        return False
    if re.match(r"[a-z][a-z0-9_.]*=", word) is None and "=" in word:
        raise _UsageError(f"{word}: an option of a jail is written as in maxretry=5")
    return "=" in word


def _settings(arguments: argparse.Namespace) -> dict[str, str]:
    return dict(word.split("=", 1) for word in arguments.set)


def _check_output(path: Optional[Path]) -> None:
    """Find out before the work whether a file can be written at its end, and may be."""
    from ..sources.captures import is_capture

    if path is None:
        return
    if path.is_dir():
        raise _UsageError(f"{path} is a directory")
    if is_capture(path):
        raise _UsageError(f"{path} is a capture, it is not written over")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _UsageError(f"{path} cannot be written")


def _configuration(arguments: argparse.Namespace) -> Configuration:
    from .judging.jails import Configuration, find_configuration

    return Configuration(arguments.config or find_configuration())


def _jails(arguments: argparse.Namespace, configuration: Configuration) -> list[str]:
    """The jails to try.  Raises ConfigurationError where there is none."""
    from .judging.jails import ConfigurationError, choose

    names: list[str] = arguments.jail or choose(configuration.jails())
    if not names:
        raise ConfigurationError(
            f"no jail in {configuration.folder} has backend = pflog; name one with --jail"
        )
    return names


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


# -- backtest ---------------------------------------------------------------------------


def _backtest(arguments: argparse.Namespace) -> int:
    if arguments.plot or arguments.html:
        from .telling import plot

        _check_output(arguments.plot)
        _check_output(arguments.html)
        if problem := plot.problem(arguments.plot):
            if arguments.plot:
                raise _UsageError(problem)
            _tell(f"{problem}; the page comes without pictures")
    if arguments.sweep:
        return _sweep(arguments)
    from ..sources.captures import Captures
    from .judging.judge import Judge
    from .judging.run import Run, Trust
    from .telling.terminal import progress

    configuration = _configuration(arguments)
    trust = Trust(arguments.trust)
    names = _jails(arguments, configuration)
    lines = arguments.verbose or arguments.json
    judges = [Judge(configuration.load(name, _settings(arguments)), lines=lines) for name in names]
    run = Run(judges, survey=bool(arguments.plot or arguments.html))
    captures = Captures(arguments.captures, _tell)
    interrupted = False
    try:
        with progress("judging") as report:
            run.read(captures, lambda packets: report(captures.done, captures.size, packets))
    except KeyboardInterrupt:
        interrupted = True
        _tell(f"interrupted; this is known after {run.packets:,} packets:")
    for problem in run.problems:
        _tell(problem)
    results = run.results(trust)
    with _writing():
        _output(arguments, results)
    if interrupted:
        return INTERRUPTED
    trusted = any(result.trusted for result in results)
    return (TRUSTED if trusted else 0) | (DAMAGED if captures.bad or run.problems else 0)


@contextmanager
def _writing() -> Iterator[None]:
    """What goes wrong here is not the program's fault."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(f"cannot write what came of it: {error}") from None


def _output(arguments: argparse.Namespace, results: Sequence[Result]) -> None:
    from .telling.report import Document, as_csv, as_json, jail_dict, jail_document
    from .telling.terminal import show

    documents: list[Document] = [jail_document(result, arguments.verbose) for result in results]
    if arguments.json:
        print(as_json({"jails": [jail_dict(result) for result in results]}))
    elif arguments.csv:
        print(as_csv(results), end="")
    else:
        for document in documents:
            show(document)
    if arguments.plot or arguments.html:
        from .telling import plot

        if arguments.plot:
            plot.write(arguments.plot, results)
        if arguments.html:
            plot.write_page(arguments.html, documents, results)


def _one_jail(arguments: argparse.Namespace, configuration: Configuration) -> str:
    names = _jails(arguments, configuration)
    if len(names) > 1:
        raise _UsageError(f"choose one of the jails {', '.join(names)} with --jail")
    return names[0]


def _sweep(arguments: argparse.Namespace) -> int:
    from .judging.settings import Sweep, combinations
    from .judging.workers import run_sweep
    from .telling import advice
    from .telling.report import as_json, table_csv
    from .telling.terminal import progress, show

    if arguments.plot or arguments.verbose:
        raise _UsageError("--plot and --verbose are for single jails, not for --sweep")
    configuration = _configuration(arguments)
    name = _one_jail(arguments, configuration)
    common = _settings(arguments)
    settings = [{**common, **each} for each in combinations(arguments.sweep)]
    if twice := sorted(set(common) & {word.partition("=")[0] for word in arguments.sweep}):
        raise _UsageError(f"{twice[0]} is given to --set and to --sweep")
    asked = Sweep(
        configuration.folder,
        name,
        tuple(arguments.captures),
        settings,
        tuple(arguments.trust),
    )
    with progress(f"judging {len(settings)} settings") as report:
        judged = run_sweep(asked, _tell, report)
    outcomes = judged.outcomes
    for problem in judged.problems:
        _tell(problem)
    if judged.interrupted:
        _tell("interrupted; this is known of what was read:")
    with _writing():
        if arguments.json:
            print(as_json(advice.as_dicts(name, outcomes)))
        elif arguments.csv:
            print(table_csv(*advice.as_table(outcomes)), end="")
        else:
            show(advice.document(name, common, outcomes))
        if arguments.html:
            from .telling import plot

            plot.write_page(arguments.html, [advice.document(name, common, outcomes)], [])
    if judged.interrupted:
        return INTERRUPTED
    trusted = bool(outcomes) and all(outcome.trusted for outcome in outcomes)
    return (TRUSTED if trusted else 0) | (DAMAGED if judged.bad or judged.problems else 0)


# -- explain ----------------------------------------------------------------------------


def _explain(arguments: argparse.Namespace) -> int:
    from ..sources.captures import Captures
    from .judging.judge import Judge
    from .telling.explain import Explainer
    from .telling.terminal import progress

    if arguments.packet is not None and arguments.packet < 1:
        raise _UsageError(f"--packet {arguments.packet}: packets are numbered from 1")
    configuration = _configuration(arguments)
    name = _one_jail(arguments, configuration)
    judge = Judge(configuration.load(name, _settings(arguments)))
    captures = Captures(arguments.captures, _tell)
    explainer = Explainer(judge, _address(arguments.source), arguments.packet)
    with ExitStack() as shown:
        report: Optional[Progress] = shown.enter_context(progress("judging"))

        def tell(each: Explanation) -> None:
            nonlocal report
            if sys.stdout.isatty():  # from now on this shows how far it has come
                shown.close()
                report = None
            print(each.text)

        def tell_progress(packets: int) -> None:
            if report is not None:
                report(captures.done, captures.size, packets)

        try:
            with _writing():  # captures that cannot be read are told, not raised
                told = explainer.explain(captures, tell, tell_progress)
        except KeyboardInterrupt:
            return INTERRUPTED
    if not told:
        _tell("there is no such packet in the captures")
    if judge.problem:
        _tell(judge.problem)
    return DAMAGED if captures.bad or judge.problem else 0


def _address(text: Optional[str]) -> Optional[bytes]:
    """An address as 4 or 16 bytes."""
    if text is None:
        return None
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except OSError:
            continue
    raise _UsageError(f"--source {text}: is no address")
