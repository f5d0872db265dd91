"""What there is to say about a run at one moment, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway_api.vocabulary import OperationType, Phase

from headway_cli.view import wording

if TYPE_CHECKING:
    from headway_api.models import Progress, TrainingOperation


TALKING = frozenset({Phase.RUNNING, Phase.CANCELLING, Phase.SUSPENDING})
"""Phases in which a trainer is at work and may be heard."""


@dataclass(frozen=True)
class Bar:
    """One bar: how much of something countable is done.

    Attributes:
        label: what is counted, in the singular: ``epoch``, ``batch``.
        at: the number to show, as the trainer counts (the epoch that runs, from 1).
        total: how many there are; None where nobody knows.
        share: how much of the bar is full, from 0 to 1.
    """

    label: str
    at: int
    total: int | None
    share: float


@dataclass(frozen=True)
class Metric:
    """One metric: its latest value and how it came there.

    Attributes:
        name: as the trainer calls it.
        text: the latest value as text; ``NaN`` and infinities stand here as the trainer said.
        finite: whether the latest value is a number.
        trend: values at the ends of epochs, oldest first, None where one was not finite.
    """

    name: str
    text: str
    finite: bool
    trend: tuple[float | None, ...]


@dataclass(frozen=True)
class RunView:
    """Everything that a view of one run shows.

    Attributes:
        name: the operation.
        namespace: its namespace.
        type: kind of work.
        subject: what it works on, such as ``mlp on AAPL, MSFT [1d]``; may be empty.
        phase: where it stands.
        reason: why, as one word; may be empty.
        detail: why, as the controller's sentence; may be empty.
        activity: the trainer's own sentence; may be empty.
        bars: none, one or two bars, the outer first.
        rate: the pace as text; None until it is known.
        eta_seconds: seconds to the end; None unless it is known.
        elapsed_seconds: since it began to run (or was created), until now or its end.
        metrics: latest metrics.
        quiet_seconds: seconds since the trainer was last heard, by this machine's clock; None where
            it never was, or is not expected to be.
        heard: whether an update arrived while this view was open. Without one ``quiet_seconds``
            counts from when the view was opened, and only says that nothing came since.
        stale: whether the silence is longer than a healthy trainer's.
        before: which attempt this is and how those before it ended; empty for the first.
    """

    name: str
    namespace: str
    type: OperationType
    subject: str
    phase: Phase
    reason: str
    detail: str
    activity: str
    bars: tuple[Bar, ...]
    rate: str | None
    eta_seconds: float | None
    elapsed_seconds: float
    metrics: tuple[Metric, ...]
    quiet_seconds: float | None
    heard: bool
    stale: bool
    before: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.phase.is_final


def subject(operation: TrainingOperation) -> str:
    """What the run works on, from its spec, in a few words."""
    spec = operation.spec
    if spec.training is not None:
        source = spec.training.strategy.inline
        model = f"{source.model.type.value} on " if source is not None else ""
        return model + _market(spec.training.symbols, spec.training.timeframes)
    if spec.data_load is not None:
        return _market(spec.data_load.symbols, spec.data_load.timeframes)
    if spec.dummy is not None:
        return wording.count(spec.dummy.iterations, "iteration")
    if spec.custom is not None:
        if spec.custom.entrypoint is not None:
            return spec.custom.entrypoint
        words = [*(spec.custom.command or []), *(spec.custom.args or [])]
        return wording.shortened(" ".join(words), 60)
    return ""


def _market(symbols: list[str], timeframes: list[str]) -> str:
    return f"{wording.listed(symbols)} [{wording.listed(timeframes)}]"


def is_left_over(operation: TrainingOperation) -> bool:
    """Whether the progress is that of an attempt before the one that is under way."""
    progress = operation.status.progress
    return progress is not None and progress.attempt < (operation.status.attempt or 0)


def bars(operation: TrainingOperation) -> tuple[Bar, ...]:
    """The bars that the run's progress allows: none where it says nothing countable."""
    progress = operation.status.progress
    if progress is None:
        return ()
    done = operation.phase is Phase.SUCCEEDED
    outer = _outer(progress, done=done)
    inner = _inner(progress)
    return tuple(bar for bar in (outer, inner) if bar is not None)


