"""A service that only counts: for trying out a cluster, and for tests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway import CancellationToken, ProgressRenderer, ServiceOrchestrator
from headway_api.vocabulary import OperationType

from headway_trainer.progress import ProgressCallback, is_stopped, unheard

if TYPE_CHECKING:
    from headway.checkpointing import Checkpoints

_ITERATIONS = 100
_INTERVAL = 2.0


class DummyAdapter:
    """Counts, and waits between."""

    async def count(
        self,
        iterations: int,
        interval_seconds: float,
        *,
        cancellation_token: CancellationToken | None = None,
        progress_callback: ProgressCallback = unheard,
        checkpoints: Checkpoints | None = None,
    ) -> dict[str, Any]:
        """Run the iterations; a stop ends the wait of the one that runs, which then counts not.

        Args:
            iterations: how many.
            interval_seconds: what one takes.
            cancellation_token: checked before each iteration, and waited on in it.
            progress_callback: told at the start of each.
            checkpoints: keeps the count, so that an interrupted task goes on where it was.

        Returns:
            ``status`` (success or cancelled) and ``iterations_completed``.
        """
        saved = checkpoints.resume() if checkpoints is not None else None
        for done in range(saved.step or 0 if saved is not None else 0, iterations):
            if is_stopped(cancellation_token):
                return _stopped(done, checkpoints)
            if checkpoints is not None and checkpoints.due():
                checkpoints.save(_nothing, step=done)
            progress_callback(
                done,
                None,
                {
                    "current_iteration": done + 1,
                    "total_iterations": iterations,
                    "total_steps": iterations,
                },
            )
            if await _waited(interval_seconds, cancellation_token):
                return _stopped(done, checkpoints)
        progress_callback(
            iterations,
            None,
            {
                "current_iteration": iterations,
                "total_iterations": iterations,
                "total_steps": iterations,
            },
        )
        return {"status": "success", "iterations_completed": iterations}


def _stopped(done: int, checkpoints: Checkpoints | None) -> dict[str, Any]:
    if checkpoints is not None:
        checkpoints.save(_nothing, step=done)
    return {"status": "cancelled", "iterations_completed": done}


def _nothing(_folder: Path) -> None:
    """The count is all there is, and the checkpoint itself says it."""


async def _waited(seconds: float, token: CancellationToken | None) -> bool:
    """Wait; returns at once, and True, when a stop comes."""
    if token is None or seconds == 0:
        await asyncio.sleep(seconds)
        return False
    return await asyncio.to_thread(token.wait, seconds)


class DummyService(ServiceOrchestrator[DummyAdapter]):
    """Runs ``iterations`` steps of ``interval_seconds`` each."""

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__(ProgressRenderer("Dummy task"), backend=backend)

    def _initialize_adapter(self) -> DummyAdapter:
        return DummyAdapter()

    async def start_dummy_task(
        self, iterations: int = _ITERATIONS, interval_seconds: float = _INTERVAL
    ) -> dict[str, Any]:
        """Run the task here, or have it run in the cluster.

        Raises:
            InputError: where an argument is out of its bounds.
        """
        return await self.start_managed_operation(
            "dummy",
            OperationType.DUMMY,
            self._run_dummy_task_async,
            **_parameters(iterations, interval_seconds),
        )

    def run_dummy_task(
        self, iterations: int = _ITERATIONS, interval_seconds: float = _INTERVAL
    ) -> dict[str, Any]:
        """Run the task and wait for its result.

        Raises:
            InputError: where an argument is out of its bounds.
        """
        return self.run_managed_operation(
            "dummy",
            OperationType.DUMMY,
            self._run_dummy_task_async,
            **_parameters(iterations, interval_seconds),
        )

    async def _run_dummy_task_async(
        self, iterations: int = _ITERATIONS, interval_seconds: float = _INTERVAL
    ) -> dict[str, Any]:
        return await self.adapter.count(
            iterations,
            interval_seconds,
            cancellation_token=self.get_current_cancellation_token(),
            progress_callback=self.update_operation_progress,
            checkpoints=self.get_current_checkpoints(),
        )


def _parameters(iterations: int, interval_seconds: float) -> dict[str, Any]:
    from headway_api.models import DummySpec

    from headway_trainer.inputs import validated

    given = {"iterations": iterations, "interval_seconds": interval_seconds}
    return validated(DummySpec, given, "the dummy task").model_dump(mode="json")
