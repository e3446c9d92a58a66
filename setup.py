# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's description; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"$', (HERE / "fail2ban_pflog/__init__.py").read_text(), re.MULTILINE
).group(1)


def shared(folder, target):
    """Return data_files that install a folder's files below share/ of the environment."""
    return [
        (str(Path("share", target, parent.relative_to(HERE / folder))), files)
        for parent in sorted({path.parent for path in (HERE / folder).rglob("*") if path.is_file()})
        if (files := sorted(str(p.relative_to(HERE)) for p in parent.iterdir() if p.is_file()))
    ]


def manual(section):
    """Return data_files for one section of the manual."""
    return (f"share/man/man{section}", sorted(map(str, Path("man").glob(f"*.{section}"))))


setup(
    name="fail2ban-pflog",
    version=VERSION,
    description="fail2ban reads the BSD packet filter's log (pflog) directly",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="GPL-2.0-or-later",
    python_requires=">=3.9",
    packages=find_packages(include=["fail2ban_pflog", "fail2ban_pflog.*"]),
    package_data={"fail2ban_pflog": ["py.typed"]},
    data_files=[
        *shared("config", "fail2ban-pflog/config"),
        *shared("files", "fail2ban-pflog/files"),
        *map(manual, (1, 5, 8)),
    ],
    install_requires=["pcapy-ng>=2.1"],
    extras_require={
        "backtest": ["matplotlib", "rich", "zstandard; python_version < '3.14'"],
        "test": ["mypy", "pytest", "ruff"],
    },
    entry_points={
        "console_scripts": [
            "fail2ban-pflog = fail2ban_pflog.cli:main",
            "fail2ban-pflogd = fail2ban_pflog.asciilog:main",
        ],
        # For a fail2ban that looks for backends there (docs/upstream.md); none does yet.
        "fail2ban.backends": ["pflog = fail2ban_pflog.backend:FilterPflog"],
    },
    classifiers=[
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: BSD",
        "Programming Language :: Python :: 3",
        "Topic :: System :: Networking :: Firewalls",
    ],
)
