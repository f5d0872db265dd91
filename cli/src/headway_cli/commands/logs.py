"""``headway logs``: what a run printed, from its pods or from what they left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_cli import terminal
from headway_cli.commands.looking import Name
from headway_cli.connecting import connect, parsed, told
from headway_cli.exits import ExitCode
from headway_cli.naming import LATEST
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.selecting import one

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation

_POLL = 0.5
"""Seconds between two looks for a pod that has not started yet."""

_OVER = frozenset({"Succeeded", "Failed"})


def logs(
    where: Where,
    name: Name = LATEST,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run is over.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Only the last lines.")
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="With the time of each line.")
    ] = False,
) -> None:
    """Print what an operation printed."""
    client = connect(where)
    known = one(client, name, where)
    with told(where):
        lines = (
            _followed(client, known, tail, timestamps=timestamps)
            if follow
            else _standing(client, known, tail, timestamps=timestamps, where=where)
        )
        silent = True
        for line in lines:
            silent = False
            terminal.show(line)
    if silent:
        terminal.say(f"{known} has printed nothing.")


def _standing(
    client: OperationsClient, name: str, tail: int | None, *, timestamps: bool, where: Where
) -> Iterator[str]:
    from headway.client_errors import Invalid, NotFound

    operation = parsed(client.get(name))
    pods = client.pods(name)
    if not pods:
        yield from _left_behind(operation, tail, where)
        return
    silent, details = True, ""
    try:
        for line in client.log(pods[-1]["metadata"]["name"], tail=tail, timestamps=timestamps):
            silent = False
            yield line
    except (Invalid, NotFound) as error:
        details = "\n".join(error.details)
    # A pod that no node has yet gives an empty log and no error.
    if details or (silent and operation.status.start_time is None):
        raise Problem(
            f"{name} has no log yet: it is {operation.phase.value}.",
            why=operation.status.message or details,
            todo=[f"headway logs {name} -f {where.flags()}".rstrip()],
            code=ExitCode.NOT_FOUND,
        )


def _left_behind(operation: TrainingOperation, tail: int | None, where: Where) -> Iterator[str]:
    name = operation.metadata.name
    left = operation.status.last_logs
    if left is None:
        over = operation.is_final
        raise Problem(
            f"{name} has no pod{' any more, and its log went with it' if over else ' yet'}.",
            why=f"It is {operation.phase.value}.",
            todo=[f"headway {'get' if over else 'watch'} {name} {where.flags()}".rstrip()],
            code=ExitCode.NOT_FOUND,
        )
    terminal.say(f"The pod {left.pod} is gone; these are the last lines that it left:")
    lines = left.text.splitlines()
    yield from lines[-tail:] if tail else lines


def _followed(
    client: OperationsClient, name: str, tail: int | None, *, timestamps: bool
) -> Iterator[str]:
    """Every line until the run is over; a connection that breaks is made again."""
    from headway.client_errors import Invalid, NotFound, Unreachable

    printed: dict[str, int] = {}
    while True:
        over = parsed(client.get(name)).is_final
        for pod in client.pods(name):
            pod_name = pod["metadata"]["name"]
            if printed.get(pod_name) == -1:
                continue
            skip = printed.get(pod_name, 0)
            first = skip == 0
            try:
                for index, line in enumerate(
                    client.log(
                        pod_name, follow=True, tail=tail if first else None, timestamps=timestamps
                    )
                ):
                    if index >= skip:
                        printed[pod_name] = index + 1
                        yield line
            except (Invalid, NotFound):  # not started yet, or just gone
                continue
            except Unreachable:
                if tail is not None:  # the lines before it were never counted
                    raise
                continue
            # With a tail there is no telling where to go on, and the stream ended in good order.
            if tail is not None or _is_over(client, pod_name, name):
                printed[pod_name] = -1
        if over:
            return
        time.sleep(_POLL)


def _is_over(client: OperationsClient, pod: str, name: str) -> bool:
    found: list[dict[str, Any]] = [p for p in client.pods(name) if p["metadata"]["name"] == pod]
    return not found or found[0].get("status", {}).get("phase") in _OVER
