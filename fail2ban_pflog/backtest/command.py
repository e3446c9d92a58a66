# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines ``backtest`` and ``explain``.

Exit status, the sum of what applies: 1 a trusted source would be banned, of a sweep that no
setting can be recommended, of ``explain`` that the captures do not hold what it was asked for;
4 a capture was damaged, skipped or empty, or fail2ban failed on a line or logged an error.
2: wrong usage or configuration, or the output cannot be written.  70: a defect of this program.
130: interrupted, with what was known by then printed.
"""

from __future__ import annotations

import argparse
import glob
import io
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from ..errors import Exit, UsageError, printable
from ..options import moment

if TYPE_CHECKING:
    from ..sources.captures import Contents
    from .replay.configuration import Configuration
    from .replay.replay import Replay
    from .replay.sweep import Progress
    from .report.explain import Explanation
    from .report.html import Section

__all__ = ["add_command"]

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
        description="Show which sources jails would have banned, by fail2ban's own code on the "
        "packets' clock. Without --jail the enabled jails with backend = pflog are tried, or all "
        "of these where none is enabled.",
        epilog="Exit status: 1 a trusted source would be banned, or a sweep recommends no setting; "
        "2 wrong usage, 4 a capture was damaged, skipped or empty, or fail2ban failed (5: 1 and "
        "4), 70 a defect, 130 interrupted.",
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
    parser.set_defaults(run=lambda arguments: _run(_backtest, arguments))

    parser = commands.add_parser(
        "explain",
        help="show what becomes of a source's packets, and why",
        description="Show what the policy, the dedup table, the filter's expressions and the "
        "counter make of packets, and of a source the sum of it. Without --jail it is jail pflog.",
        epilog="Exit status: 1 there is no such source or packet; else as of backtest.",
    )
    _add_common(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", metavar="IP", help="the packets of this source")
    which.add_argument("--packet", metavar="N", type=_number, help="the N-th packet, from 1")
    parser.set_defaults(run=lambda arguments: _run(_explain, arguments))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "captures",
        metavar="CAPTURE",
        nargs="*",
        help="a savefile, pcap or pcapng, also compressed (.gz .bz2 .xz .zst); - is standard input;"
        " without any, the files that the jail reads, with their rotated ones",
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
    parser.add_argument(
        "--since", metavar="TIME", help="only packets since 2026-11-22, '2026-11-22 01:48', or 7d"
    )


def _number(text: str) -> int:
    """Read the number of a packet.  Raises ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: packets are numbered from 1")
    return int(text)


