"""A machine that joins a cluster as a host: what lands there, and what does not."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import warm
from clusters import Cluster, temporary_cluster
from headway_cluster.home import Home
from headway_cluster.hosts import HostMachine
from kubectl import Kubectl, dummy
from namespaces import own_namespace
from podspecs import IMAGE
from processes import lives, working_in
from waiting import eventually

NODE = "host-of-the-test"
HOST = {"placement": "Host"}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Cluster, Kubectl]]:
    """A cluster of this module's own, with Headway, and a namespace whose runs the host takes."""
    with temporary_cluster() as cluster:
        cluster.install()
        with own_namespace(cluster.kubectl, "host") as kubectl:
            yield cluster, kubectl


@pytest.fixture
def host(place: tuple[Cluster, Kubectl], tmp_path: Path) -> Iterator[tuple[HostMachine, Run]]:
    """The headway command as the host's owner uses it; nothing of it is left afterwards."""
    cluster, kubectl = place
    home = tmp_path / "home"
    env = {
        **os.environ,
        "HEADWAY_HOME": str(home),
        "KUBECONFIG": str(cluster.kubeconfig),
        "HEADWAY_NAMESPACE": kubectl.namespace,
    }

    def run(*args: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        more = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
        return warm.headway("host", *args, env={**env, **more}, timeout=180)

    machine = HostMachine(Home(home / "cache", home / "state"))
    try:
        yield machine, run
    finally:
        run("leave", "--now")
        run("leave", "--forget")


def join(run: Run, *more: str, **options) -> subprocess.CompletedProcess[str]:
    return run("join", "--name", NODE, "--as-root", *more, **options)


def node_of(kubectl: Kubectl, name: str) -> str:
    [pod] = kubectl.pods_of(name)
    return str(pod["spec"].get("nodeName"))


def test_joined_it_takes_runs_that_ask_for_a_host_and_no_others(place, host):
    _, kubectl = place
    machine, run = host
    done = join(run)
    assert done.returncode == 0, done.stderr
    assert f"{NODE} takes runs of {kubectl.namespace}" in done.stdout
    node = kubectl.get("node", NODE)
    assert node["metadata"]["labels"]["headway.dev/host"] == "true"
    assert {"key": "headway.dev/host", "value": "true", "effect": "NoSchedule"} in node["spec"][
        "taints"
    ]
    kubectl.apply(dummy("here", iterations=3, **HOST), dummy("there", iterations=3))
    for name in ("here", "there"):
        kubectl.wait_for_phase(name, "Succeeded", within=90)
    assert node_of(kubectl, "here") == NODE
    assert node_of(kubectl, "there") != NODE
    assert machine.status().pid
    assert "takes runs of" in run("status").stdout


def test_logs_are_read_through_the_api_server_and_by_nobody_else(place, host):
    cluster, kubectl = place
    _, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("talks", iterations=1, interval=0, **HOST))
    kubectl.wait_for_phase("talks", "Succeeded", within=90)
    [pod] = kubectl.pods_of("talks")
    kubectl("logs", pod["metadata"]["name"])
    node = kubectl.get("node", NODE)["status"]
    port = node["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    user = cluster.local.control_plane.user("mallory", ["system:authenticated"])
    url = f"https://127.0.0.1:{port}/containerLogs/{kubectl.namespace}/{pod['metadata']['name']}/trainer"
    assert asked(url, user) == 403
    assert asked(url, None) is None, "without a certificate there is not even an answer"


def asked(url: str, kubeconfig: Path | None) -> int | None:
    """The status of a request with a user's certificate; None where there was no answer."""
    import base64
    import ssl
    import tempfile

    import urllib3
    import yaml

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if kubeconfig is not None:
        user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]) + b"\n")
            file.flush()
            context.load_cert_chain(file.name)
    try:
        with urllib3.PoolManager(ssl_context=context, retries=False) as pool:
            return int(pool.request("GET", url, timeout=10.0).status)
    except urllib3.exceptions.HTTPError:
        return None


def plain_pod(name: str, namespace: str, **labels: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": NODE,
            "containers": [{"name": "trainer", "image": IMAGE, "command": ["id"]}],
        },
    }


def refused(kubectl: Kubectl, name: str) -> str:
    pod = eventually(
        lambda: (p := kubectl.get("pod", name))["status"].get("phase") == "Failed" and p,
        within=60,
        why=f"{name} is refused",
    )
    assert pod["status"]["reason"] == "HostNotAllowed"
    return str(pod["status"]["message"])


