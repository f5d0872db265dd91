"""One run in detail, as ``headway get`` prints it: how it stands, and what belongs to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from headway_cli.view import attempts, run_view, wording
from headway_cli.view.listing import ran_for
from headway_cli.view.live import LiveView
from headway_cli.view.plain import text as plain_text
from headway_cli.view.result import hint_lines, next_commands, panel, result_of
from headway_cli.view.tracking import Tracker

if TYPE_CHECKING:
    from headway_api.models import TrainingOperation
    from rich.console import Console, ConsoleOptions, RenderResult

    from headway_cli.view.run_view import RunView

_EVENTS = 6


@dataclass(frozen=True)
class Details:
    """Everything worth a look about one run.

    Attributes:
        operation: the run.
        pods: its pods, as the API has them.
        events: the Events about it, oldest first, as the API has them.
        wall: the time now.
        flags: what next commands need to find the same operation.
    """

    operation: TrainingOperation
    pods: list[dict[str, Any]]
    events: list[dict[str, Any]]
    wall: datetime
    flags: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.operation.is_final:
            yield panel(result_of(self.operation), ascii_only=options.ascii_only)
        else:
            yield LiveView(self._now())
        yield Text("")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, words in self.facts():
            grid.add_row(f"  {label}", Text(words))
        yield grid
        recent = self.recent_events()
        if recent:
            yield Text("  Events", style="dim")
            for line in recent:
                yield Text("    " + wording.shortened(line, options.max_width - 5), no_wrap=True)
        this = f"headway get {self.operation.metadata.name} {self.flags}".rstrip()
        commands = next_commands(self.operation, flags=self.flags)
        for line in hint_lines(tuple(command for command in commands if command != this)):
            yield Text(line, style="dim", no_wrap=True, overflow="ignore")

    def lines(self) -> list[str]:
        """The same as plain text, for a pipe."""
        if self.operation.is_final:
            out = result_of(self.operation).lines()
        else:
            out = [f"{self.operation.metadata.name}  {plain_text(self._now())}"]
        facts = self.facts()
        width = max(len(label) for label, _ in facts)
        out += [f"  {label:<{width}}  {words}" for label, words in facts]
        recent = self.recent_events()
        if recent:
            out += ["  Events", *(f"    {line}" for line in recent)]
        return out

    def _now(self) -> RunView:
        tracker = Tracker(time.monotonic())
        tracker.see(self.operation, time.monotonic())
        now = tracker.view(time.monotonic(), self.wall)
        assert now is not None  # noqa: S101 - it was just seen
        # One look cannot tell how long the trainer has been silent.
        return replace(now, quiet_seconds=None)

    def facts(self) -> list[tuple[str, str]]:
        """Labelled lines about what the run is made of."""
        operation = self.operation
        spec, status, metadata = operation.spec, operation.status, operation.metadata
        facts = [("Namespace", metadata.namespace), ("Type", _typed(operation))]
        if metadata.labels:
            facts.append(("Labels", ", ".join(f"{k}={v}" for k, v in metadata.labels.items())))
        if metadata.creation_timestamp is not None:
            age = wording.duration((self.wall - metadata.creation_timestamp).total_seconds())
            created = metadata.creation_timestamp.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            facts.append(("Created", f"{created} ({age} ago)"))
        if status.start_time is not None:
            facts.append(("Ran", wording.duration(ran_for(operation, self.wall))))
        if status.progress is not None and not operation.is_final:
            beat = status.progress.heartbeat.astimezone().strftime("%H:%M:%S")
            facts.append(("Last heard", f"{beat}, by the trainer's clock"))
        if spec.image is not None:
            facts.append(("Image", spec.image))
        if spec.storage is not None:
            facts.append(("Workspace", _workspace(operation)))
        if not operation.is_final:  # else the result has told them
            facts += _labelled("Attempts", attempts.told(operation))
        report = status.report
        if report is not None and report.checkpoint is not None and spec.keeps_its_workspace:
            facts.append(("Checkpoint", report.checkpoint.path))
        if spec.cancel and not operation.is_final:
            facts.append(("Cancel", spec.cancel_reason or "requested"))
        facts += [("Pod", _pod(pod)) for pod in self.pods]
        return facts

    def recent_events(self) -> list[str]:
        """The last Events, one a line."""
        lines = []
        for event in self.events[-_EVENTS:]:
            when = event.get("lastTimestamp") or event.get("eventTime")
            ago = ""
            if when:
                seen = datetime.fromisoformat(str(when))
                ago = f"{wording.duration((self.wall - seen).total_seconds())} ago  "
            words = " ".join(str(event.get("message", "")).split())
            lines.append(f"{ago}{wording.reasoned(str(event.get('reason', '')), words)}")
        return lines


def _labelled(label: str, lines: list[str]) -> list[tuple[str, str]]:
    """The lines as facts, of which the first carries the label."""
    return [(label if not index else "", line) for index, line in enumerate(lines)]


def _typed(operation: TrainingOperation) -> str:
    about = run_view.subject(operation)
    return f"{operation.spec.type.value}, {about}" if about else operation.spec.type.value


def _workspace(operation: TrainingOperation) -> str:
    storage = operation.spec.storage
    if storage is None or not operation.spec.keeps_its_workspace:
        return "gone with the pod"
    if storage.existing_claim is not None:
        folder = (
            f", folder {storage.existing_claim.sub_path}" if storage.existing_claim.sub_path else ""
        )
        return f"claim {storage.existing_claim.claim_name}{folder}"
    size = storage.claim_template.size if storage.claim_template is not None else ""
    return f"a claim of its own, {size}"


def _pod(pod: dict[str, Any]) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    phase = (pod.get("status") or {}).get("phase", "Unknown")
    return f"{pod['metadata']['name']}  {phase}{f' on {node}' if node else ''}"
