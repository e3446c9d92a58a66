"""Loads the backend ``pflog`` into fail2ban's server; bans nothing.

fail2ban has no plug-in point for backends, but it imports the Python actions of a jail
before it adds the next jail.  So the jail in jail.d/00-pflog-backend.conf names this
file, and every jail behind it may say ``backend = pflog[...]``.

Where the package cannot be imported, this file itself gives such jails a stand-in that
reads nothing and says what to do: an unknown backend would make the server refuse its
whole configuration, sshd's jail included.

Option ``path``: the site-packages folder of a virtual environment that the package is
installed in, for a fail2ban that runs outside of it.
"""

import functools
import re
import site
import sys

from fail2ban.helpers import getLogger
from fail2ban.server.action import ActionBase
from fail2ban.server.filter import FileFilter
from fail2ban.server.jail import Jail
from fail2ban.server.utils import Utils

logSys = getLogger("fail2ban.filterpflog")


class Action(ActionBase):
    """An action that does nothing: making it has loaded the backend."""

    def __init__(self, jail, name, path=""):
        super().__init__(jail, name)
        load(path)

    def start(self):
        """Do nothing."""

    def stop(self):
        """Do nothing."""

    def ban(self, aInfo):
        """Do nothing."""

    def unban(self, aInfo):
        """Do nothing."""


def load(path):
    """Register the backend or its stand-in; never raises."""
    try:
        if path:
            site.addsitedir(path)
        from fail2ban_pflog.backend import register

        register()
    except (Exception, SystemExit) as error:
        problem = (
            f"the Python package fail2ban_pflog cannot be loaded ({error!r}). Install it for the "
            f"Python that fail2ban runs on ({sys.executable}, {sys.version.split()[0]}), or name "
            "the site-packages folder that it is in with path= in jail.d/00-pflog-backend.conf; "
            "then restart fail2ban"
        )
        logSys.error("Jails with backend = pflog stay idle, all others run: %s", problem)
        register_stand_in(problem)


def register_stand_in(problem):
    """Make ``backend = pflog`` a jail that reads nothing, instead of an error."""

    class FilterPflog(FileFilter):
        """Keeps the jail up and tells in its status what is wrong."""

        def addLogPath(self, path, tail=False, autoSeek=True):
            """Read nothing, raise nothing."""
            getattr(self, "_reload_logs", {}).pop(path, None)

        def run(self):
            """Wait for the end."""
            while self.active:
                Utils.wait_for(lambda: not self.active, self.sleeptime)
            return True

        def status(self, flavor="basic"):
            """Add what is wrong to the counters."""
            rows = super().status(flavor=flavor)
            if flavor not in ("stats", "short"):
                rows.append(("Idle because", problem))
            return rows

    def init(jail, **options):
        jail._Jail__filter = FilterPflog(jail)

    original = Jail._setBackend
    if hasattr(original, "is_pflog"):
        original = original.__wrapped__

    @functools.wraps(original)
    def set_backend(jail, backend):
        if not re.match(r"\W*pflog(?!\w)", backend, re.IGNORECASE):
            original(jail, backend)
            return
        jail._BACKENDS = ["pflog"]
        try:
            original(jail, "pflog")
        finally:
            del jail._BACKENDS

    set_backend.is_pflog = True
    Jail._initPflog = init
    Jail._setBackend = set_backend
