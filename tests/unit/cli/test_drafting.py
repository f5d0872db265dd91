"""From what was typed to a manifest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from headway_api.models import TrainingOperation
from headway_cli import drafting
from headway_cli.drafting import Draft, Shape
from headway_cli.problems import Problem
from headway_cluster.node.environment import expand

STRATEGIES = Path(__file__).parents[3] / "examples" / "strategies"
MLP = STRATEGIES / "mlp.yaml"


def spec_of(draft: Draft, shape: Shape | None = None) -> dict[str, Any]:
    document = drafting.manifest(draft, shape or Shape(), None)
    TrainingOperation.model_validate(document)
    spec: dict[str, Any] = document["spec"]
    return spec


def test_only_what_was_given_is_sent() -> None:
    assert spec_of(drafting.dummy(None, None)) == {"type": "Dummy", "dummy": {}}
    assert spec_of(drafting.dummy(3, 0.5))["dummy"] == {"iterations": 3, "intervalSeconds": 0.5}


def test_symbols_may_be_separated_by_commas_or_repeated() -> None:
    draft = drafting.data_load(["AAPL,MSFT", "GOOG"], ["1d,1h"], None, None, None, None, None)
    member = spec_of(draft)["dataLoad"]
    assert member == {"symbols": ["AAPL", "MSFT", "GOOG"], "timeframes": ["1d", "1h"]}


@pytest.mark.parametrize("file", sorted(STRATEGIES.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_strategy_file_goes_inline_as_it_is(file: Path) -> None:
    draft = drafting.training(file, ["AAPL"], ["1d"], "2020-01-01", None, 0.3, None)
    member = spec_of(draft)["training"]
    assert member["strategy"]["inline"] == yaml.safe_load(file.read_text(encoding="utf-8"))
    assert member["validationSplit"] == 0.3
    assert draft.words == ("train", file.stem, "AAPL")


def test_a_typo_in_a_strategy_names_the_field_that_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(MLP.read_text(encoding="utf-8").replace("horizon", "horizn"), encoding="utf-8")
    with pytest.raises(Problem) as caught:
        drafting.training(file, ["AAPL"], ["1d"], None, None, None, None)
    assert "labels.horizn" in caught.value.why
    assert "did you mean labels.horizon?" in caught.value.why


def test_a_command_is_taken_as_it_is() -> None:
    draft = drafting.custom(["python", "fit_line.py", "--epochs", "3"], None, [])
    assert spec_of(draft)["custom"] == {"command": ["python", "fit_line.py", "--epochs", "3"]}
    assert draft.words == ("fit_line",)
    assert drafting.custom(["bash", "-c", "echo"], None, []).words == ("bash",)


@pytest.mark.parametrize(
    "word", ["$$", "$", "a$b", "$(A)", "$$(A)", "kill $$; echo $(date)", "$$$$("]
)
def test_a_command_reaches_the_trainer_as_it_was_typed(word: str) -> None:
    [written] = drafting.custom([word], None, []).member["command"]
    assert expand(written, {"A": "x"}) == word


def test_parameters_of_an_entrypoint_are_json_where_they_can_be() -> None:
    draft = drafting.custom([], "pkg.mod:run", ["epochs=3", "name=abc", 'tags=["a"]'])
    assert spec_of(draft)["custom"] == {
        "entrypoint": "pkg.mod:run",
        "parameters": {"epochs": 3, "name": "abc", "tags": ["a"]},
    }


@pytest.mark.parametrize(
    ("command", "entrypoint", "parameters"),
    [([], None, []), (["a"], "b:c", []), (["a"], None, ["x=1"])],
)
def test_a_command_and_an_entrypoint_exclude_each_other(
    command: list[str], entrypoint: str | None, parameters: list[str]
) -> None:
    with pytest.raises(Problem):
        drafting.custom(command, entrypoint, parameters)


def test_resources_storage_and_variables_go_where_they_belong() -> None:
    shape = Shape(
        name="a",
        label=["team=x"],
        image="i:1",
        claim="data:models",
        cpu="2",
        memory="4Gi",
        gpus=1,
        env=["A=b=c"],
        grace=5,
    )
    document = drafting.manifest(drafting.dummy(1, None), shape, "ns")
    assert document["metadata"] == {"name": "a", "namespace": "ns", "labels": {"team": "x"}}
    spec = document["spec"]
    assert spec["resources"] == {"limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}}
    assert spec["storage"] == {"existingClaim": {"claimName": "data", "subPath": "models"}}
    assert spec["podTemplate"] == {
        "spec": {"containers": [{"name": "trainer", "env": [{"name": "A", "value": "b=c"}]}]}
    }
    assert (spec["image"], spec["cancelGracePeriodSeconds"]) == ("i:1", 5)
    TrainingOperation.model_validate(document)


def test_workers_a_queue_limits_and_a_checkpoint_are_fields_of_the_spec() -> None:
    shape = Shape(
        retries=2,
        deadline=60,
        progress_deadline=30,
        workers=3,
        queue="team-a",
        volume="1Gi",
        resume_from="0a1b/a1",
    )
    spec = spec_of(drafting.dummy(1, None), shape)
    assert {k: v for k, v in spec.items() if k not in ("type", "dummy", "storage")} == {
        "retryPolicy": {"limit": 2},
        "activeDeadlineSeconds": 60,
        "progressDeadlineSeconds": 30,
        "checkpoint": {"resumeFrom": "0a1b/a1"},
        "workers": 3,
        "queueName": "team-a",
    }


def test_a_volume_of_its_own_is_a_claim_template() -> None:
    assert spec_of(drafting.dummy(1, None), Shape(volume="10Gi"))["storage"] == {
        "claimTemplate": {"size": "10Gi"}
    }
    with pytest.raises(Problem, match="either --claim"):
        drafting.manifest(drafting.dummy(1, None), Shape(volume="1Gi", claim="c"), None)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (Shape(memory="4GB"), "--memory 4GB: that is no amount; write it as 4Gi or 512Mi."),
        (Shape(cpu="two"), "--cpu two"),
        (Shape(volume="-1Gi"), "--volume -1Gi"),
    ],
)
def test_what_is_no_amount_is_told(shape: Shape, told: str) -> None:
    with pytest.raises(Problem, match=re.escape(told)):
        drafting.manifest(drafting.dummy(1, None), shape, None)


@pytest.mark.parametrize("wrong", ["novalue", "=x"])
def test_what_is_no_pair_is_told(wrong: str) -> None:
    with pytest.raises(Problem, match="KEY=VALUE"):
        drafting.manifest(drafting.dummy(1, None), Shape(env=[wrong]), None)


def test_options_that_only_a_cluster_knows_are_named() -> None:
    assert Shape().clusterly() is None
    assert Shape(gpus=1).clusterly() == "--gpus"
    assert Shape(progress_deadline=30).clusterly() == "--progress-deadline"
    assert Shape(resume_from="0a1b").clusterly() is None
