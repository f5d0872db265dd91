"""The program ``headway``: runs a command, and turns whatever goes wrong into words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headway.client_errors import ClientError

from headway_cli.exits import ExitCode
from headway_cli.problems import Problem, show, show_defect, wants_debug
from headway_cli.terminal import has_colours

COMPLETION_VARIABLE = "_HEADWAY_COMPLETE"
"""Set by a shell that asks what Tab may mean."""


def main() -> int:
    """Run the command line; returns the exit code where nothing exited before."""
    try:
        return _run()
    except (Problem, ClientError) as error:
        if wants_debug():
            raise
        problem = error if isinstance(error, Problem) else _problem_of(error)
        show(problem, sys.stderr, colour=has_colours(sys.stderr))
        return problem.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.SUCCESS
    except Exception as error:
        if wants_debug():
            raise
        show_defect(error, sys.stderr)
        return ExitCode.FAILED


def _run() -> int:
    from headway_cli.main import app

    if COMPLETION_VARIABLE in os.environ:
        # Typer registers its shells only together with options that we do not show.
        from typer._completion_classes import completion_init

        completion_init()
    app(prog_name=_called_as(sys.argv[0]))
    return ExitCode.SUCCESS


def _problem_of(error: ClientError) -> Problem:
    from headway_cli.connecting import problem_of
    from headway_cli.options import Where

    return problem_of(error, Where())


def _called_as(program: str) -> str:
    """How the person called the program, for its help: kubectl plugins are ``kubectl-NAME``."""
    return "kubectl headway" if Path(program).name.startswith("kubectl-") else "headway"


if __name__ == "__main__":
    sys.exit(main())
