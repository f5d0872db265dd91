"""What the credential of a trainer can do, asked of a real API server: its own run's progress."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clusters import Cluster
from forbidden import APPLY, By, Client, Request, Run, outcomes, right, trial
from kubectl import Kubectl, dummy, operation
from operators import operator_away
from waiting import eventually

NEVER = {"resources": {"requests": {"cpu": "4000"}}}
"""No node has that much: there is an attempt and a pod, and nothing ever runs."""
TRAINER = "headway-trainer"


def begun(kubectl: Kubectl, name: str) -> Run:
    """A run that has an attempt and a pod, as its trainer would know it."""
    found = kubectl.wait_for(name, lambda o: o.get("status", {}).get("attempt"))
    eventually(lambda: kubectl.pods_of(name), within=90, why=f"{name} has a pod")
    return Run(kubectl.namespace, name, found["metadata"]["uid"])


@dataclass(frozen=True)
class Place:
    """A namespace for the tests of this module, with runs to aim at."""

    kubectl: Kubectl
    server: str
    authority: Path

    def client(self, *bound: str, account: str = TRAINER) -> Client:
        """A client with a token of the account, bound to a pod where one is named."""
        more = ["--bound-object-kind=Pod", f"--bound-object-name={bound[0]}"] if bound else []
        token = self.kubectl("create", "token", account, *more).strip()
        return Client(self.server, token, self.authority)

    def pod(self, name: str) -> str:
        """A pod of that name, made by hand, with the trainers' account."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "serviceAccountName": TRAINER,
                    "nodeSelector": {"no-such": "node"},
                    "containers": [{"name": "c", "image": "i"}],
                },
            }
        )
        return name


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    whole = cluster.kubectl()
    spaces = ("fenced", "elsewhere")
    for space in spaces:
        whole("create", "namespace", space)
    kubectl = cluster.kubectl("fenced")
    server = kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    authority = tmp_path_factory.mktemp("authority") / "ca.crt"
    roots = eventually(
        lambda: kubectl.get("configmap", "kube-root-ca.crt"), within=60, why="it is usable"
    )
    authority.write_text(roots["data"]["ca.crt"])
    try:
        yield Place(kubectl, server, authority)
    finally:
        whole("delete", "namespace", *spaces, "--wait=false")


@pytest.fixture(scope="module")
def held(place: Place) -> Run:
    """A run whose pod waits for a node; what a token may write to it, a request tells."""
    place.kubectl.apply(dummy("held", **NEVER))
    return begun(place.kubectl, "held")


@pytest.fixture(scope="module")
def fence(place: Place, held: Run) -> Client:
    """A client of a pod that belongs to nothing, once the policy is at work."""
    client = place.client(place.pod("stranger"))

    def refused() -> bool:
        return client.send(right(held)).by is By.POLICY

    eventually(refused, within=30, why="the policy is at work")
    return client


@pytest.fixture(scope="module")
def trials(cluster: Cluster, place: Place, fence: Client) -> Callable[[str], tuple[dict, list]]:
    """Two runs whose trainers try all that is forbidden: as it is usual, and with more rights."""
    kubectl, other = place.kubectl, cluster.kubectl("elsewhere")
    kubectl.apply(dummy("victim", **NEVER), dummy("run-a1", **NEVER))
    other.apply(dummy("victim", **NEVER))
    for space, name in ((kubectl, "victim"), (kubectl, "run-a1"), (other, "victim")):
        begun(space, name)
    kubectl("create", "serviceaccount", "mighty")
    for role in ("headway-admin", "headway-edit", TRAINER):
        binding = ("create", "rolebinding", f"mighty-{role}", f"--clusterrole={role}")
        kubectl(*binding, "--serviceaccount=fenced:mighty")
    aims = (("victim", "run-a1"), "elsewhere/victim")
    kubectl.apply(*trial("run", *aims))
    kubectl.apply(*trial("mighty", *aims, policy_only=True, pod={"serviceAccountName": "mighty"}))

    def end_of(name: str) -> tuple[dict, list]:
        done = kubectl.wait_for(
            name, lambda o: o["status"].get("phase") in ("Succeeded", "Failed"), within=90
        )
        [pod] = kubectl.pods_of(name)
        return done["status"], outcomes(kubectl("logs", pod["metadata"]["name"]))

    return end_of


