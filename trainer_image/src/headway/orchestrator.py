"""``ServiceOrchestrator``: the one pattern of every kind of work.

A service is its adapter, its renderer and its domain logic; one ``start_managed_operation(...)``
runs it, tracked: in a trainer pod, right here, or by sending it to a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from headway_api import environment
from headway_api.vocabulary import OperationType, ReportStatus

from headway import wire
from headway.cancellation import CancellationToken, Stopped
from headway.checkpointing import Checkpoints
from headway.identity import PodIdentity
from headway.rendering import ProgressRenderer
from headway.tracking import INTERRUPTED_CODE, Run, close_run, open_run

AdapterT = TypeVar("AdapterT")
Result = dict[str, Any]
Work = Callable[..., Awaitable[Result] | Result]

_in_context: ContextVar[Run | None] = ContextVar("headway_run", default=None)


def _check_backend(where: str, backend: str) -> None:
    if backend not in ("cluster", "local"):
        raise ValueError(f"{where} is 'cluster' or 'local', not {backend!r}")


class ServiceOrchestrator(Generic[AdapterT]):
    """Base class of services. A service never knows where it runs."""

    def __init__(
        self, renderer: ProgressRenderer | None = None, *, backend: str | None = None
    ) -> None:
        """Take the renderer and the backend.

        Args:
            renderer: turns a progress context into a line for people.
            backend: ``cluster`` sends work to Kubernetes, ``local`` runs it right here; left out,
                ``HEADWAY_BACKEND`` decides, and without it work runs right here.

        Raises:
            ValueError: there is no such backend.
        """
        if backend is not None:
            _check_backend("backend", backend)
        self.renderer = renderer or ProgressRenderer()
        self._backend = backend
        self._adapter: AdapterT | None = None
        self._runs: list[Run] = []
        self._lock = threading.Lock()

    def _initialize_adapter(self) -> AdapterT:
        """Make the adapter that does the domain's work; called once, when it is first needed."""
        raise NotImplementedError(f"{type(self).__name__} has no adapter")

    @property
    def adapter(self) -> AdapterT:
        """The adapter."""
        if self._adapter is None:
            self._adapter = self._initialize_adapter()
        return self._adapter

    @property
    def sends_to_cluster(self) -> bool:
        """Whether work is sent to Kubernetes: never from a trainer pod, never by accident.

        Raises:
            ValueError: ``HEADWAY_BACKEND`` names no backend.
        """
        if PodIdentity.from_environment() is not None:
            return False
        backend = self._backend
        if backend is None and (backend := os.environ.get(environment.BACKEND)):
            _check_backend(environment.BACKEND, backend)
        return backend == "cluster"

    async def start_managed_operation(
        self,
        operation_name: str,
        operation_type: OperationType,
        operation_func: Work,
        **parameters: Any,
    ) -> Result:
        """Run a piece of work, tracked, or have it run in the cluster.

        Args:
            operation_name: a name for people; in a cluster the operation's name begins with it.
            operation_type: the kind of work. CUSTOM runs ``operation_func`` by its importable name.
            operation_func: does the work with ``parameters``, and returns a dictionary with
                ``status`` (``success`` or ``cancelled``).
            parameters: JSON-ready arguments of the work.

        Returns:
            What ``operation_func`` returned; from the cluster backend, at once, ``operation_id``,
            ``namespace`` and ``status: started``.

        Raises:
            headway.client.ClientError: the cluster refuses the work or does not answer.
            ValueError: ``operation_func`` cannot be imported by another process.
        """
        if self.sends_to_cluster:
            from headway import cluster_backend

            return await asyncio.to_thread(
                cluster_backend.submit, operation_name, operation_type, operation_func, parameters
            )
        return await self._tracked(operation_func, parameters)

    def run_managed_operation(
        self,
        operation_name: str,
        operation_type: OperationType,
        operation_func: Work,
        **parameters: Any,
    ) -> Result:
        """The same for code that is not async: waits for the end and returns the result.

        Raises:
            headway.cluster_backend.OperationFailedError: it failed in the cluster.
            Exception: what ``operation_func`` raised right here.
        """
        if self.sends_to_cluster:
            from headway import cluster_backend

            started = cluster_backend.submit(
                operation_name, operation_type, operation_func, parameters
            )
            return cluster_backend.wait_for_result(started)
        return _run_to_end(self._tracked(operation_func, parameters), self._cancel)

    def update_operation_progress(
        self,
        step: int | None = None,
        message: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Say where the work stands, from any thread. Never blocks and never raises.

        Args:
            step: steps done.
            message: a sentence for people; rendered from the context where left out.
            context: the standard keys and any others. Three are taken out: ``total_steps``;
                ``metrics``, numbers by name; ``epoch_end``, true where this ends the epoch
                ``current_epoch``, whose metrics then go into the history for certain.
        """
        run = self._current()
        if run is None:
            return
        run.state.put(step, None, message, context)
        with contextlib.suppress(Exception):  # an object of odd ways; whatever is told is told
            if isinstance(context, Mapping) and context.get("epoch_end"):
                epoch = wire.whole(context.get("current_epoch"))
                run.state.end_epoch(epoch or 0, context.get("metrics"))

    def get_current_cancellation_token(self) -> CancellationToken | None:
        """The token of the operation that runs; None outside of one."""
        run = self._current()
        return run.token if run is not None else None

    def get_current_checkpoints(self) -> Checkpoints | None:
        """The checkpoints of the operation that runs; None outside of one."""
        run = self._current()
        return run.checkpoints if run is not None else None

    def _current(self) -> Run | None:
        """The run of this context; in a thread that has none, the one that began last."""
        found = _in_context.get()
        if found is not None and found in self._runs:
            return found
        return self._runs[-1] if self._runs else None

    def _cancel(self) -> None:
        if (run := self._current()) is not None:
            run.token.cancel()

    async def _tracked(self, work: Work, parameters: Mapping[str, Any]) -> Result:
        run, owns = open_run(self.renderer)
        self._runs.append(run)
        mark = _in_context.set(run)
        try:
            if owns:
                run.begin()
            else:
                run.renderer = self.renderer
            result = await self._managed(run, owns, work, parameters)
        finally:
            _in_context.reset(mark)
            self._runs.remove(run)
            if owns:
                close_run(run)
        if owns and run.must_exit:
            raise SystemExit(INTERRUPTED_CODE)
        return result

    async def _managed(
        self, run: Run, owns: bool, work: Work, parameters: Mapping[str, Any]
    ) -> Result:
        def finish(status: ReportStatus, result: Result, error: BaseException | None) -> None:
            if owns:
                run.finish(status, result, error)
            else:
                run.contribute({k: v for k, v in result.items() if k != "status"})

        if run.token.asked:
            run.acknowledge()
            result: Result = {"status": "cancelled"}
            finish(ReportStatus.CANCELLED, result, None)
            return result
        try:
            result = await _called(work, parameters)
        except Stopped:
            run.acknowledge()
            result = {"status": "cancelled"}
            finish(ReportStatus.CANCELLED, result, None)
            return result
        except (asyncio.CancelledError, KeyboardInterrupt):
            if owns:
                run.give_up()
            finish(ReportStatus.CANCELLED, {}, None)
            if owns and run.must_exit:
                raise SystemExit(INTERRUPTED_CODE) from None
            raise
        except BaseException as error:
            status = run.ended_by(error)
            finish(status, {}, error if status is ReportStatus.FAILED else None)
            if owns and run.must_exit:
                raise SystemExit(INTERRUPTED_CODE) from None
            raise
        result = _as_result(result)
        acted = "success" if run.acknowledged is None else "cancelled"
        match result.setdefault("status", acted):
            case "cancelled":
                run.acknowledge()
                finish(ReportStatus.CANCELLED, result, None)
            case "failed":
                finish(ReportStatus.FAILED, result, None)
            case _:
                finish(ReportStatus.SUCCESS, result, None)
        return result


def _as_result(value: object) -> Result:
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {"result": value}


async def _called(work: Work, parameters: Mapping[str, Any]) -> Result:
    if inspect.iscoroutinefunction(work):
        done: Result = await work(**parameters)
        return done
    value = await asyncio.to_thread(work, **parameters)
    return await value if inspect.isawaitable(value) else value


def _run_to_end(work: Coroutine[Any, Any, Result], cancel: Callable[[], None]) -> Result:
    """Run a coroutine to its end, also from where a loop runs already (a notebook).

    There it runs in a thread that hears no Ctrl-C, which is then made a cancel here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[Result] = []
    failure: list[BaseException] = []
    ended = threading.Event()

    def target() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread
            failure.append(error)
        finally:
            ended.set()

    threading.Thread(target=target, name="headway-operation").start()
    try:
        ended.wait()  # not join: interrupted, it takes the thread for ended (Python 3.11)
    except KeyboardInterrupt:
        cancel()
        ended.wait()
    if failure:
        raise failure[0]
    return outcome[0]
