"""``headway retry``: a finished run once more, as a new operation."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Annotated, Any

import typer
from headway_api import names

from headway_cli import naming, terminal
from headway_cli.commands.looking import Name
from headway_cli.connecting import connect, parsed, told
from headway_cli.naming import LATEST
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.selecting import meant, one

if TYPE_CHECKING:
    from headway_api.models import TrainingOperation

_SWITCHES = ("cancel", "cancelReason", "suspend")
_ANYWHERE = Where()


def retry(
    where: Where,
    name: Name = LATEST,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the new operation.")
    ] = None,
    from_checkpoint: Annotated[
        bool,
        typer.Option(
            "--from-checkpoint/--fresh", help="Go on from its newest checkpoint, or begin anew."
        ),
    ] = False,
) -> None:
    """Run a finished operation once more, as a new one.

    The old one keeps its record: what is over stays so.
    """
    client = connect(where)
    known = one(client, name, where)
    with meant(client, known, where):
        raw = client.get(known)
    manifest = again(raw, parsed(raw), new_name, where, from_checkpoint=from_checkpoint)
    with told(where):
        made = client.create(manifest)["metadata"]["name"]
    begins = manifest["spec"].get("checkpoint", {}).get("resumeFrom")
    terminal.show(f"{made} made{f', from checkpoint {begins}' if begins else ''}")
    terminal.say("Next:", f"  headway watch {made} {where.flags()}".rstrip())


def again(
    raw: dict[str, Any],
    operation: TrainingOperation,
    name: str | None,
    where: Where = _ANYWHERE,
    *,
    from_checkpoint: bool,
) -> dict[str, Any]:
    """The manifest of a new operation that runs what a finished one ran.

    Args:
        raw: the finished one, as the API has it.
        operation: the same.
        name: name of the new one; made from the old one's where left out.
        where: as the old one was asked for, for what an error says to do next.
        from_checkpoint: whether it goes on from the old one's newest checkpoint.

    Raises:
        Problem: it is not over, or has no checkpoint that outlived it.
    """
    old = operation.metadata.name
    if not operation.is_final:
        raise Problem(
            f"{old} is {operation.phase.value}: only what is over can be run once more.",
            todo=[f"headway cancel {old} --wait {where.flags()}".rstrip()],
        )
    spec = {k: v for k, v in copy.deepcopy(raw["spec"]).items() if k not in _SWITCHES}
    if from_checkpoint:
        spec["checkpoint"] = {
            **spec.get("checkpoint", {}),
            "resumeFrom": _checkpoint(operation, where),
        }
    labels = {**(raw["metadata"].get("labels") or {}), names.LABEL_RETRY_OF: old}
    metadata: dict[str, Any] = {"namespace": operation.metadata.namespace, "labels": labels}
    if name is not None:
        metadata["name"] = naming.checked(name)
    else:
        metadata["name"] = naming.of_a_retry(old, random.SystemRandom())
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": metadata,
        "spec": spec,
    }


def _checkpoint(operation: TrainingOperation, where: Where) -> str:
    old, storage = operation.metadata.name, operation.spec.storage
    fresh = f"headway retry {old} --fresh {where.flags()}".rstrip()
    if storage is None or storage.existing_claim is None:
        kept = storage is not None and storage.claim_template is not None
        raise Problem(
            f"The checkpoints of {old} are in a volume of its own, which goes when it is deleted."
            if kept
            else f"The checkpoints of {old} went with its own workspace.",
            why="Only with --claim (storage.existingClaim) do they outlive their run.",
            todo=[fresh],
        )
    report = operation.status.report
    if report is not None and report.checkpoint is not None:
        return report.checkpoint.path
    for attempt in reversed(operation.status.attempts or []):
        if attempt.checkpoint:
            return attempt.checkpoint
    raise Problem(f"{old} left no checkpoint.", todo=[fresh])
