"""``headway demo``: the whole of it on this machine, for real, in a few minutes."""

from __future__ import annotations

from headway_cli import terminal


def demo() -> None:
    """See all of it on this machine.

    Brings up a Kubernetes, installs Headway on it, loads real prices, trains a model on them while
    you watch, cancels a run in the middle of an epoch, and shows how a wrong one is refused.
    """
    from headway_cli.commands.cluster import bring_up, leads_elsewhere, local_cluster
    from headway_cli.connecting import connect
    from headway_cli.demonstration import Demonstration
    from headway_cli.options import Where

    cluster = local_cluster()
    terminal.say("1. A Kubernetes, and Headway on it")
    where = bring_up(cluster, install=True)
    # What is typed next needs no --kubeconfig, unless $KUBECONFIG leads elsewhere.
    shown = where if leads_elsewhere(cluster) else Where()
    Demonstration(connect(where), shown, terminal.console()).run()
