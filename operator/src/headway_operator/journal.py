"""The log: one line for each thing that a person would want to know, as JSON or as text."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """A line for people: time, level, what happened, and then the fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = super().format(record)
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        told = " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{line}  [{told}]" if told else line


def start(log_format: str, level: str) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        TextFormatter()
        if log_format == "text"
        else JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("headway_operator").setLevel(level.upper())
