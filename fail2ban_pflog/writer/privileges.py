# SPDX-License-Identifier: GPL-2.0-or-later
"""What the worker gives up before it looks at a packet: descriptors and root's rights.

It is a fork, so it has all that its monitor had open; a worker that was taken over could
use a descriptor of root's as well as root's rights.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import Any, Optional

__all__ = ["become", "keep_only", "open_standard"]

MAX_DESCRIPTOR = 1 << 16
"""Up to here descriptors are closed; a system's own limit may be a thousand million."""

_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_PROC_NO_NEW_PRIVS_CTL = 19  # FreeBSD's sys/procctl.h, 13.1 and newer
_P_PID = 0


def open_standard() -> None:
    """Open those of descriptors 0, 1, 2 that are closed; else a log would become one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def keep_only(*kept: int, standard_input: bool) -> None:
    """Close all descriptors but some.

    Args:
        kept: descriptors that stay open, as standard error does.
        standard_input: whether that stays open as well.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1,) if standard_input else (0, 1):
        os.dup2(null, descriptor)
    last = 2
    for descriptor in sorted(kept):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, MAX_DESCRIPTOR)


def become(user: Optional[pwd.struct_passwd]) -> None:
    """Become an unprivileged user for good; from then on no program gives us rights.

    Args:
        user: None to stay the user that we are.

    Raises:
        RuntimeError: root's rights could not be given up.
    """
    _refuse_new_privileges()
    if user is None or os.getuid() == user.pw_uid:
        return
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    with contextlib.suppress(OSError):
        os.setuid(0)
        raise RuntimeError("privileges could not be given up")


def _refuse_new_privileges() -> None:
    """Let set-user-id programs have no effect, where the system knows that: Linux, FreeBSD."""
    try:
        import ctypes  # some builds of Python lack it
    except ImportError:
        return
    library: Any = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    elif hasattr(library, "procctl"):  # an older kernel answers with an error
        enable = ctypes.c_int(1)
        library.procctl(
            _P_PID, ctypes.c_int64(os.getpid()), _PROC_NO_NEW_PRIVS_CTL, ctypes.byref(enable)
        )
