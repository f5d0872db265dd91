"""Bounds that keep a status under 32 KB and an API server healthy.

Light: standard library only. Lengths are in characters, intervals in seconds.
"""

from __future__ import annotations

from typing import Final

MESSAGE_LENGTH: Final = 1024
CONTEXT_BYTES: Final = 4096
METRICS_COUNT: Final = 32
METRICS_BYTES: Final = 2048
HISTORY_POINTS: Final = 100
HISTORY_BYTES: Final = 12 * 1024
ERROR_MESSAGE_LENGTH: Final = 2048
TRACEBACK_LENGTH: Final = 6144
REQUESTER_LENGTH: Final = 256
LAST_LOGS_LENGTH: Final = 4096
ARTIFACTS_COUNT: Final = 32
ARTIFACTS_BYTES: Final = 4096
SUMMARY_BYTES: Final = 4096
TRAINER_BYTES: Final = 20 * 1024
"""What progress, history and report take together; the rest of the 32 KB is the controller's."""
TERMINATION_MESSAGE_BYTES: Final = 4096
"""Kubernetes cuts a termination message here."""

# The pace of progress writes (see the promises in docs/architecture.md).
FAST_WRITE_INTERVAL: Final = 1.0
"""Least time between two writes, always, and the pace in the first minute."""
SLOW_WRITE_INTERVAL: Final = 5.0
"""The pace after the first minute; epoch ends and heartbeats come on top."""
FAST_PERIOD: Final = 60.0
HEARTBEAT_INTERVAL: Final = 30.0

CHECKPOINTS_KEPT: Final = 3
"""Default of ``spec.checkpoint.keep``."""
CHECKPOINT_INTERVAL: Final = 60
"""Seconds between two checkpoints where ``spec.checkpoint`` says nothing."""

RETRY_BACKOFF: Final = 10
"""Default of ``spec.retryPolicy.backoffSeconds``."""
LONGEST_BACKOFF: Final = 360
"""No pause between two attempts is longer."""
DISRUPTIONS_IN_A_ROW: Final = 10
"""So many disruptions without a newer checkpoint end a run."""
ATTEMPTS_LISTED: Final = 10
ATTEMPT_MESSAGE_LENGTH: Final = 256

CANCEL_GRACE_PERIOD: Final = 30
"""Default of ``spec.cancelGracePeriodSeconds``."""
FORCED_DELETE_GRACE: Final = 5
"""What a pod gets when its grace period has passed: never 0."""
