"""From the options of a command to a client, and from a client's errors to problems for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headway.client_errors import (
    ClientError,
    Forbidden,
    Invalid,
    NameTaken,
    NotFound,
    NotInstalled,
    Refused,
    TimedOut,
    Unreachable,
)

from headway_cli.exits import ExitCode
from headway_cli.options import Where
from headway_cli.problems import Problem

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation


def connect(where: Where) -> OperationsClient:
    """A client for the cluster and namespace that the options name.

    Raises:
        Problem: no cluster is configured.
    """
    with told(where):
        from headway.client import OperationsClient

        return OperationsClient.connect(where.kubeconfig, where.context, where.namespace)


def parsed(raw: dict[str, Any]) -> TrainingOperation:
    """The operation as a model.

    Raises:
        Problem: it is nothing that this version can read.
    """
    from headway_api.models import TrainingOperation
    from pydantic import ValidationError

    try:
        return TrainingOperation.model_validate(raw)
    except ValidationError as error:
        name = (raw.get("metadata") or {}).get("name", "?")
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Problem(
            f"Operation {name} cannot be read by this version of headway.",
            why=f"{place}: {first['msg']}",
            todo=[f"headway get {name} -o yaml"],
        ) from error


@contextmanager
def told(where: Where | None = None) -> Iterator[None]:
    """Turns a client's errors into problems with what to do next."""
    try:
        yield
    except ClientError as error:
        raise problem_of(error, where or Where()) from error


def problem_of(error: ClientError, where: Where) -> Problem:
    """The problem that a client's error is to a person at the command line."""
    flags = f" {where.flags()}" if where.flags() else ""
    why = "\n".join(error.details)
    code, todo = ExitCode.FAILED, []
    match error:
        case NotFound():
            code, todo = ExitCode.NOT_FOUND, [f"headway list{flags}"]
            if "no namespace" in error.message:
                todo = ["kubectl get namespaces"]
        case NotInstalled():
            code, todo = ExitCode.REFUSED, [f"headway install{_cluster_flags(where)}"]
            return Problem("Headway is not installed on this cluster.", todo=todo, code=code)
        case NameTaken():
            code = ExitCode.REFUSED
            todo = ["choose another name, or leave --name out to have one made"]
        case Invalid():
            code, todo = ExitCode.REFUSED, ["kubectl explain trainop.spec"]
            if "refused to list" in error.message:
                todo = ["headway list --help"]
        case Forbidden():
            code, todo = ExitCode.REFUSED, [f"headway doctor{flags}"]
        case Refused():
            code = ExitCode.REFUSED
        case Unreachable():
            code, todo = ExitCode.UNREACHABLE, _ways_to_a_cluster(error)
        case TimedOut():
            code, todo = ExitCode.TIMED_OUT, [f"headway list{flags}"]
    return Problem(error.message, why=why, todo=todo, code=code)


def _cluster_flags(where: Where) -> str:
    flags = Where(None, where.context, where.kubeconfig).flags()
    return f" {flags}" if flags else ""


def _ways_to_a_cluster(error: Unreachable) -> list[str]:
    if error.message.startswith("No cluster is configured"):
        return [
            "headway cluster up            (a real Kubernetes on this machine)",
            "headway run ... --local       (without any Kubernetes)",
        ]
    if error.message.startswith("There is no context"):
        return ["kubectl config get-contexts"]
    return ["headway doctor", "headway cluster up            (if it is the local one)"]