def _inner(progress: Progress) -> Bar | None:
    context = progress.context
    if context is None or context.current_batch is None or context.current_epoch is None:
        return None
    return Bar(
        "batch",
        context.current_batch,
        context.total_batches,
        _share(context.current_batch, context.total_batches),
    )


def _outer(progress: Progress, *, done: bool) -> Bar | None:
    context = progress.context
    if context is not None:
        if context.current_epoch is not None:
            at, total = context.current_epoch, context.total_epochs
            within = _share(context.current_batch or 0, context.total_batches)
            if context.current_batch is None and progress.percent is not None:
                share = progress.percent / 100
            else:
                # The epoch that runs is not done: it counts by its batches.
                share = (max(0, at - 1) + within) / total if total else 0.0
            return Bar("epoch", at, total, _bounded(1.0 if done and at == total else share))
        for label, now, total in (
            ("segment", context.current_segment, context.total_segments),
            ("iteration", context.current_iteration, context.total_iterations),
        ):
            if now is not None:
                return Bar(label, now, total, _share(now, total))
    if progress.step is not None:
        return Bar("step", progress.step, progress.total_steps, _known_share(progress))
    return None


def _known_share(progress: Progress) -> float:
    if progress.percent is not None:
        return _bounded(progress.percent / 100)
    return _share(progress.step or 0, progress.total_steps)


def _share(done: int, total: int | None) -> float:
    return _bounded(done / total) if total else 0.0


def _bounded(share: float) -> float:
    return min(1.0, max(0.0, share))


def units_done(operation: TrainingOperation) -> tuple[str, float, float | None] | None:
    """The smallest countable unit, how many are done over the whole run, and of how many.

    This is what a pace is measured in: batches where they are known, else what the outer bar
    counts.
    """
    progress = operation.status.progress
    if progress is None:
        return None
    context = progress.context
    if context is not None and context.current_epoch is not None:
        per_epoch, batch = context.total_batches, context.current_batch
        epochs_before = max(0, context.current_epoch - 1)
        if per_epoch and batch is not None:
            total = float(context.total_epochs * per_epoch) if context.total_epochs else None
            return "batch", float(epochs_before * per_epoch + batch), total
        total = float(context.total_epochs) if context.total_epochs else None
        return "epoch", float(context.current_epoch), total
    outer = _outer(progress, done=False)
    if outer is None:
        return None
    return outer.label, float(outer.at), float(outer.total) if outer.total else None


def metrics(operation: TrainingOperation) -> tuple[Metric, ...]:
    """The latest metrics with their history: non-finite ones first, then by what people look for.

    The API server sorts maps by key, so the trainer's own order is lost on the way.
    """
    progress = operation.status.progress
    history = operation.status.history or []
    latest: dict[str, float] = {}
    lost: dict[str, str] = {}
    if progress is not None and (progress.metrics or progress.non_finite):
        latest, lost = dict(progress.metrics or {}), dict(progress.non_finite or {})
    elif history:
        latest, lost = dict(history[-1].metrics or {}), dict(history[-1].non_finite or {})

    def trend(name: str) -> tuple[float | None, ...]:
        points: list[float | None] = []
        for point in history:
            if point.metrics and name in point.metrics:
                points.append(point.metrics[name])
            elif point.non_finite and name in point.non_finite:
                points.append(None)
        return tuple(points)

    bad = [Metric(name, text, False, trend(name)) for name, text in lost.items()]
    good = [Metric(name, wording.number(v), True, trend(name)) for name, v in latest.items()]
    return (*bad, *sorted(good, key=lambda metric: _interest(metric.name)))


def _interest(name: str) -> tuple[int, str]:
    """Where a metric stands among others: losses, then scores, then settings."""
    plain = name.lower()
    if plain == "loss":
        return 0, ""
    if "loss" in plain:
        return 1, plain
    return (3 if plain in _SETTINGS else 2), plain


_SETTINGS = frozenset({"learning_rate", "lr"})