def test_what_is_no_run_for_a_host_is_refused_with_its_reason(place, host):
    cluster, kubectl = place
    _, run = host
    assert join(run).returncode == 0
    with own_namespace(cluster.kubectl, "stranger") as stranger:
        stranger.apply(dummy("run", iterations=1, **HOST))
        status = stranger.wait_for_phase("run", "Failed", within=90)["status"]
        assert f"takes runs of {kubectl.namespace} only" in status["message"]
    kubectl.apply(plain_pod("bare", kubectl.namespace))
    assert "the Job of a run has made" in refused(kubectl, "bare")
    # A run that did not ask for it, but tolerates the host's taint.
    toleration = {"key": "headway.dev/host", "operator": "Exists"}
    template = {"spec": {"nodeSelector": {"headway.dev/host": "true"}, "tolerations": [toleration]}}
    kubectl.apply(dummy("sneaks", iterations=1, podTemplate=template))
    status = kubectl.wait_for_phase("sneaks", "Failed", within=90)["status"]
    assert "did not ask for placement: Host" in status["message"]


@pytest.mark.slow
def test_its_agent_dies_and_comes_back_and_the_run_goes_on(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("run", iterations=1000, interval=0.25, **HOST))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"), within=90)
    machine.agent().kill()
    assert "does not run" in run("status").stdout
    status = kubectl.told("run", "NodeUnreachable", within=180)
    assert status["phase"] == "Running", "it does not end while it may run"
    seen = status["progress"]["step"]
    done = join(run)
    assert done.returncode == 0, done.stderr
    assert "asking" not in done.stderr, "what it had from the cluster still serves"
    status = kubectl.told("run", "Started", within=90)
    assert (status["phase"], status["attempt"]) == ("Running", 1)
    kubectl.wait_for("run", lambda o: o["status"]["progress"]["step"] > seen, within=60)
    kubectl.cancel("run")
    status = kubectl.wait_for_phase("run", "Cancelled", within=90)["status"]
    assert (status["attempt"], status["cancellation"]["outcome"]) == (1, "Graceful")


def test_its_credential_is_renewed_while_runs_go_on(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("run", iterations=1000, interval=0.25, **HOST))
    kubectl.wait_for("run", lambda o: o.get("status", {}).get("progress"), within=90)
    agent = machine.agent().process()
    [kubeconfig] = machine.folder.glob("credential-*/kubeconfig")
    before = kubeconfig.read_text()
    agent.send_signal(signal.SIGHUP)  # as when its time has come; nobody has to approve it
    eventually(lambda: kubeconfig.read_text() != before, within=60, why="it has another one")
    kubectl.cancel("run")
    kubectl.wait_for_phase("run", "Cancelled", within=90)
    assert lives(agent)
    assert run("renew").returncode == 0
    [kubeconfig] = machine.folder.glob("credential-*/kubeconfig")
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    kubectl.apply(dummy("after", iterations=1, interval=0, **HOST))
    kubectl.wait_for_phase("after", "Succeeded", within=90)


