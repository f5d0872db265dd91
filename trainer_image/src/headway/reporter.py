"""The reporter: one background thread that carries a program's progress away, at its own pace.

The program only ever writes to a :class:`headway.progress_state.ProgressState`. Nothing that goes
wrong here, an outage, a slow server, a refusal, reaches it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from headway.delivery import Outcome, Sink
from headway.document import Document, Writer, fitted
from headway.pace import Pace

_log = logging.getLogger("headway")
_POLL = 1.0
_FIRST_RETRY = 0.5
_LONGEST_RETRY = 10.0
_LONGEST_WAIT = 60.0
"""Most seconds that a server's wish to wait is heeded."""
_CLOSING_RETRY = 0.25
_CLOSING_WAIT = 1.0
"""Most seconds that the last words heed a server's wish to wait."""
_ENDS_WITHIN = 30.0
"""Seconds that a program has to end once another attempt has taken over, or its run is gone."""


class Reporter:
    """Delivers the latest progress, every epoch's end, and the final report.

    Args:
        writer: builds the documents.
        sink: takes them.
        pace: decides when; by default the pace of a trainer pod.
        prepare: called before the first delivery, and again until it returns True.
        overdue: called where the program still runs half a minute after nothing more is wanted
            from it.
    """

    def __init__(
        self,
        writer: Writer,
        sink: Sink,
        pace: Pace | None = None,
        prepare: Callable[[], bool] | None = None,
        overdue: Callable[[], None] | None = None,
    ) -> None:
        self._prepare = prepare
        self._overdue = overdue
        self._writer = writer
        self._sink = sink
        self._pace = pace or Pace(time.monotonic())
        self._wake = threading.Event()
        self._report: dict[str, Any] | None = None
        self._give_up: float | None = None
        self._sent = (0, 0, 0)
        self._not_before = 0.0
        self._retry = _FIRST_RETRY
        self._plain = 0
        self._over = False
        self._ends_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="headway-reporter", daemon=True)
        writer.state.on_wake(self._wake.set)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def close(self, report: dict[str, Any], timeout: float) -> bool:
        """Deliver the final report and end.

        Args:
            report: how the work ended.
            timeout: most seconds to wait for it to be delivered.

        Returns:
            Whether it was delivered.
        """
        self._report = report
        self._give_up = time.monotonic() + timeout
        self._not_before = min(self._not_before, time.monotonic() + _CLOSING_RETRY)
        self._wake.set()
        self._thread.join(timeout + 1.0)
        return self._report is None

    def _run(self) -> None:
        while True:
            try:
                if self._step():
                    break
            except Exception:  # noqa: BLE001 - a defect of ours must not reach the program
                _log.exception("headway: the reporter failed, and goes on")
                if self._give_up is not None:
                    self._deliver_bare()
                    break
                self._not_before = time.monotonic() + _LONGEST_RETRY
        self._sink.close()

    def _step(self) -> bool:
        """Wait until something is due and deliver it; returns whether all is done."""
        now = time.monotonic()
        closing = self._give_up is not None
        if closing and (self._over or self._report is None or now > (self._give_up or now)):
            return True
        if self._over:
            return self._wait_for_the_end(now)
        state = self._writer.state
        progress = state.changes != self._sent[0]
        urgent = state.history_changes != self._sent[1]
        due = max(self._pace.due(progress=progress, urgent=urgent, final=closing), self._not_before)
        if now >= due:
            self._deliver(now)
            return False
        # Progress does not wake this thread, which would cost the program: look now and then.
        self._wait(due - now if progress or urgent else min(due - now, _POLL))
        return False

    def _wait_for_the_end(self, now: float) -> bool:
        self._ends_by = self._ends_by or now + _ENDS_WITHIN
        if now < self._ends_by:
            self._wait(self._ends_by - now)
        elif self._overdue is None:
            self._wait(None)
        elif self._give_up is None:
            self._overdue()
        return False

    def _wait(self, seconds: float | None) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _deliver(self, now: float) -> None:
        if self._prepare is not None and not self._prepare():
            self._try_again(0.0)
            return
        self._prepare = None
        state = self._writer.state
        seen = (state.changes, state.history_changes, state.checkpoint_changes)
        report = self._report
        if report is None and seen[2] != self._sent[2]:
            report = self._writer.report()
        document = Document(
            progress=self._writer.progress(),
            history=state.history() if seen[1] != self._sent[1] else None,
            report=report,
        )
        document = self._simplified(fitted(document, state))
        self._pace.wrote(now)
        delivery = self._sink.deliver(document)
        if delivery.outcome is Outcome.DELIVERED:
            self._delivered(seen, document)
        elif delivery.outcome is Outcome.OVER:
            self._over = True
        elif delivery.outcome is Outcome.INVALID:
            self._refused(seen, document)
        else:
            if delivery.held is not None:
                self._writer.sequence = delivery.held
            self._try_again(delivery.wait)

    def _delivered(self, seen: tuple[int, int, int], document: Document) -> None:
        # A history that was left out still waits, unless it was what the server refused.
        told = document.history is not None or self._plain <= 1
        self._sent = (seen[0], seen[1] if told else self._sent[1], seen[2])
        self._plain = 0
        self._retry = _FIRST_RETRY
        if document.report is not None and "status" in document.report:
            self._report = None

    def _refused(self, seen: tuple[int, int, int], document: Document) -> None:
        simplest = document.history is None and document.report is None
        self._plain = max(self._plain + 1, 2 if simplest else 1)
        if self._plain <= _PLAINEST:
            return
        # Not even the plainest is taken: this progress is given up, not the ones to come.
        if self._give_up is not None:
            self._over = True
        self._plain, self._sent = 0, seen

    def _try_again(self, wait: float) -> None:
        closing = self._give_up is not None
        pause, most = (_CLOSING_RETRY, _CLOSING_WAIT) if closing else (self._retry, _LONGEST_WAIT)
        self._not_before = time.monotonic() + max(
            min(wait, most), pause * random.uniform(0.75, 1.25)
        )
        self._retry = min(self._retry * 2, _LONGEST_RETRY)

    def _deliver_bare(self) -> None:
        """The last try to say how it ended, when saying more has failed."""
        try:
            self._sink.deliver(Document(self._writer.bare(), None, self._report))
        except Exception:  # noqa: BLE001 - the program ends now, whatever happens here
            _log.exception("headway: the final report is lost")

    def _simplified(self, document: Document) -> Document:
        """The document less what a server that refused it may have refused."""
        if not self._plain:
            return document
        progress, report = dict(document.progress), document.report
        for key in _SUSPECTS[: self._plain - 1]:
            progress.pop(key, None)
        if report is not None:
            kept = ("attempt", "status") if self._plain == _PLAINEST else _ESSENTIAL
            report = {k: v for k, v in report.items() if k in kept}
        return Document(progress, None, report)


_SUSPECTS = ("context", "metrics", "nonFinite", "message", "etaSeconds", "step", "totalSteps")
_PLAINEST = len(_SUSPECTS) + 1
_ESSENTIAL = (
    "attempt",
    "status",
    "epochsCompleted",
    "batchesCompleted",
    "iterationsCompleted",
    "cancelAcknowledgedAt",
    "stopReason",
    "checkpoint",
)
