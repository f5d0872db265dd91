"""The CRD: rendered from the models, structural, and described for people."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from headway_api import names, vocabulary
from headway_api.crd.__main__ import main
from headway_api.crd.render import crd, render
from headway_api.crd.schema import NotStructuralError, structural
from pydantic import BaseModel

COMMITTED = Path(__file__).parents[3] / "crds" / "trainingoperations.headway.dev.yaml"
SCHEMA = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a schema with its path."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(child, f"{path}.{name}")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")


def test_the_committed_crd_is_what_the_models_render() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render()


def test_rendering_twice_gives_the_same_text() -> None:
    assert render() == render()


def test_check_says_what_drifted_and_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drifted = tmp_path / "crd.yaml"
    drifted.write_text(render().replace("shortNames:", "shortName:"), encoding="utf-8")
    assert main(["check", str(drifted)]) == 1
    told = capsys.readouterr().err
    assert "-    shortName:" in told
    assert "headway-crd render" in told
    assert main(["render", str(drifted)]) == 0
    assert main(["check", str(drifted)]) == 0


def test_every_field_has_a_description() -> None:
    top = {".apiVersion", ".kind", ".metadata"}
    missing = [p for p, f in fields(SCHEMA) if p not in top and not f.get("description")]
    assert missing == []


def test_every_description_is_a_sentence() -> None:
    bad = [
        p
        for p, f in fields(SCHEMA)
        if f.get("description") and not f["description"].rstrip().endswith((".", "...", ")"))
    ]
    assert bad == []


def test_every_list_string_and_map_of_the_spec_is_bounded() -> None:
    """CEL estimates a rule's cost from these bounds, and etcd keeps what they let through."""
    spec = SCHEMA["properties"]["spec"]
    unbounded = []
    for path, field in fields(spec):
        kind = field.get("type")
        if kind == "array" and "maxItems" not in field:
            unbounded.append(path)
        if kind == "string" and not {"maxLength", "enum"} & field.keys():
            unbounded.append(path)
        if "additionalProperties" in field and "maxProperties" not in field:
            unbounded.append(path)
    assert unbounded == []


def test_the_enums_of_the_schema_are_the_vocabulary() -> None:
    spec, status = SCHEMA["properties"]["spec"], SCHEMA["properties"]["status"]
    assert spec["properties"]["type"]["enum"] == list(vocabulary.OperationType)
    assert status["properties"]["phase"]["enum"] == list(vocabulary.Phase)


def test_every_type_names_a_member_struct_of_the_spec() -> None:
    members = SCHEMA["properties"]["spec"]["properties"]
    assert all(kind.member in members for kind in vocabulary.OperationType)


def test_cancel_has_no_default_so_that_a_reapplied_manifest_does_not_fight_it() -> None:
    assert "default" not in SCHEMA["properties"]["spec"]["properties"]["cancel"]


def test_a_union_of_types_is_refused_with_the_place_named() -> None:
    class Odd(BaseModel):
        field: int | str

    with pytest.raises(NotStructuralError, match=r"Odd\.field is a union"):
        structural(Odd)


def test_the_light_half_imports_nothing_heavy() -> None:
    code = (
        "import sys, headway_api, headway_api.names, headway_api.environment, headway_api.limits, "
        "headway_api.vocabulary; print([m for m in ('pydantic', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_are_valid_and_never_say_cancel() -> None:
    from headway_api.models import TrainingOperation

    examples = sorted((COMMITTED.parents[1] / "examples").glob("*.yaml"))
    documents = [
        d for e in examples for d in yaml.safe_load_all(e.read_text()) if d["kind"] == names.KIND
    ]
    assert len(documents) >= 3
    for document in documents:
        operation = TrainingOperation.model_validate(document)
        assert operation.spec.cancel is None
        assert getattr(
            operation.spec, {"dataLoad": "data_load"}.get(m := operation.spec.type.member, m)
        )
