"""What the exit code of a ``headway`` command says.

The table is a promise to scripts: it is printed by ``headway --help`` and documented in
docs/cli.md.
"""

from __future__ import annotations

from enum import IntEnum

from headway_api.vocabulary import Phase


class ExitCode(IntEnum):
    """The outcome of a command, and of the run that it followed or waited for."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    REFUSED = 6
    TIMED_OUT = 124
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What the code says, as a sentence fragment for people."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.SUCCESS: "the command worked; a run that was followed succeeded",
    ExitCode.FAILED: "the run that was followed failed, or the command hit an error",
    ExitCode.USAGE: "the command line, the manifest or the strategy file is wrong",
    ExitCode.CANCELLED: "the run that was followed was cancelled",
    ExitCode.NOT_FOUND: "there is no such operation or namespace, or it was deleted meanwhile",
    ExitCode.UNREACHABLE: "no cluster is configured, or it does not answer",
    ExitCode.REFUSED: "the cluster refused: not valid, not allowed, or the name is taken",
    ExitCode.TIMED_OUT: "the time given with --timeout passed first",
    ExitCode.INTERRUPTED: "detached or interrupted; the run itself goes on",
}

_OUTCOMES = {
    Phase.SUCCEEDED: ExitCode.SUCCESS,
    Phase.FAILED: ExitCode.FAILED,
    Phase.CANCELLED: ExitCode.CANCELLED,
}


def outcome(phase: Phase) -> ExitCode:
    """The exit code that tells how a run ended.

    Raises:
        KeyError: the phase is not a final one.
    """
    return _OUTCOMES[phase]


def table() -> str:
    """The exit codes, one a line, as help prints them."""
    return "\n".join(f"{code.value:>5}  {code.meaning}" for code in ExitCode)
