"""The data service: loads market data into the workspace, here or in the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headway import DataProgressRenderer, ServiceOrchestrator, workspace
from headway_api.vocabulary import OperationType

if TYPE_CHECKING:
    from headway_trainer.data.adapter import DataAdapter


class DataManager(ServiceOrchestrator["DataAdapter"]):
    """Loads one or more symbols and timeframes between dates."""

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__(DataProgressRenderer(), backend=backend)

    def _initialize_adapter(self) -> DataAdapter:
        from headway_trainer.data.adapter import DataAdapter

        return DataAdapter(workspace())

    async def load_data_async(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str | None = None,
        end_date: str | None = None,
        mode: str = "tail",
        provider: str = "sample",
        path: str | None = None,
    ) -> dict[str, Any]:
        """Load data here, or have it loaded in the cluster.

        Args:
            symbols: such as AAPL.
            timeframes: bar lengths, such as 1h or 1d.
            start_date: first day, YYYY-MM-DD; None is the provider's first.
            end_date: last day, YYYY-MM-DD; None is the provider's last.
            mode: ``local`` checks what is there, ``tail`` fetches what is newer, ``backfill`` what
                is older, ``full`` every gap.
            provider: ``sample`` or ``files``.
            path: folder of the provider files; a relative one is below the workspace.

        Returns:
            Here, what :meth:`headway_trainer.data.adapter.DataAdapter.load` returns.

        Raises:
            InputError: where an argument is not valid.
            DataLoadError: where nothing could be loaded.
        """
        return await self.start_managed_operation(
            "load",
            OperationType.DATA_LOAD,
            self._run_data_load_async,
            **_parameters(symbols, timeframes, start_date, end_date, mode, provider, path),
        )

    def load_data(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        start_date: str | None = None,
        end_date: str | None = None,
        mode: str = "tail",
        provider: str = "sample",
        path: str | None = None,
    ) -> dict[str, Any]:
        """Load data and wait for the result; arguments and errors as in ``load_data_async``."""
        return self.run_managed_operation(
            "load",
            OperationType.DATA_LOAD,
            self._run_data_load_async,
            **_parameters(symbols, timeframes, start_date, end_date, mode, provider, path),
        )

    async def _run_data_load_async(self, **parameters: Any) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            return self.adapter.load(
                **parameters,
                cancellation_token=self.get_current_cancellation_token(),
                progress_callback=self.update_operation_progress,
            )

        return await asyncio.to_thread(run)


def _parameters(
    symbols: Sequence[str],
    timeframes: Sequence[str],
    start_date: str | None,
    end_date: str | None,
    mode: str,
    provider: str,
    path: str | None,
) -> dict[str, Any]:
    from headway_api.models import DataLoadSpec

    from headway_trainer.inputs import listed, validated

    given = {
        "symbols": listed(symbols),
        "timeframes": listed(timeframes),
        "start_date": start_date,
        "end_date": end_date,
        "mode": mode,
        "provider": provider,
        "path": path,
    }
    spec = validated(DataLoadSpec, given, "the data load")
    return spec.model_dump(mode="json", exclude_none=True)
