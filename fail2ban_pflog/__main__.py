# SPDX-License-Identifier: GPL-2.0-or-later
"""``python3 -m fail2ban_pflog``: the command line where it is not installed."""

from .cli import main

raise SystemExit(main())
