"""What a pod needs next, decided from what its containers have done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from headway_cluster.node.lifecycle import Backoff, Past, crashes_after, plan
from headway_cluster.node.pods import parse
from headway_cluster.node.runs import Exit
from podspecs import a_container, a_pod

NOW = 1000.0
BACKOFF = Backoff(10.0, 300.0)


def ended(code: int, at: float = NOW - 1, *, number: int = 0, crashes: int = 1) -> Past:
    end = Exit(code, None, oom=False, error=None, time=at)
    return Past(number=number, started=at - 1, exit=end, crashes=crashes)


NEVER = Past()
RUNNING = Past(number=0, started=NOW - 5, passed_startup=True, ready=True)
STARTING = Past(number=0)

ONE = a_pod(a_container("a"), restartPolicy="Never")
TWO = a_pod(a_container("a"), a_container("b"), restartPolicy="Never")
ALWAYS = a_pod(a_container("a"))
ON_FAILURE = a_pod(a_container("a"), restartPolicy="OnFailure")
INIT = a_pod(a_container("a"), init=(a_container("i"), a_container("j")), restartPolicy="Never")
SIDECAR = a_pod(
    a_container("a"),
    init=(a_container("s", restartPolicy="Always"), a_container("i")),
    restartPolicy="Never",
)

CASES = {
    "a new pod starts all its containers": (TWO, [NEVER, NEVER], ["a", "b"], [], False),
    "what starts is not started twice": (ONE, [STARTING], [], [], False),
    "what runs is left alone": (ONE, [RUNNING], [], [], False),
    "a container that must not restart is over when it ends": (ONE, [ended(1)], [], [], True),
    "one of two has ended: the other goes on": (TWO, [ended(0), RUNNING], [], [], False),
    "success needs no restart on failure": (ON_FAILURE, [ended(0)], [], [], True),
    "a failure restarts at once the first time": (ON_FAILURE, [ended(1)], ["a"], [], False),
    "always means also after success": (ALWAYS, [ended(0)], ["a"], [], False),
    "the second crash in a row waits": (ALWAYS, [ended(1, crashes=2)], [], [], False),
    "and is over after ten seconds": (ALWAYS, [ended(1, NOW - 10, crashes=2)], ["a"], [], False),
    "the third waits twice as long": (ALWAYS, [ended(1, NOW - 19, crashes=3)], [], [], False),
    "init containers come first, one at a time": (INIT, [NEVER, NEVER, NEVER], ["i"], [], False),
    "the second after the first": (INIT, [ended(0), NEVER, NEVER], ["j"], [], False),
    "not while the first runs": (INIT, [RUNNING, NEVER, NEVER], [], [], False),
    "main containers after the last": (INIT, [ended(0), ended(0), NEVER], ["a"], [], False),
    "a failed init container ends the pod": (INIT, [ended(1), NEVER, NEVER], [], [], True),
    "init containers do not run again while main ones do": (
        INIT,
        [NEVER, NEVER, RUNNING],
        [],
        [],
        False,
    ),
    "a sidecar must have started": (SIDECAR, [STARTING, NEVER, NEVER], [], [], False),
    "then the next init container": (SIDECAR, [RUNNING, NEVER, NEVER], ["i"], [], False),
    "a sidecar that ends is started again beside main": (
        SIDECAR,
        [ended(0), ended(0), RUNNING],
        ["s"],
        [],
        False,
    ),
    "sidecars are stopped after the last main container": (
        SIDECAR,
        [RUNNING, ended(0), ended(0)],
        [],
        ["s"],
        False,
    ),
    "a failed init container stops the sidecar": (
        SIDECAR,
        [RUNNING, ended(1), NEVER],
        [],
        ["s"],
        False,
    ),
}


def decided(raw, pasts, *, stopping=False):
    pod = parse(raw)
    by_name = {one.name: past for one, past in zip(pod.containers, pasts, strict=True)}
    return plan(pod, by_name, NOW, BACKOFF, stopping=stopping)


@pytest.mark.parametrize("case", CASES)
def test_what_comes_next(case):
    raw, pasts, starts, stops, over = CASES[case]
    found = decided(raw, pasts)
    assert [one.name for one in found.start] == starts
    assert [one.name for one in found.stop] == stops
    assert found.over is over


def test_a_pod_that_is_to_end_starts_nothing_and_stops_what_runs():
    found = decided(TWO, [RUNNING, NEVER], stopping=True)
    assert [one.name for one in found.stop] == ["a"]
    assert not found.start
    assert not found.over
    assert decided(TWO, [ended(143), NEVER], stopping=True).over


def test_sidecars_are_stopped_last_and_in_reverse():
    raw = a_pod(
        a_container("a"),
        init=(a_container("s", restartPolicy="Always"), a_container("t", restartPolicy="Always")),
    )
    assert [one.name for one in decided(raw, [RUNNING] * 3, stopping=True).stop] == ["a"]
    later = decided(raw, [RUNNING, RUNNING, ended(0)], stopping=True)
    assert [one.name for one in later.stop] == ["t"]


def test_the_wait_ends_at_a_known_time():
    found = decided(ALWAYS, [ended(1, NOW - 3, crashes=2)])
    assert found.wake_at == NOW + 7


def test_a_clock_that_is_set_back_makes_nothing_wait_for_the_old_time():
    found = decided(ALWAYS, [ended(1, NOW + 3600, crashes=5)])
    assert [one.name for one in found.start] == ["a"]
    assert found.wake_at is None


def test_the_back_off_doubles_up_to_its_limit():
    assert [BACKOFF.delay(n) for n in (0, 1, 2, 3, 4, 7, 50)] == [0, 0, 10, 20, 40, 300, 300]


def test_a_long_run_makes_the_crashes_before_it_forgotten():
    short = ended(1, crashes=4)
    assert crashes_after(short) == 5
    assert short.exit is not None
    assert crashes_after(replace(short, started=short.exit.time - 600)) == 1
