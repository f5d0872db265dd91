"""Market data: bars of OHLCV, loaded from providers, kept as Parquet in the workspace."""
