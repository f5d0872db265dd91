"""Technical indicators as features that mean the same for every symbol.

The indicators themselves come from ``pandas_ta_classic``. A price in dollars says little about
another symbol, so each output is made free of scale: a price level becomes its distance from the
close, ``log(close / level)``; a difference of prices is divided by the close; a ratio or a bounded
oscillator stays as it is.

Only what never looks ahead is offered: the table leaves out dpo and ichimoku, whose usual forms are
shifted back in time, and the library's ``offset``, which could be. Parameters are positive, because
with a negative ``drift`` the library compares a bar with a later one; and because what it cannot
use, such as a length of 0, it would replace by its default without a word.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from headway_api.models.strategy import Indicator

from headway_trainer.errors import InputError
from headway_trainer.inputs import did_you_mean


class Scale(Enum):
    """What an output is measured in."""

    RATIO = "ratio"
    LEVEL = "level"
    DIFFERENCE = "difference"


@dataclass(frozen=True)
class Recipe:
    """How an indicator becomes features.

    Attributes:
        scale: what its outputs are measured in.
        outputs: the outputs used, by the beginning of the library's column name; empty for an
            indicator with one output.
        usual: parameters that differ from the library's own defaults.
    """

    scale: Scale
    outputs: tuple[str, ...] = ()
    usual: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))


_RATIO, _LEVEL, _DIFFERENCE = Scale.RATIO, Scale.LEVEL, Scale.DIFFERENCE

RECIPES: dict[str, Recipe] = {
    # Momentum
    "rsi": Recipe(_RATIO),
    "roc": Recipe(_RATIO),
    "mom": Recipe(_DIFFERENCE),
    "macd": Recipe(_DIFFERENCE, ("MACD_", "MACDh_", "MACDs_")),
    "ppo": Recipe(_RATIO, ("PPO_", "PPOh_", "PPOs_")),
    "apo": Recipe(_DIFFERENCE),
    "ao": Recipe(_DIFFERENCE),
    "stoch": Recipe(_RATIO, ("STOCHk_", "STOCHd_")),
    "stochrsi": Recipe(_RATIO, ("STOCHRSIk_", "STOCHRSId_")),
    "willr": Recipe(_RATIO),
    "cci": Recipe(_RATIO),
    "cmo": Recipe(_RATIO),
    "uo": Recipe(_RATIO),
    "tsi": Recipe(_RATIO, ("TSI_", "TSIs_")),
    "trix": Recipe(_RATIO, ("TRIX_", "TRIXs_")),
    "bias": Recipe(_RATIO),
    "bop": Recipe(_RATIO),
    "er": Recipe(_RATIO),
    "cti": Recipe(_RATIO),
    "psl": Recipe(_RATIO),
    "kdj": Recipe(_RATIO, ("K_", "D_", "J_")),
    # Trend
    "adx": Recipe(_RATIO, ("ADX_", "DMP_", "DMN_")),
    "aroon": Recipe(_RATIO, ("AROOND_", "AROONU_", "AROONOSC_")),
    "chop": Recipe(_RATIO),
    "vortex": Recipe(_RATIO, ("VTXP_", "VTXM_")),
    "vhf": Recipe(_RATIO),
    # Averages
    "sma": Recipe(_LEVEL),
    "ema": Recipe(_LEVEL),
    "wma": Recipe(_LEVEL),
    "hma": Recipe(_LEVEL),
    "dema": Recipe(_LEVEL),
    "tema": Recipe(_LEVEL),
    "rma": Recipe(_LEVEL),
    "trima": Recipe(_LEVEL),
    "kama": Recipe(_LEVEL),
    "t3": Recipe(_LEVEL),
    "linreg": Recipe(_LEVEL),
    "vwma": Recipe(_LEVEL),
    "midpoint": Recipe(_LEVEL),
    "midprice": Recipe(_LEVEL),
    "donchian": Recipe(_LEVEL, ("DCL_", "DCM_", "DCU_")),
    # Volatility
    "atr": Recipe(_DIFFERENCE),
    "natr": Recipe(_RATIO),
    "true_range": Recipe(_DIFFERENCE),
    "bbands": Recipe(_RATIO, ("BBB_", "BBP_"), MappingProxyType({"length": 20})),
    "kc": Recipe(_LEVEL, ("KCL", "KCB", "KCU")),
    "stdev": Recipe(_DIFFERENCE),
    "rvi": Recipe(_RATIO),
    "ui": Recipe(_RATIO),
    "massi": Recipe(_RATIO),
    # Statistics
    "zscore": Recipe(_RATIO),
    "skew": Recipe(_RATIO),
    "kurtosis": Recipe(_RATIO),
    "log_return": Recipe(_RATIO),
    "percent_return": Recipe(_RATIO),
    # Volume
    "mfi": Recipe(_RATIO),
    "cmf": Recipe(_RATIO),
    "pvo": Recipe(_RATIO, ("PVO_", "PVOh_", "PVOs_")),
}

_COLUMNS = {
    "open": "open", "open_": "open", "high": "high", "low": "low", "close": "close",
    "volume": "volume",
}  # fmt: skip
_NOT_OFFERED = frozenset(
    {*_COLUMNS, "offset", "talib", "kwargs", "cumulative", "mamode", "asc", "ln"}
)
_MAY_BE_FRACTIONS = frozenset({"scalar", "std", "c", "a", "fast_w", "medium_w", "slow_w"})
_MAY_BE_ZERO = frozenset({"ddof", "refined", "thirds"})


def check(indicators: Sequence[Indicator]) -> None:
    """See that every indicator exists, knows its parameters and can use their values.

    Raises:
        InputError: where one does not.
    """
    for indicator in indicators:
        if indicator.name not in RECIPES:
            hint = did_you_mean(indicator.name, sorted(RECIPES))
            raise InputError(f"there is no indicator {indicator.name!r}; {hint}")
        known = parameters_of(indicator.name)
        for name, value in indicator.parameters.items():
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise InputError(f"the indicator {indicator.name} has no parameter {name!r}; {has}")
            if wanted := _unmet(name, value):
                raise InputError(
                    f"the indicator {indicator.name} needs {name} to be {wanted}, not {value:g}"
                )


def parameters_of(name: str) -> list[str]:
    """The parameters that a strategy may set of an indicator."""
    return [p for p in _parameters(_function(name)) if p not in _NOT_OFFERED]


def _unmet(name: str, value: float) -> str | None:
    """What a parameter's value has to be and is not."""
    if name in _MAY_BE_FRACTIONS:
        return None if math.isfinite(value) and value > 0 else "a number above 0"
    if name in _MAY_BE_ZERO and value == 0:
        return None
    return None if float(value).is_integer() and value > 0 else "a whole number above 0"


