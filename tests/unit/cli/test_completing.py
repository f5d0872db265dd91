"""Names that Tab offers."""

from __future__ import annotations

from typing import Any

import pytest
from headway_cli.completing import offered


def operation(name: str, phase: str | None, **spec: Any) -> dict[str, Any]:
    status = {"phase": phase} if phase else {}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


THERE = [
    operation("new", None),
    operation("runs", "Running"),
    operation("stops", "Cancelling", cancel=True),
    operation("rests", "Suspended", suspend=True),
    operation("over", "Failed"),
    operation("over-too", "Succeeded", suspend=True),
]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("get", ["new", "runs", "stops", "rests", "over", "over-too"]),
        ("delete", ["new", "runs", "stops", "rests", "over", "over-too"]),
        ("cancel", ["new", "runs", "rests"]),
        ("suspend", ["new", "runs"]),
        ("resume", ["rests"]),
        ("retry", ["over", "over-too"]),
    ],
)
def test_a_command_is_offered_what_it_can_do_something_with(command: str, names: list[str]) -> None:
    assert [name for name, _ in offered(command, THERE, "")] == names


def test_names_begin_as_typed_and_come_once_each_with_the_phase() -> None:
    assert offered("get", THERE, "over") == [("over", "Failed"), ("over-too", "Succeeded")]
    assert offered("get", THERE, "over", given=["over"]) == [("over-too", "Succeeded")]
    assert offered("get", THERE, "n") == [("new", "Pending")]
