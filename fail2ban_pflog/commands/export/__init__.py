# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures as Parquet: ``fail2ban-pflog export``.

    command   the command line: what is new, on all cores, into the store
    exporter  one capture after the other: read, classified, written
    columns   packets -> Arrow columns
    parts     one capture -> files, one per day, under temporary names
    store     the directory: what is there, and how parts come into it, whole or not at all

pyarrow is imported by ``columns`` and ``parts`` alone, and that only once the command runs.
"""
