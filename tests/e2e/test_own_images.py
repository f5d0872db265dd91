"""A user's own image, with the SDK and without, under a user of its own."""

from __future__ import annotations

from kubectl import operation
from waiting import eventually

UNTIL_TOLD = (
    "trap 'echo told; sleep 1; echo gone; exit 0' TERM; echo up; while :; do sleep 0.2; done"
)


def custom(name: str, image: str, /, grace: int = 30, **inputs) -> dict:
    return operation(name, "Custom", image=image, custom=inputs, cancelGracePeriodSeconds=grace)


def test_a_script_in_its_own_image_reports_by_the_sdk(kubectl, with_the_sdk):
    kubectl.apply(custom("script", with_the_sdk, args=[]))  # the image's own command
    status = kubectl.wait_for_phase("script", "Succeeded")["status"]
    assert status["report"]["epochsCompleted"] == 3
    assert [point["step"] for point in status["history"]] == [1, 2, 3]
    [pod] = kubectl.pods_of("script")
    assert "done: y = " in kubectl("logs", pod["metadata"]["name"])


def test_a_script_in_its_own_image_is_cancelled_at_its_next_batch(kubectl, with_the_sdk):
    kubectl.apply(
        custom("script", with_the_sdk, command=["python", "fit_line.py"], args=["--epochs", "5000"])
    )
    kubectl.wait_for("script", lambda o: o.get("status", {}).get("progress"))
    kubectl.cancel("script")
    status = kubectl.wait_for_phase("script", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert status["report"]["status"] == "cancelled"
    [pod] = kubectl.pods_of("script")
    assert "stopped: y = " in kubectl("logs", pod["metadata"]["name"])


def test_an_entrypoint_gets_its_parameters(kubectl, with_the_sdk):
    run = custom(
        "entry",
        with_the_sdk,
        entrypoint="users_own:Backtest.run",
        parameters={"symbol": "IBM", "days": 4},
    )
    kubectl.apply(run)
    status = kubectl.wait_for_phase("entry", "Succeeded")["status"]
    assert status["report"]["summary"] == {"symbol": "IBM", "days": 4}
    assert status["report"]["epochsCompleted"] == 4


def test_an_image_without_the_sdk_runs_to_its_end(kubectl, without_the_sdk):
    kubectl.apply(
        custom("good", without_the_sdk, args=[]),
        custom("bad", without_the_sdk, command=["sh", "-c", "echo no data; exit 3"]),
    )
    status = kubectl.wait_for_phase("good", "Succeeded")["status"]
    assert status["result"]["exitCode"] == 0
    assert "progress" not in status
    failed = kubectl.wait_for_phase("bad", "Failed")["status"]
    assert failed["result"]["exitCode"] == 3
    assert "no data" in failed["lastLogs"]["text"]


def test_an_image_without_the_sdk_is_told_by_sigterm_with_the_whole_grace(kubectl, without_the_sdk):
    kubectl.apply(custom("loop", without_the_sdk, grace=25, command=["sh", "-c", UNTIL_TOLD]))
    kubectl.wait_for_phase("loop", "Running")
    [pod] = kubectl.pods_of("loop")
    name = pod["metadata"]["name"]
    eventually(lambda: "up" in kubectl("logs", name), within=60, why="it would notice")
    kubectl.cancel("loop")
    going = eventually(
        lambda: next(
            (p for p in kubectl.pods_of("loop") if p["metadata"].get("deletionTimestamp")), None
        ),
        within=60,
        why="its pod is told to end",
    )
    assert going["metadata"]["deletionGracePeriodSeconds"] >= 23
    status = kubectl.wait_for_phase("loop", "Cancelled")["status"]
    assert status["cancellation"]["outcome"] == "Graceful"
    assert going["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_command_that_the_image_does_not_have_is_told(kubectl, without_the_sdk):
    kubectl.apply(custom("typo", without_the_sdk, command=["pyhton", "train.py"]))
    status = kubectl.wait_for_phase("typo", "Failed")["status"]
    assert status["reason"] == "CannotStart"
    assert "pyhton" in status["message"]
    assert "startTime" not in status
