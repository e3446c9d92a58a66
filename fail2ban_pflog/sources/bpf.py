# SPDX-License-Identifier: GPL-2.0-or-later
"""Packet filter expressions (pcap-filter), checked with libpcap's own words.

pcapy is imported late: what neither listens nor filters does not need it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

from ..errors import PflogError
from ..pflog.savefile import DLT_PFLOG

__all__ = ["about", "check", "failures", "frame_filter", "join", "pcapy"]

_INSTALL = "pip install --no-binary pcapy-ng pcapy-ng"

MAX_EXPRESSION = 4096
"""Letters of an expression: libpcap's time to compile one grows faster than its length."""

MAX_PROGRAMS = 64
"""Expressions that are kept compiled; each jail has one."""

_PROGRAMS: dict[str, Any] = {}

_PACKAGES = re.compile(r"(.+)/python[0-9.]+/site-packages")


def pcapy() -> Any:
    """Return the module pcapy.

    Raises:
        PflogError: It is missing (layer ``pcapy``); says how to install it.
    """
    try:
        return importlib.import_module("pcapy")
    except (Exception, SystemExit) as error:  # a library that is half there raises anything
        what = str(error) if isinstance(error, ImportError) else repr(error)
        reason = f"pcapy-ng cannot be imported ({what}); {_other_python()}{_remedy()}"
        raise PflogError("pcapy", 0, 0, reason) from None


def _other_python() -> str:
    """Say which other Python has pcapy-ng: after an upgrade it is the one before."""
    own = "python{}.{}".format(*sys.version_info[:2])
    roots = {match.group(1) for folder in sys.path if (match := _PACKAGES.match(folder))}
    for root in sorted(roots):
        for path in Path(root).glob("python[0-9].[0-9]*/site-packages/pcapy*"):
            if path.parts[-3] != own:
                return f"it is there for {path.parts[-3]}, but this is {own}; "
    return ""


def _remedy() -> str:
    """Say how to install pcapy: as the system's package, where one is known to do, or built."""
    system = sys.platform
    if system.startswith("openbsd"):  # pcapy-ng does not compile there
        return "install it: pkg_add py3-pcapy"
    package = ""
    if system.startswith("freebsd"):
        package = "pkg install py{}{}-pcapy-ng, or ".format(*sys.version_info[:2])
    elif Path("/etc/debian_version").exists():
        package = "apt-get install python3-pcapy, or "
    return f"install it: {package}{_INSTALL} (needs a C++ compiler and libpcap's headers)"


def failures() -> tuple[type[Exception], ...]:
    """Return what pcapy raises for a wrong expression; one of the two is no subclass of the other.

    Raises:
        PflogError: pcapy is missing.
    """
    module = pcapy()
    return tuple(
        getattr(module, name) for name in ("PcapError", "BPFError") if hasattr(module, name)
    )


def check(expression: str) -> None:
    """Check an expression against pflog's link type.

    Raises:
        PflogError: With libpcap's message (layer ``bpf``), or pcapy is missing.
    """
    frame_filter(expression)


def _compile(expression: str) -> Any:
    if len(expression) > MAX_EXPRESSION:
        reason = f"filter expression has {len(expression)} letters, more than {MAX_EXPRESSION}"
        raise PflogError("bpf", 0, 0, reason)
    if "\0" in expression:
        raise PflogError("bpf", 0, 0, "filter expression holds a NUL")
    module, wrong = pcapy(), failures()
    try:
        return module.BPFProgram(expression, DLT_PFLOG)
    except wrong as error:
        words: Exception = error  # which say nothing of what is wrong
    # A savefile without records: pcapy's own compile() reads freed memory on an error.
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, DLT_PFLOG))
        file.flush()
        try:
            module.open_offline(file.name).setfilter(expression)
        except wrong as error:
            words = error
    raise PflogError("bpf", 0, 0, explain(expression, words))


def explain(expression: str, error: Exception) -> str:
    """Say what is wrong with an expression and what to do."""
    if "pf support" in str(error):
        return f"{error}: this pcapy-ng was built without it; build it yourself: {_INSTALL}"
    return f"filter expression {expression!r}: {error} (see pcap-filter(7))"


def frame_filter(expression: str) -> Callable[[bytes], bool]:
    """Return a function that returns whether a frame matches the expression.

    It is compiled once in a process: OpenBSD's libpcap has registers for sixteen arithmetic
    operators, and gives none back.

    Raises:
        PflogError: As ``check`` does.
    """
    program = _PROGRAMS.get(expression)
    if program is None:
        while len(_PROGRAMS) >= MAX_PROGRAMS:
            del _PROGRAMS[next(iter(_PROGRAMS))]
        program = _PROGRAMS[expression] = _compile(expression)
    return lambda frame: bool(program.filter(frame))


def join(*expressions: str) -> str:
    """Return the expression that all of the given ones together make; "" where none is."""
    return " and ".join(f"({expression})" for expression in expressions if expression.strip())


def about() -> str:
    """Say which pcapy and which libpcap read the interface, and whether they know pf's words."""
    try:
        module = pcapy()
    except PflogError as error:
        return error.reason
    try:
        check("inbound and action block")
        knows = "filters pf's log"
    except PflogError as error:
        knows = error.reason
    return f"{_version()}, {_libpcap(module)}, {knows}"


def _version() -> str:
    for name in ("pcapy-ng", "pcapy"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "pcapy of unknown version"


def _libpcap(module: Any) -> str:
    """Ask the libpcap that pcapy is linked with; pcapy itself does not say."""
    try:
        import ctypes  # not every Python of a system has it

        ask = ctypes.CDLL(module.__file__).pcap_lib_version
    except (ImportError, MemoryError, OSError, AttributeError, TypeError):
        return "libpcap of unknown version"
    ask.restype = ctypes.c_char_p
    return str(ask().decode(errors="replace"))
