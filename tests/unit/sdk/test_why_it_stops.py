"""What an operation says about stopping, and what the program is told of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from headway.api_sink import ApiSink
from headway.cancellation import CancellationToken, StopReason
from headway.identity import PodIdentity

UID = "0a1b"


class NoTransport:
    """Nothing is sent here."""


def heard(spec: dict[str, Any] | None = None, uid: str = UID, **status: Any) -> CancellationToken:
    """The token of attempt 2 after it has seen an operation."""
    token = CancellationToken()
    identity = PodIdentity("run", "team", UID, 2, "https://x", Path("/x"), Path("/x"))
    operation = {
        "metadata": {"uid": uid},
        "spec": spec or {},
        "status": {"attempt": 2, "phase": "Running", **status},
    }
    ApiSink(identity, NoTransport(), token).heed(operation)
    return token


def stop(cause: str, attempt: int = 2) -> dict[str, Any]:
    return {"stop": {"cause": cause, "attempt": attempt}}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (heard(), None),
        (heard({"cancel": True}), StopReason.CANCELLED),
        (heard({"suspend": True}), StopReason.SUSPENDED),
        (heard({"suspend": False}), None),
        (heard({"cancel": True, "suspend": True}), StopReason.CANCELLED),
        (heard(**stop("Suspend")), StopReason.SUSPENDED),
        (heard(**stop("DeadlineExceeded")), StopReason.DEADLINE),
        (heard(**stop("ProgressDeadlineExceeded")), StopReason.STALLED),
        (heard(**stop("Suspend", attempt=1)), None),
        (heard(**stop("OfALaterVersion")), None),
        (heard(attempt=3), StopReason.FENCED),
        (heard(phase="Failed"), StopReason.FENCED),
        (heard(uid="another"), StopReason.DELETED),
        (heard({"suspend": True}, attempt=3), StopReason.FENCED),
    ],
)
def test_the_token_says_why(token, reason):
    assert token.reason is reason
    assert token.is_cancelled() is (reason is not None)


def test_the_reason_of_a_cancel_is_told_in_its_own_words():
    assert heard({"cancel": True, "cancelReason": "loss is NaN"}).message == "loss is NaN"
    assert heard({"cancel": True}).message == ""


@pytest.mark.parametrize(("rank", "reports"), [(None, True), ("0", True), ("2", False)])
def test_of_several_workers_the_first_reports(rank, reports):
    env = {
        "HEADWAY_OPERATION_NAME": "run",
        "HEADWAY_OPERATION_UID": UID,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        **({"RANK": rank} if rank is not None else {}),
    }
    identity = PodIdentity.from_environment(env)
    assert identity is not None
    assert identity.reports is reports


def test_whoever_waits_is_told_of_a_stop_at_once():
    token, told = CancellationToken(), []
    waiting = [threading.Thread(target=lambda: told.append(token.wait(60))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert token.wait(0.01) is False
    assert token.noticed is None
    assert token.cancel(StopReason.DEADLINE) is True
    assert token.cancel() is False
    for thread in waiting:
        thread.join(20)
    assert told == [True, True, True]
    assert token.wait(0)
    assert token.wait(-1)
    assert token.reason is StopReason.DEADLINE


@pytest.mark.slow
def test_a_signal_handler_may_cancel_what_it_interrupts_a_wait_for():
    code = """
        import random, signal
        from headway.cancellation import CancellationToken

        for _ in range(4000):
            token = CancellationToken()
            signal.signal(signal.SIGALRM, lambda *_: token.cancel())
            signal.setitimer(signal.ITIMER_REAL, 0.0003 * (1 + random.random()))
            while not token.wait(0.0):
                pass
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
