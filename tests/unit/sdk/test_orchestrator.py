import asyncio
import json
import os
import signal
import threading

import pytest
from headway import ProgressRenderer, ServiceOrchestrator, Stopped
from headway.cancellation import StopReason
from headway_api import environment
from headway_api.vocabulary import OperationType


class Adapter:
    pass


class Service(ServiceOrchestrator[Adapter]):
    """A user's own service."""

    def __init__(self, backend=None):
        super().__init__(ProgressRenderer("Work"), backend=backend)
        self.made = 0

    def _initialize_adapter(self):
        self.made += 1
        return Adapter()

    async def run(self, work, **parameters):
        return await self.start_managed_operation("work", OperationType.CUSTOM, work, **parameters)


@pytest.fixture(autouse=True)
def told(tmp_path, monkeypatch):
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv(environment.PROGRESS_FILE, str(file))
    monkeypatch.delenv(environment.BACKEND, raising=False)
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


async def test_the_work_runs_right_here_and_its_result_is_returned(told):
    service = Service()

    async def work(n):
        service.update_operation_progress(n, None, {"total_steps": 4, "current_iteration": n})
        return {"status": "success", "iterations_completed": n}

    assert await service.run(work, n=2) == {"status": "success", "iterations_completed": 2}
    last = told()[-1]
    assert last["report"]["iterationsCompleted"] == 2
    assert last["progress"]["message"] == "Work (iteration 2)"


async def test_the_adapter_is_made_once_and_late():
    service = Service()
    assert service.made == 0
    assert service.adapter is service.adapter
    assert service.made == 1


async def test_there_is_a_token_within_an_operation_only():
    service = Service()

    async def work():
        assert service.get_current_cancellation_token() is not None
        return {"status": "success"}

    assert service.get_current_cancellation_token() is None
    await service.run(work)
    assert service.get_current_cancellation_token() is None
    service.update_operation_progress(1)  # of nothing: no harm


async def test_token_and_progress_work_in_other_threads(told):
    service = Service()

    def in_thread():
        service.update_operation_progress(3, "from a thread")
        service.get_current_cancellation_token().cancel(StopReason.CANCELLED)

    async def work():
        thread = threading.Thread(target=in_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
        token = service.get_current_cancellation_token()
        return {"status": "cancelled" if token.is_cancelled() else "success"}

    assert (await service.run(work))["status"] == "cancelled"
    assert told()[-1]["progress"]["message"] == "from a thread"
    assert told()[-1]["report"]["status"] == "cancelled"


async def test_two_operations_at_once_have_a_token_each():
    service = Service()
    both = asyncio.Barrier(2)

    async def work(stop):
        token = service.get_current_cancellation_token()
        if stop:
            token.cancel()
        await both.wait()
        assert service.get_current_cancellation_token() is token
        return {"status": "cancelled" if token.is_cancelled() else "success"}

    results = await asyncio.gather(service.run(work, stop=True), service.run(work, stop=False))
    assert [r["status"] for r in results] == ["cancelled", "success"]


async def test_an_error_is_reported_and_raised(told):
    async def work():
        raise OSError("no data")

    with pytest.raises(OSError, match="no data"):
        await Service().run(work)
    assert told()[-1]["report"]["error"]["message"] == "no data"


async def test_stopped_becomes_a_cancelled_result():
    async def work():
        raise Stopped

    assert await Service().run(work) == {"status": "cancelled"}


def test_the_sync_counterpart_waits_for_the_result():
    def work(a):
        return {"status": "success", "a": a}

    result = Service().run_managed_operation("work", OperationType.CUSTOM, work, a=1)
    assert result == {"status": "success", "a": 1}


async def test_the_sync_counterpart_works_where_a_loop_runs_already():
    def work():
        return {"status": "success"}

    result = Service().run_managed_operation("work", OperationType.CUSTOM, work)
    assert result == {"status": "success"}


async def test_a_task_that_is_cancelled_stops_the_work_in_its_thread(told):
    service = Service()
    begun, stopped = threading.Event(), threading.Event()

    def work():
        begun.set()
        if service.get_current_cancellation_token().wait(20):
            stopped.set()
        return {"status": "cancelled"}

    task = asyncio.create_task(service.run(work))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, 5)
    assert told()[-1]["report"]["status"] == "cancelled"


async def test_ctrl_c_where_a_loop_runs_already_is_a_cancel_too():
    service = Service()

    def work():
        os.kill(os.getpid(), signal.SIGINT)
        token = service.get_current_cancellation_token()
        return {"status": "cancelled" if token.wait(5) else "success"}

    # As in a notebook, whose cells run in a loop: there Ctrl-C raises KeyboardInterrupt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = service.run_managed_operation("work", OperationType.CUSTOM, work)
    except KeyboardInterrupt:
        pytest.fail("the work goes on, and nobody can stop it")
    finally:
        signal.signal(signal.SIGINT, before)
    assert result == {"status": "cancelled"}


def test_the_metrics_of_an_epochs_end_are_kept(told):
    service = Service()

    def work():
        for epoch in (1, 2, 3):
            service.update_operation_progress(
                epoch,
                None,
                {"current_epoch": epoch, "epoch_end": True, "metrics": {"loss": 1 / epoch}},
            )
        return {"status": "success", "epochs_completed": 3}

    service.run_managed_operation("work", OperationType.CUSTOM, work)
    history = [entry["history"] for entry in told() if "history" in entry][-1]
    assert [point["step"] for point in history] == [1, 2, 3]


def test_an_unknown_backend_is_an_error_at_once():
    with pytest.raises(ValueError, match="'cluster' or 'local', not 'kluster'"):
        Service("kluster")


def test_an_unknown_backend_in_the_environment_is_no_other_one(monkeypatch):
    monkeypatch.setenv("HEADWAY_BACKEND", "Cluster")
    with pytest.raises(ValueError, match="HEADWAY_BACKEND is 'cluster' or 'local', not 'Cluster'"):
        Service().run_managed_operation("work", OperationType.CUSTOM, dict)
    assert not Service("local").sends_to_cluster
    monkeypatch.setenv("HEADWAY_BACKEND", "")
    assert not Service().sends_to_cluster


def test_a_kubeconfig_that_lies_around_sends_nothing_to_a_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert not Service().sends_to_cluster
    assert Service("cluster").sends_to_cluster
    monkeypatch.setenv(environment.BACKEND, "cluster")
    assert Service().sends_to_cluster
    assert not Service("local").sends_to_cluster


@pytest.mark.parametrize(
    "context", [5, {"epoch_end": True, "metrics": [1]}, {"epoch_end": object()}]
)
def test_no_context_however_odd_makes_a_progress_call_raise(context):
    service = Service()

    def work():
        service.update_operation_progress(1, None, context)
        return {"status": "success"}

    assert service.run_managed_operation("w", OperationType.CUSTOM, work) == {"status": "success"}


def test_an_error_that_cannot_be_printed_is_still_raised(told):
    class OddError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def work():
        raise OddError

    with pytest.raises(OddError):
        Service().run_managed_operation("w", OperationType.CUSTOM, work)
    assert told()[-1]["report"]["error"]["type"] == "OddError"
