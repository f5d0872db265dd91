"""What is left of a host where a command on it was cut short."""

from __future__ import annotations

import errno
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from headway_cluster import evacuating, host_errands
from headway_cluster.home import Home
from headway_cluster.hosts import HostMachine, HostStatus, Joining
from headway_cluster.node.api import ApiError

NODE = "host-a"


class Person:
    """A cluster that has the host's Node, and signs nothing."""

    def __init__(self):
        self.patches = []

    def request(self, method, path, body=None):
        if "certificates" in path:
            raise ApiError(403, "Forbidden", "not you")
        if method == "PATCH":
            self.patches.append(body)
        return {"metadata": {"uid": "u"}, "data": {"ca.crt": ""}}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = HostMachine(Home(tmp_path / "cache", tmp_path / "state"))
    known = HostStatus(NODE, ("ns",), "https://127.0.0.1:1", None, *[datetime.now(UTC)] * 2)
    monkeypatch.setattr(made, "status", lambda: known)
    monkeypatch.setattr(made, "_make_run", lambda: None)
    made.folder.mkdir(parents=True)
    (made.folder / "cluster-uid").write_text(host_errands.identity(Person()).uid)
    return made


def _unheard(*_):
    """What stands for the end of this very process."""
    pytest.fail("it would have ended here")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_host_whose_leaving_is_ended_while_it_waits_takes_runs_again(
    machine, monkeypatch, number
):
    def waits(*_, **__):
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(evacuating, "empty", waits)
    person = Person()
    before = signal.signal(number, _unheard)
    try:
        with pytest.raises(SystemExit):
            machine.leave(person, print, now=False)
        assert signal.getsignal(number) is _unheard
    finally:
        signal.signal(number, before)
    assert [patch["spec"]["unschedulable"] for patch in person.patches] == [True, False]


def test_a_full_disk_does_not_make_a_host_forget_its_cluster(machine, monkeypatch):
    def full(file, _, write=Path.write_text):
        write(file, "")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises((OSError, ApiError)):
        machine.join(Person(), "https://127.0.0.1:1", Joining(NODE, ("ns",), as_root=True), print)
    assert (machine.folder / "cluster-uid").read_text() == "u"
