"""Names of operations: made up, checked, and given in several ways."""

from __future__ import annotations

import random
import re

import pytest
from headway_api import names
from headway_cli import naming
from headway_cli.exits import ExitCode
from headway_cli.problems import Problem
from hypothesis import given
from hypothesis import strategies as st


def test_a_generated_name_says_what_the_run_is_about() -> None:
    name = naming.generated(["train", "mlp", "AAPL", "BRK.B"], random.Random(1))
    assert re.fullmatch(r"train-mlp-aapl-brk-b-[a-z0-9]{5}", name)


def test_words_that_no_longer_fit_are_left_out() -> None:
    name = naming.generated(["train", "x" * 60, "aapl"], random.Random(1))
    assert name.startswith("train-aapl-")


@given(st.lists(st.text(max_size=60), max_size=8))
def test_every_generated_name_is_accepted(words: list[str]) -> None:
    name = naming.generated(words, random.Random(1))
    assert naming.checked(name) == name
    assert len(name) <= names.MAX_NAME_LENGTH


@pytest.mark.parametrize("name", ["Upper", "1first", "end-", "a_b", "ä", ""])
def test_a_name_that_the_resource_refuses_is_refused_at_once(name: str) -> None:
    with pytest.raises(Problem) as caught:
        naming.checked(name)
    assert caught.value.code is ExitCode.USAGE
    assert "begin with a letter" in caught.value.text()


def test_a_name_that_is_too_long_is_told_its_length() -> None:
    with pytest.raises(Problem, match="46 characters; 45 are the most"):
        naming.checked("a" * 46)


@pytest.mark.parametrize(
    "typed",
    [
        "x",
        "trainop/x",
        "trainingoperation/x",
        "trainingoperations/x",
        "trainingoperation.headway.dev/x",
    ],
)
def test_a_name_may_be_given_as_kubectl_prints_it(typed: str) -> None:
    assert naming.given(typed) == "x"
