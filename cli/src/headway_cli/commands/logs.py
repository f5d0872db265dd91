"""``headway logs``: what a run printed, from its pods or from what they left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from headway_api import names
from headway_api.vocabulary import Phase

from headway_cli import terminal
from headway_cli.commands.looking import Name
from headway_cli.connecting import connect, parsed
from headway_cli.exits import ExitCode
from headway_cli.naming import LATEST
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.selecting import meant, one

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation

_POLL = 0.5
"""Seconds between two looks for a pod that has not started yet."""

_OVER = frozenset({"Succeeded", "Failed"})
_ENDED = -1
"""In place of the number of lines: this pod has said all."""


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
    with meant(client, known, where):
        lines = (
            _Following(client, known, where).lines(tail, timestamps=timestamps)
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
    pods = in_order(client.pods(name))
    if not pods:
        yield from _left_behind(operation, tail, where)
        return
    silent, details = True, ""
    try:
        for line in client.log(speaker(pods), tail=tail, timestamps=timestamps):
            silent = False
            yield line
    except (Invalid, NotFound) as error:
        details = "\n".join(error.details)
    # A pod that no node has yet gives an empty log and no error.
    if details or (silent and operation.status.start_time is None):
        over = operation.is_final
        what, then = ("no log", "get {}") if over else ("no log yet", "logs {} -f")
        raise Problem(
            f"{name} has {what}: it is {operation.phase.value}.",
            why=operation.status.message or details,
            todo=[f"headway {then.format(name)} {where.flags()}".rstrip()],
            code=ExitCode.NOT_FOUND,
        )


def in_order(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods by attempt, and of an attempt by rank, however many were made in one second."""

    def place(pod: dict[str, Any]) -> tuple[int, int]:
        labels = pod["metadata"].get("labels") or {}
        return _number(labels.get(names.LABEL_ATTEMPT)), _number(labels.get(names.LABEL_INDEX))

    return sorted(pods, key=place)


def speaker(pods: list[dict[str, Any]]) -> str:
    """The pod that speaks for a run: rank 0 of its newest attempt."""
    newest = pods[-1]["metadata"].get("labels") or {}
    attempt = newest.get(names.LABEL_ATTEMPT)
    of_it = [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(names.LABEL_ATTEMPT) == attempt
    ]
    return str(of_it[0]["metadata"]["name"])


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdigit() else 0


def _left_behind(operation: TrainingOperation, tail: int | None, where: Where) -> Iterator[str]:
    name = operation.metadata.name
    left = operation.status.last_logs
    if left is None:
        over = operation.is_final
        what = f"{name} has no pod{' any more, and its log went with it' if over else ' yet'}."
        if over and operation.status.start_time is None:
            what = f"{name} never ran: there is no log."
        raise Problem(
            what,
            why=f"It is {operation.phase.value}.",
            todo=[f"headway {'get' if over else 'watch'} {name} {where.flags()}".rstrip()],
            code=ExitCode.NOT_FOUND,
        )
    terminal.say(f"The pod {left.pod} is gone; these are the last lines that it left:")
    lines = left.text.splitlines()
    yield from lines if tail is None else lines[max(0, len(lines) - tail) :]


class _Following:
    """The log of a run from now until it is over, pod after pod.

    A connection that breaks is made again: what was printed is not printed twice.
    """

    def __init__(self, client: OperationsClient, name: str, where: Where) -> None:
        self._client = client
        self._name = name
        self._where = where
        self._printed: dict[str, int] = {}
        self._said = ""
        self._silent = True

    def lines(self, tail: int | None, *, timestamps: bool) -> Iterator[str]:
        """Every line until the run is over.

        Raises:
            ClientError: there is no such operation (any more), or it may not be read.
            Problem: it is over, and nothing of its log is left.
        """
        from headway.client_errors import Unreachable

        seen = False
        while True:
            try:
                operation = parsed(self._client.get(self._name))
                pods = in_order(self._client.pods(self._name))
                seen = True
                yield from self._of(pods, tail, timestamps=timestamps)
            except Unreachable as error:
                # With a tail, there is no telling where to go on.
                if not seen or (tail is not None and self._printed):
                    raise
                self._say(f"{error.message} It is tried again.")
                time.sleep(_POLL)
                continue
            if operation.is_final:
                never = operation.status.start_time is None and self._silent
                if never or (not pods and not self._printed):
                    yield from _left_behind(operation, tail, self._where)
                return
            if operation.phase is not Phase.RUNNING:
                why = operation.status.message or operation.status.reason or ""
                words = f"{self._name} is {operation.phase.value}"
                self._say(f"{words}: {why}" if why else f"{words}.")
            time.sleep(_POLL)

    def _of(
        self, pods: list[dict[str, Any]], tail: int | None, *, timestamps: bool
    ) -> Iterator[str]:
        from headway.client_errors import Invalid, NotFound

        for pod in pods:
            name = str(pod["metadata"]["name"])
            skip = self._printed.get(name, 0)
            if skip == _ENDED:
                continue
            lines = self._client.log(
                name, follow=True, tail=None if skip else tail, timestamps=timestamps
            )
            try:
                for index, line in enumerate(lines):
                    if index < skip:
                        continue
                    if index == 0 and self._printed:
                        terminal.say(f"Pod {name}:")
                    self._printed[name] = index + 1
                    self._silent = False
                    yield line
            except (Invalid, NotFound):  # not started yet, or just gone
                continue
            # With a tail there is no telling where to go on, and the stream ended in good order.
            if tail is not None or self._is_over(name):
                self._printed[name] = _ENDED

    def _is_over(self, pod: str) -> bool:
        found = [p for p in self._client.pods(self._name) if p["metadata"]["name"] == pod]
        return not found or (found[0].get("status") or {}).get("phase") in _OVER

    def _say(self, text: str) -> None:
        """Tell the person what is waited for, once."""
        if text != self._said:
            self._said = text
            terminal.say(text)
