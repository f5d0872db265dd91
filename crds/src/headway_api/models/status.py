"""What is true of a run: ``TrainingOperation.status``.

Two writers with disjoint fields: the trainer writes ``progress``, ``history`` and ``report``; the
controller writes everything else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from headway_api import limits
from headway_api.models.base import ANY_OBJECT, ApiModel
from headway_api.vocabulary import CancelOutcome, Phase, ReportStatus, StopCause

Text = Annotated[str, Field(max_length=limits.MESSAGE_LENGTH)]
Word = Annotated[str, Field(max_length=128)]
Number = Annotated[int, Field(ge=0)]
Metrics = Annotated[dict[str, float], Field(max_length=limits.METRICS_COUNT)]

TRAINERS_OWN = ("progress", "history", "report")
"""Fields of the status that only the trainer writes."""


class ProgressContext(ApiModel):
    """Where in its work the trainer is. Known keys are typed; others are kept as they come."""

    model_config = ConfigDict(
        extra="allow",
        alias_generator=None,
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )

    model_type: Annotated[str, Field(max_length=64)] | None = None
    """Kind of model that is trained, such as mlp."""

    symbols: Annotated[list[Word], Field(max_length=64)] | None = None
    """Symbols that are worked on."""

    timeframes: Annotated[list[Word], Field(max_length=8)] | None = None
    """Bar lengths that are worked on."""

    current_epoch: Number | None = None
    """The epoch that runs, counted from 1."""

    total_epochs: Number | None = None
    """Epochs planned."""

    current_batch: Number | None = None
    """The batch of this epoch that runs, counted from 1."""

    total_batches: Number | None = None
    """Batches of one epoch."""

    current_segment: Number | None = None
    """The data segment that is loaded, counted from 1."""

    total_segments: Number | None = None
    """Data segments planned."""

    current_iteration: Number | None = None
    """The iteration of a dummy run, counted from 1."""

    total_iterations: Number | None = None
    """Iterations planned."""

    current_item: Annotated[str, Field(max_length=128)] | None = None
    """The one thing that is worked on right now, such as a symbol."""


class Progress(ApiModel):
    """The latest progress, written by the trainer."""

    attempt: Number
    """The attempt that reports; another attempt's report is refused."""

    sequence: Number
    """Counts the updates of this operation, over all attempts; it only rises."""

    time: datetime
    """When this progress was made, by the trainer's clock."""

    heartbeat: datetime
    """When the trainer last showed that it is alive, by its clock."""

    step: Number | None = None
    """Steps done, in the unit of totalSteps."""

    total_steps: Number | None = None
    """Steps planned; absent where nobody knows."""

    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Share of the work that is done, from 0 to 100."""

    message: Text | None = None
    """The progress as a sentence for people."""

    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds to the end, as the trainer estimates; absent until it can."""

    metrics: Metrics | None = None
    """Latest metrics by name, finite numbers only, such as loss: 0.31."""

    non_finite: Annotated[dict[str, Word], Field(max_length=limits.METRICS_COUNT)] | None = None
    """Metrics that are NaN or infinite, by name, as text: JSON has no such numbers."""

    context: ProgressContext | None = None
    """Where in its work the trainer is: epoch, batch, symbols and more."""


class HistoryPoint(ApiModel):
    """Metrics at the end of an epoch (or of a comparable stretch of work)."""

    step: Number
    """The epoch, counted from 1."""

    time: datetime
    """When it ended, by the trainer's clock."""

    metrics: Metrics | None = None
    """Metrics by name, finite numbers only."""

    non_finite: Annotated[dict[str, Word], Field(max_length=limits.METRICS_COUNT)] | None = None
    """Metrics that are NaN or infinite, by name, as text."""


class ReportError(ApiModel):
    """Why the work failed, as the trainer saw it."""

    type: Annotated[str, Field(max_length=256)]
    """Class of the exception."""

    message: Annotated[str, Field(max_length=limits.ERROR_MESSAGE_LENGTH)] = ""
    """Its message."""

    traceback: Annotated[str, Field(max_length=limits.TRACEBACK_LENGTH)] | None = None
    """The end of its traceback."""


class Artifact(ApiModel):
    """Something that the run left behind."""

    name: Word
    """What it is, such as model."""

    path: Annotated[str, Field(max_length=1024)]
    """Where it lies, relative to the workspace."""

    bytes: Number | None = None
    """Its size."""

    sha256: Annotated[str, Field(max_length=64)] | None = None
    """Its checksum, in hex."""


