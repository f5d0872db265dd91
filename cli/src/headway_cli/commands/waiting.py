"""``headway wait``: return when a run is over, or has come to a phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from headway.client_errors import TimedOut

from headway_cli import terminal
from headway_cli.commands.looking import Name
from headway_cli.connecting import connect, parsed
from headway_cli.exits import ExitCode, outcome
from headway_cli.naming import LATEST
from headway_cli.options import Timeout, Where
from headway_cli.problems import Problem
from headway_cli.selecting import meant, one, phase_named

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation
    from headway_api.vocabulary import Phase


def wait(
    where: Where,
    name: Name = LATEST,
    until: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="PHASE",
            help="Return as soon as it is in this phase; to end in another is to fail.",
        ),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Wait until an operation is over.

    The exit code says how it ended.
    """
    wanted = phase_named(until) if until else None
    client = connect(where)
    known = one(client, name, where)
    with meant(client, known, where):
        operation = _awaited(client, known, wanted, timeout, where)
    terminal.show(f"{known} {operation.phase.value}")
    if operation.phase is wanted:
        raise typer.Exit(ExitCode.SUCCESS)
    if wanted is None:
        raise typer.Exit(outcome(operation.phase))
    terminal.say(f"It is over, and was not seen {wanted.value}.")
    raise typer.Exit(outcome(operation.phase) or ExitCode.FAILED)


def _awaited(
    client: OperationsClient,
    name: str,
    wanted: Phase | None,
    timeout: float | None,
    where: Where,
) -> TrainingOperation:
    operation = None
    try:
        for raw in client.watch(name, timeout=timeout):
            operation = parsed(raw)
            if operation.is_final or operation.phase is wanted:
                return operation
    except TimedOut as error:
        if operation is None:
            raise
        raise Problem(
            f"{name} is still {operation.phase.value} after {timeout:g} s.",
            todo=[f"headway get {name} {where.flags()}".rstrip()],
            code=ExitCode.TIMED_OUT,
        ) from error
    raise Problem(
        f"{name} was deleted before it was over.",
        todo=[f"headway list {where.flags()}".rstrip()],
        code=ExitCode.NOT_FOUND,
    )
