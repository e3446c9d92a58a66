# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's description; the tools' settings are in pyproject.toml.

PROJECT_URL in the environment is the address of the public repository, for whoever publishes
the package.  With it the README's links lead there; without it they would lead nowhere on an
index page, so only their words are kept.
"""

import os
import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
URL = os.environ.get("PROJECT_URL", "").rstrip("/")
VERSION = re.search(
    r'^__version__ = "([^"]+)"$', (HERE / "fail2ban_pflog/__init__.py").read_text(), re.MULTILINE
).group(1)


COMPILE = os.environ.get("FAIL2BAN_PFLOG_COMPILE") == "1"
CORE = (
    "pflog/savefile",
    "pflog/header",
    "pflog/packet",
    "policy/classify",
    "policy/history",
    "policy/lru",
    "pipeline",
    "wire/timestamps",
    "formatter",
)


def compiled():
    """Return what judges packets as machine code, by mypyc, where COMPILE asks for it.

    The modules themselves are installed beside it: where it cannot be loaded they do the work.
    """
    if not COMPILE or sys.argv[1:] == ["egg_info"]:  # which asks what has to be installed first
        return []
    from mypyc.build import mypycify

    return mypycify([f"fail2ban_pflog/{name}.py" for name in CORE], opt_level="2", multi_file=True)


def long_description():
    """Return the README, its relative links made absolute or made words."""
    link = rf"[\1]({URL}/blob/v{VERSION}/\2)" if URL else r"\1"
    return re.sub(r"\[([^]]+)\]\(([\w./-]+)\)", link, (HERE / "README.md").read_text())


def shared(folder, target):
    """Return data_files that install a folder's files below share/ of the environment."""
    return [
        (str(Path("share", target, parent.relative_to(HERE / folder))), files)
        for parent in sorted({path.parent for path in (HERE / folder).rglob("*") if path.is_file()})
        if parent.name != "__pycache__"
        if (files := sorted(str(p.relative_to(HERE)) for p in parent.iterdir() if p.is_file()))
    ]


def manual(section):
    """Return data_files for one section of the manual."""
    return (f"share/man/man{section}", sorted(map(str, Path("man").glob(f"*.{section}"))))


setup(
    name="fail2ban-pflog",
    version=VERSION,
    description="fail2ban reads the BSD packet filter's log (pflog) directly",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="The fail2ban-pflog contributors",
    license="GPL-2.0-or-later",
    url=URL or None,
    project_urls={"Changelog": f"{URL}/blob/main/CHANGELOG.md"} if URL else {},
    keywords=["fail2ban", "pf", "pflog", "packet filter", "firewall", "port scan", "BSD"],
    python_requires=">=3.9",
    packages=find_packages(include=["fail2ban_pflog", "fail2ban_pflog.*"]),
    package_data={
        "fail2ban_pflog": ["py.typed"],
        "fail2ban_pflog.backtest.report": ["page.css", "page.js"],
    },
    data_files=[
        *shared("completions/bash", "bash-completion/completions"),
        *shared("completions/zsh", "zsh/site-functions"),
        *shared("config", "fail2ban-pflog/config"),
        *shared("files", "fail2ban-pflog/files"),
        *map(manual, (1, 5, 8)),
    ],
    setup_requires=["mypy"] if COMPILE else [],
    ext_modules=compiled(),
    extras_require={
        # Interfaces and filter expressions; built from source on a BSD.  OpenBSD's compiler
        # refuses it: the system's package py3-pcapy is 1.0.9 with a patch.
        "live": ["pcapy-ng>=1.0.9; platform_system != 'OpenBSD'"],
        "backtest": ["matplotlib>=3.6", "zstandard; python_version < '3.14'"],
        "export": ["pyarrow>=15"],
        "test": ["check-jsonschema", "duckdb", "mypy", "pyarrow>=15", "pytest", "ruff", "shtab"],
    },
    entry_points={
        "console_scripts": [
            "fail2ban-pflog = fail2ban_pflog.cli:main",
            "fail2ban-pflogd = fail2ban_pflog.writer:main",
        ],
        # For a fail2ban that looks for backends there (docs/upstream.md); none does yet.
        "fail2ban.backends": ["pflog = fail2ban_pflog.backend:FilterPflog"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: System Administrators",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: BSD :: FreeBSD",
        "Operating System :: POSIX :: BSD :: OpenBSD",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Security",
        "Topic :: System :: Networking :: Firewalls",
        "Topic :: System :: Networking :: Monitoring",
        "Typing :: Typed",
    ],
)
