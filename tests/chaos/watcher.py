"""Looks at every change of every operation, and notes what breaks a promise."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from headway.client_errors import ClientError
from headway_api import names
from scripted_nodes import Cluster, names_of_ends

Object = dict[str, Any]
LARGEST_STATUS = 32 * 1024
WATCHED_FOR = 10
"""Seconds after which a watch is begun anew, so that the thread can end."""
CRASHES = {"Error", "Signalled", "OOMKilled"}
"""Ends of an attempt that are a trainer's own."""
SPENT = {*CRASHES, "PodLost", "ProgressDeadlineExceeded"}
"""Ends of an attempt after which the next one spends a retry."""
CAUSES = {*SPENT, "DeadlineExceeded", "DisruptedRepeatedly"}
"""What a run here can fail for: nothing else ever happens to one."""


class Watcher:
    """Watches a namespace's operations in a thread.

    Attributes:
        latest: operations by name, as they were last seen.
        phases: how often each phase was seen to begin.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.latest: dict[str, Object] = {}
        self.phases: Counter[str] = Counter()
        self._suspended: set[str] = set()
        self._limited: dict[str, set[str]] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watcher")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(30)

    def phase(self, name: str) -> str:
        return phase_of(self.latest.get(name, {}))

    def _run(self) -> None:
        while not self._ends.wait(0.05):
            try:
                with contextlib.suppress(ClientError):
                    self._follow(self._begin())
            except Exception as error:
                self._cluster.violations.append(f"the watcher failed: {error!r}")

    def _begin(self) -> str:
        found = self._cluster.request("GET", self._cluster.operations)
        items = found.get("items") or []
        for operation in items:
            self._see(operation, gapless=False)
        here = {o["metadata"]["name"] for o in items}
        for name in set(self.latest) - here:
            del self.latest[name]
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        lines = self._cluster.api.lines(
            self._cluster.operations,
            doing="watch",
            query={"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCHED_FOR)},
            silence=2.0 * WATCHED_FOR,
        )
        for line in lines:
            event = json.loads(line)
            operation = event["object"]
            if event["type"] == "ERROR":
                return
            if event["type"] == "DELETED":
                self.latest.pop(operation["metadata"]["name"], None)
            else:
                self._see(operation, gapless=True)
            if self._ends.is_set():
                return

    def _see(self, operation: Object, *, gapless: bool) -> None:
        """Judge a version of an operation.

        Args:
            operation: as it is.
            gapless: whether no version was missed since the one before.
        """
        name, uid = operation["metadata"]["name"], operation["metadata"]["uid"]
        before = self.latest.get(name)
        if before is None or before["metadata"]["uid"] != uid:
            gapless = False
            before = {"metadata": operation["metadata"], "spec": operation["spec"]}
        self.latest[name] = operation
        status, spec = operation.get("status") or {}, operation["spec"]
        self._note(uid, spec)
        phase = phase_of(operation)
        if phase_of(before) != phase or "status" not in before:
            self.phases[phase] += 1
        broken = [
            *_goes_back(before.get("status") or {}, status),
            *_spends(status, spec),
            *self._attempts_really_ended(uid, before.get("status") or {}, status),
            *(_begins_against_its_spec(before, operation) if gapless else ()),
        ]
        if phase_of(before) != phase:
            broken += [
                *self._has_a_cause(uid, phase, status, spec),
                *self._lives(name, uid, phase, status),
            ]
        for what in broken:
            told = json.dumps(status)[:3000]
            self._cluster.violations.append(f"{name}: {what}; {told}")

    def _note(self, uid: str, spec: Object) -> None:
        if spec.get("suspend"):
            self._suspended.add(uid)
        limits = {k for k in ("activeDeadlineSeconds", "progressDeadlineSeconds") if spec.get(k)}
        self._limited.setdefault(uid, set()).update(limits)

    def _has_a_cause(self, uid: str, phase: str, status: Object, spec: Object) -> list[str]:
        """What happened decides: every end, and every rest, has to have come from somewhere."""
        broken = []
        ends = self._cluster.ends.get((uid, status.get("attempt", 0)), [])
        result = status.get("result") or {}
        reason = result.get("reason")
        if phase in names_of_ends() and not {"completionTime", "result"} <= set(status):
            broken.append("it is over, and does not say how")
        if phase == "Suspended" and uid not in self._suspended:
            broken.append("it is Suspended, and nobody had asked for it")
        if phase == "Succeeded":
            if not any(e.code == 0 and e.claim not in ("cancelled", "interrupted") for e in ends):
                broken.append(f"it has Succeeded, and its trainer has not: {ends}")
            if result.get("exitCode") != 0:
                broken.append(f"it has Succeeded with exit code {result.get('exitCode')}")
        if phase == "Failed":
            if reason not in CAUSES:
                broken.append(f"it has Failed for a reason that there was not: {reason}")
            asked = self._limited.get(uid, set())
            for cause, field in (
                ("DeadlineExceeded", "activeDeadlineSeconds"),
                ("ProgressDeadlineExceeded", "progressDeadlineSeconds"),
            ):
                if reason == cause and field not in asked:
                    broken.append(f"it has Failed as {cause}, and had no {field}")
        if phase == "Cancelled":
            broken += self._receipt(uid, status, spec)
        return broken

    def _attempts_really_ended(self, uid: str, before: Object, status: Object) -> list[str]:
        """Whether trainers that are said to have failed by themselves really have."""
        broken = []
        for entry in status.get("attempts") or ():
            if entry in (before.get("attempts") or ()) or entry.get("reason") not in CRASHES:
                continue
            ends = self._cluster.ends.get((uid, entry["number"]), [])
            if not any(e.why == "told" and e.code == entry.get("exitCode") for e in ends):
                broken.append(f"attempt {entry['number']} is said to have failed: {ends}")
        return broken

    def _receipt(self, uid: str, status: Object, spec: Object) -> list[str]:
        receipt = status.get("cancellation") or {}
        missing = {"requestedAt", "outcome", "podsGoneAt"} - set(receipt)
        if missing:
            return [f"its receipt lacks {missing}"]
        broken = [] if spec.get("cancel") else ["it is Cancelled, and nobody had asked for it"]
        outcome = receipt["outcome"]
        if outcome == "TooLate":
            broken.append("it is Cancelled, and the cancel came too late")
        if outcome == "BeforeStart" and uid in self._cluster.began:
            broken.append("it is Cancelled before its start, and a trainer ran")
        if outcome == "Forced" and _time(receipt["podsGoneAt"]) < _time(receipt["deadline"]):
            broken.append("it was killed within its grace period")
        return broken

    def _lives(self, name: str, uid: str, phase: str, status: Object) -> list[str]:
        """Whether something lives in a run that just began to rest, or to be Cancelled."""
        if phase == "Cancelled":
            self._cluster.cancelled.add(uid)
        if phase not in ("Cancelled", "Suspended", "Queued"):
            return []
        # The pods are read after the status: a later attempt's may be there, where the run has
        # been resumed in between, and this one's, where its queue has let it go.
        known = status.get("attempt", 0)
        pods = [p for p in self._persistently(self._cluster.living, name) if _uid(p) == uid]
        if phase != "Cancelled":
            pods = [p for p in pods if _attempt(p) <= known]
        if phase == "Queued" and pods and not self._persistently(self._cluster.held, name):
            return []
        return [f"it is {phase}, and a pod lives"] if pods else []

    def _persistently(self, ask: Callable[[str], list[Object]], name: str) -> list[Object]:
        """The answer to a question that an outage only puts off."""
        while not self._ends.wait(0.05):
            with contextlib.suppress(ClientError):
                return ask(name)
        return []


def phase_of(operation: Object) -> str:
    """An operation's phase; one that nobody has looked at is Pending."""
    return str((operation.get("status") or {}).get("phase") or "Pending")


