"""``headway install``: the resource, the roles and the controller, on the chosen cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from headway_cli import terminal
from headway_cli.connecting import connect, told
from headway_cli.options import Where


@dataclass(frozen=True)
class Cluster:
    """Which cluster."""

    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig to use.")
    ] = None
    kubeconfig: Annotated[Path | None, typer.Option(metavar="FILE", help="Kubeconfig to use.")] = (
        None
    )


def install(
    cluster: Cluster,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the manifests and apply nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return once the operator is at work.")
    ] = True,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for it.")
    ] = 120.0,
) -> None:
    """Install Headway on a cluster.

    Where it is installed already, it is brought to this version.
    """
    if print_:
        from headway_cli import manifests

        terminal.show(manifests.text().rstrip())
        return
    install_on(Where(None, cluster.context, cluster.kubeconfig), wait=wait, timeout=timeout)
    terminal.say("Next:", "  headway doctor", "  headway run dummy")


def install_on(where: Where, *, wait: bool = True, timeout: float = 120.0) -> None:
    """Install Headway on the cluster that is named, saying what is done.

    Raises:
        Problem: it could not be installed.
    """
    from headway_cli.installing import install as apply

    client = connect(where)
    terminal.say(f"Installing Headway on {client.api.server}")
    with told(where):
        apply(client.api, lambda text: terminal.say(f"  {text}"), wait=wait, timeout=timeout)
    terminal.say("Headway is installed." if wait else "Applied; the operator is starting.")
