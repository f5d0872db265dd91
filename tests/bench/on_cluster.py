"""What runs cost a cluster: on the product's own local cluster, with durable storage."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from clusters import Cluster, say
from headway.client import OperationsClient
from headway_api import names
from headway_api.version import __version__
from kubectl import Kubectl, dummy, operation
from measuring import Figure, median_interval, percentile
from waiting import eventually

HERE = Path(__file__).resolve().parent
_AT_ONCE = 10
_EVENTS = 1000
_EVENTS_PER_SECOND = 50
_STARTS = 10
_WAITS = (
    "-c",
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()",
)
_MOST_SLOWER = 0.5
"""Per cent that a training loop may be slower."""


def _run(name: str, script: str, *arguments: str) -> dict[str, Any]:
    return _python(name, str(HERE / script), *arguments)


def _python(name: str, *arguments: str, image: str = "") -> dict[str, Any]:
    """A run of Python; without an image, in the controller's own."""
    spec = {"image": image} if image else {}
    return operation(name, "Custom", custom={"command": ["python", *arguments]}, **spec)


def slowdown(kubectl: Kubectl) -> list[Figure]:
    """A real training loop with Headway against the same without, in a pod."""
    # Waited for by one watch: a kubectl that asks again and again would take the trainer's CPU.
    client = OperationsClient.connect(kubeconfig=kubectl.kubeconfig, namespace=kubectl.namespace)
    kubectl.apply(_run("slowdown", "slowdown.py"))
    done = client.wait_final("slowdown", timeout=500)
    assert done["status"]["phase"] == "Succeeded", done["status"]
    summary = done["status"]["report"]["summary"]
    pairs, steps = summary["pairs"], summary["steps"]
    early = statistics.median((pair[0] / pair[2] - 1) * 100 for pair in summary["early"])
    figures = []
    for clock, place in (("by the wall's clock", 0), ("in CPU time of the process", 1)):
        slower = [(pair[place] / pair[place + 2] - 1) * 100 for pair in pairs]
        middle, (low, high) = statistics.median(slower), median_interval(slower)
        seconds = [pair[place + 2] for pair in pairs]
        spread = (percentile(seconds, 0.9) / percentile(seconds, 0.1) - 1) * 100
        each = statistics.median(seconds)
        # An interval that reaches over the aim says that the machine was too restless to tell.
        told = middle <= _MOST_SLOWER or low > _MOST_SLOWER
        figures.append(
            Figure(
                f"training slowed {clock}, median of {len(pairs)} interleaved pairs",
                f"{middle:+.2f} % (95 %: {low:+.2f} to {high:+.2f})",
                f"halves of {each:.1f} s, {each / steps * 1000:.1f} ms a step, which by themselves "
                f"spread by {spread:.0f} %; {summary['deliveries']} writes; in the first minute, "
                f"with a write a second, {early:+.2f} % by the wall's clock",
                f"{_MOST_SLOWER} %" + ("" if told else "; not to be told from noise here"),
                middle <= _MOST_SLOWER if told else None,
                {"percent": middle, "interval": [low, high], "pairs": pairs},
            )
        )
    return figures


