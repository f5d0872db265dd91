"""Where progress goes without a cluster: a line on the terminal, or a file for a program."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from headway.delivery import Delivery, Outcome
from headway.document import Document

_DELIVERED = Delivery(Outcome.DELIVERED)
_METRICS_SHOWN = 3


class TerminalSink:
    """One line that is drawn over and over, or a line per update where nobody draws.

    Attributes:
        is_live: whether the line is drawn over.
    """

    def __init__(self, stream: TextIO) -> None:
        """Take the stream; a terminal that cannot move its cursor gets plain lines."""
        self._stream = stream
        self.is_live = _is_terminal(stream) and os.environ.get("TERM") != "dumb"
        self._said = ""

    def deliver(self, document: Document) -> Delivery:
        """Show it."""
        line = line_of(document.progress)
        try:
            if document.report is not None and "status" in document.report:
                self._end(line, document.report)
            elif self.is_live:
                width = shutil.get_terminal_size().columns - 1
                self._stream.write(f"\r{line[:width]}\x1b[K\r")
            elif line != self._said:
                self._stream.write(f"{line}\n")
            self._said = line
            self._stream.flush()
        except (OSError, ValueError):  # closed: nobody listens, and nobody minds
            pass
        return _DELIVERED

    def _end(self, line: str, report: dict[str, Any]) -> None:
        if self.is_live:
            self._stream.write("\r\x1b[K")
        if self.is_live or line != self._said:
            self._stream.write(f"{line}\n")
        if report["status"] != "success":
            self._stream.write(f"{report['status']}\n")

    def close(self) -> None:
        """Nothing is held."""


class FileSink:
    """One JSON object a line: progress, and history and report where they are new."""

    def __init__(self, file: Path) -> None:
        """Take the file; it is appended to."""
        self._file = file

    def deliver(self, document: Document) -> Delivery:
        """Append it."""
        entry: dict[str, Any] = {"progress": document.progress}
        if document.history is not None:
            entry["history"] = document.history
        if document.report is not None:
            entry["report"] = document.report
        try:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(entry, allow_nan=False) + "\n")
        except OSError:
            return Delivery(Outcome.RETRY)
        return _DELIVERED

    def close(self) -> None:
        """Nothing is held."""


def line_of(progress: dict[str, Any]) -> str:
    """Progress as one line: message, percent, metrics, time left."""
    parts = [str(progress.get("message") or "")]
    if (percent := progress.get("percent")) is not None:
        parts.append(f"{percent:.0f}%")
    metrics = {**(progress.get("metrics") or {}), **(progress.get("nonFinite") or {})}
    parts += [_metric(k, v) for k, v in list(metrics.items())[:_METRICS_SHOWN]]
    if eta := progress.get("etaSeconds"):
        parts.append(f"{_duration(eta)} left")
    return "  ".join(part for part in parts if part)


def _metric(name: str, value: object) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


class SilentSink:
    """Takes documents and says nothing: another process of the run speaks for it."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        """Take what tells whether nothing more is wanted from this process."""
        self._is_over = is_over

    def deliver(self, document: Document) -> Delivery:  # noqa: ARG002 - a port's signature
        """Take it."""
        return Delivery(Outcome.OVER) if self._is_over() else _DELIVERED

    def close(self) -> None:
        """Nothing to let go of."""
