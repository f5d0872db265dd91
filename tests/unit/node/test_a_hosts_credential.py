"""When a host asks for its next credential, and whom its runs may be."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from headway_cluster import host_user, signing
from headway_cluster.errors import ClusterError
from headway_cluster.node.__main__ import become
from headway_cluster.node.renewing import CLUSTER_CA, Renewal, due
from headway_cluster.pki import Authority


@pytest.mark.parametrize("life", [timedelta(days=365), timedelta(hours=1)])
def test_the_next_credential_is_asked_for_long_before_the_end(life):
    begins = datetime(2030, 1, 1, tzinfo=UTC)
    at = due(begins, begins + life)
    assert begins.timestamp() + 0.7 * life.total_seconds() < at
    assert at < begins.timestamp() + 0.9 * life.total_seconds()


class SigningServer:
    """An API server that signs whatever it is asked to, another certificate each time."""

    server = "https://127.0.0.1:1"

    def __init__(self, folder):
        self.authority = Authority.load_or_make(folder, "ca")
        self.folder = folder
        self.reloaded = 0

    def request(self, method, path, body=None):
        if method == "POST":
            return body
        issued = self.authority.issue(self.folder, "issued", "system:node:n")
        return {
            "status": {"certificate": base64.b64encode(issued.certificate.read_bytes()).decode()}
        }

    def reload(self):
        self.reloaded += 1


def test_what_a_renewal_that_fails_half_way_has_got_is_not_taken_for_the_credential(tmp_path):
    server = SigningServer(tmp_path / "server")
    folder = tmp_path / "credential"
    folder.mkdir()
    (folder / CLUSTER_CA).write_bytes(server.authority.files.certificate.read_bytes())
    renewal = Renewal(server, "n", folder)

    def used():
        user = yaml.safe_load((folder / "kubeconfig").read_text())["users"][0]["user"]
        return base64.b64decode(user["client-certificate-data"])

    renewal._renew()
    first = used()
    assert (folder / "client.crt").read_bytes() == first
    (folder / "kubeconfig.new").mkdir()  # it cannot be written
    with pytest.raises(OSError, match="kubeconfig"):
        renewal._renew()
    assert used() == (folder / "client.crt").read_bytes() == first
    (folder / "kubeconfig.new").rmdir()
    renewal._renew()
    assert first != used() == (folder / "client.crt").read_bytes()
    assert server.reloaded == 2
    assert signing.life(folder, signing.CLIENT)[1] > datetime.now(UTC)
    assert sorted(one.name for one in folder.iterdir()) == [
        "client.crt",
        "client.key",
        CLUSTER_CA,
        "kubeconfig",
    ]


def test_root_says_whom_runs_shall_be(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ClusterError, match="--as-user"):
        host_user.check(None, as_root=False)
    with pytest.raises(ClusterError, match="--as-root"):
        host_user.check("root", as_root=False)
    with pytest.raises(ClusterError, match="there is no user"):
        host_user.check("nobody-of-that-name", as_root=False)
    host_user.check(None, as_root=True)
    host_user.check("nobody", as_root=False)


def test_only_root_can_choose(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="only root"):
        host_user.check("nobody", as_root=False)
    host_user.check(None, as_root=False)


def test_the_variables_of_root_are_not_handed_on_to_the_user_that_runs_are(monkeypatch):
    for change in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, change, lambda *_: None)
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x"})
    become("nobody")
    assert os.environ.pop("HOME")
    assert os.environ == {"PATH": "/bin", "USER": "nobody", "LOGNAME": "nobody"}
