"""The live view of one run as a Rich renderable: still, narrow or wide, honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway_api.vocabulary import Phase, Reason
from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headway_cli.view import palette, sparkline, wording
from headway_cli.view.run_view import TALKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from headway_cli.view.run_view import Bar, Metric, RunView

_WIDEST_BAR = 60
_NARROWEST_BAR = 10
_WIDEST_SPARK = 24
_NOTES = 14
"""Columns for ``104 batches/s`` or ``ETA 12h5m``, kept free beside a bar."""
_ROOMY = 70
"""Columns from which on a terminal has room to spare."""
_CONTROLLER_ANSWERS_WITHIN = 15.0
"""Seconds that even a busy controller does not need to look at a new run."""


@dataclass(frozen=True)
class Footer:
    """The line below the view.

    Attributes:
        hint: what the keyboard does now.
        question: a question that waits for a key; shown instead of the hint.
        trouble: what is wrong with the connection; empty while all is well.
    """

    hint: str = ""
    question: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class LiveView:
    """Draws a :class:`RunView` at whatever width the terminal has."""

    view: RunView
    footer: Footer = Footer()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*self._parts(options.max_width, options.ascii_only))

    def _parts(self, width: int, ascii_only: bool) -> Iterator[RenderableType]:
        view = self.view
        yield _headline(view, ascii_only)
        yield from _sentences(view, width)
        if view.before:
            yield _indented(Text(wording.shortened(view.before, width - 2), style="dim"))
        if view.bars:
            yield _bars(view, width)
        if view.metrics:
            yield _metrics(view.metrics, width, ascii_only)
        yield from _status_line(view, heard_from=not self.footer.trouble)
        yield from _footer(self.footer)


def _headline(view: RunView, ascii_only: bool) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    style = palette.STYLES[view.phase]
    line.append(palette.sign(view.phase, ascii_only=ascii_only) + " ", style=style)
    line.append(view.name, style="bold")
    line.append(f"  {view.phase.value}", style=f"bold {style}")
    line.append(f"  {wording.duration(view.elapsed_seconds)}")
    line.append(f"  {view.type.value}", style="dim")
    if view.subject:
        line.append(f"  {view.subject}", style="dim")
    return line


def _indented(text: Text) -> RenderableType:
    """The text two columns to the right, on every line that it takes."""
    return Padding(text, (0, 0, 0, 2), expand=False)


def _sentences(view: RunView, width: int) -> Iterator[RenderableType]:
    """What goes on: the controller's words while nothing runs, the trainer's own once it does."""
    running = view.phase in TALKING and bool(view.activity)
    in_trouble = view.reason not in ("", Reason.STARTED)
    if view.phase is not Phase.RUNNING or not view.activity or in_trouble:
        # The phase stands in the headline already.
        words = view.detail.removeprefix(f"{view.phase.value}: ") or _default_sentence(view)
        text = wording.reasoned(view.reason, words)
        # A reason to wait is what the person came to read: it may take three lines, no more.
        room = (width - 2) * 3
        if text:
            yield _indented(Text(wording.shortened(text, room), overflow="fold"))
    if running:
        yield Text("  " + view.activity, no_wrap=True, overflow="ellipsis")


def _default_sentence(view: RunView) -> str:
    if view.phase is Phase.PENDING and not view.reason:
        if view.elapsed_seconds > _CONTROLLER_ANSWERS_WITHIN:
            waited = wording.duration(view.elapsed_seconds)
            return f"no controller has taken it up for {waited}; see: headway doctor"
        return "waiting for the controller"
    return ""


def _bars(view: RunView, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    counts = [_count(bar) for bar in view.bars]
    widest = max(map(len, counts))
    # Room for a count that grows and for a pace that is not known yet: bars stay where they are.
    widest = max(widest, *(2 * len(str(bar.total)) + 1 for bar in view.bars if bar.total), 0)
    labels = max(len(bar.label) for bar in view.bars) + 2
    notes = [
        _pace_note(view) if index == len(view.bars) - 1 else "" for index in range(len(counts))
    ]
    if len(view.bars) > 1:
        notes = [_eta_note(view), view.rate or ""]
    noted = max(*map(len, notes), (_NOTES if width >= _ROOMY else 0) * (3 - len(notes)))
    room = width - labels - widest - noted - 5 - 5
    bar_width = max(_NARROWEST_BAR, min(_WIDEST_BAR, room))
    style = "yellow" if view.stale else palette.STYLES[view.phase]
    for bar, count, note in zip(view.bars, counts, notes, strict=True):
        drawn: RenderableType = Text("")
        percent = ""
        if bar.total:
            drawn = ProgressBar(
                total=1.0,
                completed=bar.share,
                width=bar_width,
                complete_style=style,
                finished_style=style,
            )
            percent = f"{int(bar.share * 100):3d}%"
        cells = Text(f"{percent} {count:>{widest}}" if percent else count)
        grid.add_row("  " + bar.label, drawn, cells, Text(note, style="dim"))
    return grid


def _count(bar: Bar) -> str:
    return f"{bar.at}/{bar.total}" if bar.total else str(bar.at)


def _eta_note(view: RunView) -> str:
    return f"ETA {wording.duration(view.eta_seconds)}" if view.eta_seconds is not None else ""


def _pace_note(view: RunView) -> str:
    return "  ".join(note for note in (view.rate, _eta_note(view)) if note)


def _metrics(metrics: tuple[Metric, ...], width: int, ascii_only: bool) -> Text:
    """Metrics beside each other, as many as fit on two lines, each with its sparkline."""
    spark_width = max(6, min(_WIDEST_SPARK, width // 10))
    levels = sparkline.ASCII if ascii_only else sparkline.BLOCKS
    text = Text(overflow="ellipsis")
    used, lines, hidden = 0, 1, 0
    for metric in metrics:
        cell = Text(f"{metric.name} ", style="dim")
        cell.append(metric.text, style="bold" if metric.finite else "bold red")
        spark = sparkline.sparkline(metric.trend, spark_width, levels)
        if spark:
            cell.append(f" {spark}", style="cyan" if metric.finite else "red")
        if used and used + 3 + cell.cell_len > width - 2:
            if lines == 2:
                hidden += 1
                continue
            text.append("\n")
            used, lines = 0, lines + 1
        lead = "   " if used else "  "
        text.append(lead)
        text.append_text(cell)
        used += len(lead) + cell.cell_len
    if hidden:
        text.append(f"  +{hidden} more", style="dim")
    return text


def _status_line(view: RunView, *, heard_from: bool) -> Iterator[RenderableType]:
    if view.finished or view.quiet_seconds is None:
        return
    quiet = wording.duration(view.quiet_seconds)
    if not view.heard:
        words = f"no update in the {quiet} since this view was opened"
    else:
        words = f"last update {quiet} ago"
    # While the cluster cannot be heard, nothing can be said of the trainer.
    if view.stale and heard_from:
        words += ": the trainer is silent"
    yield _indented(Text(words, style="yellow" if view.stale else "dim", overflow="fold"))


def _footer(footer: Footer) -> Iterator[RenderableType]:
    if footer.trouble:
        yield _indented(Text(footer.trouble, style="yellow", overflow="fold"))
    if footer.question:
        yield _indented(Text(footer.question, style="bold", overflow="fold"))
    elif footer.hint:
        yield Text("  " + footer.hint, style="dim", no_wrap=True, overflow="ellipsis")
