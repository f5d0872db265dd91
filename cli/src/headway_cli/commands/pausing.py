"""``headway suspend`` and ``headway resume``: a rest that holds nothing, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from headway_api.vocabulary import Phase

from headway_cli import terminal
from headway_cli.commands.stopping import Names
from headway_cli.connecting import connect, parsed, told
from headway_cli.options import Selector, Timeout, Where
from headway_cli.problems import Problem
from headway_cli.selecting import some

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return once that is so, or at once.")]


def suspend(
    where: Where,
    names: Names = None,
    selector: Selector = "",
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Pause operations.

    They write a checkpoint, and hold no machine any more until they are resumed.
    """
    client = connect(where)
    asked = []
    for name in some(client, names or [], selector, where):
        with told(where):
            before = _going(client, name)
            if before.phase is Phase.SUSPENDED:
                terminal.show(f"{name} is Suspended already")
                continue
            client.suspend(name)
        terminal.show(f"{name} is asked to suspend")
        asked.append(name)
    for name in asked if wait else ():
        with told(where):
            after = _once(client, name, timeout, lambda o: o.phase is Phase.SUSPENDED)
        terminal.show(_rests(after))
    if asked:
        terminal.say("Next:", f"  headway resume {asked[0]} {where.flags()}".rstrip())


def resume(
    where: Where,
    names: Names = None,
    selector: Selector = "",
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Let suspended operations go on, from their checkpoints."""
    client = connect(where)
    asked = []
    for name in some(client, names or [], selector, where):
        with told(where):
            before = _going(client, name)
            if not before.spec.suspend:
                terminal.show(f"{name} is not suspended: it is {before.phase.value}")
                continue
            client.resume(name)
        terminal.show(f"{name} is resumed")
        asked.append(name)
    for name in asked if wait else ():
        with told(where):
            after = _once(client, name, timeout, _goes_on)
        terminal.show(f"{name} is {after.phase.value} (attempt {after.status.attempt})")
    if asked:
        terminal.say("Next:", f"  headway watch {asked[0]} {where.flags()}".rstrip())


def _going(client: OperationsClient, name: str) -> TrainingOperation:
    """An operation that is not over.

    Raises:
        Problem: it is over, or on its way there.
    """
    operation = parsed(client.get(name))
    if operation.is_final:
        raise Problem(
            f"{name} is {operation.phase.value}, and what is over stays so.",
            todo=[f"headway retry {name}"],
        )
    if operation.spec.cancel:
        raise Problem(f"{name} is cancelled; that cannot be taken back.")
    return operation


def _goes_on(operation: TrainingOperation) -> bool:
    return operation.phase not in (Phase.SUSPENDED, Phase.SUSPENDING)


def _once(
    client: OperationsClient,
    name: str,
    timeout: float | None,
    condition: Callable[[TrainingOperation], bool],
) -> TrainingOperation:
    """The operation as soon as the condition holds, or it is over.

    Raises:
        Problem: it was deleted first.
    """
    for raw in client.watch(name, timeout=timeout):
        operation = parsed(raw)
        if condition(operation) or operation.is_final:
            return operation
    raise Problem(f"{name} was deleted meanwhile.")


def _rests(operation: TrainingOperation) -> str:
    name, status = operation.metadata.name, operation.status
    if operation.phase is not Phase.SUSPENDED:
        return f"{name} was over first: it is {operation.phase.value}"
    kept = next((a.checkpoint for a in reversed(status.attempts or []) if a.checkpoint), None)
    return f"{name} is Suspended ({f'checkpoint {kept}' if kept else 'it left no checkpoint'})"
