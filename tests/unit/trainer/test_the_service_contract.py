"""The three services have one shape."""

import asyncio
import inspect
import json
import subprocess
import sys

import pytest
from headway import (
    CancellationToken,
    DataProgressRenderer,
    ProgressRenderer,
    ServiceOrchestrator,
    TrainingProgressRenderer,
)
from headway_api.models import DataLoadSpec, DummySpec, TrainingSpec
from headway_api.vocabulary import OperationType, ReportStatus
from headway_trainer import DataManager, DummyService, TrainingManager
from headway_trainer.errors import InputError


class Service:
    """How one service is called, and what it is expected to be."""

    def __init__(self, cls, kind, spec, renderer, start, run, work, line, counts):
        self.cls, self.kind, self.spec, self.renderer = cls, kind, spec, renderer
        self.start, self.run, self.work, self.line, self.counts = start, run, work, line, counts


SERVICES = {
    "dummy": Service(
        DummyService, OperationType.DUMMY, DummySpec, ProgressRenderer,
        "start_dummy_task", "run_dummy_task", "_run_dummy_task_async",
        "Dummy task (iteration 3/3)", ["iterations_completed"],
    ),
    "data": Service(
        DataManager, OperationType.DATA_LOAD, DataLoadSpec, DataProgressRenderer,
        "load_data_async", "load_data", "_run_data_load_async",
        "Loading FB [1d] (segment 1/1)", [],
    ),
    "training": Service(
        TrainingManager, OperationType.TRAINING, TrainingSpec, TrainingProgressRenderer,
        "train_multi_symbol_strategy_async", "train_multi_symbol_strategy", "_run_training_async",
        "Training MLP model on FB [1d] [epoch 3/3] (batch 8/8)",
        ["epochs_completed", "batches_completed"],
    ),
}  # fmt: skip


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


@pytest.fixture
def arguments(service, strategy):
    return {
        "dummy": {"iterations": 3, "interval_seconds": 0},
        "dataLoad": {"symbols": ["FB"], "timeframes": ["1d"], "mode": "full"},
        "training": {
            "strategy": strategy(),
            "symbols": ["FB"],
            "timeframes": ["1d"],
            "data_mode": "full",
        },
    }[service.kind.member]


def test_it_is_made_without_arguments_and_makes_its_adapter_late(service, workspace):
    made = service.cls()
    assert isinstance(made, ServiceOrchestrator)
    assert isinstance(made.renderer, service.renderer)
    assert made.get_current_cancellation_token() is None
    assert made.adapter is made.adapter


@pytest.mark.parametrize("form", ["start", "run"])
def test_it_hands_its_work_to_the_orchestrator_with_the_member_structs_fields(
    service, arguments, monkeypatch, workspace, form
):
    handed = {}

    def record(name, kind, work, **parameters):
        handed.update(name=name, kind=kind, work=work.__name__, parameters=parameters)
        return {"status": "started"}

    async def record_async(*args, **parameters):
        return record(*args, **parameters)

    made = service.cls()
    monkeypatch.setattr(made, "start_managed_operation", record_async)
    monkeypatch.setattr(made, "run_managed_operation", record)
    called = getattr(made, getattr(service, form))(**arguments)
    assert (asyncio.run(called) if inspect.isawaitable(called) else called) == {"status": "started"}
    assert handed["kind"] is service.kind
    assert handed["work"] == service.work
    assert handed["parameters"].keys() <= set(service.spec.model_fields)
    json.dumps(handed["parameters"])
    assert None not in handed["parameters"].values()


def test_run_right_here_it_returns_success_and_leaves_no_run_behind(service, arguments, workspace):
    made = service.cls()
    result = getattr(made, service.run)(**arguments)
    assert result["status"] == ReportStatus.SUCCESS
    for name in service.counts[:1]:
        assert result[name] == 3
    assert made.get_current_cancellation_token() is None


def test_it_can_be_awaited_too(service, arguments, workspace):
    made = service.cls()
    assert asyncio.run(getattr(made, service.start)(**arguments))["status"] == "success"


def test_a_stop_gives_the_result_that_the_schema_has(service, arguments, workspace, monkeypatch):
    made, token = service.cls(), CancellationToken()
    monkeypatch.setattr(made, "get_current_cancellation_token", lambda: token)
    token.cancel()
    # The work itself: what is stopped before the work begins is the orchestrator's to tell.
    result = asyncio.run(getattr(made, service.work)(**arguments))
    assert result["status"] == "cancelled"
    for name in service.counts:
        assert result[name] == 0
    assert not (workspace / "models").exists()


def test_its_progress_renders_as_its_sentence(service, arguments, workspace, monkeypatch):
    made, lines = service.cls(), []
    monkeypatch.setattr(
        made,
        "update_operation_progress",
        lambda step=None, message=None, context=None: lines.append(
            message or made.renderer.render_progress_message(context)
        ),
    )
    getattr(made, service.run)(**arguments)
    assert lines[-1] == service.line


def test_its_steps_only_rise_and_end_at_their_total(service, arguments, workspace, monkeypatch):
    made, steps = service.cls(), []

    def tell(step=None, message=None, context=None):
        if step is not None:
            steps.append((step, context["total_steps"]))

    monkeypatch.setattr(made, "update_operation_progress", tell)
    getattr(made, service.run)(**arguments)
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("dummy", {"iterations": 0}, "iterations: .*greater than or equal to 1.*given: 0"),
        ("data", {"symbols": []}, "symbols"),
        ("data", {"timeframes": ["daily"]}, "timeframes.0"),
        ("data", {"mode": "newest"}, "mode: .*'tail'"),
        ("data", {"start_date": "2020-02-31"}, "no day"),
        ("training", {"strategy": None}, "either strategy or strategy_config_path"),
        ("training", {"strategy": {"name": "x"}}, "indicators: field required"),
        ("training", {"validation_split": 0.95}, "validation_split"),
        ("training", {"start_date": "2020-01-02", "end_date": "2020-01-01"}, "is after"),
        (
            "training",
            {"strategy_config_path": "no.yaml", "strategy": None},
            "cannot read .*no.yaml",
        ),
    ],
)
def test_wrong_input_is_told_before_anything_runs(name, wrong, message, strategy, workspace):
    given = {
        "dummy": {},
        "data": {"symbols": ["FB"], "timeframes": ["1d"]},
        "training": {"symbols": ["FB"], "timeframes": ["1d"], "strategy": strategy()},
    }[name]
    service = SERVICES[name]
    with pytest.raises(InputError, match=message):
        getattr(service.cls(), service.run)(**{**given, **wrong})
    assert not workspace.exists()


def test_a_cancel_ends_a_dummy_task_in_its_wait_at_once(workspace, monkeypatch):
    service, token = DummyService(), CancellationToken()
    monkeypatch.setattr(service, "get_current_cancellation_token", lambda: token)

    async def cancelled_while_it_waits():
        waits = asyncio.Event()
        monkeypatch.setattr(service, "update_operation_progress", lambda *_: waits.set())
        work = service._run_dummy_task_async(iterations=3, interval_seconds=3600)
        task = asyncio.create_task(work)
        await waits.wait()
        token.cancel()
        return await asyncio.wait_for(task, 60)

    result = asyncio.run(cancelled_while_it_waits())
    assert result == {"status": "cancelled", "iterations_completed": 0}


def test_importing_the_services_imports_no_pandas_and_no_torch():
    code = (
        "import sys; from headway_trainer import *; "
        "import headway_trainer as t; t.DataManager(); t.TrainingManager(); t.DummyService(); "
        "print([m for m in ('torch', 'pandas', 'numpy', 'pydantic', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
