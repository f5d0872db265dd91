"""What is said once a run is over: what happened, what it left, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway_api.vocabulary import CancelOutcome, Phase

from headway_cli.view import attempts, palette, run_view, wording

if TYPE_CHECKING:
    from headway_api.models import Cancellation, Report, TrainingOperation
    from rich.console import RenderableType

_SUMMARY_LINES = 8
_ARTIFACT_LINES = 6
_LOG_LINES = 8


@dataclass(frozen=True)
class Fact:
    """One line of a result: a label and what there is to say."""

    label: str
    text: str


@dataclass(frozen=True)
class ResultView:
    """The end of a run, before anything is drawn.

    Attributes:
        title: name, phase and how long it took.
        phase: the final phase.
        facts: labelled lines, most important first.
        excerpt: the last lines of the logs, where they explain a failure.
        next_commands: what to type next, most useful first.
    """

    title: str
    phase: Phase
    facts: tuple[Fact, ...]
    excerpt: tuple[str, ...]
    next_commands: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result as plain text."""
        width = max((len(fact.label) for fact in self.facts), default=0)
        out = [self.title]
        for fact in self.facts:
            first, *rest = fact.text.splitlines() or [""]
            out.append(f"  {fact.label:<{width}}  {first}")
            out += [f"  {'':<{width}}  {line}" for line in rest]
        if self.excerpt:
            out.append("  last lines of its log:")
            out += [f"    {line}" for line in self.excerpt]
        return out


def result_of(operation: TrainingOperation, *, flags: str = "") -> ResultView:
    """What there is to say about a finished run.

    Args:
        operation: the run; its phase is final.
        flags: what a next command needs to find the same operation, such as ``-n team-a``.
    """
    status = operation.status
    took = ""
    if status.start_time is not None and status.completion_time is not None:
        seconds = (status.completion_time - status.start_time).total_seconds()
        took = f" after {wording.fine_duration(seconds)}"
    failed = operation.phase is Phase.FAILED
    return ResultView(
        title=f"{operation.metadata.name} {operation.phase.value}{took}",
        phase=operation.phase,
        facts=tuple(_facts(operation)),
        excerpt=_excerpt(operation) if failed else (),
        next_commands=next_commands(operation, flags=flags),
    )


def _facts(operation: TrainingOperation) -> list[Fact]:
    status = operation.status
    result = status.result
    report = report_of(operation)
    facts: list[Fact] = []
    reason = (result.reason if result is not None else None) or status.reason
    message = (result.message if result is not None else "") or status.message or ""
    if reason or message:
        facts.append(Fact("Reason", wording.reasoned(reason or "", message)))
    if report is not None and report.error is not None:
        words = f"{report.error.type}: {report.error.message}".rstrip(": ")
        if words not in message:
            facts.append(Fact("Error", words))
    if result is not None and result.exit_code not in (None, 0):
        by = f" ({result.signal})" if result.signal else ""
        facts.append(Fact("Exit code", f"{result.exit_code}{by}"))
    if status.cancellation is not None:
        facts += _cancellation(status.cancellation)
    facts += [
        Fact("Attempts" if not index else "", line)
        for index, line in enumerate(attempts.told(operation))
    ]
    if report is not None:
        done = work_done(report)
        if done:
            facts.append(Fact("Done", done))
    numbers = "  ".join(f"{m.name} {m.text}" for m in run_view.metrics(operation))
    if numbers:
        facts.append(Fact("Metrics", numbers))
    if report is not None:
        if report.summary:
            facts += _summary(report.summary)
        facts += _artifacts(report)
    return facts


def report_of(operation: TrainingOperation) -> Report | None:
    """What the trainer claimed, as whole as there is: the result may hold a shortened one."""
    status = operation.status
    decided = status.result.report if status.result is not None else None
    if decided is None:
        return status.report
    said = status.report
    same = said is not None and (said.attempt, said.status) == (decided.attempt, decided.status)
    return said if same else decided


def work_done(report: Report) -> str:
    """``12 epochs and 342 batches``; empty where the report counts nothing."""
    words = [
        wording.count(amount, unit)
        for amount, unit in (
            (report.epochs_completed, "epoch"),
            (report.batches_completed, "batch"),
            (report.iterations_completed, "iteration"),
        )
        if amount
    ]
    return " and ".join(words)


def _cancellation(cancellation: Cancellation) -> list[Fact]:
    facts = []
    if cancellation.requested_by:
        facts.append(Fact("Cancelled by", cancellation.requested_by))
    if cancellation.reason:
        facts.append(Fact("Cancelled for", cancellation.reason))
    outcome = cancellation.outcome
    if outcome is None:
        return facts
    words = _OUTCOMES[outcome]
    if outcome is CancelOutcome.GRACEFUL and cancellation.acknowledged_at is None:
        words = "nothing had to be killed"
    if cancellation.pods_gone_at is not None and outcome is not CancelOutcome.TOO_LATE:
        # Both times are the controller's: they can be subtracted.
        seconds = (cancellation.pods_gone_at - cancellation.requested_at).total_seconds()
        if seconds > 0:  # else all was gone when the controller first saw the request
            words += f", {wording.fine_duration(seconds)} after the request"
    facts.append(Fact("Stop", f"{outcome.value}: {words}"))
    if cancellation.checkpoint:
        facts.append(Fact("Checkpoint", cancellation.checkpoint))
    return facts


