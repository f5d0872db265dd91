"""What a policy is asked about, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headway_api import limits, names
from headway_api.vocabulary import Phase

if TYPE_CHECKING:
    from headway_api.models import TrainingOperationSpec, TrainingOperationStatus
    from headway_api.models.status import Attempt, Report, Stop

    from headway_operator.snapshot import JobView, OperationView, PodView, Question, Snapshot


@dataclass(frozen=True, slots=True)
class MakeJob:
    """Make everything that the current attempt needs, the Job last."""

    attempt: int
    account_missing: bool = False
    """Whether the trainers' ServiceAccount was said to be missing."""


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job and, with it, its pods."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Ask a pod to end: SIGTERM now, SIGKILL after ``grace`` seconds."""

    name: str
    uid: str
    grace: int


Action = MakeJob | DeleteJob | DeletePod


@dataclass(frozen=True, slots=True)
class Note:
    """An Event for people, shown by ``kubectl describe``."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a case: first write the status, then act, in this order.

    A plan with ``questions`` does nothing else: they are looked up and the chain is asked again.
    """

    status: TrainingOperationStatus | None = None
    """The controller's fields as they should be; None leaves them as they are."""
    actions: tuple[Action, ...] = ()
    questions: frozenset[Question] = frozenset()
    notices: frozenset[str] = frozenset()
    """Facts whose age matters: from the next snapshot on, ``seen`` says since when."""
    again_at: datetime | None = None
    """When to look again although nothing happened."""
    notes: tuple[Note, ...] = ()


DONE = Plan()
"""Nothing to do."""


