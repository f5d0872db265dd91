"""What Ctrl-C means while a run is followed."""

from __future__ import annotations

import pytest
from headway_cli.dialog import Dialog, Wish


def test_the_first_ctrl_c_asks_and_does_nothing() -> None:
    dialog = Dialog()
    assert dialog.interrupt() is Wish.NOTHING
    assert dialog.asking
    assert "[d]etach" in dialog.question
    assert "[c]ancel" in dialog.question


def test_the_second_ctrl_c_detaches() -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.interrupt() is Wish.DETACH


@pytest.mark.parametrize("key", ["d", "D", "q", "\r", "\n"])
def test_enter_takes_the_harmless_way_out(key: str) -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.key(key) is Wish.DETACH


def test_c_cancels_once_and_n_ends_it_then() -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.key("c") is Wish.CANCEL
    dialog.interrupt()
    assert dialog.key("c") is Wish.NOTHING
    assert dialog.key("n") is Wish.CANCEL_NOW


def test_a_cancel_that_failed_can_be_asked_for_again_and_is_no_reason_to_force() -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.key("c") is Wish.CANCEL
    dialog.cancel_failed()
    dialog.interrupt()
    assert "[c]ancel" in dialog.question
    assert dialog.key("n") is Wish.NOTHING
    assert dialog.key("c") is Wish.CANCEL


def test_an_end_by_force_that_failed_leaves_a_run_that_is_stopping() -> None:
    dialog = Dialog()
    dialog.cancelling()
    dialog.interrupt()
    assert dialog.key("n") is Wish.CANCEL_NOW
    dialog.cancel_failed()
    dialog.interrupt()
    assert dialog.key("n") is Wish.CANCEL_NOW


def test_k_goes_on_watching() -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.key("k") is Wish.NOTHING
    assert not dialog.asking
    assert dialog.question == ""


@pytest.mark.parametrize("key", list("cdnq\r "))
def test_a_key_without_a_question_means_nothing(key: str) -> None:
    dialog = Dialog()
    assert dialog.key(key) is Wish.NOTHING


def test_a_key_that_was_not_offered_keeps_the_question_open() -> None:
    dialog = Dialog()
    dialog.interrupt()
    assert dialog.key("x") is Wish.NOTHING
    assert dialog.asking


def test_a_cancel_by_somebody_else_changes_what_is_offered() -> None:
    dialog = Dialog()
    dialog.cancelling()
    assert dialog.hint == "Ctrl-C: detach"
    dialog.interrupt()
    assert "[n] end it now" in dialog.question


def test_a_child_cannot_be_left_behind() -> None:
    dialog = Dialog(local=True)
    dialog.interrupt()
    assert "etach" not in dialog.question
    assert dialog.key("d") is Wish.NOTHING
    assert dialog.interrupt() is Wish.CANCEL
    dialog.interrupt()
    assert dialog.interrupt() is Wish.CANCEL_NOW


def test_every_question_fits_a_narrow_terminal() -> None:
    for local in (False, True):
        dialog = Dialog(local=local)
        dialog.interrupt()
        assert len(dialog.question) < 77
        dialog.cancelling()
        assert len(dialog.question) < 77