_OUTCOMES = {
    CancelOutcome.BEFORE_START: "it never began",
    CancelOutcome.GRACEFUL: "the trainer stopped by itself",
    CancelOutcome.FORCED: "its pods had to be ended",
    CancelOutcome.CRASHED: "the trainer crashed while it was stopping",
    CancelOutcome.TOO_LATE: "the run was over first",
}


def _summary(summary: dict[str, Any]) -> list[Fact]:
    """The plain values of a summary, one level deep; the rest is there with ``get -o yaml``."""
    flat: list[tuple[str, str]] = []
    for key, value in summary.items():
        if isinstance(value, dict):
            inner = [f"{k} {_scalar(v)}" for k, v in value.items() if _scalar(v) is not None]
            if inner:
                flat.append((key, ", ".join(inner)))
        elif isinstance(value, list) and value and all(_scalar(v) is not None for v in value):
            flat.append((key, wording.listed([str(_scalar(v)) for v in value], shown=4)))
        elif _scalar(value) is not None:
            flat.append((key, str(_scalar(value))))
    facts = [
        Fact(key.replace("_", " ").capitalize(), wording.shortened(text, 160))
        for key, text in flat[:_SUMMARY_LINES]
    ]
    if len(flat) > _SUMMARY_LINES:
        facts.append(Fact("", f"+{len(flat) - _SUMMARY_LINES} more in status.report.summary"))
    return facts


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return wording.number(float(value)) if value == value else "NaN"
    return value if isinstance(value, str) else None


def _artifacts(report: Report) -> list[Fact]:
    artifacts = report.artifacts or []
    if not artifacts:
        return []
    lines = [
        artifact.path
        + (f"  ({wording.size(artifact.bytes)})" if artifact.bytes is not None else "")
        for artifact in artifacts[:_ARTIFACT_LINES]
    ]
    if len(artifacts) > _ARTIFACT_LINES:
        lines.append(f"+{len(artifacts) - _ARTIFACT_LINES} more")
    return [Fact("Artifacts", "\n".join(lines))]


def _excerpt(operation: TrainingOperation) -> tuple[str, ...]:
    logs, report = operation.status.last_logs, report_of(operation)
    if logs is None or (report is not None and report.error is not None):
        # An error that was told is clearer than the end of its traceback.
        return ()
    return tuple(line.rstrip() for line in logs.text.splitlines()[-_LOG_LINES:])


def next_commands(operation: TrainingOperation, *, flags: str = "") -> tuple[str, ...]:
    """What a person would type next, given where the run stands."""
    name = operation.metadata.name
    tail = f" {flags}" if flags else ""
    get = f"headway get {name}{tail}"
    logs = f"headway logs {name}{tail}"
    if operation.phase is Phase.FAILED and operation.status.start_time is None:
        return (f"headway get {name}{tail} -o yaml", "headway doctor")
    if operation.phase is Phase.FAILED:
        return (logs, f"headway get {name}{tail} -o yaml", f"headway retry {name}{tail}")
    if operation.phase is Phase.SUCCEEDED:
        return (get, logs)
    if operation.phase is Phase.SUSPENDED:
        return (f"headway resume {name}{tail}", f"headway cancel {name}{tail}")
    if operation.phase is Phase.CANCELLED:
        return (get, f"headway list{tail}")
    return (f"headway watch {name}{tail}", f"{logs} -f", f"headway cancel {name}{tail}")


def panel(view: ResultView, *, ascii_only: bool = False) -> RenderableType:
    """The result as a Rich panel."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    style = palette.STYLES[view.phase]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in view.facts:
        grid.add_row(fact.label, Text(fact.text))
    parts: list[RenderableType] = [grid]
    if view.excerpt:
        parts.append(Text("last lines of its log:", style="dim"))
        parts += [Text(f"  {line}", overflow="fold") for line in view.excerpt]
    title = Text(f"{palette.sign(view.phase, ascii_only=ascii_only)} {view.title}", style="bold")
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        border_style=style,
        box=box.ASCII if ascii_only else box.ROUNDED,
        expand=False,
        padding=(0, 1),
    )


def hint_lines(commands: tuple[str, ...]) -> list[str]:
    """``Next:`` and the commands, as they are printed below a result on a terminal."""
    return ["Next:", *(f"  {command}" for command in commands)] if commands else []
