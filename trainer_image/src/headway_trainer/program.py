"""The trainer program: runs the built-in service that the environment names.

HEADWAY_OPERATION_TYPE says which, HEADWAY_OPERATION_PARAMETERS holds the member struct of the spec
as JSON, HEADWAY_STRATEGY_PATH the strategy's file where it does not come inline.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from headway import CheckpointError, pod
from headway_api import environment
from headway_api.vocabulary import OperationType

from headway_trainer.errors import InputError, ServiceError


def work_from(env: Mapping[str, str]) -> Callable[[], dict[str, Any]]:
    """The work that an environment asks for, its inputs validated.

    Raises:
        InputError: where a variable is missing, or holds what is not valid.
    """
    kind, values = _type(env), _parameters(env)
    if kind is OperationType.DUMMY:
        return _dummy(values)
    if kind is OperationType.DATA_LOAD:
        return _data_load(values)
    if kind is OperationType.TRAINING:
        return _training(values, env.get(environment.STRATEGY_PATH))
    raise InputError(
        f"type {kind} is a user's own code and no built-in service; its entrypoint is run by "
        "python -m headway exec"
    )


def main() -> int:
    """Run the work; returns the exit code."""
    try:
        work = work_from(os.environ)
    except InputError as error:
        sys.stderr.write(f"headway_trainer: {error}\n")
        return 1
    return pod.run(work, told=(ServiceError, CheckpointError))


def _type(env: Mapping[str, str]) -> OperationType:
    text = env.get(environment.OPERATION_TYPE)
    try:
        return OperationType(text or "")
    except ValueError:
        given = f"is {text!r}" if text else "is not set"
        raise InputError(
            f"{environment.OPERATION_TYPE} {given}; it is one of {', '.join(OperationType)}"
        ) from None


def _parameters(env: Mapping[str, str]) -> dict[str, Any]:
    text = env.get(environment.OPERATION_PARAMETERS) or "{}"
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{environment.OPERATION_PARAMETERS} is no valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{environment.OPERATION_PARAMETERS} is no JSON object")
    return values


def _dummy(values: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    from headway_api.models import DummySpec

    from headway_trainer.dummy import DummyService
    from headway_trainer.inputs import validated

    given = validated(DummySpec, values, "spec.dummy").model_dump(mode="json")
    return lambda: DummyService().run_dummy_task(**given)


def _data_load(values: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    from headway_api.models import DataLoadSpec

    from headway_trainer.data.manager import DataManager
    from headway_trainer.inputs import validated

    spec = validated(DataLoadSpec, values, "spec.dataLoad")
    given = spec.model_dump(mode="json", exclude_none=True)
    return lambda: DataManager().load_data(**given)


def _training(values: Mapping[str, Any], path: str | None) -> Callable[[], dict[str, Any]]:
    from headway_api.models import TrainingSpec

    from headway_trainer.inputs import validated
    from headway_trainer.strategies import strategy_from
    from headway_trainer.training.manager import TrainingManager

    spec = validated(TrainingSpec, values, "spec.training")
    inline = spec.strategy.inline
    if inline is None and path is None:
        raise InputError(
            f"spec.training.strategy has nothing inline, and {environment.STRATEGY_PATH} is not set"
        )
    strategy = strategy_from(inline, None if inline else path)
    given = spec.model_dump(mode="json", exclude_none=True, exclude={"strategy"})
    return lambda: TrainingManager().train_multi_symbol_strategy(strategy=strategy, **given)
