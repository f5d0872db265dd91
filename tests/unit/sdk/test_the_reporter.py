"""The reporter with a sink that the test holds in its hand: who waits for whom, what is kept."""

import threading
import time
from collections import deque

import pytest
from headway.delivery import Delivery, Outcome
from headway.document import Document, Writer
from headway.pace import Pace
from headway.progress_state import ProgressState
from headway.reporter import Reporter
from waiting import eventually

QUICK = 0.02


class Script:
    """A sink that answers as told, and delivers by default."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = deque(answers)
        self.taken: list[Document] = []
        self.closed = threading.Event()

    def deliver(self, document: Document) -> Delivery:
        outcome = self.answers.popleft() if self.answers else Outcome.DELIVERED
        self.taken.append(document)
        return Delivery(outcome)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def state():
    return ProgressState()


def reporter(state, sink, **pace) -> Reporter:
    made = Reporter(
        Writer(state, lambda _: "line"),
        sink,
        Pace(time.monotonic(), **{"fast": QUICK, "slow": QUICK, **pace}),
    )
    made.start()
    return made


def test_progress_is_delivered_and_the_latest_wins(state):
    sink = Script()
    reporting = reporter(state, sink)
    for step in range(1000):
        state.put(step, 1000)
    eventually(lambda: sink.taken and sink.taken[-1].progress["step"] == 999, within=30, why="last")
    assert len(sink.taken) < 1000
    assert reporting.close({"status": "success"}, 5)


def test_the_final_report_is_delivered_with_the_last_progress(state):
    sink = Script()
    reporting = reporter(state, sink, fast=60, slow=60)
    state.put(1, 2)
    eventually(lambda: sink.taken, within=30, why="the first")
    state.put(2, 2)
    assert reporting.close({"status": "success"}, 5)
    assert sink.taken[-1].report == {"status": "success"}
    assert sink.taken[-1].progress["step"] == 2
    assert sink.closed.is_set()


def test_an_epoch_end_that_could_not_be_delivered_is_in_the_next_document(state):
    sink = Script(Outcome.RETRY)
    reporting = reporter(state, sink)
    state.put(1, 10)
    state.end_epoch(1, {"loss": 0.5})
    eventually(lambda: len(sink.taken) >= 2, within=30, why="another try")
    assert reporting.close({"status": "success"}, 5)
    told = [d.history for d in sink.taken[1:] if d.history]
    assert told
    assert told[0][0]["step"] == 1


def test_history_is_sent_only_when_it_changed(state):
    sink = Script()
    reporting = reporter(state, sink)
    state.put(1, 10)
    state.end_epoch(1, None)
    eventually(lambda: any(d.history for d in sink.taken), within=30, why="the history")
    before = len(sink.taken)
    state.put(2, 10)
    eventually(lambda: len(sink.taken) > before, within=30, why="more progress")
    assert sink.taken[-1].history is None
    reporting.close({"status": "success"}, 5)


def test_a_document_that_is_refused_is_made_plainer_until_it_passes(state):
    sink = Script(Outcome.INVALID, Outcome.INVALID)
    reporting = reporter(state, sink)
    state.put(1, 10, "text", {"fold": 3}, {"loss": 1.0})
    eventually(lambda: len(sink.taken) >= 3, within=30, why="a plainer one")
    assert "context" in sink.taken[0].progress
    assert "context" not in sink.taken[1].progress
    assert "metrics" not in sink.taken[2].progress
    assert sink.taken[2].progress["step"] == 1
    reporting.close({"status": "success"}, 5)


def test_a_reporter_goes_on_from_what_another_process_of_the_pod_said(state):
    class Shared(Script):
        held = 41

        def deliver(self, document: Document) -> Delivery:
            super().deliver(document)
            if document.progress["sequence"] <= self.held:
                return Delivery(Outcome.RETRY, held=self.held)
            return Delivery(Outcome.DELIVERED)

    sink = Shared()
    reporting = reporter(state, sink)
    state.put(1, 10)
    assert reporting.close({"status": "success"}, 5)
    assert [d.progress["sequence"] for d in sink.taken][-1] == 42
    assert sink.taken[-1].report == {"status": "success"}


def test_a_fenced_reporter_says_no_more(state):
    sink = Script(Outcome.OVER)
    reporting = reporter(state, sink)
    state.put(1, 10)
    eventually(lambda: sink.taken, within=30, why="the first")
    state.put(2, 10)
    reporting.close({"status": "success"}, 5)
    assert len(sink.taken) == 1


def test_a_server_that_never_answers_does_not_keep_the_program_from_ending(state):
    sink = Script(*[Outcome.RETRY] * 1000)
    reporting = reporter(state, sink)
    state.put(1, 10)
    assert not reporting.close({"status": "success"}, 0.5)
    assert sink.closed.is_set()


def test_a_sink_that_raises_does_not_end_the_reporter(state):
    class Broken(Script):
        def deliver(self, document: Document) -> Delivery:
            if not self.taken:
                self.taken.append(document)
                raise RuntimeError("a defect")
            return super().deliver(document)

    sink = Broken()
    reporting = reporter(state, sink)
    state.put(1, 10)
    eventually(lambda: sink.taken, within=30, why="the first")
    reporting.close({"status": "success"}, 5)


def test_a_silent_program_has_a_heartbeat(state):
    sink = Script()
    reporting = reporter(state, sink, heartbeat=QUICK)
    eventually(lambda: len(sink.taken) >= 3, within=30, why="three heartbeats")
    sequences = [d.progress["sequence"] for d in sink.taken]
    assert sequences == sorted(set(sequences))
    reporting.close({"status": "success"}, 5)


def test_what_was_left_out_of_a_refused_document_is_told_later(state):
    sink = Script(Outcome.INVALID, Outcome.INVALID)
    reporting = reporter(state, sink)
    state.put(1, 10, "text", {"fold": 3})
    state.end_epoch(1, {"loss": 0.5})
    eventually(lambda: len(sink.taken) >= 3, within=30, why="a plainer one")
    assert sink.taken[2].history is None
    state.put(2, 10, "text", {"fold": 4})
    state.end_epoch(2, {"loss": 0.4})

    def whole() -> bool:
        last = sink.taken[-1]
        told = [p["step"] for p in last.history or ()]
        return (told, last.progress.get("context")) == ([1, 2], {"fold": 4})

    eventually(whole, within=30, why="the history, and the context again")
    assert reporting.close({"status": "success", "attempt": 1}, 5)


def test_a_report_that_is_refused_is_told_in_its_plainest_form(state):
    class Picky(Script):
        def deliver(self, document: Document) -> Delivery:
            super().deliver(document)
            plain = document.report is None or set(document.report) == {"attempt", "status"}
            return Delivery(Outcome.DELIVERED if plain else Outcome.INVALID)

    sink = Picky()
    reporting = reporter(state, sink)
    state.put(1, 10)
    assert reporting.close({"status": "success", "attempt": 1, "summary": {"odd": 1}}, 5)
    assert sink.taken[-1].report == {"status": "success", "attempt": 1}


def test_a_renderer_that_raises_costs_its_words_only():
    state, sink = ProgressState(), Script()

    def render(_):
        raise KeyError("current_epoch")

    reporting = Reporter(Writer(state, render), sink, Pace(time.monotonic(), fast=QUICK))
    reporting.start()
    state.put(1, 10, None, {"current_epoch": 1})
    assert reporting.close({"status": "success"}, 5)
    assert sink.taken[-1].progress["message"] == "Operation [epoch 1]"


def test_nothing_is_sent_before_it_is_known_what_the_server_holds(state):
    sink, answers = Script(), deque([False, True])
    reporting = Reporter(
        Writer(state, str), sink, Pace(time.monotonic(), fast=QUICK), prepare=answers.popleft
    )
    reporting.start()
    state.put(1, 10)
    eventually(lambda: sink.taken, within=10, why="the first document")
    assert not answers
    reporting.close({"status": "success"}, 5)


def test_a_checkpoint_is_told_with_the_next_progress_and_ends_nothing(state):
    sink = Script()
    reporting = reporter(state, sink)
    state.put(1, 10)
    eventually(lambda: sink.taken, within=30, why="the first")
    assert sink.taken[0].report is None
    state.note_checkpoint({"path": "u/a1/000001"})
    state.put(2, 10)
    told = {"attempt": 1, "checkpoint": {"path": "u/a1/000001"}}
    eventually(lambda: sink.taken[-1].report == told, within=30, why="the checkpoint is told")
    state.put(3, 10)
    eventually(lambda: sink.taken[-1].progress["step"] == 3, within=30, why="it goes on")
    assert sink.taken[-1].report is None
    assert reporting.close({"status": "success"}, 5)


def test_a_checkpoint_that_was_not_delivered_is_told_again(state):
    sink = Script(Outcome.RETRY)
    state.note_checkpoint({"path": "u/a1/000001"})
    state.put(1, 10)
    reporting = reporter(state, sink)
    eventually(lambda: len(sink.taken) >= 2, within=30, why="another try")
    assert sink.taken[1].report["checkpoint"] == {"path": "u/a1/000001"}
    assert reporting.close({"status": "success"}, 5)


def test_a_program_that_goes_on_although_it_is_over_is_told_to_end(state, monkeypatch):
    monkeypatch.setattr("headway.reporter._ENDS_WITHIN", 0.2)
    sink, ends = Script(*[Outcome.OVER] * 9), threading.Event()
    made = Reporter(Writer(state, lambda _: "line"), sink, overdue=ends.set)
    made.start()
    state.put(1, 2)
    state.end_epoch(1, None)  # to be woken is no reason to end it sooner
    assert ends.wait(10)
    assert made.close({"status": "cancelled"}, 5) is False


def test_the_last_words_do_not_wait_as_long_as_a_server_asks_for(state):
    class Starting(Script):
        """An API server that has just started: its roles are not there yet."""

        def deliver(self, document: Document) -> Delivery:
            super().deliver(document)
            known = len(self.taken) > 2
            return Delivery(Outcome.DELIVERED) if known else Delivery(Outcome.RETRY, wait=30.0)

    sink = Starting()
    reporting = reporter(state, sink)
    assert reporting.close({"status": "success", "attempt": 1}, 20)
    assert sink.taken[-1].report == {"status": "success", "attempt": 1}


@pytest.mark.parametrize("wish", [3600.0, float("inf")])
def test_what_a_server_asks_for_silences_a_run_for_a_minute_at_most(state, wish, monkeypatch):
    """A load balancer in maintenance says an hour, and is back after a minute."""
    monkeypatch.setattr("headway.reporter._LONGEST_WAIT", 0.1)

    class Away(Script):
        def deliver(self, document):
            done = super().deliver(document)
            return Delivery(done.outcome, wait=wish)

    sink = Away(Outcome.RETRY)
    reporting = reporter(state, sink)
    state.put(1, 10)
    eventually(lambda: len(sink.taken) >= 2, within=5, why="another try")
    assert reporting.close({"status": "success"}, 5)
