"""``headway cluster``: a Kubernetes on this machine, for who has none."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_cli import examples, terminal
from headway_cli.exits import ExitCode
from headway_cli.helping import Command, new_app
from headway_cli.options import Where
from headway_cli.problems import Problem, usage

if TYPE_CHECKING:
    from headway_cluster.home import Home
    from headway_cluster.kind import KindOptions
    from headway_cluster.providers import Cluster

    from headway_cli.installing import Images

app = new_app("A Kubernetes on this machine: up, down, status, env.", no_args_is_help=True)


class WantedProvider(StrEnum):
    """What is to make the cluster."""

    AUTO = "auto"
    KIND = "kind"
    PROCESS = "process"


@app.command(cls=Command, epilog=examples.of("up"))
def up(
    install: Annotated[
        bool, typer.Option("--install/--no-install", help="Install Headway on it as well.")
    ] = True,
    provider: Annotated[
        WantedProvider,
        typer.Option(
            help="What makes it: kind (containers), process (none needed), or auto: kind where "
            "Docker runs and has Headway's images."
        ),
    ] = WantedProvider.AUTO,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="kind: archives of Headway's images, in place of those in Docker.",
        ),
    ] = None,
    node_image: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="kind: the nodes' image, in place of kind's own."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="kind: nodes beside the control plane's."),
    ] = None,
    kind_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="kind: settings in kind's own words, for networks that are unusual.",
        ),
    ] = None,
) -> None:
    """Bring it up, with Headway on it.

    What runs already is left alone.
    """
    from headway_cluster.home import Home
    from headway_cluster.kind import KindOptions

    for_kind = {"--node-image": node_image, "--workers": workers, "--kind-config": kind_config}
    given = [flag for flag, value in for_kind.items() if value is not None]
    if provider is WantedProvider.PROCESS and (given or images):
        raise usage(f"{(given or ['--images'])[0]} is for --provider kind.")
    if provider is WantedProvider.AUTO and given:
        provider = WantedProvider.KIND  # what they ask for, no other can give
    options = KindOptions(
        node_image,
        workers,
        _kind_settings(kind_config, workers) if kind_config else None,
        str(images.absolute()) if images else None,
    )
    cluster = _chosen(Home.find(), provider, options, bare=not install)
    bring_up(cluster, install=install)
    terminal.say(
        "Next:",
        "  headway run dummy",
        f'  eval "$(headway cluster env)"    ({_what_env_does(cluster)})',
        "  headway cluster down",
    )


@app.command(cls=Command)
def down() -> None:
    """Stop it and delete its data.

    Programs that were built stay in the cache.
    """
    cluster = local_cluster()
    with cluster_errors():
        ran = cluster.down(terminal.Steps())
    terminal.show("The local cluster is gone." if ran else "There was no local cluster.")


@app.command(cls=Command)
def status() -> None:
    """Show what runs of it.

    The exit code is 0 only if all of it does.
    """
    cluster = local_cluster()
    with cluster_errors():
        found = cluster.status()
    lines = [
        f"provider    {found.provider.value if found.home.exists() else '-'}",
        f"cluster     {'running' if found.running else 'not running'}",
        f"kubernetes  {found.version}",
        f"server      {found.server or '-'}",
        f"kubeconfig  {found.kubeconfig if found.kubeconfig.exists() else '-'}",
        f"home        {found.home}",
        "components",
    ]
    width = max(len(name) for name in found.components)
    lines += [f"  {name:<{width}}  {what}" for name, what in found.components.items()]
    terminal.show(*lines)
    if not found.running:
        terminal.say("Next: headway cluster up")
        raise typer.Exit(ExitCode.FAILED)


@app.command(cls=Command)
def env() -> None:
    """Print what points kubectl at it.

    For a shell: eval "$(headway cluster env)". Where there is no kubectl, the cluster's own is put
    on PATH.
    """
    cluster = local_cluster()
    if not cluster.kubeconfig.exists():
        raise Problem(
            "There is no local cluster.", todo=["headway cluster up"], code=ExitCode.NOT_FOUND
        )
    terminal.show(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    if shutil.which("kubectl") is None:
        with cluster_errors():
            kubectl = cluster.program("kubectl", terminal.Steps())
        terminal.show(f"export PATH={shlex.quote(str(kubectl.parent))}:$PATH")


def local_cluster() -> Cluster:
    """The local cluster of this home: the one that is up, else the process node's."""
    from headway_cluster.home import Home
    from headway_cluster.providers import here

    return here(Home.find())


