"""The trainer's part of a status, built from what the program said: progress, history, report."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway_api import limits
from headway_api.vocabulary import ReportStatus

from headway import wire
from headway.eta import Eta
from headway.progress_state import ProgressState, Update
from headway.rendering import ProgressRenderer

Render = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Document:
    """What one write says. ``history`` and ``report`` are None where they did not change."""

    progress: dict[str, Any]
    history: list[dict[str, Any]] | None = None
    report: dict[str, Any] | None = None


@dataclass
class Writer:
    """Builds documents for one attempt.

    Attributes:
        sequence: of the last document; goes on from what the server holds.
    """

    state: ProgressState
    render: Render
    attempt: int = 1
    sequence: int = 0
    _eta: Eta = field(default_factory=Eta)

    def bare(self) -> dict[str, Any]:
        """A progress that says no more than that somebody is there."""
        now = wire.timestamp(time.time())
        self.sequence += 1
        return {
            "attempt": self.attempt,
            "sequence": self.sequence,
            "time": now,
            "heartbeat": now,
        }

    def progress(self) -> dict[str, Any]:
        """The next progress, its sequence one higher than the last."""
        update, now = self.state.read(), time.time()
        self.sequence += 1
        out: dict[str, Any] = {
            "attempt": self.attempt,
            "sequence": self.sequence,
            "time": wire.timestamp(update.time or now),
            "heartbeat": wire.timestamp(now),
            "message": wire.bounded_text(
                update.message or self._rendered(update.context or {}), limits.MESSAGE_LENGTH
            ),
        }
        out.update(self._position(update))
        finite, odd = wire.split_metrics(update.metrics)
        if finite:
            out["metrics"] = finite
        if odd:
            out["nonFinite"] = odd
        if context := wire.context_on_wire(update.context):
            out["context"] = context
        return out

    def report(self) -> dict[str, Any]:
        """What the report says while the work goes on."""
        told: dict[str, Any] = {"attempt": self.attempt}
        if self.state.checkpoint is not None:
            told["checkpoint"] = self.state.checkpoint
        return told

    def _rendered(self, context: Mapping[str, Any]) -> str:
        try:
            return self.render(context)
        except Exception:  # noqa: BLE001 - a renderer is the user's code; progress goes on without its words
            return ProgressRenderer().render_progress_message(context)

    def _position(self, update: Update) -> dict[str, Any]:
        step, total = _count(update.step), _count(update.total)
        out: dict[str, Any] = {}
        if step is not None:
            out["step"] = step
        if total is not None:
            out["totalSteps"] = total
        if step is not None and total:
            out["percent"] = round(min(100.0, 100.0 * step / total), 1)
        eta = self._eta.update(time.monotonic(), step, total)
        if eta is not None:
            out["etaSeconds"] = eta
        return out


def fitted(document: Document, state: ProgressState) -> Document:
    """A document that leaves the status within its bounds, with what the server has already.

    The final report is what makes it large: it takes the room of the traceback's beginning, and of
    points of the history, which is then said once more, thinner.
    """
    if document.report is None or "status" not in document.report:
        return document
    room = limits.TRAINER_BYTES - _size(document.progress)
    report, history = dict(document.report), document.history or state.history()
    error = report.get("error") or {}
    excess = _size(report) + _size(state.history(0)) - room
    if excess > 0 and (text := error.get("traceback")):
        kept = max(_TRACEBACK_AT_LEAST, len(text) - excess - _ELLIPSIS)
        report["error"] = {**error, "traceback": wire.bounded_text(text, kept, keep_end=True)}
    room -= _size(report)
    if _size(history) > room:
        return Document(document.progress, state.history(room), report)
    return Document(document.progress, document.history, report)


def _size(part: object) -> int:
    return len(json.dumps(part))


_TRACEBACK_AT_LEAST = 512
_ELLIPSIS = len(json.dumps("…"))
_SHORT = 256
_MORE = "…"
_ABSENT_AT_A_BOUNDARY = "batches_completed"
_REPORTED = {
    "epochs_completed": "epochsCompleted",
    "batches_completed": "batchesCompleted",
    "iterations_completed": "iterationsCompleted",
}


def report_of(
    status: ReportStatus,
    *,
    attempt: int,
    result: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
    acknowledged: float | None = None,
    stop_reason: str | None = None,
    checkpoint: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report: one schema for every kind of work.

    Args:
        status: how the work ended.
        attempt: the attempt that reports.
        result: what the work returned; the keys that the schema knows become its fields, the rest
            goes into ``summary``.
        error: the exception that ended it.
        acknowledged: when a stop was first seen, in seconds since the epoch.
        stop_reason: why it was asked to stop.
        checkpoint: the newest checkpoint, as it goes on the wire.
    """
    report: dict[str, Any] = {"attempt": attempt, "status": str(status)}
    rest = dict(result or {})
    rest.pop("status", None)
    for key, name in _REPORTED.items():
        value = _count(rest.get(key))
        if value is not None:
            del rest[key]
            if value or key != _ABSENT_AT_A_BOUNDARY:
                report[name] = value
    if isinstance(artifacts := rest.get("artifacts"), (list, tuple)):
        del rest["artifacts"]
        if listed := wire.artifacts_on_wire(artifacts):
            report["artifacts"] = listed
    if acknowledged is not None:
        report["cancelAcknowledgedAt"] = wire.timestamp(acknowledged)
    if stop_reason is not None:
        report["stopReason"] = stop_reason
    if checkpoint is not None:
        report["checkpoint"] = dict(checkpoint)
    if error is not None:
        report["error"] = _error(error)
    if rest and (summary := _bounded_summary(rest)):
        report["summary"] = summary
    return report


