"""A run in a cluster as a feed: a thread that watches it, and a cancel that patches it."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from headway.client_errors import ClientError, NotFound, Unreachable

from headway_cli.connecting import parsed, problem_of
from headway_cli.following import Event, Gone, Seen, Trouble
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.selecting import missing

if TYPE_CHECKING:
    from headway.client import OperationsClient

_QUIET = 15.0
"""Seconds without an event after which the server is asked whether it is there."""

_ANSWERS_WITHIN = 5.0


class ClusterFeed:
    """Follows one operation of a cluster.

    Args:
        client: the connection.
        name: the operation.
        where: as it was asked for, for what an error says to do next.
    """

    local = False

    def __init__(self, client: OperationsClient, name: str, where: Where) -> None:
        self._client = client
        self._name = name
        self._where = where
        self._events: queue.SimpleQueue[Event | Problem] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._probing = False
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def next(self, timeout: float) -> Event | None:
        """The next event; see :class:`headway_cli.following.Feed`."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            self._ask_after_the_server()
            return None
        self._heard = time.monotonic()
        if isinstance(event, Problem):
            raise event
        return event

    def cancel(self, *, now: bool) -> None:
        """Set ``spec.cancel``; ``now`` leaves no grace period."""
        try:
            self._client.cancel(self._name, grace_seconds=0 if now else None)
        except ClientError as error:
            raise problem_of(error, self._where) from error

    def _ask_after_the_server(self) -> None:
        """See whether it is the server that is silent, where nothing has come for a while.

        A connection can die without a word, and the run must not be taken for silent then.
        """
        if self._probing or time.monotonic() - self._heard < _QUIET:
            return
        self._probing = True
        threading.Thread(target=self._probe, name="probe", daemon=True).start()

    def _probe(self) -> None:
        try:
            self._trouble(self._what_is_wrong())
        finally:
            self._probing = False

    def _what_is_wrong(self) -> str:
        try:
            self._client.api.request(
                "GET", "/version", doing="reach the cluster", read_timeout=_ANSWERS_WITHIN
            )
        except Unreachable as error:
            return error.message
        except ClientError:
            pass  # a refusal is an answer, too
        return ""

    def _watch(self) -> None:
        seen = False
        try:
            for raw in self._client.watch(self._name, on_trouble=self._trouble):
                seen = True
                self._events.put(Seen(parsed(raw)))
            self._events.put(Gone())
        except NotFound as error:
            gone = missing(self._client, self._name, error, self._where) if not seen else Gone()
            self._events.put(gone)
        except ClientError as error:
            self._events.put(problem_of(error, self._where))
        except Problem as problem:
            self._events.put(problem)
        except Exception as error:  # noqa: BLE001 - a thread's defect belongs to the command
            self._events.put(Problem(f"Watching {self._name} failed: {error!r}"))

    def _trouble(self, text: str) -> None:
        words = f"{self._client.api.server} does not answer; the run goes on, this view waits."
        self._events.put(Trouble(words if text else ""))
