# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m fail2ban_pflog.writer``: the program where it is not installed."""

from . import main

raise SystemExit(main())