class Checkpoint(ApiModel):
    """A checkpoint that was written, whole and verified."""

    path: Annotated[str, Field(max_length=512)]
    """Where it lies, relative to the workspace; spec.checkpoint.resumeFrom takes it."""

    time: AwareDatetime | None = None
    """When it was written, by the trainer's clock."""

    epochs_completed: Number | None = None
    """Epochs that it has in it."""

    batches_completed: Number | None = None
    """Batches of the epoch after those; absent at an epoch's boundary."""

    step: Number | None = None
    """Steps that it has in it, where the work counts no epochs."""

    bytes: Number | None = None
    """Its size."""


class Report(ApiModel):
    """What the trainer says of its work and its end: a claim, which explains, not decides."""

    attempt: Number | None = None
    """The attempt that reports."""

    status: ReportStatus | None = None
    """success, cancelled, interrupted or failed; absent while the work goes on."""

    epochs_completed: Number | None = None
    """Epochs that were finished."""

    batches_completed: Number | None = None
    """Batches finished within the interrupted epoch; absent at an epoch's boundary."""

    iterations_completed: Number | None = None
    """Iterations that were finished."""

    cancel_acknowledged_at: AwareDatetime | None = None
    """When the trainer saw the request to stop, by its clock."""

    stop_reason: Word | None = None
    """Why it was asked to stop: cancelled, suspended, deadline, stalled, interrupted, deleted or \
fenced."""

    checkpoint: Checkpoint | None = None
    """The newest checkpoint; of an earlier attempt where this one began from it."""

    error: ReportError | None = None
    """Why the work failed."""

    artifacts: Annotated[list[Artifact], Field(max_length=limits.ARTIFACTS_COUNT)] | None = None
    """What the run left in its workspace."""

    summary: Annotated[dict[str, Any], Field(json_schema_extra=ANY_OBJECT)] | None = None
    """The result in the service's own words, such as test metrics per symbol."""


class Condition(ApiModel):
    """One aspect of the state, in Kubernetes' standard form."""

    type: Annotated[str, Field(max_length=316)]
    """Which aspect: Ready, Reconciling and Stalled (as kstatus reads them), PodReady, Progressing \
and Cancelled."""

    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})]
    """True, False or Unknown."""

    reason: Annotated[str, Field(max_length=1024)]
    """Why, as one word."""

    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, as a sentence for people."""

    last_transition_time: datetime
    """When status last changed."""

    observed_generation: Number | None = None
    """The generation of the spec that this was true of."""


class Attempt(ApiModel):
    """One try at the run: one Job."""

    number: Number
    """Counts attempts, from 1."""

    job: Annotated[str, Field(max_length=253)]
    """Name of its Job."""

    started: datetime | None = None
    """When its trainer began to run."""

    ended: datetime | None = None
    """When it was over."""

    reason: Word | None = None
    """How it ended, as one word."""

    exit_code: int | None = None
    """Exit code of the trainer, where one is known."""

    message: Annotated[str, Field(max_length=limits.ATTEMPT_MESSAGE_LENGTH)] | None = None
    """How it ended, as a sentence for people."""

    checkpoint: Annotated[str, Field(max_length=512)] | None = None
    """The newest checkpoint when it ended: a path in the workspace."""


class Workers(ApiModel):
    """How the workers of the current attempt stand, where there are several."""

    desired: Number
    """How many there should be."""

    running: Number = 0
    """How many run."""

    succeeded: Number = 0
    """How many ended well."""

    failed: Number = 0
    """How many failed."""


class Stop(ApiModel):
    """A stop of the current attempt that is no cancel: the trainer is asked, then its pods go."""

    cause: StopCause
    """Suspend, DeadlineExceeded or ProgressDeadlineExceeded."""

    attempt: Number
    """The attempt that is stopped."""

    requested_at: datetime
    """When the controller asked for it."""

    deadline: datetime
    """When the grace period ends and the pods are deleted."""

    forced: bool | None = None
    """Whether the grace period passed and the pods were deleted."""


class Cancellation(ApiModel):
    """The receipt of a cancel."""

    requested_at: datetime
    """When the controller saw the request."""

    requested_by: Annotated[str, Field(max_length=limits.REQUESTER_LENGTH)] | None = None
    """Who asked, where the cluster's admission policy records it."""

    reason: Annotated[str, Field(max_length=256)] | None = None
    """Why, as given in spec.cancelReason."""

    deadline: datetime | None = None
    """When the grace period ends and the pods are deleted."""

    acknowledged_at: datetime | None = None
    """When the trainer saw the request, by its clock."""

    outcome: CancelOutcome | None = None
    """BeforeStart, Graceful, Forced, Crashed, or TooLate (the run was over first)."""

    checkpoint: Annotated[str, Field(max_length=512)] | None = None
    """The newest checkpoint: a path in the workspace, for spec.checkpoint.resumeFrom."""

    pods_gone_at: datetime | None = None
    """When every pod of the run was seen to be over."""


