"""Objects as kubectl would print them."""

from __future__ import annotations

import json

import yaml
from headway_cli import printing
from headway_cli.options import Format

ITEM = {"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {"type": "Dummy"}}


def test_an_object_has_its_kind_and_no_managed_fields() -> None:
    shown = json.loads(printing.one(ITEM, Format.JSON))
    assert shown == {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {"name": "a"},
        "spec": {"type": "Dummy"},
    }
    assert yaml.safe_load(printing.one(ITEM, Format.YAML)) == shown


def test_a_list_is_a_list() -> None:
    shown = json.loads(printing.many([ITEM, ITEM], Format.JSON))
    assert (shown["kind"], len(shown["items"])) == ("List", 2)


def test_names_can_be_given_back() -> None:
    assert printing.many([ITEM], Format.NAME) == "trainingoperation.headway.dev/a"
    assert printing.many([], Format.NAME) == ""
    nameless = {**ITEM, "metadata": {}}
    assert printing.one(nameless, Format.NAME) == "trainingoperation.headway.dev/"
