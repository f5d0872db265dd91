"""What a container has made of its folders keeps nothing of them from going with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from headway_cluster.node.pod_folder import PodFolder
from headway_cluster.node.volumes import Volumes

NOBODY = 65534


def as_nobody(where, do):
    """Do something as somebody whom permissions concern: root may write everywhere."""
    os.chown(where, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
    child = os.fork()
    if child == 0:
        try:
            os.chdir(where)
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            do()
        except BaseException:  # whatever it is, the child must never go on with the tests
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def whole(root):
    PodFolder(root).remove()


def run(root):
    PodFolder(root).run("main", 0).remove()


def volumes(root):
    Volumes(None, PodFolder(root).volumes, None).remove()


@pytest.mark.parametrize(
    ("remove", "inside"),
    [
        (whole, "containers/main/0/home"),
        (run, "containers/main/0/home"),
        (volumes, "volumes/cache"),
    ],
)
def test_a_cache_that_may_not_be_written_goes_as_well(tmp_path, remove, inside):
    def make_and_remove():
        folder = Path("pod", inside)
        (folder / "mod").mkdir(parents=True)
        (folder / "mod" / "file").touch()
        (folder / "mod").chmod(0o500)
        remove(Path("pod"))

    as_nobody(tmp_path, make_and_remove)
    assert not Path(tmp_path, "pod", inside).exists()
