# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads the backend ``pflog`` into fail2ban's server; bans nothing.

fail2ban has no plug-in point for backends, but it imports the Python actions of a jail
before it adds the next jail.  So the jail in jail.d/00-pflog-backend.conf names this
file, and every jail behind it may say ``backend = pflog[...]``.

fail2ban refuses its whole configuration, sshd's jail included, for one jail that it cannot
set up.  A jail with this backend must never be that one:

- Where the package cannot be imported, such jails get a stand-in that reads nothing and
  says what to do.
- Where fail2ban refuses one of their options while it starts or reloads (an expression, a
  date pattern, an encoding ...), that jail alone stays idle and says why.

Option ``path``: where the package is, for a fail2ban that runs outside of its virtual
environment: the environment's root or its site-packages directory; may be a pattern.
"""

import functools
import glob
import os
import re
import site
import sys
from difflib import get_close_matches

from fail2ban.helpers import getLogger
from fail2ban.server.action import ActionBase
from fail2ban.server.filter import FileFilter
from fail2ban.server.jail import Jail
from fail2ban.server.transmitter import Transmitter
from fail2ban.server.utils import Utils

logSys = getLogger("fail2ban.filterpflog")

VERSION = "{}.{}".format(*sys.version_info[:2])


class Action(ActionBase):
    """An action that does nothing: making it has loaded the backend."""

    def __init__(self, jail, name, /, path="", **unknown):
        super().__init__(jail, name)
        guard()
        rows = load(path)
        for option in unknown:
            rows.append(("Warning", f"option {option} of pflog-backend.py is unknown"))
            logSys.error("pflog-backend.py has no option %s; there is path", option)
        add_to_status(jail, rows)

    def start(self):
        """Do nothing."""

    def stop(self):
        """Do nothing."""

    def ban(self, aInfo):
        """Do nothing."""

    def unban(self, aInfo):
        """Do nothing."""


def load(path):
    """Register the backend or its stand-in; never raises.

    Returns rows for the status: what was loaded from where, or what is wrong.
    """
    problem = ""
    try:
        problem = add_path(path) if path else ""
        import fail2ban_pflog
        from fail2ban_pflog.backend import register

        where = os.path.dirname(fail2ban_pflog.__file__)
        rows = [("Backend", f"pflog {fail2ban_pflog.__version__}, Python {VERSION}, {where}")]
        # What the action pf-pflog calls, wherever the package is.
        command = f"env PYTHONPATH={os.path.dirname(where)} {sys.executable} -m fail2ban_pflog"
        os.environ["FAIL2BAN_PFLOG"] = command
        register()
    # KeyboardInterrupt, too: nothing of a package may end a server that guards sshd.
    except BaseException as error:
        if not problem:
            problem = (
                "Install it for the Python that fail2ban runs on, or name its virtual environment "
                "with path= in jail.d/00-pflog-backend.local: its `fail2ban-pflog setup` does that"
            )
        problem = (
            f"the Python package fail2ban_pflog cannot be loaded by fail2ban's Python {VERSION} "
            f"({sys.executable}): {error!r}. {problem}; then restart fail2ban"
        )
        logSys.error("Jails with backend = pflog stay idle, all others run: %s", problem)
        register_stand_in(problem)
        return [("Idle because", problem)]
    if problem:
        rows.append(("Warning", problem))
        logSys.warning("pflog-backend.py: %s", problem)
    return rows


def add_path(path):
    """Add a site-packages directory to Python's path; returns what is wrong with it, or "".

    A virtual environment that was made anew for another Python is found where it was.
    """
    path = os.path.expanduser(path)
    root = re.sub(r"/lib(64)?/python[\d.]+/site-packages/?$", "", path)
    ours = glob.glob(os.path.join(root, "lib*", f"python{VERSION}", "site-packages"))
    others = glob.glob(os.path.join(root, "lib*", "python*", "site-packages"))
    found = ours or others or glob.glob(path)
    if not found:
        return f"path={path} names a directory that does not exist"
    site.addsitedir(found[0])
    version = re.search(r"python([\d.]+)/site-packages/?$", found[0])
    if version and version.group(1) != VERSION:
        return (
            f"path={path} holds packages for Python {version.group(1)}, but fail2ban runs on "
            f"Python {VERSION}: install the package anew for this one, and run its "
            "`fail2ban-pflog setup`"
        )
    return ""


class StandIn(FileFilter):
    """A filter that keeps its jail up, reads nothing and shows in the status what is wrong."""

    problem = ""

    def addLogPath(self, path, tail=False, autoSeek=True):
        """Read nothing, raise nothing."""
        getattr(self, "_reload_logs", {}).pop(path, None)

    def stay_idle(self, problem):
        """Do nothing: it is idle anyway."""

    def run(self):
        """Wait for the end."""
        while self.active:
            Utils.wait_for(lambda: not self.active, self.sleeptime)
        return True

    def status(self, flavor="basic"):
        """Add what is wrong to the counters."""
        rows = super().status(flavor=flavor)
        return rows if flavor in ("stats", "short") else [*rows, ("Idle because", self.problem)]


def register_stand_in(problem):
    """Make ``backend = pflog`` a jail that reads nothing, instead of an error."""

    def init(jail, **options):
        jail._Jail__filter = StandIn(jail)
        jail.filter.problem = problem

    original = Jail._setBackend
    if hasattr(original, "is_pflog"):
        original = original.__wrapped__

    @functools.wraps(original)
    def set_backend(jail, backend):
        name = backend.partition("[")[0].lower()
        if "pflog" not in name and not get_close_matches(name, ["pflog"], cutoff=0.7):
            return original(jail, backend)
        jail._BACKENDS = ["pflog"]
        try:
            return original(jail, "pflog")
        finally:
            del jail._BACKENDS

    set_backend.is_pflog = True
    Jail._initPflog = init
    Jail._setBackend = set_backend


def guard():
    """Let a jail of ours that fail2ban cannot set up stay idle, instead of failing all.

    Only while the server takes its whole configuration, at a start or a reload: what an
    administrator asks for by a single command is answered with its error.
    """
    handler = "_Transmitter__commandHandler"
    original = getattr(Transmitter, handler, None)
    if original is None or hasattr(original, "is_pflog"):
        return

    @functools.wraps(original)
    def handle(transmitter, command):
        try:
            return original(transmitter, command)
        except Exception as error:
            stay_idle = idler(transmitter, command)
            if stay_idle is None:
                raise
            words = " ".join(str(word) for word in command if word is not command[1])
            stay_idle(f"fail2ban refused {words[:300]!r}: {error}")
            return None

    handle.is_pflog = True
    setattr(Transmitter, handler, handle)


def idler(transmitter, command):
    """Return what makes the jail idle that a failed command is for; None where it is not ours."""
    if not getattr(transmitter, "_Transmitter__quiet", 0) or len(command) < 2:
        return None
    if command[0] not in ("set", "multi-set", "start"):
        return None
    try:
        jails = transmitter._Transmitter__server._Server__jails
        return getattr(jails[command[1]].filter, "stay_idle", None)
    except Exception:
        return None


def add_to_status(jail, rows):
    """Show in ``fail2ban-client status`` of this jail what it loaded.

    And what failed at a reload, say half of an upgrade: what was loaded before goes on.
    """
    status = type(jail.filter).status

    def status_with_rows(flavor="basic"):
        answer = status(jail.filter, flavor=flavor)
        return answer if flavor in ("stats", "short") else [*answer, *rows, *capture()]

    def go_on(problem):
        logSys.error("pflog-backend.py, what was loaded before goes on: %s", problem)
        rows.append(("Warning", problem))

    jail.filter.status, jail.filter.stay_idle = status_with_rows, go_on


def capture():
    """Return a row for the status: what reads interfaces; none where that is not known."""
    if "fail2ban_pflog.backend" not in sys.modules:
        return []
    try:
        from fail2ban_pflog.sources.bpf import about

        return [("Capture", about())]
    except BaseException as error:
        logSys.debug("pcapy's version is not known: %r", error)
        return []
