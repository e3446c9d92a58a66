# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog setup``: put what fail2ban needs onto the host, and take it back.

    command      the command line; look, plan, and change the host step by step
    wanted       which files and links this host is to have, in the order they are made
    manifest     which of them were made here, by digest
    plan         wanted and manifest against the host: the steps, and what is left alone
    changes      one change: a temporary file and a rename

A file is ours while its digest is one that the manifest has.  What differs from that
the administrator changed: it is never written, and the new version goes beside it.
"""
