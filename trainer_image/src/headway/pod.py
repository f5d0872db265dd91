"""The end of a trainer's process: from a result to an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from headway.cancellation import Stopped

FAILED = 1


def run(
    work: Callable[[], Mapping[str, Any] | None], told: tuple[type[Exception], ...] = ()
) -> int:
    """Do the work of a trainer pod and return the exit code of its process.

    Args:
        work: runs a managed operation and returns its result.
        told: errors whose message says enough: no traceback is printed for them.

    Returns:
        0 where it is done or was cancelled, 1 where it failed or raised (the traceback is printed).

    Raises:
        SystemExit: with 143 where a SIGTERM that nobody announced ended it.
    """
    try:
        result = work()
    except Stopped:
        return exit_code_of({"status": "cancelled"})
    except told as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except Exception:  # noqa: BLE001 - the last stop of any error of the work
        traceback.print_exc(file=sys.stderr)
        return FAILED
    return exit_code_of(result)


def exit_code_of(result: Mapping[str, Any] | None) -> int:
    """The exit code that a result means."""
    return FAILED if (result or {}).get("status") == "failed" else 0
