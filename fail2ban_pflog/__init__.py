# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban reads the BSD packet filter's log."""

__version__ = "0.1.0"
