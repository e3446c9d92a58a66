# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures as Parquet: ``fail2ban-pflog export``.

    columns   packets -> Arrow columns
    parts     one capture -> files, one per day, under temporary names
    store     the directory: what is there, and how parts come into it, whole or not at all
    crew      captures over all cores
    command   the command line

pyarrow is imported by ``columns`` and ``parts`` alone, and that only once the command runs.
"""