def cancels(kubectl: Kubectl, count: int, image: str = "") -> list[Figure]:
    """From the patch of ``spec.cancel`` to the trainer's token, and on to the end of its pods.

    All by one machine's clock. Ten runs are there at a time; they are cancelled one after the
    other.

    Args:
        kubectl: a namespace of a cluster with Headway.
        count: how many runs to cancel.
        image: the runs' image.
    """
    client = OperationsClient.connect(kubeconfig=kubectl.kubeconfig, namespace=kubectl.namespace)
    script = (HERE / "cancelled.py").read_text()  # goes along: the image need not have it
    tokens: list[float] = []
    patches: list[float] = []
    pods: list[float] = []
    ends: list[float] = []
    for first in range(0, count, _AT_ONCE):
        wanted = [f"cancel-{n}" for n in range(first, min(first + _AT_ONCE, count))]
        kubectl.apply(*(_python(name, "-c", script, image=image) for name in wanted))
        for name in wanted:
            kubectl.wait_for(name, lambda o: o.get("status", {}).get("progress"), within=120)
        for name in wanted:
            patched = time.time()
            client.cancel(name)
            patches.append((time.time() - patched) * 1000)
            status = client.wait_final(name, timeout=60)["status"]
            ends.append(time.time() - patched)
            assert status["phase"] == "Cancelled", status
            tokens.append((status["report"]["summary"]["flipped"] - patched) * 1000)
            gone = datetime.fromisoformat(status["cancellation"]["podsGoneAt"])
            pods.append(gone.timestamp() - patched)
        kubectl("delete", "trainop", *wanted, "--wait=false")
        say(f"cancelled {len(tokens)} of {count}")
    p99 = percentile(tokens, 0.99)
    return [
        Figure(
            f"patch of spec.cancel to token, {count} cancels",
            f"p50 {percentile(tokens, 0.5):.0f} ms, p99 {p99:.0f} ms",
            f"the patch itself, answered: p50 {percentile(patches, 0.5):.0f} ms, "
            f"p99 {percentile(patches, 0.99):.0f} ms",
            "p99 250 ms",
            p99 <= 250,
            {"milliseconds": tokens, "patch_milliseconds": patches},
        ),
        Figure(
            "patch of spec.cancel to its pods gone, the same",
            f"p50 {percentile(pods, 0.5):.2f} s, p99 {percentile(pods, 0.99):.2f} s",
            f"seen as Cancelled by a client p50 {percentile(ends, 0.5):.2f} s, "
            f"p99 {percentile(ends, 0.99):.2f} s",
            "",
            None,
            {"pods_gone_seconds": pods, "cancelled_seconds": ends},
        ),
    ]


def writes(cluster: Cluster, kubectl: Kubectl) -> list[Figure]:
    """API writes of one run by who made them, from the audit log."""
    kubectl.apply(_run("talkative", "talkative.py"))
    running = kubectl.wait_for("talkative", lambda o: o.get("status", {}).get("progress"))
    assert running["status"]["phase"] in ("Starting", "Running")
    done = kubectl.wait_for_phase("talkative", "Succeeded", within=120)["status"]
    calls, delivered = done["report"]["summary"]["calls"], done["progress"]["sequence"]
    by_client: Counter[str] = Counter()
    middle = 0
    began = datetime.fromisoformat(done["startTime"]) + timedelta(seconds=2)
    ended = datetime.fromisoformat(done["completionTime"])
    for entry in _audit(cluster, kubectl.namespace, "talkative"):
        who = entry["user"]["username"].rsplit(":", 1)[-1]
        by_client[who] += 1
        at = datetime.fromisoformat(entry["requestReceivedTimestamp"])
        middle += who == "headway-operator" and began < at < ended
    trainer = by_client["headway-trainer"]
    operator = by_client["headway-operator"]
    return [
        Figure(
            f"trainer's writes for {calls:,} progress calls in 20 s",
            f"{trainer}",
            f"{delivered} updates delivered: {trainer / delivered:.2f} x",
            "one per update",
            trainer == delivered,
            {"calls": calls, "delivered": delivered, "writes": dict(by_client)},
        ),
        Figure(
            "operator's writes of that run's status",
            f"{operator} in all",
            f"{middle} between 2 s after its start and its end",
            "none per update",
            middle == 0,
            {"operator": operator, "in_the_middle": middle},
        ),
    ]


def _audit(cluster: Cluster, namespace: str, name: str) -> Iterator[dict[str, Any]]:
    for entry in cluster.audited():
        target = entry.get("objectRef") or {}
        if (
            entry["verb"] in ("update", "patch")
            and target.get("resource") == names.PLURAL
            and target.get("namespace") == namespace
            and target.get("name") == name
            and entry["responseStatus"]["code"] < 300
        ):
            yield entry


