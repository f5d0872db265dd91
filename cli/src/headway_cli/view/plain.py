"""The same view for pipes and logs: one line for every change, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway_api.vocabulary import Phase, Reason

from headway_cli.view import wording
from headway_cli.view.run_view import TALKING

if TYPE_CHECKING:
    from datetime import datetime

    from headway_cli.view.run_view import RunView


class PlainLines:
    """Turns a stream of views into lines, one for every change that a person would care about."""

    def __init__(self) -> None:
        self._said: tuple[object, ...] | None = None
        self._silent = False

    def line(self, view: RunView, wall: datetime) -> str | None:
        """The line to print for this view; None when nothing changed."""
        if view.stale and not self._silent and view.quiet_seconds is not None:
            self._silent = True
            quiet = wording.duration(view.quiet_seconds)
            return f"{_clock(wall)}  {view.phase.value}  no update for {quiet}"
        if not view.stale:
            self._silent = False
        said = (
            view.phase,
            view.reason,
            view.detail,
            view.activity,
            tuple((m.name, m.text) for m in view.metrics),
        )
        if said == self._said:
            return None
        self._said = said
        return f"{_clock(wall)}  {text(view)}"


def text(view: RunView) -> str:
    """One view as one line, without a time."""
    parts = [view.phase.value]
    active = view.phase in TALKING and view.activity
    if active:
        if view.phase is Phase.RUNNING and view.reason not in ("", Reason.STARTED):
            parts.append(f"({view.reason})")
        parts.append(view.activity)
    elif view.reason or view.detail:
        parts.append(wording.reasoned(view.reason, view.detail))
    numbers = " ".join(f"{metric.name}={metric.text}" for metric in view.metrics)
    if active and numbers:
        parts.append(numbers)
    return "  ".join(" ".join(part.split()) for part in parts)


def _clock(wall: datetime) -> str:
    return wall.strftime("%H:%M:%S")
