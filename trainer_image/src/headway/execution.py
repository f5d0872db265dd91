"""``python -m headway exec``: runs a Custom operation's entrypoint in its pod."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from headway_api import environment
from headway_api.vocabulary import OperationType

from headway import pod
from headway.orchestrator import ServiceOrchestrator
from headway.rendering import ProgressRenderer


class EntrypointError(Exception):
    """The entrypoint cannot be imported or called; the message says why."""


def main() -> int:
    """Run what ``HEADWAY_OPERATION_PARAMETERS`` says; returns the exit code."""
    try:
        given = json.loads(os.environ.get(environment.OPERATION_PARAMETERS, "{}"))
        entrypoint, parameters = str(given["entrypoint"]), dict(given.get("parameters") or {})
    except (ValueError, KeyError, TypeError):
        sys.stderr.write(
            f"headway exec: {environment.OPERATION_PARAMETERS} names no entrypoint; this command "
            "is run by the controller in a trainer pod\n"
        )
        return pod.FAILED
    name = os.environ.get(environment.OPERATION_NAME, entrypoint)

    async def work() -> dict[str, Any]:
        # Imported within the operation: a run that is cancelled already imports nothing.
        owner, found = await asyncio.to_thread(resolve, entrypoint)
        _check_arguments(entrypoint, found, parameters)
        service = owner if isinstance(owner, ServiceOrchestrator) else outer
        return await service.start_managed_operation(
            name, OperationType.CUSTOM, found, **parameters
        )

    outer = ServiceOrchestrator[None](ProgressRenderer(name))
    return pod.run(
        lambda: outer.run_managed_operation(name, OperationType.CUSTOM, work),
        told=(EntrypointError,),
    )


def resolve(entrypoint: str) -> tuple[object, Callable[..., Any]]:
    """The object that an entrypoint's last name belongs to, and the callable.

    A class on the way is made without arguments, as ``package.module:Class.method`` asks for.

    Args:
        entrypoint: ``package.module:name`` or ``package.module:Class.method``.

    Raises:
        EntrypointError: it cannot be imported, found, made or called.
    """
    module_name, _, path = entrypoint.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise EntrypointError(
            f"cannot import {module_name} for entrypoint {entrypoint}: {error}. "
            "Is it installed in the image?"
        ) from error
    owner: object = None
    for name in path.split("."):
        if inspect.isclass(found):
            try:
                found = found()
            except TypeError as error:
                raise EntrypointError(
                    f"{entrypoint}: {found.__name__} cannot be made without arguments: {error}"
                ) from error
        owner = found
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise EntrypointError(f"{entrypoint}: there is no {name!r} in it") from error
    if not callable(found):
        raise EntrypointError(f"{entrypoint} is not callable")
    return owner, found


def _check_arguments(
    entrypoint: str, work: Callable[..., Any], parameters: Mapping[str, Any]
) -> None:
    try:
        inspect.signature(work).bind(**parameters)
    except TypeError as error:
        raise EntrypointError(f"{entrypoint} does not take these parameters: {error}") from error
    except ValueError:  # a builtin without a signature
        return
