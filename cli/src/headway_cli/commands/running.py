"""``headway run`` and ``headway submit``: start something, and follow it or not.

Both have the same forms (dummy, data, train, custom, or a file); ``submit`` never follows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_cli import drafting, examples, terminal
from headway_cli.connecting import connect, told
from headway_cli.drafting import Draft, Shape
from headway_cli.helping import Command, new_app
from headway_cli.naming import LATEST
from headway_cli.options import Format, Output, Where, grouped
from headway_cli.problems import usage

if TYPE_CHECKING:
    from headway.client import OperationsClient


@dataclass(frozen=True)
class Attended:
    """Whether somebody stays with the run, and where it runs."""

    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--detach",
            " /-d",
            show_default=False,
            help="Watch it to its end, or return at once. In a terminal it is followed.",
        ),
    ] = None
    local: Annotated[
        bool,
        typer.Option("--local", help="Run it right here, as a child process, without a cluster."),
    ] = False
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for data and models, with --local."),
    ] = None


@dataclass(frozen=True)
class Asked:
    """What is printed instead of a view."""

    output: Output = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the manifest and start nothing.")
    ] = False


DETACHED = Attended(follow=False)

Symbols = Annotated[
    list[str],
    typer.Option("--symbols", "-s", metavar="A,B", help="Symbols, such as AAPL,MSFT (repeatable)."),
]
Timeframes = Annotated[
    list[str], typer.Option("--timeframes", "-t", metavar="T", help="Bar lengths: 1d, 1h.")
]
Start = Annotated[
    str | None, typer.Option("--start", metavar="DATE", help="First day: 2020-01-31.")
]
End = Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last day.")]


def dummy(
    where: Where,
    attended: Attended,
    shape: Shape,
    asked: Asked,
    iterations: Annotated[int | None, typer.Option(metavar="N", help="Iterations (100).")] = None,
    interval: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Length of an iteration (2).")
    ] = None,
) -> None:
    """A run that only counts, to try out a cluster."""
    _start(drafting.dummy(iterations, interval), where, shape, attended, asked)


def data(
    where: Where,
    attended: Attended,
    shape: Shape,
    asked: Asked,
    symbols: Symbols,
    timeframes: Timeframes,
    start: Start = None,
    end: End = None,
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="local, tail, backfill or full (tail).")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where data comes from: sample or files.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder of the provider files.")
    ] = None,
) -> None:
    """Load market data into a workspace."""
    draft = drafting.data_load(symbols, timeframes, start, end, mode, provider, path)
    _start(draft, where, shape, attended, asked)


def train(
    where: Where,
    attended: Attended,
    shape: Shape,
    asked: Asked,
    strategy: Annotated[Path, typer.Argument(metavar="STRATEGY", help="Strategy file (YAML).")],
    symbols: Symbols,
    timeframes: Timeframes,
    start: Start = None,
    end: End = None,
    validation_split: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Share held out for validation (0.2).")
    ] = None,
    data_mode: Annotated[
        str | None,
        typer.Option(metavar="MODE", help="local, or fetch first: tail, backfill, full."),
    ] = None,
) -> None:
    """Train a strategy on market data."""
    draft = drafting.training(
        strategy, symbols, timeframes, start, end, validation_split, data_mode
    )
    _start(draft, where, shape, attended, asked)


def custom(
    where: Where,
    attended: Attended,
    shape: Shape,
    asked: Asked,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Program and arguments.")
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Importable code to run instead.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Parameter of the entrypoint (repeatable)."),
    ] = None,
) -> None:
    """Run your own code: a command, or an importable entrypoint.

    It runs in the image, and finds what is there; with --local, what is here.
    """
    draft = drafting.custom(command or [], entrypoint, parameter or [])
    _start(draft, where, shape, attended, asked)


_FORMS: tuple[Callable[..., None], ...] = (dummy, data, train, custom)
_FILE = typer.Option(
    "--file", "-f", metavar="FILE", help="Manifest of a TrainingOperation; - is standard input."
)


def _from_file(
    ctx: typer.Context,
    where: Where,
    attended: Attended,
    asked: Asked,
    file: Annotated[str | None, _FILE] = None,
) -> None:
    given = [
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is not None
        and ctx.get_parameter_source(name).name == "COMMANDLINE"  # type: ignore[union-attr]
    ]
    if ctx.invoked_subcommand is not None:
        if file is not None:
            raise usage(f"Give either --file or {ctx.invoked_subcommand}: each is a run.")
        if given:
            raise usage(
                f"Options go after {ctx.invoked_subcommand}: {_as_typed(ctx, given[0])}.",
                todo=[f"{ctx.command_path} {ctx.invoked_subcommand} --help"],
            )
        return
    if file is None:
        raise usage(
            f"What is to {ctx.info_name}?",
            todo=[
                f"headway {ctx.info_name} dummy",
                f"headway {ctx.info_name} -f FILE",
                f"headway {ctx.info_name} --help",
            ],
        )
    from headway_cli import manifest

    found = manifest.read(file)
    if asked.dry_run:
        _print_unsent(found, asked)
        return
    if len(found) > 1 and (attended.local or _follows(attended, asked)):
        raise usage(
            f"{file} holds {len(found)} operations; one can be followed.",
            todo=[f"headway submit -f {file}"],
        )
    for document in found:
        _launch(document, where, attended, asked)


def _as_typed(ctx: typer.Context, name: str) -> str:
    """The option as it is spelled: ``--detach`` is the other side of ``follow``."""
    option = next(found for found in ctx.command.params if found.name == name)
    return (option.secondary_opts if ctx.params[name] is False else option.opts)[0]


def _app(name: str, help_text: str, **fixed: Attended) -> typer.Typer:
    app = new_app(help_text, epilog=examples.of(name))
    app.callback(invoke_without_command=True)(grouped(_from_file, **fixed))
    for form in _FORMS:
        app.command(cls=Command, epilog=examples.of(form.__name__))(grouped(form, **fixed))
    return app


run = _app("run", "Start a run and follow it.")
submit = _app("submit", "Start a run and return at once.", attended=DETACHED)


def _start(draft: Draft, where: Where, shape: Shape, attended: Attended, asked: Asked) -> None:
    if attended.local and (option := shape.clusterly()) is not None:
        raise usage(_LOCALLY.format(option))
    namespace = None if attended.local else where.namespace
    document = drafting.manifest(draft, shape, namespace)
    _launch(document, where, attended, asked)


_LOCALLY = "{} has no meaning with --local: it is about a cluster."


def _launch(document: dict[str, Any], where: Where, attended: Attended, asked: Asked) -> None:
    follows = _follows(attended, asked)
    if attended.local:
        if (option := _clusterly(where, attended, asked)) is not None:
            raise usage(_LOCALLY.format(option))
        if asked.dry_run:
            _print_unsent([document], asked)
            return
        _run_here(document, attended.workspace)
    if attended.workspace is not None:
        raise usage("--workspace goes with --local; in a cluster it is --claim or --volume.")
    if asked.dry_run:
        _print_unsent([document], asked)
        return
    where = _placed(document, where)
    client = connect(where)
    created: dict[str, Any] = {}
    try:
        with told(where):
            created = client.create(document)
        client.namespace = str(created["metadata"]["namespace"])
        if follows:
            follow_in_cluster(client, str(created["metadata"]["name"]), where)
    except KeyboardInterrupt:  # no view was there yet to ask
        known = (created or document)["metadata"].get("name") or LATEST
        said = f"Detached: {known} goes on." if created else f"{known} may have been created."
        terminal.say(said, "Next:", f"  headway get {known} {where.flags()}".rstrip())
        raise
    _tell_created(created, where, asked.output)


def _follows(attended: Attended, asked: Asked) -> bool:
    """Whether somebody stays with the run.

    Raises:
        Problem: options contradict each other.
    """
    if attended.follow and asked.output is not None:
        raise usage("Give either --follow or --output: what is printed is no view.")
    if attended.follow is not None:
        return attended.follow
    return asked.output is None and sys.stdout.isatty()


def _clusterly(where: Where, attended: Attended, asked: Asked) -> str | None:
    """The first option given that has a meaning in a cluster only."""
    given = {
        "--detach": attended.follow is False,
        "--output": asked.output is not None and not asked.dry_run,
        "--namespace": where.namespace is not None,
        "--context": where.context is not None,
        "--kubeconfig": where.kubeconfig is not None,
    }
    return next((option for option, there in given.items() if there), None)


def _placed(document: dict[str, Any], where: Where) -> Where:
    """Where the run goes, with the namespace that its manifest names.

    Raises:
        Problem: the manifest and the command line name different ones.
    """
    namespace = document["metadata"].get("namespace")
    if not namespace:
        return where
    if where.namespace is not None and where.namespace != namespace:
        raise usage(
            f"The manifest is for namespace {namespace}, and -n says {where.namespace}.",
            todo=["leave one of the two out"],
        )
    return replace(where, namespace=str(namespace))


def _print_unsent(documents: list[dict[str, Any]], asked: Asked) -> None:
    from headway_cli import printing
    from headway_cli.manifest import written

    if asked.output in (None, Format.YAML):
        terminal.show(written(documents).rstrip())
        return
    for document in documents:
        terminal.show(printing.one(document, asked.output))


def follow_in_cluster(client: OperationsClient, name: str, where: Where) -> None:
    """Show a run until it is over or the person leaves, and exit with its outcome."""
    from headway_cli.cluster_feed import ClusterFeed
    from headway_cli.following import follow

    feed = ClusterFeed(client, name, where)
    ending = follow(feed, console=terminal.console(), flags=where.flags(), name=name)
    raise typer.Exit(ending.code)


_LEFT_ASIDE = (
    *("image", "resources", "placement", "storage", "queueName", "retryPolicy"),
    *("activeDeadlineSeconds", "progressDeadlineSeconds", "ttlSecondsAfterFinished"),
)
"""Fields of a manifest that a child of this process can run without."""


def _run_here(document: dict[str, Any], workspace: Path | None) -> None:
    from headway_api import environment

    from headway_cli.following import follow
    from headway_cli.keyboard import HeldEnds
    from headway_cli.local_feed import LocalFeed

    document["metadata"].setdefault("name", "run")
    document["metadata"]["namespace"] = "local"
    if aside := [f"spec.{name}" for name in _LEFT_ASIDE if name in document["spec"]]:
        terminal.say(f"Without a cluster, left aside: {', '.join(aside)}")
    folder = (workspace or Path(environ_or(environment.WORKSPACE, "headway-workspace"))).absolute()
    variables = {
        item["name"]: item["value"]
        for container in _containers(document["spec"])
        for item in container.get("env") or ()
        if "value" in item
    }
    name = str(document["metadata"]["name"])
    with HeldEnds() as ends, LocalFeed(document, variables, folder) as feed:
        ends.release()
        ending = follow(feed, console=terminal.console(), name=name)
    if folder.exists() and sys.stderr.isatty():
        terminal.say(f"Workspace: {folder}")
    raise typer.Exit(ending.code)


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    template = (spec.get("podTemplate") or {}).get("spec") or {}
    found: list[dict[str, Any]] = template.get("containers") or []
    return found


def environ_or(variable: str, default: str) -> str:
    """An environment variable, or a default where it is unset or empty."""
    import os

    return os.environ.get(variable) or default


def _tell_created(created: dict[str, Any], where: Where, how: Format | None) -> None:
    from headway_cli import printing

    if how is not None:
        terminal.show(printing.one(created, how))
        return
    from headway_cli.connecting import parsed
    from headway_cli.view.result import hint_lines, next_commands

    metadata = created["metadata"]
    terminal.show(f"{metadata['name']} created in namespace {metadata['namespace']}")
    if sys.stderr.isatty():
        terminal.say(*hint_lines(next_commands(parsed(created), flags=where.flags())))
