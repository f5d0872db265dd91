"""One run in detail, as ``headway get`` shows it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from headway_cli.view.details import Details
from shown import NOON, Run, Terminal, progress, stamp

PODS = [
    {
        "metadata": {"name": "train-mlp-a1-x7k2p"},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running"},
    }
]
LONG = "with many words " * 12
EVENTS = [
    {
        "reason": "Started",
        "message": f"Event {i} {LONG}",
        "lastTimestamp": stamp(i),
    }
    for i in range(9)
]


def details(run: Run, phase: str = "Running", **status: Any) -> Details:
    wall = NOON + timedelta(minutes=2)
    return Details(run(phase, **status), PODS, EVENTS, wall, flags="-n default")


@pytest.mark.parametrize("columns", [80, 200])
def test_what_belongs_to_a_run_is_shown_within_the_terminal(
    columns: int, run: Run, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal(columns)
    screen.console.print(details(run, progress=progress(step=3, totalSteps=9)))
    text = "\n".join(screen.lines())
    assert "Namespace   default" in text
    assert "Type        Training, mlp on AAPL, MSFT (+1 more) [1d]" in text
    assert "(2m ago)" in text
    assert "train-mlp-a1-x7k2p  Running on node-1" in text
    assert all(len(line) < columns for line in screen.lines())
    # The latest six, a line each.
    assert sum("Event" in line and "ago" in line for line in screen.lines()) == 6
    assert "headway watch train-mlp -n default" in text


def test_one_look_claims_no_silence(run: Run, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(80)
    screen.console.print(details(run, progress=progress()))
    text = "\n".join(screen.lines())
    assert "update" not in text
    assert "by the trainer's clock" in text


def test_what_was_just_typed_is_not_suggested(run: Run, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(80)
    screen.console.print(details(run, "Succeeded"))
    text = "\n".join(screen.lines())
    assert "headway logs train-mlp -n default" in text
    assert "headway get train-mlp" not in text


def test_a_pipe_gets_the_same_facts_in_plain_lines(run: Run) -> None:
    lines = details(run, "Failed", reason="Error", message="It broke.").lines()
    assert lines[0] == "train-mlp Failed"
    assert any(line.split() == ["Namespace", "default"] for line in lines)
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ({"existingClaim": {"claimName": "data", "subPath": "a"}}, "claim data, folder a"),
        ({"claimTemplate": {"size": "10Gi"}}, "a claim of its own, 10Gi"),
        ({"emptyDir": {}}, "gone with the pod"),
    ],
)
def test_where_the_data_lies_is_told(storage: dict[str, Any], words: str, run: Run) -> None:
    spec = {"type": "Dummy", "dummy": {}, "storage": storage}
    assert ("Workspace", words) in details(run, spec=spec).facts()
