"""What people ask for, validated by the resource's own models, with errors in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from headway_api.models import ApiModel
from pydantic import ValidationError

from headway_trainer.errors import InputError

ModelT = TypeVar("ModelT", bound=ApiModel)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def validated(model: type[ModelT], values: Mapping[str, Any], what: str) -> ModelT:
    """The values as a model; None values count as absent.

    Args:
        model: one of the resource's models.
        values: its fields, in snake_case or camelCase.
        what: what the values are, for the error's message.

    Raises:
        InputError: where a value is missing, of the wrong type or out of its bounds, or where the
            first day is after the last; both count.
    """
    try:
        found = model.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors()[:4])
        raise InputError(f"{what} is not valid: {problems}") from None
    start, end = getattr(found, "start_date", None), getattr(found, "end_date", None)
    for name, day in (("start_date", start), ("end_date", end)):
        if day is not None:
            day_of(day, f"{what}: {name}")
    if start is not None and end is not None and start > end:
        raise InputError(f"{what} is not valid: start_date {start} is after end_date {end}")
    return found


def day_of(text: str, what: str) -> datetime:
    """Midnight UTC of a day written YYYY-MM-DD.

    Raises:
        InputError: where there is no such day.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{what} is {text!r}, which is no day; write YYYY-MM-DD") from None


def day_after(text: str, what: str) -> datetime:
    """Midnight UTC at the end of a day written YYYY-MM-DD; of the last one there is, its begin."""
    return min(day_of(text, what), _LAST - timedelta(days=1)) + timedelta(days=1)


def listed(words: Sequence[str]) -> list[str]:
    """A list of words; a single word is a list of one."""
    return [words] if isinstance(words, str) else list(words)


def did_you_mean(word: str, known: list[str]) -> str:
    """``did you mean rsi?`` where a known word is near, else the list of what there is."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{where}: {message}{shown}" if where else message