@dataclass(frozen=True)
class Case:
    """A snapshot and the moment at which it is judged, by the controller's clock."""

    snapshot: Snapshot
    now: datetime

    @property
    def operation(self) -> OperationView:
        """The operation itself."""
        return self.snapshot.operation

    @property
    def status(self) -> TrainingOperationStatus:
        """Its status as it stands."""
        return self.snapshot.operation.status

    @property
    def spec(self) -> TrainingOperationSpec:
        """Its spec; the chain refuses unreadable ones before anybody asks for this."""
        spec = self.snapshot.operation.spec
        if spec is None:
            raise ValueError(f"the spec of {self.operation.name} cannot be read")
        return spec

    @property
    def phase(self) -> Phase:
        """The phase as it stands."""
        return self.status.phase or Phase.PENDING

    @property
    def attempt(self) -> int:
        """The current attempt; 0 before the first one."""
        return self.status.attempt or 0

    @property
    def job_name(self) -> str:
        """Name of the current attempt's Job."""
        return names.job_name(self.operation.name, self.attempt or 1)

    @property
    def job(self) -> JobView | None:
        """The current attempt's Job, if it is ours."""
        job = self.snapshot.job
        return job if job and job.owner_uid == self.operation.metadata.uid else None

    @property
    def foreign_job(self) -> JobView | None:
        """Somebody else's Job that has our Job's name."""
        job = self.snapshot.job
        return job if job and job.owner_uid != self.operation.metadata.uid else None

    @property
    def pods(self) -> tuple[PodView, ...]:
        """The pods of the current attempt."""
        return tuple(p for p in self.snapshot.pods if p.attempt == self.attempt)

    @property
    def living(self) -> tuple[PodView, ...]:
        """Pods of any attempt in which something may still run."""
        return tuple(p for p in self.snapshot.pods if not p.over)

    @property
    def live(self) -> bool:
        """Whether Job and pods were read from the API server for this very case."""
        return self.snapshot.answers.live

    @property
    def cancel_requested(self) -> bool:
        """Whether the run shall stop."""
        return bool(self.spec.cancel)

    @property
    def reported(self) -> bool:
        """Whether the current attempt has an SDK that speaks: only then can it stop by itself."""
        progress, report = self.status.progress, self.status.report
        return bool(
            (progress and progress.attempt == self.attempt)
            or (report and report.attempt == self.attempt)
        )

    @property
    def report(self) -> Report | None:
        """The current attempt's claim; one of another attempt is none."""
        report = self.status.report
        return report if report and report.attempt in (None, self.attempt) else None

    @property
    def entry(self) -> Attempt | None:
        """The current attempt as the status lists it."""
        return next((a for a in self.status.attempts or () if a.number == self.attempt), None)

    @property
    def between_attempts(self) -> bool:
        """Whether the current attempt's end is written down already, and no other has begun."""
        return self.entry is not None and self.entry.ended is not None

    @property
    def started(self) -> bool:
        """Whether the current attempt's trainer ever ran, as far as anything tells."""
        return (
            self.reported
            or (self.attempt == 1 and self.status.start_time is not None)
            or any(p.started for p in self.pods)
            or (self.entry is not None and self.entry.started is not None)
        )

    @property
    def ever_started(self) -> bool:
        """Whether the trainer of any attempt ever ran, as far as anything tells."""
        return self.started or self.status.start_time is not None or bool(self.status.progress)

    @property
    def stop(self) -> Stop | None:
        """The stop of the current attempt that is no cancel, if one is under way."""
        stop = self.status.stop
        return stop if stop and stop.attempt == self.attempt else None

    @property
    def suspend_requested(self) -> bool:
        """Whether the run shall pause."""
        return bool(self.spec.suspend)

    @property
    def keeps_its_workspace(self) -> bool:
        """Whether what an attempt leaves in its workspace is there for the next one."""
        return self.spec.keeps_its_workspace

    @property
    def active_seconds(self) -> float:
        """Seconds that count towards the active deadline, up to now."""
        since = self.status.active_since
        running = (self.now - since).total_seconds() if since else 0.0
        return (self.status.active_seconds or 0.0) + max(0.0, running)

    def clock_on(self) -> dict[str, Any]:
        """Fields of a status in which the active time passes."""
        return {"active_since": self.status.active_since or self.now}

    def clock_off(self) -> dict[str, Any]:
        """Fields of a status in which it stands still."""
        if self.status.active_since is None:
            return {}
        return {"active_since": None, "active_seconds": round(self.active_seconds, 3)}

    def age(self, notice: str) -> timedelta:
        """For how long this controller has been noticing something."""
        return self.now - self.snapshot.seen.get(notice, self.now)

    def moment(self, notice: str, after: float) -> datetime:
        """When something noticed will have lasted ``after`` seconds."""
        return self.snapshot.seen.get(notice, self.now) + timedelta(seconds=after)

    def no_later_than_now(self, moment: datetime) -> datetime:
        """A moment that was written down, perhaps by a controller whose clock was ahead."""
        return min(moment, self.now)

    def in_seconds(self, seconds: float) -> datetime:
        """A moment in the future."""
        return self.now + timedelta(seconds=seconds)


Policy = Callable[[Case], Plan | None]
"""Answers with a plan, or passes with None."""


def ask(*questions: Question) -> Plan:
    """A plan that only asks."""
    return Plan(questions=frozenset(questions))


def say(case: Case, phase: Phase, reason: str, message: str, **fields: Any) -> Plan:
    """A plan that brings the status to a phase.

    Args:
        case: what it is about.
        phase: the phase from now on.
        reason: why, as one word.
        message: why, for people.
        fields: further fields of the status.
    """
    status = case.status.model_copy(
        update={
            "phase": phase,
            "reason": reason,
            "message": clip(message, limits.MESSAGE_LENGTH),
            **fields,
        }
    )
    return Plan(status=status)


def clip(text: str, length: int) -> str:
    """A text in at most ``length`` characters; the end goes first."""
    return text if len(text) <= length else text[: length - 3] + "..."


def no_later(plan: Plan, due: datetime) -> Plan:
    """A plan that looks again at that moment at the latest."""
    return plan if plan.again_at and plan.again_at <= due else replace(plan, again_at=due)


def with_more(plan: Plan, **changes: Any) -> Plan:
    """A plan with some of its fields replaced."""
    return replace(plan, **changes)
