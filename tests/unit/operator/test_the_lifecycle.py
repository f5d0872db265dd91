"""The table of docs/lifecycle.md, cell by cell: what comes out when an event meets a run.

A cell says the phase right after the event and, behind an arrow, the one that follows once every
pod has done what it was told. A dash: this event cannot meet that phase.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import snapshots
from headway_operator.snapshot import Signs
from lifecycle_page import CELLS, NOWHERE, PAGE
from world import World

# How a run comes to a phase


def _world(**spec: object) -> World:
    world = World()
    world.operation["spec"] |= {"storage": {"claimTemplate": {"size": "1Gi"}}, **spec}
    world.begin(grace=30, ahead=0)
    return world


def pending() -> World:
    return _world()


def _with_a_job(**spec: object) -> World:
    world = _world(**spec)
    world._look("one")
    return world


def starting(**spec: object) -> World:
    """Its pod is on a node, which pulls the image."""
    world = _with_a_job(**spec)
    world.the_job_controller_makes_a_pod()
    world.the_scheduler_finds_a_node()
    return world


def queued() -> World:
    world = _with_a_job()
    for job in world.jobs.values():
        job["spec"]["suspend"] = True
    world._remember()
    world._look("one")
    return world


def running(**spec: object) -> World:
    world = starting(**spec)
    world.the_kubelet_starts_the_trainer()
    world.the_trainer_reports_progress()
    world._look("one")
    return world


def cancelling() -> World:
    world = running()
    world.the_user_cancels()
    world._look("one")
    return world


def suspending() -> World:
    world = running()
    world.the_user_suspends()
    world._look("one")
    return world


def suspended() -> World:
    world = suspending()
    settle(world)
    return world


def retrying() -> World:
    world = running(retryPolicy={"limit": 1, "backoffSeconds": 60})
    world.the_trainer_ends(1, "failed", True, "")
    world._look("one")
    return world


def final() -> World:
    world = running()
    world.the_trainer_ends(0, "success", True, "")
    world._look("one")
    return world


PHASES: dict[str, Callable[[], World]] = {
    "Pending": pending,
    "Queued": queued,
    "Starting": starting,
    "Running": running,
    "Cancelling": cancelling,
    "Suspending": suspending,
    "Suspended": suspended,
    "Retrying": retrying,
    "final": final,
}


# What meets it


def delete(world: World) -> None:
    world.operation["metadata"]["deletionTimestamp"] = snapshots.text(world.now)
    world._touch()


def sigterm(world: World) -> None:
    world.the_trainer_ends(143, "interrupted", True, "")


def lost_node(world: World) -> None:
    """Nobody hears of the node any more, and the cluster gives its pods up."""
    world.node_lost = True
    for pod in world._living():
        world._delete_pod(pod, 30)
    world._remember()


def deadline(world: World) -> None:
    world.operation["spec"]["activeDeadlineSeconds"] = 1
    world._touch()
    world.time_passes(2)


def stall(world: World) -> None:
    world.operation["spec"]["progressDeadlineSeconds"] = 10
    world._touch()
    long_ago = world.now
    world.time_passes(12)
    world.signs = Signs(long_ago, world.now, long_ago)


def operator_death(world: World) -> None:
    """Whatever the controller had in mind is gone, and a new one looks."""
    world.seen["one"] = {}
    world.pending.clear()


EVENTS: dict[str, Callable[[World], object]] = {
    "cancel": World.the_user_cancels,
    "suspend": World.the_user_suspends,
    "resume": World.the_user_resumes,
    "delete": delete,
    "success": lambda world: world.the_trainer_ends(0, "success", True, ""),
    "failure": lambda world: world.the_trainer_ends(1, "failed", True, ""),
    "OOM": lambda world: world.the_trainer_ends(137, "", True, "OOMKilled"),
    "SIGTERM": sigterm,
    "node loss": lost_node,
    "deadline": deadline,
    "stall": stall,
    "operator death": operator_death,
    "API outage": lambda _: None,
}
GOING_ON = {"Starting", "Running", "Cancelling", "Suspending", "Retrying"}
NEED_A_TRAINER = {"success", "failure", "OOM", "SIGTERM", "stall"}


def settle(world: World) -> None:
    """Everything does what it was told, and nothing else happens."""
    for _ in range(8):
        spec, status = world.operation["spec"], world.operation["status"]
        attempt = status.get("attempt")
        told = spec.get("cancel") or spec.get("suspend") or status.get("stop")
        for pod in world._running():
            mine = pod["metadata"]["labels"]["headway.dev/attempt"] == str(attempt)
            if told and mine:
                status["report"] = snapshots.report("cancelled", attempt)
                world._touch()
                world._end(pod, 0)
        world.the_kubelet_ends_what_is_deleted()
        world.terminal_pods_that_are_deleted_go()
        world.the_job_controller_counts()
        if "deletionTimestamp" not in world.operation["metadata"]:
            world._look("one")


def possible(world: World, phase: str, event: str) -> bool:
    """Whether an event can meet a run in this phase at all."""
    if event in NEED_A_TRAINER and not world._running():
        return False
    if event == "node loss":
        return bool(world._on_a_node())
    if event == "resume":
        return bool(world.operation["spec"].get("suspend"))
    return event != "stall" or phase == "Running"  # what is being stopped is not judged


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("phase", PHASES)
def test_what_comes_out(phase, event):
    world = PHASES[phase]()
    reached = world._phase()
    assert reached == phase or (phase == "final" and reached == "Succeeded")
    if not possible(world, phase, event):
        assert CELLS[phase, event] == NOWHERE
        return
    EVENTS[event](world)
    if event == "delete":
        before = dict(world.operation["status"])
        world._look("one")
        assert world.operation["status"] == before, "nothing is written any more"
        assert CELLS[phase, event] == "gone"
        return
    if event != "API outage":  # during one, no look comes to a decision
        world._look("one")
    first = world._phase()
    settle(world)
    last = world._phase()
    assert not world._living() or last in GOING_ON
    outcome = first if first == last else f"{first} → {last}"
    if phase == "final":
        outcome = outcome.replace("Succeeded", "unchanged")
    assert CELLS[phase, event] == outcome


def test_the_page_has_every_cell_and_no_other():
    assert set(CELLS) == {(phase, event) for phase in PHASES for event in EVENTS}


def test_the_tests_that_the_page_names_are_there():
    named = re.findall(r"`(tests/[^`:]+\.py)", PAGE.read_text())
    assert len(named) > 20
    assert [name for name in named if not (PAGE.parents[1] / name).exists()] == []
