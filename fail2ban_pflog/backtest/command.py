# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines ``backtest`` and ``explain``.

Exit status, the sum of what applies: 1 a trusted source would be banned, of a sweep that no
setting can be recommended, of ``explain`` that the captures do not hold what it was asked for;
2 wrong usage or configuration, or the output cannot be written; 4 a
capture was damaged or skipped, or fail2ban failed on a line or logged an error.
70: a defect of this program.  130: interrupted, with what was known by then printed.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import re
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..errors import printable

if TYPE_CHECKING:
    from ..sources.captures import Contents
    from .replay.configuration import Configuration
    from .replay.replay import Judge
    from .replay.run import Result
    from .replay.workers import Progress
    from .report.explain import Explanation
    from .report.html import Section

__all__ = ["add_command"]

UNSAFE, USAGE, DAMAGED, DEFECT, INTERRUPTED = 1, 2, 4, 70, 130
UNKNOWN = 1
BROKEN_PIPE = 141

NEEDS_FAIL2BAN = """\
fail2ban cannot be imported ({error}): backtest and explain run its own code.
It is not on PyPI: your system's packages have it, for one Python, which the first line of
fail2ban-server names (head -1 "$(command -v fail2ban-server)").  This is {python}.
In a virtual environment, made with that Python, let it be seen:
  python3 -m venv --system-site-packages DIRECTORY
  pipx install --system-site-packages --python python3 .   (in a clone of fail2ban-pflog)"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``backtest`` and ``explain`` to the command line."""
    parser = commands.add_parser(
        "backtest",
        help="try jails on old captures",
        description="Say who jails would have banned, by fail2ban's own code on the packets' "
        "clock. Without --jail the enabled jails with backend = pflog are tried, or all of "
        "these where none is enabled.",
        epilog="Exit status: 1 a trusted source would be banned, or a sweep recommends no setting; "
        "2 wrong usage, 4 a capture was damaged or skipped or fail2ban failed (5: 1 and 4), 70 a "
        "defect, 130 interrupted.",
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
        "--plot",
        metavar="FILE",
        type=Path,
        help="draw ports, packets and bans over time, or what a sweep came to: .svg or .png",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with all of it")
    parser.set_defaults(run=functools.partial(_guard, _backtest, parser))

    parser = commands.add_parser(
        "explain",
        help="say what becomes of a source's packets, and why",
        description="Say of packets what the policy, the distinct table, the filter's "
        "expressions and the counter say, what comes of it, and of a source the sum of it.",
        epilog="Exit status: 1 there is no such source or packet; else as of backtest.",
    )
    _add_common(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", metavar="IP", help="the packets of this source")
    which.add_argument("--packet", metavar="N", type=_number, help="the N-th packet, from 1")
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
        help="options of the jail or of its backend: maxretry=10 findtime=1h distinct=none",
    )


def _number(text: str) -> int:
    """The number of a packet.  Raises ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: packets are numbered from 1")
    return int(text)


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
        from .replay.configuration import ConfigurationError
        from .replay.jail import quiet
    except ImportError as error:
        print(NEEDS_FAIL2BAN.format(error=error, python=sys.executable), file=sys.stderr)
        return USAGE
    quiet()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may hold what the locale cannot
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _sort_words(arguments)
        status: int = run(arguments)
    except (_UsageError, ConfigurationError) as error:
        _tell(f"{parser.prog}: {error}")
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
    from .replay.configuration import Configuration, find_configuration

    return Configuration(arguments.config or find_configuration())


def _jails(arguments: argparse.Namespace, configuration: Configuration) -> list[str]:
    """The jails to try.  Raises ConfigurationError where there is none."""
    from .replay.configuration import ConfigurationError, choose

    names: list[str] = arguments.jail or choose(configuration.jails())
    if not names:
        raise ConfigurationError(
            f"no jail in {configuration.folder} has backend = pflog; name one with --jail"
        )
    return names


def _tell(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


# -- backtest ---------------------------------------------------------------------------


def _backtest(arguments: argparse.Namespace) -> int:
    if arguments.plot or arguments.html:
        from .report import plots as pictures

        _check_output(arguments.plot)
        _check_output(arguments.html)
        if problem := pictures.problem(arguments.plot):
            if arguments.plot:
                raise _UsageError(problem)
            _tell(f"{problem}; the page comes without pictures")
    if arguments.sweep:
        return _sweep(arguments)
    from ..sources.captures import Captures
    from .replay.replay import Judge
    from .replay.run import Run, Trust
    from .report.terminal import progress

    configuration = _configuration(arguments)
    trust = Trust(arguments.trust)
    names = _jails(arguments, configuration)
    lines = bool(arguments.verbose or arguments.json or arguments.html)
    judges = [Judge(configuration.load(name, _settings(arguments)), lines=lines) for name in names]
    run = Run(judges, statistics=bool(arguments.plot or arguments.html))
    captures = Captures(arguments.captures, _tell)
    interrupted = False
    try:
        with progress("replaying") as report:
            run.read(captures, lambda packets: report(captures.done, captures.size, packets))
    except KeyboardInterrupt:
        interrupted = True
        _tell(f"interrupted; this is known after {run.packets:,} packets:")
    for problem in run.problems:
        _tell(problem)
    results = run.results(trust)
    with _writing():
        warnings = _warnings(run.problems, interrupted)
        _output(arguments, results, captures.contents, warnings)
    if interrupted:
        return INTERRUPTED
    trusted = any(result.trusted for result in results)
    return (UNSAFE if trusted else 0) | (DAMAGED if captures.bad or run.problems else 0)


@contextmanager
def _writing() -> Iterator[None]:
    """What goes wrong here is not the program's fault."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        to = f" to {error.filename}" if error.filename else ""
        raise _OutputError(f"cannot write what came of it{to}: {error.strerror}") from None


def _warnings(problems: Sequence[str], interrupted: bool) -> list[str]:
    """What a page has to say before all else."""
    told = ["This was interrupted: what follows is of a part of the captures."]
    return [*(told if interrupted else []), *problems]


def _output(
    arguments: argparse.Namespace,
    results: Sequence[Result],
    captures: Sequence[Contents],
    warnings: Sequence[str],
) -> None:
    from .report.terminal import show
    from .report.text import as_csv, as_json, jail_dict, jail_document, read_dict

    documents = [jail_document(result) for result in results]
    if arguments.json:
        jails = [jail_dict(result) for result in results]
        print(as_json({**read_dict(captures, time.time()), "jails": jails}))
    elif arguments.csv:
        print(as_csv(results), end="")
    else:
        for document in documents:
            show(document, arguments.verbose)
    if arguments.plot or arguments.html:
        from .report.html import Section
        from .report.plots import of_jail

        sections = [
            Section(document, of_jail(result), result.options)
            for document, result in zip(documents, results)
        ]
        _draw(arguments, sections, captures, warnings)


def _draw(
    arguments: argparse.Namespace,
    sections: Sequence[Section],
    captures: Sequence[Contents],
    warnings: Sequence[str],
) -> None:
    """Write the files that ``--plot`` and ``--html`` name."""
    from .replay.jail import FAIL2BAN
    from .report import html as page
    from .report import plots as pictures
    from .report.files import write_whole

    if arguments.plot:
        parts = [(section.heading, section.pictures) for section in sections]
        pictures.write(arguments.plot, parts)
    if arguments.html:
        if pictures.problem(None):
            sections = [section._replace(pictures=()) for section in sections]
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        origin = page.Origin(captures, command, FAIL2BAN, time.time(), warnings)
        write_whole(arguments.html, page.page(sections, origin).encode())


def _one_jail(arguments: argparse.Namespace, configuration: Configuration) -> str:
    names = _jails(arguments, configuration)
    if len(names) > 1:
        raise _UsageError(f"choose one of the jails {', '.join(names)} with --jail")
    return names[0]


def _sweep(arguments: argparse.Namespace) -> int:
    from .replay.run import Trust
    from .replay.settings import Sweep, combinations
    from .replay.workers import run_sweep
    from .report import sweep
    from .report.advice import Advice
    from .report.terminal import progress, show
    from .report.text import as_json, read_dict, table_csv

    if arguments.verbose:
        raise _UsageError("--verbose is for single jails, not for --sweep")
    configuration = _configuration(arguments)
    name = _one_jail(arguments, configuration)
    common = _settings(arguments)
    settings = [{**common, **each} for each in combinations(arguments.sweep)]
    if twice := sorted(set(common) & {word.partition("=")[0] for word in arguments.sweep}):
        raise _UsageError(f"{twice[0]} is given to --set and to --sweep")
    own = configuration.own(name, common, list(settings[0]))
    trust = Trust(arguments.trust)
    asked = Sweep(
        configuration.folder,
        name,
        tuple(arguments.captures),
        settings,
        tuple(arguments.trust),
    )
    with progress(f"replaying {len(settings)} settings:") as report:
        judged = run_sweep(asked, _tell, report)
    advice = Advice(judged.outcomes, judged.profiles, trust, own)
    for problem in judged.problems:
        _tell(problem)
    if judged.interrupted:
        _tell("interrupted; this is known of what was read:")
    paste = None
    if advice.best is not None:
        paste = configuration.in_jail_local(name, judged.outcomes[advice.best].settings)
    document = sweep.document(name, common, advice, paste)
    with _writing():
        if arguments.json:
            read = read_dict(judged.captures, time.time())
            print(as_json({**read, **sweep.as_dict(name, advice)}))
        elif arguments.csv:
            print(table_csv(*sweep.as_table(advice)), end="")
        else:
            show(document)
        if arguments.plot or arguments.html:
            from .replay.jail import options_in_force
            from .report.html import Section
            from .report.plots import of_sweep

            swept = dict(word.split("=", 1) for word in arguments.sweep)
            options = dict(options_in_force(configuration.load(name, settings[0])))
            marked = [] if advice.best is None else [advice.best]
            section = Section(
                document,
                of_sweep(judged.outcomes, marked),
                list({**options, **swept}.items()),
            )
            warnings = _warnings(judged.problems, judged.interrupted)
            _draw(arguments, [section], judged.captures, warnings)
    if judged.interrupted:
        return INTERRUPTED
    recommended = 0 if advice.best is not None else UNSAFE
    return recommended | (DAMAGED if judged.bad or judged.problems else 0)


# -- explain ----------------------------------------------------------------------------


def _explain(arguments: argparse.Namespace) -> int:
    from ..sources.captures import Captures
    from .replay.replay import Judge
    from .report.explain import Explainer
    from .report.terminal import progress
    from .report.transcript import Transcript, summary

    configuration = _configuration(arguments)
    name = _one_jail(arguments, configuration)
    judge = Judge(configuration.load(name, _settings(arguments)))
    others = _other_jails(configuration, name) if arguments.source else []
    captures = Captures(arguments.captures, _tell)
    address = _address(arguments.source)
    source = str(ip_address(address)) if address else ""
    explainer = Explainer(judge, address, arguments.packet, others)
    transcript = Transcript(sys.stdout.write)
    interrupted = False
    with ExitStack() as shown:
        report: Optional[Progress] = shown.enter_context(progress("replaying"))

        def tell(each: Explanation) -> None:
            nonlocal report
            if sys.stdout.isatty():  # from now on this shows how far it has come
                shown.close()
                report = None
            transcript.add(each)

        def tell_progress(packets: int) -> None:
            if report is not None:
                report(captures.done, captures.size, packets)

        with _writing():  # captures that cannot be read are told, not raised
            try:
                explainer.explain(captures, tell, tell_progress)
            except KeyboardInterrupt:
                interrupted = True
            transcript.end()
            if source and explainer.tally.packets:
                print("\n" + summary(source, judge, explainer.tally, others))
    if judge.problem:
        _tell(judge.problem)
    if interrupted:
        _tell(f"interrupted; this is known after {explainer.read:,} packets")
        return INTERRUPTED
    if unknown := not explainer.tally.packets:
        who = f"from {source}" if source else f"number {arguments.packet:,}"
        _tell(f"none of the {explainer.read:,} packets in these captures is {who}")
    return (UNKNOWN if unknown else 0) | (DAMAGED if captures.bad or judge.problem else 0)


def _other_jails(configuration: Configuration, name: str) -> list[Judge]:
    """Judges of pflog's other jails, of which a source's packets alone decide."""
    from .replay.configuration import ConfigurationError
    from .replay.options import is_pflog
    from .replay.replay import Judge

    judges = []
    for jail in configuration.jails():
        if jail.name != name and is_pflog(jail.backend):
            try:
                judges.append(Judge(configuration.load(jail.name, {}), lines=False))
            except ConfigurationError as error:
                _tell(f"{error}; it is left out")
    return [judge for judge in judges if not judge.needs_all]


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
