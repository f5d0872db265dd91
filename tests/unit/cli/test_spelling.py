"""Fields that do not exist, and the ones that were meant."""

from __future__ import annotations

from typing import Any

import pytest
from headway_api.crd.schema import root_schema
from headway_cli.spelling import nearest, unknown_fields

SCHEMA = root_schema()


def found(spec: dict[str, Any]) -> list[str]:
    return [unknown.text() for unknown in unknown_fields({"spec": spec}, SCHEMA)]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"dumy": {}}, "spec.dumy: there is no such field; did you mean spec.dummy?"),
        (
            {"training": {"start_date": "2020-01-01"}},
            "spec.training.start_date: there is no such field; did you mean "
            "spec.training.startDate?",
        ),
        (
            {"dummy": {"iteration": 3}},
            "spec.dummy.iteration: there is no such field; did you mean spec.dummy.iterations?",
        ),
        (
            {"storage": {"existingClaim": {"name": "x"}}},
            "spec.storage.existingClaim.name: there is no such field; did you mean "
            "spec.storage.existingClaim.claimName?",
        ),
    ],
)
def test_the_nearest_field_is_named(spec: dict[str, Any], told: str) -> None:
    assert found(spec) == [told]


def test_a_field_that_stands_at_the_wrong_place_is_pointed_to_where_it_belongs() -> None:
    (told,) = found({"training": {"epochs": 4}})
    assert told.endswith("did you mean spec.training.strategy.inline.training.epochs?")


def test_fields_in_lists_are_found() -> None:
    (told,) = found({"training": {"strategy": {"inline": {"indicators": [{"nme": "rsi"}]}}}})
    assert told.startswith("spec.training.strategy.inline.indicators[0].nme:")


def test_where_nothing_is_near_all_that_there_is_is_listed() -> None:
    (told,) = found({"dummy": {"zzz": 1}})
    assert told.endswith("there are intervalSeconds, iterations")


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "Custom", "custom": {"entrypoint": "a:b", "parameters": {"anything": {"x": 1}}}},
        {"podTemplate": {"spec": {"whatever": True}}},
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        {"training": {"strategy": {"inline": {"indicators": [{"parameters": {"length": 3}}]}}}},
    ],
)
def test_keys_that_are_the_users_own_are_no_fields(spec: dict[str, Any]) -> None:
    assert found(spec) == []


def test_what_has_the_wrong_shape_is_left_to_the_server() -> None:
    assert found({"dummy": [1, 2], "training": "text"}) == []


def test_a_word_that_resembles_nothing_has_no_nearest() -> None:
    assert nearest("qqq", ["list", "get"]) is None
    assert nearest("RUNNING", ["Running"]) == "Running"
