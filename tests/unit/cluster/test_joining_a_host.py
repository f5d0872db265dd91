"""What a host is refused for before the cluster is asked for anything."""

from __future__ import annotations

import pytest
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home
from headway_cluster.hosts import HostMachine, Joining


class Nobody:
    """A cluster that must not be asked."""

    def request(self, method, path, body=None):
        raise AssertionError(f"{method} {path}")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("workstation.example", "no IPv4 address"),
        ("::1", "no IPv4 address"),
        ("192.0.2.1", "no address of this machine"),
    ],
)
def test_an_address_that_it_cannot_listen_at(tmp_path, address, told):
    machine = HostMachine(Home(tmp_path / "cache", tmp_path / "state"))
    how = Joining("host-a", ("ns",), address=address, as_root=True)
    with pytest.raises(ClusterError, match=told):
        machine.join(Nobody(), "https://127.0.0.1:1", how, print)
    assert not machine.folder.exists()