def _run(command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run a command, where fail2ban is there."""
    try:
        from .replay.jail import quiet
    except ImportError as error:
        raise UsageError(NEEDS_FAIL2BAN.format(error=error, python=sys.executable)) from None
    quiet()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may hold what the locale cannot
        sys.stdout.reconfigure(errors="backslashreplace")
    _sort_words(arguments)
    return command(arguments)


def _sort_words(arguments: argparse.Namespace) -> None:
    """Of `--set a=1 FILE`, make FILE a capture: it is no option's name and value."""
    for name in ("set", "sweep"):
        words = getattr(arguments, name, [])
        setattr(arguments, name, [word for word in words if _is_setting(word)])
        arguments.captures += [word for word in words if not _is_setting(word)]
    if arguments.captures.count("-") > 1:
        raise UsageError("standard input (-) can be read but once")
    try:
        arguments.since = moment(arguments.since, time.time()) if arguments.since else 0.0
    except ValueError as error:
        raise UsageError(f"--since {arguments.since}: {error}") from None


def _is_setting(word: str) -> bool:
    if os.path.exists(word):
        return False
    if re.match(r"[a-z][a-z0-9_.]*=", word) is None and "=" in word:
        raise UsageError(f"{word}: an option of a jail is written as in maxretry=5")
    return "=" in word


def _settings(arguments: argparse.Namespace) -> dict[str, str]:
    return dict(word.split("=", 1) for word in arguments.set)


def _check_output(path: Optional[Path]) -> None:
    """Find out before the work whether a file can be written at its end, and may be."""
    from ..sources.captures import is_capture

    if path is None:
        return
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a directory")
        if is_capture(path):
            raise UsageError(f"{path} is a capture, it is not written over")
        writable = os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:  # of a directory that may not be searched
        writable = False
    if not writable:
        raise UsageError(f"{path} cannot be written")


def _configuration(arguments: argparse.Namespace) -> Configuration:
    from .replay.configuration import Configuration, find_configuration

    return Configuration(arguments.config or find_configuration())


def _jails(arguments: argparse.Namespace, configuration: Configuration, one: bool) -> list[str]:
    """Choose the jails to try, and their own files where no capture is named.

    Args:
        arguments, configuration: of the command.
        one: whether there can be but one; by default it is pflog.

    Raises:
        UsageError: there is none.
    """
    from .replay.configuration import choose

    names: list[str] = arguments.jail or choose(configuration.jails())
    if not names:
        raise UsageError(
            f"no jail in {configuration.folder} has backend = pflog; name one with --jail"
        )
    if one and len(names) > 1:
        if arguments.jail or "pflog" not in names:
            raise UsageError(f"choose one of the jails {', '.join(names)} with --jail")
        names = ["pflog"]
    if not arguments.captures:
        patterns = dict.fromkeys(each for name in names for each in configuration.logpaths(name))
        arguments.captures = sorted(
            {path for pattern in patterns for path in glob.glob(f"{pattern}*")}
        )
        if not arguments.captures:
            read = ", ".join(patterns) or "no file"
            raise UsageError(f"there is no CAPTURE, and {', '.join(names)} reads {read}")
    return names


def _log(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


@contextmanager
def _writing() -> Iterator[None]:
    """Report output that cannot be written as such."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(io.UnsupportedOperation):  # Python's own flush at exit must not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        to = f" to {error.filename}" if error.filename else ""
        raise UsageError(f"cannot write what came of it{to}: {error.strerror}") from None


# -- backtest ---------------------------------------------------------------------------


def _backtest(arguments: argparse.Namespace) -> int:
    _check_pictures(arguments)
    return _sweep(arguments) if arguments.sweep else _replay(arguments)


def _check_pictures(arguments: argparse.Namespace) -> None:
    """Find out before the work whether what ``--plot`` and ``--html`` ask for can be made."""
    if not (arguments.plot or arguments.html):
        return
    from .report import plots

    _check_output(arguments.plot)
    _check_output(arguments.html)
    if problem := plots.problem(arguments.plot):
        if arguments.plot:
            raise UsageError(problem)
        _log(f"{problem}; the page comes without pictures")


def _replay(arguments: argparse.Namespace) -> int:
    from ..sources.captures import Captures
    from .replay.replay import Replay
    from .replay.run import Run, Trust
    from .report.terminal import progress, show
    from .report.text import as_csv, as_json, jail_dict, jail_document, read_dict

    configuration = _configuration(arguments)
    trust = Trust(arguments.trust)
    names = _jails(arguments, configuration, one=False)
    lines = bool(arguments.verbose or arguments.json or arguments.html)
    replays = [
        Replay(configuration.load(name, _settings(arguments)), lines=lines) for name in names
    ]
    pictures = bool(arguments.plot or arguments.html)
    run = Run(replays, statistics=pictures, since=arguments.since)
    captures = Captures(arguments.captures, _log)
    interrupted = False
    try:
        with progress("replaying") as report:
            run.read(captures, lambda packets: report(captures.done, captures.size, packets))
    except KeyboardInterrupt:
        interrupted = True
        _log(f"interrupted; this is known after {run.packets:,} packets:")
    problems = _problems(run.problems, run.packets, interrupted)
    results = run.results(trust)
    documents = [jail_document(result) for result in results]
    with _writing():
        if arguments.json:
            jails = [jail_dict(result) for result in results]
            print(as_json({**read_dict(captures.contents, time.time()), "jails": jails}))
        elif arguments.csv:
            print(as_csv(results), end="")
        else:
            for document in documents if run.packets else ():
                show(document, arguments.verbose)
        if pictures:
            from .report.html import Section
            from .report.plots import of_jail

            sections = [
                Section(document, of_jail(result), result.options)
                for document, result in zip(documents, results)
            ]
            _draw(arguments, sections, captures.contents, problems, interrupted)
    if interrupted:
        return Exit.INTERRUPTED
    trusted = any(result.trusted for result in results)
    return (Exit.FAILED if trusted else 0) | (Exit.DAMAGED if captures.bad or problems else 0)


def _problems(found: Sequence[str], packets: int, interrupted: bool) -> list[str]:
    """Report what is wrong with a result; an empty one is wrong as well."""
    problems = list(found)
    if not packets and not interrupted:
        problems.append("there is no packet in these captures, or none since then")
    for problem in problems:
        _log(problem)
    return problems


def _draw(
    arguments: argparse.Namespace,
    sections: Sequence[Section],
    captures: Sequence[Contents],
    problems: Sequence[str],
    interrupted: bool,
) -> None:
    """Write the files that ``--plot`` and ``--html`` name."""
    from .replay.jail import FAIL2BAN
    from .report import html, plots
    from .report.files import write_whole

    if arguments.plot:
        plots.write(arguments.plot, [(section.heading, section.pictures) for section in sections])
    if arguments.html:
        if plots.problem(None):
            sections = [section._replace(pictures=()) for section in sections]
        part = "This was interrupted: what follows is of a part of the captures."
        warnings = [*([part] if interrupted else []), *problems]
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        origin = html.Origin(captures, command, FAIL2BAN, time.time(), warnings)
        write_whole(arguments.html, html.page(sections, origin).encode())


def _sweep(arguments: argparse.Namespace) -> int:
    from .replay.run import Trust
    from .replay.sweep import Sweep, combinations, run_sweep
    from .report import sweep
    from .report.terminal import progress, show
    from .report.text import as_json, read_dict, table_csv

    configuration = _configuration(arguments)
    (name,) = _jails(arguments, configuration, one=True)
    common = _settings(arguments)
    settings = [{**common, **each} for each in combinations(arguments.sweep)]
    if twice := sorted(set(common) & {word.partition("=")[0] for word in arguments.sweep}):
        raise UsageError(f"{twice[0]} is given to --set and to --sweep")
    own = configuration.own(name, common, list(settings[0]))
    as_configured = next(
        (index for index, each in enumerate(settings) if not sweep.distance(each, own)),
        len(settings),
    )
    asked = Sweep(
        configuration.folder,
        name,
        tuple(arguments.captures),
        [*settings, common] if as_configured == len(settings) else settings,
        tuple(arguments.trust),
        arguments.since,
    )
    with progress(f"replaying {len(settings)} settings:") as report:
        result = run_sweep(asked, _log, report)
    advice = sweep.Advice(
        result.outcomes[: len(settings)],
        result.outcomes[as_configured],
        own,
        bool(Trust(arguments.trust)),
    )
    if result.interrupted:
        _log("interrupted; this is known of what was read:")
    problems = _problems(result.problems, result.packets, result.interrupted)
    paste = None
    if advice.best is not None:
        paste = configuration.in_jail_local(name, result.outcomes[advice.best].settings)
    document = sweep.document(name, common, advice, paste)
    with _writing():
        if arguments.json:
            read = read_dict(result.captures, time.time())
            print(as_json({**read, **sweep.as_dict(name, advice)}))
        elif arguments.csv:
            print(table_csv(*sweep.as_table(advice)), end="")
        elif result.packets:
            show(document)
        if arguments.plot or arguments.html:
            from .replay.jail import options_in_force
            from .report.html import Section
            from .report.plots import of_sweep

            options = dict(options_in_force(configuration.load(name, settings[0])))
            options.update(word.split("=", 1) for word in arguments.sweep)
            marked = [] if advice.best is None else [advice.best]
            pictures = of_sweep(advice.outcomes, marked)
            section = Section(document, pictures, list(options.items()))
            _draw(arguments, [section], result.captures, problems, result.interrupted)
    if result.interrupted:
        return Exit.INTERRUPTED
    recommended = 0 if advice.best is not None else Exit.FAILED
    return recommended | (Exit.DAMAGED if result.bad or problems else 0)


# -- explain ----------------------------------------------------------------------------


def _explain(arguments: argparse.Namespace) -> int:
    from ..sources.captures import Captures
    from .replay.replay import Replay
    from .report.explain import Explainer
    from .report.terminal import progress
    from .report.transcript import Transcript, summary

    configuration = _configuration(arguments)
    (name,) = _jails(arguments, configuration, one=True)
    replay = Replay(configuration.load(name, _settings(arguments)))
    others = _other_jails(configuration, name) if arguments.source else []
    captures = Captures(arguments.captures, _log)
    address = _address(arguments.source)
    source = str(ip_address(address)) if address else ""
    explainer = Explainer(replay, address, arguments.packet, others, arguments.since)
    transcript = Transcript(sys.stdout.write)
    interrupted = False
    with ExitStack() as shown:
        report: Optional[Progress] = shown.enter_context(progress("replaying"))

        def add(each: Explanation) -> None:
            nonlocal report
            if sys.stdout.isatty():  # from now on this shows how far it has come
                shown.close()
                report = None
            transcript.add(each)

        def show_progress(packets: int) -> None:
            if report is not None:
                report(captures.done, captures.size, packets)

        with _writing():  # captures that cannot be read are reported, not raised
            try:
                explainer.explain(captures, add, show_progress)
            except KeyboardInterrupt:
                interrupted = True
            transcript.end()
            if source and explainer.tally.packets:
                print("\n" + summary(source, replay, explainer.tally, others))
    if replay.problem:
        _log(replay.problem)
    if interrupted:
        _log(f"interrupted; this is known after {explainer.read:,} packets")
        return Exit.INTERRUPTED
    if unknown := not explainer.tally.packets:
        what = f"from {source}" if source else f"number {arguments.packet:,}"
        _log(f"none of the {explainer.read:,} packets in these captures is {what}")
    return (Exit.FAILED if unknown else 0) | (Exit.DAMAGED if captures.bad or replay.problem else 0)


def _other_jails(configuration: Configuration, name: str) -> list[Replay]:
    """Return replays of pflog's other jails, in which a source's packets alone decide."""
    from .replay.configuration import ConfigurationError
    from .replay.options import is_pflog
    from .replay.replay import Replay

    replays = []
    for jail in configuration.jails():
        if jail.name != name and is_pflog(jail.backend):
            try:
                replays.append(Replay(configuration.load(jail.name, {}), lines=False))
            except ConfigurationError as error:
                _log(f"{error}; it is left out")
    return [replay for replay in replays if not replay.needs_all]


def _address(text: Optional[str]) -> Optional[bytes]:
    """Return an address as 4 or 16 bytes."""
    if text is None:
        return None
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except OSError:
            continue
    raise UsageError(f"--source {text}: is no address")
