"""The command line: every command of it."""

from __future__ import annotations

from typing import Annotated

import typer
from headway_api.version import __version__

from headway_cli import examples, exits
from headway_cli.commands import (
    cluster,
    completion,
    demo,
    doctor,
    host,
    install,
    logs,
    looking,
    pausing,
    retrying,
    running,
    stopping,
    waiting,
)
from headway_cli.helping import Command, new_app
from headway_cli.options import grouped
from headway_cli.terminal import show

_EPILOG = f"""\b
A NAME may be @latest: the operation that was created last.

\b
Exit codes:
{exits.table()}

\b
HEADWAY_DEBUG=1 shows the traceback of an error of headway's own.
"""

app = new_app(
    "Run, watch and stop training jobs on Kubernetes.", epilog=_EPILOG, no_args_is_help=True
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


app.add_typer(running.run, name="run")
app.add_typer(running.submit, name="submit")
for _name, _command in (
    ("list", looking.list_),
    ("get", looking.get),
    ("watch", looking.watch),
    ("logs", logs.logs),
    ("suspend", pausing.suspend),
    ("resume", pausing.resume),
    ("cancel", stopping.cancel),
    ("retry", retrying.retry),
    ("delete", stopping.delete),
    ("wait", waiting.wait),
    ("install", install.install),
):
    app.command(_name, cls=Command, epilog=examples.of(_name))(grouped(_command))
app.add_typer(cluster.app, name="cluster")
app.add_typer(host.app, name="host")
app.command("demo", cls=Command)(demo.demo)
app.command("doctor", cls=Command)(grouped(doctor.doctor))
app.command("completion", cls=Command, epilog=completion.EPILOG)(completion.completion)
