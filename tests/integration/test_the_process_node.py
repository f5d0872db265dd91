"""Pods as processes of this machine, on a real control plane."""

from __future__ import annotations

import base64
import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3
import yaml
from clusters import Cluster, temporary_cluster
from headway_api.version import __version__
from headway_cluster.local import NODE
from kubectl import Kubectl
from podspecs import a_container, a_pod
from processes import command_of, lives, marked, variable_of
from waiting import eventually

LOOP = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A cluster of this module's own, for tests that break things."""
    with temporary_cluster() as made:
        yield made


@pytest.fixture
def own_kubectl(own_cluster: Cluster) -> Kubectl:
    """kubectl on it, once its node is ready."""
    kubectl = own_cluster.kubectl()
    node_is(kubectl, "True")
    return kubectl


def sh(script: str, name: str = "main", **fields):
    return a_container(name, "sh", "-c", script, **fields)


def pod(name: str, *containers, **spec):
    made = a_pod(*containers, name=name, **{"restartPolicy": "Never", **spec})
    return {**made, "metadata": {"name": name}}


def pod_when(kubectl: Kubectl, name: str, condition, why: str, within: float = 60):
    seen = {}

    def probe():
        seen.clear()
        seen.update(kubectl.get("pod", name))
        return dict(seen) if condition(seen) else None

    try:
        return eventually(probe, within=within, why=f"pod {name} {why}")
    except AssertionError as error:
        error.add_note(json.dumps(seen.get("status", {}), indent=1))
        raise


def pod_in_phase(kubectl: Kubectl, name: str, phase: str):
    return pod_when(kubectl, name, lambda p: p["status"]["phase"] == phase, f"is {phase}")


def run_to_end(kubectl: Kubectl, made, phase: str = "Succeeded") -> str:
    """Run a pod; returns the output of its container ``main``."""
    kubectl.apply(made)
    name = made["metadata"]["name"]
    pod_in_phase(kubectl, name, phase)
    return kubectl("logs", name, "-c", "main")


def container_of(found, number: int = 0):
    return found["status"]["containerStatuses"][number]


def ended(found, number: int = 0):
    return container_of(found, number)["state"]["terminated"]


def condition_of(found, kind: str):
    return next((c for c in found["status"]["conditions"] if c["type"] == kind), {})


def gone(kubectl: Kubectl, kind: str, name: str, within: float = 60) -> None:
    eventually(
        lambda: "NotFound" in kubectl.run("get", kind, name, check=False).stderr,
        within=within,
        why=f"{kind} {name} is gone",
    )


def node_is(kubectl: Kubectl, ready: str) -> None:
    eventually(
        lambda: (
            condition_of(kubectl.get("node", NODE), "Ready")["status"] == ready
            and (ready != "True" or not kubectl.get("node", NODE)["spec"].get("taints"))
        ),
        within=60,
        why=f"the node's condition Ready is {ready}",
    )


def processes_of(kubectl: Kubectl, name: str) -> list[psutil.Process]:
    """The processes of a pod, found by the mark that each of them carries."""
    uid = kubectl.get("pod", name)["metadata"]["uid"]
    return marked("HEADWAY_CONTAINER_ID", f"process://{uid}/")


def file_in_the_home_of(processes: list[psutil.Process], name: str) -> Path:
    """A file that a container looks for in its home; its loop's ``sleep`` comes and goes."""
    return Path(variable_of(processes, "HOME"), name)


# The node


def test_the_node_is_a_node_like_any_other(bare_kubectl):
    node = bare_kubectl.get("node", NODE)
    assert condition_of(node, "Ready")["status"] == "True"
    assert node["metadata"]["labels"]["headway.dev/process-node"] == "true"
    assert node["status"]["capacity"]["pods"] == "110"
    lease = bare_kubectl.run("-n", "kube-node-lease", "get", "lease", NODE, "-o", "json")
    assert json.loads(lease.stdout)["spec"]["holderIdentity"] == NODE


# Running


def test_a_job_runs_to_its_end(bare_kubectl):
    bare_kubectl(
        "create", "job", "hello", f"--image=headway/trainer:{__version__}", "--", "echo", "hello"
    )
    bare_kubectl("wait", "--for=condition=Complete", "job/hello", "--timeout=90s")
    assert bare_kubectl("logs", "job/hello") == "hello\n"


