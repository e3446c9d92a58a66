# SPDX-License-Identifier: GPL-2.0-or-later
"""Which packets count: kinds of packets, what a source does over time, deduplication.

Pure.  Imports ``pflog`` and ``errors``.
"""
