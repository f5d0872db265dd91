"""``headway list``, ``get`` and ``watch``: what there is, how one stands, how one goes on."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_cli import terminal
from headway_cli.completing import operation_names
from headway_cli.connecting import connect, parsed, told
from headway_cli.naming import LATEST
from headway_cli.options import Format, Output, Selector, Where
from headway_cli.selecting import meant, one, phase_named

if TYPE_CHECKING:
    from headway.client import OperationsClient

Name = Annotated[
    str,
    typer.Argument(
        metavar="[NAME]",
        help="The operation; @latest if left out.",
        show_default=False,
        autocompletion=operation_names,
    ),
]


def list_(
    where: Where,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")
    ] = False,
    selector: Selector = "",
    phase: Annotated[
        str | None, typer.Option(metavar="PHASE", help="Only what is in this phase.")
    ] = None,
    output: Output = None,
) -> None:
    """List operations, the newest last."""
    from headway_cli import printing
    from headway_cli.view import listing

    client = connect(where)
    fields = f"status.phase={phase_named(phase)}" if phase else ""
    with told(where):
        found = client.list(selector, fields, all_namespaces)
    if output in (Format.JSON, Format.YAML, Format.NAME):
        text = printing.many(found, output)
        if text:
            terminal.show(text)
        return
    if not found:
        terminal.say(_nothing(client, selector, phase, everywhere=all_namespaces))
        return
    wall = datetime.now(UTC)
    rows = [
        listing.row(operation, wall)
        for operation in listing.newest_last([parsed(item) for item in found])
    ]
    lines = listing.lines(
        rows,
        namespaces=all_namespaces,
        wide=output is Format.WIDE,
        width=terminal.width(sys.stdout),
        colour=terminal.has_colours(sys.stdout),
    )
    terminal.show("\n".join(lines))


def get(where: Where, name: Name = LATEST, output: Output = None) -> None:
    """Show one operation in detail."""
    from headway_cli import printing

    client = connect(where)
    known = one(client, name, where)
    with meant(client, known, where):
        raw = client.get(known)
    if output is Format.WIDE:
        list_rows([raw])
    elif output is not None:
        terminal.show(printing.one(raw, output))
    else:
        _describe(client, raw, where)


def watch(where: Where, name: Name = LATEST) -> None:
    """Follow one operation to its end.

    Ctrl-C asks whether to detach or to cancel.
    """
    from headway_cli.commands.running import follow_in_cluster

    client = connect(where)
    follow_in_cluster(client, one(client, name, where), where)


def list_rows(found: list[dict[str, Any]]) -> None:
    """Print operations as the wide table."""
    from headway_cli.view import listing

    wall = datetime.now(UTC)
    rows = [listing.row(parsed(item), wall) for item in found]
    colour = terminal.has_colours(sys.stdout)
    terminal.show("\n".join(listing.lines(rows, wide=True, colour=colour)))


def _describe(client: OperationsClient, raw: dict[str, Any], where: Where) -> None:
    from headway.client_errors import ClientError

    from headway_cli.view import details

    operation = parsed(raw)
    try:
        pods, events = client.pods(operation.metadata.name), client.events(operation.metadata.name)
    except ClientError:  # may not be readable for this person: the operation itself is
        pods, events = [], []
    view = details.Details(operation, pods, events, datetime.now(UTC), flags=where.flags())
    console = terminal.console()
    if console.is_terminal:
        console.print(view)
    else:
        terminal.show(*view.lines())


def _nothing(
    client: OperationsClient, selector: str, phase: str | None, *, everywhere: bool
) -> str:
    place = "in any namespace" if everywhere else f"in namespace {client.namespace}"
    with_labels = f" with the labels {selector}" if selector else ""
    in_phase = f" in phase {phase}" if phase else ""
    return f"There is no operation{with_labels}{in_phase} {place}. Next: headway run dummy"
