"""A model of everything around the controller, in which anything may happen.

A small world (API server, Job controller, kubelet, trainer, user) moves at random. Controllers
observe it freshly or staler than it is, die between two steps, and cross each other's way.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import snapshots
from headway_api import names
from headway_api.models import TrainingOperationStatus
from headway_api.models.status import TRAINERS_OWN
from headway_api.vocabulary import Phase
from headway_operator.applying import merge_patch
from headway_operator.policies.case import DeleteJob, DeletePod, MakeJob, Plan
from headway_operator.policies.chain import plan
from headway_operator.snapshot import LogTail, Question, Refusal, Refused, Signs, Snapshot

FINAL = {p.value for p in Phase if p.is_final}
MOST_LOOKS = 60
RESTING = ("Suspended", "Retrying")
WITHOUT_TIME = ("Pending", "Queued", "Suspended", *FINAL)
OTHER_NODE = "node-2"
CONVERGES_WITHIN = 8
"""Looks at an unchanged world after which a controller has nothing more to do."""
A_MOMENT = timedelta(seconds=0.2)
OWN_GRACE = 30
"""What pods get that are deleted by somebody else."""
AGES = [(0, 0, 0), (0, 1, 1), (1, 0, 0), (2, 2, 2), (0, 4, 0), (0, 0, 4), (0, 3, 3), (4, 0, 1)]
"""How many changes the watches of operations, Jobs and pods are behind."""


@dataclass(frozen=True)
class Move:
    """Something that may happen in the world: how often, when at all, and with which choices."""

    method: Callable[..., None]
    often: float
    when: Callable[[World], object]
    choices: dict[str, list[Any]]


MOVES: list[Move] = []
PROMISES: list[Callable[[World], None]] = []


def move(
    often: float = 1.0, when: Callable[[World], object] = lambda _: True, **choices: list[Any]
) -> Any:
    """Make a move of a method."""

    def register(method: Callable[..., None]) -> Callable[..., None]:
        MOVES.append(Move(method, often, when, choices))
        return method

    return register


def promise(method: Callable[[World], None]) -> Callable[[World], None]:
    """Something that holds after every move."""
    PROMISES.append(method)
    return method


class World:
    """One operation and everything that belongs to it."""

    def __init__(self) -> None:
        self.now: datetime = snapshots.NOW
        self.operation = snapshots.raw_operation()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.made_pods = 0
        self.versions = 1
        self.node_lost = False
        self.signs = Signs()
        self.history: list[tuple[Any, Any, Any]] = []
        self.seen: dict[str, dict[str, datetime]] = {"one": {}, "two": {}}
        self.refusals: dict[str, Refusal | None] = {"one": None, "two": None}
        self.quota_is_used_up = False
        self.most_retries = 0
        self.pending: list[MakeJob | DeleteJob | DeletePod] = []
        self.cancelling = False
        self.final: dict[str, Any] = {}
        self.made_late = False
        # What really happened, whoever saw it.
        self.active = 0.0
        self.stepped_at = self.now
        self.crashed: set[int] = set()
        self.untold: set[int] = set()
        self.must_succeed = self.even_if_cancelled = False
        self.started_at: str | None = None

    # What the world does.

    def begin(
        self,
        grace: int,
        ahead: int,
        retries: int = 0,
        deadline: int = 0,
        stall: int = 0,
        workers: int = 1,
        queue: bool = False,
        ttl: int | None = None,
    ) -> None:
        self.operation["spec"]["cancelGracePeriodSeconds"] = grace
        self.operation["spec"]["storage"] = {"claimTemplate": {"size": "1Gi"}}
        if stall:
            self.operation["spec"]["progressDeadlineSeconds"] = stall
        if workers > 1:
            self.operation["spec"]["workers"] = workers
        if queue:
            self.operation["spec"]["queueName"] = "a-queue"
        if ttl is not None:
            self.operation["spec"]["ttlSecondsAfterFinished"] = ttl
        if retries:
            self.operation["spec"]["retryPolicy"] = {"limit": retries, "backoffSeconds": 5}
            self.most_retries = retries
        if deadline:
            self.operation["spec"]["activeDeadlineSeconds"] = deadline
        self._remember()
        smoothly = (
            lambda: self._look("one"),
            self.the_queue_starts_the_job,
            self.the_job_controller_makes_a_pod,
            self.the_scheduler_finds_a_node,
            self.the_kubelet_starts_the_trainer,
            lambda: self._look("one"),
            self.the_trainer_reports_progress,
        )
        for step in smoothly[:ahead]:
            step()

    @move(0.2, when=lambda self: not self.operation["spec"].get("cancel"))
    def the_user_cancels(self) -> None:
        self.operation["spec"]["cancel"] = True
        self.must_succeed = self.must_succeed and self.even_if_cancelled
        self.operation["metadata"]["generation"] += 1
        self._touch()

    @move(0.25, when=lambda self: not self.operation["spec"].get("suspend"))
    def the_user_suspends(self) -> None:
        self._switch_suspend(True)

    @move(0.6, when=lambda self: self.operation["spec"].get("suspend"))
    def the_user_resumes(self) -> None:
        self._switch_suspend(False)

    @move(0.2, when=lambda self: self.operation["spec"].get("cancel"), grace=[0, 1, 60])
    def the_user_changes_the_grace(self, grace: int) -> None:
        self.operation["spec"]["cancelGracePeriodSeconds"] = grace
        self.operation["metadata"]["generation"] += 1
        self._touch()

    @move(0.15, most=[None, 1, 60])
    def the_user_changes_the_deadline(self, most: int | None) -> None:
        self.operation["spec"].pop("activeDeadlineSeconds", None)
        if most is not None:
            self.operation["spec"]["activeDeadlineSeconds"] = most
        self.operation["metadata"]["generation"] += 1
        self._touch()

    @move(0.1, limit=[0, 1, 2])
    def the_user_changes_the_retries(self, limit: int) -> None:
        self.operation["spec"]["retryPolicy"] = {"limit": limit, "backoffSeconds": 5}
        self.most_retries = max(self.most_retries, limit)
        self.operation["metadata"]["generation"] += 1
        self._touch()

    @move(0.15)
    def the_quota_is_used_up_or_not(self) -> None:
        self.quota_is_used_up = not self.quota_is_used_up

    @move(0.7, seconds=[0.5, 3, 12, 40])
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        if self._phase() not in WITHOUT_TIME:
            self.active += seconds

    @move(2, when=lambda self: self._podless())
    def the_job_controller_makes_a_pod(self) -> None:
        workers = self.operation["spec"].get("workers", 1)
        for name, job in self._podless().items():
            attempt = int(job["metadata"]["labels"][names.LABEL_ATTEMPT])
            for index in range(workers):
                self.made_pods += 1
                pod = snapshots.raw_pod(
                    attempt=attempt,
                    number=self.made_pods,
                    node="",
                    index=index if workers > 1 else None,
                )
                pod["job"] = name
                self.pods[pod["metadata"]["name"]] = pod
            job["status"]["made"] = True
        self._remember()

    @move(2, when=lambda self: self._unscheduled())
    def the_scheduler_finds_a_node(self) -> None:
        for pod in self._unscheduled():
            other = pod["metadata"]["labels"].get(names.LABEL_INDEX) == "1"
            pod["spec"]["nodeName"] = OTHER_NODE if other else snapshots.NODE
        self._remember()

    @move(
        0.6,
        when=lambda self: self._pending(),
        reason=["ContainerCreating", "ErrImagePull", "InvalidImageName"],
    )
    def the_kubelet_prepares(self, reason: str) -> None:
        for pod in self._pending():
            self._set(pod, "Pending", snapshots.waiting(reason, "busy"))
        self._remember()

    @move(2, when=lambda self: self._pending())
    def the_kubelet_starts_the_trainer(self) -> None:
        for pod in self._pending():
            hopeless = "InvalidImageName" in str(pod["status"]["containerStatuses"])
            if not hopeless and not _deleting(pod):
                self._set(pod, "Running", snapshots.running(self.now))
                self.stepped_at = self.now
        self._remember()

    @move(when=lambda self: self._running())
    def the_trainer_reports_progress(self) -> None:
        status = self.operation["status"]
        for pod in self._running():
            attempt = int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            if status.get("attempt") == attempt:
                status["progress"] = snapshots.progress(attempt) | {
                    "time": snapshots.text(self.now),
                    "heartbeat": snapshots.text(self.now),
                }
                self.stepped_at = self.now
                self.signs = replace(self.signs, alive_at=self.now)
                self._touch()

    @move(0.5, when=lambda self: self._running())
    def the_trainer_shows_that_it_lives(self) -> None:
        progress = self.operation["status"].get("progress")
        if progress and progress["attempt"] == self.operation["status"].get("attempt"):
            self.operation["status"]["progress"] = progress | {
                "heartbeat": snapshots.text(self.now)
            }
            self.signs = replace(self.signs, alive_at=self.now)
            self._touch()

    @move(0.3, when=lambda self: self._running())
    def the_trainer_writes_a_checkpoint(self) -> None:
        status = self.operation["status"]
        for pod in self._running():
            attempt = int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            if status.get("attempt") == attempt and status.get("progress"):
                self.made_pods += 1
                path = f"a{attempt}/{self.made_pods}"
                checkpoint = {"path": path, "time": snapshots.text(self.now)}
                status["report"] = {"attempt": attempt, "checkpoint": checkpoint}
                self._touch()

    @move(
        0.5,
        when=lambda self: self._running(),
        code=[0, 0, 0, 1, 137, 143],
        claim=["", "success", "cancelled", "interrupted", "failed"],
        in_the_status=[True, False],
        reason=["", "", "OOMKilled"],
    )
    def the_trainer_ends(self, code: int, claim: str, in_the_status: bool, reason: str) -> None:
        for pod in self._running()[: 1 if code else None]:
            attempt = int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            first = pod["metadata"]["labels"].get(names.LABEL_INDEX, "0") == "0"
            fenced = self.operation["status"].get("attempt") != attempt
            if claim and in_the_status and first and not fenced:
                self.operation["status"]["report"] = snapshots.report(claim, attempt)
                self._touch()
            message = {"headway": 1, "report": {"status": claim}} if claim else {}
            self._end(pod, code, reason if code == 137 else "", json.dumps(message), claim)

    @move(0.2, when=lambda self: self._running())
    def the_trainer_ends_before_its_pod(self) -> None:
        for pod in self._running():
            self._set(pod, "Running", snapshots.ended(0))
        self._remember()

    @move(0.15, when=lambda self: self._living())
    def somebody_deletes_a_pod(self) -> None:
        for pod in self._living():
            self._delete_pod(pod, OWN_GRACE)
        self._remember()

    @move(0.15, when=lambda self: self._on_a_node())
    def somebody_drains_the_node(self) -> None:
        for pod in self._on_a_node()[:1]:
            self._disrupt(pod)
            self._delete_pod(pod, OWN_GRACE)
        self._remember()

    @move(0.3, when=lambda self: self._queued_jobs(suspended=False))
    def the_queue_takes_the_job_back(self) -> None:
        """Its pods are deleted and do not count: they come again when it is started again."""
        for name, job in self._queued_jobs(suspended=False).items():
            job["spec"]["suspend"] = True
            job["status"]["made"] = False
            for pod in [p for p in self.pods.values() if p["job"] == name]:
                pod["uncounted"] = True
                self._delete_pod(pod, OWN_GRACE)
        self._remember()

    @move(1.5, when=lambda self: self._queued_jobs(suspended=True))
    def the_queue_starts_the_job(self) -> None:
        for job in self._queued_jobs(suspended=True).values():
            job["spec"]["suspend"] = False
        self._remember()

    @move(0.1, when=lambda self: self.jobs)
    def somebody_deletes_the_job(self) -> None:
        self.must_succeed = False
        for name, job in list(self.jobs.items()):
            self.untold.add(_attempt_of(job))
            self._delete_job(name)
        self._remember()

    @move(0.2, when=lambda self: self._on_a_node())
    def the_node_is_lost(self) -> None:
        self.node_lost = True

    @move(when=lambda self: self.node_lost)
    def the_node_comes_back(self) -> None:
        self.node_lost = False

    @move(0.5, when=lambda self: self.node_lost)
    def the_lost_node_is_given_up(self) -> None:
        """Its pods are deleted, and stay until the node is back or is deleted, too."""
        for pod in self._living():
            if pod["spec"]["nodeName"] == snapshots.NODE:
                self._disrupt(pod)
                self._delete_pod(pod, OWN_GRACE)
        self._remember()

    @move(0.4, when=lambda self: self.node_lost)
    def the_lost_node_is_deleted(self) -> None:
        for name, pod in list(self.pods.items()):
            if pod["spec"]["nodeName"] == snapshots.NODE:
                if not self._over(pod):
                    self._disrupt(pod)
                    pod["status"]["phase"] = "Failed"
                self._note_the_end(pod)
                del self.pods[name]
        self.node_lost = False
        self._collect_jobs()
        self._remember()

    @move(when=lambda self: any(_deleting(p) for p in self._on_a_node()))
    def the_kubelet_ends_what_is_deleted(self) -> None:
        for pod in self._on_a_node():
            if _deleting(pod):
                self._end(pod, 137 if pod["status"]["phase"] == "Running" else 0)
        self._remember()

    @move(when=lambda self: any(_deleting(p) for p in self.pods.values()))
    def terminal_pods_that_are_deleted_go(self) -> None:
        for name, pod in list(self.pods.items()):
            if _deleting(pod) and self._over(pod):
                self._note_the_end(pod)
                del self.pods[name]
        self._collect_jobs()
        self._remember()

    @move(0.15, when=lambda self: self.jobs)
    def the_job_controller_misses_news(self) -> None:
        """It counts the pods of a Job that fail, and never says that the Job failed."""
        for job in self.jobs.values():
            if not job["status"]["conditions"]:
                job["mute"] = True
        self._remember()

    @move(0.7, when=lambda self: self.jobs)
    def the_job_controller_counts(self) -> None:
        for name, job in self.jobs.items():
            if not job["status"].get("made") or _concluded(job):
                continue
            own = self._counted(name)
            living = [p for p in own if not self._over(p)]
            ends = [*job["status"].get("ends", ()), *(_end_of(p) for p in own if self._over(p))]
            if living:
                if any(phase == "Failed" for phase, _ in ends):
                    for pod in living:
                        self._delete_pod(pod, OWN_GRACE)
                continue
            well = [phase for phase, _ in ends].count("Succeeded")
            if job.get("mute") and well < len(ends):
                job["status"]["failed"] = len(ends) - well
                continue
            complete = well == self.operation["spec"].get("workers", 1)
            kind = "Complete" if complete else "Failed"
            job["status"]["conditions"] = [_condition(kind, ends)]
        self._remember()

    # What controllers do.

    @move(1.5)
    def a_controller_sees_everything(self) -> None:
        """And goes on looking at a world that stands still: soon it has nothing more to do."""
        for _ in range(CONVERGES_WITHIN):
            before = self.versions
            did = self._look("one")
            if not did and self.versions == before:
                self._judge_the_pause()
                return
        raise AssertionError("it never comes to rest")

    @move(2, who=["one", "two"], ages=AGES, stops_after=[None, None, None, 0, 1])
    def a_controller_looks(
        self, who: str, ages: tuple[int, int, int], stops_after: int | None
    ) -> None:
        self._look(who, ages, stops_after)

    @move(when=lambda self: self.pending, dead=[True, False])
    def a_stopped_controller_goes_on_or_is_dead(self, dead: bool) -> None:
        action = self.pending.pop(0)
        if dead:
            return
        if isinstance(action, MakeJob) and (
            self._phase() in (*FINAL, *RESTING)
            or action.attempt != self.operation["status"].get("attempt")
        ):
            self.made_late = True  # the API server cannot refuse it; it has to be undone
        self._act(action)

    # What must hold.

    @promise
    def a_final_phase_never_changes(self) -> None:
        """Nor does anything that is said of the end; a cancel that came too late is noted."""
        status = self.operation["status"]
        if self._phase() in FINAL:
            told = ("phase", "reason", "message", "result", "attempt", "attempts", "startTime")
            end = {k: status.get(k) for k in (*told, "completionTime", "retries", "lastLogs")}
            self.final = self.final or copy.deepcopy(end)
            assert end == self.final
        assert not self.final or self._phase() == self.final["phase"]

    @promise
    def a_cancel_is_not_taken_back(self) -> None:
        phase = self._phase()
        assert not self.cancelling or phase in (*FINAL, "Cancelling"), f"back to {phase}"
        self.cancelling = phase == "Cancelling"

    @promise
    def nothing_lives_in_a_run_that_rests(self) -> None:
        entries = self.operation["status"].get("attempts") or [{}]
        phase = self._phase()
        resting = phase == "Suspended" or (phase == "Retrying" and entries[-1].get("ended"))
        if resting and not self.made_late:
            assert not self._living()

    @promise
    def two_attempts_never_live_at_once(self) -> None:
        if not self.made_late:
            assert len({p["metadata"]["labels"][names.LABEL_ATTEMPT] for p in self._living()}) <= 1

    @promise
    def no_more_retries_are_spent_than_there_are(self) -> None:
        status = self.operation["status"]
        assert status.get("retries", 0) <= self.most_retries
        assert status.get("disruptions", 0) < 10

    @promise
    def nothing_lives_behind_a_cancelled(self) -> None:
        if self._phase() == "Cancelled" and not self.made_late:
            assert not self._living()

    @promise
    def success_is_never_made_of_a_failure(self) -> None:
        status = self.operation["status"]
        if self._phase() == "Succeeded":
            assert status["result"]["exitCode"] == 0
            assert status["attempt"] not in self.crashed

    @promise
    def failure_is_never_made_of_a_success(self) -> None:
        goes_on = self.operation["status"].get("reason") == "NodeUnreachable"
        if self.must_succeed and not goes_on:
            assert self._phase() not in ("Failed", "Cancelled", "Retrying", "Suspended")

    @promise
    def a_retry_is_only_spent_on_a_crash(self) -> None:
        spent = self.operation["status"].get("retries", 0)
        assert spent <= len(self.crashed | self.untold)

    @promise
    def only_time_that_counts_is_counted(self) -> None:
        status = self.operation["status"]
        counted = status.get("activeSeconds", 0.0)
        if status.get("activeSince"):
            counted += (self.now - datetime.fromisoformat(status["activeSince"])).total_seconds()
        assert abs(counted - self.active) < 0.1, f"{counted} s of {self.active} s"

    @promise
    def only_who_cancelled_is_cancelled(self) -> None:
        if not self.operation["spec"].get("cancel"):
            assert self._phase() not in ("Cancelled", "Cancelling")
            assert "cancellation" not in self.operation["status"]

    @promise
    def what_told_of_itself_is_not_called_never_started(self) -> None:
        status = self.operation["status"]
        if status.get("cancellation", {}).get("outcome") == "BeforeStart" and not self.made_late:
            assert not status.get("progress")

    @promise
    def the_first_start_is_kept(self) -> None:
        started = self.operation["status"].get("startTime")
        assert self.started_at in (None, started)
        self.started_at = started

    @promise
    def attempts_are_listed_in_order_and_all_but_the_last_have_ended(self) -> None:
        status = self.operation["status"]
        entries = status.get("attempts", [])
        last = status.get("attempt", 0)
        numbers = [e["number"] for e in entries]
        assert numbers == list(range(max(1, last - 9), last + 1))
        assert all(e.get("ended") for e in entries[:-1])
        if self._phase() in FINAL and entries:
            assert entries[-1].get("ended")

    def come_to_an_end(self) -> None:
        """A fair end: every component does its work, and so the run comes to its own."""
        self.node_lost = self.quota_is_used_up = False
        self.pending.clear()
        workers = self.operation["spec"].get("workers", 1)
        cancelled = bool(self.operation["spec"].get("cancel"))
        self._switch_suspend(False)
        for _ in range(MOST_LOOKS):
            self.time_passes(31)
            self.the_queue_starts_the_job()
            self.the_job_controller_makes_a_pod()
            self.the_scheduler_finds_a_node()
            self.the_kubelet_starts_the_trainer()
            self.the_kubelet_ends_what_is_deleted()
            self.terminal_pods_that_are_deleted_go()
            self.the_job_controller_counts()
            self._look("one")
            if not cancelled:
                together = self._running()
                for pod in together if len(together) == workers else ():
                    self._end(pod, 0)
        phase = self._phase()
        assert phase in FINAL, f"stuck in {phase}: {self.operation['status'].get('message')}"
        assert not self._living(), f"{phase}, and yet something lives"
        assert not self.must_succeed or phase == "Succeeded", f"{phase} was a success"
        if "ttlSecondsAfterFinished" in self.operation["spec"]:
            assert not self.jobs, "nothing is left of it once its time to live is over"
        if cancelled:
            assert self.operation["status"]["cancellation"]["outcome"], "a cancel was lost"
        self.a_final_phase_never_changes()

    # How all that is done.

    def _look(
        self, who: str, ages: tuple[int, int, int] = (0, 0, 0), stops_after: int | None = None
    ) -> bool:
        """Observe (each watch may be behind by its own age), plan, apply, perhaps not all.

        Returns whether there was anything to do.
        """
        operation, jobs, pods = (
            self.history[max(0, len(self.history) - 1 - age)][kind] for kind, age in enumerate(ages)
        )
        decided = self._decide(who, operation, jobs, pods, self.now)
        seen = self.seen[who]
        self.seen[who] = {notice: seen.get(notice, self.now) for notice in decided.notices}
        wrote = False
        current = self.operation["metadata"]["resourceVersion"]
        observed = operation["metadata"]["resourceVersion"]
        if decided.status is not None:
            if current != observed:
                return True  # a conflict: nothing was done
            self._judge_a_stop(decided.status.to_wire())
            wrote = self._write(decided.status)
        makes = any(isinstance(a, MakeJob) for a in decided.actions)
        if makes and not wrote and current != observed:
            return True  # read once more before a Job is made: it is not as it was observed
        for done, action in enumerate(decided.actions):
            if stops_after is not None and done >= stops_after:
                self.pending += decided.actions[done:]
                return True
            if current == observed:
                self._judge_politeness(action)
                if isinstance(action, DeleteJob):
                    self._judge_what_stays(action)
            self._act(action, who)
        return wrote or bool(decided.actions)

    def _decide(self, who: str, operation: Any, jobs: Any, pods: Any, now: datetime) -> Plan:
        found = self._snapshot(operation, jobs, pods, self.seen[who])
        found = replace(found, refusal=self.refusals[who])
        for _ in range(8):
            decided = plan(found, now)
            if not decided.questions:
                return decided
            found = self._answer(found, operation, decided)
        raise AssertionError("it never stops asking")

    def _judge_the_pause(self) -> None:
        """At rest it looks again when something is due: not too late, and not without a pause."""

        def at(moment: datetime) -> Plan:
            return self._decide("one", self.operation, self.jobs, self.pods, moment)

        again = at(self.now).again_at
        pause = again - self.now if again else timedelta(days=1)
        for part in (0.3, 0.99):
            early = at(self.now + pause * part)
            assert not early.actions, "it looks again too late"
            assert early.status is None, "it looks again too late"
        for _ in range(3):
            if again is None:
                return
            then = at(again)
            if then.status or then.actions or not then.again_at or then.again_at - again > A_MOMENT:
                return
            again = then.again_at
        raise AssertionError("it looks again and again without a pause")

    def _judge_what_stays(self, action: DeleteJob) -> None:
        """The Job of a trainer that ran tells how that ended, as long as it was asked to."""
        job = self.jobs.get(action.name)
        expires = "ttlSecondsAfterFinished" in self.operation["spec"] and self._phase() in FINAL
        living = any(p["job"] == action.name for p in self._living())
        assert expires or living or job is None or not job["status"]["conditions"]

    def _judge_a_stop(self, wanted: dict[str, Any]) -> None:
        """A stall is no step for too long, seen by somebody who could have seen one."""
        begun, before = wanted.get("stop") or {}, self.operation["status"].get("stop")
        if begun.get("cause") == "ProgressDeadlineExceeded" and not before:
            most = self.operation["spec"]["progressDeadlineSeconds"]
            assert (self.now - self.stepped_at).total_seconds() >= most
            self.untold.add(wanted["attempt"])  # a stall spends a retry, however it is stopped
        if begun.get("cause") == "DeadlineExceeded" and not before:
            assert self.active >= self.operation["spec"]["activeDeadlineSeconds"] - 0.1

    def _judge_politeness(self, action: MakeJob | DeleteJob | DeletePod) -> None:
        """Who reports has the whole grace period to stop by itself, and nobody gets none at all."""
        if isinstance(action, MakeJob) or self._phase() in FINAL:
            return
        status = self.operation["status"]
        attempt = status.get("attempt")
        reports = (status.get("progress") or {}).get("attempt") == attempt
        if isinstance(action, DeleteJob):
            lives = reports and any(_attempt_of(p) == attempt for p in self._on_a_node())
            if action.name != f"run-a{attempt}" or not lives:
                return  # nobody there who reports
        else:
            assert action.grace >= 1
        told = status.get("cancellation") or status["stop"]
        over = self.now >= datetime.fromisoformat(told["deadline"])
        assert over or not reports

    def _snapshot(
        self, operation: Any, jobs: Any, pods: Any, seen: dict[str, datetime], live: bool = False
    ) -> Snapshot:
        return snapshots.observed(
            operation,
            None,
            pods.values(),
            more_jobs=jobs.values(),
            signs=replace(self.signs, stepped_at=self.stepped_at, view_since=snapshots.NOW),
            live=live,
            seen=seen,
        )

    def _answer(self, found: Snapshot, operation: Any, decided: Plan) -> Snapshot:
        answers = found.answers
        if Question.LIVE in decided.questions:
            fresh = self._snapshot(operation, self.jobs, self.pods, dict(found.seen), live=True)
            found = replace(found, job=fresh.job, pods=fresh.pods, stray_jobs=fresh.stray_jobs)
            answers = replace(answers, live=True)
        if Question.OPERATION in decided.questions:
            answers = replace(answers, fresh=True)
        if Question.KUEUE in decided.questions:
            answers = replace(answers, kueue=False)
        if Question.EVENTS in decided.questions:
            answers = replace(answers, events=())
        if Question.NODE in decided.questions:
            lost = frozenset({snapshots.NODE}) if self.node_lost else frozenset[str]()
            answers = replace(answers, unreachable_nodes=lost, unready_nodes=lost)
        if Question.LOGS in decided.questions:
            answers = replace(answers, logs=LogTail("a-pod", "trainer", "the end"))
        return replace(found, answers=answers)

    def _write(self, wanted: TrainingOperationStatus) -> bool:
        status = self.operation["status"]
        before = {k: v for k, v in status.items() if k not in TRAINERS_OWN}
        after = wanted.model_copy(update=dict.fromkeys(TRAINERS_OWN)).to_wire()
        if not merge_patch(before, after):
            return False
        own = {k: v for k, v in status.items() if k in TRAINERS_OWN}
        assert after.get("attempt", 0) >= before.get("attempt", 0)
        self.operation["status"] = {**after, **own}
        self._touch()
        return True

    def _act(self, action: MakeJob | DeleteJob | DeletePod, who: str = "one") -> None:
        match action:
            case MakeJob(attempt) if self.quota_is_used_up:
                what = f"Job run-a{attempt}"
                self.refusals[who] = Refusal(Refused.FORBIDDEN, what, "exceeded quota", self.now)
            case MakeJob(attempt):
                self.refusals[who] = None
                name = f"run-a{attempt}"
                if name not in self.jobs:
                    job = self.jobs[name] = snapshots.raw_job(attempt)
                    if queue := self.operation["spec"].get("queueName"):
                        job["metadata"]["labels"][names.LABEL_QUEUE] = queue
                        job["spec"]["suspend"] = True
            case DeleteJob(name, uid):
                if name in self.jobs and self.jobs[name]["metadata"]["uid"] == uid:
                    self._delete_job(name)
            case DeletePod(name, _, grace):
                if name in self.pods:
                    self._delete_pod(self.pods[name], grace)
        self._remember()

    def _delete_job(self, name: str) -> None:
        self.jobs[name]["metadata"]["deletionTimestamp"] = snapshots.text(self.now)
        for pod in [p for p in self.pods.values() if p["job"] == name]:
            self._delete_pod(pod, OWN_GRACE)
        self._collect_jobs()

    def _delete_pod(self, pod: Any, grace: int) -> None:
        metadata = pod["metadata"]
        metadata.setdefault("deletionTimestamp", snapshots.text(self.now))
        known = metadata.get("deletionGracePeriodSeconds", grace)
        metadata["deletionGracePeriodSeconds"] = min(known, grace)
        if not pod["spec"]["nodeName"]:
            self.untold.add(_attempt_of(pod))
            del self.pods[metadata["name"]]

    def _disrupt(self, pod: Any) -> None:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaint"}
        pod["status"]["conditions"].append({**condition, "message": "gone"})

    def _collect_jobs(self) -> None:
        for name, job in list(self.jobs.items()):
            own = [p for p in self.pods.values() if p["job"] == name]
            if _deleting(job) and not own:
                del self.jobs[name]

    def _note_the_end(self, pod: Any) -> None:
        job = self.jobs.get(pod["job"])
        if job and not pod.get("uncounted"):
            ends = job["status"].setdefault("ends", [])
            ends.append(_end_of(pod))
            well = [phase for phase, _ in ends].count("Succeeded")
            failed = any(phase == "Failed" for phase, _ in ends)
            if failed and job.get("mute"):
                job["status"]["failed"] = len(ends) - well
                self.untold.add(_attempt_of(pod))
            elif failed:
                job["status"]["conditions"].append(_condition("FailureTarget", ends))
            elif well == self.operation["spec"].get("workers", 1):
                job["status"]["conditions"].append(_condition("SuccessCriteriaMet", ends))
        if pod["status"]["phase"] == "Failed" and not _disrupted(pod):
            self.untold.add(_attempt_of(pod))  # what is left does not tell that it was deleted

    def _end(
        self, pod: Any, code: int, reason: str = "", message: str = "", claim: str = ""
    ) -> None:
        ran = pod["status"]["phase"] == "Running"
        phase = "Succeeded" if code == 0 and ran else "Failed"
        self._set(pod, phase, snapshots.ended(code, reason, message) if ran else None)
        if phase == "Failed" and not pod.get("uncounted"):
            if ran and not _deleting(pod):
                self.crashed.add(_attempt_of(pod))
            elif not _disrupted(pod):
                self.untold.add(_attempt_of(pod))
        spec, status = self.operation["spec"], self.operation["status"]
        asked = spec.get("cancel") or spec.get("suspend") or status.get("stop")
        alone = spec.get("workers", 1) == 1 and "queueName" not in spec
        kept = pod["job"] in self.jobs and not _deleting(self.jobs[pod["job"]])
        current = status.get("attempt") == _attempt_of(pod) and self._phase() not in FINAL
        stopped = claim in ("cancelled", "interrupted")
        report = status.get("report") or {}
        told = claim == "success" == report.get("status") and report["attempt"] == status["attempt"]
        knowable = alone and current and kept
        if phase == "Succeeded" and knowable and not stopped and (told or not asked):
            self.must_succeed = told or "activeDeadlineSeconds" not in spec
            self.even_if_cancelled = told
        self._remember()

    def _set(self, pod: Any, phase: str, state: Any) -> None:
        pod["status"]["phase"] = phase
        if state is not None:
            pod["status"]["containerStatuses"] = [
                {"name": "trainer", "state": state, "ready": "running" in state}
            ]

    def _over(self, pod: Any) -> bool:
        return pod["status"]["phase"] in ("Succeeded", "Failed")

    def _living(self) -> list[Any]:
        return [p for p in self.pods.values() if not self._over(p)]

    def _on_a_node(self) -> list[Any]:
        """Living pods on nodes that are well."""
        lost = snapshots.NODE if self.node_lost else ""
        return [p for p in self._living() if p["spec"]["nodeName"] not in ("", lost)]

    def _podless(self) -> dict[str, Any]:
        """Jobs that still want their pod."""
        return {
            name: job
            for name, job in self.jobs.items()
            if not (job["status"].get("made") or job["status"]["conditions"] or _deleting(job))
            and not job["spec"].get("suspend")
            and not any(p["job"] == name for p in self._living())
        }

    def _queued_jobs(self, *, suspended: bool) -> dict[str, Any]:
        return {
            name: job
            for name, job in self.jobs.items()
            if names.LABEL_QUEUE in job["metadata"]["labels"]
            and bool(job["spec"].get("suspend")) is suspended
            and not (job["status"]["conditions"] or _deleting(job))
            and not (job["status"].get("ends") or any(map(self._over, self._counted(name))))
        }

    def _counted(self, job: str) -> list[Any]:
        """The pods of a Job that its controller counts."""
        return [p for p in self.pods.values() if p["job"] == job and not p.get("uncounted")]

    def _unscheduled(self) -> list[Any]:
        return [p for p in self._living() if not p["spec"]["nodeName"] and not _deleting(p)]

    def _pending(self) -> list[Any]:
        return [p for p in self._on_a_node() if p["status"]["phase"] == "Pending"]

    def _running(self) -> list[Any]:
        return [p for p in self._on_a_node() if p["status"]["phase"] == "Running"]

    def _switch_suspend(self, on: bool) -> None:
        self.operation["spec"]["suspend"] = on
        self.operation["metadata"]["generation"] += 1
        self._touch()

    def _phase(self) -> str:
        return self.operation["status"].get("phase") or "Pending"

    def _touch(self) -> None:
        self.versions += 1
        self.operation["metadata"]["resourceVersion"] = str(self.versions)
        self._remember()

    def _remember(self) -> None:
        state = (self.operation, self.jobs, self.pods)
        self.history.append(copy.deepcopy(state))
        del self.history[:-12]


def _deleting(raw: Any) -> bool:
    return "deletionTimestamp" in raw["metadata"]


def _concluded(job: Any) -> bool:
    return any(c["type"] in ("Complete", "Failed") for c in job["status"]["conditions"])


def _disrupted(pod: Any) -> bool:
    return any(c["type"] == "DisruptionTarget" for c in pod["status"]["conditions"])


def _condition(kind: str, ends: list[tuple[str, bool]]) -> dict[str, Any]:
    """A Job's condition, with the reason that its pods' ends give it."""
    disrupted = ("Failed", True) in ends
    reason = "PodFailurePolicy" if disrupted else "BackoffLimitExceeded"
    failed = kind in ("Failed", "FailureTarget")
    return {"type": kind, "status": "True", **({"reason": reason} if failed else {})}


def _end_of(pod: Any) -> tuple[str, bool]:
    """What the Job controller keeps of a pod: its phase, and whether it was disrupted."""
    return pod["status"]["phase"], _disrupted(pod)


def _attempt_of(pod: Any) -> int:
    return int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
