"""Which operations a command means: by name, by @latest, or by labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headway.client_errors import ClientError, NotFound
from headway_api.vocabulary import Phase

from headway_cli import naming
from headway_cli.connecting import problem_of, told
from headway_cli.exits import ExitCode
from headway_cli.options import Where
from headway_cli.problems import Problem, usage
from headway_cli.spelling import nearest

if TYPE_CHECKING:
    from headway.client import OperationsClient


def one(client: OperationsClient, name: str, where: Where) -> str:
    """The name of the operation that was meant; @latest is looked up, anything else is believed.

    Raises:
        Problem: @latest was asked for and there is no operation at all, or no name was given.
    """
    bare = naming.given(name)
    if not bare:
        raise usage(
            "Which operation? The name that was given is empty.",
            todo=[f"headway list {where.flags()}".rstrip()],
        )
    if bare != naming.LATEST:
        return bare
    return str(_latest(client, where)["metadata"]["name"])


def some(client: OperationsClient, names: Sequence[str], selector: str, where: Where) -> list[str]:
    """The names of the operations that were meant, each once.

    Raises:
        Problem: neither names nor labels were given, or both, or nothing has the labels.
    """
    named(names, selector, where)
    if selector:
        with told(where):
            found = client.list(label_selector=selector)
        if not found:
            raise Problem(
                f"No operation in namespace {client.namespace} has the labels {selector}.",
                todo=[f"headway list {where.flags()}".rstrip()],
                code=ExitCode.NOT_FOUND,
            )
        return [str(item["metadata"]["name"]) for item in found]
    return list(dict.fromkeys(one(client, name, where) for name in names))


def named(names: Sequence[str] | None, selector: str, where: Where) -> None:
    """See to it that operations are given, in one way.

    Raises:
        Problem: neither names nor labels were given, or both.
    """
    if names and selector:
        raise usage("Give either names or labels (-l), not both.")
    if not names and not selector.strip():  # a blank one would mean all there are
        raise usage(
            "Which operation? Give a name, @latest, or labels with -l.",
            todo=[f"headway list {where.flags()}".rstrip()],
        )


@contextmanager
def meant(client: OperationsClient, name: str, where: Where) -> Iterator[None]:
    """As :func:`told`; where there is no such operation, the one that looks like it is named."""
    with told(where):
        try:
            yield
        except NotFound as error:
            raise missing(client, name, error, where) from error


def missing(client: OperationsClient, name: str, error: NotFound, where: Where) -> Problem:
    """The problem that there is no operation of a name."""
    problem = problem_of(error, where)
    try:
        there = [str(item["metadata"]["name"]) for item in client.list()]
    except ClientError:
        return problem
    if (guess := nearest(name, there)) is not None and guess != name:
        problem.why = f"Did you mean {guess}?"
    return problem


def phase_named(text: str) -> Phase:
    """The phase that was typed, in whatever case.

    Raises:
        Problem: there is none of that name.
    """
    for phase in Phase:
        if phase.lower() == text.lower():
            return phase
    guess = nearest(text, Phase)
    raise usage(
        f"There is no phase {text}{f'; did you mean {guess}?' if guess else '.'}",
        why=f"Phases: {', '.join(Phase)}",
    )


def _latest(client: OperationsClient, where: Where) -> dict[str, Any]:
    with told(where):
        found = client.list()
    if not found:
        raise Problem(
            f"There is no operation in namespace {client.namespace}.",
            todo=["headway run dummy", "headway list -A"],
            code=ExitCode.NOT_FOUND,
        )
    return max(found, key=_age_key)


def _age_key(item: dict[str, Any]) -> tuple[str, int]:
    metadata = item["metadata"]
    # Creation times have whole seconds; versions are in the order of writes where they are numbers.
    version = str(metadata.get("resourceVersion", ""))
    uptake = int(version) if version.isdigit() else 0
    return str(metadata.get("creationTimestamp", "")), uptake
