"""What watches over the histories of ``make chaos`` sees a broken promise when there is one."""

from __future__ import annotations

import pytest
from scripted_nodes import Cluster, End
from watcher import Watcher

UID = "u1"
CRASHED = End(3, "failed", "told")
WELL = End(0, "success", "told")
ENDED = {"completionTime": "2026-01-02T03:00:00Z"}
RECEIPT = {
    "requestedAt": "2026-01-02T03:00:00Z",
    "deadline": "2026-01-02T03:00:30Z",
    "podsGoneAt": "2026-01-02T03:00:09Z",
    "outcome": "Graceful",
}


class Still(Cluster):
    """Nodes on which nothing happens, and a queue that holds every Job."""

    def __init__(self, alive=()):
        super().__init__(None, "chaos", ())
        self.alive = alive

    def living(self, operation):
        return [
            {
                "metadata": {
                    "name": "pod",
                    "labels": {"headway.dev/operation-uid": UID, "headway.dev/attempt": str(n)},
                }
            }
            for n in self.alive
        ]

    def held(self, operation):
        return [{}]


def version(spec=None, **status):
    spec = {"retryPolicy": {"limit": 1}, **(spec or {})}
    return {"metadata": {"name": "run", "uid": UID}, "spec": spec, "status": status}


def over(phase, **more):
    """A status of a run that is over after its first attempt."""
    result = {"reason": more.pop("reason", "Completed"), "exitCode": more.pop("code", 0)}
    return {"phase": phase, "attempt": 1, "result": result, **ENDED, **more}


def seen(*versions, ends=(), alive=(), began=(), gapless=True):
    """What is noted of these versions of a run, one after the other."""
    cluster = Still(alive)
    cluster.ends[UID, 1] = list(ends)
    cluster.began.update(began)
    watcher = Watcher(cluster)
    for one in versions:
        watcher._see(one, gapless=gapless)
    return cluster.violations


def attempts(*reasons):
    """Entries of attempts that ended for these reasons."""
    return [{"number": n, "reason": r, "exitCode": 3} for n, r in enumerate(reasons, 1)]


CANCEL = {"cancel": True}
STARTING = {"phase": "Starting", "attempt": 1}
RETRYING = {"phase": "Retrying", "attempt": 1, "retries": 1, "attempts": attempts("Error")}


@pytest.mark.parametrize(
    ("versions", "more"),
    [
        pytest.param(
            [version(), version(**STARTING), version(**over("Succeeded"))], {"ends": [WELL]}
        ),
        pytest.param([version(**STARTING), version(**RETRYING)], {"ends": [CRASHED]}),
        pytest.param([version(CANCEL, **over("Cancelled", cancellation=RECEIPT))], {}),
        pytest.param([version({"suspend": True}, phase="Suspended", attempt=1)], {"alive": [2]}),
        pytest.param(
            [version(**RETRYING), version(CANCEL, **{**STARTING, "attempt": 2, "retries": 1})],
            {"gapless": False, "ends": [CRASHED]},
        ),
    ],
    ids=["success", "retry", "cancel", "resumed at once", "cancelled in a gap of the watch"],
)
def test_a_history_that_keeps_the_promises_is_not_complained_of(versions, more):
    assert seen(*versions, **more) == []


@pytest.mark.parametrize(
    ("versions", "more", "told"),
    [
        pytest.param(
            [version(**over("Succeeded")), version(**over("Failed", reason="Error", code=3))],
            {"ends": [WELL, CRASHED]},
            "a final phase changed",
        ),
        pytest.param(
            [version(**over("Succeeded")), version(**over("Succeeded", code=1))],
            {"ends": [WELL]},
            "its result changed",
        ),
        pytest.param([version(**over("Succeeded"))], {"ends": [CRASHED]}, "its trainer has not"),
        pytest.param(
            [version(**over("Succeeded"))],
            {"ends": [End(0, "cancelled", "asked")]},
            "its trainer has not",
        ),
        pytest.param(
            [version(phase="Cancelling"), version(phase="Retrying")], {}, "its cancel was lost"
        ),
        pytest.param(
            [version(**over("Cancelled", cancellation=RECEIPT))], {}, "nobody had asked for it"
        ),
        pytest.param(
            [version(CANCEL, **over("Cancelled", cancellation=RECEIPT))],
            {"alive": [1]},
            "it is Cancelled, and a pod lives",
        ),
        pytest.param(
            [version(CANCEL, **over("Cancelled", cancellation={**RECEIPT, "outcome": "Forced"}))],
            {},
            "killed within its grace period",
        ),
        pytest.param(
            [
                version(
                    CANCEL, **over("Cancelled", cancellation={**RECEIPT, "outcome": "BeforeStart"})
                )
            ],
            {"began": [UID]},
            "before its start, and a trainer ran",
        ),
        pytest.param(
            [version(CANCEL, **over("Cancelled", cancellation={}))], {}, "its receipt lacks"
        ),
        pytest.param([version(phase="Suspended")], {}, "it is Suspended, and nobody"),
        pytest.param([version(phase="Queued", attempt=1)], {"alive": [1]}, "Queued, and a pod"),
        pytest.param(
            [version(**over("Failed", reason="InvalidPod"))], {}, "for a reason that there was not"
        ),
        pytest.param(
            [version(**over("Failed", reason="DeadlineExceeded"))], {}, "no activeDeadlineSeconds"
        ),
        pytest.param([version(**RETRYING)], {}, "attempt 1 is said to have failed"),
        pytest.param(
            [version(**{**RETRYING, "attempts": attempts("Disrupted")})], {}, "1 retries, and 0"
        ),
        pytest.param([version(phase="Running", retries=2)], {}, "more retries than it has"),
        pytest.param(
            [version(**RETRYING), version(CANCEL, **{**STARTING, "attempt": 2, "retries": 1})],
            {"ends": [CRASHED]},
            "spec.cancel was set",
        ),
        pytest.param([version(attempt=2), version(attempt=1)], {}, "its attempt fell"),
        pytest.param(
            [
                version(attempt=1, progress={"attempt": 1, "sequence": 9}),
                version(attempt=1, progress={"attempt": 1, "sequence": 8}),
            ],
            {},
            "its progress went back",
        ),
        pytest.param(
            [version(attempt=1, report={"attempt": 1}), version(attempt=1)], {}, "report was lost"
        ),
        pytest.param([version(message="x" * 33_000)], {}, "too large"),
    ],
)
def test_a_broken_promise_is_seen(versions, more, told):
    found = seen(*versions, **more)
    assert any(told in one for one in found), found
