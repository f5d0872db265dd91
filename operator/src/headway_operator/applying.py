"""Carrying a plan out: first the status, then the actions, then a word to the people.

Every step can be repeated: a controller that dies between two of them, or a second one that runs at
the same time, comes to the same end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway_api import names
from headway_api.models.status import TRAINERS_OWN

from headway_operator import job_template
from headway_operator.api import (
    CLAIMS,
    JOBS,
    NAMESPACES,
    OPERATIONS,
    PODS,
    SERVICES,
    AlreadyExistsError,
    ApiClient,
    ConflictError,
    ForbiddenError,
    InvalidError,
    Kind,
    NotFoundError,
    UnavailableError,
)
from headway_operator.cache import Cache, owned_by
from headway_operator.pod_security import enforces_restricted
from headway_operator.pod_template import NotAllowedError
from headway_operator.policies.case import DeleteJob, DeletePod, MakeJob, Plan
from headway_operator.reading import controller_of
from headway_operator.snapshot import OperationView, Refusal, Refused, Snapshot

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationStatus

    from headway_operator.announcing import Announcer
    from headway_operator.trainer_account import TrainerAccounts

WEBHOOK_AWAY = "InternalError"
"""The reason that an API server gives where an admission webhook does not answer. That may last, so
a person is told."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan."""

    wrote: bool
    refusal: Refusal | None
    """The API server's refusal of what the plan made; None clears an earlier one."""


class Applier:
    """Writes what plans decide."""

    def __init__(
        self,
        api: ApiClient,
        cache: Cache,
        accounts: TrainerAccounts,
        announcer: Announcer,
        clock: Callable[[], datetime],
        trainer_image: str,
    ) -> None:
        self._api = api
        self._cache = cache
        self._accounts = accounts
        self._announcer = announcer
        self._clock = clock
        self._trainer_image = trainer_image

    async def apply(self, snapshot: Snapshot, plan: Plan) -> Applied:
        """Carry out a plan.

        Raises:
            ConflictError: the operation changed since it was observed; nothing was done.
            ApiError: a step failed; the steps before it are done, and repeating them does no harm.
        """
        operation = snapshot.operation
        wrote = False
        if plan.status is not None:
            wrote = await self._write_status(operation, plan.status)
        if not wrote and any(isinstance(action, MakeJob) for action in plan.actions):
            await self._confirm(operation)
        refusal = snapshot.refusal
        for action in plan.actions:
            wrote = True
            match action:
                case MakeJob(attempt, account_missing):
                    if account_missing:
                        self._accounts.doubt(operation.metadata.namespace)
                    refusal = await self._make(operation, attempt)
                case DeleteJob(name, uid):
                    await self._delete(JOBS, operation, name, uid)
                case DeletePod(name, uid, grace):
                    await self._delete(PODS, operation, name, uid, grace)
        for note in plan.notes:
            self._announcer.announce(operation, note)
        return Applied(wrote, refusal)

    async def _write_status(
        self, operation: OperationView, wanted: TrainingOperationStatus
    ) -> bool:
        metadata = operation.metadata
        changes = merge_patch(_own(operation.status), _own(wanted))
        if not changes:
            return False
        patch = {
            "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "status": changes,
        }
        raw = await self._api.patch_status(OPERATIONS, metadata.namespace, metadata.name, patch)
        self._cache.put_operation(raw)
        return True

    async def _confirm(self, operation: OperationView) -> None:
        """Make sure that the operation still is as it was observed, before a Job is made for it.

        Where the status was written, that has shown it already.
        """
        metadata = operation.metadata
        raw = await self._api.get(OPERATIONS, metadata.namespace, metadata.name)
        if raw["metadata"]["resourceVersion"] != metadata.resource_version:
            raise ConflictError("it changed since it was observed", 409, "Conflict")

    async def _make(self, operation: OperationView, attempt: int) -> Refusal | None:
        """Make the account, the claim and the Job of an attempt, as far as they are not there."""
        namespace = operation.metadata.namespace
        what = f"Job {names.job_name(operation.name, attempt)}"
        try:
            restricted = await self._is_restricted(operation)
            job = job_template.job(operation, attempt, self._trainer_image, restricted=restricted)
            what = "The trainers' ServiceAccount"
            if job_template.needs_trainer_account(job):
                await self._accounts.ensure(namespace)
            claim, service = job_template.claim(operation), job_template.service(operation)
            for kind, body in ((CLAIMS, claim), (SERVICES, service), (JOBS, job)):
                if body is None:
                    continue
                what = f"{body['kind']} {body['metadata']['name']}"
                taken = await self._create(kind, operation, body)
                if taken:
                    return Refusal(Refused.NAME_TAKEN, what, taken, self._clock())
        except (NotAllowedError, InvalidError) as error:
            return Refusal(Refused.INVALID, what, readable(str(error)), self._clock())
        except ForbiddenError as error:
            return Refusal(Refused.FORBIDDEN, what, readable(error.message), self._clock())
        except UnavailableError as error:
            if error.reason != WEBHOOK_AWAY:
                raise
            return Refusal(Refused.FORBIDDEN, what, readable(error.message), self._clock())
        return None

    async def _is_restricted(self, operation: OperationView) -> bool:
        """Whether the namespace enforces the restricted standard, where that makes a difference."""
        if not job_template.asks_for_the_namespace(operation, self._trainer_image):
            return False
        namespace = await self._api.get(NAMESPACES, None, operation.metadata.namespace)
        return enforces_restricted(namespace)

    async def _create(self, kind: Kind, operation: OperationView, body: dict[str, Any]) -> str:
        """Create an object; says whose it is where somebody else has the name."""
        metadata = operation.metadata
        name = body["metadata"]["name"]
        try:
            raw = await self._api.create(kind, metadata.namespace, body)
        except AlreadyExistsError:
            raw = await self._api.get(kind, metadata.namespace, name)
            if not owned_by(raw, metadata.uid):
                owner = controller_of(raw["metadata"])
                whose = f"{owner['kind']} {owner['name']}" if owner else "nobody"
                return f"it belongs to {whose}."
        if kind is JOBS:
            self._cache.put_job(raw)
        return ""

    async def _delete(
        self, kind: Kind, operation: OperationView, name: str, uid: str, grace: int | None = None
    ) -> None:
        # Gone already is as good.
        with contextlib.suppress(NotFoundError):
            await self._api.delete(kind, operation.metadata.namespace, name, uid=uid, grace=grace)


def _own(status: TrainingOperationStatus) -> dict[str, Any]:
    return status.model_copy(update=dict.fromkeys(TRAINERS_OWN)).to_wire()


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes ``after`` of ``before``."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        known = before.get(key)
        if known == value:
            continue
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        patch[key] = merge_patch(known, value) if both else value  # type: ignore[arg-type]
    return patch


def readable(message: str) -> str:
    """The API server's words without its stammer, in terms of the podTemplate that a user wrote."""
    text = message.replace("strict decoding error: ", "").replace("spec.template.", "podTemplate.")
    _, marker, rest = text.partition(" is invalid: ")
    return (rest if marker else text).strip().strip("[]")