def features(bars: pd.DataFrame, indicators: Sequence[Indicator]) -> pd.DataFrame:
    """The features of every bar, from that bar and earlier ones only.

    Args:
        bars: a frame of bars.
        indicators: in the order that the columns get.

    Returns:
        The same index; a row holds NaN while an indicator has too few bars behind it.

    Raises:
        InputError: where an indicator or a parameter does not exist, or a parameter is one that
            the indicator cannot work with.
    """
    check(indicators)
    columns: dict[str, Any] = {}
    for indicator in indicators:
        for name, values in _outputs(bars, indicator).items():
            columns[name] = values.to_numpy(dtype=np.float64)
    frame = pd.DataFrame(columns, index=bars.index)
    return frame.where(np.isfinite(frame))


def _outputs(bars: pd.DataFrame, indicator: Indicator) -> dict[str, pd.Series]:
    recipe, function = RECIPES[indicator.name], _function(indicator.name)
    parameters = _parameters(function)
    chosen = {**recipe.usual, **indicator.parameters}
    arguments = {p: bars[_COLUMNS[p]] for p in parameters if p in _COLUMNS and p != "open_"}
    if "open_" in parameters and parameters["open_"].default is inspect.Parameter.empty:
        arguments["open_"] = bars["open"]
    arguments.update({n: int(v) if float(v).is_integer() else v for n, v in chosen.items()})
    if "talib" in parameters:
        arguments["talib"] = False  # the same numbers whether TA-Lib is installed or not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = function(**arguments)
    except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        raise InputError(
            f"the indicator {_title(indicator)} cannot be computed: {error}; see its parameters"
        ) from error
    suffixes = [output.rstrip("_") for output in recipe.outputs] or [""]
    if found is None:  # fewer bars than it needs
        nothing = pd.Series(np.nan, index=bars.index)
        return {_column(indicator, suffix): nothing for suffix in suffixes}
    if not recipe.outputs:
        return {_column(indicator, ""): _free_of_scale(found, bars["close"], recipe.scale)}
    out = {}
    for prefix, suffix in zip(recipe.outputs, suffixes, strict=True):
        column = next(c for c in found.columns if c.startswith(prefix))
        out[_column(indicator, suffix)] = _free_of_scale(found[column], bars["close"], recipe.scale)
    return out


def _free_of_scale(values: pd.Series, close: pd.Series, scale: Scale) -> pd.Series:
    if scale is Scale.LEVEL:
        return np.log(close / values.where(values > 0))
    return values / close if scale is Scale.DIFFERENCE else values


def _column(indicator: Indicator, suffix: str) -> str:
    return f"{_title(indicator)}{f':{suffix}' if suffix else ''}"


def _title(indicator: Indicator) -> str:
    given = ",".join(f"{name}={value:g}" for name, value in sorted(indicator.parameters.items()))
    return f"{indicator.name}({given})" if given else indicator.name


def _function(name: str) -> Any:
    import pandas_ta_classic

    return getattr(pandas_ta_classic, name)


def _parameters(function: Any) -> Any:
    return inspect.signature(function).parameters
