"""What a user asks for: ``TrainingOperation.spec``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from headway_api import environment, limits
from headway_api.models.base import ANY_OBJECT, ApiModel, cel
from headway_api.models.strategy import Strategy
from headway_api.vocabulary import OperationType, Placement

Symbol = Annotated[
    str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
]
Timeframe = Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[1-9][0-9]*[mhdwMHDW]$")]
Date = Annotated[
    str,
    Field(
        min_length=10,
        max_length=10,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        json_schema_extra={"format": "date"},  # the API server knows which days there are
    ),
]
QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
"""Kubernetes' own notation, less the sign: nothing here may be negative."""
ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
Argument = Annotated[str, Field(max_length=4096)]


class DataMode(StrEnum):
    """Which data a run works on."""

    LOCAL = "local"
    TAIL = "tail"
    BACKFILL = "backfill"
    FULL = "full"


class ConfigMapKey(ApiModel):
    """A key of a ConfigMap in the operation's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the ConfigMap."""

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key whose value is the YAML text of a strategy."""


class StrategySource(ApiModel):
    """Where the strategy comes from: exactly one of inline and configMapKeyRef."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.inline) != has(self.configMapKeyRef)",
                "set exactly one of inline and configMapKeyRef",
            )
        )
    )

    inline: Strategy | None = None
    """The strategy itself, as it would stand in a strategy file."""

    config_map_key_ref: ConfigMapKey | None = None
    """A ConfigMap key that holds a strategy file."""


_DAYS_IN_ORDER = cel(
    (
        "!has(self.startDate) || !has(self.endDate) || self.startDate <= self.endDate",
        "startDate must not be after endDate",
    )
)


class TrainingSpec(ApiModel):
    """A training run on market data: the inputs of train_multi_symbol_strategy."""

    model_config = ConfigDict(json_schema_extra=_DAYS_IN_ORDER)

    strategy: StrategySource
    """Indicators, labels, model and optimiser settings."""

    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=64)]
    """Symbols to train on, together, such as AAPL."""

    timeframes: Annotated[list[Timeframe], Field(min_length=1, max_length=8)]
    """Bar lengths to learn from, such as 1h or 1d; the finest one gives the samples."""

    start_date: Date | None = None
    """First day of data, itself included, as YYYY-MM-DD; left out, all there is."""

    end_date: Date | None = None
    """Last day of data, itself included, as YYYY-MM-DD; left out, all there is."""

    validation_split: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of the samples, the latest before the test part, that is held out for validation."""

    data_mode: DataMode = DataMode.LOCAL
    """local uses what the workspace holds; tail, backfill and full fetch first what is missing."""


class DataLoadSpec(ApiModel):
    """Loading of market data into the workspace volume."""

    model_config = ConfigDict(json_schema_extra=_DAYS_IN_ORDER)

    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=64)]
    """Symbols to load, such as AAPL."""

    timeframes: Annotated[list[Timeframe], Field(min_length=1, max_length=8)]
    """Bar lengths to load, such as 1h or 1d."""

    start_date: Date | None = None
    """First day to load, itself included, as YYYY-MM-DD; left out, the provider's first."""

    end_date: Date | None = None
    """Last day to load, itself included, as YYYY-MM-DD; left out, the provider's last."""

    mode: DataMode = DataMode.TAIL
    """local checks what is there; tail fetches what is newer, backfill what is older, full every \
gap."""

    provider: Annotated[str, Field(min_length=1, max_length=253)] = "sample"
    """Where data comes from: sample (real prices that ship with the trainer), or files."""

    path: Annotated[str, Field(max_length=1024)] | None = None
    """Folder with OHLCV files for the provider files; relative paths are below the workspace."""


class DummySpec(ApiModel):
    """A run that only counts: for trying out a cluster and for tests."""

    iterations: Annotated[int, Field(ge=1, le=1000000)] = 100
    """How many iterations to run."""

    interval_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    """Seconds that one iteration takes."""


class CustomSpec(ApiModel):
    """A user's own code: an importable entrypoint, or a command."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.entrypoint) != (has(self.command) || has(self.args))",
                "set either entrypoint (with parameters) or command and args, not both",
            ),
            (
                "has(self.entrypoint) || !has(self.parameters)",
                "parameters go with entrypoint; a command takes args",
            ),
        )
    )

    entrypoint: (
        Annotated[
            str,
            Field(
                max_length=512,
                pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
            ),
        ]
        | None
    ) = None
    """Importable code to run, as package.module:Class.method or package.module:function."""

    parameters: Annotated[dict[str, Any], Field(json_schema_extra=ANY_OBJECT)] | None = None
    """JSON parameters of the entrypoint, given as keyword arguments."""

    command: Annotated[list[Argument], Field(min_length=1, max_length=64)] | None = None
    """Program and first arguments, in place of the image's entrypoint."""

    args: Annotated[list[Argument], Field(max_length=256)] | None = None
    """Arguments of the program."""