def operator_cpu(cluster: Cluster, kubectl: Kubectl) -> list[Figure]:
    """CPU of the operator and the API server per progress event."""
    kubectl.apply(dummy("events", iterations=1000, interval=60))
    kubectl.wait_for("events", lambda o: o.get("status", {}).get("progress"))
    client = OperationsClient.connect(kubeconfig=cluster.kubeconfig, namespace=kubectl.namespace)
    operator = cluster.operator()
    plane = cluster.local.control_plane
    api_server = psutil.Process(plane.pid("kube-apiserver"))
    before, progress = (
        (_cpu(operator), _cpu(api_server)),
        client.get("events")["status"]["progress"],
    )
    began = time.monotonic()
    path = f"/apis/{names.API_VERSION}/namespaces/{kubectl.namespace}/{names.PLURAL}/events/status"
    for number in range(_EVENTS):
        progress = {**progress, "sequence": progress["sequence"] + 1, "step": number}
        client.api.request(
            "PATCH",
            path,
            body=[{"op": "add", "path": "/status/progress", "value": progress}],
            content_type="application/json-patch+json",
            doing="report",
        )
        time.sleep(max(0.0, began + (number + 1) / _EVENTS_PER_SECOND - time.monotonic()))
    time.sleep(1)
    after = (_cpu(operator), _cpu(api_server))
    ours, theirs = ((b - a) / _EVENTS * 1000 for a, b in zip(before, after, strict=True))
    client.cancel("events")
    client.wait_final("events", timeout=60)
    return [
        Figure(
            f"operator's CPU per progress event, {_EVENTS} events",
            f"{ours:.2f} ms",
            f"API server {theirs:.2f} ms: {ours / theirs:.2f} x",
            "",
            None,
            {"operator_ms": ours, "api_server_ms": theirs},
        )
    ]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def starts(kubectl: Kubectl, image: str = "") -> list[Figure]:
    """From create to Running, against a bare Job with the same command, interleaved.

    Both are made, and asked for every 10 ms, by one client; and once more as a person would, by
    ``kubectl``, whose own start is most of what they wait for.
    """
    client = OperationsClient.connect(kubeconfig=kubectl.kubeconfig, namespace=kubectl.namespace)
    pods = f"/api/v1/namespaces/{kubectl.namespace}/pods"
    jobs = f"/apis/batch/v1/namespaces/{kubectl.namespace}/jobs"

    def ours_runs(name: str) -> bool:
        return client.get(name).get("status", {}).get("phase") == "Running"

    def bare_runs(name: str) -> bool:
        query = {"labelSelector": f"job-name={name}-bare"}
        found = client.api.request("GET", pods, query=query, doing="look").get("items") or ()
        return any(p["status"].get("phase") == "Running" for p in found)

    def taken(make: Callable[[], object], runs: Callable[[str], bool], name: str) -> float:
        began = time.monotonic()
        make()
        eventually(lambda: runs(name), within=60, why=f"{name} runs", every=0.01)
        return time.monotonic() - began

    def typed_runs(name: str) -> bool:
        return kubectl("get", "trainop", name, "-o", "jsonpath={.status.phase}") == "Running"

    def bare_typed_runs(name: str) -> bool:
        of_it = ("-l", f"job-name={name}-bare")
        return (
            kubectl("get", "pods", *of_it, "-o", "jsonpath={.items[*].status.phase}") == "Running"
        )

    ours, bare, ours_typed, bare_typed = [], [], [], []
    for number in range(_STARTS):
        name = f"start-{number}"
        run, job = _python(name, *_WAITS, image=image), _bare_job(f"{name}-bare", image)
        ours.append(taken(partial(client.create, run), ours_runs, name))
        make_job = partial(client.api.request, "POST", jobs, body=job, doing="make a Job")
        bare.append(taken(make_job, bare_runs, name))
        typed = f"typed-{number}"
        run, job = _python(typed, *_WAITS, image=image), _bare_job(f"{typed}-bare", image)
        ours_typed.append(taken(partial(kubectl.apply, run), typed_runs, typed))
        bare_typed.append(taken(partial(kubectl.apply, job), bare_typed_runs, typed))
        kubectl("delete", "trainop", name, typed, "--wait=false")
        kubectl("delete", "job", f"{name}-bare", f"{typed}-bare", "--wait=false")
    return [
        _start("create to Running", ours, bare),
        _start("the same by kubectl apply and kubectl get", ours_typed, bare_typed),
    ]


def _start(what: str, ours: list[float], bare: list[float]) -> Figure:
    ours_ms, bare_ms = statistics.median(ours) * 1000, statistics.median(bare) * 1000
    return Figure(
        f"{what}, median of {_STARTS}",
        f"{ours_ms:.0f} ms",
        f"bare Job {bare_ms:.0f} ms: {ours_ms / bare_ms:.2f} x",
        "",
        None,
        {"milliseconds": ours_ms, "bare_job_milliseconds": bare_ms},
    )


def _bare_job(name: str, image: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image or names.default_trainer_image(__version__),
        "command": ["python", *_WAITS],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }
