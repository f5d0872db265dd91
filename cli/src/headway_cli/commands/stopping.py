"""``headway cancel`` and ``headway delete``: ends of runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headway_cli import terminal
from headway_cli.connecting import connect, parsed, told
from headway_cli.options import Selector, Timeout, Where
from headway_cli.selecting import some

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Operations; @latest works.")
]


def cancel(
    where: Where,
    names: Names = None,
    selector: Selector = "",
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for whoever looks later.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Without a grace period: its pods are deleted at once.")
    ] = False,
    grace: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="How long it may take to stop by itself."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return once it has stopped.")] = False,
    timeout: Timeout = None,
) -> None:
    """Stop operations.

    They are asked to stop, and ended by force once their grace period is over.
    """
    client = connect(where)
    asked = []
    for name in some(client, names or [], selector, where):
        with told(where):
            before = parsed(client.get(name))
            if before.is_final:
                terminal.show(f"{name} is {before.phase.value} already: there is nothing to cancel")
                continue
            client.cancel(name, reason, 0 if now else grace)
        asked.append(name)
        if not wait:
            terminal.show(f"{name} is asked to stop")
    for name in asked if wait else ():
        with told(where):
            ended = parsed(client.wait_final(name, timeout))
        terminal.show(_ended(ended))
    if asked and not wait and sys.stderr.isatty():
        terminal.say("Next:", f"  headway watch {asked[0]} {where.flags()}".rstrip())


def delete(
    where: Where,
    names: Names = None,
    selector: Selector = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before a run that goes on is ended.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return once it is gone.")] = True,
    timeout: Timeout = None,
) -> None:
    """Delete operations and their records.

    What still runs is stopped first.
    """
    client = connect(where)
    chosen = some(client, names or [], selector, where)
    with told(where):
        uids = {name: _uid_or_none(client, name, ask=not yes) for name in chosen}
        for name, uid in uids.items():
            if uid is None:
                terminal.show(f"{name} is kept")
                continue
            client.delete(name, uid=uid)
            if wait:
                client.wait_deleted(name, timeout)
            terminal.show(f"{name} deleted" if wait else f"{name} is being deleted")


def _uid_or_none(client: OperationsClient, name: str, *, ask: bool) -> str | None:
    """The uid of what may be deleted; None where the person would rather keep it."""
    operation = parsed(client.get(name))
    talks = sys.stdin.isatty() and sys.stderr.isatty()
    if ask and talks and not operation.is_final:
        question = f"{name} is {operation.phase.value}. Stop it and delete its record?"
        if not typer.confirm(question, err=True):
            return None
    return operation.metadata.uid


def _ended(operation: TrainingOperation) -> str:
    from headway_cli.view.result import result_of

    view = result_of(operation)
    stop = next((fact.text for fact in view.facts if fact.label == "Stop"), "")
    return f"{view.title}{f' ({stop})' if stop else ''}"
