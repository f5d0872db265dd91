"""Events as they came, although their times are in whole seconds."""

from __future__ import annotations

from typing import Any

from headway.client import OperationsClient


class Api:
    """Answers every list with the same events."""

    namespace = "default"

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events

    def request(self, *args: Any, **more: Any) -> dict[str, Any]:
        return {"items": self._events, "metadata": {}}


def event(reason: str, second: int, version: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "lastTimestamp": f"2026-01-02T12:00:{second:02}Z",
        "metadata": {"name": "x", "resourceVersion": version},
    }


def test_events_of_one_second_stand_in_the_order_in_which_they_were_written():
    api: Any = Api(
        [event("third", 2, "9"), event("second", 1, "1000"), event("first", 1, "999")],
    )
    told = OperationsClient(api).events("x")
    assert [e["reason"] for e in told] == ["first", "second", "third"]
