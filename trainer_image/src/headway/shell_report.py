"""``headway report``: progress from a shell script, or from any language.

One call is one write at most, and none where the last one was too short a while ago; what it needs
to know of earlier calls is kept in a small file of the pod.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway_api.vocabulary import ReportStatus

from headway.api_sink import ApiSink
from headway.cancellation import CancellationToken
from headway.delivery import Outcome
from headway.document import Document, Writer, report_of, termination_message
from headway.identity import PodIdentity
from headway.local_sinks import line_of
from headway.pace import Pace
from headway.progress_state import ProgressState
from headway.rendering import ProgressRenderer
from headway.transport import Transport

STOP = 10
"""Exit code that asks the script to stop, for whatever reason (see StopReason)."""
_PATIENCE = 2.0
"""Seconds that a call waits for the API server."""
_TRIES = 3
"""Of one write, where another process of the pod was faster."""


@dataclass
class Memory:
    """What one call tells the next.

    Times are seconds since the epoch; ``stop`` is why the script was asked to stop.
    """

    started: float
    last: float | None = None
    sequence: int | None = None
    stop: str | None = None
    pending: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path) -> Memory:
        """Read the file; a new memory where there is none."""
        try:
            return cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return cls(time.time())

    def save(self, file: Path) -> None:
        """Write the file; without it calls are not paced, which is no reason to fail."""
        try:
            part = file.with_suffix(".part")
            part.write_text(json.dumps(asdict(self)))
            part.replace(file)
        except OSError:
            pass


def main(arguments: Sequence[str]) -> int:
    """Report once; returns 0, or 10 where the script should stop."""
    given = _parser().parse_args(arguments)
    identity = PodIdentity.from_environment()
    file = _memory_file(identity) if identity is not None else None
    memory = Memory.load(file) if file is not None else Memory(time.time())
    state = ProgressState()
    context = {"total_steps": given.total, **dict(given.context)}
    state.put(given.step, given.total, given.message, context, dict(given.metric))
    writer = Writer(state, ProgressRenderer("Operation").render_progress_message)
    report = None
    if given.status:
        stopped = given.status in (ReportStatus.CANCELLED, ReportStatus.INTERRUPTED)
        report = report_of(
            ReportStatus(given.status),
            attempt=identity.attempt if identity else 1,
            result=dict(given.result),
            acknowledged=time.time() if given.status == ReportStatus.CANCELLED else None,
            stop_reason=memory.stop if stopped else None,
        )
    if identity is None or file is None:
        sys.stderr.write(line_of(writer.progress()) + "\n")
        return 0
    if report is not None:
        _leave(identity.termination_message, termination_message(report))
    if given.epoch_end is not None:
        writer.state.end_epoch(given.epoch_end, writer.state.read().metrics)
        memory.pending += writer.state.history()
    return _send(identity, memory, file, writer, report)


def _memory_file(identity: PodIdentity) -> Path:
    worker = f"{identity.uid}-{identity.attempt}-{identity.rank}"
    return Path(tempfile.gettempdir()) / f"headway-report-{worker}.json"


def _send(
    identity: PodIdentity, memory: Memory, file: Path, writer: Writer, report: dict[str, Any] | None
) -> int:
    now = time.time()
    pace = Pace(memory.started, memory.last)
    due = pace.due(progress=True, urgent=bool(memory.pending), final=report is not None)
    if now < due:
        memory.save(file)
        return STOP if memory.stop else 0
    token = CancellationToken()
    transport = Transport(identity.server, identity.service_account, _PATIENCE)
    sink = ApiSink(identity, transport, token)
    if identity.reports:
        writer.attempt = identity.attempt
        _deliver(sink, token, memory, writer, report)
    else:
        memory.pending = []  # the first worker speaks for the run; this one hears whether to stop
        sink.read()
    memory.last = now
    # SIGTERM reaches the script itself; here only what the API server says counts.
    if token.reason is not None:
        memory.stop = str(token.reason)
    memory.save(file)
    return STOP if memory.stop and report is None else 0


def _deliver(
    sink: ApiSink,
    token: CancellationToken,
    memory: Memory,
    writer: Writer,
    report: dict[str, Any] | None,
) -> None:
    history = None
    if memory.sequence is None or memory.pending:
        found = sink.read()
        if found is None and not token.asked:
            return
        held = (found or {}).get("status") or {}
        memory.sequence = int((held.get("progress") or {}).get("sequence") or 0)
        kept = ProgressState()
        kept.resume_history([*(held.get("history") or ()), *memory.pending])
        history = kept.history() if memory.pending else None
    writer.sequence = memory.sequence
    for _ in range(_TRIES):
        delivery = sink.deliver(Document(writer.progress(), history, report))
        if delivery.outcome is Outcome.DELIVERED:
            memory.pending = []
        if delivery.held is None:
            break
        writer.sequence = delivery.held
    memory.sequence = writer.sequence


def _leave(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError:
        sys.stderr.write(f"headway report: {file} cannot be written\n")


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _metric(text: str) -> tuple[str, float]:
    name, value = _pair(text)
    try:
        return name, float(value)
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER") from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway report",
        description="Report progress from inside a trainer pod, from a shell script or any "
        "language. It writes at most once a second, and sends no more than that: a call that "
        "comes too soon costs nothing.",
        epilog=f"Exit codes: 0, go on; {STOP}, the run is to stop; 2, wrong arguments. An API "
        "server that does not answer never makes it fail. With --status it is always 0.",
    )
    parser.add_argument("--step", type=_count, metavar="N", help="steps done")
    parser.add_argument("--total", type=_count, metavar="N", help="steps planned")
    parser.add_argument("--message", metavar="TEXT", help="a sentence for people")
    parser.add_argument(
        "--metric",
        type=_metric,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a metric, such as loss=0.31; may be repeated",
    )
    parser.add_argument(
        "--context",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="where the work stands, such as current_epoch=3; may be repeated",
    )
    parser.add_argument(
        "--epoch-end",
        type=_count,
        metavar="N",
        help="this ends epoch N: its metrics go into the history",
    )
    parser.add_argument(
        "--status",
        choices=[str(s) for s in ReportStatus],
        help="the final report: how the work ended",
    )
    parser.add_argument(
        "--result",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a part of the result, with --status; may be repeated",
    )
    return parser
