"""Several timeframes in one row, without looking ahead.

A sample is taken when a bar of the finest timeframe closes. Of a coarser timeframe it sees the
latest bar that has closed by then: the bar that is still open is not used, though its features
would be in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pandas as pd
from headway_api.models.strategy import Indicator

from headway_trainer.data import bars as bars_
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import InputError
from headway_trainer.training.indicators import features


def finest_first(timeframes: Sequence[str]) -> list[Timeframe]:
    """The timeframes, each once; the first gives the samples. Equal ones stay as they are given."""
    return sorted(dict.fromkeys(Timeframe.parse(t) for t in timeframes), key=lambda t: t.length)


def joined_features(
    bars: Mapping[Timeframe, pd.DataFrame], indicators: Sequence[Indicator]
) -> pd.DataFrame:
    """The features of all timeframes at every bar of the finest one.

    Args:
        bars: one symbol's bars by timeframe.
        indicators: computed on each timeframe.

    Returns:
        Indexed by the finest bars' opens; columns such as ``1d rsi(length=14)``. NaN where a
        coarser timeframe has no bar that closed lately.

    Raises:
        InputError: where there are no bars at all.
    """
    if not bars:
        raise InputError("there are no bars to compute features from")
    first, *coarser = sorted(bars, key=lambda t: t.length)
    out = features(bars[first], indicators).add_prefix(f"{first} ")
    taken = bars_.closes(out.index, first)
    for timeframe in coarser:
        known = features(bars[timeframe], indicators).add_prefix(f"{timeframe} ")
        known.index = bars_.closes(known.index, timeframe)
        right = known.rename_axis("closed").reset_index()
        found = pd.merge_asof(
            pd.DataFrame({"taken": taken}),
            right,
            left_on="taken",
            right_on="closed",
            direction="backward",
            tolerance=pd.Timedelta(2 * timeframe.length + timedelta(days=7)),
        )
        out = out.join(found[known.columns].set_axis(out.index))
    return out
