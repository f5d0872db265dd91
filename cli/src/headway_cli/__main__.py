"""The program ``headway``: runs a command, and turns whatever goes wrong into words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.client_errors import ClientError

    from headway_cli.problems import Problem

# Nothing else up here: Ctrl-C while a module is loaded must find somebody who catches it.

COMPLETION_VARIABLE = "_HEADWAY_COMPLETE"
"""Set by a shell that asks what Tab may mean."""


def main() -> int:
    """Run the command line; returns the exit code where nothing exited before."""
    try:
        _have_streams()
        return _told()
    except KeyboardInterrupt:
        return 130


def _have_streams() -> None:
    """A stream that the caller closed (``headway list >&-``) leads nowhere."""
    import os
    from pathlib import Path

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as we live


def _told() -> int:
    from headway.client_errors import ClientError

    from headway_cli import terminal
    from headway_cli.exits import ExitCode
    from headway_cli.problems import Problem, show, show_defect, unwritten, wants_debug

    try:
        return _run()
    except (Problem, ClientError) as error:
        if wants_debug():
            raise
        problem = error if isinstance(error, Problem) else _problem_of(error)
        show(problem, sys.stderr, colour=terminal.has_colours(sys.stderr))
        return problem.code
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        terminal.let_go()
        return ExitCode.SUCCESS
    except Exception as error:
        if wants_debug():
            raise
        if isinstance(error, OSError) and (full := unwritten(error)) is not None:
            terminal.let_go()
            show(full, sys.stderr, colour=terminal.has_colours(sys.stderr))
            return full.code
        show_defect(error, sys.stderr)
        return ExitCode.FAILED


def _run() -> int:
    import os

    from headway_cli.exits import ExitCode
    from headway_cli.main import app

    if COMPLETION_VARIABLE in os.environ:
        # Typer registers its shells only together with options that we do not show.
        from typer._completion_classes import completion_init

        completion_init()
    try:
        app(prog_name=_called_as(sys.argv[0]))
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            # Typer takes it for a failure, and leaves with 1.
            raise leaving.__context__ from None
        raise
    return ExitCode.SUCCESS


def _problem_of(error: ClientError) -> Problem:
    from headway_cli.connecting import problem_of
    from headway_cli.options import Where

    return problem_of(error, Where())


def _called_as(program: str) -> str:
    """How the person called the program, for its help: kubectl plugins are ``kubectl-NAME``."""
    from pathlib import Path

    return "kubectl headway" if Path(program).name.startswith("kubectl-") else "headway"


if __name__ == "__main__":
    sys.exit(main())
