# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests; `make test` runs them."""
