"""From inside a trainer's container, with its own token: it can harm neither its run nor others."""

from __future__ import annotations

from forbidden import outcomes, trial
from given_cluster import RESTRICTED, GivenCluster
from kubectl import dummy
from namespaces import own_namespace
from operators import operator_away


def test_nothing_that_it_may_not_do_can_be_done_from_a_trainers_container(
    cluster: GivenCluster, kubectl
):
    with own_namespace(cluster.kubectl, "elsewhere", RESTRICTED) as elsewhere:
        elsewhere.apply(dummy("other", iterations=10000, interval=1))
        kubectl.apply(*(dummy(n, iterations=10000, interval=1) for n in ("victim", "run-a1")))
        targets = dict.fromkeys(("victim", "run-a1"), kubectl) | {"other": elsewhere}
        for name, where in targets.items():
            where.wait_for(name, lambda o: o.get("status", {}).get("progress"))
        kubectl.apply(*trial("run", ("victim", "run-a1"), f"{elsewhere.namespace}/other"))
        status = kubectl.wait_for_phase("run", "Succeeded", within=120)["status"]
        [pod] = kubectl.pods_of("run")
        made = outcomes(kubectl("logs", pod["metadata"]["name"]))
        assert len(made) >= 20
        assert not [outcome for outcome in made if not outcome.right]
        assert status["report"]["epochsCompleted"] == 2
        for name, where in targets.items():
            found = where.operation(name)
            assert found["status"]["phase"] == "Running"
            assert "cancel" not in found["spec"]
            assert found["status"]["progress"]["context"]["total_iterations"] == 10000


def test_a_pod_of_an_older_attempt_stops_itself(cluster: GivenCluster, kubectl):
    kubectl.apply(dummy("run", iterations=1000, interval=0.2))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"))
    [pod] = kubectl.pods_of("run")
    with operator_away(cluster.kubectl):
        patch = '{"status":{"attempt":2}}'
        kubectl("patch", "trainop", "run", "--subresource=status", "--type=merge", "-p", patch)
        before = kubectl.operation("run")["status"]["progress"]
        ended = "{.status.containerStatuses[0].state.terminated.exitCode}"
        name = pod["metadata"]["name"]
        kubectl("wait", f"pod/{name}", f"--for=jsonpath={ended}=143", "--timeout=60s")
        assert kubectl.operation("run")["status"]["progress"] == before
        assert "report" not in kubectl.operation("run")["status"]
        kubectl("delete", "trainop", "run")
