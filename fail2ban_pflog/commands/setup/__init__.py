# SPDX-License-Identifier: GPL-2.0-or-later
"""``fail2ban-pflog setup``: put what fail2ban needs onto the host, and take it back.

    command      the command line
    work         what it does, step by step
    wanted       which files and links this host is to have
    manifest     which of them were made here, by digest
    plan         wanted and manifest against the host: what is to be done, and what is let be
    changes      all of it is done, or nothing

A file is ours while its digest is one that the manifest tells.  What differs from that
the administrator changed: it is never written, and the new version goes beside it.
"""
