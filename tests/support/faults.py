# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that fails now and then: calls of ``os`` raise EIO or ESTALE, at random."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

CALLS = ("open", "pread", "stat", "fstat", "lseek", "listdir", "scandir")


class Faults:
    """Makes calls fail while it is active.

    Attributes:
        rate: How many of the calls fail, 0.0 to 1.0.
        count: How many did.
    """

    def __init__(self, dice: random.Random, rate: float) -> None:
        self.rate = rate
        self.count = 0
        self._dice = dice

    def fail(self) -> None:
        """Raise, or not."""
        if self._dice.random() < self.rate:
            self.count += 1
            number = errno.ESTALE if self._dice.random() < 0.02 else errno.EIO
            raise OSError(number, os.strerror(number))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let calls fail."""
        faults = self

        class Raw(io.FileIO):
            def readinto(self, buffer: Any) -> Any:
                faults.fail()
                return super().readinto(buffer)

        def failing(original: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                faults.fail()
                return original(*arguments, **options)

            return call

        calls = {name: failing(getattr(os, name)) for name in CALLS}
        with mock.patch.multiple(os, **calls), mock.patch.object(io, "FileIO", Raw):
            yield
