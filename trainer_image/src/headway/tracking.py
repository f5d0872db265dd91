"""One tracked piece of work, wherever it runs: its progress, its token, its report.

In a trainer pod there is one operation, so everything there shares one run: what is opened while a
run is open joins it. On a laptop every operation is a run of its own, shown on the terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from headway_api import environment
from headway_api.vocabulary import ReportStatus

from headway.api_sink import ApiSink, sequence_of
from headway.cancellation import CancellationToken, Stopped, StopReason
from headway.checkpointing import Checkpoints
from headway.delivery import Sink
from headway.document import Writer, report_of, termination_message
from headway.identity import PodIdentity
from headway.local_sinks import FileSink, SilentSink, TerminalSink
from headway.operation_watch import OperationWatch
from headway.pace import Pace
from headway.progress_state import ProgressState
from headway.rendering import ProgressRenderer
from headway.reporter import Reporter
from headway.transport import Transport

INTERRUPTED_CODE = 143
"""Exit code of a trainer that was ended by a SIGTERM nobody announced: 128 + SIGTERM."""
_FIRST_READ_WITHIN = 3.0
_WHY_WITHIN = 1.0
"""Seconds that a SIGTERM waits for the reason why."""
_WHY_AT_MOST = 10.0
"""The same with room for a connection that cannot be made."""
_DELIVER_WITHIN = 15.0
_DELIVER_IN_HASTE = 3.0
_SCREEN_INTERVAL = 0.1
_FILE_INTERVAL = 0.2
_CUT_SHORT = (ReportStatus.CANCELLED, ReportStatus.INTERRUPTED)
_NOT_OURS = (StopReason.INTERRUPTED, StopReason.DELETED, StopReason.FENCED)
"""Reasons after which the process must not go on as if it had been cancelled politely."""


def workspace() -> Path:
    """The folder for data, models and checkpoints: the workspace volume in a pod.

    On a laptop it is ``headway-workspace`` in the current folder, or what ``HEADWAY_WORKSPACE``
    says. It is made if it is missing.
    """
    folder = Path(os.environ.get(environment.WORKSPACE) or "headway-workspace").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Run:
    """One run: opened once, finished once.

    Attributes:
        state: what the program says of its progress.
        token: whether it should stop.
    """

    def __init__(self, renderer: ProgressRenderer, identity: PodIdentity | None) -> None:
        """Take the renderer and, in a trainer pod, whom it works for; nothing is sent yet."""
        self.state = ProgressState()
        self.token = CancellationToken()
        self._acknowledged: float | None = None
        self.renderer = renderer
        self._identity = identity
        self._writer = Writer(self.state, self._render)
        self._found: dict[str, Any] = {}
        self._watch: OperationWatch | None = None
        self._checkpoints: Checkpoints | None = None
        self._signals: dict[int, Any] = {}
        self._reporter: Reporter
        self._process = os.getpid()
        self._terminated = False
        self._finished: ReportStatus | None = None

    @property
    def in_pod(self) -> bool:
        """Whether this is a trainer pod."""
        return self._identity is not None

    def begin(self) -> None:
        """Start to report and to listen for a stop.

        In a pod the operation is read once first, so that a run that is cancelled already can be
        told before any of its code runs; an API server that does not answer is waited for a few
        seconds at most.
        """
        self._catch_signals()
        if self._identity is not None:
            self._begin_in_pod(self._identity)
        else:
            sink, pace = self._local_sink()
            self._reporter = Reporter(self._writer, sink, pace)
        self._reporter.start()

    def _begin_in_pod(self, identity: PodIdentity) -> None:
        self._writer.attempt = identity.attempt
        sink = ApiSink(identity, Transport(identity.server, identity.service_account), self.token)
        known = sink.read(_FIRST_READ_WITHIN)
        learned = self._learn(known)
        self._reporter = Reporter(
            self._writer,
            sink if identity.reports else SilentSink(lambda: sink.is_over),
            prepare=None if learned else lambda: self._learn(sink.read()),
            overdue=self._end_the_process,
        )
        if not self.token.asked:
            listening = Transport(identity.server, identity.service_account)
            self._watch = OperationWatch(identity, listening, sink, self.token)
            self._watch.start(known)

    def _end_the_process(self) -> None:
        """A program that does not look at its token must not go on beside the next attempt."""
        why = self.token.reason or StopReason.FENCED
        sys.stderr.write(f"headway: this attempt is over ({why}), and so is this process\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED_CODE)

    def _learn(self, known: Mapping[str, Any] | None) -> bool:
        """Go on from what the server holds; returns whether it is known."""
        if known is None:
            return self.token.asked
        status = known.get("status") or {}
        self._writer.sequence = sequence_of(known)
        self.state.resume_history(list(status.get("history") or ()))
        report = status.get("report") or {}
        if report.get("attempt") == self._writer.attempt and self.state.checkpoint is None:
            # An earlier pod of this very attempt said how it ended; that is not how this one does.
            self.state.note_checkpoint(report.get("checkpoint"))
        return True

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this run."""
        if self._checkpoints is None:
            self._checkpoints = Checkpoints.of_this_process(self._identity, workspace, self.state)
        return self._checkpoints

    def _render(self, context: Mapping[str, Any]) -> str:
        return self.renderer.render_progress_message(context)

    def contribute(self, result: Mapping[str, Any]) -> None:
        """Add to the result, from an operation that is part of this run."""
        artifacts = [*self._found.get("artifacts", ()), *result.get("artifacts", ())]
        self._found.update(result)
        if artifacts:
            self._found["artifacts"] = artifacts

    @staticmethod
    def _local_sink() -> tuple[Sink, Pace]:
        now = time.monotonic()
        if file := os.environ.get(environment.PROGRESS_FILE):
            return FileSink(Path(file)), Pace(now, fast=_FILE_INTERVAL, slow=_FILE_INTERVAL)
        screen = TerminalSink(sys.stderr)
        if screen.is_live:
            return screen, Pace(now, fast=_SCREEN_INTERVAL, slow=_SCREEN_INTERVAL)
        return screen, Pace(now)

    def acknowledge(self) -> None:
        """Note that the program acts on a stop."""
        if self._acknowledged is None:
            self._acknowledged = time.time()

    @property
    def acknowledged(self) -> float | None:
        """When the program first acted on a stop, in seconds since the epoch; None before."""
        return self._acknowledged if self._acknowledged is not None else self.token.noticed

    def ended_by(self, error: BaseException | None) -> ReportStatus:
        """How the program's work ended, by what left it; None where it came to its end.

        ``sys.exit(0)`` is an end, too. After a SIGTERM that is acting on it, such as a handler of
        the program's own does; why the signal came may not be known yet, and is waited for.
        """
        if isinstance(error, (Stopped, KeyboardInterrupt)):
            return ReportStatus.CANCELLED
        if isinstance(error, SystemExit) and not error.code:
            self._learn_why()
        elif error is not None:
            return ReportStatus.FAILED
        return ReportStatus.SUCCESS if self.acknowledged is None else ReportStatus.CANCELLED

    def give_up(self) -> None:
        """Stop the work that its caller no longer waits for: in a thread, it would go on."""
        self._learn_why()
        self.token.cancel()

    def _learn_why(self) -> None:
        """After a SIGTERM, wait until it is known why it came."""
        if self._terminated:
            self.token.wait(_WHY_AT_MOST)

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened it, and no forked child of that."""
        return os.getpid() == self._process

    @property
    def must_exit(self) -> bool:
        """Whether the process should end with :data:`INTERRUPTED_CODE`, now that it is finished.

        What was cut short by an eviction, or goes on elsewhere, must not look like a success.
        """
        return self.in_pod and self._finished in _CUT_SHORT and self.token.reason in _NOT_OURS

    def finish(
        self,
        status: ReportStatus,
        result: Mapping[str, Any] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Report how it ended: to the API server, or on the terminal. Never raises.

        Args:
            status: how the work ended; a cancel that was none becomes ``interrupted``.
            result: what the work returned.
            error: what ended it.
        """
        if self._finished is not None or not self.is_here:
            return  # a forked child leaves its parent's ``with``, too: that ends nothing
        if status is ReportStatus.CANCELLED:
            self.acknowledge()
            if self.token.reason is StopReason.INTERRUPTED:
                status = ReportStatus.INTERRUPTED
        self._finished = status
        report = report_of(
            status,
            attempt=self._writer.attempt,
            result={**self._found, **(result or {})},
            error=error,
            acknowledged=self.acknowledged,
            stop_reason=self.token.reason if self.acknowledged is not None else None,
            checkpoint=self.state.checkpoint,
        )
        if self._identity is not None:
            _leave(self._identity.termination_message, termination_message(report))
        hurry = self.token.reason in _NOT_OURS
        self._reporter.close(report, _DELIVER_IN_HASTE if hurry else _DELIVER_WITHIN)
        if self._watch is not None:
            self._watch.close()
        self._release_signals()

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if self.in_pod:
            self._catch(signal.SIGTERM, self._on_terminate)
        elif signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            if not _interruptible:
                _caught[signal.SIGINT] = signal.signal(signal.SIGINT, _on_interrupt)
            _interruptible.append(self)

    def _catch(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._signals[number] = _caught[number] = signal.signal(number, handler)

    def _release_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, earlier in self._signals.items():
                _give_back(number, earlier)
                _caught.pop(number, None)
            if self in _interruptible:
                _interruptible.remove(self)
                if not _interruptible:
                    _give_back(signal.SIGINT, _caught.pop(signal.SIGINT, None))
        self._signals.clear()

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        if not self.is_here:
            _again(number)
            return
        self._terminated = True
        threading.Thread(target=self._stop_as_asked, name="headway-sigterm", daemon=True).start()
        earlier = self._signals.get(number)
        if callable(earlier):
            earlier(number, frame)

    def follow_the_others(self) -> None:
        """Stop because another worker does, for the reason that the operation gives.

        Where it gives none, that worker is interrupted, and so is this attempt.
        """
        if self.in_pod:
            self._stop_as_asked()
        self.token.cancel()

    def _stop_as_asked(self) -> None:
        """Stop for what the operation says, and where it says nothing, because of the signal."""
        identity = self._identity
        if identity is not None and not self.token.asked:
            transport = Transport(identity.server, identity.service_account)
            ApiSink(identity, transport, self.token).read(_WHY_WITHIN)
            transport.close()
        self.token.cancel(StopReason.INTERRUPTED)


def _on_interrupt(number: int, _: FrameType | None) -> None:
    """Ctrl-C: all that runs here is to stop, one operation within another, too."""
    if not all(run.is_here for run in _interruptible):
        _again(number)
        return
    for run in _interruptible:
        run.token.cancel(StopReason.CANCELLED)
    if sys.stderr.isatty():  # elsewhere nobody pressed a key
        sys.stderr.write("\nstopping at the next check; Ctrl-C again ends it at once\n")
    signal.signal(number, signal.default_int_handler)


_caught: dict[int, Any] = {}
"""Handlers that were there before ours, by signal."""
_interruptible: list[Run] = []
"""The runs that are open here, where Ctrl-C is a cancel."""


def _begin_anew() -> None:
    """In a forked child, such as a data loader's worker: signals mean what they meant before.

    The threads of the run are its parent's: an operation that is opened here has a run of its own.
    """
    global _pod_run, _lock
    _pod_run, _lock = None, threading.Lock()
    for number, earlier in _caught.items():
        with contextlib.suppress(ValueError, OSError):
            _give_back(number, earlier)
    _caught.clear()
    _interruptible.clear()


def _again(number: int) -> None:
    """Have a signal mean what it meant before: it came while a forked child had yet to begin."""
    _begin_anew()
    os.kill(os.getpid(), number)


def _give_back(number: int, earlier: Any) -> None:
    # None: it was not installed from Python, and cannot be put back from here.
    signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)

_lock = threading.Lock()
_pod_run: Run | None = None


def open_run(renderer: ProgressRenderer) -> tuple[Run, bool]:
    """The run to work in, and whether the caller owns it (begins and finishes it).

    Args:
        renderer: renders its progress, where the caller owns it.
    """
    global _pod_run
    identity = PodIdentity.from_environment()
    if identity is None:
        return Run(renderer, None), True
    with _lock:
        if _pod_run is not None:
            return _pod_run, False
        _pod_run = Run(renderer, identity)
        return _pod_run, True


def close_run(run: Run) -> None:
    """Let go of a run that has been finished."""
    global _pod_run
    with _lock:
        if _pod_run is run:
            _pod_run = None


def _leave(file: Path, text: str) -> None:
    # The container may have no such file: then its end tells without it.
    with contextlib.suppress(OSError):
        if text:
            file.write_text(text)