@pytest.mark.parametrize(("run", "least"), [("run", 90), ("mighty", 60)])
def test_from_inside_a_trainers_pod_all_that_is_forbidden_is_refused(trials, run, least):
    _, found = trials(run)
    wrong = [outcome for outcome in found if not outcome.right]
    assert not wrong
    assert len(found) >= least
    for outcome in found:
        assert outcome.status == 200 if outcome.by == By.NOBODY.value else outcome.status >= 400
        assert outcome.message or outcome.status == 200, outcome


@pytest.mark.parametrize("run", ["run", "mighty"])
def test_a_run_whose_trainer_tried_goes_on_to_its_true_end(trials, run):
    status, _ = trials(run)
    assert status["phase"] == "Succeeded", status["message"]
    assert (status["attempt"], len(status["attempts"])) == (1, 1)
    assert status["result"]["reason"] == "Completed"
    assert "lastLogs" not in status
    assert "cancellation" not in status
    assert status["report"]["status"] == "success"
    assert status["report"]["epochsCompleted"] == 2
    assert status["progress"]["context"]["current_epoch"] == 2


def test_the_runs_that_it_aimed_at_are_as_they_were(cluster: Cluster, place: Place, trials):
    trials("run")
    trials("mighty")
    for space, name in (
        (place.kubectl, "victim"),
        (place.kubectl, "run-a1"),
        (cluster.kubectl("elsewhere"), "victim"),
    ):
        victim = space.operation(name)
        assert victim["status"]["phase"] == "Starting"
        assert not {"progress", "history", "report"} & set(victim["status"])
        assert "cancel" not in victim["spec"]


# Whose token it is


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        ("held-a1-bcdfg-x", "does not belong to held"),
        ("held-a1", "does not belong to held"),
        ("held-a1-toolong", "does not belong to held"),
        ("xheld-a1-bcdfg", "does not belong to held"),
        ("held-a1-a1-bcdfg", "does not belong to held"),
        ("held.a1-bcdfg", "does not belong to held"),
        ("held-a10-bcdfg", "belongs to another attempt of held: attempt 1 runs now"),
        ("held-a0-bcdfg", "belongs to another attempt of held: attempt 1 runs now"),
    ],
)
def test_a_pod_whose_name_is_merely_like_ours_is_refused(place, held, fence, pod, told):
    answer = place.client(place.pod(pod)).send(right(held))
    assert (answer.status, answer.by) == (403, By.POLICY)
    assert told in answer.message


def test_the_runs_own_pod_and_one_with_an_index_may_write(place, held, fence):
    [own] = place.kubectl.pods_of("held")
    told = place.kubectl.operation("held")["status"].get("progress", {}).get("sequence", 0)
    for number, pod in enumerate((own["metadata"]["name"], place.pod("held-a1-12-bcdfg")), 1):
        run = Run(held.namespace, held.name, held.uid, sequence=told + number)
        answer = place.client(pod).send(right(run, history=[], report=run.report()))
        assert answer.status == 200, answer.message


def test_a_token_that_is_bound_to_no_pod_is_refused(place, held, fence):
    answer = place.client().send(right(held))
    assert answer.status == 403
    assert "is bound to no pod" in answer.message


def test_the_token_of_a_pod_in_another_namespace_is_refused(cluster, place, held, fence):
    elsewhere = cluster.kubectl("elsewhere")
    place.kubectl(
        "create",
        "rolebinding",
        "visitor",
        f"--clusterrole={TRAINER}",
        f"--serviceaccount=elsewhere:{TRAINER}",
    )
    elsewhere.apply(dummy("held", **NEVER))
    begun(elsewhere, "held")
    [pod] = elsewhere.pods_of("held")
    visitor = Place(elsewhere, place.server, place.authority)
    answer = visitor.client(pod["metadata"]["name"]).send(right(held))
    assert answer.by is By.POLICY
    assert "is in namespace elsewhere, and a trainer writes in its own" in answer.message


def test_what_is_told_of_a_run_that_is_over_stays_as_it_is(place, trials):
    trials("run")
    [pod] = place.kubectl.pods_of("run")
    found = place.kubectl.operation("run")
    run = Run("fenced", "run", found["metadata"]["uid"], sequence=10**6)
    answer = place.client(pod["metadata"]["name"]).send(right(run, report=run.report()))
    assert (answer.status, answer.by) == (403, By.POLICY)
    assert "run is over (Succeeded)" in answer.message


