"""Kubernetes quantities such as ``500m``, ``1.5Gi`` and ``2e3``."""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[numkMGTPE]|[KMGTPE]i)?",
    re.ASCII,
)


def parse_quantity(text: str) -> int:
    """A quantity in thousandths, rounded up: ``parse_quantity("500m")`` is 500.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a quantity')
    return ceil(Decimal(match["number"]) * _SUFFIXES[match["suffix"] or ""] * 1000)


def whole(text: str) -> int:
    """A quantity in whole units, rounded up: bytes of ``1Gi``, cores of ``500m`` (1)."""
    return ceil(Decimal(parse_quantity(text)) / 1000)


def in_units_of(thousandths: int, divisor: str) -> int:
    """How many divisors fit, rounded up. A divisor of 0 means 1, as in the API."""
    unit = parse_quantity(divisor) or 1000
    return -(-thousandths // unit)
