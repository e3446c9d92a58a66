# SPDX-License-Identifier: GPL-2.0-or-later
"""fail2ban's own test of filters, run on our filter and the samples in files/logs/pflog."""

from __future__ import annotations

import json
import re
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .support.filters import CONFIG

ZURICH = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Where fail2ban's samples live, without asking for the system's time zone files."""

FILES = Path(__file__).parent / "files"

samples = pytest.importorskip(
    "fail2ban.tests.samplestestcase", reason="this fail2ban was installed without its tests"
)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make fail2ban's test case for a filter of ours."""
    monkeypatch.setattr(samples, "TEST_FILES_DIR", str(FILES))
    monkeypatch.setattr(unittest, "F2B", SimpleNamespace(share_config={}), raising=False)
    monkeypatch.setenv("TZ", ZURICH)
    time.tzset()
    case = samples.FilterSamplesRegex("testFiltersPresent")
    case._filters, case._filterTests = {}, None  # as its setUp does, without its runner's
    samples.setUpMyTime()
    yield lambda name: samples.testSampleRegexsFactory(name, str(CONFIG))(case)
    samples.tearDownMyTime()
    monkeypatch.undo()
    time.tzset()


def test_fail2bans_sample_regex_test_passes(factory: Any) -> None:
    """Every sample matches, or does not, as it says; every expression has one, in every mode."""
    factory("pflog")


def test_every_expression_has_a_hostile_sample() -> None:
    """The samples hold lines that must not match, some of them made to deceive."""
    text = (FILES / "logs" / "pflog").read_text()
    found = [json.loads(sample) for sample in re.findall(r"# failJSON: (.*)", text)]
    refused = [sample["desc"] for sample in found if not sample["match"]]
    assert len([desc for desc in refused if desc.startswith("hostile")]) >= 10