def test_a_container_gets_everything_its_spec_names(bare_kubectl):
    bare_kubectl("create", "configmap", "settings", "--from-literal=colour=red")
    bare_kubectl("create", "secret", "generic", "keys", "--from-literal=password=geheim")
    script = (
        'echo "$COLOUR $PASSWORD $NAME $LIMIT"; cat /etc/app/colour /keys/password /info/name;'
        " cat /scratch/prepared"
    )
    made = pod(
        "all",
        sh(
            script,
            env=[
                {
                    "name": "COLOUR",
                    "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}},
                },
                {
                    "name": "PASSWORD",
                    "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}},
                },
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {
                    "name": "LIMIT",
                    "valueFrom": {
                        "resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}
                    },
                },
            ],
            resources={"limits": {"memory": "64Mi"}},
            volumeMounts=[
                {"name": "settings", "mountPath": "/etc/app"},
                {"name": "keys", "mountPath": "/keys"},
                {"name": "info", "mountPath": "/info"},
                {"name": "scratch", "mountPath": "/scratch"},
            ],
        ),
        init=(
            sh(
                "echo prepared > /scratch/prepared",
                "prepare",
                volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
            ),
        ),
        volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
            {
                "name": "info",
                "downwardAPI": {
                    "items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
                },
            },
            {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        ],
    )
    assert run_to_end(bare_kubectl, made) == "red geheim all 64\nredgeheimallprepared\n"


def test_the_token_is_bound_to_the_pod(bare_kubectl):
    token = run_to_end(bare_kubectl, pod("bound", sh('cat "$HEADWAY_SERVICE_ACCOUNT_DIR/token"')))
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["kubernetes.io"]["pod"]["name"] == "bound"
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "default"
    assert bare_kubectl.run("--token", token, "auth", "whoami", check=False).returncode == 0