class Result(ApiModel):
    """How the run ended: decided by what happened, explained by what the trainer claimed."""

    reason: Word
    """Why it ended, as one word: Completed, Cancelled, Error, OOMKilled, Signalled, ..."""

    message: Text = ""
    """The same as a sentence for people."""

    exit_code: int | None = None
    """Exit code of the trainer, where one is known."""

    signal: Annotated[str, Field(max_length=16)] | None = None
    """Signal that ended the trainer, such as SIGKILL."""

    report: Report | None = None
    """What the trainer claimed, from its report or its termination message."""


class LastLogs(ApiModel):
    """The end of the log of a pod that failed, was killed, or was stopped and never reported."""

    pod: Annotated[str, Field(max_length=253)]
    """The pod."""

    container: Annotated[str, Field(max_length=63)]
    """The container."""

    text: Annotated[str, Field(max_length=limits.LAST_LOGS_LENGTH)]
    """The last lines."""


class TrainingOperationStatus(ApiModel):
    """What is true of the run."""

    phase: Phase | None = None
    """Pending, Queued, Starting, Running, Cancelling, Suspending, Suspended, Retrying, and the \
final Succeeded, Failed and Cancelled."""

    reason: Word | None = None
    """Why the phase is what it is, as one word."""

    message: Text | None = None
    """Why the phase is what it is, and what to do about it, as a sentence for people."""

    observed_generation: Number | None = None
    """The generation of the spec that the controller last acted on."""

    attempt: Number | None = None
    """The current attempt, counted from 1; it never falls."""

    attempts: Annotated[list[Attempt], Field(max_length=10)] | None = None
    """The last ten attempts, oldest first."""

    workers: Workers | None = None
    """How the workers of the current attempt stand, where spec.workers is above 1."""

    retries: Number | None = None
    """Retries spent, of spec.retryPolicy.limit."""

    disruptions: Number | None = None
    """Disruptions (a lost node, an eviction, a deleted pod) in a row without a newer checkpoint; \
ten end the run."""

    next_attempt_time: datetime | None = None
    """When the next attempt begins, while phase is Retrying."""

    active_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds that count towards spec.activeDeadlineSeconds, up to the last time it was queued \
or suspended."""

    active_since: datetime | None = None
    """Since when more of them pass; absent while it is queued or suspended."""

    stop: Stop | None = None
    """The stop of the current attempt for a suspend, a deadline or a stall."""

    start_time: datetime | None = None
    """When the first trainer began to run."""

    completion_time: datetime | None = None
    """When the run was over."""

    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=16,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            ),
        ]
        | None
    ) = None
    """The state in Kubernetes' standard form, for tools that wait for it."""

    cancellation: Cancellation | None = None
    """The receipt of a cancel."""

    result: Result | None = None
    """How the run ended."""

    last_logs: LastLogs | None = None
    """The end of the log of a pod that failed, was killed, or was stopped and never reported."""

    progress: Progress | None = None
    """The latest progress (written by the trainer)."""

    history: Annotated[list[HistoryPoint], Field(max_length=limits.HISTORY_POINTS)] | None = None
    """Metrics over the run, thinned evenly as it grows (written by the trainer)."""

    report: Report | None = None
    """How the trainer says its work ended (written by the trainer)."""

    @model_validator(mode="wrap")
    @classmethod
    def _without_unreadable_claims(
        cls, data: Any, handler: ModelWrapValidatorHandler[TrainingOperationStatus]
    ) -> TrainingOperationStatus:
        """Leave out what the trainer wrote and nobody can read.

        The API server's check of a date-time lets times pass that there cannot be, such as one with
        the offset +99:00. No trainer shall be out of reach of a cancel by writing one.
        """
        try:
            return handler(data)
        except ValidationError as error:
            unreadable = {d["loc"][0] for d in error.errors() if d["loc"]}.intersection(
                TRAINERS_OWN
            )
            if not unreadable:
                raise
            return handler({k: v for k, v in data.items() if k not in unreadable})
