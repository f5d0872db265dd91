"""The command line: every command of it, each loaded when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from headway_api.version import __version__
from typer.core import TyperGroup

from headway_cli import examples, exits
from headway_cli.helping import Command, new_app
from headway_cli.terminal import show

if TYPE_CHECKING:
    from typer._click.core import Command as AnyCommand
    from typer._click.formatting import HelpFormatter

_EPILOG = f"""\b
A NAME may be @latest: the operation that was created last.
Within a run, `headway report` tells its progress from a shell script.

\b
Exit codes:
{exits.table()}

\b
HEADWAY_DEBUG=1 shows the traceback of an error of headway's own.
"""


@dataclass(frozen=True)
class Entry:
    """Where a command is, and the line that the help of ``headway`` itself has for it."""

    module: str
    """Module of :mod:`headway_cli.commands`."""
    attribute: str
    """Its function there, or its Typer application."""
    line: str


ENTRIES = {
    # What one does first stands first.
    "run": Entry("running", "run", "Start a run and follow it."),
    "submit": Entry("running", "submit", "Start a run and return at once."),
    "list": Entry("looking", "list_", "List operations, the newest last."),
    "get": Entry("looking", "get", "Show one operation in detail."),
    "watch": Entry("looking", "watch", "Follow one operation to its end."),
    "logs": Entry("logs", "logs", "Print what an operation printed."),
    "wait": Entry("waiting", "wait", "Wait until an operation is over."),
    "suspend": Entry("pausing", "suspend", "Pause operations."),
    "resume": Entry("pausing", "resume", "Let suspended operations go on, from their checkpoints."),
    "cancel": Entry("stopping", "cancel", "Stop operations."),
    "retry": Entry("retrying", "retry", "Run a finished operation once more, as a new one."),
    "delete": Entry("stopping", "delete", "Delete operations and their records."),
    "demo": Entry("demo", "demo", "See all of it on this machine."),
    "cluster": Entry("cluster", "app", "A Kubernetes on this machine: up, down, status, env."),
    "host": Entry("host", "app", "This machine as a host for runs: join, status, renew, leave."),
    "install": Entry("install", "install", "Install Headway on a cluster."),
    "doctor": Entry("doctor", "doctor", "Check connection, installation and rights."),
    "completion": Entry("completion", "app", "Print what makes Tab work in a shell."),
}


@cache
def _load(name: str) -> AnyCommand:
    from headway_cli.options import grouped

    entry = ENTRIES[name]
    found = getattr(import_module(f"headway_cli.commands.{entry.module}"), entry.attribute)
    if isinstance(found, typer.Typer):
        app_of_it = found
    else:
        app_of_it = new_app("")
        app_of_it.command(name, cls=Command, epilog=examples.of(name))(grouped(found))
    command = typer.main.get_command(app_of_it)
    command.name = name
    return command


class Commands(Mapping[str, Any]):
    """The commands by name, in their order; one is loaded when somebody asks for it."""

    def __getitem__(self, name: str) -> Any:
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)


class Root(TyperGroup):
    """``headway`` itself. Loading all its commands takes longer than most of them work."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()  # type: ignore[assignment]

    def format_commands(self, ctx: typer.Context, formatter: HelpFormatter) -> None:  # type: ignore[override]  # noqa: ARG002
        """Write the commands' names and lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in ENTRIES.items()])


app = new_app(
    "Run, watch and stop training jobs on Kubernetes.",
    cls=Root,
    epilog=_EPILOG,
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        show(f"headway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run, watch and stop training jobs on Kubernetes."""
