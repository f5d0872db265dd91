"""``headway cancel`` and ``headway delete``: ends of runs."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from headway_cli import terminal
from headway_cli.completing import operation_names
from headway_cli.connecting import connect, parsed, told
from headway_cli.options import Selector, Timeout, Where
from headway_cli.problems import usage
from headway_cli.selecting import meant, named, some
from headway_cli.several import Failures, Patience

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME...]", help="Operations; @latest works.", autocompletion=operation_names
    ),
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
    if now and grace is not None:
        raise usage("Give either --now or --grace: --now is a grace period of none.")
    named(names, selector, where)
    client = connect(where)
    failures, patience, asked = Failures(), Patience(timeout), []
    for name in some(client, names or [], selector, where):
        with failures, meant(client, name, where):
            before = parsed(client.get(name))
            if before.is_final:
                terminal.show(f"{name} is {before.phase.value} already: there is nothing to cancel")
                continue
            client.cancel(name, reason, 0 if now else grace)
            asked.append(name)
            if not wait:
                terminal.show(f"{name} is asked to stop")
    for name in asked if wait else ():
        with failures, told(where):
            ended = patience.wait(name, partial(client.wait_final, name))
            terminal.show(_ended(parsed(ended)))
    if asked and not wait and sys.stderr.isatty():
        terminal.say("Next:", f"  headway watch {asked[0]} {where.flags()}".rstrip())
    failures.leave()


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
    named(names, selector, where)
    client = connect(where)
    failures, uids = Failures(), {}
    for name in some(client, names or [], selector, where):
        with failures, meant(client, name, where):
            uids[name] = _uid_or_none(client, name, ask=not yes)
    patience = Patience(timeout)
    for name, uid in uids.items():
        if uid is None:
            terminal.show(f"{name} is kept")
            continue
        with failures, told(where):
            client.delete(name, uid=uid)
            if wait:
                patience.wait(name, partial(client.wait_deleted, name))
            terminal.show(f"{name} deleted" if wait else f"{name} is being deleted")
    failures.leave()


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
