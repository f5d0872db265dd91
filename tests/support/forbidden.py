"""What a trainer's credential must not be able to do: a table of requests, and who makes them.

One file, standard library only, so that it runs anywhere: the tests import it, and a trainer's
container runs it as a program, with the token of its own pod. To use it in a cluster:

1. Make the operations to aim at, and wait until each has an attempt: some in the namespace of the
   run, one of them named ``<run>-a1`` (its name begins like the names of our pods), and one in
   another namespace.
2. Put this file into a ConfigMap and mount it by ``podTemplate``; make a Custom operation with the
   command ``python /etc/forbidden/forbidden.py`` and the variables ``FORBIDDEN_TARGETS`` (names,
   separated by commas) and ``FORBIDDEN_ELSEWHERE`` (``namespace/name``). :func:`trial` returns
   both as manifests.
3. Wait until it is over. Its log has a JSON line for every request; :func:`outcomes` reads them.
   ``status.report.summary`` has ``refused`` and ``ignored`` (how many) and ``wrong`` (names of
   requests with another answer than they should have, none). With :data:`POLICY_ONLY` it makes
   those requests only that the policy itself has to refuse: for a ServiceAccount with more rights.

The program goes on with ordinary work, reported with the SDK, after the table: the run ends
Succeeded if nothing disturbed it. It exits 1 where a request was not refused.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

Json = dict[str, Any]

POLICY = "headway-trainer-fence"
POLICY_ONLY = "FORBIDDEN_POLICY_ONLY"
TARGETS = "FORBIDDEN_TARGETS"
ELSEWHERE = "FORBIDDEN_ELSEWHERE"
FOLDER = "/etc/forbidden"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
GROUP = "/apis/headway.dev/v1alpha1"
NOW = "2026-01-02T03:04:05Z"


class By(Enum):
    """Who has to refuse a request."""

    POLICY = "policy"
    """The admission policy, whatever the role allows."""
    ROLE = "role"
    """The role of the trainers' ServiceAccount (RBAC)."""
    SCHEMA = "schema"
    """The rules of the resource itself."""
    SERVER = "server"
    """The API server: there is no such request."""
    NOBODY = "nobody"
    """It is answered with 200 and changes nothing."""


@dataclass(frozen=True)
class Request:
    """A request that must not have an effect.

    Attributes:
        by: who has to refuse it; more than one where roles differ.
    """

    name: str
    method: str
    path: str
    body: Any = None
    content: str = "application/json"
    by: tuple[By, ...] = (By.POLICY,)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: Json

    @property
    def message(self) -> str:
        """Its words about a failure."""
        return str(self.body.get("message", ""))

    @property
    def by(self) -> By | None:
        """Who refused; None where nobody did."""
        if self.status < 300:
            return None
        if f"ValidatingAdmissionPolicy '{POLICY}'" in self.message:
            return By.POLICY
        if self.status in (401, 403):
            return By.ROLE
        if "is invalid" in self.message:
            return By.SCHEMA
        return By.SERVER


class Client:
    """One credential at one API server."""

    def __init__(self, server: str, token: str, authority: Path) -> None:
        self._server = server
        self._token = token
        self._context = ssl.create_default_context(cafile=str(authority))

    def send(self, request: Request) -> Answer:
        """Send a request; whatever the answer is, it is returned."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": request.content,
            "Accept": "application/json",
            **request.headers,
        }
        data = None if request.body is None else json.dumps(request.body).encode()
        sent = urllib.request.Request(
            self._server + request.path, data, headers, method=request.method
        )
        try:
            with urllib.request.urlopen(sent, context=self._context, timeout=30) as reply:
                return Answer(reply.status, _json(reply.read()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, _json(error.read()))

    def get(self, path: str) -> Json:
        """An object that may be read."""
        answer = self.send(Request("get", "GET", path))
        if answer.status != 200:
            raise AssertionError(f"GET {path}: {answer.status} {answer.message}")
        return answer.body


def _json(data: bytes) -> Json:
    try:
        found = json.loads(data)
    except ValueError:
        return {"message": data.decode(errors="replace")}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Run:
    """A run as its trainer knows it."""

    namespace: str
    name: str
    uid: str
    attempt: int = 1
    sequence: int = 0
    """Of the progress that the server holds."""

    @property
    def path(self) -> str:
        """Of the operation."""
        return f"{GROUP}/namespaces/{self.namespace}/trainingoperations/{self.name}"

    def progress(self, *, more: int = 1, **changes: Any) -> Json:
        """A progress that goes on from the server's."""
        told = {"attempt": self.attempt, "sequence": self.sequence + more}
        return {**told, "time": NOW, "heartbeat": NOW, "step": 1, **changes}

    def report(self, **changes: Any) -> Json:
        """A report of this attempt."""
        return {"attempt": self.attempt, "status": "interrupted", **changes}


