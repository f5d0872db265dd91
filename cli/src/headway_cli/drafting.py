"""From what was typed to a TrainingOperation manifest."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from headway_api import names
from headway_api.environment import chosen_placement
from headway_api.vocabulary import OperationType, Placement

from headway_cli import naming
from headway_cli.problems import usage


@dataclass(frozen=True)
class Draft:
    """One run to be: its kind, its inputs, and what its name should say.

    Attributes:
        type: the kind of work.
        member: the member struct of the spec, as it goes on the wire.
        words: what the run is about, most important first, for a generated name.
    """

    type: OperationType
    member: dict[str, Any]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """How a run is named, and what it runs on: options of every kind of run."""

    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name; made up if left out.")
    ] = None
    label: Annotated[
        list[str],
        typer.Option("--label", metavar="KEY=VALUE", help="A label, to find it by (repeatable)."),
    ] = field(default_factory=list)
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="Container image.")
    ] = None
    claim: Annotated[
        str | None,
        typer.Option(
            "--claim", metavar="NAME[:FOLDER]", help="Existing volume claim for data and models."
        ),
    ] = None
    volume: Annotated[
        str | None,
        typer.Option("--volume", metavar="SIZE", help="A volume of its own, such as 10Gi."),
    ] = None
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="N", help="CPUs, such as 2.")] = None
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="Memory, such as 4Gi.")
    ] = None
    gpus: Annotated[int | None, typer.Option("--gpus", metavar="N", min=1, help="NVIDIA GPUs.")] = (
        None
    )
    env: Annotated[
        list[str],
        typer.Option("--env", metavar="KEY=VALUE", help="Environment variable (repeatable)."),
    ] = field(default_factory=list)
    grace: Annotated[
        int | None,
        typer.Option(
            "--grace", metavar="SECONDS", min=0, help="Time to stop in after a cancel (30)."
        ),
    ] = None
    placement: Annotated[
        Placement | None,
        typer.Option("--placement", help="Cluster, or Host for joined machines."),
    ] = None
    retries: Annotated[
        int | None,
        typer.Option("--retries", metavar="N", min=0, help="Tries after a failure (0)."),
    ] = None
    deadline: Annotated[
        int | None,
        typer.Option("--deadline", metavar="SECONDS", min=1, help="The most it may take in all."),
    ] = None
    progress_deadline: Annotated[
        int | None,
        typer.Option(
            "--progress-deadline",
            metavar="SECONDS",
            min=10,
            help="The most it may take from step to step.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Pods that train together (1)."),
    ] = None
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Kueue's queue that it waits in.")
    ] = None
    resume_from: Annotated[
        str | None,
        typer.Option(
            "--resume-from", metavar="PATH", help="Checkpoint in the workspace to begin from."
        ),
    ] = None

    def clusterly(self) -> str | None:
        """The first option given that has a meaning in a cluster only."""
        for option in _IN_A_CLUSTER:
            if getattr(self, option) is not None:
                return f"--{option.replace('_', '-')}"
        return None


_IN_A_CLUSTER = (
    *("image", "claim", "volume", "cpu", "memory", "gpus"),
    *("placement", "retries", "deadline", "progress_deadline", "workers", "queue"),
)


def dummy(iterations: int | None, interval: float | None) -> Draft:
    """A run that only counts."""
    member = _given(iterations=iterations, intervalSeconds=interval)
    return Draft(OperationType.DUMMY, member, ("dummy",))


def data_load(
    symbols: Sequence[str],
    timeframes: Sequence[str],
    start: str | None,
    end: str | None,
    mode: str | None,
    provider: str | None,
    path: str | None,
) -> Draft:
    """A run that loads market data."""
    member = _given(
        symbols=_split(symbols),
        timeframes=_split(timeframes),
        startDate=start,
        endDate=end,
        mode=mode,
        provider=provider,
        path=path,
    )
    return Draft(OperationType.DATA_LOAD, member, ("load", *member["symbols"]))


def training(
    strategy: Path,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    start: str | None,
    end: str | None,
    validation_split: float | None,
    data_mode: str | None,
) -> Draft:
    """A run that trains a strategy.

    Raises:
        Problem: the strategy file cannot be read, or has fields that a strategy does not have.
    """
    inline = _strategy(strategy)
    member = _given(
        strategy={"inline": inline},
        symbols=_split(symbols),
        timeframes=_split(timeframes),
        startDate=start,
        endDate=end,
        validationSplit=validation_split,
        dataMode=data_mode,
    )
    model = inline.get("model")
    kind = str(model.get("type", "")) if isinstance(model, dict) else ""
    return Draft(OperationType.TRAINING, member, ("train", kind, *member["symbols"]))


def custom(command: Sequence[str], entrypoint: str | None, parameters: Sequence[str]) -> Draft:
    """A run of the user's own code: a command, or an importable entrypoint.

    Raises:
        Problem: neither or both were given, or a parameter is no KEY=VALUE.
    """
    if bool(command) == (entrypoint is not None):
        raise usage(
            "Give either a command or --entrypoint.",
            todo=[
                "headway run custom -- python train.py",
                "headway run custom --entrypoint package.module:function",
            ],
        )
    if command and parameters:
        raise usage("--parameter goes with --entrypoint; a command takes its own arguments.")
    if entrypoint is not None:
        values = dict(_parameter(text) for text in parameters)
        member = _given(entrypoint=entrypoint, parameters=values or None)
        return Draft(OperationType.CUSTOM, member, (entrypoint.rpartition(":")[2],))
    # `python train.py` is about train.py; `bash -c '...'` is about bash.
    script = command[1] if len(command) > 1 and not command[1].startswith("-") else command[0]
    member = {"command": [_literally(word) for word in command]}
    return Draft(OperationType.CUSTOM, member, (Path(script).stem,))


def _literally(word: str) -> str:
    """A word of a command line as a manifest has it, where ``$$`` and ``$(NAME)`` mean more."""
    return re.sub(r"\$(?=[$(])", "$$", word)


def manifest(draft: Draft, shape: Shape, namespace: str | None) -> dict[str, Any]:
    """The whole object.

    Raises:
        Problem: a name, a label or a variable is not what it has to be.
    """
    if shape.name is not None:
        name = naming.checked(shape.name)
    else:
        name = naming.generated(draft.words, random.SystemRandom())
    labels = _pairs(shape.label, "--label")
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": _given(name=name, namespace=namespace, labels=labels or None),
        "spec": {"type": str(draft.type), draft.type.member: draft.member, **_running(shape)},
    }


def _running(shape: Shape) -> dict[str, Any]:
    bounds = _given(
        cpu=_quantity(shape.cpu, "--cpu", "2 or 500m"),
        memory=_quantity(shape.memory, "--memory", "4Gi or 512Mi"),
    )
    if shape.gpus is not None:
        bounds["nvidia.com/gpu"] = str(shape.gpus)
    variables = [{"name": k, "value": v} for k, v in _pairs(shape.env, "--env").items()]
    trainer = {"name": names.TRAINER_CONTAINER, "env": variables}
    return _given(
        cancelGracePeriodSeconds=shape.grace,
        retryPolicy={"limit": shape.retries} if shape.retries is not None else None,
        activeDeadlineSeconds=shape.deadline,
        progressDeadlineSeconds=shape.progress_deadline,
        checkpoint=_given(resumeFrom=shape.resume_from) or None,
        workers=shape.workers,
        queueName=shape.queue,
        image=shape.image,
        placement=shape.placement or chosen_placement(os.environ),
        resources={"limits": bounds} if bounds else None,
        storage=_storage(shape),
        podTemplate={"spec": {"containers": [trainer]}} if variables else None,
    )


def _storage(shape: Shape) -> dict[str, Any] | None:
    if shape.claim is not None and shape.volume is not None:
        raise usage("Give either --claim (one that exists) or --volume (one of its own).")
    if shape.claim is not None:
        name, _, folder = shape.claim.partition(":")
        return {"existingClaim": _given(claimName=name, subPath=folder or None)}
    if shape.volume is not None:
        return {"claimTemplate": {"size": _quantity(shape.volume, "--volume", "10Gi")}}
    return None


def _quantity(text: str | None, option: str, right: str) -> str | None:
    """An amount as Kubernetes writes it."""
    if text is None:
        return None
    from headway_api.models.spec import QUANTITY_PATTERN

    if not re.fullmatch(QUANTITY_PATTERN, text):
        raise usage(f"{option} {text}: that is no amount; write it as {right}.")
    return text


def _strategy(file: Path) -> dict[str, Any]:
    import yaml
    from headway_api.crd.schema import structural
    from headway_api.models import Strategy

    from headway_cli import kubectl_yaml
    from headway_cli.spelling import unknown_fields

    try:
        found = kubectl_yaml.document(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise usage(
            f"The strategy {file} cannot be read.", why=getattr(error, "strerror", "") or str(error)
        ) from error
    except yaml.YAMLError as error:
        raise usage(f"The strategy {file} is no YAML.", why=str(error)) from error
    if not isinstance(found, dict):
        raise usage(f"The strategy {file} holds no mapping.")
    unknown = [finding.text() for finding in unknown_fields(found, structural(Strategy))]
    if unknown:
        raise usage(f"The strategy {file} has fields that do not exist.", why="\n".join(unknown))
    return found


def _given(**values: Any) -> dict[str, Any]:
    """What was given; the rest is the API's to default."""
    return {name: value for name, value in values.items() if value is not None}


def _split(items: Sequence[str]) -> list[str]:
    """``AAPL,MSFT GOOG`` and ``AAPL MSFT GOOG`` are the same."""
    return [part for item in items for part in item.split(",") if part]


def _pairs(items: Sequence[str], option: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise usage(f"{option} {item}: that is no KEY=VALUE.")
        pairs[key] = value
    return pairs


def _parameter(text: str) -> tuple[str, Any]:
    """One parameter; its value is JSON where it can be read as such, else text."""
    import json

    ((key, value),) = _pairs([text], "--parameter").items()
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
