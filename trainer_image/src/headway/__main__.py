"""The ``headway`` program: what a trainer pod needs is light, all else is the command line's."""

from __future__ import annotations

import sys

_COMMANDS = "headway.commands"


def main() -> int:
    """Run ``headway report``, ``headway exec``, or the command line where it is installed."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "report":
        from headway import shell_report

        return shell_report.main(sys.argv[2:])
    if command == "exec":
        from headway import execution

        return execution.main()
    try:
        return _command_line()
    except KeyboardInterrupt:  # before the command line was there to catch it
        return 130


def _command_line() -> int:
    from importlib.metadata import entry_points

    for found in entry_points(group=_COMMANDS, name="cli"):
        run = found.load()
        return int(run() or 0)
    sys.stderr.write(
        "headway: only 'report' and 'exec' are here; for the other commands install headway-cli\n"
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