def right(run: Run, **fields: Any) -> Request:
    """The write that a trainer may make: for comparison."""
    values = {"progress": run.progress(), **fields}
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": run.uid},
        {"op": "test", "path": "/status/attempt", "value": run.attempt},
        *({"op": "add", "path": f"/status/{k}", "value": v} for k, v in values.items()),
    ]
    return Request("what a trainer may write", "PATCH", f"{run.path}/status", patch, JSON_PATCH)


def _merge(name: str, run: Run, status: Any, *by: By) -> Request:
    body = {"status": status}
    return Request(name, "PATCH", f"{run.path}/status", body, MERGE, by or (By.POLICY,))


def _patch(name: str, run: Run, *steps: Json, by: By = By.POLICY) -> Request:
    return Request(name, "PATCH", f"{run.path}/status", list(steps), JSON_PATCH, (by,))


def _apply(name: str, run: Run, status: Json, manager: str) -> Request:
    body = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {"name": run.name},
        "status": status,
    }
    path = f"{run.path}/status?fieldManager={manager}&force=true"
    return Request(name, "PATCH", path, body, APPLY)


CONTROLLERS: Mapping[str, Any] = {
    "phase": "Succeeded",
    "reason": "Completed",
    "message": "all is well",
    "observedGeneration": 99,
    "attempt": 2,
    "attempts": [{"number": 1, "job": "mine"}],
    "startTime": NOW,
    "completionTime": NOW,
    "nextAttemptTime": NOW,
    "retries": 7,
    "disruptions": 7,
    "activeSeconds": 10**6,
    "activeSince": NOW,
    "stop": {"cause": "Suspend", "attempt": 1, "requestedAt": NOW, "deadline": NOW},
    "workers": {"desired": 7},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Completed",
            "message": "",
            "lastTransitionTime": NOW,
        }
    ],
    "cancellation": {"requestedAt": NOW},
    "result": {"reason": "Completed", "message": "all is well"},
    "lastLogs": {"pod": "p", "container": "c", "text": "nothing happened"},
}
"""Every field of the status that is the controller's, with a value that it does not have."""


def of_the_controller(run: Run) -> Iterator[Request]:
    """Writes of the controller's part of the status, by every kind of patch."""
    for key, value in CONTROLLERS.items():
        yield _merge(f"merge patch of {key}", run, {key: value})
        step = {"op": "add", "path": f"/status/{key}", "value": value}
        smuggled = {"op": "add", "path": "/status/progress", "value": run.progress()}
        yield _patch(f"JSON patch of {key} beside progress", run, smuggled, step)
        yield _apply(f"apply of {key}", run, {key: value}, "trainer")
    applied = {"progress": run.progress(), "phase": "Failed"}
    yield _apply("apply in the controller's name", run, applied, "headway-operator")
    for key in ("phase", "conditions", "reason"):
        yield _patch(f"removal of {key}", run, {"op": "remove", "path": f"/status/{key}"})
    # The resource's own rule is asked first: an attempt never falls.
    yield _merge("an attempt taken back", run, {"attempt": 0}, By.SCHEMA)
    yield _merge("the whole status removed", run, None, By.SCHEMA)
    emptied = {"op": "replace", "path": "/status", "value": {"attempt": run.attempt}}
    yield _patch("the status but for its attempt removed", run, emptied)