class ClaimTemplate(ApiModel):
    """A PersistentVolumeClaim that is made for this operation and deleted with it."""

    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Storage class; left out, the cluster's default."""

    access_modes: Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": list(ACCESS_MODES)})]],
        Field(default_factory=lambda: ["ReadWriteOnce"], min_length=1, max_length=4),
    ]
    """Access modes of the claim, as in any PersistentVolumeClaim."""

    size: Annotated[
        str,
        Field(min_length=1, max_length=32, pattern=QUANTITY_PATTERN),
    ]
    """Size asked for, such as 10Gi."""


class EmptyDir(ApiModel):
    """A volume that lives and dies with the pod."""

    size_limit: Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN)] | None = None
    """Largest size, such as 1Gi; left out, what the node has."""


def _no_way_out(field: str, whole: str) -> dict[str, Any]:
    """A path may not lead out of the folder that it is in."""
    inside = f"!has(self.{field}) || !('/' + self.{field} + '/').contains('/../')"
    return cel((inside, f"{field} is a path in {whole}: it may not contain '..'"))


class ExistingClaim(ApiModel):
    """A claim that somebody else owns; it is never changed or deleted."""

    model_config = ConfigDict(json_schema_extra=_no_way_out("subPath", "the volume"))

    claim_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of a PersistentVolumeClaim in the operation's namespace."""

    sub_path: Annotated[str, Field(max_length=1024, pattern=r"^[^/].*$")] | None = None
    """Folder inside the volume to use as the workspace."""


class StorageSpec(ApiModel):
    """The workspace volume for data, models and checkpoints, at /workspace in the trainer."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "[has(self.existingClaim), has(self.claimTemplate), has(self.emptyDir)]"
                ".filter(x, x).size() == 1",
                "set exactly one of existingClaim, claimTemplate and emptyDir",
            )
        )
    )

    existing_claim: ExistingClaim | None = None
    """A shared claim: its data outlives the operation."""

    claim_template: ClaimTemplate | None = None
    """A claim of the operation's own, deleted with it."""

    empty_dir: EmptyDir | None = None
    """Scratch space that is gone with the pod (the default)."""


Quantity = Annotated[
    str,
    Field(
        coerce_numbers_to_str=True,  # cpu: 4 is as good as cpu: "4"
        json_schema_extra={
            "type": None,
            "maxLength": 64,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "x-kubernetes-int-or-string": True,
        },
    ),
]


class ResourcesSpec(ApiModel):
    """Compute resources of the trainer container, as in any pod."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] | None = None
    """The most it may use, such as cpu: 4, memory: 8Gi, nvidia.com/gpu: 1."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] | None = None
    """What it is promised; left out, the limits."""


