"""Names of operations: how they are generated, and how they may be given on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headway_api import names

from headway_cli.problems import usage

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

LATEST = "@latest"
"""Stands for the operation that was created last, wherever a name can stand."""

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels and look-alikes, as Kubernetes does: no words by accident, no 0 for O."""

_SUFFIX_LENGTH = 5
_VALID = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PREFIXES = tuple(
    f"{kind}/"
    for kind in (
        f"{names.SINGULAR}.{names.GROUP}",
        f"{names.PLURAL}.{names.GROUP}",
        names.SINGULAR,
        names.PLURAL,
        names.SHORT_NAME,
    )
)


def generated(words: Iterable[str], chance: random.Random) -> str:
    """A fresh name that says what the run is: ``train-mlp-aapl-msft-x7k2p``.

    Args:
        words: what the run is about, most important first; whatever no longer fits is left out.
        chance: where the five characters at the end come from.
    """
    suffix = "".join(chance.choices(_ALPHABET, k=_SUFFIX_LENGTH))
    room = names.MAX_NAME_LENGTH - len(suffix) - 1
    stem = ""
    for word in words:
        clean = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
        longer = f"{stem}-{clean}" if stem else clean.lstrip("-0123456789")
        if not clean or len(longer) > room:
            continue
        stem = longer
    return f"{stem or 'run'}-{suffix}"


def of_a_retry(old: str, chance: random.Random) -> str:
    """A fresh name for a run that does what another one did: its name with another ending."""
    stem, dash, ending = old.rpartition("-")
    made = dash and len(ending) == _SUFFIX_LENGTH and set(ending) <= set(_ALPHABET)
    return generated((stem if made else old,), chance)


def checked(name: str) -> str:
    """The name as it was given, if the resource accepts it.

    Raises:
        Problem: it does not, with the rule that it breaks.
    """
    if len(name) > names.MAX_NAME_LENGTH:
        raise usage(
            f"The name {name!r} has {len(name)} characters; "
            f"{names.MAX_NAME_LENGTH} are the most an operation may have."
        )
    if not _VALID.fullmatch(name):
        raise usage(
            f"{name!r} is no name for an operation.",
            why="Names have a-z, 0-9 and '-', begin with a letter and end with a letter or digit.",
        )
    return name


def given(text: str) -> str:
    """The bare name from what was typed: ``trainop/x`` and ``x`` are the same."""
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return text
