"""The attempts of a run, as a person would retell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway_cli.view import wording

if TYPE_CHECKING:
    from headway_api.models import TrainingOperation
    from headway_api.models.status import Attempt


def told(operation: TrainingOperation) -> list[str]:
    """A line for each attempt that the status lists; none where the only one is the run."""
    attempts = operation.status.attempts or []
    if len(attempts) < 2 and (operation.is_final or all(a.ended is None for a in attempts)):
        return []
    last = attempts[-1].number if operation.is_final else None  # the result has its words
    return [
        _told(attempt, operation.metadata.uid, why=attempt.number != last) for attempt in attempts
    ]


def before(operation: TrainingOperation) -> str:
    """Which attempt this is, and how those before it ended, in a line; empty for the first."""
    attempts = operation.status.attempts or []
    ended = [a for a in attempts if a.ended is not None]
    current = operation.status.attempt or 0
    if not ended or (len(attempts) == 1 and operation.is_final):
        return ""
    ends = ", ".join(f"{a.number} {_end(a)}" for a in ended[-3:])
    more = "... " if len(ended) > 3 else ""
    which = f"attempt {current}" if attempts[-1].ended is None else f"after attempt {current}"
    return f"{which}; ended before: {more}{ends}"


def _told(attempt: Attempt, uid: str, *, why: bool) -> str:
    if attempt.ended is None:
        return f"{attempt.number}  {'goes on' if attempt.started else 'begins'}"
    words = f"{attempt.number}  {_end(attempt)}"
    if attempt.started is not None:
        ran = wording.duration((attempt.ended - attempt.started).total_seconds())
        words += f", ran {ran}"
    if attempt.checkpoint:
        # The folder of the run itself goes without saying.
        words += f", checkpoint {attempt.checkpoint.removeprefix(f'{uid}/')}"
    if why and attempt.message:
        words += f": {attempt.message.removeprefix(f'{attempt.reason}: ')}"
    return words


def _end(attempt: Attempt) -> str:
    code = f" (exit code {attempt.exit_code})" if attempt.exit_code else ""
    return f"{attempt.reason or 'ended'}{code}"