def termination_message(report: Mapping[str, Any]) -> str:
    """The report as a container's last words: compact, and small enough not to be cut.

    Whole fields are left out, the least telling first, until it fits.
    """
    compact = json.loads(json.dumps(report))
    error = compact.get("error") or {}
    for key in (None, "traceback", "summary", "artifacts", "message", "error"):
        if key == "traceback":
            error.pop("traceback", None)
        elif key == "message" and "message" in error:
            error["message"] = wire.bounded_text(error["message"], _SHORT)
        elif key is not None:
            compact.pop(key, None)
        text = json.dumps({"headway": 1, "report": compact}, separators=(",", ":"))
        if len(text.encode()) <= limits.TERMINATION_MESSAGE_BYTES:
            return text
    return ""


def _error(error: BaseException) -> dict[str, Any]:
    lines = "".join(traceback.format_exception(error))
    return {
        "type": wire.bounded_text(type(error).__name__, 256),
        "message": wire.bounded_text(error, limits.ERROR_MESSAGE_LENGTH),
        "traceback": wire.bounded_text(lines, limits.TRACEBACK_LENGTH, keep_end=True),
    }


def _bounded_summary(rest: Mapping[str, Any]) -> dict[str, Any]:
    """What fits. Of a table, such as what failed by symbol, the first rows and how many more."""
    room, out = limits.SUMMARY_BYTES, {}
    for key, value in rest.items():
        name, told = wire.bounded_text(key, limits.MESSAGE_LENGTH), wire.jsonable(value)
        if _bytes({name: told}) > room and isinstance(value, dict) and isinstance(told, dict):
            told = _beginning(told, len(value), room - _bytes({name: {}}))
        if (size := _bytes({name: told})) <= room:
            room -= size
            out[name] = told
    return out


def _beginning(table: dict[str, Any], rows: int, room: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    room -= _bytes({_MORE: f"{rows} more"})
    for key, value in table.items():
        if (size := _bytes({key: value})) > room:
            break
        room -= size
        out[key] = value
    return {**out, _MORE: f"{rows - len(out)} more"}


def _bytes(value: object) -> int:
    return len(json.dumps(value).encode())


def _count(value: object) -> int | None:
    number = wire.whole(value)
    return None if number is None else max(0, number)
