from __future__ import annotations

import pytest
from headway_cluster.node.quantities import in_units_of, parse_quantity, whole
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [
        ("1", 1000),
        ("500m", 500),
        ("0.1", 100),
        ("1k", 1_000_000),
        ("1Ki", 1_024_000),
        ("1.5Gi", 1_610_612_736_000),
        ("2e3", 2_000_000),
        ("1E", 10**21),
        ("100n", 1),
        ("0", 0),
    ],
)
def test_a_quantity_is_read(text, thousandths):
    assert parse_quantity(text) == thousandths


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "abc", "1mm"])
def test_what_is_no_quantity_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_whole_units_round_up():
    assert whole("500m") == 1
    assert whole("1Ki") == 1024


@pytest.mark.parametrize(
    ("quantity", "divisor", "count"),
    [("1Gi", "1Mi", 1024), ("1500m", "1", 2), ("1500m", "1m", 1500), ("1Gi", "0", 2**30)],
)
def test_divisors_round_up(quantity, divisor, count):
    assert in_units_of(parse_quantity(quantity), divisor) == count


@given(st.integers(min_value=0, max_value=10**12))
def test_a_plain_number_is_itself(number):
    assert whole(str(number)) == number
