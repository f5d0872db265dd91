"""Options that say two things at once are refused, in words, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from headway_cli.main import app
from headway_cli.problems import Problem
from typer.testing import CliRunner, Result

TWO = """
apiVersion: headway.dev/v1alpha1
kind: TrainingOperation
metadata: {name: a, namespace: team-a}
spec: {type: Dummy, dummy: {}}
---
apiVersion: headway.dev/v1alpha1
kind: TrainingOperation
metadata: {name: b}
spec: {type: Dummy, dummy: {}}
"""

Type = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command where there is no cluster and the manifest ``two.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / "two.yaml").write_text(TWO, encoding="utf-8")
    (tmp_path / "one.yaml").write_text(TWO.partition("---")[0], encoding="utf-8")
    return lambda *args: CliRunner().invoke(app, list(args))


@pytest.mark.parametrize("command", ["cancel", "delete", "suspend", "resume"])
def test_labels_that_are_blank_do_not_stand_for_everything(command: str, typed: Type) -> None:
    problem = typed(command, "-l", " ").exception
    assert isinstance(problem, Problem)
    assert "Which operation?" in problem.what


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("run dummy --local --detach", "--detach has no meaning with --local"),
        ("run dummy --local -o json", "--output has no meaning with --local"),
        ("run dummy --local -n x", "--namespace has no meaning with --local"),
        ("run -f one.yaml --local --context x", "--context has no meaning with --local"),
        ("run dummy --local --gpus 1", "--gpus has no meaning with --local"),
        ("run dummy --follow -o json", "either --follow or --output"),
        ("run dummy --workspace x", "--workspace goes with --local"),
        ("run -f one.yaml dummy", "either --file or dummy"),
        ("run -d dummy", "Options go after dummy: --detach."),
        ("run --dry-run dummy", "Options go after dummy: --dry-run."),
        ("run -f two.yaml --follow", "two.yaml holds 2 operations; one can be followed"),
        ("run -f two.yaml --local", "two.yaml holds 2 operations; one can be followed"),
        ("submit -f one.yaml -n other", "for namespace team-a, and -n says other"),
        ("cancel a --now --grace 5", "either --now or --grace"),
        ("cancel a -l b=c", "either names or labels"),
    ],
)
def test_what_contradicts_itself_is_refused(args: str, told: str, typed: Type) -> None:
    problem = typed(*args.split()).exception
    assert isinstance(problem, Problem)
    assert told in problem.what
    assert problem.code == 2


def test_several_operations_are_printed_as_several_documents(typed: Type) -> None:
    printed = typed("submit", "-f", "two.yaml", "--dry-run").stdout
    assert [d["metadata"]["name"] for d in yaml.safe_load_all(printed)] == ["a", "b"]


def test_a_manifest_is_printed_as_it_is_asked_for(typed: Type) -> None:
    printed = typed("run", "dummy", "--name", "a", "--dry-run", "-o", "json").stdout
    assert json.loads(printed)["metadata"]["name"] == "a"
    printed = typed("run", "dummy", "--name", "a", "--dry-run", "-o", "name").stdout
    assert printed == "trainingoperation.headway.dev/a\n"
