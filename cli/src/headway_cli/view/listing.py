"""The table of runs, as ``headway list`` prints it.

Written without Rich: five thousand rows are laid out in a few milliseconds, and a pipe gets the
same columns with nothing cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway_api.vocabulary import Phase

from headway_cli.view import palette, run_view, wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headway_api.models import TrainingOperation

_GAP = "   "
_SHORTEST_MESSAGE = 12


@dataclass(frozen=True)
class Row:
    """One run in the table; the columns that are shown are chosen later."""

    namespace: str
    name: str
    type: str
    phase: Phase
    progress: str
    epoch: str
    age: str
    attempt: str
    took: str
    message: str


def row(operation: TrainingOperation, wall: datetime) -> Row:
    """The row of one run at ``wall``."""
    status = operation.status
    progress = status.progress
    percent = "-"
    epoch = "-"
    if progress is not None:
        if progress.percent is not None:
            percent = f"{int(progress.percent)}%"
        shown = run_view.bars(operation)
        if progress.percent is None and shown and shown[0].total:
            percent = f"{int(shown[0].share * 100)}%"
        context = progress.context
        if context is not None and context.current_epoch is not None:
            of = f"/{context.total_epochs}" if context.total_epochs else ""
            epoch = f"{context.current_epoch}{of}"
    created = operation.metadata.creation_timestamp
    age = wording.duration((wall - created).total_seconds()) if created is not None else "-"
    return Row(
        namespace=operation.metadata.namespace,
        name=operation.metadata.name,
        type=operation.spec.type.value,
        phase=operation.phase,
        progress=percent,
        epoch=epoch,
        age=age,
        attempt=str(status.attempt) if status.attempt else "-",
        took=wording.duration(ran_for(operation, wall)) if status.start_time else "-",
        message=_message(operation),
    )


def ran_for(operation: TrainingOperation, wall: datetime) -> float:
    """Seconds that the trainer ran, or has been running: pauses between attempts do not count.

    Where the status no longer lists every attempt, it is all the time since the first one began.
    """
    status = operation.status
    now = status.completion_time or wall
    attempts = status.attempts or []
    if attempts and attempts[0].number == 1:
        spans = [(attempt.started, attempt.ended or now) for attempt in attempts]
    else:
        spans = [(status.start_time, now)]
    return sum(max(0.0, (end - start).total_seconds()) for start, end in spans if start)


def _message(operation: TrainingOperation) -> str:
    status = operation.status
    progress = status.progress
    talks = operation.phase is Phase.RUNNING and not run_view.is_left_over(operation)
    if talks and progress is not None and progress.message:
        words = progress.message
    else:
        said = status.message or ""
        words = wording.reasoned(status.reason or "", said)
    return " ".join(words.split())


def newest_last(operations: Sequence[TrainingOperation]) -> list[TrainingOperation]:
    """Sorted by age, so that the run one asks about stands next to the prompt."""
    return sorted(operations, key=_created)


def _created(operation: TrainingOperation) -> tuple[float, str]:
    created = operation.metadata.creation_timestamp
    return (created.timestamp() if created is not None else 0.0, operation.metadata.name)


def lines(
    rows: Sequence[Row],
    *,
    namespaces: bool = False,
    wide: bool = False,
    width: int | None = None,
    colour: bool = False,
) -> list[str]:
    """The table as lines, its header first.

    Args:
        rows: the runs, in the order to show.
        namespaces: whether a first column names the namespace.
        wide: whether to show attempt and running time, and every message whole.
        width: columns of the terminal; messages are cut to fit. None (a pipe) cuts nothing.
        colour: whether phases are coloured.
    """
    headers = ["NAME", "TYPE", "PHASE", "PROGRESS", "EPOCH"]
    cells = [[r.name, r.type, r.phase.value, r.progress, r.epoch] for r in rows]
    if wide:
        headers += ["ATTEMPT", "RAN"]
        for cell, r in zip(cells, rows, strict=True):
            cell += [r.attempt, r.took]
    headers.append("AGE")
    for cell, r in zip(cells, rows, strict=True):
        cell.append(r.age)
    if namespaces:
        headers.insert(0, "NAMESPACE")
        for cell, r in zip(cells, rows, strict=True):
            cell.insert(0, r.namespace)
    widths = [
        max(len(header), max((len(cell[i]) for cell in cells), default=0))
        for i, header in enumerate(headers)
    ]
    phase_column = headers.index("PHASE")
    used = sum(widths) + len(_GAP) * len(widths)
    room = None if width is None or wide else width - used
    with_message = room is None or room >= _SHORTEST_MESSAGE

    def joined(values: list[str], phase: Phase | None, message: str) -> str:
        padded = [value.ljust(size) for value, size in zip(values, widths, strict=True)]
        if colour and phase is not None:
            padded[phase_column] = palette.painted(padded[phase_column], phase)
        if with_message:
            cut = message if room is None else wording.shortened(message, room)
            padded.append(palette.dimmed(cut) if colour and cut and phase is not None else cut)
        return _GAP.join(padded).rstrip()

    header = joined(headers, None, "MESSAGE")
    body = [joined(c, r.phase, r.message) for c, r in zip(cells, rows, strict=True)]
    return [header, *body]
