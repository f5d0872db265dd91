"""Whether this controller sees the cluster: silence proves nothing to somebody who cannot hear."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

BROKEN = 500
"""A server that answers with this or more does not serve."""
A_JUMP = 5.0
"""Seconds by which the clock may run ahead of the time that really passed between two looks."""


class View:
    """Since when requests and watches have worked without an interruption."""

    def __init__(
        self, clock: Callable[[], datetime], passed: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to see.

        Args:
            clock: the controller's.
            passed: seconds that pass while this process may run, since whenever.
        """
        self._clock = clock
        self._passed = passed
        self._since = clock()
        self._ahead = self._since.timestamp() - passed()

    @property
    def since(self) -> datetime:
        """The moment, by the controller's clock.

        A machine that slept did not see either, and a clock that was put forward counts what never
        was.
        """
        ahead = self._clock().timestamp() - self._passed()
        if ahead - self._ahead > A_JUMP:
            self.broken()
        self._ahead = ahead
        return self._since

    def observe_request(self, _method: str, path: str, status: int, _seconds: float) -> None:
        """Take note of a request that failed (status 0: nobody answered).

        A log comes from a node. That one cannot be had says nothing about the API server.
        """
        if (not status or status >= BROKEN) and not path.endswith("/log"):
            self.broken()

    def broken(self) -> None:
        """Something was missed, up to now."""
        self._since = self._clock()
