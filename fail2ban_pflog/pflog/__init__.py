# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes to values: savefiles, pflog headers, packets.

Pure: no I/O, no clock, no state but caches.  Imports nothing of the package but ``errors``.
"""
