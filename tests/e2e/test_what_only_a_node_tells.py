"""What kubelets, container runtimes and the kernel say, told in words that help.

What takes its time (an eviction, a registry that is away) is started at the beginning of the module
and looked at later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import warm
from given_cluster import PRIVILEGED, RESTRICTED, GivenCluster, on_node
from kubectl import Kubectl, dummy, operation
from namespaces import own_namespace
from side_containers import side_container
from waiting import eventually

FILLS_ITS_DISK = "dd if=/dev/zero of=/workspace/full bs=1024k count=64; sleep 600"
NEEDS_MORE_MEMORY = "x = bytearray(400_000_000)\nimport time\ntime.sleep(600)\n"
MISSING_SETTINGS = {
    "containers": [
        {"name": "trainer", "volumeMounts": [{"name": "settings", "mountPath": "/settings"}]}
    ],
    "volumes": [{"name": "settings", "configMap": {"name": "no-such-settings"}}],
}
MISSING_PASSWORD = {
    "name": "trainer",
    "env": [
        {
            "name": "PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "no-such-secret", "key": "password"}},
        }
    ],
}
NOTHING_HERE = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Registry(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

HTTPServer(("127.0.0.1", 5005), Registry).serve_forever()
"""


def custom(name: str, image: str, script: str, /, **spec: Any) -> dict[str, Any]:
    return operation(name, "Custom", image=image, custom={"command": ["sh", "-c", script]}, **spec)


def python(name: str, code: str, **spec: Any) -> dict[str, Any]:
    return operation(name, "Custom", custom={"command": ["python", "-c", code]}, **spec)


@dataclass(frozen=True)
class Slow:
    """Runs that were started when the module began."""

    kubectl: Kubectl

    def told(self, name: str, *reasons: str, within: float = 60) -> dict[str, Any]:
        """The status of a run as soon as it gives one of the reasons."""
        found = self.kubectl.wait_for(
            name,
            lambda o: o.get("status", {}).get("reason") in reasons,
            within=within,
            why=f"{name} says {' or '.join(reasons)}",
        )
        return found["status"]

    def failed(self, name: str, within: float = 60) -> dict[str, Any]:
        """The status of a run that has failed."""
        return self.kubectl.wait_for_phase(name, "Failed", within=within)["status"]


@pytest.fixture(scope="module")
def empty_registry(cluster: GivenCluster) -> Iterator[str]:
    """A registry that answers, and has nothing, on one node; yields the node."""
    node = cluster.workers[0]
    with own_namespace(cluster.kubectl, "registry", PRIVILEGED) as kubectl:
        image = _trainer_image(cluster)
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "registry"},
                "spec": {
                    "hostNetwork": True,
                    "nodeName": node,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "registry",
                            "image": image,
                            "command": ["python", "-c", NOTHING_HERE],
                        }
                    ],
                },
            }
        )
        kubectl("wait", "pod/registry", "--for=condition=Ready", "--timeout=60s")
        yield node


def _trainer_image(cluster: GivenCluster) -> str:
    """The image of runs that name none, as the controller was told."""
    deployment = cluster.kubectl("headway-system").get("deployment", "headway-operator")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return next(a.partition("=")[2] for a in args if a.startswith("--trainer-image="))


@pytest.fixture(scope="module", autouse=True)
def slow(cluster: GivenCluster, empty_registry: str, without_the_sdk: str) -> Iterator[Slow]:
    """Runs that need a while to come to what they are here for."""
    with own_namespace(cluster.kubectl, "slow", RESTRICTED) as kubectl:
        disk = {"limits": {"ephemeral-storage": "16Mi"}}
        kubectl.apply(
            custom("evicted", without_the_sdk, FILLS_ITS_DISK, resources=disk),
            dummy("away", image="registry.invalid/team/trainer:1"),
            dummy(
                "absent",
                image="localhost:5005/team/trainer:1",
                podTemplate=on_node(empty_registry),
            ),
            dummy("settings", podTemplate={"spec": MISSING_SETTINGS}),
            dummy("secret", podTemplate={"spec": {"containers": [MISSING_PASSWORD]}}),
            dummy("unbound", storage={"claimTemplate": {"size": "1Ti", "storageClassName": ""}}),
        )
        yield Slow(kubectl)


# The kernel


def test_the_kernel_ends_what_needs_more_memory_than_its_limit(kubectl):
    kubectl.apply(python("run", NEEDS_MORE_MEMORY, resources={"limits": {"memory": "150Mi"}}))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert status["reason"] == "OOMKilled"
    assert status["result"]["exitCode"] == 137
    assert "its limit of 150Mi" in status["message"]


# Placement


def test_what_no_node_can_take_is_told_in_the_schedulers_words(kubectl, headway):
    kubectl.apply(dummy("run", resources={"requests": {"memory": "4000Gi"}}))
    found = kubectl.wait_for(
        "run", lambda o: o.get("status", {}).get("reason") == "Unschedulable", within=20
    )
    assert "Insufficient memory" in found["status"]["message"]
    before = headway("logs", "run")
    assert before.returncode == 4
    assert "no log yet" in before.stderr
    assert "Insufficient memory" in before.stderr


# Images


def test_a_name_that_no_image_can_have_fails_within_seconds(kubectl):
    kubectl.apply(dummy("run", image="Team/Trainer:Latest!"))
    status = kubectl.wait_for_phase("run", "Failed", within=30)["status"]
    assert status["reason"] == "InvalidImageName"
    assert "Team/Trainer:Latest!" in status["message"]
    eventually(lambda: not kubectl.pods_of("run"), within=60, why="its pod is gone")