def test_a_run_that_has_not_begun_takes_no_word(place, fence):
    place.kubectl.apply(dummy("waits", storage={"existingClaim": {"claimName": "nowhere"}}))
    found = place.kubectl.wait_for("waits", lambda o: o.get("status", {}).get("phase"))
    run = Run("fenced", "waits", found["metadata"]["uid"], attempt=0)
    applied = {"metadata": {"name": "waits"}, "status": {"progress": run.progress()}}
    kind = {"apiVersion": "headway.dev/v1alpha1", "kind": "TrainingOperation"}
    early = Request(
        "too early", "PATCH", f"{run.path}/status?fieldManager=t", {**kind, **applied}, APPLY
    )
    answer = place.client(place.pod("waits-a0-bcdfg")).send(early)
    assert answer.by is By.POLICY
    assert "none has begun yet" in answer.message


def test_the_same_write_twice_is_no_harm(place, fence):
    """An answer may get lost: what was written already is accepted again."""
    place.kubectl.apply(dummy("twice", **NEVER))
    run = begun(place.kubectl, "twice")
    [pod] = place.kubectl.pods_of("twice")
    client = place.client(pod["metadata"]["name"])
    for _ in range(2):
        answer = client.send(right(run))
        assert answer.status == 200, answer.message
    assert place.kubectl.operation("twice")["status"]["progress"]["sequence"] == 1


def test_two_processes_of_a_pod_take_turns(place, fence):
    code = """
import headway, subprocess
with headway.operation() as op:
    for number in range(3):
        op.progress(number, 3)
        if op.token.wait(1.1):
            break
        subprocess.run(["headway", "report", "--step", str(number), "--context", "who=shell"])
    op.result(stopped=op.stopped)
"""
    place.kubectl.apply(operation("both", "Custom", custom={"command": ["python", "-c", code]}))
    status = place.kubectl.wait_for_phase("both", "Succeeded")["status"]
    assert status["report"]["summary"] == {"stopped": False}
    [pod] = place.kubectl.pods_of("both")
    assert "refuses" not in place.kubectl("logs", pod["metadata"]["name"])


def test_a_pod_that_the_policy_refuses_learns_that_it_was_fenced(cluster: Cluster, place, fence):
    """Also where nothing in its own write told it: another language, an older program."""
    code = """
import headway
from headway import api_sink
tested = api_sink.patch_of
api_sink.patch_of = lambda *of: [step for step in tested(*of) if step["op"] != "test"]
with headway.operation() as op:
    for number in op.epochs(1000):
        op.token.wait(0.2)
"""
    place.kubectl.apply(operation("old", "Custom", custom={"command": ["python", "-c", code]}))
    place.kubectl.wait_for("old", lambda o: o.get("status", {}).get("progress"))
    [pod] = place.kubectl.pods_of("old")
    name, patch = pod["metadata"]["name"], '{"status":{"attempt":2}}'
    with operator_away(cluster.kubectl):  # it would take the older attempt's Job back
        place.kubectl(
            "patch", "trainop", "old", "--subresource=status", "--type=merge", "-p", patch
        )
        code = "{.status.containerStatuses[0].state.terminated.exitCode}"
        place.kubectl("wait", f"pod/{name}", f"--for=jsonpath={code}=143", "--timeout=60s")
        assert "report" not in place.kubectl.operation("old")["status"]
        place.kubectl("delete", "trainop", "old", "--wait=false")


def test_a_trainer_that_writes_what_nobody_can_read_is_cancelled_all_the_same(place, fence):
    """The API server's check of a date-time lets pass a time that there cannot be."""
    place.kubectl.apply(dummy("garbled", **NEVER))
    run = begun(place.kubectl, "garbled")
    [pod] = place.kubectl.pods_of("garbled")
    client = place.client(pod["metadata"]["name"])
    never = "0000-01-02T03:04:05+99:00"
    told = {"progress": run.progress(time=never), "report": run.report(cancelAcknowledgedAt=never)}
    assert client.send(right(run, **told)).status == 200
    place.kubectl.cancel("garbled")
    place.kubectl.wait_for_phase("garbled", "Cancelled")
    assert place.kubectl.operation("garbled")["status"]["progress"]["time"] == never


def test_a_person_mends_a_status_as_their_role_says(place, held, fence):
    patch = json.dumps({"status": {"message": "mended"}})
    place.kubectl("patch", "trainop", "held", "--subresource=status", "--type=merge", "-p", patch)
