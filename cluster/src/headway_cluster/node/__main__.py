"""``python -m headway_cluster.node --config FILE``: run a process node until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import pwd
import signal
import sys
import threading
from pathlib import Path

from headway_cluster.node.agent import Agent, AlreadyRunningError
from headway_cluster.node.config import ConfigError, NodeConfig

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
"""Variables that another user may know of whoever starts the agent."""


def main() -> int:
    """Run the agent; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m headway_cluster.node",
        description="A node agent that runs pods as processes of this machine. It is no sandbox.",
    )
    parser.add_argument("--config", type=Path, required=True, help="the configuration, a JSON file")
    parser.add_argument("--user", help="the user to be; whoever starts it where left out")
    parser.add_argument("--debug", action="store_true", help="log more")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(threadName)s: %(message)s",
        stream=sys.stderr,
    )
    # It warns of connections that are dropped because enough of them are kept already.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if options.user:
        become(options.user)
    # Before anything else is read: asked too early, it must not die of it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        agent = Agent(NodeConfig.load(options.config))
        if agent.renewal is not None:
            ask = agent.renewal.ask
            signal.signal(signal.SIGHUP, lambda *_: ask())
        agent.run(stop)
    except (ConfigError, AlreadyRunningError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def become(name: str) -> None:
    """Be another user from now on, for good.

    The variables of whoever was there before may be secrets, and a user's processes can read those
    of each other.

    Raises:
        KeyError: there is no such user.
        PermissionError: only root can.
    """
    user = pwd.getpwnam(name)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    for variable in set(os.environ) - set(_KEPT):
        del os.environ[variable]
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)


if __name__ == "__main__":
    sys.exit(main())
