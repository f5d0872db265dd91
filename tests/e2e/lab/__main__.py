"""A kind cluster in a closed network namespace, made without any registry.

    python tests/e2e/lab up               a cluster of one control plane and three workers
    python tests/e2e/lab load ARCHIVE...  image archives onto every node
    python tests/e2e/lab exec COMMAND...  a command in that network, with KUBECONFIG and DOCKER_HOST
    python tests/e2e/lab down             the cluster away
    python tests/e2e/lab stop             the engine and the network, too; what was built stays

Needs Linux and root; installs Debian's packages of what is missing.

A cluster is good for an hour: then kube-proxy writes all of its rules anew, and with bookworm's nft
that may leave a node without any (the API server's service address refuses connections). Make a
new one, or on every node `nft delete table ip kube-proxy`, and then delete kube-proxy's pods.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from commands import LabError
from headway_cluster.errors import ClusterError
from lab import Lab


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests/e2e/lab", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="programs and the node image")
    up = commands.add_parser("up", help="the cluster")
    up.add_argument("--workers", type=int, default=3)
    load = commands.add_parser("load", help="image archives onto every node")
    load.add_argument("archives", nargs="+", type=Path)
    inside = commands.add_parser("exec", help="a command in the lab's network")
    inside.add_argument("words", nargs=argparse.REMAINDER)
    commands.add_parser("down", help="the cluster away")
    commands.add_parser("stop", help="the engine and its network away")
    chosen = parser.parse_args()
    lab = Lab.of_this_home()
    try:
        match chosen.command:
            case "build":
                lab.build()
            case "up":
                lab.up(chosen.workers)
            case "load":
                lab.cluster().load(chosen.archives)
            case "exec":
                env = {**os.environ, **lab.engine.environment}
                return subprocess.call([*lab.engine.entering, *chosen.words], env=env)
            case "down":
                lab.down()
            case "stop":
                lab.stop()
    except (LabError, ClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
