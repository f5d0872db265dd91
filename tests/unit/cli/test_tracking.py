"""Following a run over time: pace, time to go, and honest silence."""

from __future__ import annotations

from datetime import timedelta

from headway_cli.view.tracking import PACE_WINDOW, STALE_AFTER, Tracker
from shown import NOON, Run, training_progress


def at(epoch: int, batch: int, sequence: int, when: float) -> dict[str, object]:
    return training_progress(epoch, batch, sequence=sequence, at=when)


def test_before_anything_is_seen_there_is_nothing_to_show() -> None:
    assert Tracker(0.0).view(1.0, NOON) is None


def test_a_pace_needs_two_updates_and_so_does_an_eta(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=at(1, 100, 1, 10)), 0.0)
    view = tracker.view(0.0, NOON)
    assert view is not None
    assert (view.rate, view.eta_seconds) == (None, None)
    tracker.see(run(progress=at(1, 200, 2, 20)), 10.0)
    view = tracker.view(10.0, NOON)
    assert view is not None
    assert view.rate == "10.0 batches/s"
    # 10,000 batches in all, 200 done, 10 a second.
    assert view.eta_seconds == 980.0


def test_the_pace_is_measured_on_the_trainers_clock(run: Run) -> None:
    """Updates that arrive late and bunched do not look fast."""
    tracker = Tracker(0.0)
    for sequence in range(1, 5):
        tracker.see(run(progress=at(1, 100 * sequence, sequence, 10.0 * sequence)), 50.0)
    view = tracker.view(50.0, NOON)
    assert view is not None
    assert view.rate == "10.0 batches/s"


def test_a_pace_forgets_what_is_long_ago(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=at(1, 0, 1, 0)), 0.0)
    tracker.see(run(progress=at(1, 10, 2, 1000)), 1.0)
    for index in range(1, 10):
        when = 1000 + index * PACE_WINDOW / 5
        tracker.see(run(progress=at(1, 10 + 12 * index, 2 + index, when)), 1.0 + index)
    view = tracker.view(20.0, NOON)
    assert view is not None
    assert view.rate == "1.0 batches/s"


def test_the_trainers_own_estimate_wins_and_is_counted_down(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress={**at(1, 1, 1, 1), "etaSeconds": 100.0}), 5.0)
    view = tracker.view(8.0, NOON)
    assert view is not None
    assert view.eta_seconds == 97.0


def test_no_eta_while_it_is_cancelling(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run("Cancelling", progress={**at(1, 1, 1, 1), "etaSeconds": 100.0}), 0.0)
    view = tracker.view(0.0, NOON)
    assert view is not None
    assert view.eta_seconds is None


def test_what_was_there_when_the_view_opened_is_not_called_an_update(run: Run) -> None:
    tracker = Tracker(100.0)
    tracker.see(run(progress=at(1, 1, 1, 1)), 101.0)
    view = tracker.view(110.0, NOON)
    assert view is not None
    assert not view.heard
    assert view.quiet_seconds == 10.0
    tracker.see(run(progress=at(1, 2, 2, 2)), 111.0)
    view = tracker.view(115.0, NOON)
    assert view is not None
    assert view.heard
    assert view.quiet_seconds == 4.0


def test_a_heartbeat_is_a_sign_of_life_although_nothing_moved(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=at(1, 1, 1, 1)), 0.0)
    beat = at(1, 1, 2, 1) | {"heartbeat": (NOON + timedelta(seconds=31)).isoformat()}
    tracker.see(run(progress=beat), 30.0)
    view = tracker.view(32.0, NOON)
    assert view is not None
    assert view.quiet_seconds == 2.0


def test_silence_longer_than_a_heartbeat_is_stale_and_hides_pace_and_eta(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=at(1, 100, 1, 10)), 0.0)
    tracker.see(run(progress=at(1, 200, 2, 20)), 10.0)
    fresh = tracker.view(10.0 + STALE_AFTER - 1, NOON)
    assert fresh is not None
    assert not fresh.stale
    view = tracker.view(10.0 + STALE_AFTER + 1, NOON)
    assert view is not None
    assert view.stale
    assert (view.rate, view.eta_seconds) == (None, None)


def test_another_attempt_starts_its_pace_anew(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run(progress=at(3, 1, 1, 10)), 0.0)
    tracker.see(run(progress=at(3, 400, 2, 20)), 1.0)
    tracker.see(run(progress=at(1, 5, 3, 30) | {"attempt": 2}), 2.0)
    view = tracker.view(3.0, NOON)
    assert view is not None
    assert view.rate is None


def test_an_attempt_that_has_said_nothing_yet_is_not_told_in_the_words_of_the_last(
    run: Run,
) -> None:
    tracker = Tracker(0.0)
    left = {**at(20, 500, 1, 10), "etaSeconds": 0.0}
    tracker.see(run(progress=left), 0.0)
    tracker.see(run(attempt=2, progress=left), 400.0)
    view = tracker.view(401.0, NOON)
    assert view is not None
    assert (view.activity, view.eta_seconds, view.stale) == ("", None, False)
    tracker.see(run(attempt=2, progress=at(1, 1, 2, 410) | {"attempt": 2}), 410.0)
    view = tracker.view(411.0, NOON)
    assert view is not None
    assert view.activity.endswith("[epoch 1/20] (batch 1/500)")
    assert view.quiet_seconds == 1.0


def test_a_run_that_is_over_is_not_silent(run: Run) -> None:
    tracker = Tracker(0.0)
    tracker.see(run("Succeeded", progress=at(20, 500, 1, 10)), 0.0)
    view = tracker.view(1000.0, NOON)
    assert view is not None
    assert view.quiet_seconds is None
    assert not view.stale
