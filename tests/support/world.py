"""A model of everything around the controller, in which anything may happen.

A small world (API server, Job controller, kubelet, trainer, user) moves at random. Controllers
observe it freshly or staler than it is, die between two steps, and cross each other's way.
"""

from __future__ import annotations

import copy
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
from headway_operator.snapshot import LogTail, Question, Signs, Snapshot

FINAL = {p.value for p in Phase if p.is_final}
MOST_LOOKS = 60
RESTING = ("Suspended", "Retrying")
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
        self.pending: list[MakeJob | DeleteJob | DeletePod] = []
        self.cancelling = False
        self.first_final = ""
        self.made_late = False

    # What the world does.

    def begin(self, grace: int, ahead: int, retries: int = 0, deadline: int = 0) -> None:
        self.operation["spec"]["cancelGracePeriodSeconds"] = grace
        if retries:
            self.operation["spec"]["retryPolicy"] = {"limit": retries, "backoffSeconds": 5}
        if deadline:
            self.operation["spec"]["activeDeadlineSeconds"] = deadline
        self._remember()
        smoothly = (
            lambda: self._look("one"),
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

    @move(0.7, seconds=[0.5, 3, 12, 40])
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @move(2, when=lambda self: self._podless())
    def the_job_controller_makes_a_pod(self) -> None:
        for name, job in self._podless().items():
            self.made_pods += 1
            attempt = int(job["metadata"]["labels"][names.LABEL_ATTEMPT])
            pod = snapshots.raw_pod(attempt=attempt, number=self.made_pods, node="")
            pod["job"] = name
            self.pods[pod["metadata"]["name"]] = pod
            job["status"]["made"] = True
        self._remember()

    @move(2, when=lambda self: self._unscheduled())
    def the_scheduler_finds_a_node(self) -> None:
        for pod in self._unscheduled():
            pod["spec"]["nodeName"] = snapshots.NODE
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
        self._remember()

    @move(when=lambda self: self._running())
    def the_trainer_reports_progress(self) -> None:
        status = self.operation["status"]
        for pod in self._running():
            attempt = int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            if status.get("attempt") == attempt:
                status["progress"] = snapshots.progress(attempt)
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
        for pod in self._running():
            attempt = int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            fenced = self.operation["status"].get("attempt") != attempt
            if claim and in_the_status and not fenced:
                self.operation["status"]["report"] = snapshots.report(claim, attempt)
                self._touch()
            self._end(pod, code, reason if code == 137 else "")

    @move(0.2, when=lambda self: self._running())
    def the_trainer_ends_before_its_pod(self) -> None:
        for pod in self._running():
            self._set(pod, "Running", snapshots.ended(0))
        self._remember()

    @move(0.15, when=lambda self: self._living())
    def somebody_deletes_a_pod(self) -> None:
        for pod in self._living():
            self._delete_pod(pod, 30)
        self._remember()

    @move(0.1, when=lambda self: self.jobs)
    def somebody_deletes_the_job(self) -> None:
        for name in list(self.jobs):
            self._delete_job(name)
        self._remember()

    @move(0.2, when=lambda self: self._on_a_node())
    def the_node_is_lost(self) -> None:
        self.node_lost = True

    @move(when=lambda self: self.node_lost)
    def the_node_comes_back(self) -> None:
        self.node_lost = False

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

    @move(0.7, when=lambda self: self.jobs)
    def the_job_controller_counts(self) -> None:
        for name, job in self.jobs.items():
            if not job["status"].get("made") or job["status"]["conditions"]:
                continue
            own = [p for p in self.pods.values() if p["job"] == name]
            if any(not self._over(p) for p in own):
                continue
            well = job["status"].get("well") or any(
                p["status"]["phase"] == "Succeeded" for p in own
            )
            self._conclude_job(job, bool(well))
        self._remember()

    # What controllers do.

    @move(1.5)
    def a_controller_sees_everything(self) -> None:
        self._look("one")

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
        phase = self._phase()
        if self.first_final:
            assert phase == self.first_final
        elif phase in FINAL:
            self.first_final = phase

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
        spec, status = self.operation["spec"], self.operation["status"]
        assert status.get("retries", 0) <= spec.get("retryPolicy", {}).get("limit", 0)
        assert status.get("disruptions", 0) < 10

    @promise
    def nothing_lives_behind_a_cancelled(self) -> None:
        if self._phase() == "Cancelled" and not self.made_late:
            assert not self._living()

    @promise
    def success_is_never_made_of_a_failure(self) -> None:
        if self._phase() == "Succeeded":
            assert self.operation["status"]["result"]["exitCode"] == 0

    def come_to_an_end(self) -> None:
        """A fair end: every component does its work, and so the run comes to its own."""
        self.node_lost = False
        self.pending.clear()
        cancelled = bool(self.operation["spec"].get("cancel"))
        self._switch_suspend(False)
        for _ in range(MOST_LOOKS):
            self.now += timedelta(seconds=31)
            self.the_job_controller_makes_a_pod()
            self.the_scheduler_finds_a_node()
            self.the_kubelet_starts_the_trainer()
            self.the_kubelet_ends_what_is_deleted()
            self.terminal_pods_that_are_deleted_go()
            self.the_job_controller_counts()
            self._look("one")
            if not cancelled:
                for pod in self._running():
                    self._end(pod, 0)
        phase = self._phase()
        assert phase in FINAL, f"stuck in {phase}: {self.operation['status'].get('message')}"
        assert not self._living(), f"{phase}, and yet something lives"
        if cancelled:
            assert self.operation["status"]["cancellation"]["outcome"], "a cancel was lost"
        self.a_final_phase_never_changes()

    # How all that is done.

    def _look(
        self, who: str, ages: tuple[int, int, int] = (0, 0, 0), stops_after: int | None = None
    ) -> None:
        """Observe (each watch may be behind by its own age), plan, apply, perhaps not all."""
        operation, jobs, pods = (
            self.history[max(0, len(self.history) - 1 - age)][kind] for kind, age in enumerate(ages)
        )
        found = self._snapshot(operation, jobs, pods, self.seen[who])
        for _ in range(8):
            decided = plan(found, self.now)
            if not decided.questions:
                break
            found = self._answer(found, operation, decided)
        else:
            raise AssertionError("it never stops asking")
        seen = self.seen[who]
        self.seen[who] = {notice: seen.get(notice, self.now) for notice in decided.notices}
        wrote = False
        current = self.operation["metadata"]["resourceVersion"]
        observed = operation["metadata"]["resourceVersion"]
        if decided.status is not None:
            if current != observed:
                return  # a conflict: nothing was done
            wrote = self._write(decided.status)
        makes = any(isinstance(a, MakeJob) for a in decided.actions)
        if makes and not wrote and current != observed:
            return  # read once more before a Job is made: it is not as it was observed
        for done, action in enumerate(decided.actions):
            if stops_after is not None and done >= stops_after:
                self.pending += decided.actions[done:]
                return
            self._act(action)

    def _snapshot(
        self, operation: Any, jobs: Any, pods: Any, seen: dict[str, datetime], live: bool = False
    ) -> Snapshot:
        return snapshots.observed(
            operation,
            None,
            pods.values(),
            more_jobs=jobs.values(),
            signs=self.signs,
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

    def _act(self, action: MakeJob | DeleteJob | DeletePod) -> None:
        match action:
            case MakeJob(attempt):
                name = f"run-a{attempt}"
                if name not in self.jobs:
                    self.jobs[name] = snapshots.raw_job(attempt)
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
            self._delete_pod(pod, 30)
        self._collect_jobs()

    def _delete_pod(self, pod: Any, grace: int) -> None:
        metadata = pod["metadata"]
        metadata.setdefault("deletionTimestamp", snapshots.text(self.now))
        known = metadata.get("deletionGracePeriodSeconds", grace)
        metadata["deletionGracePeriodSeconds"] = min(known, grace)
        if not pod["spec"]["nodeName"]:
            del self.pods[metadata["name"]]

    def _collect_jobs(self) -> None:
        for name, job in list(self.jobs.items()):
            own = [p for p in self.pods.values() if p["job"] == name]
            if _deleting(job) and not own:
                del self.jobs[name]

    def _note_the_end(self, pod: Any) -> None:
        job = self.jobs.get(pod["job"])
        if job:
            job["status"]["well"] = pod["status"]["phase"] == "Succeeded"

    def _conclude_job(self, job: Any, well: bool) -> None:
        kind = {"type": "Complete"} if well else {"type": "Failed", "reason": "Backoff"}
        job["status"]["conditions"] = [{**kind, "status": "True"}]

    def _end(self, pod: Any, code: int, reason: str = "") -> None:
        ran = pod["status"]["phase"] == "Running"
        phase = "Succeeded" if code == 0 and ran else "Failed"
        self._set(pod, phase, snapshots.ended(code, reason) if ran else None)
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
        return [p for p in self._living() if p["spec"]["nodeName"] and not self.node_lost]

    def _podless(self) -> dict[str, Any]:
        """Jobs that still want their pod."""
        return {
            name: job
            for name, job in self.jobs.items()
            if not (job["status"].get("made") or job["status"]["conditions"] or _deleting(job))
            and not job["spec"].get("suspend")
        }

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