def a_daemon_set(name: str) -> dict:
    """It wants to be on the host, whatever taints that has."""
    pod = {
        "nodeSelector": {"headway.dev/host": "true"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "main", "image": IMAGE, "command": ["id"]}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


def test_what_is_no_run_keeps_it_neither_from_working_nor_from_leaving(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(a_daemon_set("everywhere"))
    try:
        pods = eventually(
            lambda: kubectl.items("pods", "app=everywhere"), within=60, why="its pod is there"
        )
        name = pods[0]["metadata"]["name"]
        eventually(
            lambda: waiting_of(kubectl, name) == "HostNotAllowed",
            within=60,
            why="it waits, and is not made again and again",
        )
        kubectl.apply(dummy("beside", iterations=1, interval=0, **HOST))
        kubectl.wait_for_phase("beside", "Succeeded", within=90)
        done = run("leave")
        assert done.returncode == 0, done.stderr
        assert "everywhere" not in done.stderr
        assert not machine.folder.exists()
    finally:
        kubectl("delete", "daemonset", "everywhere", "--wait=false")


def waiting_of(kubectl: Kubectl, pod: str) -> str:
    [container] = kubectl.get("pod", pod)["status"]["containerStatuses"]
    return str(container["state"]["waiting"]["reason"])


def test_a_host_whose_agent_died_leaves_no_process_behind(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("stays", iterations=1000, interval=0.2, **HOST))
    kubectl.wait_for("stays", lambda o: o.get("status", {}).get("progress"), within=90)
    machine.agent().kill()
    assert working_in(machine.folder)
    done = run("leave", "--forget")  # as where the cluster is gone
    assert done.returncode == 0, done.stderr
    assert f"kubectl delete node/{NODE}" in done.stderr
    assert not machine.folder.exists()
    assert not working_in(machine.folder)
    kubectl("delete", "node", NODE)
    kubectl("delete", "clusterrolebinding", f"headway-host-{NODE}")
    kubectl("delete", "trainop", "stays")


def test_another_cluster_is_never_taken_for_its_own(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    with temporary_cluster() as other:
        namesake = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        other.kubectl().apply(namesake)
        for command in (["leave", "--now"], ["renew"]):
            done = run(*command, kubeconfig=other.kubeconfig)
            assert done.returncode == 1
            assert "another cluster" in done.stderr
        assert not other.kubectl().get("node", NODE)["spec"].get("unschedulable")
    assert machine.status().pid
    assert not kubectl.get("node", NODE)["spec"].get("unschedulable")


def test_leaving_now_evicts_what_runs_and_leaves_nothing(place, host):
    _, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("moves", iterations=1000, interval=0.2, **HOST))
    kubectl.wait_for("moves", lambda o: o.get("status", {}).get("progress"), within=90)
    agent = machine.agent().process()
    done = run("leave", "--now")
    assert done.returncode == 0, done.stderr
    assert "evicting" in done.stderr
    assert not machine.folder.exists()
    assert not lives(agent)
    gone = kubectl.run("get", "node", NODE, check=False)
    assert "NotFound" in gone.stderr
    assert (
        "NotFound"
        in kubectl.run("get", "clusterrolebinding", f"headway-host-{NODE}", check=False).stderr
    )
    status = kubectl.wait_for("moves", lambda o: o["status"]["attempt"] == 2, within=90)["status"]
    assert status["attempts"][0]["reason"] == "Disrupted"
    kubectl.cancel("moves")
    kubectl.wait_for_phase("moves", "Cancelled", within=60)
    assert "no host" in run("leave").stdout


def test_a_leave_that_is_interrupted_while_it_waits_has_not_begun(place, host):
    cluster, kubectl = place
    machine, run = host
    assert join(run).returncode == 0
    kubectl.apply(dummy("long", iterations=1000, interval=0.2, **HOST))
    kubectl.wait_for("long", lambda o: o.get("status", {}).get("progress"), within=90)

    def unschedulable() -> bool:
        return bool(kubectl.get("node", NODE)["spec"].get("unschedulable"))

    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    env["HEADWAY_HOME"] = str(machine.folder.parents[1])
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells may ignore it
    with subprocess.Popen([warm.PROGRAM, "host", "leave"], env=env, preexec_fn=heeds) as leaving:
        try:
            eventually(unschedulable, within=60, why="it takes no more runs")
            leaving.send_signal(signal.SIGINT)
            assert leaving.wait(60) == 130
        finally:
            leaving.kill()
    assert not unschedulable()
    assert machine.status().pid
    kubectl.wait_for_phase("long", "Running")


def test_without_the_right_to_approve_it_says_what_somebody_else_has_to_type(place, host):
    cluster, kubectl = place
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "joins"},
        "rules": [
            {
                "apiGroups": ["certificates.k8s.io"],
                "resources": ["certificatesigningrequests"],
                "verbs": ["create", "get"],
            },
            {"apiGroups": [""], "resources": ["nodes", "configmaps"], "verbs": ["get"]},
        ],
    }
    machine, run = host
    kubectl.apply(role)
    kubectl("create", "clusterrolebinding", "joins", "--clusterrole=joins", "--user=ada")
    ada = cluster.local.control_plane.user("ada")
    env = {**os.environ, "KUBECONFIG": str(ada)}
    env["HEADWAY_HOME"] = str(machine.folder.parents[1])
    options = ("--name", NODE, "--as-root", "--from", kubectl.namespace)
    command = [warm.PROGRAM, "host", "join", *options]
    with subprocess.Popen(command, env=env, text=True, stderr=subprocess.PIPE) as joining:
        try:
            lines = iter(joining.stderr.readline, "")
            asked_for = next(line for line in lines if "kubectl certificate approve" in line)
            kubectl(*asked_for.split()[1:])
            asked_for = next(line for line in lines if "kubectl certificate approve" in line)
            kubectl(*asked_for.split()[1:])
            rest = joining.stderr.read()
        finally:
            joining.kill()
    [bind] = re.findall(r"kubectl (create clusterrolebinding [^;]+);", rest)
    kubectl(*bind.split())
    done = join(run, kubeconfig=ada)
    assert done.returncode == 0, done.stderr
    assert "approve" not in done.stderr, "what was approved before still serves"
    kubectl.apply(dummy("adas", iterations=1, interval=0, **HOST))
    kubectl.wait_for_phase("adas", "Succeeded", within=90)


def test_a_join_that_failed_can_be_taken_back(place, host):
    cluster, _ = place
    machine, run = host
    machine.folder.mkdir(parents=True)
    (machine.folder / "state").write_text("a file where its agent needs a folder")
    done = join(run)
    assert done.returncode == 1
    assert "last words" in done.stderr
    cluster.kubectl()("get", "clusterrolebinding", f"headway-host-{NODE}")
    assert run("leave").returncode == 0
    assert not machine.folder.exists()
    gone = cluster.kubectl().run("get", "clusterrolebinding", f"headway-host-{NODE}", check=False)
    assert "NotFound" in gone.stderr


def test_root_has_to_say_whom_runs_shall_be(host):
    _, run = host
    if os.geteuid() != 0:
        return
    done = run("join", "--name", NODE)
    assert done.returncode == 1
    assert "--as-user" in done.stderr
