"""Whom the runs of a host machine are: never root by accident, and a user who can run Headway."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

from headway_cluster.errors import ClusterError

_WITHIN = 60.0


def check(user: str | None, *, as_root: bool) -> None:
    """Whether runs may be that user.

    Args:
        user: the user; None for whoever asks.
        as_root: whether it is meant that runs are root.

    Raises:
        ClusterError: they may not, and why.
    """
    if user is None:
        if os.geteuid() == 0 and not as_root:
            raise ClusterError(
                "runs would be root on this machine: name another user with --as-user, or say "
                "--as-root if that is meant"
            )
        return
    if os.geteuid() != 0:
        raise ClusterError("only root can let runs be another user")
    try:
        wanted = pwd.getpwnam(user)
    except KeyError as error:
        raise ClusterError(f"there is no user {user} on this machine") from error
    if wanted.pw_uid == 0 and not as_root:
        raise ClusterError(f"{user} is root: say --as-root if that is meant")


def hand_over(folder: Path, user: str | None) -> None:
    """Let a folder that is new, and the files in it, belong to a user.

    Only what root has just made, where nobody else can write, is handed over, and root never writes
    there again: whoever owns a folder can put links into it.
    """
    if user is None:
        return
    owner = pwd.getpwnam(user)
    for path in (*folder.iterdir(), folder):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def try_out(user: str | None, *, reads: Path, writes: Path) -> None:
    """Whether a user can run this Headway with such folders.

    Raises:
        ClusterError: the user reaches neither the folders nor this Python.
    """
    if user is None:
        return
    owner = pwd.getpwnam(user)
    probe = (
        "import os, sys, headway_cluster.node.agent; open(sys.argv[1]).close(); "
        "os.access(sys.argv[2], os.W_OK) or sys.exit(sys.argv[2] + ' cannot be written')"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe, str(reads), str(writes)],
            user=owner.pw_uid,
            group=owner.pw_gid,
            extra_groups=os.getgrouplist(user, owner.pw_gid),
            cwd="/",
            text=True,
            capture_output=True,
            timeout=_WITHIN,
        )
        words = done.stderr.strip().splitlines()[-1:] if done.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        words = [str(error)]
    if words is not None:
        raise ClusterError(
            f"{user} cannot use {sys.executable} with {reads.parent}: install Headway, and set "
            f"HEADWAY_HOME, where that user gets to ({' '.join(words)})"
        )


def owner_of(folder: Path) -> str | None:
    """The user that a folder was handed over to; None for whoever asks."""
    owner = pwd.getpwuid(folder.stat().st_uid)
    return owner.pw_name if os.geteuid() == 0 and owner.pw_uid != 0 else None
