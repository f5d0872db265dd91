"""What Tab offers where the name of an operation can stand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import typer
from headway.client_errors import ClientError
from headway_api.vocabulary import FINAL_PHASES, Phase

from headway_cli.options import Where

PATIENCE = 2.0
"""Seconds that a person waits for Tab; a cluster that answers later completes nothing."""


def _is_over(operation: dict[str, Any]) -> bool:
    return (operation.get("status") or {}).get("phase") in FINAL_PHASES


def _goes_on(operation: dict[str, Any]) -> bool:
    return not _is_over(operation) and not operation["spec"].get("cancel")


_MEANT: dict[str, Callable[[dict[str, Any]], bool]] = {
    "cancel": _goes_on,
    "suspend": lambda operation: _goes_on(operation) and not operation["spec"].get("suspend"),
    "resume": lambda operation: _goes_on(operation) and bool(operation["spec"].get("suspend")),
    "retry": _is_over,
}
"""Operations with which a command can do something; the other commands take any."""


def offered(
    command: str, operations: Iterable[dict[str, Any]], begun: str, given: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """The names that can complete what was typed, and a word about each.

    Args:
        command: name of the command that they are for.
        operations: what there is.
        begun: the beginning of the name that was typed.
        given: names that the command has already.
    """
    there = set(given)
    fits = _MEANT.get(command)
    return [
        (name, str((operation.get("status") or {}).get("phase") or Phase.PENDING))
        for operation in operations
        if (name := str(operation["metadata"]["name"])).startswith(begun)
        and name not in there
        and (fits is None or fits(operation))
    ]


def operation_names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """What Tab offers for a name; nothing where no cluster answers soon."""
    chosen = ctx.params
    where = Where(chosen.get("namespace"), chosen.get("context"), chosen.get("kubeconfig"))
    found: list[dict[str, Any]] = []
    # An answer that does not come must not hold the shell up: its thread is left behind.
    asking = threading.Thread(target=_ask, args=(where, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return offered(str(ctx.info_name), list(found), incomplete, chosen.get("names") or ())


def _ask(where: Where, found: list[dict[str, Any]]) -> None:
    from headway.client import OperationsClient

    try:
        client = OperationsClient.connect(where.kubeconfig, where.context, where.namespace)
        found.extend(client.list())
    except ClientError:
        return
