# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures with labels: made by real programs (lab.py), made up (synthetic.py), and evaluated."""
