# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped action, made by fail2ban's own code, and a pfctl for it."""

from __future__ import annotations

import socketserver
import sys
import threading
from pathlib import Path
from typing import Any, Optional

from fail2ban.client.actionreader import ActionReader
from fail2ban.server.action import CommandAction

from tests.support.pf import Pf

CONFIG = Path(__file__).parents[2] / "config"


def make_action(name: str, jail: Optional[Any] = None, **options: str) -> Any:
    """Make an action of action.d, as for the jail `pflog`."""
    reader = ActionReader(name, "pflog", {"name": "pflog", **options}, basedir=str(CONFIG))
    reader.read()
    reader.getOptions({})
    made = CommandAction(jail, name)
    for option, value in reader.convert()[1][4]:
        setattr(made, option, value)
    return made


def info(ip: str) -> dict[str, str]:
    """What fail2ban passes for a source that is to be banned."""
    return {"ip": ip, "family": "inet6" if ":" in ip else "inet4"}


PFCTL = """#!{python} -IS
import sys, _socket
peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
peer.connect({path!r})
words = sys.argv[1:]
said = sys.stdin.read() if "-" in words else ""
peer.sendall("\\0".join([*words, said]).encode())
peer.shutdown(_socket.SHUT_WR)
answer = b""
while part := peer.recv(65536):
    answer += part
status, out, err = answer.decode().split("\\0")
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(int(status))
"""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        *words, said = self.rfile.read().decode().split("\0")
        answer = self.server.pf.pfctl(*words, stdin=said)  # type: ignore[attr-defined]
        self.wfile.write("\0".join([str(answer.status), answer.out, answer.err]).encode())


class PfServer(socketserver.UnixStreamServer):
    """A pf of this process with a program ``pfctl``, which starts quickly.

    Attributes:
        pf: it; a test may change it.
        program: the program's path.
    """

    def __init__(self, folder: Path, pf: Pf) -> None:
        self.pf = pf
        self.program = folder / "pfctl"
        path = f"{folder}/s"
        self.program.write_text(PFCTL.format(python=sys.executable, path=path))
        self.program.chmod(0o755)
        super().__init__(path, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self._thread.join()
