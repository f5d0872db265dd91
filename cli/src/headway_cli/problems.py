"""Errors as a person reads them: what happened, to which object, what to do next.

Every expected failure of a command is raised as a :class:`Problem`; the program prints it on
standard error and leaves with its exit code. Anything else is a defect of ours, and says so in two
lines; ``HEADWAY_DEBUG=1`` shows its traceback.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from headway_cli.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

DEBUG_VARIABLE = "HEADWAY_DEBUG"
"""Environment variable that turns tracebacks on."""


class Problem(Exception):  # noqa: N818 - what a person has, not only an error
    """A failure that a person can do something about.

    Args:
        what: one sentence that names the object and what happened to it.
        why: further lines, such as the server's own words.
        todo: things to do next, most useful first; commands stand as they would be typed.
        code: the exit code of the program.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        todo: Sequence[str] = (),
        code: ExitCode = ExitCode.FAILED,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = tuple(todo)
        self.code = code

    def text(self) -> str:
        """The whole message, without colours."""
        lines = [f"Error: {self.what}"]
        lines += [f"  {line}" for line in self.why.splitlines()]
        if len(self.todo) == 1:
            lines.append(f"  Next: {self.todo[0]}")
        elif self.todo:
            lines.append("  Next:")
            lines += [f"    {item}" for item in self.todo]
        return "\n".join(lines)


def usage(what: str, *, why: str = "", todo: Sequence[str] = ()) -> Problem:
    """A problem with what was typed or with a file that was named."""
    return Problem(what, why=why, todo=todo, code=ExitCode.USAGE)


def unwritten(error: OSError) -> Problem | None:
    """The problem that the output cannot be written; None where the error is another."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or error.filename is not None:
        return None
    return Problem(f"The output could not be written: {error.strerror}.")


def show(problem: Problem, stream: TextIO, *, colour: bool) -> None:
    """Print a problem; with colour only the word Error is red."""
    text = problem.text()
    if colour:
        text = "\x1b[1;31mError:\x1b[0m" + text.removeprefix("Error:")
    print(text, file=stream, flush=True)


def wants_debug() -> bool:
    """Whether tracebacks were asked for."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def show_defect(error: BaseException, stream: TextIO) -> None:
    """Say in two lines that the program itself went wrong."""
    words = str(error).strip().splitlines()
    summary = f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
    lines = (
        f"Error: headway itself went wrong: {summary}",
        f"  Run it again with {DEBUG_VARIABLE}=1 for the traceback to report.",
    )
    print("\n".join(lines), file=stream, flush=True)
