"""``headway cluster``: a Kubernetes on this machine, for who has none."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from headway_cli import terminal
from headway_cli.exits import ExitCode
from headway_cli.helping import Command, new_app
from headway_cli.options import Where
from headway_cli.problems import Problem

if TYPE_CHECKING:
    from headway_cluster.local import LocalCluster

app = new_app("A Kubernetes on this machine: up, down, status, env.", no_args_is_help=True)


@app.command(cls=Command)
def up(
    install: Annotated[
        bool, typer.Option("--install/--no-install", help="Install Headway on it as well.")
    ] = True,
) -> None:
    """Bring it up, with Headway on it.

    What runs already is left alone.
    """
    cluster = local_cluster()
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
    found = cluster.status()
    lines = [
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


def local_cluster() -> LocalCluster:
    """The local cluster of this home."""
    from headway_cluster.home import Home
    from headway_cluster.local import LocalCluster

    return LocalCluster(Home.find())


def bring_up(cluster: LocalCluster, *, install: bool) -> Where:
    """Bring the local cluster up, saying what is done; returns how to reach it.

    Raises:
        Problem: a step failed.
    """
    terminal.say("Bringing up a Kubernetes on this machine")
    with cluster_errors():
        kubeconfig = cluster.up(terminal.Steps())
    where = Where(kubeconfig=kubeconfig)
    if install:
        from headway_cli.commands.install import install_on

        install_on(where)
    return where


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turns what goes wrong with the local cluster into problems."""
    from headway_cluster.errors import ClusterError

    try:
        yield
    except ClusterError as error:
        what, _, why = str(error).partition("\n")
        raise Problem(
            what, why=why, todo=["headway cluster up    (it goes on from here)"]
        ) from error


def leads_elsewhere(cluster: LocalCluster) -> bool:
    """Whether $KUBECONFIG sends commands without --kubeconfig to another cluster."""
    named = os.environ.get("KUBECONFIG", "")
    return bool(named) and named != str(cluster.kubeconfig)


def _what_env_does(cluster: LocalCluster) -> str:
    if leads_elsewhere(cluster):
        return "$KUBECONFIG leads elsewhere now: this turns it here"
    return "for kubectl; headway finds the cluster by itself"