def of_its_own_part(run: Run) -> Iterator[Request]:
    """Writes of a trainer's fields that are not for this attempt, not in order, or too large."""
    later, earlier = run.attempt + 1, run.attempt - 1
    yield _merge("progress of a later attempt", run, {"progress": run.progress(attempt=later)})
    yield _merge("progress of an earlier one", run, {"progress": run.progress(attempt=earlier)})
    yield _merge("a sequence twice", run, {"progress": run.progress(more=0, step=2)})
    yield _merge("a sequence that falls", run, {"progress": run.progress(more=-1)})
    yield _merge("progress without a sequence of its own", run, {"progress": {"step": 7}})
    nameless = {k: v for k, v in run.progress().items() if k != "attempt"}
    whole = {"op": "replace", "path": "/status/progress", "value": nameless}
    yield _patch("progress without an attempt", run, whole, by=By.SCHEMA)
    yield _merge("progress removed", run, {"progress": None})
    yield _merge("the history removed", run, {"progress": run.progress(), "history": None})
    yield _merge("the history emptied", run, {"progress": run.progress(), "history": []})
    yield _merge("the report removed", run, {"progress": run.progress(), "report": None})
    point = {"step": 3, "time": NOW}
    yield _merge("a history without progress", run, {"history": [point, point]})
    yield _merge("a report without progress", run, {"report": run.report(status="success")})
    forged = run.report(attempt=later, status="success")
    yield _merge("a report of another attempt", run, {"progress": run.progress(), "report": forged})
    unsigned = {"op": "add", "path": "/status/report", "value": {"status": "success"}}
    also = {"op": "add", "path": "/status/progress", "value": run.progress()}
    yield _patch("a report of no attempt", run, also, unsigned)
    large = {f"key-{n}": "x" * 1000 for n in range(80)}
    yield _merge("more than anybody would read", run, {"progress": run.progress(context=large)})
    yield Request(
        "a strategic merge patch",
        "PATCH",
        f"{run.path}/status",
        {"status": {"phase": "Failed"}},
        STRATEGIC,
        (By.SERVER,),
    )


def of_other_runs(run: Run, others: tuple[Run, ...]) -> Iterator[Request]:
    """Writes that would be right if they came from the other run's own pod."""
    for other in others:
        by = By.POLICY if other.namespace == run.namespace else By.ROLE
        who = f"{other.namespace}/{other.name}" if by is By.ROLE else other.name
        progress = {"progress": other.progress()}
        yield _merge(f"progress of {who}", other, progress, by)
        write = right(other, report=other.report())
        yield Request(f"a report of {who}", "PATCH", write.path, write.body, JSON_PATCH, (by,))
        done = {"status": {"phase": "Succeeded"}}
        yield Request(f"the end of {who}", "PATCH", f"{other.path}/status", done, MERGE, (by,))


