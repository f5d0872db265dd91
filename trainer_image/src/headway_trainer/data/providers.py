"""Where bars come from: one small interface, and the providers that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pandas as pd

from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import InputError
from headway_trainer.inputs import did_you_mean


class Provider(Protocol):
    """A source of bars. Whatever it raises fails one series, not the load."""

    name: str

    def span(self, symbol: str, timeframe: Timeframe) -> Span:
        """What it offers of a series: from its first bar's open to its last bar's close.

        Raises:
            DataError: where it does not offer the series.
        """

    def fetch(self, symbol: str, timeframe: Timeframe, span: Span) -> pd.DataFrame:
        """The bars that open in a span, with a time index and the columns of bars.

        They need not keep the rules of :mod:`headway_trainer.data.bars`: they are cleaned after.

        Raises:
            DataError: where they cannot be had.
        """


NAMES = ["sample", "files"]


def provider_named(name: str, path: str | None, workspace: Path) -> Provider:
    """The provider of a name.

    Args:
        name: ``sample`` or ``files``.
        path: the folder of the provider files; a relative one is below the workspace.
        workspace: the workspace folder.

    Raises:
        InputError: where there is none of that name, or its folder is missing.
    """
    if name == "sample":
        from headway_trainer.data.sample_provider import SampleProvider

        return SampleProvider()
    if name == "files":
        from headway_trainer.data.files_provider import FilesProvider

        if path is None:
            raise InputError("the provider files needs path: the folder with the OHLCV files")
        return FilesProvider(workspace / path)
    raise InputError(f"there is no data provider {name!r}; {did_you_mean(name, NAMES)}")
