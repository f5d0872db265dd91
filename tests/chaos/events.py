"""All that can happen to a run, to its queue, and to everything at once.

Each of them is made to happen for real, and says whether it did: it may have come too late.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from chaos_world import NAMESPACE, World
from headway.cluster_api import MERGE_PATCH
from watcher import phase_of

QUEUE = "chaos"
Object = dict[str, Any]


class Events:
    """What a history made, and what can happen to it.

    Attributes:
        chance: what decides how a thing happens; each step of a history brings its own.
        made: names of operations, the oldest first.
        queued: those that wait in a queue before they start.
        outages: how often the API server was silent, away, or cut every watch.
    """

    def __init__(self, number: int, world: World, outages: Counter[str]) -> None:
        self.number = number
        self.world = world
        self.cluster = world.cluster
        self.operator = world.operator
        self.outages = outages
        self.chance = random.Random(number)
        self.made: list[str] = []
        self.queued: set[str] = set()
        self.deleted: set[str] = set()
        self._light_at: dict[str, float] = {}

    @property
    def left(self) -> list[str]:
        """Names of the operations that were not deleted."""
        return [name for name in self.made if name not in self.deleted]

    # What happens to one run

    def create(self) -> str:
        """Make another operation of random kind; returns its name."""
        name = f"h{self.number}-{len(self.made)}"
        self.cluster.styles[name] = self.chance.choice(
            ["polite", "polite", "deaf", "deaf", "deaf", "plain"]
        )
        self.cluster.pulls[name] = self.chance.choice([0, 0, 0, 3, 6])
        spec: Object = {
            "type": "Custom",
            "custom": {"command": ["scripted"]},
            "cancelGracePeriodSeconds": self.chance.choice([2, 6, 20]),
            "storage": {"existingClaim": {"claimName": "workspace"}},
            "retryPolicy": {
                "limit": self.chance.choice([0, 1, 3]),
                "backoffSeconds": self.chance.choice([0, 2, 8]),
            },
            "podTemplate": {"spec": {"nodeSelector": {"scripted": "true"}, "volumes": []}},
        }
        if self.chance.random() < 0.15:
            spec["suspend"] = True
        if self.chance.random() < 0.35:
            spec["queueName"] = QUEUE
            self.queued.add(name)
        if self.chance.random() < 0.1:  # no such node: it waits in Starting
            spec["podTemplate"]["spec"]["nodeSelector"] = {"scripted": "never"}
        body = {
            "apiVersion": "headway.dev/v1alpha1",
            "kind": "TrainingOperation",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.cluster.request("POST", self.cluster.operations, body=body)
        self.made.append(name)
        return name

    def change(self, name: str, **spec: Any) -> str:
        """Change the spec; returns the phase in which that met the run."""
        changed = self.cluster.request(
            "PATCH",
            f"{self.cluster.operations}/{name}",
            body={"spec": spec},
            content_type=MERGE_PATCH,
        )
        return phase_of(changed)

    def cancel(self, name: str) -> str:
        return self.change(name, cancel=True)

    def suspend(self, name: str) -> str:
        return self.change(name, suspend=True)

    def resume(self, name: str) -> str:
        return self.change(name, suspend=None)

    def delete(self, name: str) -> bool:
        self.cluster.deleted.add(name)
        self.cluster.request("DELETE", f"{self.cluster.operations}/{name}")
        self.deleted.add(name)
        self.world.deleted.add(name)
        return True

    def end(self, name: str, code: int, reason: str, claim: str) -> bool:
        trainer = self.cluster.trainer_of(name)
        if trainer is None or trainer.end is not None:
            return False
        trainer.end = (code, reason, claim)
        return True

    def success(self, name: str) -> bool:
        return self.end(name, 0, "Completed", "success")

    def failure(self, name: str) -> bool:
        return self.end(name, self.chance.choice([1, 3, 139]), "Error", "failed")

    def oom(self, name: str) -> bool:
        return self.end(name, 137, "OOMKilled", "")

    def sigterm(self, name: str) -> bool:
        how = self.chance.choice(["signal", "evict", "delete"])
        pods = self.cluster.on_a_node(name)
        if how == "signal" or not pods:
            return self.end(name, 143, "Error", "interrupted")
        if how == "delete":
            self.cluster.delete_pod(pods[0])
            return True
        pod = pods[0]["metadata"]["name"]
        self.cluster.deleted.add(pods[0]["metadata"]["uid"])
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        self.cluster.request("POST", f"{self.cluster.pods_path(pod)}/eviction", body=body)
        return True

    def deadline(self, name: str) -> str:
        return self.change(name, activeDeadlineSeconds=1)

    def stall(self, name: str) -> str | bool:
        trainer = self.cluster.trainer_of(name)
        if trainer is None:
            return False
        trainer.stalled = True
        return self.change(name, progressDeadlineSeconds=10)

    # What its queue does

    def admission(self, name: str) -> bool:
        return self.cluster.admit(name)

    def preemption(self, name: str) -> bool:
        return self.cluster.preempt(name)

    # What happens to everything

    def node_loss(self, name: str) -> bool:
        """The node of a run falls silent, and mostly the cluster gives its pods up."""
        given_up = self.chance.random() < 0.8
        for pod in self.cluster.on_a_node(name)[:1]:
            node = pod["spec"]["nodeName"]
            self.cluster.dark.add(node)
            self._light_at[node] = time.monotonic() + self.chance.uniform(1, 5)
            self.cluster.set_ready(node, "Unknown")
            if given_up:
                self.cluster.delete_pod(pod)
            return True
        return False

    def reboot(self, name: str) -> bool:
        """Its node forgets what it ran: a trainer that ran is found to have ended, somehow."""
        uids = [p["metadata"]["uid"] for p in self.cluster.on_a_node(name)]
        return any(self.cluster.trainers.pop(uid, None) is not None for uid in uids)

    def lost_node(self, name: str) -> bool:
        if not self.cluster.dark and self.chance.random() < 0.6:
            return self.node_loss(name)
        return self.reboot(name)

    def operator_death(self, _: str) -> bool:
        """All of them die; mostly another one comes at once, or two of them."""
        died = self.operator.kill()
        if self.chance.random() < 0.6:
            self.start_the_operator()
        return died

    def start_the_operator(self) -> None:
        """One, or two; mostly the next thing happens when they are at work."""
        self.operator.start(self.chance.choice([1, 1, 2]))
        if self.chance.random() < 0.7:
            wait_for(lambda: self.operator.at_work, 20)

    def api_outage(self, _: str) -> bool:
        """Nobody answers for a moment, or nobody is there, or every watch is just cut."""
        plane = self.world.plane.local.control_plane
        pid = plane.pid("kube-apiserver")
        how = self.chance.choice(["silent", "silent", "cut", "away"])
        self.outages[how] += 1
        if how != "silent" or pid is None:
            plane.restart("kube-apiserver", away=self.chance.uniform(1, 3) * (how == "away"))
            return True
        with stopped(pid):
            time.sleep(self.chance.uniform(0.5, 3))
        return True

    def see_late(self) -> None:
        """The controllers stand still for a moment, and then act on what they saw before it."""
        with contextlib.ExitStack() as all_of_them:
            for pid in self.operator.pids:
                all_of_them.enter_context(stopped(pid))
            time.sleep(self.chance.uniform(0.3, 2))

    def light(self, *, all_of_it: bool = False) -> None:
        """Nodes whose time in the dark is over come back, and end what was deleted meanwhile."""
        for node, due in list(self._light_at.items()):
            if all_of_it or time.monotonic() >= due:
                self.cluster.dark.discard(node)
                del self._light_at[node]
                self.cluster.set_ready(node, "True")

    ALL: ClassVar[dict[str, Callable[[Events, str], str | bool]]] = {
        "cancel": cancel,
        "suspend": suspend,
        "resume": resume,
        "delete": delete,
        "success": success,
        "failure": failure,
        "OOM": oom,
        "SIGTERM": sigterm,
        "node loss": lost_node,
        "deadline": deadline,
        "stall": stall,
        "operator death": operator_death,
        "API outage": api_outage,
    }
    OF_THE_QUEUE: ClassVar[dict[str, Callable[[Events, str], str | bool]]] = {
        "admission": admission,
        "preemption": preemption,
    }
    """What happens to queued runs beside all that."""


def wait_for(condition: Callable[[], bool], most: float) -> None:
    """Wait for something, and go on without it after so many seconds."""
    deadline = time.monotonic() + most
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still for the length of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
