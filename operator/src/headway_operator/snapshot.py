"""What the controller knows about one operation at one moment: the input of every decision.

Everything here is frozen and free of I/O. :mod:`headway_operator.reading` makes it from raw JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from headway_api import names

if TYPE_CHECKING:
    from datetime import datetime

    from headway_api.models import TrainingOperationSpec, TrainingOperationStatus
    from headway_api.models.operation import Metadata


@dataclass(frozen=True, slots=True)
class OperationView:
    """A TrainingOperation. ``spec`` is None where it cannot be read; ``spec_problem`` says why."""

    metadata: Metadata
    raw_spec: Mapping[str, Any]
    spec: TrainingOperationSpec | None
    spec_problem: str
    status: TrainingOperationStatus

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.metadata.name


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job, as far as decisions need it."""

    name: str
    uid: str
    owner_uid: str
    """The uid of its controlling owner; empty where nobody owns it."""
    owner: str
    """That owner, for people: ``kind name``."""
    resource_version: str = ""
    attempt: int = 0
    deleting: bool = False
    suspended: bool = False
    """Whether somebody (Kueue, mostly) holds it back."""
    queue: str = ""
    """Kueue's LocalQueue that it is in; empty where it is in none."""
    decided: bool = False
    """Whether it makes no pod any more. Pods may run on for a moment before it is over."""
    failing: bool = False
    """Whether a pod of it has failed: that it failed is said already, or will be."""
    complete: bool = False
    failed: bool = False
    failed_reason: str = ""
    """Why it failed, or will."""
    failed_message: str = ""

    @property
    def over(self) -> bool:
        """Whether the Job controller has called it complete or failed."""
        return self.complete or self.failed


class ContainerState(StrEnum):
    """Which of its three states a container is in; UNKNOWN before the node said anything."""

    UNKNOWN = ""
    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container's state."""

    name: str
    state: ContainerState = ContainerState.UNKNOWN
    ready: bool = False
    image: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    memory_limit: str = ""
    sidecar: bool = False
    """Whether it is an init container that runs on beside the trainer (restartPolicy Always). The
    node ends it after the trainer, with whatever exit code."""

    @property
    def failed(self) -> bool:
        """Whether it ended, and not with exit code 0."""
        return self.state is ContainerState.TERMINATED and bool(self.exit_code)


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of an operation, as far as decisions need it."""

    name: str
    uid: str
    operation_uid: str
    attempt: int = 0
    index: int | None = None
    """Which of several workers it is, from 0; None where there is one only."""
    resource_version: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str = ""
    ready: bool | None = None
    unschedulable: str = ""
    """The scheduler's message, where it cannot place the pod."""
    disruption_reason: str = ""
    """Reason of the DisruptionTarget condition: something is taking the pod away."""
    disruption_message: str = ""
    deleting: bool = False
    deletion_grace: int | None = None
    containers: tuple[ContainerView, ...] = ()
    init_containers: tuple[ContainerView, ...] = ()

    @property
    def over(self) -> bool:
        """Whether the pod is terminal: none of its containers runs or ever will."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def scheduled(self) -> bool:
        """Whether a node has it."""
        return bool(self.node)

    @property
    def trainer(self) -> ContainerView:
        """The container that runs the training."""
        for container in self.containers:
            if container.name == names.TRAINER_CONTAINER:
                return container
        return ContainerView(names.TRAINER_CONTAINER)

    @property
    def started(self) -> bool:
        """Whether the trainer runs or has run."""
        return self.trainer.state is ContainerState.RUNNING or self.trainer.started_at is not None


@dataclass(frozen=True, slots=True)
class EventView:
    """A Kubernetes Event about a pod or a Job."""

    reason: str
    message: str
    warning: bool


class Question(StrEnum):
    """Something that only a live read can answer; a plan asks, the controller looks it up."""

    OPERATION = "operation"
    """The operation itself, read right now: is its progress what the watch has told?"""
    LIVE = "live"
    """The Job of the current attempt by its name and all pods of the operation, read right now."""
    CLAIM = "claim"
    """Does ``spec.storage.existingClaim`` exist?"""
    STRATEGY = "strategy"
    """Does the strategy's ConfigMap exist, with its key?"""
    EVENTS = "events"
    """Events about the pods of the attempt that do not run, or about its Job where none waits."""
    KUEUE = "kueue"
    """Is Kueue installed in this cluster?"""
    NODE = "node"
    """Can the nodes of the operation's living pods be seen?"""
    LOGS = "logs"
    """The end of the log of the container that matters."""


class Refused(StrEnum):
    """Why the API server would not have what the plan made."""

    INVALID = "invalid"
    """The object is wrong and will stay wrong."""
    FORBIDDEN = "forbidden"
    """Not allowed, now: a quota, a policy, a role."""
    NAME_TAKEN = "name-taken"
    """Somebody else's object has the name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's answer to the last attempt at making a Job, claim or account."""

    kind: Refused
    what: str
    """The object, for people: ``Job train-a1``."""
    message: str
    at: datetime
    """When, by the controller's clock."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of a container's log; empty where none could be read."""

    pod: str
    container: str
    text: str


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to the questions that were asked so far; None means not asked."""

    live: bool = False
    """The snapshot's Job and pods come from a live read of this very moment."""
    fresh: bool = False
    """So does its operation."""
    claim_problem: str | None = None
    """Empty where the claim is there, otherwise what is wrong."""
    strategy_problem: str | None = None
    events: tuple[EventView, ...] | None = None
    unreachable_nodes: frozenset[str] | None = None
    """Nodes that nobody hears of any more, or that are gone."""
    unready_nodes: frozenset[str] | None = None
    """These, and those that say themselves that they are not ready."""
    kueue: bool | None = None
    logs: LogTail | None = None


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of life of the current attempt's trainer, by the controller's own clock."""

    stepped_at: datetime | None = None
    """When its latest step, or its start, was first seen."""
    alive_at: datetime | None = None
    """When its latest heartbeat was first seen."""
    view_since: datetime | None = None
    """Since when this controller has seen the cluster without an interruption."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One operation with everything that belongs to it."""

    operation: OperationView
    job: JobView | None = None
    """The Job that has the name of the current attempt's Job, whoever owns it."""
    pods: tuple[PodView, ...] = ()
    """Pods of this very operation (by uid), of all attempts."""
    stray_jobs: tuple[JobView, ...] = ()
    """Further Jobs of this operation."""
    refusal: Refusal | None = None
    signs: Signs = field(default_factory=Signs)
    seen: Mapping[str, datetime] = field(default_factory=dict)
    """When this controller first noticed what its plans took notice of, by its own clock."""
    answers: Answers = field(default_factory=Answers)
