"""Waiting for a condition, with a deadline and a useful failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


SOON, SELDOM = 0.05, 0.5
"""Seconds between two looks, at first and at last."""


def eventually(probe: Callable[[], T], *, within: float, why: str, every: float | None = None) -> T:
    """The first truthy value of ``probe``.

    Args:
        probe: called again and again; an exception counts as "not yet".
        within: deadline in seconds.
        why: what is waited for; the failure says it, with what was seen last.
        every: seconds between two calls; if not given, more and more, by how long it takes.
    """
    began = time.monotonic()
    deadline = began + within
    seen: object = None
    while time.monotonic() < deadline:
        try:
            value = probe()
        except Exception as error:
            seen = error
        else:
            if value:
                return value
            seen = value
        waited = time.monotonic() - began
        time.sleep(every or min(SELDOM, max(SOON, waited / 20)))
    raise AssertionError(f"not within {within:g} s: {why}; seen last: {seen!r}")