def test_what_a_missing_object_holds_up_goes_on_when_it_is_there(bare_kubectl):
    bare_kubectl.apply(
        pod("later", sh("echo $A", envFrom=[{"configMapRef": {"name": "settings"}}]))
    )
    found = pod_when(
        bare_kubectl,
        "later",
        lambda p: container_of(p)["state"].get("waiting", {}).get("message"),
        "says what is missing",
    )
    waiting = container_of(found)["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert 'configmap "settings" not found' in waiting["message"]
    bare_kubectl("create", "configmap", "settings", "--from-literal=A=1")
    pod_in_phase(bare_kubectl, "later", "Succeeded")
    assert bare_kubectl("logs", "later") == "1\n"


def test_pods_listen_on_addresses_of_their_own(bare_kubectl):
    both = [
        pod(
            name,
            sh(
                "exec python -m http.server --bind $IP 8080",
                env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                ports=[{"name": "http", "containerPort": 8080}],
                readinessProbe={"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
            ),
        )
        for name in ("left", "right")
    ]
    bare_kubectl.apply(*both)
    for name in ("left", "right"):
        pod_when(
            bare_kubectl, name, lambda p: condition_of(p, "Ready").get("status") == "True", "ready"
        )


# Ending


def test_exit_codes_and_last_words_are_told(bare_kubectl):
    bare_kubectl.apply(
        pod("wrote", sh("printf words > /dev/termination-log; exit 3")),
        pod(
            "printed", sh("echo shouted; exit 4", terminationMessagePolicy="FallbackToLogsOnError")
        ),
        pod("absent", a_container("main", "no-such-program")),
    )
    wrote = ended(pod_in_phase(bare_kubectl, "wrote", "Failed"))
    assert (wrote["exitCode"], wrote["reason"], wrote["message"]) == (3, "Error", "words")
    printed = ended(pod_in_phase(bare_kubectl, "printed", "Failed"))
    assert (printed["exitCode"], printed["message"]) == (4, "shouted\n")
    absent = ended(pod_in_phase(bare_kubectl, "absent", "Failed"))
    assert absent["reason"] == "StartError"
    assert "no-such-program" in absent["message"]


def test_more_memory_than_the_limit_is_oomkilled(bare_kubectl):
    text = "import time; x = bytearray(200 << 20); time.sleep(600)"
    limits = {"limits": {"memory": "64Mi"}}
    bare_kubectl.apply(pod("greedy", a_container("main", "python", "-c", text, resources=limits)))
    end = ended(pod_in_phase(bare_kubectl, "greedy", "Failed"))
    assert (end["reason"], end["exitCode"]) == ("OOMKilled", 137)


def test_a_deleted_pod_ends_in_its_own_way(bare_kubectl):
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    bare_kubectl.apply(pod("polite", sh(script)))
    eventually(lambda: "up" in bare_kubectl("logs", "polite"), within=60, why="it is up")
    with subprocess.Popen(
        [
            str(bare_kubectl.binary),
            f"--kubeconfig={bare_kubectl.kubeconfig}",
            "-n",
            bare_kubectl.namespace,
            "logs",
            "-f",
            "polite",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "up\n"
        bare_kubectl("delete", "pod", "polite", "--wait=false")
        assert following.stdout.read() == "bye\n"
    gone(bare_kubectl, "pod", "polite")


def test_a_pod_that_ignores_its_deletion_is_killed_with_all_it_started(bare_kubectl):
    script = "trap '' TERM; setsid sleep 3600 & echo up; while :; do sleep 0.05; done"
    bare_kubectl.apply(pod("stubborn", sh(script), terminationGracePeriodSeconds=1))
    eventually(lambda: "up" in bare_kubectl("logs", "stubborn"), within=60, why="it is up")
    processes = processes_of(bare_kubectl, "stubborn")
    assert len(processes) >= 2
    bare_kubectl("delete", "pod", "stubborn")
    assert not any(map(lives, processes))


def test_a_deadline_of_the_pod_is_kept(bare_kubectl):
    bare_kubectl.apply(
        pod(
            "late",
            sh(LOOP),
            activeDeadlineSeconds=1,
            terminationGracePeriodSeconds=1,
        )
    )
    assert pod_in_phase(bare_kubectl, "late", "Failed")["status"]["reason"] == "DeadlineExceeded"


# What the node does not do


def test_no_other_code_runs_than_the_image_that_is_named(bare_kubectl):
    bare_kubectl.apply(
        pod("never", sh("echo hi", image="busybox:1.36")),
        pod("always", sh("echo hi", image="busybox:1.36"), restartPolicy="Always"),
    )
    status = pod_in_phase(bare_kubectl, "never", "Failed")["status"]
    assert status["reason"] == "ImageNotAvailable"
    assert f"headway/trainer:{__version__}" in status["message"]
    found = pod_when(
        bare_kubectl,
        "always",
        lambda p: container_of(p)["state"]["waiting"]["reason"] == "ImageNotAvailable",
        "waits for its image",
    )
    assert found["status"]["phase"] == "Pending"


def test_a_field_that_cannot_be_honoured_fails_the_pod_by_name(bare_kubectl):
    hook = {"preStop": {"exec": {"command": ["true"]}}}
    bare_kubectl.apply(pod("hooked", sh("echo hi", lifecycle=hook)))
    status = pod_in_phase(bare_kubectl, "hooked", "Failed")["status"]
    assert status["reason"] == "UnsupportedFields"
    assert "spec.containers[main].lifecycle" in status["message"]


def test_a_field_that_is_not_carried_out_is_named_in_a_condition(bare_kubectl):
    bare_kubectl.apply(pod("user", sh("true"), securityContext={"runAsUser": 1000}))
    found = pod_in_phase(bare_kubectl, "user", "Succeeded")
    told = condition_of(found, "headway.dev/UnappliedFields")
    assert "spec.securityContext.runAsUser" in told["message"]


# Restarts and probes


def test_a_crashing_container_is_restarted_with_back_off(bare_kubectl):
    bare_kubectl.apply(pod("crash", sh("echo run $HOSTNAME; exit 7"), restartPolicy="Always"))
    found = pod_when(
        bare_kubectl,
        "crash",
        lambda p: (
            container_of(p)["restartCount"] >= 2
            and container_of(p)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        ),
        "is in a crash loop",
    )
    assert container_of(found)["lastState"]["terminated"]["exitCode"] == 7
    assert found["status"]["phase"] == "Running"
    assert bare_kubectl("logs", "crash", "--previous") == "run crash\n"


def test_a_container_that_is_not_alive_is_restarted(bare_kubectl):
    probe = {"exec": {"command": ["test", "-e", "/state/alive"]}, "periodSeconds": 1}
    script = "if test -e /state/second; then touch /state/alive; fi; touch /state/second; sleep 600"
    bare_kubectl.apply(
        pod(
            "sick",
            sh(
                script,
                livenessProbe={**probe, "failureThreshold": 1, "initialDelaySeconds": 1},
                volumeMounts=[{"name": "state", "mountPath": "/state"}],
            ),
            restartPolicy="Always",
            terminationGracePeriodSeconds=1,
            volumes=[{"name": "state", "emptyDir": {}}],
        )
    )
    found = pod_when(
        bare_kubectl,
        "sick",
        lambda p: container_of(p)["restartCount"] >= 1 and container_of(p)["ready"],
        "was restarted",
    )
    assert container_of(found)["lastState"]["terminated"]["exitCode"] == 143


def test_readiness_follows_its_probe(bare_kubectl):
    probe = {"exec": {"command": ["test", "-e", "/state/ready"]}, "periodSeconds": 1}
    bare_kubectl.apply(
        pod(
            "shy",
            sh(
                "while ! test -e /state/go; do sleep 0.05; done; touch /state/ready; sleep 600",
                readinessProbe=probe,
                volumeMounts=[{"name": "state", "mountPath": "/state"}],
            ),
            volumes=[{"name": "state", "emptyDir": {}}],
            terminationGracePeriodSeconds=0,
        )
    )
    found = pod_in_phase(bare_kubectl, "shy", "Running")
    assert condition_of(found, "Ready")["status"] == "False"
    for process in processes_of(bare_kubectl, "shy"):
        words = " ".join(command_of(process))
        if "/go" in words:
            state = words.split("test -e ")[1].split("/go")[0]
            Path(state, "go").touch()
    pod_when(bare_kubectl, "shy", lambda p: condition_of(p, "Ready")["status"] == "True", "ready")


# Logs


def test_logs_can_be_cut_to_size(bare_kubectl):
    run_to_end(bare_kubectl, pod("talk", sh("for i in 1 2 3 4 5; do echo line $i; done")))
    logs = bare_kubectl
    assert logs("logs", "talk", "--tail=2") == "line 4\nline 5\n"
    assert logs("logs", "talk", "--limit-bytes=8") == "line 1\nl"
    assert logs("logs", "talk", "--since=1h").count("line") == 5
    assert logs("logs", "talk", "--since-time=2100-01-01T00:00:00Z") == ""
    stamped = logs("logs", "talk", "--timestamps", "--tail=1")
    assert stamped.endswith("Z line 5\n")
    assert "not found" in logs.run("logs", "talk", "--previous", check=False).stderr


def test_commands_cannot_be_run_through_the_node(bare_kubectl):
    bare_kubectl.apply(pod("idle", sh("sleep 600"), terminationGracePeriodSeconds=0))
    pod_in_phase(bare_kubectl, "idle", "Running")
    refused = bare_kubectl.run("exec", "idle", "--", "true", check=False)
    assert refused.returncode != 0
    assert "not offered by a process node" in refused.stderr


def test_only_the_api_server_reads_logs_at_the_node(bare_cluster):
    """Even the administrator's certificate, which the same authority signed, is refused."""
    node = bare_cluster.kubectl().get("node", NODE)
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    url = f"https://127.0.0.1:{port}/containerLogs/default/any/main"
    config = yaml.safe_load(bare_cluster.kubeconfig.read_text())
    pki = bare_cluster.local.control_plane.folder / "pki"
    context = ssl.create_default_context(cafile=pki / "cluster-ca.crt")
    pool = urllib3.PoolManager(ssl_context=context, retries=False)
    with pool, pytest.raises(urllib3.exceptions.HTTPError):
        pool.request("GET", url, timeout=5)
    user = config["contexts"][0]["context"]["user"]
    context.load_cert_chain(pki / f"user-{user}.crt", pki / f"user-{user}.key")
    with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
        answer = pool.request("GET", url, timeout=5)
    assert answer.status == 403
    assert b"only the API server" in answer.data


# Volumes


def test_a_claim_keeps_its_data_from_pod_to_pod_and_takes_it_along(bare_kubectl):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    using = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    bare_kubectl.apply(claim)
    run_to_end(bare_kubectl, pod("writes", sh("echo kept > /data/file", **mount), **using))
    reader = pod("reads", sh("cat /data/file", **mount), **using)
    assert run_to_end(bare_kubectl, reader) == "kept\n"
    volume = bare_kubectl.get("pvc", "data")["spec"]["volumeName"]
    folder = Path(bare_kubectl.get("pv", volume)["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "kept\n"
    bare_kubectl("delete", "pod", "writes", "reads")
    bare_kubectl("delete", "pvc", "data")
    gone(bare_kubectl, "pv", volume)
    assert not folder.exists()


# When things die


def test_a_killed_agent_finds_its_pods_again(own_cluster, own_kubectl):
    kubectl = own_kubectl
    kubectl.apply(
        pod("stays", sh(LOOP), terminationGracePeriodSeconds=1),
        pod("ends", sh("while ! test -e $HOME/go; do sleep 0.05; done; exit 5")),
        pod("goes", sh("sleep 3600"), terminationGracePeriodSeconds=1),
    )
    for name in ("stays", "ends", "goes"):
        pod_in_phase(kubectl, name, "Running")
    staying, ending, going = (processes_of(kubectl, name) for name in ("stays", "ends", "goes"))
    agent = own_cluster.local.node()
    agent.kill()
    kubectl("delete", "pod", "goes", "--force", "--grace-period=0")
    file_in_the_home_of(ending, "go").touch()
    eventually(lambda: not any(map(lives, ending)), within=30, why="it ends unseen")
    assert any(map(lives, going))
    agent.start()
    assert ended(pod_in_phase(kubectl, "ends", "Failed"))["exitCode"] == 5
    eventually(
        lambda: not any(map(lives, going)),
        within=60,
        why="a container whose pod is gone is ended",
    )
    stays = kubectl.get("pod", "stays")
    assert container_of(stays)["restartCount"] == 0
    assert any(map(lives, staying)), "the shell itself; its `sleep` is another one by now"
    first = kubectl("logs", "stays", "--limit-bytes=2")
    assert first == "1\n"
    kubectl("delete", "pod", "stays", "ends")


def test_a_container_whose_supervisor_was_killed_is_not_run_twice(own_kubectl):
    kubectl = own_kubectl
    kubectl.apply(pod("lost", sh("echo once; sleep 3600")))
    eventually(lambda: kubectl("logs", "lost") == "once\n", within=60, why="it runs")
    process = processes_of(kubectl, "lost")[0]
    supervisor = next(p for p in process.parents() if "supervisor.py" in " ".join(command_of(p)))
    supervisor.kill()
    end = ended(pod_in_phase(kubectl, "lost", "Failed"))
    assert (end["reason"], end["exitCode"]) == ("ContainerStatusUnknown", 137)
    assert kubectl("logs", "lost") == "once\n"
    assert not processes_of(kubectl, "lost")


def test_an_exit_during_an_outage_of_the_api_server_is_told_after_it(own_cluster, own_kubectl):
    kubectl = own_kubectl
    kubectl.apply(pod("unseen", sh("while ! test -e $HOME/go; do sleep 0.05; done; exit 6")))
    pod_in_phase(kubectl, "unseen", "Running")
    processes = processes_of(kubectl, "unseen")
    go = file_in_the_home_of(processes, "go")
    plane = own_cluster.local.control_plane
    pid = plane.pid("kube-apiserver")
    assert pid is not None
    server = psutil.Process(pid)
    server.send_signal(signal.SIGSTOP)
    try:
        go.touch()
        eventually(lambda: not any(map(lives, processes)), within=30, why="it has ended")
    finally:
        server.send_signal(signal.SIGCONT)
    end = ended(pod_in_phase(kubectl, "unseen", "Failed"))
    assert end["exitCode"] == 6


def test_a_node_that_is_stopped_leaves_nothing_running_and_comes_back(own_cluster, own_kubectl):
    kubectl = own_kubectl
    script = "trap 'printf saved > /dev/termination-log; exit 0' TERM; echo up;"
    script += " while :; do sleep 0.05; done"
    kubectl.apply(pod("saves", sh(script)), pod("ignores", sh("trap '' TERM; " + LOOP)))
    for name in ("saves", "ignores"):
        pod_in_phase(kubectl, name, "Running")
    eventually(lambda: "up" in kubectl("logs", "saves"), within=60, why="it is up")
    processes = [p for name in ("saves", "ignores") for p in processes_of(kubectl, name)]
    agent = own_cluster.local.node()
    assert agent.stop(30)
    assert not any(map(lives, processes))
    for name in ("saves", "ignores"):
        found = kubectl.get("pod", name)
        assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "Terminated")
        assert condition_of(found, "DisruptionTarget")["status"] == "True"
    assert ended(kubectl.get("pod", "saves"))["message"] == "saved"
    node_is(kubectl, "False")
    agent.start()
    node_is(kubectl, "True")
    assert run_to_end(kubectl, pod("after", sh("echo again"))) == "again\n"
    assert "up" in kubectl("logs", "saves")
    kubectl("delete", "pod", "saves", "ignores", "after")
