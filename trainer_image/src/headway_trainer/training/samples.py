"""Samples: windows of feature rows and their labels, over all symbols, without copying windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from headway_api.models import Strategy
from numpy.typing import NDArray

from headway_trainer.data.timeframes import Timeframe
from headway_trainer.training.joining import joined_features
from headway_trainer.training.labels import UNKNOWN, zigzag_labels

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SymbolTable:
    """Feature rows and labels of one symbol, one row for each bar of the finest timeframe.

    Attributes:
        names: of the features.
        rows: shape (bars, features), NaN where a feature is not known.
        times: when each bar opens, in nanoseconds since 1970.
        labels: UP, DOWN or UNKNOWN; see :mod:`headway_trainer.training.labels`.
        current_leg: the zigzag's direction as it is known at the bar itself.
        horizon: bars after each that its label looks at.
    """

    names: tuple[str, ...]
    rows: Floats
    times: Ints
    labels: Ints
    current_leg: Ints
    horizon: int

    @classmethod
    def build(cls, bars: Mapping[Timeframe, pd.DataFrame], strategy: Strategy) -> SymbolTable:
        """From one symbol's bars by timeframe."""
        table = joined_features(bars, strategy.indicators)
        closes = bars[min(bars, key=lambda t: t.length)]["close"].to_numpy()
        labels = strategy.labels
        return cls(
            names=tuple(table.columns),
            rows=table.to_numpy(dtype=np.float64),
            times=table.index.asi8.astype(np.int64),
            labels=zigzag_labels(closes, labels.threshold, labels.horizon),
            current_leg=zigzag_labels(closes, labels.threshold, 0),
            horizon=labels.horizon,
        )

    def unknown(self) -> list[str]:
        """The features that no bar has: too few bars for the indicator, or no volume."""
        known = np.isfinite(self.rows).any(axis=0)
        return [self.names[column] for column in np.flatnonzero(~known)]

    def usable(self, length: int) -> Ints:
        """The bars that end a window of ``length`` rows without NaN and have a label."""
        return np.flatnonzero(full_windows(self.rows, length) & (self.labels != UNKNOWN))


def full_windows(rows: Floats, length: int) -> NDArray[np.bool_]:
    """Whether the window of ``length`` rows that ends at each row is whole and has no NaN."""
    finite = np.isfinite(rows).all(axis=1).astype(np.int64)
    counted = np.concatenate([[0], np.cumsum(finite)])
    full = np.zeros(len(rows), dtype=np.bool_)
    full[length - 1 :] = counted[length:] - counted[:-length] == length
    return full


@dataclass(frozen=True)
class Samples:
    """Samples of all symbols; sample i is the window of rows that ends at row ``ends[i]``.

    Attributes:
        symbols: names, in the order of ``symbol``'s numbers.
        names: of the features.
        rows: all symbols' feature rows, one below the other, shape (bars, features).
        row_times: when each row's bar opens.
        ends: shape (samples,).
        symbol: number of each sample's symbol.
        times: when each sample's last bar opens, in nanoseconds since 1970.
        label_ends: when the last bar opens that its label looks at.
        labels: UP or DOWN.
        last_label: the label of the bar ``horizon`` bars before, the newest that is known when
            the sample is taken; UNKNOWN where there is none.
        current_leg: the zigzag's direction as it is known when the sample is taken.
    """

    symbols: tuple[str, ...]
    names: tuple[str, ...]
    rows: Floats
    row_times: Ints
    ends: Ints
    symbol: Ints
    times: Ints
    label_ends: Ints
    labels: Ints
    last_label: Ints
    current_leg: Ints

    @classmethod
    def gather(cls, tables: Mapping[str, SymbolTable], length: int) -> Samples:
        """All samples of all symbols.

        Args:
            tables: by symbol, all with the same features.
            length: rows of one window.
        """
        parts = []
        first_row = 0
        for number, table in enumerate(tables.values()):
            at = table.usable(length)
            before = at - table.horizon
            parts.append(
                {
                    "ends": at + first_row,
                    "symbol": np.full(len(at), number, dtype=np.int64),
                    "times": table.times[at],
                    "label_ends": table.times[at + table.horizon],
                    "labels": table.labels[at],
                    "last_label": np.where(before >= 0, table.labels[before], UNKNOWN),
                    "current_leg": table.current_leg[at],
                }
            )
            first_row += len(table.rows)
        every = list(tables.values())
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return cls(
            symbols=tuple(tables),
            names=every[0].names,
            rows=np.concatenate([table.rows for table in every]),
            row_times=np.concatenate([table.times for table in every]),
            **columns,
        )

    def by_symbol(self, positions: Ints) -> list[Ints]:
        """The positions, apart by symbol."""
        return [positions[self.symbol[positions] == n] for n in range(len(self.symbols))]
