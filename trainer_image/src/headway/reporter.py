"""The reporter: one background thread that carries a program's progress away, at its own pace.

The program only ever writes to a :class:`headway.progress_state.ProgressState`. Nothing that goes
wrong here, an outage, a slow server, a refusal, reaches it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any

from headway.delivery import Outcome, Sink
from headway.document import Document, Writer
from headway.pace import Pace

_log = logging.getLogger("headway")
_POLL = 1.0
_FIRST_RETRY = 0.5
_LONGEST_RETRY = 10.0
_CLOSING_RETRY = 0.25


class Reporter:
    """Delivers the latest progress, every epoch's end, and the final report.

    Args:
        writer: builds the documents.
        sink: takes them.
        pace: decides when; by default the pace of a trainer pod.
    """

    def __init__(self, writer: Writer, sink: Sink, pace: Pace | None = None) -> None:
        self._writer = writer
        self._sink = sink
        self._pace = pace or Pace(time.monotonic())
        self._wake = threading.Event()
        self._report: dict[str, Any] | None = None
        self._give_up: float | None = None
        self._sent = (0, 0)
        self._not_before = 0.0
        self._retry = _FIRST_RETRY
        self._plain = 0
        self._over = False
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
            self._wait(None)
            return False
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

    def _wait(self, seconds: float | None) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _deliver(self, now: float) -> None:
        state = self._writer.state
        seen = (state.changes, state.history_changes)
        report = self._report
        document = self._simplified(
            Document(
                progress=self._writer.progress(),
                history=state.history() if seen[1] != self._sent[1] else None,
                report=report,
            )
        )
        self._pace.wrote(now)
        delivery = self._sink.deliver(document)
        if delivery.outcome is Outcome.DELIVERED:
            self._sent = seen
            self._retry = _FIRST_RETRY
            if report is not None:
                self._report = None
        elif delivery.outcome is Outcome.OVER:
            self._over = True
        elif delivery.outcome is Outcome.INVALID:
            self._plain += 1
            if self._plain > _PLAINEST:
                self._over = True
        else:
            wait = _CLOSING_RETRY if self._give_up is not None else self._retry
            self._not_before = time.monotonic() + max(
                delivery.wait, wait * random.uniform(0.75, 1.25)
            )
            self._retry = min(self._retry * 2, _LONGEST_RETRY)

    def _simplified(self, document: Document) -> Document:
        """The document less what a server that refused it may have refused."""
        progress, report = dict(document.progress), document.report
        for key in _SUSPECTS[: self._plain]:
            progress.pop(key, None)
        if self._plain and report is not None:
            report = {k: v for k, v in report.items() if k not in ("summary", "artifacts")}
        return Document(progress, None if self._plain else document.history, report)


_SUSPECTS = ("context", "metrics", "nonFinite", "message", "etaSeconds")
_PLAINEST = len(_SUSPECTS)