def without_a_right(run: Run, others: tuple[Run, ...]) -> Iterator[Request]:
    """Requests that the trainers' role does not grant."""
    role = (By.ROLE,)
    for victim in (run, *others[:1]):
        stop = {"spec": {"cancel": True}}
        yield Request(f"a cancel of {victim.name}", "PATCH", victim.path, stop, MERGE, role)
        yield Request(f"the deletion of {victim.name}", "DELETE", victim.path, by=role)
    for key, value in {
        "labels": {"a": "b"},
        "annotations": {"a": "b"},
        "finalizers": ["example.com/never"],
        "ownerReferences": [],
    }.items():
        changed = {"metadata": {key: value}}
        yield Request(f"own {key}", "PATCH", run.path, changed, MERGE, role)
    replaced = {"metadata": {"name": run.name}, "spec": {"type": "Dummy"}}
    yield Request("own spec replaced", "PUT", run.path, replaced, by=role)
    collection = run.path.rpartition("/")[0]
    fresh = {"metadata": {"name": "mine"}, "spec": {"type": "Dummy", "dummy": {}}}
    yield Request("a new run", "POST", collection, fresh, by=role)
    yield Request("every run deleted", "DELETE", collection, by=role)
    core = f"/api/v1/namespaces/{run.namespace}"
    pod = {"metadata": {"name": "mine"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    for what in ("secrets", "configmaps", "pods", "events", "persistentvolumeclaims", "services"):
        yield Request(f"list of {what}", "GET", f"{core}/{what}", by=role)
    yield Request("a pod", "POST", f"{core}/pods", pod, by=role)
    yield Request("a secret", "POST", f"{core}/secrets", {"metadata": {"name": "s"}}, by=role)
    yield Request(
        "a config map", "POST", f"{core}/configmaps", {"metadata": {"name": "c"}}, by=role
    )
    token = f"{core}/serviceaccounts/headway-trainer/token"
    yield Request("another token", "POST", token, {"spec": {}}, by=role)
    batch = f"/apis/batch/v1/namespaces/{run.namespace}/jobs"
    own = f"{batch}/{run.name}-a{run.attempt}"
    yield Request("own Job", "GET", own, by=role)
    yield Request("own Job deleted", "DELETE", own, by=role)
    yield Request("own Job paused", "PATCH", own, {"spec": {"suspend": True}}, MERGE, role)
    yield Request("a Job", "POST", batch, {"metadata": {"name": "j"}}, by=role)
    rights = "/apis/rbac.authorization.k8s.io/v1"
    bound = f"{rights}/namespaces/{run.namespace}/rolebindings"
    yield Request("more rights", "POST", bound, {"metadata": {"name": "r"}}, by=role)
    yield Request("every namespace", "GET", "/api/v1/namespaces", by=role)
    yield Request("every node", "GET", "/api/v1/nodes", by=role)
    policy = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{POLICY}"
    yield Request("the policy itself", "DELETE", policy, by=role)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingoperations.headway.dev"
    yield Request("the resource itself", "DELETE", crd, by=role)
    write = right(run, phase="Succeeded")
    operator = {"Impersonate-User": "system:serviceaccount:headway-system:headway-operator"}
    yield Request("as the controller", "PATCH", write.path, write.body, JSON_PATCH, role, operator)


_FORGED = {
    "manager": "flux",
    "operation": "Apply",
    "apiVersion": "headway.dev/v1alpha1",
    "time": NOW,
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:spec": {"f:cancel": {}}},
}
"""Whose next apply would take a cancel back, if it says nothing of one."""


def without_effect(run: Run) -> Iterator[Request]:
    """What a write of the status is answered with 200 for, and which changes nothing."""
    for what, body in {
        "the spec through the status": {"spec": {"cancel": True}},
        "labels through the status": {"metadata": {"labels": {"a": "b"}}},
        "finalizers through the status": {"metadata": {"finalizers": ["example.com/never"]}},
        "owners of fields forgotten": {"metadata": {"managedFields": [{}]}},
        "a forged owner of the spec": {"metadata": {"managedFields": [_FORGED]}},
        "a field that nobody knows": {"status": {"sudo": True}},
    }.items():
        yield Request(what, "PATCH", f"{run.path}/status", body, MERGE, (By.NOBODY,))


def table(run: Run, others: tuple[Run, ...], current: Json) -> list[Request]:
    """All requests.

    Args:
        run: whose pod asks.
        others: runs to aim at.
        current: the run's own operation, for writes that replace it.
    """
    done = {**current, "status": {**current["status"], "phase": "Succeeded"}}
    by = (By.ROLE, By.POLICY)
    return [
        *of_the_controller(run),
        *of_its_own_part(run),
        *of_other_runs(run, others),
        Request("the whole object replaced", "PUT", f"{run.path}/status", done, by=by),
        *without_a_right(run, others),
        *without_effect(run),
    ]


@dataclass(frozen=True)
class Outcome:
    """What came of a request."""

    name: str
    by: str
    status: int
    message: str
    right: bool
    """Whether it was refused by whom it should be (or ignored, where that is what should be)."""


def attempt(client: Client, run: Run, request: Request) -> Outcome:
    """Make one request and see what comes of it."""
    if request.by == (By.NOBODY,):
        before = _telling(client.get(run.path))
        answer = client.send(request)
        same = before == _telling(client.get(run.path))
        return Outcome(request.name, By.NOBODY.value, answer.status, answer.message, same)
    answer = client.send(request)
    if answer.status == 409:
        # The controller wrote meanwhile: what replaces the object has to know its latest version.
        latest = client.get(run.path)["metadata"]["resourceVersion"]
        request.body["metadata"]["resourceVersion"] = latest
        answer = client.send(request)
    by = answer.by
    return Outcome(
        request.name, by.value if by else "", answer.status, answer.message, by in request.by
    )


def _telling(operation: Json) -> Json:
    """An operation without what every write changes, and what others may be changing meanwhile."""
    kept = ("labels", "annotations", "finalizers", "ownerReferences", "generation")
    metadata = {k: v for k, v in operation["metadata"].items() if k in kept}
    owners = [o for o in operation["metadata"]["managedFields"] if "subresource" not in o]
    status = {k: operation["status"].get(k) for k in ("progress", "history", "report", "sudo")}
    return {"metadata": metadata, "owners": owners, "spec": operation["spec"], "status": status}


def outcomes(log: str) -> list[Outcome]:
    """What a program's log tells of its requests."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith('{"name"'))
    return [Outcome(**line) for line in lines]


def trial(
    name: str,
    targets: tuple[str, ...],
    elsewhere: str,
    *,
    policy_only: bool = False,
    **spec: Any,
) -> tuple[Json, Json]:
    """A ConfigMap with this file, and an operation that runs it as its trainer."""
    source = {"forbidden.py": Path(__file__).read_text()}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "forbidden"},
        "data": source,
    }
    env = {
        TARGETS: ",".join(targets),
        ELSEWHERE: elsewhere,
        POLICY_ONLY: str(policy_only).lower(),
    }
    container = {
        "name": "trainer",
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumeMounts": [{"name": "forbidden", "mountPath": FOLDER}],
    }
    template = {
        "spec": {
            "containers": [container],
            "volumes": [{"name": "forbidden", "configMap": {"name": "forbidden"}}],
            **spec.pop("pod", {}),
        }
    }
    operation = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {"name": name},
        "spec": {
            "type": "Custom",
            "custom": {"command": ["python", f"{FOLDER}/forbidden.py"]},
            "podTemplate": template,
            **spec,
        },
    }
    return config, operation


def main() -> int:
    """Make every request with the token of the pod that this runs in, then work on."""
    account = Path(
        os.environ.get("HEADWAY_SERVICE_ACCOUNT_DIR")
        or "/var/run/secrets/kubernetes.io/serviceaccount"
    )
    host, port = (os.environ[f"KUBERNETES_SERVICE_{part}"] for part in ("HOST", "PORT"))
    client = Client(f"https://{host}:{port}", (account / "token").read_text(), account / "ca.crt")
    env = os.environ
    run = Run(
        env["HEADWAY_OPERATION_NAMESPACE"],
        env["HEADWAY_OPERATION_NAME"],
        env["HEADWAY_OPERATION_UID"],
        int(env["HEADWAY_ATTEMPT"]),
    )
    # A first write that is right: it shows that the credential works, and is there to be harmed.
    fields = {"history": [{"step": 1, "time": NOW}], "report": run.report()}
    first = client.send(right(run, **fields))
    assert first.status == 200, (first.status, first.message)
    run = Run(run.namespace, run.name, run.uid, run.attempt, sequence=run.sequence + 1)
    space, _, name = env[ELSEWHERE].partition("/")
    aims = [Run(run.namespace, target, "") for target in env[TARGETS].split(",")]
    others = tuple(_uid(client, aim) for aim in aims)
    requests = table(run, (*others, Run(space, name, "")), client.get(run.path))
    if env.get(POLICY_ONLY) == "true":
        requests = [r for r in requests if By.POLICY in r.by]
    done = []
    for request in requests:
        outcome = attempt(client, run, request)
        print(json.dumps(outcome.__dict__), flush=True)
        done.append(outcome)
    return _work_on(done)


def _uid(client: Client, aim: Run) -> Run:
    found = client.get(aim.path)
    told = (found["status"].get("progress") or {}).get("sequence", 0)
    attempt = found["status"]["attempt"]
    return Run(aim.namespace, aim.name, found["metadata"]["uid"], attempt, told)


def _work_on(done: list[Outcome]) -> int:
    """Ordinary work with the SDK after all that; its result tells what came of the requests."""
    import headway

    wrong = [outcome.name for outcome in done if not outcome.right]
    with headway.operation("Forbidden") as op:
        for _ in op.epochs(2):
            op.metrics(wrong=len(wrong))
        ignored = sum(outcome.by == By.NOBODY.value for outcome in done)
        op.result(refused=len(done) - ignored - len(wrong), ignored=ignored, wrong=wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
