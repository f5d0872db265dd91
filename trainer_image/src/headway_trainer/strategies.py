"""Strategies from files and from data: YAML, validated by the resource's own model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from headway_api.models import Strategy

from headway_trainer.errors import InputError
from headway_trainer.inputs import validated


def read_strategy(path: Path | str) -> Strategy:
    """The strategy in a YAML file.

    Raises:
        InputError: where the file is missing, is no YAML, or is no valid strategy.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the strategy file {path}: {error}") from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InputError(f"the strategy file {path} is no valid YAML: {where}") from None
    if not isinstance(data, Mapping):
        raise InputError(f"the strategy file {path} holds no mapping; see examples/strategies")
    return validated(Strategy, data, f"the strategy file {path}")


def strategy_from(
    strategy: Strategy | Mapping[str, Any] | None, path: Path | str | None
) -> Strategy:
    """The one strategy that was given: the object, the mapping, or the file.

    Raises:
        InputError: where none or both were given, or it is not valid.
    """
    if (strategy is None) == (path is None):
        raise InputError("give either strategy or strategy_config_path")
    if path is not None:
        return read_strategy(path)
    if isinstance(strategy, Strategy):
        return strategy
    return validated(Strategy, strategy or {}, "the strategy")


def as_yaml(strategy: Strategy) -> str:
    """The strategy as the text of a strategy file, defaults written out."""
    return yaml.safe_dump(strategy.to_wire(), sort_keys=False, allow_unicode=True)
