"""From a call to a spec, and back from a status to a result."""

import pytest
from headway.client import OperationsClient
from headway.cluster_backend import OperationFailedError, importable_name, result_of, spec_of
from headway.execution import EntrypointError, resolve
from headway_api.vocabulary import OperationType


class Owner:
    def method(self, a: int) -> dict:
        return {"status": "success", "a": a}

    @classmethod
    def of_the_class(cls) -> None:
        pass


def function() -> None:
    pass


def test_parameters_become_the_member_struct():
    spec = spec_of(
        OperationType.DATA_LOAD,
        function,
        {"symbols": ["AAPL"], "timeframes": ["1d"], "start_date": "2010-01-01", "end_date": None,
         "mode": "full", "provider": "sample", "path": None},
    )  # fmt: skip
    assert spec == {
        "type": "DataLoad",
        "dataLoad": {
            "symbols": ["AAPL"],
            "timeframes": ["1d"],
            "startDate": "2010-01-01",
            "mode": "full",
            "provider": "sample",
        },
    }


def test_a_strategy_goes_inline():
    strategy = {"name": "s", "indicators": [{"name": "rsi"}], "model": {"type": "mlp"}}
    spec = spec_of(
        OperationType.TRAINING,
        function,
        {"strategy": strategy, "symbols": ["A"], "timeframes": ["1d"]},
    )
    assert spec["training"]["strategy"]["inline"]["model"]["type"] == "mlp"


def test_ones_own_work_becomes_an_entrypoint():
    spec = spec_of(OperationType.CUSTOM, Owner().method, {"a": 1})
    assert spec["custom"]["parameters"] == {"a": 1}
    assert spec["custom"]["entrypoint"].endswith(":Owner.method")


def test_work_that_a_pod_cannot_import_is_refused_clearly():
    def closure():
        pass

    with pytest.raises(ValueError, match="defined inside a function"):
        importable_name(closure)
    with pytest.raises(ValueError, match="defined inside a function"):
        importable_name(lambda: None)
    closure.__module__, closure.__qualname__ = "__main__", "main"
    with pytest.raises(ValueError, match="__main__"):
        importable_name(closure)


def test_parameters_that_are_not_json_are_refused():
    with pytest.raises(ValueError, match="must be JSON"):
        spec_of(OperationType.CUSTOM, function, {"a": object()})


def test_an_entrypoint_is_imported_and_its_class_is_made():
    owner, work = resolve("collections:OrderedDict.keys")
    assert type(owner).__name__ == "OrderedDict"
    assert list(work()) == []


@pytest.mark.parametrize(
    ("entrypoint", "said"),
    [
        ("no_such_module:f", "cannot import no_such_module"),
        ("json:no_such_name", "there is no 'no_such_name'"),
        ("json:__name__", "is not callable"),
        ("fractions:Fraction.no_such", "there is no 'no_such'"),
    ],
)
def test_an_entrypoint_that_is_wrong_says_how(entrypoint, said):
    with pytest.raises(EntrypointError, match=said):
        resolve(entrypoint)


def finished(phase, **report):
    return {
        "metadata": {"name": "run"},
        "status": {
            "phase": phase,
            "result": {"reason": "OOMKilled", "message": "needs more memory"},
            "report": report,
        },
    }


def test_the_result_is_the_one_that_the_work_would_have_returned():
    operation = finished(
        "Succeeded", status="success", epochsCompleted=3, summary={"accuracy": 0.5}
    )
    assert result_of(operation) == {"status": "success", "epochs_completed": 3, "accuracy": 0.5}


def test_a_failure_is_raised_with_its_reason():
    with pytest.raises(OperationFailedError, match=r"run failed \(OOMKilled\): needs more memory"):
        result_of(finished("Failed"))


def test_the_work_of_a_class_is_found_in_the_class():
    assert importable_name(Owner.of_the_class).endswith(":Owner.of_the_class")


def test_none_is_a_parameter_like_any_other_of_ones_own_work():
    spec = spec_of(OperationType.CUSTOM, function, {"limit": None, "deep": {"a": None}})
    assert spec["custom"]["parameters"] == {"limit": None, "deep": {"a": None}}
    assert "parameters" not in spec_of(OperationType.CUSTOM, function, {})["custom"]


def test_an_input_that_a_pod_would_not_see_is_refused():
    with pytest.raises(ValueError, match="Dummy takes no iterationz"):
        spec_of(OperationType.DUMMY, function, {"iterationz": 5})


@pytest.mark.parametrize("phase", ["OfALaterVersion", None])
def test_a_phase_that_nobody_knows_is_not_final(phase):
    class Seen(OperationsClient):
        def __init__(self):
            pass

        def watch(self, name, **_):
            yield {"status": {"phase": phase}}
            yield {"status": {}}
            yield {}
            yield {"status": {"phase": "Failed"}}

    assert Seen().wait_final("run")["status"]["phase"] == "Failed"
