"""``python -m headway_trainer``, as a trainer pod runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from headway_trainer.errors import InputError
from headway_trainer.program import work_from
from headway_trainer.strategies import as_yaml, read_strategy

EXAMPLES = Path(__file__).parents[3] / "examples" / "strategies"


def program(tmp_path, kind, parameters, **more):
    env = {
        "PATH": "/usr/bin:/bin",
        "HEADWAY_WORKSPACE": str(tmp_path / "workspace"),
        "HEADWAY_OPERATION_TYPE": kind,
        "HEADWAY_OPERATION_PARAMETERS": json.dumps(parameters),
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "headway_trainer"], env=env, capture_output=True, text=True
    )


def test_a_dummy_run_ends_with_0(tmp_path):
    done = program(tmp_path, "Dummy", {"iterations": 2, "intervalSeconds": 0})
    assert done.returncode == 0, done.stderr


def test_a_data_load_fills_the_workspace(tmp_path):
    done = program(tmp_path, "DataLoad", {"symbols": ["FB"], "timeframes": ["1d"], "mode": "full"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "workspace" / "data" / "FB" / "1d.parquet").exists()


@pytest.mark.parametrize("module", ["pydantic", "pandas"])
def test_ctrl_c_while_it_loads_shows_no_traceback(tmp_path, module):
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
    data = {"symbols": ["FB"], "timeframes": ["1d"]}
    done = program(tmp_path, "DataLoad", data, PYTHONPATH=str(tmp_path))
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_run_that_fails_ends_with_1_and_says_why_without_a_traceback(tmp_path):
    done = program(tmp_path, "DataLoad", {"symbols": ["NOPE"], "timeframes": ["1d"]})
    assert done.returncode == 1
    assert "nothing could be loaded" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_error_that_nobody_foresaw_ends_with_1_and_a_traceback(tmp_path):
    (tmp_path / "workspace").write_text("a file")
    done = program(tmp_path, "DataLoad", {"symbols": ["FB"], "timeframes": ["1d"]})
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("Dummy", {"iterations": -1}, "spec.dummy is not valid: iterations"),
        ("Nonsense", {}, "HEADWAY_OPERATION_TYPE is 'Nonsense'; it is one of Training"),
        ("Training", {"symbols": ["FB"]}, "spec.training is not valid"),
    ],
)
def test_input_that_is_wrong_ends_with_1_and_one_line(tmp_path, kind, parameters, message):
    done = program(tmp_path, kind, parameters)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_strategy_may_come_from_a_file(tmp_path, strategy):
    path = tmp_path / "strategy.yaml"
    path.write_text(as_yaml(read_strategy(EXAMPLES / "mlp.yaml")))
    env = {
        "HEADWAY_OPERATION_TYPE": "Training",
        "HEADWAY_OPERATION_PARAMETERS": json.dumps(
            {
                "strategy": {"configMapKeyRef": {"name": "strategies", "key": "mlp.yaml"}},
                "symbols": ["FB"],
                "timeframes": ["1d"],
            }
        ),
    }
    assert callable(work_from({**env, "HEADWAY_STRATEGY_PATH": str(path)}))
    with pytest.raises(InputError, match="HEADWAY_STRATEGY_PATH is not set"):
        work_from(env)
    path.write_text("name: [unclosed")
    with pytest.raises(InputError, match="no valid YAML"):
        work_from({**env, "HEADWAY_STRATEGY_PATH": str(path)})


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "gru"])
def test_every_example_strategy_is_valid_and_survives_being_written(name, tmp_path):
    from headway_trainer.training.indicators import check

    strategy = read_strategy(EXAMPLES / f"{name}.yaml")
    assert strategy.model.type == name
    check(strategy.indicators)
    copy = tmp_path / "copy.yaml"
    copy.write_text(as_yaml(strategy))
    assert read_strategy(copy) == strategy


def test_a_misspelt_field_of_a_strategy_is_named(tmp_path):
    path = tmp_path / "strategy.yaml"
    path.write_text((EXAMPLES / "mlp.yaml").read_text().replace("batchSize", "batchsize"))
    with pytest.raises(InputError, match=r"training.batchsize"):
        read_strategy(path)
