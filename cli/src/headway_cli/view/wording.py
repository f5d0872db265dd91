"""Durations, numbers and sizes as people read them."""

from __future__ import annotations

_MINUTE = 60
_HOUR = 3600
_DAY = 86400


def duration(seconds: float) -> str:
    """A duration in at most two units: ``9s``, ``3m12s``, ``2h5m``, ``4d3h``. Negative is 0s."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return _pair(whole, _MINUTE, "m", 1, "s")
    if whole < _DAY:
        return _pair(whole, _HOUR, "h", _MINUTE, "m")
    return _pair(whole, _DAY, "d", _HOUR, "h")


def _pair(whole: int, big: int, big_name: str, small: int, small_name: str) -> str:
    rest = whole % big // small
    return f"{whole // big}{big_name}" + (f"{rest}{small_name}" if rest else "")


def fine_duration(seconds: float) -> str:
    """A duration that may be short: tenths below ten seconds, milliseconds below one."""
    if seconds < 0:
        return "0 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return duration(seconds)


def number(value: float) -> str:
    """A metric in four significant digits: ``0.3121``, ``12.5``, ``3.2e-05``, ``123456``."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.4g}"


def rate(per_second: float, unit: str) -> str:
    """A pace: ``34.2 batches/s``, or the other way round when slow: ``2.0 s/batch``."""
    if per_second >= 1:
        digits = 0 if per_second >= 100 else 1
        return f"{per_second:.{digits}f} {_plural(unit)}/s"
    seconds = 1 / per_second
    if seconds < _MINUTE:
        return f"{seconds:.1f} s/{unit}"
    return f"{duration(seconds)}/{unit}"


def count(amount: int, unit: str) -> str:
    """``1 epoch``, ``20 epochs``."""
    return f"{amount} {unit if amount == 1 else _plural(unit)}"


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith("ch") and unit != "epoch" else f"{unit}s"


def size(amount: int) -> str:
    """Bytes in binary units: ``812 B``, ``5.9 KiB``, ``1.2 GiB``."""
    value = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def reasoned(reason: str, message: str) -> str:
    """``OOMKilled: it used more than 1Gi``; a message that begins with its reason says it once."""
    if not reason or not message:
        return reason or message
    return message if message.startswith(reason) else f"{reason}: {message}"


def shortened(text: str, width: int) -> str:
    """The text on one line of at most ``width`` characters, cut with an ellipsis."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    return line[: max(0, width - 1)].rstrip() + "…" if width > 0 else ""


def listed(items: list[str], shown: int = 2) -> str:
    """``AAPL, MSFT (+2 more)``."""
    head = ", ".join(items[:shown])
    more = len(items) - shown
    return f"{head} (+{more} more)" if more > 0 else head
