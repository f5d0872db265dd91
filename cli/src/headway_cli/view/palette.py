"""What colours and signs mean: one meaning each, and each said in words beside it."""

from __future__ import annotations

from headway_api.vocabulary import Phase

STYLES = {
    Phase.PENDING: "yellow",
    Phase.QUEUED: "yellow",
    Phase.STARTING: "cyan",
    Phase.RUNNING: "blue",
    Phase.CANCELLING: "magenta",
    Phase.SUSPENDING: "yellow",
    Phase.SUSPENDED: "yellow",
    Phase.RETRYING: "cyan",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.CANCELLED: "magenta",
}
"""Rich styles of the phases."""

_SIGNS = {
    Phase.PENDING: ("○", "o"),
    Phase.QUEUED: ("○", "o"),
    Phase.STARTING: ("◔", "o"),
    Phase.RUNNING: ("●", "*"),
    Phase.CANCELLING: ("◌", "-"),
    Phase.SUSPENDING: ("◌", "-"),
    Phase.SUSPENDED: ("‖", "="),
    Phase.RETRYING: ("↻", "~"),
    Phase.SUCCEEDED: ("✓", "+"),
    Phase.FAILED: ("✗", "x"),
    Phase.CANCELLED: ("■", "-"),
}

_ANSI = {"yellow": 33, "cyan": 36, "blue": 34, "magenta": 35, "green": 32, "red": 31}


def sign(phase: Phase, *, ascii_only: bool = False) -> str:
    """One character for a phase."""
    return _SIGNS[phase][1 if ascii_only else 0]


def painted(text: str, phase: Phase) -> str:
    """The text in the phase's colour, as terminal escapes (for tables, which do without Rich)."""
    return f"\x1b[{_ANSI[STYLES[phase]]}m{text}\x1b[0m"


def dimmed(text: str) -> str:
    """The text in the background, as terminal escapes."""
    return f"\x1b[2m{text}\x1b[0m"