class CheckpointSpec(ApiModel):
    """When checkpoints are written, and what the run begins from.

    With neither everyEpochs nor everySeconds, one is written every 60 seconds. One more is written
    when the run is cancelled, suspended or interrupted, within the grace period.
    """

    model_config = ConfigDict(json_schema_extra=_no_way_out("resumeFrom", "the workspace"))

    every_epochs: Annotated[int, Field(ge=1, le=1000000)] | None = None
    """Write a checkpoint at the end of every so many epochs."""

    every_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    """Write a checkpoint when the last one is so many seconds old."""

    keep: Annotated[int, Field(ge=1, le=100)] = limits.CHECKPOINTS_KEPT
    """How many of the newest checkpoints are kept."""

    resume_from: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^/].*$")] | None = (
        None
    )
    """A checkpoint of another run to begin from, or a folder of them: a path in the workspace, \
as status.report.checkpoint.path names it."""

    def variables(self) -> dict[str, str]:
        """The trainer's environment variables that say the same."""
        given = {
            environment.CHECKPOINT_EVERY_EPOCHS: self.every_epochs,
            environment.CHECKPOINT_EVERY_SECONDS: self.every_seconds,
            environment.CHECKPOINT_KEEP: self.keep,
            environment.RESUME_FROM: self.resume_from,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


class RetryPolicy(ApiModel):
    """What happens after a failure. Disruptions (a lost node, an eviction) spend no retry."""

    limit: Annotated[int, Field(ge=0, le=100)] = 0
    """How many times a failed run is tried again."""

    backoff_seconds: Annotated[int, Field(ge=0, le=limits.LONGEST_BACKOFF)] = limits.RETRY_BACKOFF
    """Seconds before the first retry; doubled for each further one, up to 360."""


_TYPES = tuple(OperationType)


def _one_member_rules() -> list[tuple[str, str]]:
    rules = []
    for kind in _TYPES:
        others = [t.member for t in _TYPES if t is not kind]
        no_others = " && ".join(f"!has(self.{m})" for m in others)
        rules.append(
            (
                f"self.type != '{kind}' || (has(self.{kind.member}) && {no_others})",
                f"type {kind} needs the member struct {kind.member}, "
                f"and none of {', '.join(others)}",
            )
        )
    return rules


_WHAT_RUNS = (
    "image",
    "resources",
    "workers",
    "placement",
    "queueName",
    "storage",
    "checkpoint",
    "podTemplate",
)


def _immutable_rules() -> list[tuple[str, str]]:
    members = [t.member for t in _TYPES]
    fields = [*members, *_WHAT_RUNS]
    why = "what runs cannot be changed: delete the operation, or make a new one"
    rules = [("self.type == oldSelf.type", f"type is immutable; {why}")]
    for name in fields:
        unchanged = (
            f"has(self.{name}) == has(oldSelf.{name}) && "
            f"(!has(self.{name}) || self.{name} == oldSelf.{name})"
        )
        rules.append((unchanged, f"{name} is immutable; {why}"))
    return rules


class TrainingOperationSpec(ApiModel):
    """What to run, and the switch that stops it."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            *_one_member_rules(),
            *_immutable_rules(),
            (
                "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
                "a cancel cannot be taken back; make a new operation to run again",
            ),
            (
                "!has(self.cancelReason) || (has(self.cancel) && self.cancel)",
                "cancelReason goes with cancel: true",
            ),
        )
    )

    type: OperationType
    """Kind of work: Training, DataLoad, Dummy or Custom. The member struct of that name carries \
its inputs."""

    training: TrainingSpec | None = None
    """Inputs of a training run; with type Training only."""

    data_load: DataLoadSpec | None = None
    """Inputs of a data load; with type DataLoad only."""

    dummy: DummySpec | None = None
    """Inputs of a dummy run; with type Dummy only."""

    custom: CustomSpec | None = None
    """A user's own code; with type Custom only."""

    cancel: bool | None = None
    """Set to true to stop the run. It cannot be taken back. Leave it out of manifests, so that \
applying one again does not fight a cancel."""

    cancel_reason: Annotated[str, Field(max_length=256)] | None = None
    """Why the run is cancelled, for people; recorded in status.cancellation."""

    cancel_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] = limits.CANCEL_GRACE_PERIOD
    """Seconds that the trainer has to stop by itself after a cancel, before its pods are deleted. \
Can be changed while it runs."""

    suspend: bool | None = None
    """Set to true to pause the run: it writes a checkpoint, and its pods go. Set to false, or \
left out, it goes on from there as the next attempt."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=31536000)] | None = None
    """Seconds that the run may take in all, over all attempts; time in Queued and Suspended does \
not count. Past it the run is stopped and has failed. Can be changed while it runs."""

    progress_deadline_seconds: Annotated[int, Field(ge=10, le=2592000)] | None = None
    """Seconds that the trainer may take without a new step, before it is stopped as stalled and \
retried or failed. Can be changed while it runs."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = None
    """Seconds after the end of the run until its Jobs and pods (never the TrainingOperation) are \
removed. Can be changed at any time."""

    retry_policy: RetryPolicy | None = None
    """How often, and how soon, a failed run is tried again; left out, never. Can be changed \
while it runs."""

    checkpoint: CheckpointSpec | None = None
    """When checkpoints are written, how many are kept, and what the run begins from."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image; left out, the trainer image that belongs to this controller."""

    resources: ResourcesSpec | None = None
    """CPU, memory and devices of the trainer container."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """How many pods train together. Above 1 each gets torchrun's environment (RANK, WORLD_SIZE, \
MASTER_ADDR, MASTER_PORT and more); the first one, rank 0, reports."""

    placement: Placement = Placement.CLUSTER
    """Where the pods go: Cluster, or Host for machines joined by `headway host join`."""

    queue_name: (
        Annotated[
            str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
        ]
        | None
    ) = None
    """Kueue's LocalQueue that the run waits in; it is Queued until Kueue starts its Job."""

    storage: StorageSpec | None = None
    """The workspace volume; left out, an emptyDir."""

    pod_template: Annotated[dict[str, Any], Field(json_schema_extra=ANY_OBJECT)] | None = None
    """A partial PodTemplateSpec merged over ours (strategic merge: containers, env and volumes by \
name). It may not change the restart policy, our labels, the trainer container's name or its \
token."""

    @property
    def keeps_its_workspace(self) -> bool:
        """Whether what an attempt leaves in its workspace is there for the next one."""
        return self.storage is not None and self.storage.empty_dir is None
