"""What the controller says over HTTP: whether it is well, whether it is ready, and its metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], str]
"""Says what is wrong; empty where nothing is."""


@asynccontextmanager
async def serving(
    address: str,
    port: int,
    *,
    alive: Check,
    ready: Check,
    registry: CollectorRegistry,
    refresh: Callable[[], None],
) -> AsyncIterator[int]:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics``; yields the port.

    Args:
        address: to listen on.
        port: to listen on; 0 for any.
        alive: what is so wrong that only a restart helps.
        ready: what keeps it from working now.
        registry: the metrics.
        refresh: brings gauges up to date before they are read.
    """

    def answer(check: Check) -> web.Response:
        problem = check()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def healthz(_: web.Request) -> web.Response:
        return answer(alive)

    async def readyz(_: web.Request) -> web.Response:
        return answer(ready)

    async def metrics(_: web.Request) -> web.Response:
        refresh()
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    application = web.Application()
    application.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
        ]
    )
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, address, port)
    await site.start()
    try:
        sockets = site._server.sockets if site._server else ()  # type: ignore[attr-defined]  # noqa: SLF001
        yield sockets[0].getsockname()[1] if sockets else port
    finally:
        await runner.cleanup()
