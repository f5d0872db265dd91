"""What the API server is told of a pod."""

from __future__ import annotations

from headway_cluster.node.lifecycle import Backoff, Past, plan
from headway_cluster.node.pods import parse
from headway_cluster.node.runs import Exit
from headway_cluster.node.status import Circumstances, Verdict, as_patch, build
from podspecs import a_container, a_pod

NOW = 1_000_000_000.0
NEVER = a_pod(a_container("main"), restartPolicy="Never")
ALWAYS = a_pod(a_container("main"))
RUNNING = Past(number=0, started=NOW - 5, passed_startup=True, ready=True)


def ended(code=0, **more):
    fields = {"signal": None, "oom": False, "error": None, "time": NOW - 1, **more}
    return Past(number=0, started=NOW - 5, exit=Exit(code=code, **fields), crashes=1)


def status_of(raw, *pasts, previous=None, verdict=None, messages=None, now=NOW, stopping=False):
    pod = parse(raw)
    by_name = {one.name: past for one, past in zip(pod.containers, pasts, strict=True)}
    decided = plan(pod, by_name, now, Backoff(), stopping=stopping or verdict is not None)
    around = Circumstances(
        pod_ip="127.64.0.1",
        host_ip="127.0.0.1",
        accepted=NOW - 10,
        verdict=verdict,
        messages=messages,
        volumes_made=True,
    )
    return build(pod, by_name, decided, around, previous or {}, now)


def state_of(status, number=0):
    return status["containerStatuses"][number]["state"]


def condition(status, kind):
    return next(one for one in status["conditions"] if one["type"] == kind)


def test_a_pod_whose_containers_have_not_started_is_pending():
    status = status_of(NEVER, Past())
    assert status["phase"] == "Pending"
    assert state_of(status) == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(status, "Ready")["status"] == "False"


def test_a_running_pod_is_ready():
    status = status_of(NEVER, RUNNING)
    assert status["phase"] == "Running"
    assert "running" in state_of(status)
    assert condition(status, "Ready")["status"] == "True"
    assert status["podIP"] == "127.64.0.1"


def test_a_container_that_is_not_ready_makes_its_pod_not_ready():
    status = status_of(NEVER, Past(number=0, started=NOW - 5, passed_startup=True))
    assert status["phase"] == "Running"
    assert condition(status, "Ready")["message"] == "containers with unready status: [main]"


def test_success_and_failure():
    assert status_of(NEVER, ended(0))["phase"] == "Succeeded"
    failed = status_of(NEVER, ended(3), messages={("main", 0): "last words"})
    assert failed["phase"] == "Failed"
    told = state_of(failed)["terminated"]
    assert (told["exitCode"], told["reason"], told["message"]) == (3, "Error", "last words")


def test_ends_have_the_words_that_kubelet_uses():
    def reason(past):
        return state_of(status_of(NEVER, past))["terminated"]["reason"]

    assert reason(ended(0)) == "Completed"
    assert reason(ended(137, signal=9, oom=True)) == "OOMKilled"
    assert reason(ended(128, error="x: No such file")) == "StartError"
    assert reason(ended(137, signal=9, lost=True)) == "ContainerStatusUnknown"


def test_a_restart_that_waits_is_a_crash_loop_with_its_last_end():
    past = Past(
        number=2,
        started=NOW - 5,
        exit=Exit(code=1, signal=None, oom=False, error=None, time=NOW - 1),
        crashes=3,
    )
    status = status_of(ALWAYS, past)
    assert status["phase"] == "Running"
    container = status["containerStatuses"][0]
    assert container["restartCount"] == 2
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert "back-off 20s" in container["state"]["waiting"]["message"]
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_a_pod_that_the_node_refuses_has_failed_and_says_why_everywhere():
    status = status_of(NEVER, Past(), verdict=Verdict("ImageNotAvailable", "no such image"))
    assert (status["phase"], status["reason"]) == ("Failed", "ImageNotAvailable")
    assert state_of(status)["waiting"] == {
        "reason": "ImageNotAvailable",
        "message": "no such image",
    }


def test_a_pod_that_goes_with_its_node_is_a_disruption_not_a_failure_of_its_own():
    verdict = Verdict("Terminated", "the node shuts down", disrupted=True)
    status = status_of(NEVER, ended(143, signal=15), verdict=verdict)
    assert status["phase"] == "Failed"
    told = condition(status, "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "TerminationByKubelet")


def test_a_verdict_is_not_told_before_everything_has_ended():
    status = status_of(NEVER, RUNNING, verdict=Verdict("DeadlineExceeded", "too long"))
    assert status["phase"] == "Running"
    assert "reason" not in status


def test_init_containers_have_their_own_list_and_condition():
    raw = a_pod(a_container("main"), init=(a_container("prepare"),), restartPolicy="Never")
    status = status_of(raw, RUNNING, Past())
    assert status["phase"] == "Pending"
    assert [one["name"] for one in status["initContainerStatuses"]] == ["prepare"]
    assert condition(status, "Initialized")["status"] == "False"
    assert state_of(status)["waiting"]["reason"] == "PodInitializing"
    later = status_of(raw, ended(0), RUNNING)
    assert condition(later, "Initialized")["status"] == "True"
    assert later["phase"] == "Running"


def test_a_condition_keeps_its_time_until_it_changes():
    first = status_of(NEVER, RUNNING, now=NOW)
    second = status_of(NEVER, RUNNING, previous=first, now=NOW + 60)
    assert second == first
    third = status_of(NEVER, ended(0), previous=second, now=NOW + 60)
    assert (
        condition(third, "Ready")["lastTransitionTime"]
        != condition(first, "Ready")["lastTransitionTime"]
    )
    assert (
        condition(third, "Initialized")["lastTransitionTime"]
        == (condition(first, "Initialized")["lastTransitionTime"])
    )


def test_a_readiness_gate_keeps_a_pod_from_being_ready():
    gate = {"conditionType": "example.com/ok"}
    raw = a_pod(a_container("main"), readinessGates=[gate])
    assert condition(status_of(raw, RUNNING), "Ready")["reason"] == "ReadinessGatesNotReady"
    raw["status"] = {"conditions": [{"type": "example.com/ok", "status": "True"}]}
    assert condition(status_of(raw, RUNNING), "Ready")["status"] == "True"


def test_a_patch_takes_back_what_a_condition_no_longer_says():
    patch = as_patch(status_of(NEVER, RUNNING), "uid-1")
    assert patch["metadata"] == {"uid": "uid-1"}
    ready = condition(patch["status"], "Ready")
    assert ready["reason"] is None
    assert ready["message"] is None
