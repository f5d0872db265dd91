"""Whether this controller sees the cluster: silence proves nothing to somebody who cannot hear."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

BROKEN = 500
"""A server that answers with this or more does not serve."""


class View:
    """Since when requests and watches have worked without an interruption.

    Attributes:
        since: the moment, by the controller's clock.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.since = clock()

    def observe_request(self, _method: str, path: str, status: int, _seconds: float) -> None:
        """Take note of a request that failed (status 0: nobody answered).

        A log comes from a node. That one cannot be had says nothing about the API server.
        """
        if (not status or status >= BROKEN) and not path.endswith("/log"):
            self.broken()

    def broken(self) -> None:
        """Something was missed, up to now."""
        self.since = self._clock()
