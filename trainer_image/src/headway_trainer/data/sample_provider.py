"""Real prices that install from PyPI: daily stocks, and hourly EUR/USD.

Stocks are those of ``bokeh_sampledata`` (public domain): AAPL, IBM and MSFT from March 2000, GOOG
from its listing in August 2004, FB from May 2012, all to 1 March 2013. They come as traded, with
an adjusted close beside: every price is multiplied by adjusted close / close, and the volume
divided by it, so that splits and dividends leave no jump and the traded value stays.

EUR/USD are the ask prices of 2017 that ``gym_anytrading`` carries (MIT). Coarser bars are
resampled.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from headway_trainer.data import bars as bars_
from headway_trainer.data.spans import Span
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError

STOCKS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_DAY, _HOUR = Timeframe(1, "d"), Timeframe(1, "h")
_FOREX_FILE = "datasets/data/FOREX_EURUSD_1H_ASK.csv"


class SampleProvider:
    """Offers AAPL, FB, GOOG, IBM and MSFT from ``1d`` up, and EUR/USD from ``1h`` up."""

    name = "sample"

    def __init__(self) -> None:
        self._raw: dict[str, pd.DataFrame] = {}
        self._series: dict[tuple[str, Timeframe], pd.DataFrame] = {}

    def span(self, symbol: str, timeframe: Timeframe) -> Span:
        """What there is of a series."""
        return bars_.reach(self._bars(symbol, timeframe), timeframe)

    def fetch(self, symbol: str, timeframe: Timeframe, span: Span) -> pd.DataFrame:
        """The bars that open in a span."""
        return bars_.within(self._bars(symbol, timeframe), span)

    def _bars(self, symbol: str, timeframe: Timeframe) -> pd.DataFrame:
        key = (symbol, timeframe)
        if key not in self._series:
            name = "EUR/USD" if symbol.upper() in ("EUR/USD", "EURUSD") else symbol.upper()
            if name != "EUR/USD" and name not in STOCKS:
                offered = ", ".join((*STOCKS, "EUR/USD"))
                raise DataError(f"the provider sample has no {symbol}; it has {offered}")
            finest = _HOUR if name == "EUR/USD" else _DAY
            if not finest.divides(timeframe):
                raise DataError(
                    f"the provider sample has {symbol} in bars of {finest} and whole multiples of "
                    f"it, not of {timeframe}"
                )
            if name not in self._raw:
                self._raw[name] = _forex() if name == "EUR/USD" else _stock(name)
            bars = bars_.resampled(self._raw[name], finest, timeframe)
            if not len(bars):
                raise DataError(f"the provider sample has too little of {symbol} for {timeframe}")
            self._series[key] = bars
        return self._series[key]


def _stock(symbol: str) -> pd.DataFrame:
    try:
        from bokeh_sampledata import stocks
    except ImportError:
        raise DataError(_not_installed("bokeh-sampledata")) from None
    raw = pd.DataFrame(getattr(stocks, symbol))
    factor = raw["adj_close"] / raw["close"]
    adjusted = pd.DataFrame({c: raw[c] * factor for c in bars_.PRICES})
    adjusted["volume"] = raw["volume"] / factor
    adjusted.index = pd.DatetimeIndex(pd.to_datetime(raw["date"]))
    return bars_.clean(adjusted).bars


def _forex() -> pd.DataFrame:
    # Found, not imported: importing the package would import gym and matplotlib.
    spec = find_spec("gym_anytrading")
    if spec is None or spec.origin is None:
        raise DataError(_not_installed("gym-anytrading"))
    raw = pd.read_csv(Path(spec.origin).parent / _FOREX_FILE)
    raw.columns = raw.columns.str.lower()
    raw.index = pd.DatetimeIndex(pd.to_datetime(raw["time"], format="%d.%m.%Y %H:%M:%S.%f"))
    return bars_.clean(raw).bars


def _not_installed(package: str) -> str:
    return f"the Python package {package} is not installed; install headway[services]"
