"""Manifests in files, checked before anything is sent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from headway_cli import manifest
from headway_cli.exits import ExitCode
from headway_cli.problems import Problem

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = """
apiVersion: headway.dev/v1alpha1
kind: TrainingOperation
metadata: {name: a}
spec: {type: Dummy, dummy: {iterations: 3}}
"""


def read_one(file: str) -> dict[str, Any]:
    [found] = manifest.read(file)
    return found


def problem_with(text: str, folder: Path) -> Problem:
    file = folder / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Problem) as caught:
        manifest.read(str(file))
    assert caught.value.code is ExitCode.USAGE
    return caught.value


@pytest.mark.parametrize("name", ["dummy.yaml", "data-load.yaml", "training.yaml"])
def test_the_examples_have_no_unknown_fields(name: str) -> None:
    assert read_one(str(EXAMPLES / name))["kind"] == "TrainingOperation"


def test_a_file_may_hold_several(tmp_path: Path) -> None:
    file = tmp_path / "runs.yaml"
    file.write_text(f"{GOOD}---\n{GOOD}---\n", encoding="utf-8")
    assert len(manifest.read(str(file))) == 2


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(GOOD))
    assert read_one("-")["metadata"]["name"] == "a"


def test_every_unknown_field_is_told_at_once(tmp_path: Path) -> None:
    problem = problem_with(GOOD.replace("iterations", "iteration").replace("type", "typ"), tmp_path)
    assert "run.yaml (a) has fields that TrainingOperation does not have" in problem.what
    assert "did you mean spec.type?" in problem.why
    assert "did you mean spec.dummy.iterations?" in problem.why


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("a: [", "is no YAML"),
        ("just words", "holds no object"),
        (GOOD.replace("{name: a}", "a"), "without metadata"),
        (GOOD.replace("metadata: {name: a}", ""), "without metadata"),
        (GOOD.partition("spec:")[0], "without spec"),
        (GOOD.partition("spec:")[0] + "spec: [Dummy]", "without spec"),
        ("kind: Pod\napiVersion: v1", "kind Pod, not TrainingOperation"),
        (GOOD.replace("TrainingOperation", "TrainingOperaton"), "did you mean TrainingOperation?"),
        (GOOD.replace("v1alpha1", "v1"), "apiVersion headway.dev/v1"),
    ],
)
def test_what_is_no_operation_is_refused_with_a_reason(
    text: str, told: str, tmp_path: Path
) -> None:
    assert told in problem_with(text, tmp_path).what


def test_a_file_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(Problem, match="cannot be read") as caught:
        manifest.read("/no/such/file")
    assert "No such file" in caught.value.why


def test_what_is_written_reads_back_the_same() -> None:
    document = yaml.safe_load(GOOD)
    assert list(yaml.safe_load_all(manifest.written([document]))) == [document]


def test_dates_are_text_as_kubectl_has_them(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        GOOD.partition("spec:")[0]
        + "spec: {type: DataLoad, dataLoad: {symbols: [A], startDate: 2020-01-31}}\n",
        encoding="utf-8",
    )
    [found] = manifest.read(str(file))
    assert found["spec"]["dataLoad"]["startDate"] == "2020-01-31"


def test_a_key_that_stands_twice_is_not_taken_silently(tmp_path: Path) -> None:
    problem = problem_with(GOOD.replace("iterations: 3", "iterations: 3, iterations: 5"), tmp_path)
    assert "the key iterations stands here a second time" in problem.why
    assert "line 5" in problem.why


def test_an_anchor_may_be_merged_and_overridden(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        GOOD.partition("spec:")[0]
        + "spec: {type: Dummy, dummy: &a {iterations: 3}}\n"
        + "---\n"
        + GOOD.partition("spec:")[0]
        + "spec: &s {type: Dummy, dummy: {<<: {iterations: 3}, iterations: 4}}\n",
        encoding="utf-8",
    )
    assert manifest.read(str(file))[1]["spec"]["dummy"] == {"iterations": 4}
