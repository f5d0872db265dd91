"""``headway.operation()``: progress and cancellation for a user's own script.

    with headway.operation() as op:
        for epoch in op.epochs(50):
            for batch in op.batches(loader):
                loss = step(batch)
            op.metrics(loss=loss)

The same script runs in a pod and on a laptop. On a stop the iterators raise
:class:`headway.Stopped`, which the ``with`` statement swallows; no other error of Headway reaches
the script.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from headway_api.vocabulary import ReportStatus

from headway.cancellation import CancellationToken, Stopped, StopReason
from headway.checkpoints import Checkpoint, Write
from headway.position import Position
from headway.rendering import ProgressRenderer
from headway.tracking import INTERRUPTED_CODE, Run, close_run, open_run, workspace

T = TypeVar("T")
_CHUNK = 1 << 20
_END = object()
_innermost: ContextVar[Operation | None] = ContextVar("headway_operation", default=None)
_NO_LONGER_OURS = (StopReason.DELETED, StopReason.FENCED)
"""After these, another attempt writes the checkpoints, or nobody wants them."""


def operation(name: str = "Operation", *, renderer: ProgressRenderer | None = None) -> Operation:
    """Track a piece of work; use it in a ``with`` statement.

    Args:
        name: what progress lines begin with.
        renderer: turns the context into a line; the default names epoch and batch.
    """
    return Operation(renderer or ProgressRenderer(name))


class Operation:
    """The handle of a tracked piece of work.

    An operation opened inside another one of the same pod shares its run, and a stop ends both.
    """

    def __init__(self, renderer: ProgressRenderer) -> None:
        self._renderer = renderer
        self._around: Operation | None = None
        self._is_open = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._run: Run | None = None
        self._owns = False
        self._stopped = False
        self._metrics: Mapping[str, Any] | None = None
        self._position = Position()
        self._left: tuple[int, int, Mapping[str, Any] | None] | None = None
        self._save: Write | None = None
        self._agree: Callable[[bool], bool] | None = None
        self._result: dict[str, Any] = {}
        self._artifacts: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._begin_anew()
        self._run, self._owns = open_run(self._renderer)
        if self._owns:
            self._run.begin()
            if self._run.in_pod and self._run.token.asked:
                # Cancelled before it began: none of the program runs.
                self._stopped = True
                self._run.acknowledge()
                self._end(ReportStatus.CANCELLED, None)
                raise SystemExit(INTERRUPTED_CODE if self._run.must_exit else 0)
        self._around, self._is_open = _innermost.get(), True
        _innermost.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._is_open = False
        around = self._around
        if _innermost.get() is self:
            _innermost.set(around)
        swallowed = isinstance(error, Stopped)
        if around is not None and around._is_open and around.token.asked:  # noqa: SLF001
            swallowed = False  # what comes after it is in the middle of the other one's work
        if error is None:
            self._count_the_epoch_left()
        if self._run is not None and not self._owns:
            self._run.contribute(self._told(error is not None))
        elif self._run is not None:
            status = self._run.ended_by(error)
            self._end(status, error if status is ReportStatus.FAILED else None)
            if self._run.must_exit and not isinstance(error, KeyboardInterrupt):
                raise SystemExit(INTERRUPTED_CODE)
        return swallowed

    def _end(self, status: ReportStatus, error: BaseException | None) -> None:
        run = self._opened
        run.finish(status, self._told(status is not ReportStatus.SUCCESS), error)
        close_run(run)

    def _told(self, cut_short: bool) -> dict[str, Any]:
        """What this operation adds to the result."""
        result = dict(self._result)
        if self._position.epochs_completed is not None:
            result.setdefault("epochs_completed", self._position.epochs_completed)
        if cut_short and self._position.batches_completed:
            result.setdefault("batches_completed", self._position.batches_completed)
        if self._artifacts:
            result["artifacts"] = self._artifacts
        return result

    @property
    def _opened(self) -> Run:
        if self._run is None:
            raise RuntimeError("use it as: with headway.operation() as op: ...")
        return self._run

    @property
    def token(self) -> CancellationToken:
        """The token, for code that checks by itself: to be told of a stop is to act on it."""
        return self._opened.token

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop. Reading True counts as acting on it."""
        if self._stopped:
            return True
        if self._run is not None and self._run.token.asked:
            self._stopped = True
            self._run.acknowledge()
        return self._stopped

    @property
    def stop_reason(self) -> StopReason | None:
        """Why it was asked to stop; None where it was not.

        cancelled, suspended, deadline, stalled, interrupted, deleted or fenced.
        """
        return self._run.token.reason if self._run is not None else None

    @property
    def stop_message(self) -> str:
        """Why, in the words of ``spec.cancelReason``; mostly empty."""
        return self._run.token.message if self._run is not None else ""

    def resume(self) -> Checkpoint | None:
        """The newest valid checkpoint to go on from; None where the work begins anew.

        Load your state from its ``folder``. After this call :meth:`epochs` begins where the
        checkpoint ended, and :meth:`batches` leaves out the batches of that epoch that are in it.

        Raises:
            CheckpointError: the one that ``spec.checkpoint.resumeFrom`` names is not there or is
                damaged.
        """
        saved = self._opened.checkpoints.resume()
        self._position.go_on_from(saved)
        return saved

    def checkpoint(self, save: Callable[[Path], object]) -> None:
        """Name the function that saves the program's state, and have it called from now on.

        It is called in this thread, between two batches or epochs, when ``spec.checkpoint`` says
        that one is due, and once more on a stop, before :class:`Stopped` is raised. In a loop
        without epochs, :meth:`check` is where that happens.

        Args:
            save: writes the state into the folder that it is given.
        """
        self._save = save

    def together(self, agree: Callable[[bool], bool]) -> None:
        """Have several workers stop at the same check, so that none waits for one that has gone.

        With it, every check (before each epoch and each batch, and each :meth:`check`) asks all
        workers; make sure that all of them come to the same checks.

        Args:
            agree: takes whether this worker is asked to stop, and returns whether any of them is:
                an all-reduce of the maximum.
        """
        self._agree = agree

    def check(self) -> None:
        """Raise :class:`Stopped` if it was asked to stop, after a checkpoint where one is kept.

        Raises:
            Stopped: it was.
        """
        run = self._opened
        stops = run.token.asked
        if self._agree is not None:
            stops = self._agree(stops)
        if not stops:
            if self._save is not None and run.checkpoints.due():
                self._write()
            return
        if not run.token.asked:
            run.follow_the_others()
        self._stopped = True
        run.acknowledge()
        if self._save is not None and run.token.reason not in _NO_LONGER_OURS:
            self._write()
        raise Stopped(run.token.reason or StopReason.CANCELLED)

    def _write(self) -> None:
        if self._save is not None:
            run, position = self._opened, self._position
            step = run.state.read().step if position.epochs is None else None
            run.checkpoints.save(
                self._save,
                epochs=position.epochs_completed,
                batches=position.batches_completed,
                step=step,
                loop=position.loop or None,
                loaders=position.loaders,
            )

    def epochs(self, count: int, *, start: int | None = None) -> Iterator[int]:
        """Epochs ``start`` to ``count - 1``; checks for a stop before each.

        Args:
            count: how many there are in all; progress tells them from 1 to this.
            start: the first one; left out, where :meth:`resume` found that earlier ones were done.
                Of several loops, those before the one that it ended in are then done as a whole.

        Raises:
            Stopped: at a check.
        """
        run, position = self._opened, self._position
        self._count_the_epoch_left()
        first = position.begin_loop(count, start)
        if self._save is not None:
            run.checkpoints.count_from(first)
        for index in range(first, count):
            position.begin_epoch(index)  # before the check: a checkpoint may be written there
            self.check()
            position.enter_epoch(index)
            self._metrics = None
            run.state.put(*position.steps_after(index), None, self._context(), None)
            try:
                yield index
            except GeneratorExit:
                if position.is_whole or (position.is_whole is None and self._metrics):
                    self._left = index + 1, run.state.changes, self._metrics
                position.leave_epochs()
                raise
            position.end_epoch(index + 1)
            if self._save is not None and run.checkpoints.due(index + 1):
                self._write()
            run.state.put(*position.steps_after(index + 1), None, self._context(), self._metrics)
            run.state.end_epoch(index + 1, self._metrics)
        position.leave_epochs()

    def _count_the_epoch_left(self) -> None:
        """Count the epoch that a ``break`` ended, where it was whole: early stopping does that."""
        if self._left is None:
            return
        state, position, (epoch, changes, metrics) = self._opened.state, self._position, self._left
        self._left = None
        position.end_epoch(epoch)
        if state.changes == changes:  # nothing was said since
            context = {"current_epoch": epoch, "total_epochs": position.epochs}
            state.put(*position.steps_after(epoch), None, context, metrics)
        state.end_epoch(epoch, metrics)

    def batches(self, batches: Iterable[T], total: int | None = None) -> Iterator[T]:
        """The items of a data loader; checks for a stop before each, and counts them.

        Args:
            batches: anything to iterate over.
            total: how many there are; its length where it has one.

        Raises:
            Stopped: at a check.
        """
        run = self._opened
        token, put = run.token, run.state.put
        if total is None:
            try:
                total = len(batches)  # type: ignore[arg-type]
            except Exception:  # noqa: BLE001 - a loader of unknown length says so in its own way
                total = None
        position = self._position
        loader = position.begin_loader(total)
        if loader is None:
            return
        epoch, epochs, counts = position.epoch, position.epochs, loader.counts
        before, first, steps = loader.before, loader.first, loader.steps
        moves = int(loader.is_part or epoch is None)
        attentive = self._save is not None or self._agree is not None
        try:
            remaining = iter(batches)
            done = self._skip(remaining) if loader.is_part else 0
            for done, batch in enumerate(remaining, done + 1):  # noqa: B020 - it goes on from there
                if attentive:
                    self._attend()
                elif token.asked:
                    self.check()
                yield batch
                if counts:
                    position.batches_completed = before + done
                put(first + done * moves, steps, None, (epoch, epochs, done, total), self._metrics)
        finally:
            position.leave_loader(loader)
        position.end_loader(loader, done)

    def _skip(self, remaining: Iterator[T]) -> int:
        """Leave out what the checkpoint has in it; returns how many batches of this loader."""
        skipped = 0
        while self._position.left_out:
            if self._agree is None and self._opened.token.asked:
                self.check()
            if next(remaining, _END) is _END:
                break
            skipped += 1
            self._position.left_out -= 1
        return skipped

    def _attend(self) -> None:
        """Check where a checkpoint may be due, or all workers have to agree."""
        run = self._opened
        due = self._save is not None and time.monotonic() >= run.checkpoints.due_at
        if due or self._agree is not None or run.token.asked:
            self.check()

    def _context(self) -> dict[str, Any]:
        return {"current_epoch": self._position.epoch, "total_epochs": self._position.epochs}

    def progress(
        self,
        step: int | None = None,
        total: int | None = None,
        message: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> None:
        """Say where the work stands. Never blocks, never raises; costs about a microsecond.

        Args:
            step: steps done.
            total: steps planned; left out where nobody knows.
            message: a sentence for people; rendered from the context where left out.
            metrics: numbers by name.
            context: anything else worth showing, such as ``current_epoch``.
        """
        shown = self._metrics if metrics is None else metrics
        self._opened.state.put(step, total, message, context, shown)

    def metrics(self, **metrics: Any) -> None:
        """Set the latest metrics, shown with all progress until the epoch ends."""
        self._metrics = {**(self._metrics or {}), **metrics}

    def result(self, **values: Any) -> None:
        """Add to the result: JSON-ready values, 4 KB in all; it ends up in ``status.report``."""
        self._result.update(values)

    def artifact(self, path: str | Path, name: str | None = None) -> None:
        """Register a file that the run leaves in the workspace, with its size and checksum.

        Args:
            path: the file; relative paths are below the workspace.
            name: what it is; the file's name where left out.

        Raises:
            OSError: the file cannot be read.
        """
        folder = workspace()
        file = folder / path
        digest = hashlib.sha256()
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
        shown = file.relative_to(folder) if file.is_relative_to(folder) else file
        self._artifacts.append(
            {
                "name": name or file.name,
                "path": str(shown),
                "bytes": file.stat().st_size,
                "sha256": digest.hexdigest(),
            }
        )
