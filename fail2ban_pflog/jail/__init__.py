# SPDX-License-Identifier: GPL-2.0-or-later
"""One jail inside fail2ban: its inputs, positions, failures, actions and self-checks.

Imports fail2ban, ``sources``, ``pipeline`` and what is below; ``backend`` is its only caller.
"""
