# SPDX-License-Identifier: GPL-2.0-or-later
"""What is run in fail2ban's own interpreter; it prints JSON on the last line.

    package LOADER PATH   does the loader find the package, with pcapy and pf's filters?
    jails DIRECTORY       which jails does the configuration enable, in which order?

The text of this file is run by that interpreter; ours never imports it.  So nothing but
fail2ban itself has to be there, and it is fail2ban's own code that loads and reads.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import sys
from typing import Any

sys.dont_write_bytecode = True
logging.disable(logging.CRITICAL)


def package(loader: str, path: str) -> dict[str, Any]:
    """Load the backend as the server does; return what was loaded, or what is wrong."""
    spec = importlib.util.spec_from_file_location("pflog_backend", loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = dict(module.load(path))
    if "Idle because" in rows:
        return {"problem": rows["Idle because"]}
    import fail2ban_pflog
    from fail2ban_pflog.sources import bpf

    found = {"version": fail2ban_pflog.__version__, "file": fail2ban_pflog.__file__}
    try:
        pcapy = bpf.pcapy()
    except Exception as error:
        return {**found, "pcapy": "", "pcapy_problem": str(getattr(error, "reason", error))}
    found["pcapy"] = getattr(pcapy, "__file__", "built in")
    try:
        bpf.check("inbound and action block")
    except Exception as error:
        found["filter_problem"] = str(getattr(error, "reason", error))
    return found


def jails(directory: str) -> dict[str, Any]:
    """Read the configuration as the client does; return its jails in the server's order."""
    from fail2ban.client.jailsreader import JailsReader

    reader = JailsReader(basedir=directory)
    if not reader.read():
        return {"problem": f"no jails are configured in {directory}", "jails": []}
    reader.getOptions()
    found: dict[str, dict[str, Any]] = {}
    errors: list[str] = []
    for command in reader.convert(allow_no_files=True):
        if command[0] == "config-error":
            errors.append(command[1])
        elif command[0] == "add":
            found[command[1]] = added(reader, *command[1:])
        elif command[1] in found:
            note(found[command[1]], command[0], *command[2:])
    return {"jails": list(found.values()), "errors": errors}


def added(reader: Any, name: str, backend: str) -> dict[str, Any]:
    """Return what is known of a jail that the client adds."""
    from fail2ban.helpers import extractOptions

    with contextlib.suppress(Exception):  # the package may be what is missing
        from fail2ban_pflog.options import quoted

        backend = quoted(backend)
    jail = {"name": name, "backend": backend, "logpaths": [], "ignoreip": [], "actions": {}}
    for option in ("filter", "logpath"):
        jail[option] = ""
        with contextlib.suppress(Exception):
            jail[option] = reader.get(name, option)
    try:
        jail["options"] = dict(extractOptions(backend)[1] or {})
    except Exception as error:
        jail["options"], jail["options_problem"] = {}, str(error)
    return jail


def note(jail: dict[str, Any], verb: str, what: str = "", *values: Any) -> None:
    """Keep what one of the client's commands says about a jail."""
    if what == "addlogpath":
        jail["logpaths"].append(values[0])
    elif what == "addignoreip":
        jail["ignoreip"] += values
    elif what == "addaction":  # one in Python has its options as JSON
        jail["actions"][values[0]] = json.loads(values[2]) if len(values) > 2 else {}
    elif verb == "multi-set" and what == "action":
        jail["actions"][values[0]] = dict(values[1])


def main(question: str, *arguments: str) -> None:
    """Answer one question."""
    from fail2ban.version import version

    answer = {"fail2ban": version, "python": "{}.{}".format(*sys.version_info[:2])}
    try:
        answer.update(package(*arguments) if question == "package" else jails(*arguments))
    except BaseException as error:  # a broken configuration may raise anything
        answer["problem"] = f"{type(error).__name__}: {error}"
    print("\n" + json.dumps(answer))


main(*sys.argv[1:])
