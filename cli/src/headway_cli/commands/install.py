"""``headway install``: the resource, the roles and the controller, on the chosen cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway_cli import terminal
from headway_cli.connecting import connect, told
from headway_cli.options import Where

if TYPE_CHECKING:
    from headway_cli.installing import Images


class PullPolicy(StrEnum):
    """When a node fetches an image, in Kubernetes' words."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


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
    operator_image: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="The operator's image, in place of the usual one."),
    ] = None,
    trainer_image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Image of runs that name none.")
    ] = None,
    image_pull_policy: Annotated[
        PullPolicy | None,
        typer.Option(help="When nodes fetch the operator's image. [default: IfNotPresent]"),
    ] = None,
) -> None:
    """Install Headway on a cluster.

    Where it is installed already, it is brought to this version, and to the images that are named
    now. Where it was installed with Helm, leave it to Helm.
    """
    from headway_cli.installing import Images

    policy = image_pull_policy.value if image_pull_policy else None
    images = Images(operator_image, trainer_image, policy)
    if print_:
        terminal.show(_printed(images).rstrip())
        return
    where = Where(None, cluster.context, cluster.kubeconfig)
    install_on(where, images, wait=wait, timeout=timeout)
    terminal.say("Next:", "  headway doctor", "  headway run dummy")


def _printed(images: Images) -> str:
    from headway_cli.installing import PACKAGED, manifests
    from headway_cli.manifest import written
    from headway_cli.manifests import text

    return text() if images == PACKAGED else written(manifests(images))


def install_on(
    where: Where, images: Images | None = None, *, wait: bool = True, timeout: float = 120.0
) -> None:
    """Install Headway on the cluster that is named, saying what is done.

    Args:
        where: the cluster.
        images: those to install with; left out, the packaged ones.
        wait: whether to wait for the operator.
        timeout: most seconds to wait for it.

    Raises:
        Problem: it could not be installed.
    """
    from headway_cli.installing import PACKAGED
    from headway_cli.installing import install as apply

    client = connect(where)
    terminal.say(f"Installing Headway on {client.api.server}")
    with told(where):
        apply(
            client.api,
            lambda text: terminal.say(f"  {text}"),
            images or PACKAGED,
            wait=wait,
            timeout=timeout,
        )
    terminal.say("Headway is installed." if wait else "Applied; the operator is starting.")
