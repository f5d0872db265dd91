"""Options that several commands share, as groups.

A group is a frozen dataclass whose fields are annotated as Typer wants them. A command takes one as
a single parameter; :func:`grouped` spells its fields out where Typer looks.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace a command works on."""

    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the operation."),
    ] = None
    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig to use.")
    ] = None
    kubeconfig: Annotated[Path | None, typer.Option(metavar="FILE", help="Kubeconfig to use.")] = (
        None
    )

    def flags(self) -> str:
        """What a next command needs to find the same operation."""
        named = (
            ("-n", self.namespace),
            ("--context", self.context),
            ("--kubeconfig", self.kubeconfig),
        )
        return " ".join(f"{flag} {value}" for flag, value in named if value)


class Format(StrEnum):
    """How a command prints objects."""

    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    WIDE = "wide"


Output = Annotated[
    Format | None,
    typer.Option("--output", "-o", metavar="json|yaml|wide|name", help="What to print."),
]

Selector = Annotated[
    str,
    typer.Option("--selector", "-l", metavar="LABELS", help="Only what has these labels: a=b,c."),
]

Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Give up after that long.", min=0),
]


def grouped(command: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """The command with each parameter that is a group spelled out as the group's own options.

    Args:
        command: the command.
        fixed: parameters that are not the person's to choose, with their values.
    """
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    own: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in fixed:
            continue
        kind = hints[name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = kind
        else:
            own.append(parameter.replace(annotation=kind))
    # A command's own options stand first in its help; where it works stands last.
    shared = [
        parameter
        for kind in sorted(groups.values(), key=lambda kind: kind is Where)
        for parameter in _parameters_of(kind)
    ]
    plain = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]

    @functools.wraps(command)
    def spelled_out(**values: Any) -> Any:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        return command(**values, **fixed)

    spelled_out.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    spelled_out.__annotations__ = {p.name: p.annotation for p in plain}
    del spelled_out.__wrapped__
    return spelled_out


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    known = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default_of(field),
            annotation=known[field.name],
        )
        for field in fields(group)
    ]


def _default_of(option: Field[Any]) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default
