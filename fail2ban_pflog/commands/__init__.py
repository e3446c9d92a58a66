# SPDX-License-Identifier: GPL-2.0-or-later
"""The sub-commands of ``fail2ban-pflog``: print, export, setup, check.

Each module offers ``add_command(commands)``.  Imports everything below, and no fail2ban.
"""
