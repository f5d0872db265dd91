"""``python -m headway_operator``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway_api.version import __version__

from headway_operator import journal, options
from headway_operator.announcing import Announcer
from headway_operator.api import ApiClient, ApiError
from headway_operator.applying import Applier
from headway_operator.cache import Cache
from headway_operator.connection import (
    ConfigurationError,
    Connection,
    from_kubeconfig,
    in_cluster,
)
from headway_operator.controller import Controller, run_workers, utc_now
from headway_operator.measuring import Metrics
from headway_operator.serving import serving
from headway_operator.sweeping import DEAD_AFTER, Sweeper
from headway_operator.trainer_account import TrainerAccounts
from headway_operator.view import View
from headway_operator.watching import Feed, watch
from headway_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from headway_operator.options import Options

MOST_CALLS = 12_000
"""Calls within each other. An API server takes JSON that is nested 10,000 times, Python 3.11 reads
no deeper than this, and one operation that cannot be read would hide all of them."""
FIRST_TRY_EVERY = 1.0
"""Seconds between two tries to read everything at the start."""

logger = logging.getLogger("headway_operator")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until a signal stops it; returns the exit code."""
    sys.setrecursionlimit(MOST_CALLS)
    chosen = options.parse(sys.argv[1:] if arguments is None else arguments)
    journal.start(chosen.log_format, chosen.log_level)
    try:
        connection = (
            from_kubeconfig(chosen.kubeconfig, chosen.context)
            if chosen.kubeconfig
            else in_cluster()
        )
    except ConfigurationError as error:
        logger.error("%s", error)
        return 2
    asyncio.run(run(chosen, connection))
    return 0


async def run(chosen: Options, connection: Connection) -> None:
    """Run the operator until a signal stops it."""
    cache = Cache(utc_now, record_requesters=chosen.record_requesters)
    queue, view = WorkQueue(), View(utc_now)
    metrics = Metrics(cache)

    def observe(method: str, path: str, status: int, seconds: float) -> None:
        metrics.observe_request(method, path, status, seconds)
        view.observe_request(method, path, status, seconds)

    async with connection.session(observe) as session:
        api = ApiClient(session, connection.server)
        announcer = Announcer(api, socket.gethostname(), utc_now)
        accounts = TrainerAccounts(api)
        applier = Applier(api, cache, accounts, announcer, utc_now, chosen.trainer_image)
        controller = Controller(api, cache, queue, applier, metrics, view)
        sweeper = Sweeper(api, cache, queue, metrics, view, chosen.namespaces)
        state = State(controller, sweeper)

        def refresh() -> None:
            metrics.queue_depth.set(len(queue))
            metrics.queue_scheduled.set(queue.scheduled)
            metrics.staleness.set(sweeper.staleness)

        async with serving(
            chosen.listen_address,
            chosen.port,
            alive=state.what_is_broken,
            ready=state.what_is_missing,
            registry=metrics.registry,
            refresh=refresh,
        ) as port:
            where = ", ".join(chosen.namespaces) or "all namespaces"
            logger.info(
                "the operator starts",
                extra={
                    "version": __version__,
                    "server": connection.server,
                    "namespaces": where,
                    "listens": f"{chosen.listen_address}:{port}",
                },
            )
            await _fill(sweeper, state)
            logger.info("the operator is at work", extra={"operations": len(cache)})
            feed = Feed(cache, queue, metrics)
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(run_workers(controller, chosen.workers)),
                    group.create_task(sweeper.run()),
                    group.create_task(announcer.run()),
                ]
                # An error that Kopf does not expect ends the process; Kubernetes starts it anew.
                await watch(feed, connection, observe, chosen.namespaces)
                for helper in helpers:
                    helper.cancel()


class State:
    """Whether the operator is well, in words."""

    def __init__(self, controller: Controller, sweeper: Sweeper) -> None:
        self._controller = controller
        self._sweeper = sweeper
        self.problem = "the API server has not been reached yet"

    def what_is_missing(self) -> str:
        """What keeps the operator from working; empty where nothing does."""
        return self.problem

    def what_is_broken(self) -> str:
        """What only a restart can mend; empty where nothing is broken."""
        if self._sweeper.staleness > DEAD_AFTER:
            return f"the watches have told nothing for {self._sweeper.staleness:.0f} s"
        if self._controller.stuck:
            return f"a worker is stuck on {self._controller.stuck}"
        return ""


async def _fill(sweeper: Sweeper, state: State) -> None:
    """Read everything once; an API server that is away, or does not know us yet, is waited for."""
    while state.problem:
        try:
            await sweeper.fill()
        except ApiError as error:
            problem = f"the operations cannot be listed: {error.message}"
            if problem != state.problem:
                logger.warning("%s", problem)
            state.problem = problem
            await asyncio.sleep(FIRST_TRY_EVERY)
        else:
            state.problem = ""


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