def _chosen(home: Home, wanted: WantedProvider, options: KindOptions, *, bare: bool) -> Cluster:
    """The cluster to bring up; says which, and why.

    Raises:
        Problem: another is up, or nothing can make the one that was asked for.
    """
    from headway_cluster.kind import COMPLETE, KindCluster
    from headway_cluster.local import LocalCluster
    from headway_cluster.providers import choose
    from headway_cluster.standing import Provider, standing

    asked = None if wanted is WantedProvider.AUTO else Provider(wanted.value)
    kind = KindCluster(home, options, bare=bare)
    with cluster_errors():
        choice = choose(asked, standing(home.cluster), lambda: kind.obstacle(COMPLETE))
    terminal.say(f"Provider: {choice.provider.value} ({choice.because})")
    return kind if choice.provider is Provider.KIND else LocalCluster(home)


def _kind_settings(file: Path, workers: int | None) -> dict[str, Any]:
    """What a kind configuration says.

    Raises:
        Problem: it is none, or says otherwise than ``workers``.
    """
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise usage(f"{file} cannot be read.", why=str(error)) from error
    if not isinstance(found, dict):
        raise usage(f"{file} is no kind configuration: it has no fields.")
    if workers is not None and "nodes" in found:
        raise usage(f"{file} lists the nodes: leave --workers out, or the nodes.")
    return found


def bring_up(cluster: Cluster, *, install: bool) -> Where:
    """Bring the local cluster up, saying what is done; returns how to reach it.

    Raises:
        Problem: a step failed.
    """
    if install:
        _has_what_it_runs(cluster)
    terminal.say("Bringing up a Kubernetes on this machine")
    with cluster_errors():
        kubeconfig = cluster.up(terminal.Steps())
    where = Where(kubeconfig=kubeconfig)
    if install:
        from headway_cli.commands.install import install_on

        install_on(where, _images_on(cluster))
    return where


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turns what goes wrong with the local cluster into problems."""
    from headway_cluster.errors import ClusterError

    try:
        yield
    except ClusterError as error:
        what, _, why = str(error).partition("\n")
        again = ["headway cluster up    (it goes on from here)"]
        raise Problem(what, why=why, todo=error.todo or again) from error
    except OSError as error:
        raise no_room(error) from error


def no_room(error: OSError) -> Problem:
    """What Headway keeps on this machine cannot be read or written, as a problem for people."""
    from headway_cluster.home import Home

    home = Home.find()
    return Problem(
        f"{error.filename or home.state} cannot be used: {error.strerror or error}.",
        why=f"Headway keeps programs below {home.cache} and clusters below {home.state}.",
        todo=["make room there, or set HEADWAY_HOME to a folder that can be written"],
    )


def _images_on(cluster: Cluster) -> Images | None:
    """The images that were put onto its nodes; None where it goes by the usual names."""
    from headway_cluster.kind import KindCluster

    from headway_cli.installing import Images

    if not isinstance(cluster, KindCluster):
        return None
    noted = cluster.noted
    return Images(noted.operator, noted.trainer)


def _has_what_it_runs(cluster: Cluster) -> None:
    """The process node runs the controller from this very environment; kind has an image of it."""
    from headway_cluster.local import LocalCluster

    if isinstance(cluster, LocalCluster) and find_spec("headway_operator") is None:
        raise Problem(
            "The controller is not installed here, and the local cluster would run it.",
            why="It comes, with what the services need, as an extra of the command line.",
            todo=["pip install 'headway-cli[local]'"],
        )


def leads_elsewhere(cluster: Cluster) -> bool:
    """Whether $KUBECONFIG sends commands without --kubeconfig to another cluster."""
    named = os.environ.get("KUBECONFIG", "")
    return bool(named) and named != str(cluster.kubeconfig)


def _what_env_does(cluster: Cluster) -> str:
    if leads_elsewhere(cluster):
        return "$KUBECONFIG leads elsewhere now: this turns it here"
    return "for kubectl; headway finds the cluster by itself"
