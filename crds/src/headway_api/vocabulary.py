"""The closed sets of words in the resource.

Light: standard library only. Plain ``str`` enums, so that a value compares with and prints as the
text that stands in the resource.
"""

from __future__ import annotations

from enum import StrEnum


class OperationType(StrEnum):
    """What kind of work an operation runs (``spec.type``)."""

    TRAINING = "Training"
    DATA_LOAD = "DataLoad"
    DUMMY = "Dummy"
    CUSTOM = "Custom"

    @property
    def member(self) -> str:
        """The member struct of the spec that carries this type's inputs."""
        return _MEMBERS[self]


_MEMBERS = {
    OperationType.TRAINING: "training",
    OperationType.DATA_LOAD: "dataLoad",
    OperationType.DUMMY: "dummy",
    OperationType.CUSTOM: "custom",
}


class Phase(StrEnum):
    """Where a run stands (``status.phase``)."""

    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the run is over. A final phase never changes."""
        return self in FINAL_PHASES


FINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})
"""The phases in which a run is over; their names, as they stand in a status, are members, too."""


class ReportStatus(StrEnum):
    """How a trainer says that its work ended (``status.report.status``): a claim."""

    SUCCESS = "success"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class CancelOutcome(StrEnum):
    """How a cancel ended (``status.cancellation.outcome``)."""

    BEFORE_START = "BeforeStart"
    GRACEFUL = "Graceful"
    FORCED = "Forced"
    CRASHED = "Crashed"
    TOO_LATE = "TooLate"


class Placement(StrEnum):
    """On which kind of machine a run's pods go (``spec.placement``)."""

    CLUSTER = "Cluster"
    HOST = "Host"


class StopCause(StrEnum):
    """Why the controller stops an attempt, other than by a cancel (``status.stop.cause``)."""

    SUSPEND = "Suspend"
    DEADLINE = "DeadlineExceeded"
    PROGRESS_DEADLINE = "ProgressDeadlineExceeded"


class Reason(StrEnum):
    """Why a phase or a condition is what it is; the machine's word beside the person's message."""

    # On the way
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    VOLUME_MOUNT = "VolumeMount"
    PULLING = "Pulling"
    CREATED = "Created"
    STARTED = "Started"
    CANCEL_REQUESTED = "CancelRequested"
    SUSPEND_REQUESTED = "SuspendRequested"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    NODE_UNREACHABLE = "NodeUnreachable"
    NAME_TAKEN = "NameTaken"
    QUOTA_EXCEEDED = "QuotaExceeded"
    FORBIDDEN = "Forbidden"
    # The ends
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    ERROR = "Error"
    OOM_KILLED = "OOMKilled"
    SIGNALLED = "Signalled"
    DISRUPTED = "Disrupted"
    DISRUPTED_REPEATEDLY = "DisruptedRepeatedly"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    EVICTED = "Evicted"
    IMAGE_NOT_AVAILABLE = "ImageNotAvailable"
    INVALID_IMAGE_NAME = "InvalidImageName"
    CONFIG_NOT_FOUND = "ConfigNotFound"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CANNOT_START = "CannotStart"
    INVALID_POD = "InvalidPod"
    INVALID_SPEC = "InvalidSpec"
    POD_LOST = "PodLost"
