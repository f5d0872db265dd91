"""Sparklines: short, honest, and drawn in ASCII where that is all there is."""

from __future__ import annotations

from headway_cli.view.sparkline import ASCII, BLOCKS, sparkline
from hypothesis import given
from hypothesis import strategies as st


def test_a_falling_loss_falls() -> None:
    assert sparkline([4, 3, 2, 1], 10) == "█▆▃▁"


def test_one_value_shows_no_movement() -> None:
    assert sparkline([0.5], 10) == ""
    assert sparkline([], 10) == ""


def test_a_flat_line_does_not_look_like_zero() -> None:
    assert sparkline([2.0, 2.0, 2.0], 10) == "▅▅▅"


def test_a_value_that_was_not_a_number_is_seen() -> None:
    assert sparkline([1, None, 3], 10)[1] not in BLOCKS
    assert sparkline([None, None], 10) == sparkline([None, None], 10).strip()


def test_one_lost_value_spoils_the_points_that_hide_it() -> None:
    values: list[float | None] = [1.0] * 40
    values[20] = None
    line = sparkline(values, 10)
    assert len(line) == 10
    assert sum(mark not in BLOCKS for mark in line) == 1


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32))),
    st.integers(min_value=0, max_value=60),
)
def test_any_series_fits_its_width(values: list[float | None], width: int) -> None:
    line = sparkline(values, width, ASCII)
    assert len(line) <= max(0, width)
    assert line.isascii()