def test_an_image_that_may_not_be_pulled_and_is_not_there_fails_within_seconds(kubectl):
    never = {"spec": {"containers": [{"name": "trainer", "imagePullPolicy": "Never"}]}}
    kubectl.apply(dummy("run", image="team/not-here:1", podTemplate=never))
    status = kubectl.wait_for_phase("run", "Failed", within=30)["status"]
    assert status["reason"] == "ImageNotAvailable"
    assert "team/not-here:1" in status["message"]


def test_an_image_that_its_registry_does_not_have_is_told_and_fails(slow: Slow):
    told = slow.told("absent", "ImagePull")
    assert "localhost:5005/team/trainer:1" in told["message"]
    status = slow.failed("absent", within=90)
    assert status["reason"] == "ImagePull"
    assert "not found" in status["message"]


# Volumes, init containers, side containers


def test_a_config_map_that_does_not_exist_is_told_and_fails(slow: Slow):
    status = slow.failed("settings", within=90)
    assert status["reason"] == "ConfigNotFound"
    assert "no-such-settings" in status["message"]


def test_a_secret_that_does_not_exist_is_told_and_fails(slow: Slow):
    status = slow.failed("secret", within=90)
    assert status["reason"] == "ConfigNotFound"
    assert "no-such-secret" in status["message"]


def test_a_claim_that_nothing_binds_is_told_and_waited_for(slow: Slow):
    status = slow.told("unbound", "Unschedulable")
    assert status["phase"] == "Starting"
    assert "PersistentVolumeClaim" in status["message"]


@pytest.mark.parametrize("code", [0, 3])
def test_a_run_is_over_with_its_trainer_although_a_sidecar_would_go_on(
    kubectl, without_the_sdk, code
):
    mount = [{"name": "handover", "mountPath": "/handover"}]
    spec = {
        "initContainers": [
            side_container("fetch", without_the_sdk, "echo 42 > /handover/n", volumeMounts=mount),
            side_container(
                "proxy", without_the_sdk, "while :; do sleep 1; done", restartPolicy="Always"
            ),
        ],
        "containers": [{"name": "trainer", "volumeMounts": mount}],
        "volumes": [{"name": "handover", "emptyDir": {}}],
    }
    kubectl.apply(
        custom(
            "run",
            without_the_sdk,
            f"echo got $(cat /handover/n); exit {code}",
            podTemplate={"spec": spec},
            cancelGracePeriodSeconds=2,
        )
    )
    status = kubectl.wait_for_phase("run", "Failed" if code else "Succeeded")["status"]
    assert status["result"]["exitCode"] == code
    [pod] = kubectl.pods_of("run")
    assert "got 42" in kubectl("logs", pod["metadata"]["name"])
    if code:
        assert "The trainer failed with exit code 3" in status["message"]


def test_an_init_container_that_fails_is_named_with_its_last_words(kubectl, without_the_sdk):
    init = side_container("fetch", without_the_sdk, "echo no such file >&2; exit 4")
    init["terminationMessagePolicy"] = "FallbackToLogsOnError"
    template = {"spec": {"initContainers": [init]}}
    kubectl.apply(custom("run", without_the_sdk, "true", podTemplate=template))
    status = kubectl.wait_for_phase("run", "Failed")["status"]
    assert "Init container fetch exited with code 4: no such file" in status["message"]
    assert "no such file" in status["lastLogs"]["text"]


# Logs


def test_logs_are_followed_to_the_end_and_kept_after_it(
    cluster: GivenCluster, kubectl, headway, without_the_sdk
):
    script = "for n in 1 2 3 4 5; do echo line $n; sleep 1; done; echo no more data; exit 5"
    kubectl.apply(custom("run", without_the_sdk, script))
    environment = {**cluster.environment(), "HEADWAY_NAMESPACE": kubectl.namespace}
    followed = subprocess.run(
        [warm.PROGRAM, "logs", "run", "-f"],
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
    )
    lines = [*(f"line {n}" for n in range(1, 6)), "no more data"]
    assert followed.stdout.splitlines() == lines
    kubectl.wait_for_phase("run", "Failed")
    [pod] = kubectl.pods_of("run")
    assert kubectl("logs", pod["metadata"]["name"]).splitlines() == lines
    assert headway("logs", "run", "--tail", "1").stdout == "no more data\n"
    kubectl("delete", "job", "run-a1")
    eventually(lambda: not kubectl.pods_of("run"), within=30, why="its pod is gone")
    left = headway("logs", "run")
    assert left.stdout.splitlines() == lines
    assert "is gone; these are the last lines" in left.stderr


# What takes its time


def test_a_node_ends_what_fills_its_disk(slow: Slow):
    status = slow.kubectl.wait_for(
        "evicted", lambda o: o["status"]["attempts"][0].get("ended"), within=150
    )["status"]
    assert status["attempts"][0]["reason"] == "Evicted"
    assert "16Mi" in status["attempts"][0]["message"]
    slow.kubectl.cancel("evicted")
    slow.kubectl.wait_for_phase("evicted", "Cancelled", within=90)


def test_a_registry_that_is_away_is_told_and_waited_for(slow: Slow):
    status = slow.told("away", "ImagePull")
    assert status["phase"] == "Starting"
    assert "registry.invalid/team/trainer:1" in status["message"]
    slow.kubectl.cancel("away")
    gone = slow.kubectl.wait_for_phase("away", "Cancelled")["status"]
    assert gone["cancellation"]["outcome"] == "BeforeStart"