def _goes_back(old: Object, new: Object) -> list[str]:
    """What may not happen from one status to a later one, whatever lies between."""
    broken = []
    phase, before = new.get("phase"), old.get("phase")
    if before in names_of_ends():
        if phase != before:
            broken.append(f"a final phase changed: {before} to {phase}")
        for field in ("result", "completionTime", "attempts", "attempt", "lastLogs"):
            if old.get(field) != new.get(field):
                broken.append(f"it was over, and its {field} changed")
    if before == "Cancelling" and phase not in ("Cancelling", "Cancelled", "Succeeded"):
        broken.append(f"its cancel was lost: it is {phase}")
    for field in ("attempt", "retries"):
        if (new.get(field) or 0) < (old.get(field) or 0):
            broken.append(f"its {field} fell")
    for field in ("progress", "report"):
        was, now = old.get(field) or {}, new.get(field) or {}
        if was and not now:
            broken.append(f"its {field} was lost")
        if now.get("attempt", 0) < was.get("attempt", 0):
            broken.append(f"an older attempt spoke in its {field}")
    told, held = ((s.get("progress") or {}).get("sequence", 0) for s in (new, old))
    if told < held:
        broken.append("its progress went back")
    asked = (old.get("cancellation") or {}).get("requestedAt")
    if asked and (new.get("cancellation") or {}).get("requestedAt") != asked:
        broken.append("its receipt changed when it was asked for")
    if len(json.dumps(new)) > LARGEST_STATUS:
        broken.append("its status is too large")
    return broken


def _spends(status: Object, spec: Object) -> list[str]:
    """Retries are spent by what a trainer does itself, and by nothing else."""
    broken = []
    retries = status.get("retries", 0)
    if retries > (spec.get("retryPolicy") or {}).get("limit", 0):
        broken.append("it spent more retries than it has")
    if status.get("disruptions", 0) >= 10 and status.get("phase") != "Failed":
        broken.append("it was disrupted ten times and goes on")
    attempts = status.get("attempts") or []
    if len(attempts) == status.get("attempt", 0):  # none has dropped off the list
        spent = sum(a.get("reason") in SPENT for a in attempts)
        if (status.get("result") or {}).get("reason") in SPENT:
            spent -= 1  # there was none left for the last one
        if retries != spent:
            broken.append(f"it has spent {retries} retries, and {spent} attempts failed")
    return broken


def _begins_against_its_spec(before: Object, now: Object) -> list[str]:
    """Cancel beats retry, suspend and queueing: no attempt begins where the spec says stop."""
    numbers = [(o.get("status") or {}).get("attempt", 0) for o in (before, now)]
    if numbers[0] == numbers[1]:
        return []
    broken = [] if numbers[1] == numbers[0] + 1 else [f"its attempt went on by more: {numbers}"]
    for word in ("cancel", "suspend"):
        if now["spec"].get(word):
            broken.append(f"attempt {numbers[1]} began, and spec.{word} was set")
    return broken


def _attempt(pod: Object) -> int:
    return int(pod["metadata"]["labels"][names.LABEL_ATTEMPT])


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["labels"][names.LABEL_OPERATION_UID])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
