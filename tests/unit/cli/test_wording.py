"""Durations, numbers and sizes as people read them."""

from __future__ import annotations

import pytest
from headway_cli.view import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (9.9, "9s"),
        (60, "1m"),
        (192, "3m12s"),
        (3600, "1h"),
        (7500, "2h5m"),
        (356400, "4d3h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0421, "42 ms"), (1.26, "1.3 s"), (75, "1m15s"), (-1, "0 ms")]
)
def test_a_short_duration_shows_what_a_cancel_took(seconds: float, text: str) -> None:
    assert wording.fine_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.312099, "0.3121"),
        (12.5, "12.5"),
        (0.000032, "3.2e-05"),
        (123456.0, "123456"),
        (0.0, "0"),
        (1e12, "1e+12"),
    ],
)
def test_a_metric_has_four_significant_digits(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("pace", "unit", "text"),
    [
        (34.21, "batch", "34.2 batches/s"),
        (1000.4, "batch", "1000 batches/s"),
        (0.5, "batch", "2.0 s/batch"),
        (2, "epoch", "2.0 epochs/s"),
        (0.01, "epoch", "1m40s/epoch"),
    ],
)
def test_a_slow_pace_is_turned_around(pace: float, unit: str, text: str) -> None:
    assert wording.rate(pace, unit) == text


def test_one_is_singular() -> None:
    assert wording.count(1, "epoch") == "1 epoch"
    assert wording.count(2, "epoch") == "2 epochs"
    assert wording.count(3, "batch") == "3 batches"


@pytest.mark.parametrize(
    ("amount", "text"), [(812, "812 B"), (6042, "5.9 KiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes_are_binary(amount: int, text: str) -> None:
    assert wording.size(amount) == text


def test_a_text_that_is_cut_says_so() -> None:
    assert wording.shortened("one  two\nthree", 20) == "one two three"
    assert wording.shortened("one two three", 8) == "one two…"
    assert wording.shortened("one", 0) == ""


def test_a_message_that_begins_with_its_reason_says_it_once() -> None:
    assert (
        wording.reasoned("Completed", "Completed, after 3 epochs.") == "Completed, after 3 epochs."
    )
    assert wording.reasoned("OOMKilled", "It used too much.") == "OOMKilled: It used too much."
    assert wording.reasoned("", "Something.") == "Something."
    assert wording.reasoned("Error", "") == "Error"
