"""Running programs: what they said is shown when they fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """The lab cannot be made; the message is for a person."""


def say(text: str) -> None:
    """Tell what is done, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    within: float = 600,
) -> str:
    """What a program prints.

    Raises:
        LabError: it failed, or took longer than ``within`` seconds.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
        )
    except OSError as error:
        raise LabError(f"{words[0]} cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words[:6])} took longer than {within:g} s") from error
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(words[:6])} failed ({done.returncode}):\n{said}")
    return done.stdout


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether a program ends well."""
    try:
        run(command, env=env, within=60)
    except LabError:
        return False
    return True
