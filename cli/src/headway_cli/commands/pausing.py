"""``headway suspend`` and ``headway resume``: a rest that holds nothing, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from headway_api.vocabulary import Phase

from headway_cli import terminal
from headway_cli.commands.stopping import Names
from headway_cli.connecting import connect, parsed, told
from headway_cli.exits import ExitCode
from headway_cli.options import Selector, Timeout, Where
from headway_cli.problems import Problem
from headway_cli.selecting import meant, named, some
from headway_cli.several import Failures, Patience

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
    named(names, selector, where)
    client = connect(where)
    failures, patience, asked = Failures(), Patience(timeout), []
    for name in some(client, names or [], selector, where):
        with failures, meant(client, name, where):
            before = parsed(client.get(name))
            if not _goes_for(before, selector, where):
                continue
            if before.phase is Phase.SUSPENDED:
                terminal.show(f"{name} is Suspended already")
                continue
            client.suspend(name)
            terminal.show(f"{name} is asked to suspend")
            asked.append(name)
    resting = [] if wait else asked
    for name in asked if wait else ():
        with failures, told(where):
            after = _once(client, name, where, patience, lambda o: o.phase is Phase.SUSPENDED)
            terminal.show(_rests(after))
            if after.phase is Phase.SUSPENDED:
                resting.append(name)
    if resting:
        terminal.say("Next:", f"  headway resume {resting[0]} {where.flags()}".rstrip())
    failures.leave()


def resume(
    where: Where,
    names: Names = None,
    selector: Selector = "",
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Let suspended operations go on, from their checkpoints."""
    named(names, selector, where)
    client = connect(where)
    failures, patience, asked = Failures(), Patience(timeout), []
    for name in some(client, names or [], selector, where):
        with failures, meant(client, name, where):
            before = parsed(client.get(name))
            if not _goes_for(before, selector, where):
                continue
            if not before.spec.suspend:
                terminal.show(f"{name} is not suspended: it is {before.phase.value}")
                continue
            client.resume(name)
            terminal.show(f"{name} is resumed")
            asked.append(name)
    for name in asked if wait else ():
        with failures, told(where):
            after = _once(client, name, where, patience, _goes_on)
            which = f" (attempt {after.status.attempt})" if after.status.attempt else ""
            terminal.show(f"{name} is {after.phase.value}{which}")
    if asked:
        terminal.say("Next:", f"  headway watch {asked[0]} {where.flags()}".rstrip())
    failures.leave()


def _goes_for(operation: TrainingOperation, selector: str, where: Where) -> bool:
    """Whether an operation is neither over nor on its way there.

    Labels may well mean some that are: that is told. A name means that very one.

    Raises:
        Problem: it is, and was given by its name.
    """
    name = operation.metadata.name
    if not operation.is_final and not operation.spec.cancel:
        return True
    if operation.is_final:
        problem = Problem(
            f"{name} is {operation.phase.value}, and what is over stays so.",
            todo=[f"headway retry {name} {where.flags()}".rstrip()],
        )
    else:
        problem = Problem(f"{name} is cancelled; that cannot be taken back.")
    if not selector:
        raise problem
    terminal.show(problem.what)
    return False


def _goes_on(operation: TrainingOperation) -> bool:
    return operation.phase not in (Phase.SUSPENDED, Phase.SUSPENDING)


def _once(
    client: OperationsClient,
    name: str,
    where: Where,
    patience: Patience,
    condition: Callable[[TrainingOperation], bool],
) -> TrainingOperation:
    """The operation as soon as the condition holds, or it is over.

    Raises:
        Problem: it was deleted first.
    """

    def come_to(left: float | None) -> TrainingOperation:
        for raw in client.watch(name, timeout=left):
            operation = parsed(raw)
            if condition(operation) or operation.is_final:
                return operation
        raise Problem(
            f"{name} was deleted meanwhile.",
            todo=[f"headway list {where.flags()}".rstrip()],
            code=ExitCode.NOT_FOUND,
        )

    return patience.wait(name, come_to)


def _rests(operation: TrainingOperation) -> str:
    name, status = operation.metadata.name, operation.status
    if operation.phase is not Phase.SUSPENDED:
        return f"{name} was over first: it is {operation.phase.value}"
    kept = next((a.checkpoint for a in reversed(status.attempts or []) if a.checkpoint), None)
    return f"{name} is Suspended ({f'checkpoint {kept}' if kept else 'it left no checkpoint'})"
