"""Following a run of a cluster: whose silence it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from headway.client_errors import Forbidden, Unreachable
from headway_cli import cluster_feed
from headway_cli.cluster_feed import ClusterFeed
from headway_cli.following import Seen, Trouble
from headway_cli.options import Where
from headway_cli.view.live import Footer, LiveView
from headway_cli.view.tracking import STALE_AFTER, Tracker
from shown import NOON, raw_run, training_progress
from waiting import eventually


class Quiet:
    """A client whose watch says one thing and then nothing, and a server that answers so."""

    server = "https://c"

    def __init__(self, answers: list[Exception | None]) -> None:
        self.api = self
        self._answers = answers

    def watch(self, name: str, *, on_trouble: Any) -> Any:
        yield raw_run("Running")
        threading.Event().wait()

    def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        return {}


def test_a_server_that_is_silent_is_told_and_so_is_that_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_feed, "_QUIET", 0.0)
    client: Any = Quiet([Unreachable("no answer"), Forbidden("you may not")])
    feed = ClusterFeed(client, "run", Where())
    events = []

    def told() -> bool:
        if (event := feed.next(0.01)) is not None:
            events.append(event)
        return len(events) >= 3

    eventually(told, within=30, why="the feed tells of the server")
    assert isinstance(events[0], Seen)
    assert isinstance(events[1], Trouble)
    assert "https://c does not answer; the run goes on" in events[1].text
    assert events[2] == Trouble("")


def test_a_trainer_is_not_called_silent_while_the_cluster_cannot_be_heard(run, terminal) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=training_progress(1, 1)), 0.0)
    view = tracker.view(STALE_AFTER + 5, NOON)
    for trouble in ("", "https://c does not answer"):
        screen = terminal(80)
        screen.console.print(LiveView(view, Footer(trouble=trouble)))
        assert ("the trainer is silent" in "\n".join(screen.lines())) is (not trouble)
