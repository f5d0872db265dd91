"""``headway logs``: which pod speaks, and what happens while one waits for more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from headway.client_errors import Invalid, Unreachable
from headway_cli.commands import logs
from headway_cli.options import Where
from headway_cli.problems import Problem
from shown import raw_run, stamp

LEFT = {"pod": "p", "container": "trainer", "text": "one\ntwo\nthree\n"}


def pod(name: str, attempt: int = 1, rank: int | None = None, phase: str = "Running") -> Any:
    labels = {"headway.dev/attempt": str(attempt)}
    if rank is not None:
        labels["batch.kubernetes.io/job-completion-index"] = str(rank)
    return {"metadata": {"name": name, "labels": labels}, "status": {"phase": phase}}


class Cluster:
    """A client whose answers come one after the other; an error among them is raised."""

    def __init__(self, runs: list[Any], pods: list[Any], streams: dict[str, list[Any]]) -> None:
        self._runs, self._pods, self._streams = runs, pods, streams

    def get(self, name: str) -> dict[str, Any]:
        answer = self._runs.pop(0) if len(self._runs) > 1 else self._runs[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pods(self, name: str) -> list[Any]:
        return self._pods

    def log(
        self, pod: str, *, tail: int | None, timestamps: bool, follow: bool = False
    ) -> Iterator[str]:
        for line in self._streams[pod].pop(0):
            if isinstance(line, Exception):
                raise line
            yield line


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL", 0)


def followed(*args: Any, tail: int | None = None) -> list[str]:
    cluster: Any = Cluster(*args)
    return list(logs._Following(cluster, "run", Where()).lines(tail, timestamps=False))


def test_rank_0_of_the_newest_attempt_speaks() -> None:
    pods = [pod("b-2", 2, 2), pod("a-1", 1, 1), pod("b-10", 2, 10), pod("b-0", 2, 0)]
    pods = logs.in_order(pods)
    assert [p["metadata"]["name"] for p in pods] == ["a-1", "b-0", "b-2", "b-10"]
    assert logs.speaker(pods) == "b-0"


def test_an_outage_is_waited_out_and_nothing_is_printed_twice(capsys) -> None:
    away = Unreachable("https://c does not answer.")
    running, over = raw_run("Running"), raw_run("Succeeded")
    lines = followed(
        [running, away, away, running, over],
        [pod("p", phase="Succeeded")],
        {"p": [["1", "2", away], ["1", "2", "3"]]},
    )
    assert lines == ["1", "2", "3"]
    assert capsys.readouterr().err.count("does not answer. It is tried again.") == 1


def test_a_cluster_that_never_answered_is_an_error_at_once() -> None:
    with pytest.raises(Unreachable):
        followed([Unreachable("no")], [], {})


def test_what_is_waited_for_is_told_once(capsys) -> None:
    waiting = raw_run("Starting", reason="Pulling", message="it pulls the image", startTime=None)
    over = raw_run("Succeeded")
    streams = {"p": [[Invalid("not yet")], [Invalid("not yet")], ["1"]]}
    assert followed([waiting, waiting, over], [pod("p", phase="Succeeded")], streams) == ["1"]
    assert capsys.readouterr().err == "run is Starting: it pulls the image\n"


def test_the_pods_of_later_attempts_are_named(capsys) -> None:
    streams = {"a": [["1"]], "b": [["2"]]}
    pods = [pod("b", 2, phase="Succeeded"), pod("a", 1, phase="Failed")]
    assert followed([raw_run("Succeeded")], pods, streams) == ["1", "2"]
    assert capsys.readouterr().err == "Pod b:\n"


@pytest.mark.parametrize(
    ("tail", "lines"),
    [
        (None, ["one", "two", "three"]),
        (2, ["two", "three"]),
        (0, []),
        (9, ["one", "two", "three"]),
    ],
)
def test_a_run_whose_pods_are_gone_has_left_its_last_lines(tail, lines) -> None:
    over = raw_run("Failed", lastLogs=LEFT, completionTime=stamp(9))
    assert followed([over], [], {}, tail=tail) == lines


def test_a_run_that_left_nothing_is_no_silent_one() -> None:
    with pytest.raises(Problem, match="its log went with it"):
        followed([raw_run("Succeeded", completionTime=stamp(9))], [], {})
    with pytest.raises(Problem, match="train-mlp never ran: there is no log"):
        followed([raw_run("Cancelled", startTime=None)], [], {})
    with pytest.raises(Problem, match="train-mlp never ran: there is no log"):
        followed([raw_run("Failed", startTime=None)], [pod("p", phase="Failed")], {"p": [[]]})


@pytest.mark.parametrize(
    ("phase", "told", "then"),
    [
        ("Starting", "train-mlp has no log yet: it is Starting.", "headway logs train-mlp -f"),
        ("Failed", "train-mlp has no log: it is Failed.", "headway get train-mlp"),
    ],
)
def test_what_never_began_has_a_log_to_wait_for_only_while_it_may_begin(phase, told, then) -> None:
    cluster: Any = Cluster([raw_run(phase, startTime=None)], [pod("p")], {"p": [[]]})
    with pytest.raises(Problem) as raised:
        list(logs._standing(cluster, "train-mlp", None, timestamps=False, where=Where()))
    assert (raised.value.what, raised.value.todo) == (told, (then,))
